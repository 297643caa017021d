//! An allocation on a TURN server without its I/O: permissions, channels and what waits for them (RFC 8656).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use stun_proto::{
    Instant,
    agent::Transmit,
    types::{
        TransportType,
        attribute::ErrorCode,
        message::{Message, MessageClass, MessageHeader, TransactionId},
    },
};
use turn_client_proto::{
    api::{CreatePermissionError, TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet},
    client::TurnClient,
    prelude::*,
    tcp::TurnClientTcp,
    types::{AddressFamily, TurnCredentials, message::ALLOCATE},
    udp::TurnClientUdp,
};

use super::{
    framing::padding,
    ice_server::Credentials,
    probe::Probe,
    stun::{FIRST_RETRANSMIT, LAST_WAIT, REQUESTS},
};

/// More peers than that get no permission: the library never lets go of one.
const MOST_PERMISSIONS: usize = 512;
/// So many addresses may wait for their permission at a time, each with so many datagrams.
const MOST_WAITING: usize = 64;
const MOST_DATAGRAMS: usize = 16;
/// How long nothing is sent to an address that the server refused.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// A peer that so many datagrams went to gets a channel, which saves 32 bytes each.
const CHANNEL_AFTER: u32 = 8;
const MOST_PEERS: usize = 1024;
/// Nothing that WebRTC sends comes near this; a message of STUN could not carry 64 KiB.
const MOST_BYTES: usize = 32 * 1024;
/// Answers of ICMP that nobody listens, after which this is believed.
const MOST_REFUSALS: u8 = 2;

/// What happened to the allocation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AllocationEvent {
    /// It has this address.
    Relayed(SocketAddr),
    /// It does not come to be, or it is gone. Nothing more will happen.
    Failed(String),
}

/// Datagrams that wait for the permission of their address.
type Waiting = VecDeque<(SocketAddr, Box<[u8]>)>;

/// An allocation, from its first request on.
pub(super) struct Allocation {
    client: TurnClient,
    credentials: Credentials,
    probe: Option<Probe>,
    relayed: Vec<SocketAddr>,
    /// ALLOCATE requests that went out, of which all but the first were signed.
    allocates: Vec<TransactionId>,
    requested: HashSet<IpAddr>,
    waiting: HashMap<IpAddr, Waiting>,
    refused: HashMap<IpAddr, Instant>,
    sent: HashMap<SocketAddr, u32>,
    ready: VecDeque<Vec<u8>>,
    events: VecDeque<AllocationEvent>,
    refusals: u8,
    failed: bool,
    reason: Option<String>,
}

impl Allocation {
    /// Asks for an address of each family; the first request is in [`Self::poll_transmit`].
    pub(super) fn new(
        transport: TransportType,
        local: SocketAddr,
        server: SocketAddr,
        credentials: Credentials,
    ) -> Self {
        let mut config = TurnConfig::new(TurnCredentials::new(&credentials.username, &credentials.password));
        config.add_address_family(AddressFamily::IPV6);
        config.set_request_retransmits(FIRST_RETRANSMIT, Duration::MAX, REQUESTS, LAST_WAIT);
        let client = match transport {
            TransportType::Udp => TurnClientUdp::allocate(local, server, config).into(),
            TransportType::Tcp => TurnClientTcp::allocate(local, server, config).into(),
        };
        Self {
            client,
            credentials,
            probe: None,
            relayed: Vec::new(),
            allocates: Vec::new(),
            requested: HashSet::new(),
            waiting: HashMap::new(),
            refused: HashMap::new(),
            sent: HashMap::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            refusals: 0,
            failed: false,
            reason: None,
        }
    }

    pub(super) fn relayed(&self) -> &[SocketAddr] {
        &self.relayed
    }

