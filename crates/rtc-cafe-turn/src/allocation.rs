//! One allocation: its relayed addresses, and whom it may exchange data with.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use turn_types::{
    AddressFamily,
    attribute::Lifetime,
    stun::message::{Message, TransactionId},
};

use crate::{auth::Identity, limits::Permit};

/// RFC 8656 section 3.2: ten minutes, unless the client asks for more, and no more than an hour.
pub(crate) const LIFETIME: Duration = Duration::from_secs(600);
const MAX_LIFETIME: Duration = Duration::from_secs(3600);
/// RFC 8656 section 9.
const PERMISSION: Duration = Duration::from_secs(300);
/// RFC 8656 section 12.
const CHANNEL: Duration = Duration::from_secs(600);

/// What a client has.
#[derive(Debug)]
pub(crate) struct Allocation {
    identity: Identity,
    transaction: TransactionId,
    /// One, or one of each family.
    relays: Vec<SocketAddr>,
    end: Instant,
    permissions: BTreeMap<IpAddr, Instant>,
    channels: BTreeMap<u16, (SocketAddr, Instant)>,
    numbers: BTreeMap<SocketAddr, u16>,
    pub(crate) permit: Permit,
}

impl Allocation {
    pub(crate) fn new(
        identity: Identity,
        transaction: TransactionId,
        relays: Vec<SocketAddr>,
        permit: Permit,
        end: Instant,
    ) -> Self {
        Self {
            identity,
            transaction,
            relays,
            end,
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            numbers: BTreeMap::new(),
            permit,
        }
    }

    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn is_made_by(&self, transaction: TransactionId) -> bool {
        self.transaction == transaction
    }

    pub(crate) fn relays(&self) -> impl Iterator<Item = SocketAddr> {
        self.relays.iter().copied()
    }

    pub(crate) fn has_relay(&self, relay: SocketAddr) -> bool {
        self.relays.contains(&relay)
    }

    pub(crate) fn has_family(&self, family: AddressFamily) -> bool {
        self.relays().any(|relay| self::family(relay.ip()) == family)
    }

    /// From where a peer gets data.
    pub(crate) fn relay_for(&self, peer: IpAddr) -> Option<SocketAddr> {
        self.relays().find(|relay| relay.is_ipv4() == peer.is_ipv4())
    }

    /// Gives up the relayed address of a family, or all.
    pub(crate) fn give_up(&mut self, only: Option<AddressFamily>) -> Vec<SocketAddr> {
        self.relays.extract_if(.., |relay| only.is_none_or(|only| family(relay.ip()) == only)).collect()
    }

    pub(crate) fn refresh(&mut self, end: Instant) {
        self.end = end;
    }

    /// Seconds until it ends.
    pub(crate) fn left(&self, now: Instant) -> u32 {
        // An allocation has just been made or refreshed when somebody asks, and a second more does no harm.
        self.end.saturating_duration_since(now).as_millis().div_ceil(1000) as u32
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.end <= now
    }

    /// Forgets what has run out.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.permissions.retain(|_, end| *end > now);
        let Self { channels, numbers, .. } = self;
        channels.retain(|_, (peer, end)| {
            let stays = *end > now;
            if !stays {
                numbers.remove(peer);
            }
            stays
        });
    }

    pub(crate) fn is_permitted(&self, peer: IpAddr, now: Instant) -> bool {
        self.permissions.get(&peer).is_some_and(|end| *end > now)
    }

    /// Permits peers; whether there is room for all of them.
    pub(crate) fn permit(&mut self, peers: &[IpAddr], most: usize, now: Instant) -> bool {
        let new = peers.iter().filter(|peer| !self.permissions.contains_key(peer)).count();
        let fits = self.permissions.len() + new <= most;
        if fits {
            self.permissions.extend(peers.iter().map(|peer| (*peer, now + PERMISSION)));
        }
        fits
    }

    /// Whether a channel may lead to a peer: neither may be bound to another (RFC 8656 section 12.2).
    pub(crate) fn is_bindable(&mut self, channel: u16, peer: SocketAddr, now: Instant) -> bool {
        self.expire(now);
        self.channels.get(&channel).is_none_or(|(bound, _)| *bound == peer)
            && self.numbers.get(&peer).is_none_or(|bound| *bound == channel)
    }

    /// Binds a channel, and permits its peer; whether there is room.
    pub(crate) fn bind(&mut self, channel: u16, peer: SocketAddr, most: usize, now: Instant) -> bool {
        let fits = self.channels.contains_key(&channel) || self.channels.len() < most;
        if !fits || !self.permit(&[peer.ip()], most, now) {
            return false;
        }
        self.channels.insert(channel, (peer, now + CHANNEL));
        self.numbers.insert(peer, channel);
        true
    }

    pub(crate) fn peer_of(&self, channel: u16, now: Instant) -> Option<SocketAddr> {
        self.channels.get(&channel).filter(|(_, end)| *end > now).map(|(peer, _)| *peer)
    }

    pub(crate) fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let channel = *self.numbers.get(&peer)?;
        self.peer_of(channel, now).map(|_| channel)
    }
}

/// How long an allocation is to live from now on; zero to end it.
pub(crate) fn lifetime(message: &Message<'_>) -> Duration {
    match message.attribute::<Lifetime>() {
        Ok(asked) if asked.seconds() == 0 => Duration::ZERO,
        Ok(asked) => Duration::from_secs(asked.seconds().into()).clamp(LIFETIME, MAX_LIFETIME),
        Err(_) => LIFETIME,
    }
}

const fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::IPV4 } else { AddressFamily::IPV6 }
}
