//! A server and its clients without sockets and without a clock, for tests and the fuzz target.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant, UNIX_EPOCH},
};

use turn_types::{
    AddressFamily,
    attribute::XorPeerAddress,
    stun::{
        attribute::{AttributeType, Nonce, RawAttribute, Realm, Username},
        message::{
            IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageType, MessageWrite,
            MessageWriteExt, MessageWriteVec, Method, TransactionId,
        },
    },
};

use crate::{
    Limits, PeerPolicy, Secret, Stats,
    auth::Authenticator,
    client::{Client, Common, Now, Output, Relays},
    limits::Quotas,
    stats::{PerTransport, Transport},
    strangers::Strangers,
};

const REALM: &str = "rtc-cafe";

/// Sockets that are none.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) open: Vec<SocketAddr>,
    opened: u16,
}

impl Relays for Sockets {
    fn serves(&self, _: AddressFamily) -> bool {
        true
    }

    fn open(&mut self, family: AddressFamily, even: bool) -> Option<SocketAddr> {
        let address: IpAddr = if family == AddressFamily::IPV4 {
            [9, 9, 9, 9].into()
        } else {
            [0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe].into()
        };
        self.opened += if even { 2 - self.opened % 2 } else { 1 };
        self.open.push(SocketAddr::new(address, 50_000 + self.opened));
        self.open.last().copied()
    }

    fn close(&mut self, relay: SocketAddr) {
        self.open.retain(|open| *open != relay);
    }

    fn is_relay(&self, address: SocketAddr) -> bool {
        self.open.contains(&address)
    }

    fn is_own(&self, address: IpAddr) -> bool {
        address == IpAddr::from([9, 9, 9, 9])
    }

    fn is_of_machine(&self, address: IpAddr) -> bool {
        self.is_own(address) || address == IpAddr::from([9, 9, 9, 10])
    }
}

/// A server that listens to nobody.
#[derive(Debug)]
pub struct Server {
    common: Common,
    secret: Secret,
    clients: BTreeMap<SocketAddr, Client>,
    sockets: Sockets,
    start: Instant,
    passed: Duration,
    /// Messages that were written.
    written: u128,
}

/// What comes of a datagram.
#[derive(Debug)]
#[non_exhaustive]
pub enum Sent {
    /// To the client.
    Reply(Vec<u8>),
    /// To a peer, from a relayed address.
    ToPeer {
        /// From where.
        relay: SocketAddr,
        /// To where.
        peer: SocketAddr,
    },
}

/// A message to be written.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Draft {
    /// Of 12 bits.
    pub method: u16,
    /// A request otherwise.
    pub is_indication: bool,
    /// Whose credentials it is signed with.
    pub signed_by: Option<String>,
    /// Those of XOR-PEER-ADDRESS.
    pub peers: Vec<SocketAddr>,
    /// Type and value of others.
    pub attributes: Vec<(u16, Vec<u8>)>,
}

impl Server {
    /// A server with a secret of its own.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (secret, start) = (Secret::random(), Instant::now());
        let common = Common {
            auth: Authenticator::new(REALM.to_owned(), secret.clone()),
            policy: PeerPolicy::default(),
            strangers: Strangers::new(limits.answers_per_address, start),
            limits,
            quotas: Quotas::default(),
            counters: Default::default(),
        };
        let (clients, sockets) = (BTreeMap::new(), Sockets::default());
        Self { common, secret, clients, sockets, start, passed: Duration::ZERO, written: 0 }
    }

    /// A datagram of a client comes.
    pub fn handle(&mut self, from: SocketAddr, data: &[u8]) -> Option<Sent> {
        let now = self.now();
        let client = self.clients.entry(from).or_insert_with(|| Client::new(from, Transport::Udp));
        Some(match client.handle(data, &self.common, &mut self.sockets, now)? {
            Output::Reply(reply) => Sent::Reply(reply),
            Output::ToPeer { relay, peer, .. } => Sent::ToPeer { relay, peer },
        })
    }

    /// A peer sends to a relayed address; how much each client gets of it.
    pub fn handle_peer(&mut self, relay: SocketAddr, peer: SocketAddr, data: &[u8]) -> Vec<(SocketAddr, usize)> {
        let now = self.now();
        let clients = self.clients.iter_mut();
        let heard = clients.filter_map(|(address, client)| {
            let heard = client.handle_peer(relay, peer, data, &self.common, now)?;
            let length = heard.length();
            assert_eq!(heard.into_bytes().len(), length);
            Some((*address, length))
        });
        heard.collect()
    }

    /// So many seconds pass.
    pub fn pass(&mut self, seconds: u64) {
        self.passed += Duration::from_secs(seconds);
        let now = self.start + self.passed;
        self.clients.values_mut().for_each(|client| client.expire(&mut self.sockets, now));
    }

    /// What a client sends that has what it needs; `None` if the message cannot be written.
    pub fn write(&mut self, client: SocketAddr, draft: &Draft) -> Option<Vec<u8>> {
        let class = if draft.is_indication { MessageClass::Indication } else { MessageClass::Request };
        let kind = MessageType::from_class_method(class, Method::new(draft.method & 0xfff));
        self.written += 1;
        let mut message = Message::builder(kind, TransactionId::from(self.written), MessageWriteVec::new());
        for (kind, value) in &draft.attributes {
            message.add_attribute(&RawAttribute::new(AttributeType::new(*kind), value)).ok()?;
        }
        for peer in &draft.peers {
            message.add_attribute(&XorPeerAddress::new(*peer, message.transaction_id())).ok()?;
        }
        if let Some(id) = &draft.signed_by {
            let now = self.now().wall;
            let made = self.secret.mint(id, Duration::from_secs(3600), now);
            message.add_attribute(&Username::new(&made.username).ok()?).ok()?;
            message.add_attribute(&Realm::new(REALM).ok()?).ok()?;
            message.add_attribute(&Nonce::new(&self.common.auth.nonce(client, now)).ok()?).ok()?;
            let key = LongTermKeyCredentials::new(made.username, made.password, REALM.to_owned());
            message.add_message_integrity(&key.into(), IntegrityAlgorithm::Sha1).ok()?;
        }
        Some(message.finish())
    }

    /// The relayed addresses there are.
    #[must_use]
    pub fn relays(&self) -> &[SocketAddr] {
        &self.sockets.open
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.common.counters.stats(self.common.quotas.total(), PerTransport::default())
    }

    fn now(&self) -> Now {
        Now { instant: self.start + self.passed, wall: UNIX_EPOCH + self.passed }
    }
}