    /// Writes the message that carries the datagram, unless it has to wait for a permission, or is dropped.
    pub(super) fn send(&mut self, peer: SocketAddr, data: &[u8], now: Instant, frame: &mut Vec<u8>) -> bool {
        if data.len() > MOST_BYTES || self.failed {
            return false;
        }
        if !self.client.have_permission(TransportType::Udp, peer.ip()) {
            self.wait(peer, data, now);
            return false;
        }
        self.count(peer, now);
        let Ok(Some(transmit)) = self.client.send_to(TransportType::Udp, peer, data, now) else { return false };
        frame.clear();
        frame.resize(transmit.data.len(), 0);
        transmit.write_into(frame);
        true
    }

    /// A peer that much goes to gets a channel.
    fn count(&mut self, peer: SocketAddr, now: Instant) {
        if self.sent.len() >= MOST_PEERS && !self.sent.contains_key(&peer) {
            self.sent.clear();
        }
        let sent = self.sent.entry(peer).or_default();
        *sent = sent.saturating_add(1);
        if *sent == CHANNEL_AFTER {
            // Without one it is sent as an indication; there is nothing to do about an error.
            let _ = self.client.bind_channel(TransportType::Udp, peer, now);
        }
    }

    fn wait(&mut self, peer: SocketAddr, data: &[u8], now: Instant) {
        let address = peer.ip();
        if self.refused.get(&address).is_some_and(|until| *until > now) {
            return;
        }
        if !self.waiting.contains_key(&address) {
            let full = self.waiting.len() >= MOST_WAITING
                || (self.requested.len() >= MOST_PERMISSIONS && !self.requested.contains(&address));
            if full {
                return tracing::debug!("a peer gets no permission, there are too many");
            }
            match self.client.create_permission(TransportType::Udp, address, now) {
                Ok(()) | Err(CreatePermissionError::AlreadyExists) => {}
                Err(_) => return,
            }
            self.requested.insert(address);
        }
        let waiting = self.waiting.entry(address).or_default();
        if waiting.len() < MOST_DATAGRAMS {
            waiting.push_back((peer, data.into()));
        }
    }

    /// Takes a message of the server. A datagram of a peer is written to `out`: where it comes from, and its length.
    pub(super) fn handle(&mut self, frame: &[u8], now: Instant, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let first = *frame.first()?;
        // On a stream the library would keep what it cannot read, and wait for the rest of it forever.
        if first >= 0x80 || (first < 0x40 && MessageHeader::from_bytes(frame).is_err()) {
            return None;
        }
        // The bits that mark a response (RFC 8489 section 5) spare the rest a second look.
        if first & 0xC1 == 1
            && let Ok(message) = Message::from_bytes(frame)
            && self.handle_response(&message, now)
        {
            return None;
        }
        let from_server =
            Transmit::new(frame, self.client.transport(), self.client.remote_addr(), self.client.local_addr());
        let TurnRecvRet::PeerData(received) = self.client.recv(from_server, now) else { return None };
        let data = received.data();
        out.get_mut(..data.len())?.copy_from_slice(data);
        Some((received.peer, data.len()))
    }

    /// Sees what the library keeps to itself; whether it is not for the library.
    fn handle_response(&mut self, message: &Message<'_>, now: Instant) -> bool {
        if let Some(result) = self.probe.as_mut().and_then(|probe| probe.handle(message, now)) {
            self.refusals = 0;
            if let Err(lost) = result {
                self.fail(lost);
            }
            return true;
        }
        let index = self.allocates.iter().position(|id| *id == message.transaction_id());
        let (Some(index), true) = (index, message.has_class(MessageClass::Error)) else { return false };
        self.refusals = 0;
        let Ok(error) = message.attribute::<ErrorCode>() else { return false };
        let reason = format!("{} {}", error.code(), error.reason());
        match error.code() {
            // The first 401 asks for the credentials, the next one does not like them. The library would ignore it.
            ErrorCode::UNAUTHORIZED if index > 0 => self.fail(format!("wrong credentials ({reason})")),
            ErrorCode::UNAUTHORIZED | ErrorCode::STALE_NONCE => return false,
            _ => {
                self.reason = Some(reason);
                return false;
            }
        }
        true
    }

