//! What one client may do: its requests, its allocation, and the data both ways. No sockets, no clock.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Instant, SystemTime},
};

use turn_types::{
    AddressFamily,
    attribute::{
        AdditionalAddressFamily, ChannelNumber, Data, EvenPort, Lifetime, RequestedAddressFamily, RequestedTransport,
        ReservationToken, XorPeerAddress, XorRelayedAddress,
    },
    channel::ChannelData,
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA, REFRESH, SEND},
    stun::{
        attribute::{
            AttributeType, ErrorCode, Fingerprint, MessageIntegrity, MessageIntegritySha256, Nonce, Realm, Username,
        },
        message::{BINDING, Message, MessageClass, MessageWrite, MessageWriteExt, MessageWriteVec},
        prelude::{Attribute, AttributeFromRaw, AttributeStaticType},
    },
};

use crate::{
    allocation::{Allocation, LIFETIME, lifetime},
    auth::{Authenticator, Identity, Refusal},
    discovery,
    framing::{FromPeer, is_channel_data},
    limits::{Full, Limits, Quotas},
    policy::{PeerPolicy, reached},
    reply::Reply,
    stats::{Counters, Transport},
    strangers::Strangers,
};

/// Comprehension-required attributes that are known. Without DONT-FRAGMENT: whoever asks for it is told (RFC 8656
/// section 7.2).
const KNOWN: [AttributeType; 16] = [
    Username::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    MessageIntegrity::TYPE,
    MessageIntegritySha256::TYPE,
    Fingerprint::TYPE,
    RequestedTransport::TYPE,
    RequestedAddressFamily::TYPE,
    AdditionalAddressFamily::TYPE,
    EvenPort::TYPE,
    ReservationToken::TYPE,
    Lifetime::TYPE,
    XorPeerAddress::TYPE,
    ChannelNumber::TYPE,
    Data::TYPE,
    // Of ICE, in checks that come here by mistake.
    AttributeType::new(0x0024),
];

/// Those of RFC 5766, which clients still use; RFC 8656 section 12 has a quarter of them.
const CHANNELS: std::ops::Range<u16> = 0x4000..0x8000;

/// Longest datagram of a peer that fits into a message of STUN.
const MAX_DATA: usize = 65_000;

/// What all clients have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) auth: Authenticator,
    pub(crate) policy: PeerPolicy,
    pub(crate) limits: Limits,
    pub(crate) quotas: Quotas,
    pub(crate) strangers: Strangers,
    pub(crate) counters: Arc<Counters>,
}

impl Common {
    /// Whether there is an answer for somebody at an address who has not shown credentials.
    pub(crate) fn may_hear(&self, address: IpAddr, now: Now) -> Option<()> {
        let may = self.strangers.may_hear(address, now.instant);
        if !may {
            self.counters.unanswered.add(1);
        }
        may.then_some(())
    }
}

/// The sockets at which peers reach clients.
pub(crate) trait Relays {
    /// Whether there may be any of a family.
    fn serves(&self, family: AddressFamily) -> bool;
    /// Opens one, at an even port if need be; gives the address that peers see.
    fn open(&mut self, family: AddressFamily, even: bool) -> Option<SocketAddr>;
    /// Closes it.
    fn close(&mut self, relay: SocketAddr);
    /// Whether this is the address of one, of whichever client.
    fn is_relay(&self, address: SocketAddr) -> bool;
    /// Whether this is an address of the server.
    fn is_own(&self, address: IpAddr) -> bool;
    /// Whether this is an address of the server's machine, which may have more of them.
    fn is_of_machine(&self, address: IpAddr) -> bool;
}

/// The time on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) wall: SystemTime,
}

/// What comes of what a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output<'a> {
    /// An answer for it.
    Reply(Vec<u8>),
    /// Data for a peer, from one of its relayed addresses.
    ToPeer { relay: SocketAddr, peer: SocketAddr, data: Cow<'a, [u8]> },
}

/// One client: what comes from one address to one of ours, by one transport.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    transport: Transport,
    allocation: Option<Allocation>,
}

