//! What an open relay would let strangers do, over real sockets: nobody uses it without credentials, and nobody reaches into
//! the operator's network.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use common::{Claim, Client, Served, TRANSPORTS, credentials, has_v6, secret};
use rtc_cafe_turn::Secret;
use tokio::net::UdpSocket;
use turn_types::{
    attribute::{ChannelNumber, Data, Lifetime, RequestedTransport},
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH},
    stun::{
        attribute::{ErrorCode, Realm},
        message::{BINDING, Message, MessageWrite, MessageWriteVec},
    },
};

/// Addresses that are not of the internet, however they are written; the server's own only in disguise.
const INSIDE: [&str; 39] = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.2",
    "127.255.255.254",
    // Where clouds tell a machine its secrets.
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "fec0::1",
    "::127.0.0.1",
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:127.0.0.2",
    "::ffff:169.254.169.254",
    "::ffff:192.168.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::127.0.0.2",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a00:1",
    "2002:a00:1::1",
    "2002:7f00:1::1",
    "2002:7f00:2::1",
    "2002:a9fe:a9fe::1",
    "2001:0:a00:1::1",
    "2001:db8::1",
];
/// The server's own, where other relayed addresses are.
const OWN: [&str; 2] = ["127.0.0.1", "::1"];

fn udp() -> RequestedTransport {
    RequestedTransport::new(RequestedTransport::UDP)
}

/// Somebody on every address of this machine, at one port.
struct Listener {
    sockets: Vec<UdpSocket>,
    port: u16,
}

impl Listener {
    async fn bind() -> Self {
        let v4 = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let port = v4.local_addr().unwrap().port();
        let mut sockets = vec![v4];
        if has_v6() {
            sockets.push(UdpSocket::bind(("::1", port)).await.unwrap());
        }
        Self { sockets, port }
    }

    /// What was sent to it until now must be this, sent by somebody who needs no relay.
    async fn hears_only_what_comes_directly(&self) {
        for socket in &self.sockets {
            let to = SocketAddr::new(
                if socket.local_addr().unwrap().is_ipv4() { OWN[0] } else { OWN[1] }.parse().unwrap(),
                self.port,
            );
            let direct = UdpSocket::bind((to.ip(), 0)).await.unwrap();
            direct.send_to(b"directly", to).await.unwrap();
            assert_eq!(self.hear(socket).await, "directly");
        }
    }

    async fn hear(&self, socket: &UdpSocket) -> String {
        let mut buffer = [0; 1500];
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        println!("{from} says {said:?}");
        said
    }
}