    /// Nobody listened to what was sent, says ICMP. It may be a moment's trouble, so it is looked into.
    pub(super) fn refused(&mut self, now: Instant) {
        let asking = self.probe.as_mut().is_none_or(|probe| probe.hurry(now));
        if asking {
            self.refusals += 1;
        }
        if self.refusals >= MOST_REFUSALS {
            self.fail("nobody listens there".into());
        }
    }

    /// Asks now whether the server still has the allocation.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(probe) = &mut self.probe {
            probe.hurry(now);
        }
    }

    /// The next message for the server.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.failed {
            return None;
        }
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        if let Some(probe) = self.probe.as_mut().and_then(|probe| probe.poll_transmit(now)) {
            return Some(probe);
        }
        let frame = self.client.poll_transmit(now)?.data.to_vec();
        if self.relayed.is_empty()
            && let Ok(message) = Message::from_bytes(&frame)
            && message.has_method(ALLOCATE)
            && !self.allocates.contains(&message.transaction_id())
            && self.allocates.len() < 16
        {
            self.allocates.push(message.transaction_id());
        }
        Some(frame)
    }

    /// Until when nothing happens without input. Events and messages are to be polled for afterwards.
    pub(super) fn poll(&mut self, now: Instant) -> Instant {
        while let Some(event) = self.client.poll_event() {
            self.handle_event(event, now);
        }
        let client = match self.client.poll(now) {
            TurnPollRet::WaitUntil(until) => until,
            TurnPollRet::Closed => {
                let ended = if self.relayed.is_empty() { "it does not answer" } else { "the allocation has ended" };
                let reason = self.reason.take().unwrap_or_else(|| ended.into());
                self.fail(reason);
                now + Duration::from_secs(3600)
            }
            // Those belong to allocations of TCP, which we never ask for.
            TurnPollRet::AllocateTcpSocket { .. } | TurnPollRet::TcpClose { .. } => now + Duration::from_secs(1),
        };
        match self.probe.as_mut().map(|probe| probe.poll(now)) {
            Some(Ok(probe)) => client.min(probe),
            Some(Err(lost)) => {
                self.fail(lost);
                client
            }
            None => client,
        }
    }

    fn handle_event(&mut self, event: TurnEvent, now: Instant) {
        match event {
            TurnEvent::AllocationCreated(_, relayed) => {
                self.relayed.push(relayed);
                self.events.push_back(AllocationEvent::Relayed(relayed));
                let (local, server) = (self.client.local_addr(), self.client.remote_addr());
                let transport = self.client.transport();
                self.probe.get_or_insert_with(|| Probe::new(transport, local, server, &self.credentials, now));
            }
            TurnEvent::PermissionCreated(_, address) => self.permitted(address, now),
            TurnEvent::PermissionCreateFailed(_, address) => {
                tracing::debug!(%address, "the TURN server gives no permission for a peer");
                self.requested.remove(&address);
                self.waiting.remove(&address);
                self.refused.retain(|_, until| *until > now);
                self.refused.insert(address, now + REFUSED_FOR);
            }
            TurnEvent::ChannelCreateFailed(_, peer) => {
                self.sent.remove(&peer);
            }
            // Closed follows when none was created.
            TurnEvent::AllocationCreateFailed(_)
            | TurnEvent::ChannelCreated(..)
            | TurnEvent::TcpConnected(_)
            | TurnEvent::TcpConnectFailed(_) => {}
        }
    }

    fn permitted(&mut self, address: IpAddr, now: Instant) {
        for (peer, data) in self.waiting.remove(&address).unwrap_or_default() {
            let mut frame = Vec::new();
            if self.send(peer, &data, now, &mut frame) {
                self.ready.push_back(frame);
            }
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<AllocationEvent> {
        self.events.pop_front()
    }

    fn fail(&mut self, reason: String) {
        if !self.failed {
            self.failed = true;
            self.events.push_back(AllocationEvent::Failed(reason));
        }
    }

    /// The message that gives the allocation back.
    pub(super) fn delete(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.client.delete(now).ok()?;
        // The library holds requests back for 50 ms after the one before.
        let later = now + Duration::from_secs(1);
        while let Some(transmit) = self.client.poll_transmit(later) {
            let frame = transmit.data.to_vec();
            let refresh = Message::from_bytes(&frame)
                .is_ok_and(|message| message.has_method(turn_client_proto::types::message::REFRESH));
            if refresh {
                return Some(frame);
            }
        }
        None
    }
}

/// What a stream needs after a message.
pub(super) fn padded(frame: &mut Vec<u8>) {
    frame.extend_from_slice(padding(frame));
}

#[cfg(test)]
mod tests {
    use stun_proto::types::{
        attribute::{Nonce, Realm},
        message::MessageWriteVec,
        prelude::{MessageWrite, MessageWriteExt},
    };

    use super::*;

    fn allocation(transport: TransportType) -> Allocation {
        let credentials = Credentials { username: "u".into(), password: "p".into() };
        Allocation::new(transport, "10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap(), credentials)
    }

    fn challenge(request: &[u8], nonce: &str) -> Vec<u8> {
        let request = Message::from_bytes(request).unwrap();
        let mut response = Message::builder_error(&request, MessageWriteVec::new());
        response.add_attribute(&ErrorCode::builder(ErrorCode::UNAUTHORIZED).build().unwrap()).unwrap();
        response.add_attribute(&Realm::new("r").unwrap()).unwrap();
        response.add_attribute(&Nonce::new(nonce).unwrap()).unwrap();
        response.finish()
    }

    #[test]
    fn what_cannot_be_read_is_dropped_and_nothing_else() {
        for transport in [TransportType::Udp, TransportType::Tcp] {
            let mut allocation = allocation(transport);
            let now = Instant::from_nanos(1_000_000_000);
            let request = allocation.poll_transmit(now).unwrap();
            let mut out = [0; 2048];
            for junk in [&[0; 20][..], &[1; 24], &[0x01, 0x13, 0, 0], &[0x40, 0, 0, 1, 7], &[0xff; 100], b""] {
                assert_eq!(allocation.handle(junk, now, &mut out), None);
            }
            assert_eq!(allocation.handle(&challenge(&request, "n"), now, &mut out), None);
            let later = now + Duration::from_millis(50);
            let signed = allocation.poll_transmit(later).expect("the answer to the challenge");
            assert!(Message::from_bytes(&signed).unwrap().has_method(ALLOCATE) && signed.len() > request.len());
            // And only the answer to a signed request says that the credentials are wrong.
            allocation.handle(&challenge(&request, "m"), later, &mut out);
            assert_eq!(allocation.poll_event(), None, "an old answer");
            allocation.handle(&challenge(&signed, "m"), later, &mut out);
            assert!(
                matches!(allocation.poll_event(), Some(AllocationEvent::Failed(reason)) if reason.contains("wrong"))
            );
        }
    }

    #[test]
    fn a_server_that_says_nothing_fails() {
        let mut allocation = allocation(TransportType::Udp);
        let start = Instant::from_nanos(1_000_000_000);
        let (mut now, mut sent) = (start, 0);
        let failed = loop {
            let until = allocation.poll(now);
            while allocation.poll_transmit(now).is_some() {
                sent += 1;
            }
            if let Some(event) = allocation.poll_event() {
                break event;
            }
            now = until.max(allocation.poll(now)).max(now + Duration::from_millis(1));
            assert!(now - start < Duration::from_secs(20));
        };
        assert_eq!((failed, sent), (AllocationEvent::Failed("it does not answer".into()), 5));
    }
}