impl Client {
    pub(crate) const fn new(address: SocketAddr, transport: Transport) -> Self {
        Self { address, transport, allocation: None }
    }

    pub(crate) const fn is_allocated(&self) -> bool {
        self.allocation.is_some()
    }

    /// Takes a message of the client. Whatever it is, nothing comes of it that was not allowed.
    pub(crate) fn handle<'a>(
        &mut self,
        data: &'a [u8],
        common: &Common,
        relays: &mut dyn Relays,
        now: Now,
    ) -> Option<Output<'a>> {
        if is_channel_data(data) {
            return self.handle_channel_data(data, common, relays, now);
        }
        let message = Message::from_bytes(data).ok()?;
        match (message.class(), message.method()) {
            (MessageClass::Request, BINDING) => self.bind(&message, common, now).map(Output::Reply),
            (MessageClass::Request, _) => self.handle_request(&message, common, relays, now).map(Output::Reply),
            (MessageClass::Indication, SEND) => self.handle_send(&message, common, relays, now),
            _ => None,
        }
    }

    /// Takes data of a peer; gives what the client is to get.
    pub(crate) fn handle_peer<'a>(
        &mut self,
        relay: SocketAddr,
        peer: SocketAddr,
        data: &'a [u8],
        common: &Common,
        now: Now,
    ) -> Option<FromPeer<'a>> {
        let allocation = self.allocation.as_mut().filter(|_| data.len() <= MAX_DATA)?;
        if !allocation.has_relay(relay) || !allocation.is_permitted(peer.ip(), now.instant) {
            common.counters.refused_peers.add(1);
            return None;
        }
        may_pass(allocation, data.len(), common, now)?;
        common.counters.from_peers.add(data.len());
        if let Some(number) = allocation.channel_of(peer, now.instant) {
            // RFC 8656 section 12.5: on a stream it is a multiple of four.
            let padding = if self.transport.is_stream() { data.len().wrapping_neg() % 4 } else { 0 };
            return Some(FromPeer::Channel { number, data, padding });
        }
        let mut message = Message::builder_indication(DATA, MessageWriteVec::with_capacity(data.len() + 48));
        let peer = XorPeerAddress::new(peer, message.transaction_id());
        message.add_attribute(&peer).ok()?;
        message.add_attribute(&Data::new(data)).ok()?;
        Some(FromPeer::Indication(message.finish()))
    }

    /// Ends what has run out.
    pub(crate) fn expire(&mut self, relays: &mut dyn Relays, now: Instant) {
        if let Some(allocation) = &mut self.allocation {
            allocation.expire(now);
            if allocation.is_over(now) {
                self.end(relays);
            }
        }
    }

    /// The client is gone.
    pub(crate) fn end(&mut self, relays: &mut dyn Relays) {
        if let Some(allocation) = self.allocation.take() {
            allocation.relays().for_each(|relay| relays.close(relay));
        }
    }

    fn bind(&self, message: &Message<'_>, common: &Common, now: Now) -> Option<Vec<u8>> {
        self.may_hear(common, now)?;
        Some(discovery::bind(message, self.address, None, common).0)
    }

    /// Whether there is an answer for somebody who has not shown credentials. On a stream he is who he says.
    fn may_hear(&self, common: &Common, now: Now) -> Option<()> {
        if self.transport.is_stream() { Some(()) } else { common.may_hear(self.address.ip(), now) }
    }

    fn handle_request(
        &mut self,
        message: &Message<'_>,
        common: &Common,
        relays: &mut dyn Relays,
        now: Now,
    ) -> Option<Vec<u8>> {
        // Who asks for another allocation is told that there is one (437), whoever has it.
        let known = self.allocation.as_ref().filter(|_| message.method() != ALLOCATE).map(Allocation::identity);
        let identity = match common.auth.check(message, self.address, known, now.wall) {
            Ok(identity) => identity,
            Err(refusal) => return self.refuse(message, refusal, common, now),
        };
        let unknown = unknown(message);
        if !unknown.is_empty() {
            return Some(Reply::unknown(message, &unknown).finish(Some(&identity)));
        }
        let reply = match message.method() {
            ALLOCATE => self.allocate(message, &identity, common, relays, now),
            REFRESH => self.refresh(message, relays, now),
            CREATE_PERMISSION => self.create_permission(message, common, relays, now),
            CHANNEL_BIND => self.bind_channel(message, common, relays, now),
            _ => Err(Refusal(ErrorCode::BAD_REQUEST)),
        };
        let reply = reply.unwrap_or_else(|Refusal(code)| {
            common.counters.refuse(code);
            tracing::debug!(client = %self.address, code, "a request is refused");
            Reply::error(message, code)
        });
        Some(reply.finish(Some(&identity)))
    }

    /// Refuses somebody who is not known, or whose nonce is old.
    fn refuse(&self, message: &Message<'_>, Refusal(code): Refusal, common: &Common, now: Now) -> Option<Vec<u8>> {
        // Whoever has an allocation needs another nonce to keep it, and has asked with as many bytes as the answer has.
        if self.allocation.is_none() || code != ErrorCode::STALE_NONCE {
            self.may_hear(common, now)?;
        }
        let reply = Reply::error(message, code);
        let is_first = code == ErrorCode::UNAUTHORIZED && !message.has_attribute(Username::TYPE);
        if !is_first {
            common.counters.refuse(code);
        }
        let reply = match code {
            ErrorCode::UNAUTHORIZED | ErrorCode::STALE_NONCE => {
                reply.with_challenge(common.auth.realm(), &common.auth.nonce(self.address, now.wall))
            }
            _ => reply,
        };
        Some(reply.finish(None))
    }

    /// RFC 8656 section 7.2.
    fn allocate(
        &mut self,
        message: &Message<'_>,
        identity: &Identity,
        common: &Common,
        relays: &mut dyn Relays,
        now: Now,
    ) -> Result<Reply, Refusal> {
        if let Some(allocation) = &self.allocation {
            // Its answer was lost.
            let again = allocation.is_made_by(message.transaction_id());
            return if again { Ok(self.allocated(message, now)) } else { Err(Refusal(ErrorCode::ALLOCATION_MISMATCH)) };
        }
        let transport = message.attribute::<RequestedTransport>().map_err(|_| Refusal(ErrorCode::BAD_REQUEST))?;
        if transport.protocol() != RequestedTransport::UDP {
            return Err(Refusal(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL));
        }
        let families = families(message)?;
        // The next port is reserved for nobody.
        let even = message.attribute::<EvenPort>().ok().map(|even| even.requested());
        if even == Some(true) || message.has_attribute(ReservationToken::TYPE) {
            return Err(Refusal(ErrorCode::INSUFFICIENT_CAPACITY));
        }
        let id = crate::credentials::id(&identity.username);
        let here = (self.transport, self.address.ip());
        let permit = common.quotas.take(&common.limits, id, here, now.instant).map_err(|full| match full {
            Full::Client => Refusal(ErrorCode::ALLOCATION_QUOTA_REACHED),
            Full::Server => Refusal(ErrorCode::INSUFFICIENT_CAPACITY),
        })?;
        if !families.iter().any(|family| relays.serves(*family)) {
            return Err(Refusal(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED));
        }
        let opened: Vec<_> = families.iter().filter_map(|family| relays.open(*family, even.is_some())).collect();
        // Of two families one is enough.
        if opened.is_empty() {
            return Err(Refusal(ErrorCode::INSUFFICIENT_CAPACITY));
        }
        common.counters.allocate(self.transport);
        tracing::debug!(client = %self.address, id, relays = ?opened, "allocated");
        let transaction = message.transaction_id();
        let end = now.instant + lifetime(message).max(LIFETIME);
        self.allocation = Some(Allocation::new(identity.clone(), transaction, opened, permit, end));
        Ok(self.allocated(message, now))
    }

    fn allocated(&self, message: &Message<'_>, now: Now) -> Reply {
        let mut reply = Reply::success(message);
        if let Some(allocation) = &self.allocation {
            for relay in allocation.relays() {
                reply = reply.with(&XorRelayedAddress::new(relay, message.transaction_id()));
            }
            reply = reply.with(&Lifetime::new(allocation.left(now.instant)));
        }
        reply.with_mapped(message, self.address)
    }

    /// RFC 8656 section 8.2.
    fn refresh(&mut self, message: &Message<'_>, relays: &mut dyn Relays, now: Now) -> Result<Reply, Refusal> {
        let allocation = self.allocation.as_mut().ok_or(Refusal(ErrorCode::ALLOCATION_MISMATCH))?;
        let family = message.attribute::<RequestedAddressFamily>().ok().map(|family| family.family());
        if family.is_some_and(|family| !allocation.has_family(family)) {
            return Err(Refusal(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH));
        }
        let lifetime = lifetime(message);
        if lifetime.is_zero() {
            for relay in allocation.give_up(family) {
                relays.close(relay);
            }
            if allocation.relays().next().is_none() {
                self.end(relays);
            }
        } else {
            allocation.refresh(now.instant + lifetime);
        }
        Ok(Reply::success(message).with(&Lifetime::new(lifetime.as_secs() as u32)))
    }

    /// RFC 8656 section 10.2.
    fn create_permission(
        &mut self,
        message: &Message<'_>,
        common: &Common,
        relays: &dyn Relays,
        now: Now,
    ) -> Result<Reply, Refusal> {
        let allocation = self.allocation.as_mut().ok_or(Refusal(ErrorCode::ALLOCATION_MISMATCH))?;
        let peers = message.iter_attributes().filter(|(_, attribute)| attribute.get_type() == XorPeerAddress::TYPE);
        let peers: Result<Vec<_>, _> = peers.map(|(_, attribute)| XorPeerAddress::from_raw(attribute)).collect();
        let peers = peers.map_err(|_| Refusal(ErrorCode::BAD_REQUEST))?;
        let peers: Vec<_> = peers.iter().map(|peer| peer.addr(message.transaction_id()).ip()).collect();
        if peers.is_empty() {
            return Err(Refusal(ErrorCode::BAD_REQUEST));
        }
        peers.iter().try_for_each(|peer| check_peer(*peer, allocation, common, relays))?;
        // All or none of them.
        if !allocation.permit(&peers, common.limits.permissions, now.instant) {
            return Err(Refusal(ErrorCode::INSUFFICIENT_CAPACITY));
        }
        Ok(Reply::success(message))
    }

    /// RFC 8656 section 12.2.
    fn bind_channel(
        &mut self,
        message: &Message<'_>,
        common: &Common,
        relays: &dyn Relays,
        now: Now,
    ) -> Result<Reply, Refusal> {
        let allocation = self.allocation.as_mut().ok_or(Refusal(ErrorCode::ALLOCATION_MISMATCH))?;
        let (Ok(channel), Ok(peer)) = (message.attribute::<ChannelNumber>(), message.attribute::<XorPeerAddress>())
        else {
            return Err(Refusal(ErrorCode::BAD_REQUEST));
        };
        let (channel, peer) = (channel.channel(), peer.addr(message.transaction_id()));
        check_peer(peer.ip(), allocation, common, relays)?;
        if !CHANNELS.contains(&channel) || !allocation.is_bindable(channel, peer, now.instant) {
            return Err(Refusal(ErrorCode::BAD_REQUEST));
        }
        if !allocation.bind(channel, peer, common.limits.permissions, now.instant) {
            return Err(Refusal(ErrorCode::INSUFFICIENT_CAPACITY));
        }
        Ok(Reply::success(message))
    }

    fn handle_send<'a>(
        &mut self,
        message: &Message<'a>,
        common: &Common,
        relays: &dyn Relays,
        now: Now,
    ) -> Option<Output<'a>> {
        let peer = message.attribute::<XorPeerAddress>().ok()?.addr(message.transaction_id());
        let data = message.attribute::<Data<'_>>().ok()?.data().to_vec();
        self.pass_on(peer, Cow::Owned(data), common, relays, now)
    }

    fn handle_channel_data<'a>(
        &mut self,
        data: &'a [u8],
        common: &Common,
        relays: &dyn Relays,
        now: Now,
    ) -> Option<Output<'a>> {
        let (channel, length) = ChannelData::parse_header(data).ok()?;
        let peer = self.allocation.as_ref()?.peer_of(channel, now.instant)?;
        self.pass_on(peer, Cow::Borrowed(data.get(4..4 + length)?), common, relays, now)
    }

    fn pass_on<'a>(
        &mut self,
        peer: SocketAddr,
        data: Cow<'a, [u8]>,
        common: &Common,
        relays: &dyn Relays,
        now: Now,
    ) -> Option<Output<'a>> {
        let allocation = self.allocation.as_mut()?;
        let may = allocation.is_permitted(peer.ip(), now.instant) && is_reachable(peer, common, relays);
        let Some(relay) = allocation.relay_for(peer.ip()).filter(|_| may) else {
            common.counters.refused_peers.add(1);
            return None;
        };
        may_pass(allocation, data.len(), common, now)?;
        common.counters.to_peers.add(data.len());
        Some(Output::ToPeer { relay, peer, data })
    }
}

