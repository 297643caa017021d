//! Asks a STUN server how it sees one of our sockets, and keeps asking so that the mapping stays (RFC 8489).

use std::{net::SocketAddr, time::Duration};

use stun_proto::{
    Instant,
    agent::{StunAgent, StunAgentPollRet},
    types::{
        TransportType,
        attribute::XorMappedAddress,
        message::{BINDING, Message, MessageClass, MessageWriteVec, TransactionId},
        prelude::{MessageWrite, MessageWriteExt},
    },
};

/// A mapping of a NAT for UDP lives for 30 s at least on most (RFC 4787 section 4.3 asks for 2 min).
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long a server is left alone that did not answer.
const RETRY: Duration = Duration::from_secs(30);

/// An agent whose requests go out at 0, 0.5, 1.5, 3.5 and 7.5 s, and fail at 9.5 s: two fewer than RFC 8489 section
/// 6.2.1 counts, because somebody waits. stun-proto 2.0 would by default give up 8 ms after the last one.
pub(super) fn agent(transport: TransportType, local: SocketAddr, server: SocketAddr) -> StunAgent {
    StunAgent::builder(transport, local)
        .remote_addr(server)
        .request_retransmits(FIRST_RETRANSMIT, Duration::MAX, REQUESTS, LAST_WAIT)
        .build()
}

pub(super) const FIRST_RETRANSMIT: Duration = Duration::from_millis(500);
pub(super) const REQUESTS: u32 = 5;
pub(super) const LAST_WAIT: Duration = Duration::from_secs(2);

/// What is known about a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Asking,
    Mapped(SocketAddr),
    Failed(&'static str),
}

/// One of our sockets as one server sees it.
#[derive(Debug)]
pub(super) struct Binding {
    local: SocketAddr,
    server: SocketAddr,
    agent: StunAgent,
    outstanding: Option<TransactionId>,
    next: Instant,
    state: State,
}

impl Binding {
    pub(super) fn new(local: SocketAddr, server: SocketAddr, now: Instant) -> Self {
        let agent = agent(TransportType::Udp, local, server);
        Self { local, server, agent, outstanding: None, next: now, state: State::Asking }
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// What to send to the server now. Until when nothing happens without input is in [`Self::deadline`].
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if let StunAgentPollRet::TransactionTimedOut(_) | StunAgentPollRet::TransactionCancelled(_) =
            self.agent.poll(now)
        {
            self.settle(State::Failed("it does not answer"), now + RETRY);
        }
        if self.outstanding.is_none() && self.next <= now {
            let request = Message::builder_request(BINDING, MessageWriteVec::new());
            self.outstanding = Some(request.transaction_id());
            let transmit = self.agent.send_request(request.finish(), self.server, now).ok()?;
            return Some(transmit.data.to_vec());
        }
        self.agent.poll_transmit(now).map(|transmit| transmit.data.to_vec())
    }

    pub(super) fn deadline(&mut self, now: Instant) -> Instant {
        match self.agent.poll(now) {
            StunAgentPollRet::WaitUntil(until) if self.outstanding.is_some() => until,
            StunAgentPollRet::WaitUntil(_) => self.next,
            // Takes the transaction out of the agent, so this is the only time that it is told.
            StunAgentPollRet::TransactionTimedOut(_) | StunAgentPollRet::TransactionCancelled(_) => {
                self.settle(State::Failed("it does not answer"), now + RETRY);
                self.next
            }
        }
    }

    /// Takes a datagram that came from the server; whether it was the answer.
    pub(super) fn handle(&mut self, data: &[u8], now: Instant) -> bool {
        let Ok(message) = Message::from_bytes(data) else { return false };
        let expected = message.is_response() && self.outstanding == Some(message.transaction_id());
        if !expected || !self.agent.handle_stun_message_with_time(&message, self.server, now) {
            return false;
        }
        let mapped = message
            .attribute::<XorMappedAddress>()
            .map(|mapped| mapped.addr(message.transaction_id()))
            .ok()
            .filter(|mapped| mapped.is_ipv4() == self.local.is_ipv4() && mapped.port() != 0)
            .filter(|_| message.has_class(MessageClass::Success) && message.has_method(BINDING));
        match mapped {
            Some(mapped) => self.settle(State::Mapped(mapped), now + KEEP_ALIVE),
            None => self.settle(State::Failed("it refuses"), now + RETRY),
        }
        true
    }

