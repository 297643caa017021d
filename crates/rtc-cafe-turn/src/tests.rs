//! A client and the rules, without sockets and without waiting.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use turn_types::{
    AddressFamily,
    attribute::{
        ChannelNumber, Data, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress, XorRelayedAddress,
    },
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND},
    stun::{
        attribute::{AttributeType, ErrorCode, Nonce, RawAttribute, Realm, Username, XorMappedAddress},
        message::{
            BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials,
            MessageWrite, MessageWriteExt, MessageWriteVec, Method,
        },
        prelude::AttributeWrite,
    },
};

use crate::{
    Limits, PeerPolicy, Secret,
    auth::Authenticator,
    client::{Client, Common, Now, Output},
    fuzzing::Sockets,
    limits::Quotas,
    stats::{PerTransport, Transport},
    strangers::Strangers,
};

mod vectors;

const CLIENT: &str = "198.51.100.9:4000";
const PEER: &str = "8.8.8.8:5000";

/// A client that knows how to ask, and the server it asks.
struct Table {
    client: Client,
    common: Common,
    sockets: Sockets,
    start: Instant,
    passed: Duration,
    username: String,
    password: String,
    nonce: String,
}

impl Table {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let secret = Secret::new("north").unwrap();
        let made = secret.mint("ana", Duration::from_secs(3600), UNIX_EPOCH);
        let common = Common {
            auth: Authenticator::new("rtc-cafe".into(), secret),
            policy: PeerPolicy::default(),
            strangers: Strangers::new(limits.answers_per_address, Instant::now()),
            limits,
            quotas: Quotas::default(),
            counters: Default::default(),
        };
        let nonce = common.auth.nonce(CLIENT.parse().unwrap(), UNIX_EPOCH);
        Self {
            client: Client::new(CLIENT.parse().unwrap(), Transport::Udp),
            common,
            sockets: Sockets::default(),
            start: Instant::now(),
            passed: Duration::ZERO,
            username: made.username,
            password: made.password,
            nonce,
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.start + self.passed, wall: SystemTime::UNIX_EPOCH + self.passed }
    }

    fn wait(&mut self, seconds: u64) {
        self.passed += Duration::from_secs(seconds);
        self.client.expire(&mut self.sockets, self.start + self.passed);
        self.nonce = self.common.auth.nonce(CLIENT.parse().unwrap(), self.now().wall);
    }

    fn credentials(&self) -> MessageIntegrityCredentials {
        LongTermKeyCredentials::new(self.username.clone(), self.password.clone(), "rtc-cafe".into()).into()
    }

    fn handle(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let now = self.now();
        match self.client.handle(data, &self.common, &mut self.sockets, now)? {
            Output::Reply(reply) => Some(reply),
            Output::ToPeer { relay, peer, data } => {
                assert!(self.sockets.open.contains(&relay));
                Some(format!("{peer} {}", String::from_utf8_lossy(&data)).into_bytes())
            }
        }
    }

    fn request(&self, method: Method, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        self.complete(&mut message, attributes);
        message.finish()
    }

    fn complete(&self, message: &mut MessageWriteVec, attributes: &[&dyn AttributeWrite]) {
        attributes.iter().for_each(|attribute| message.add_attribute(*attribute).unwrap());
        message.add_attribute(&Username::new(&self.username).unwrap()).unwrap();
        message.add_attribute(&Realm::new("rtc-cafe").unwrap()).unwrap();
        message.add_attribute(&Nonce::new(&self.nonce).unwrap()).unwrap();
        message.add_message_integrity(&self.credentials(), IntegrityAlgorithm::Sha1).unwrap();
    }

    /// Asks for something; 0, or the code with which it was refused.
    fn ask(&mut self, method: Method, attributes: &[&dyn AttributeWrite]) -> u16 {
        let request = self.request(method, attributes);
        code(&self.handle(&request).expect("an answer"))
    }

    fn allocate(&mut self) -> u16 {
        self.ask(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP)])
    }

    /// The same with an address that is told by what came of it.
    fn with_peer(&mut self, method: Method, peer: &str, attributes: &[&dyn AttributeWrite]) -> u16 {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        let peer = XorPeerAddress::new(peer.parse().unwrap(), message.transaction_id());
        message.add_attribute(&peer).unwrap();
        self.complete(&mut message, attributes);
        let reply = self.handle(&message.finish()).expect("an answer");
        code(&reply)
    }

    fn permit(&mut self, peer: &str) -> u16 {
        self.with_peer(CREATE_PERMISSION, peer, &[])
    }

    fn bind(&mut self, channel: u16, peer: &str) -> u16 {
        self.with_peer(CHANNEL_BIND, peer, &[&ChannelNumber::new(channel)])
    }

    fn send(&mut self, peer: &str, data: &[u8]) -> Option<String> {
        let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
        let peer = XorPeerAddress::new(peer.parse().unwrap(), message.transaction_id());
        message.add_attribute(&peer).unwrap();
        message.add_attribute(&Data::new(data)).unwrap();
        self.handle(&message.finish()).map(|sent| String::from_utf8(sent).unwrap())
    }

    fn hear(&mut self, peer: &str, data: &[u8]) -> Option<Vec<u8>> {
        let (relay, now) = (self.sockets.open[0], self.now());
        let heard = self.client.handle_peer(relay, peer.parse().unwrap(), data, &self.common, now)?;
        let length = heard.length();
        Some(heard.into_bytes()).inspect(|bytes| assert_eq!(bytes.len(), length))
    }
}