/// Whether so many bytes may pass, either way, or are dropped.
fn may_pass(allocation: &Allocation, bytes: usize, common: &Common, now: Now) -> Option<()> {
    let passes = allocation.permit.take(&common.limits, bytes, now.instant);
    if !passes {
        common.counters.dropped.add(1);
    }
    passes.then_some(())
}

/// Whether a client may ask for a peer.
fn check_peer(peer: IpAddr, allocation: &Allocation, common: &Common, relays: &dyn Relays) -> Result<(), Refusal> {
    let is_exception = common.policy.is_exception(peer);
    let is_here = relays.is_own(peer) || relays.is_of_machine(peer);
    // By its own name, and not as IPv4 inside of IPv6: there are relayed addresses, too.
    let has_relays = relays.is_own(peer) && reached(peer) == peer;
    if (is_here || !common.policy.allows(peer)) && !is_exception && !has_relays {
        return Err(Refusal(ErrorCode::FORBIDDEN));
    }
    if allocation.relay_for(peer).is_none() {
        return Err(Refusal(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH));
    }
    Ok(())
}

/// Whether data may go to a peer, whose address alone was asked for. At the server itself that is another relayed address,
/// and nothing else that may listen there.
fn is_reachable(peer: SocketAddr, common: &Common, relays: &dyn Relays) -> bool {
    let is_here = relays.is_own(peer.ip()) || relays.is_of_machine(peer.ip());
    if is_here && !common.policy.is_exception(peer.ip()) {
        return relays.is_relay(peer);
    }
    common.policy.allows(peer.ip())
}

