//! Finds out whether a TURN server still has our allocation.
//!
//! turn-client-proto 0.7 refreshes an allocation only a minute before it ends, after half an hour. A server that was
//! restarted would go unnoticed until then, and the mapping of a NAT before it would be gone long before.

use std::net::SocketAddr;

use stun_proto::{
    Instant,
    agent::{StunAgent, StunAgentPollRet},
    auth::{LongTermClientAuth, LongTermClientValidation},
    types::{
        TransportType,
        attribute::ErrorCode,
        message::{LongTermCredentials, Message, MessageClass, MessageWriteVec, TransactionId},
        prelude::{MessageWrite, MessageWriteExt},
    },
};
use turn_client_proto::types::{attribute::Lifetime, message::REFRESH};

use super::{
    ice_server::Credentials,
    stun::{KEEP_ALIVE, agent},
};

/// What turn-client-proto asks for when it allocates.
const LIFETIME_SECONDS: u32 = 1800;
/// A server that answers every request with a new nonce gets no more than this.
const MOST_CHALLENGES: u8 = 3;

/// Refreshes an allocation every 20 s (RFC 8656 section 8.1).
pub(super) struct Probe {
    server: SocketAddr,
    agent: StunAgent,
    auth: LongTermClientAuth,
    outstanding: Option<TransactionId>,
    challenges: u8,
    next: Instant,
    /// A signed request, the answer to a challenge.
    ready: Option<Vec<u8>>,
}

/// The allocation is gone, and why.
pub(super) type Lost = String;

impl Probe {
    pub(super) fn new(
        transport: TransportType,
        local: SocketAddr,
        server: SocketAddr,
        credentials: &Credentials,
        now: Instant,
    ) -> Self {
        let mut auth = LongTermClientAuth::new();
        let Credentials { username, password } = credentials.clone();
        auth.set_credentials(LongTermCredentials::new(username, password));
        let agent = agent(transport, local, server);
        Self { server, agent, auth, outstanding: None, challenges: 0, next: now + KEEP_ALIVE, ready: None }
    }

    /// Asks now instead of later; whether it was already asking.
    pub(super) fn hurry(&mut self, now: Instant) -> bool {
        self.next = self.next.min(now);
        self.outstanding.is_some()
    }

    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if let Some(ready) = self.ready.take() {
            return Some(ready);
        }
        if self.outstanding.is_none() && self.next <= now {
            self.challenges = 0;
            return self.request(now);
        }
        self.agent.poll_transmit(now).map(|transmit| transmit.data.to_vec())
    }

    fn request(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut request = Message::builder_request(REFRESH, MessageWriteVec::new());
        request.add_attribute(&Lifetime::new(LIFETIME_SECONDS)).ok()?;
        self.outstanding = Some(request.transaction_id());
        let signed = self.auth.sign_outgoing_message(request).ok()?;
        Some(self.agent.send_request(signed.finish(), self.server, now).ok()?.data.to_vec())
    }

    /// Until when nothing happens without input.
    pub(super) fn poll(&mut self, now: Instant) -> Result<Instant, Lost> {
        match self.agent.poll(now) {
            StunAgentPollRet::WaitUntil(_) if self.ready.is_some() => Ok(now),
            StunAgentPollRet::WaitUntil(until) if self.outstanding.is_some() => Ok(until),
            StunAgentPollRet::WaitUntil(_) => Ok(self.next),
            StunAgentPollRet::TransactionTimedOut(_) | StunAgentPollRet::TransactionCancelled(_) => {
                Err("it does not answer any more".into())
            }
        }
    }

    /// Takes a message of the server; `None` when it does not answer a probe.
    pub(super) fn handle(&mut self, message: &Message<'_>, now: Instant) -> Option<Result<(), Lost>> {
        if self.outstanding != Some(message.transaction_id()) || !message.is_response() {
            return None;
        }
        let validation = self.auth.validate_incoming_message(message);
        if !self.agent.handle_stun_message_with_time(message, self.server, now) {
            return Some(Ok(()));
        }
        self.outstanding = None;
        self.next = now + KEEP_ALIVE;
        if let Ok(LongTermClientValidation::ResendRequest(_)) = validation
            && self.challenges < MOST_CHALLENGES
        {
            self.challenges += 1;
            self.ready = self.request(now);
            return Some(Ok(()));
        }
        match message.attribute::<ErrorCode>() {
            // The others do not say that the allocation is gone.
            Ok(error)
                if message.has_class(MessageClass::Error)
                    && matches!(
                        error.code(),
                        ErrorCode::UNAUTHORIZED | ErrorCode::ALLOCATION_MISMATCH | ErrorCode::WRONG_CREDENTIALS
                    ) =>
            {
                Some(Err(format!("it has lost the allocation ({} {})", error.code(), error.reason())))
            }
            _ => Some(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn silence_means_lost() {
        let start = Instant::from_nanos(1);
        let (local, server) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
        let mut probe = Probe::new(TransportType::Udp, local, server, &Credentials::default(), start);
        assert_eq!((probe.poll_transmit(start), probe.poll(start)), (None, Ok(start + KEEP_ALIVE)));
        let mut now = start + KEEP_ALIVE;
        let mut sent = 0;
        let lost = loop {
            while probe.poll_transmit(now).is_some() {
                sent += 1;
            }
            match probe.poll(now) {
                Ok(until) => now = until,
                Err(_) => break now,
            }
            assert!(sent < 10);
        };
        assert_eq!((sent, lost - start), (5, KEEP_ALIVE + Duration::from_millis(9500)));
    }

    #[test]
    fn errors_that_say_it_is_gone_mean_lost_and_others_do_not() {
        for (code, lost) in [(437, true), (401, true), (441, true), (400, false), (500, false)] {
            let now = Instant::from_nanos(1);
            let (local, server) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
            let mut probe = Probe::new(TransportType::Udp, local, server, &Credentials::default(), now);
            assert!(!probe.hurry(now));
            let request = probe.poll_transmit(now).unwrap();
            let request = Message::from_bytes(&request).unwrap();
            let mut response = Message::builder_error(&request, MessageWriteVec::new());
            response.add_attribute(&ErrorCode::builder(code).build().unwrap()).unwrap();
            let response = response.finish();
            let response = Message::from_bytes(&response).unwrap();
            assert_eq!(probe.handle(&response, now).map(|result| result.is_err()), Some(lost), "{code}");
            assert_eq!(probe.handle(&response, now), None, "an answer counts once");
        }
    }
}