fn code(reply: &[u8]) -> u16 {
    let reply = Message::from_bytes(reply).expect("a message");
    match reply.class() {
        MessageClass::Success => 0,
        MessageClass::Error => reply.attribute::<ErrorCode>().expect("a code").code(),
        other => panic!("an answer of class {other:?}"),
    }
}

#[test]
fn an_address_is_told_to_anybody() {
    let mut table = Table::new();
    let reply = table.handle(&Message::builder_request(BINDING, MessageWriteVec::new()).finish()).unwrap();
    let reply = Message::from_bytes(&reply).unwrap();
    assert_eq!(reply.attribute::<XorMappedAddress>().unwrap().addr(reply.transaction_id()), CLIENT.parse().unwrap());
    assert!(!table.client.is_allocated());
}

#[test]
fn who_has_credentials_gets_an_allocation() {
    let mut table = Table::new();
    let anonymous = Message::builder_request(ALLOCATE, MessageWriteVec::new()).finish();
    let reply = table.handle(&anonymous).unwrap();
    let challenge = Message::from_bytes(&reply).unwrap();
    assert_eq!(code(&reply), ErrorCode::UNAUTHORIZED);
    table.nonce = challenge.attribute::<Nonce>().unwrap().nonce().to_owned();
    assert_eq!(challenge.attribute::<Realm>().unwrap().realm(), "rtc-cafe");
    assert!(reply.len() <= 100, "{} bytes might be for somebody who did not ask", reply.len());

    let request = table.request(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP)]);
    let reply = table.handle(&request).unwrap();
    let message = Message::from_bytes(&reply).unwrap();
    assert!(message.validate_integrity(&table.credentials()).is_ok(), "the answer is signed");
    let relay = message.attribute::<XorRelayedAddress>().unwrap().addr(message.transaction_id());
    assert_eq!(table.sockets.open, [relay]);
    assert_eq!(message.attribute::<Lifetime>().unwrap().seconds(), 600);
    let again = table.handle(&request).unwrap();
    assert_eq!((code(&again), table.sockets.open.len()), (0, 1), "its answer was lost");
    assert_eq!(table.allocate(), ErrorCode::ALLOCATION_MISMATCH);
}

#[test]
fn forged_expired_and_replayed_credentials_are_refused() {
    let mut table = Table::new();
    let good = table.request(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP)]);
    let mut tampered = good.clone();
    tampered[25] ^= 1;
    assert_ne!(code(&table.handle(&tampered).unwrap()), 0);
    table.password = "another".into();
    assert_eq!(table.allocate(), ErrorCode::UNAUTHORIZED);
    table.username = "9999999999:ana".into();
    assert_eq!(table.allocate(), ErrorCode::UNAUTHORIZED, "nobody minted these");

    // What is overheard is of no use from another address, whose nonce is another one.
    let mut elsewhere = Client::new("198.51.100.66:4000".parse().unwrap(), Transport::Udp);
    let now = table.now();
    let Some(Output::Reply(reply)) = elsewhere.handle(&good, &table.common, &mut table.sockets, now) else { panic!() };
    assert_eq!(code(&reply), ErrorCode::STALE_NONCE);

    let mut late = Table::new();
    late.passed = Duration::from_secs(3600);
    assert_eq!(late.allocate(), ErrorCode::STALE_NONCE);
    late.nonce = late.common.auth.nonce(CLIENT.parse().unwrap(), late.now().wall);
    assert_eq!(late.allocate(), ErrorCode::UNAUTHORIZED, "they have expired");
    assert!(table.sockets.open.is_empty() && late.sockets.open.is_empty());
}