    fn settle(&mut self, state: State, next: Instant) {
        self.outstanding = None;
        self.next = next;
        self.state = match (self.state, state) {
            // A server that fell silent says nothing about the mapping; the checks of ICE will.
            (State::Mapped(mapped), State::Failed(_)) => State::Mapped(mapped),
            _ => state,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPED: &str = "203.0.113.5:777";

    fn binding() -> (Binding, Instant) {
        let now = Instant::from_nanos(1_000_000_000);
        (Binding::new("10.0.0.1:1000".parse().unwrap(), "192.0.2.1:3478".parse().unwrap(), now), now)
    }

    fn answer(request: &[u8], mapped: &str) -> Vec<u8> {
        let request = Message::from_bytes(request).unwrap();
        let mut response = Message::builder_success(&request, MessageWriteVec::new());
        let mapped = XorMappedAddress::new(mapped.parse().unwrap(), request.transaction_id());
        response.add_attribute(&mapped).unwrap();
        response.finish()
    }

    #[test]
    fn the_answer_is_the_mapping_and_is_refreshed() {
        let (mut binding, now) = binding();
        let request = binding.poll_transmit(now).unwrap();
        assert_eq!((binding.poll_transmit(now), binding.state()), (None, State::Asking));
        assert!(binding.handle(&answer(&request, MAPPED), now));
        assert_eq!(binding.state(), State::Mapped(MAPPED.parse().unwrap()));
        assert!(!binding.handle(&answer(&request, "1.2.3.4:5"), now), "an answer counts once");
        assert_eq!(binding.deadline(now), now + KEEP_ALIVE);
        let later = now + KEEP_ALIVE;
        let request = binding.poll_transmit(later).unwrap();
        assert!(binding.handle(&answer(&request, "203.0.113.5:778"), later));
        assert_eq!(binding.state(), State::Mapped("203.0.113.5:778".parse().unwrap()));
    }

    #[test]
    fn silence_is_asked_five_times_and_then_a_failure() {
        let (mut binding, start) = binding();
        let (mut now, mut sent) = (start, Vec::new());
        for _ in 0..20 {
            while binding.poll_transmit(now).is_some() {
                sent.push(now - start);
            }
            if binding.state() != State::Asking {
                break;
            }
            now = binding.deadline(now).max(now);
        }
        assert_eq!(sent, [0, 500, 1500, 3500, 7500].map(Duration::from_millis));
        assert_eq!((binding.state(), now - start), (State::Failed("it does not answer"), Duration::from_millis(9500)));
        assert_eq!(binding.deadline(now), now + RETRY);
        assert!(binding.poll_transmit(now + RETRY).is_some(), "and it is asked again later");
    }

    #[test]
    fn a_server_that_falls_silent_does_not_take_the_mapping() {
        let (mut binding, mut now) = binding();
        let request = binding.poll_transmit(now).unwrap();
        binding.handle(&answer(&request, MAPPED), now);
        for _ in 0..20 {
            now = binding.deadline(now).max(now);
            while binding.poll_transmit(now).is_some() {}
        }
        assert_eq!(binding.state(), State::Mapped(MAPPED.parse().unwrap()));
    }

    #[test]
    fn only_the_right_answer_counts() {
        let (mut binding, now) = binding();
        let request = binding.poll_transmit(now).unwrap();
        let mut forged = answer(&request, "6.6.6.6:6");
        forged[19] ^= 1;
        for data in [&forged[..], &request[..], b"", b"\x01\x01", &[0x80; 1200]] {
            assert!(!binding.handle(data, now));
        }
        assert_eq!(binding.state(), State::Asking);
        assert!(binding.handle(&answer(&request, "[2001:db8::1]:5"), now));
        assert_eq!(binding.state(), State::Failed("it refuses"), "a mapping of another family is none");
    }
}
