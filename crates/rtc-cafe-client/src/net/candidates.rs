//! The local candidates that are there, and what the driver is to be told.

use std::collections::VecDeque;

use str0m::Candidate;

use super::endpoint::EndpointEvent;

/// Every change of the candidates becomes an event, in order.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    present: Vec<Candidate>,
    events: VecDeque<EndpointEvent<'static>>,
}

impl Candidates {
    pub(super) fn present(&self) -> &[Candidate] {
        &self.present
    }

    /// Adds without an event: those of the beginning.
    pub(super) fn start_with(&mut self, candidate: Candidate) {
        self.present.push(candidate);
    }

    pub(super) fn add(&mut self, candidate: Candidate) {
        if !self.present.contains(&candidate) {
            self.present.push(candidate.clone());
            self.events.push_back(EndpointEvent::Candidate(candidate));
        }
    }

    pub(super) fn remove(&mut self, candidate: &Candidate) {
        if let Some(index) = self.present.iter().position(|present| present == candidate) {
            let lost = self.present.remove(index);
            self.events.push_back(EndpointEvent::CandidateLost(lost));
        }
    }

    pub(super) fn server_failed(&mut self, url: impl ToString, reason: impl ToString) {
        let (url, reason) = (url.to_string(), reason.to_string());
        tracing::warn!(%url, %reason, "an ICE server failed");
        self.events.push_back(EndpointEvent::ServerFailed { url, reason });
    }

    pub(super) fn tell(&mut self, event: EndpointEvent<'static>) {
        self.events.push_back(event);
    }

    pub(super) fn next_event(&mut self) -> Option<EndpointEvent<'static>> {
        self.events.pop_front()
    }
}