#[test]
fn an_allocation_outlives_its_credentials_but_is_nobody_elses() {
    let mut table = Table::new();
    assert_eq!(table.allocate(), 0);
    for _ in 0..8 {
        table.wait(599);
        assert_eq!(table.ask(REFRESH, &[]), 0, "after {:?}", table.passed);
    }
    let made = Secret::new("north").unwrap().mint("ben", Duration::from_secs(3600), table.now().wall);
    (table.username, table.password) = (made.username, made.password);
    assert_eq!(table.ask(REFRESH, &[]), ErrorCode::WRONG_CREDENTIALS);
}

#[test]
fn it_ends_when_it_is_given_up_or_forgotten() {
    let mut table = Table::new();
    assert_eq!(table.ask(REFRESH, &[]), ErrorCode::ALLOCATION_MISMATCH);
    assert_eq!(table.allocate(), 0);
    assert_eq!(table.ask(REFRESH, &[&Lifetime::new(0)]), 0);
    assert!(table.sockets.open.is_empty() && !table.client.is_allocated());
    assert_eq!(table.allocate(), 0);
    table.wait(601);
    assert!(table.sockets.open.is_empty() && !table.client.is_allocated());
    assert_eq!(table.common.quotas.total().sum(), 0);
}

#[test]
fn data_goes_to_whom_it_is_permitted_and_back() {
    let mut table = Table::new();
    assert_eq!(table.send(PEER, b"early"), None);
    assert_eq!(table.permit(PEER), ErrorCode::ALLOCATION_MISMATCH);
    assert_eq!(table.allocate(), 0);
    assert_eq!(table.send(PEER, b"not yet"), None);
    assert_eq!(table.hear(PEER, b"not yet"), None);
    assert_eq!(table.permit(PEER), 0);
    assert_eq!(table.send(PEER, b"hello").as_deref(), Some("8.8.8.8:5000 hello"));
    assert_eq!(table.send("8.8.8.8:6000", b"any port").as_deref(), Some("8.8.8.8:6000 any port"));
    assert_eq!(table.send("8.8.4.4:5000", b"another"), None);
    let heard = table.hear(PEER, b"you").unwrap();
    let heard = Message::from_bytes(&heard).unwrap();
    assert_eq!(heard.attribute::<Data<'_>>().unwrap().data(), b"you");
    assert_eq!(heard.attribute::<XorPeerAddress>().unwrap().addr(heard.transaction_id()), PEER.parse().unwrap());
    table.wait(301);
    assert_eq!((table.send(PEER, b"late"), table.hear(PEER, b"late")), (None, None));
}

#[test]
fn channels_lead_to_one_peer_each() {
    let mut table = Table::new();
    assert_eq!(table.allocate(), 0);
    assert_eq!(table.bind(0x4001, PEER), 0);
    assert_eq!(table.handle(b"\x40\x01\x00\x05hello\0\0\0").unwrap(), b"8.8.8.8:5000 hello", "padding is no data");
    assert_eq!(table.hear(PEER, b"you").unwrap(), b"\x40\x01\x00\x03you");
    assert_eq!(table.bind(0x4001, PEER), 0, "refreshed");
    assert_eq!(table.bind(0x4001, "8.8.4.4:1"), ErrorCode::BAD_REQUEST);
    assert_eq!(table.bind(0x4002, PEER), ErrorCode::BAD_REQUEST);
    for wrong in [0, 0x3fff, 0x8000, 0xffff] {
        assert_eq!(table.bind(wrong, "8.8.4.4:1"), ErrorCode::BAD_REQUEST, "{wrong:#x}");
    }
    assert_eq!(table.handle(b"\x40\x02\x00\x01x"), None);
    assert_eq!(table.handle(b"\x40\x01\xff\xffx"), None);
    // The permission ends first.
    assert_eq!(table.ask(REFRESH, &[&Lifetime::new(3600)]), 0);
    table.wait(301);
    assert_eq!(table.handle(b"\x40\x01\x00\x01x"), None);
    assert_eq!(table.permit(PEER), 0);
    assert_eq!(table.handle(b"\x40\x01\x00\x01x").unwrap(), b"8.8.8.8:5000 x");
    table.wait(300);
    assert_eq!(table.bind(0x4002, PEER), 0, "the old channel is over");
}

/// RFC 8656 section 12.5: messages of a stream are multiples of four.
#[test]
fn channel_data_is_padded_on_a_stream() {
    let mut table = Table::new();
    table.client = Client::new(CLIENT.parse().unwrap(), Transport::Tls);
    assert_eq!((table.allocate(), table.bind(0x4001, PEER)), (0, 0));
    assert_eq!(table.hear(PEER, b"you").unwrap(), b"\x40\x01\x00\x03you\0");
    assert_eq!(table.hear(PEER, b"four").unwrap(), b"\x40\x01\x00\x04four");
    assert_eq!(table.common.quotas.total().tls, 1);
}

#[test]
fn debug_shows_neither_passwords_nor_keys() {
    let mut table = Table::new();
    assert_eq!(table.allocate(), 0);
    let shown = format!("{:?} {:?}", table.client, table.common.auth);
    assert!(shown.contains("ana") && shown.contains("rtc-cafe"), "{shown}");
    assert!(!shown.contains(&table.password) && !shown.contains("north") && !shown.contains("nonce_key"), "{shown}");
}

#[test]
fn nobody_is_flooded_with_answers_he_did_not_ask_for() {
    let mut table = Table::with(Limits { answers_per_address: 5, ..Limits::default() });
    let binding = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
    let anonymous = Message::builder_request(ALLOCATE, MessageWriteVec::new()).finish();
    let answers = |table: &mut Table| {
        (0..10).filter(|number| table.handle(if number % 2 == 0 { &binding } else { &anonymous }).is_some()).count()
    };
    assert_eq!(answers(&mut table), 5);
    assert_eq!(table.allocate(), 0, "whoever has credentials is answered");
    assert_eq!(answers(&mut table), 0);
    let stats = table.common.counters.stats(PerTransport::default(), PerTransport::default());
    assert_eq!(stats.unanswered_total, 15);
    table.wait(1);
    assert_eq!(answers(&mut table), 5);
    table.client = Client::new(CLIENT.parse().unwrap(), Transport::Tcp);
    assert_eq!(answers(&mut table), 10, "whoever has connected is who he says");
}

#[test]
fn nobody_reaches_into_the_operators_network() {
    let mut table = Table::new();
    assert_eq!(table.allocate(), 0);
    for peer in ["127.0.0.1:6379", "10.0.0.1:80", "169.254.169.254:80", "192.168.1.1:80", "0.0.0.0:80", "224.0.0.1:80"]
    {
        assert_eq!(table.permit(peer), ErrorCode::FORBIDDEN, "{peer}");
        assert_eq!(table.bind(0x4001, peer), ErrorCode::FORBIDDEN, "{peer}");
        assert_eq!(table.send(peer, b"x"), None, "{peer}");
    }
    for peer in ["[::1]:80", "[::ffff:10.0.0.1]:80", "[fe80::1]:80", "[64:ff9b::a00:1]:80", "[2002:7f00:1::]:80"] {
        assert_eq!(table.permit(peer), ErrorCode::FORBIDDEN, "{peer}");
    }
    assert_eq!(table.permit("[2606:4700::1]:80"), ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
    // An address of its machine that no relay has, which firewalls often trust.
    assert_eq!(table.permit("9.9.9.10:6379"), ErrorCode::FORBIDDEN);
    assert_eq!(table.bind(0x4001, "9.9.9.10:6379"), ErrorCode::FORBIDDEN);
    assert_eq!(table.send("9.9.9.10:6379", b"x"), None);
    // At the server itself there are other relayed addresses, and nothing else.
    assert_eq!(table.permit("9.9.9.9:1"), 0);
    let relay = table.sockets.open[0];
    assert_eq!(table.send("9.9.9.9:6379", b"x"), None);
    assert!(table.send(&relay.to_string(), b"x").is_some());
}

#[test]
fn what_clients_take_is_bounded() {
    let limits = Limits { allocations_per_id: 1, permissions: 2, bandwidth: 1000, ..Limits::default() };
    let mut table = Table::with(limits);
    assert_eq!(table.allocate(), 0);
    let first = std::mem::replace(&mut table.client, Client::new(CLIENT.parse().unwrap(), Transport::Udp));
    assert_eq!(table.allocate(), ErrorCode::ALLOCATION_QUOTA_REACHED);
    table.client = first;
    assert_eq!((table.permit("8.8.8.1:1"), table.permit("8.8.8.2:1")), (0, 0));
    assert_eq!(table.permit("8.8.8.3:1"), ErrorCode::INSUFFICIENT_CAPACITY);
    assert_eq!(table.bind(0x4000, "8.8.8.3:1"), ErrorCode::INSUFFICIENT_CAPACITY);
    assert_eq!(table.permit("8.8.8.2:1"), 0);
    assert!(table.send("8.8.8.1:1", &[b'x'; 900]).is_some());
    assert!(table.send("8.8.8.1:1", &[b'x'; 900]).is_none(), "the second's worth is used up");
    table.wait(1);
    assert!(table.send("8.8.8.1:1", &[b'x'; 900]).is_some());
    let stats = table.common.counters.stats(PerTransport::default(), PerTransport::default());
    assert_eq!((stats.packets_dropped, stats.refused[&ErrorCode::ALLOCATION_QUOTA_REACHED]), (1, 1));
}

#[test]
fn both_families_are_there_for_who_asks() {
    let mut table = Table::new();
    let udp = RequestedTransport::new(RequestedTransport::UDP);
    let additional = turn_types::attribute::AdditionalAddressFamily::new(AddressFamily::IPV6);
    assert_eq!(table.ask(ALLOCATE, &[&udp, &additional]), 0);
    assert_eq!(table.sockets.open.len(), 2);
    assert_eq!((table.permit("[2606:4700::1]:80"), table.permit(PEER)), (0, 0));
    let v6 = RequestedAddressFamily::new(AddressFamily::IPV6);
    assert_eq!(table.ask(REFRESH, &[&v6, &Lifetime::new(0)]), 0);
    assert_eq!(table.sockets.open.len(), 1);
    assert_eq!(table.permit("[2606:4700::1]:80"), ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
    assert_eq!(table.ask(REFRESH, &[&v6]), ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
}

#[test]
fn an_even_port_can_be_had() {
    let mut table = Table::new();
    let even = turn_types::attribute::EvenPort::new(false);
    assert_eq!(table.ask(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP), &even]), 0);
    assert_eq!(table.sockets.open[0].port() % 2, 0);
}

#[test]
fn what_is_not_offered_is_refused() {
    let mut table = Table::new();
    let udp = RequestedTransport::new(RequestedTransport::UDP);
    assert_eq!(table.ask(ALLOCATE, &[]), ErrorCode::BAD_REQUEST);
    assert_eq!(table.ask(ALLOCATE, &[&RequestedTransport::new(6)]), ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL);
    let fragment = turn_types::attribute::DontFragment::new();
    assert_eq!(table.ask(ALLOCATE, &[&udp, &fragment]), ErrorCode::UNKNOWN_ATTRIBUTE);
    let pair = turn_types::attribute::EvenPort::new(true);
    assert_eq!(table.ask(ALLOCATE, &[&udp, &pair]), ErrorCode::INSUFFICIENT_CAPACITY);
    assert_eq!(table.ask(Method::new(0x0ab), &[]), ErrorCode::BAD_REQUEST);
    // Of RFC 5780, from a server at one address.
    let change = RawAttribute::new(AttributeType::new(0x0003), &[0, 0, 0, 6]);
    assert_eq!(table.ask(BINDING, &[&change]), ErrorCode::UNKNOWN_ATTRIBUTE);
    assert!(table.sockets.open.is_empty());
}

#[test]
fn nothing_comes_of_rubbish() {
    let mut table = Table::with(Limits { answers_per_address: 1_000_000, ..Limits::default() });
    assert_eq!(table.allocate(), 0);
    assert_eq!(table.permit(PEER), 0);
    assert_eq!(table.bind(0x4000, PEER), 0);
    let samples = [
        table.request(ALLOCATE, &[&RequestedTransport::new(17)]),
        table.request(REFRESH, &[&Lifetime::new(600)]),
        table.request(CREATE_PERMISSION, &[]),
        Message::builder_request(BINDING, MessageWriteVec::new()).finish(),
        b"\x40\x00\x00\x05hello\0\0\0".to_vec(),
    ];
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..100_000 {
        let mut data = samples[random(samples.len())].clone();
        for _ in 0..=random(4) {
            match random(3) {
                0 => data.truncate(random(data.len() + 1)),
                1 => data.extend((0..random(24)).map(|_| 0xff)),
                _ if data.is_empty() => {}
                _ => {
                    let at = random(data.len());
                    data[at] = random(256) as u8;
                }
            }
        }
        let before = table.sockets.open.clone();
        let _ = table.handle(&data);
        let _ = table.hear(PEER, &data);
        assert_eq!(table.sockets.open, before, "nothing was given or taken");
    }
}