/// Asks for everything that needs an allocation, and tries to send without one.
async fn try_everything(client: &mut Client, peer: SocketAddr) -> Vec<u16> {
    let codes = vec![
        client.ask(ALLOCATE, &[&udp()], &[]).await,
        client.ask(REFRESH, &[&Lifetime::new(600)], &[]).await,
        client.ask(CREATE_PERMISSION, &[], &[peer]).await,
        client.ask(CHANNEL_BIND, &[&ChannelNumber::new(0x4000)], &[peer]).await,
    ];
    client.send_to(peer, b"unasked").await;
    client.send(b"\x40\x00\x00\x07unasked\0").await;
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_there_is_nothing() {
    // Even where the peer might be reached.
    let served = Served::start(|builder| builder.allow_peers("127.0.0.0/8".parse().unwrap())).await;
    let listener = Listener::bind().await;
    let peer = SocketAddr::new(OWN[0].parse().unwrap(), listener.port);
    for transport in TRANSPORTS {
        let mut client = served.connect(transport).await;
        let nonce = client.nonce().await;
        let another = served.connect(transport).await.nonce().await;
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
        let mut wrong_password = credentials("ana");
        wrong_password.password.push('x');
        let mut longer = secret().mint("ana", Duration::ZERO, now - hour);
        longer.username = credentials("ana").username;
        let mut nobody = credentials("ana");
        nobody.username = "ana".into();
        let elsewhere = Secret::new("south").unwrap().mint("ana", hour, now);
        let mut other_realm = Claim::new(credentials("ana"), &nonce);
        other_realm.realm = "elsewhere".into();
        let claims = [
            ("none", None, ErrorCode::UNAUTHORIZED),
            ("a wrong password", Some(Claim::new(wrong_password, &nonce)), ErrorCode::UNAUTHORIZED),
            ("another server's", Some(Claim::new(elsewhere, &nonce)), ErrorCode::UNAUTHORIZED),
            ("a name without an end", Some(Claim::new(nobody, &nonce)), ErrorCode::UNAUTHORIZED),
            ("expired", Some(Claim::new(secret().mint("ana", hour, now - 2 * hour), &nonce)), ErrorCode::UNAUTHORIZED),
            ("expired, with a later end written on it", Some(Claim::new(longer, &nonce)), ErrorCode::UNAUTHORIZED),
            ("of another realm", Some(other_realm), ErrorCode::UNAUTHORIZED),
            ("with the nonce of another", Some(Claim::new(credentials("ana"), &another)), ErrorCode::STALE_NONCE),
            ("with a made-up nonce", Some(Claim::new(credentials("ana"), "f00ff00ff-00")), ErrorCode::STALE_NONCE),
        ];
        for (what, claim, expected) in claims {
            client.claim = claim;
            assert_eq!(try_everything(&mut client, peer).await, [expected; 4], "{what}, over {transport}");
        }
        // It is told how to ask, and after all that still served.
        client.claim = None;
        let challenge = client.request(ALLOCATE, &[], &[]).await;
        assert_eq!(Message::from_bytes(&challenge).unwrap().attribute::<Realm>().unwrap().realm(), "rtc-cafe");
    }
    let stats = served.server.stats();
    assert_eq!((stats.allocations_total.sum(), stats.packets_to_peers), (0, 0), "{stats:?}");
    listener.hears_only_what_comes_directly().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_uses_the_allocation_of_another() {
    let served = Served::start(|builder| builder.allow_peers("127.0.0.0/8".parse().unwrap())).await;
    let listener = Listener::bind().await;
    let peer = SocketAddr::new(OWN[0].parse().unwrap(), listener.port);
    for transport in TRANSPORTS {
        let (mut client, _) = served.allocate(transport).await;
        let hers = client.claim.clone().unwrap();
        client.claim = Some(Claim::new(credentials("ben"), &hers.nonce));
        let wrong = ErrorCode::WRONG_CREDENTIALS;
        let codes = try_everything(&mut client, peer).await;
        assert_eq!(codes, [ErrorCode::ALLOCATION_MISMATCH, wrong, wrong, wrong], "{transport}");
        client.claim = None;
        assert_eq!(try_everything(&mut client, peer).await, [ErrorCode::UNAUTHORIZED; 4], "{transport}");
        // It has not become a worse one by that; and this is how a peer is reached at all.
        client.claim = Some(hers);
        assert_eq!(client.ask(CREATE_PERMISSION, &[], &[peer]).await, 0, "{transport}");
        client.send_to(peer, b"with credentials").await;
        assert_eq!(listener.hear(&listener.sockets[0]).await, "with credentials");
    }
    listener.hears_only_what_comes_directly().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_into_the_network_of_the_operator() {
    let served = Served::start(|builder| builder).await;
    let listener = Listener::bind().await;
    let of_machine = if_addrs::get_if_addrs().unwrap().into_iter().map(|interface| interface.ip());
    let inside: Vec<IpAddr> = INSIDE.iter().map(|address| address.parse().unwrap()).chain(of_machine).collect();
    let own = OWN.map(|address| address.parse::<IpAddr>().unwrap());
    let outside: SocketAddr = "8.8.8.8:53".parse().unwrap();
    for transport in TRANSPORTS {
        let (mut client, relays) = served.allocate(transport).await;
        assert_eq!(relays.len(), listener.sockets.len(), "one of each family");
        for peer in inside.iter().filter(|peer| !own.contains(peer)).map(|peer| SocketAddr::new(*peer, listener.port)) {
            let asked = [
                client.ask(CREATE_PERMISSION, &[], &[peer]).await,
                // Nor does it come in among others.
                client.ask(CREATE_PERMISSION, &[], &[outside, peer]).await,
                client.ask(CHANNEL_BIND, &[&ChannelNumber::new(0x4000)], &[peer]).await,
            ];
            assert_eq!(asked, [ErrorCode::FORBIDDEN; 3], "{peer} over {transport}");
            client.send_to(peer, b"inside").await;
            client.send(b"\x40\x00\x00\x06inside\0\0").await;
        }
        client.send_to(outside, b"not permitted").await;
        // What comes after it has been handled after it.
        assert_eq!(client.ask(REFRESH, &[], &[]).await, 0);
        assert_eq!(served.server.stats().packets_to_peers, 0);
    }
    listener.hears_only_what_comes_directly().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_server_itself_there_are_relayed_addresses_and_nothing_else() {
    let served = Served::start(|builder| builder).await;
    let listener = Listener::bind().await;
    let server = &served.server;
    let listening = [server.udp_addresses(), server.tcp_addresses(), server.tls_addresses()].concat();
    let ports: Vec<_> = listening.iter().map(SocketAddr::port).chain([listener.port]).collect();
    // The server would answer it, to the relayed address from which it comes.
    let question = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
    for transport in TRANSPORTS {
        let (mut client, relays) = served.allocate(transport).await;
        let peers = OWN.iter().flat_map(|own| ports.iter().map(|port| SocketAddr::new(own.parse().unwrap(), *port)));
        for (channel, peer) in (0x4000..).zip(peers.filter(|peer| peer.is_ipv4() || relays.len() > 1)) {
            assert_eq!(client.ask(CREATE_PERMISSION, &[], &[peer]).await, 0, "{peer} over {transport}");
            assert_eq!(client.ask(CHANNEL_BIND, &[&ChannelNumber::new(channel)], &[peer]).await, 0);
            client.send_to(peer, &question).await;
            let header = [channel.to_be_bytes(), (question.len() as u16).to_be_bytes()].concat();
            client.send(&[header, question.clone()].concat()).await;
        }
        for relay in relays {
            client.send_to(relay, b"to itself").await;
            let heard = client.receive().await;
            let heard = Message::from_bytes(&heard).unwrap();
            assert_eq!(heard.attribute::<Data<'_>>().unwrap().data(), b"to itself", "{heard} over {transport}");
        }
    }
    listener.hears_only_what_comes_directly().await;
}
