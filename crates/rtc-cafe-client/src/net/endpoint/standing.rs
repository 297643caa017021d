//! What is known of the servers, for reports.

use std::net::SocketAddr;

use super::{Endpoint, ServerUrl, listed};
use crate::{
    net::{relay::Relay, stun::State},
    report::FailedServer,
};

/// One socket as one STUN server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) url: String,
    pub(crate) local: SocketAddr,
    /// The address at which the server was asked.
    pub(crate) server: SocketAddr,
    /// `None` if it did not answer.
    pub(crate) mapped: Option<SocketAddr>,
}

impl Endpoint {
    /// The servers that cannot be used at present, and why.
    pub(crate) fn failed_servers(&self) -> Vec<FailedServer> {
        let stun = self.reflexive.iter().filter_map(|server| Some((server.url(), server.failure()?)));
        let turn = self.relays.iter().filter_map(|server| Some((server.url(), server.failure()?)));
        let failed =
            |(url, reason): (&ServerUrl, &str)| FailedServer { url: url.to_string(), reason: reason.to_owned() };
        let listed = listed(&self.config.ice_servers).into_iter().filter_map(Result::err);
        let refused = listed.map(|(url, error)| FailedServer { url, reason: error.to_string() });
        stun.chain(turn).map(failed).chain(refused).collect()
    }

    /// Whether one of the TURN servers is there, be it that it refuses.
    pub(crate) fn hears_turn(&self) -> bool {
        self.relays.iter().any(Relay::is_heard)
    }

    /// What each STUN server says about each socket, by the server's URL.
    pub(crate) fn mappings(&self) -> Vec<Mapping> {
        let answers = self.reflexive.iter().flat_map(|reflexive| {
            let url = reflexive.url().to_string();
            reflexive.answers().map(move |answer| (url.clone(), answer))
        });
        answers
            .map(|(url, (local, server, state))| Mapping {
                url,
                local,
                server,
                mapped: match state {
                    State::Mapped(mapped) => Some(mapped),
                    State::Asking | State::Failed(_) => None,
                },
            })
            .collect()
    }

    /// The URL of the TURN server that has allocated this address.
    pub(crate) fn relay_of(&self, relayed: SocketAddr) -> Option<String> {
        self.relays.iter().find(|relay| relay.has(relayed)).map(|relay| relay.url().to_string())
    }
}