/// The families that an allocation is to have.
fn families(message: &Message<'_>) -> Result<Vec<AddressFamily>, Refusal> {
    let bad = Refusal(ErrorCode::BAD_REQUEST);
    let requested = message.raw_attribute(RequestedAddressFamily::TYPE);
    let additional = message.raw_attribute(AdditionalAddressFamily::TYPE);
    match (requested, additional) {
        (None, None) => Ok(vec![AddressFamily::IPV4]),
        (Some(raw), None) => match RequestedAddressFamily::from_raw(raw) {
            Ok(requested) => Ok(vec![requested.family()]),
            Err(_) => Err(Refusal(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED)),
        },
        (None, Some(raw)) => match AdditionalAddressFamily::from_raw(raw) {
            Ok(additional) if additional.family() == AddressFamily::IPV6 => {
                Ok(vec![AddressFamily::IPV4, AddressFamily::IPV6])
            }
            _ => Err(bad),
        },
        (Some(_), Some(_)) => Err(bad),
    }
}

/// The attributes that have to be understood and are not.
pub(crate) fn unknown(message: &Message<'_>) -> Vec<AttributeType> {
    let types = message.iter_attributes().map(|(_, attribute)| attribute.get_type());
    types.filter(|kind| kind.comprehension_required() && !KNOWN.contains(kind)).collect()
}
