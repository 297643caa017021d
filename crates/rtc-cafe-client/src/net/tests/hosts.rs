//! Sockets, STUN and interfaces.

use std::time::Duration;

use str0m::CandidateKind;
use tokio::{net::UdpSocket, time::timeout};

use super::{coturn::Coturn, *};

#[tokio::test]
async fn without_servers_gathering_is_complete_at_once() {
    let mut endpoint = Endpoint::bind(config(Vec::new())).unwrap();
    assert!(endpoint.is_gathering());
    assert_eq!(endpoint.candidates().len(), 1);
    assert!(gathered(&mut endpoint).await.is_empty());
    assert!(!endpoint.is_gathering());
}

#[tokio::test]
async fn the_interfaces_of_this_machine_will_do() {
    let mut system = EndpointConfig::new(tls(None));
    system.loopback = true;
    let endpoint = Endpoint::bind(system).unwrap();
    assert!(endpoint.candidates().iter().any(|candidate| candidate.addr().ip().is_loopback()));
    assert!(endpoint.candidates().iter().all(|candidate| candidate.kind() == CandidateKind::Host));
}

#[tokio::test]
async fn bursts_arrive_whole_and_in_order() {
    let mut a = Endpoint::bind(config(Vec::new())).unwrap();
    let mut b = Endpoint::bind(config(Vec::new())).unwrap();
    let (from, to) = (base(&a), base(&b));
    // A socket that the reactor has not seen yet takes nothing, and not all of them fit into the queue.
    b.send(to, from, b"awake?");
    datagram(&mut a, &mut b).await;
    for n in 0..300_u32 {
        let mut data = vec![0; 1200];
        data[..4].copy_from_slice(&n.to_be_bytes());
        a.send(from, to, &data);
    }
    for n in 0..300_u32 {
        let (local, remote, data) = datagram(&mut b, &mut a).await;
        assert_eq!((local, remote, data.len()), (to, from, 1200));
        assert_eq!(data[..4], n.to_be_bytes());
    }
}

#[tokio::test]
async fn ipv6_does_as_well() {
    if UdpSocket::bind("[::1]:0").await.is_err() {
        return println!("skipped: there is no IPv6 here");
    }
    let on_ipv6 = || {
        let mut config = config(Vec::new());
        config.interfaces = Arc::new(|| Ok(vec!["::1".parse().unwrap()]));
        Endpoint::bind(config).unwrap()
    };
    let (mut a, mut b) = (on_ipv6(), on_ipv6());
    let (from, to) = (base(&a), base(&b));
    assert!(from.is_ipv6());
    a.send(from, to, b"six");
    assert_eq!(datagram(&mut b, &mut a).await, (to, from, b"six".to_vec()));
}

#[tokio::test]
async fn a_dropped_recv_loses_nothing() {
    let mut a = Endpoint::bind(config(Vec::new())).unwrap();
    let mut b = Endpoint::bind(config(Vec::new())).unwrap();
    let (from, to) = (base(&a), base(&b));
    gathered(&mut a).await;
    gathered(&mut b).await;
    let mut received = Vec::new();
    for n in 0..100_u8 {
        a.send(from, to, &[n]);
        let _ = timeout(Duration::ZERO, a.recv()).await;
        // Polled once, and dropped.
        if let Ok(EndpointEvent::Datagram { data, .. }) = timeout(Duration::ZERO, b.recv()).await {
            received.extend_from_slice(data);
        }
    }
    while received.len() < 100 {
        received.extend(datagram(&mut b, &mut a).await.2);
    }
    assert_eq!(received, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_closed_port_ends_nothing() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut a = Endpoint::bind(config(Vec::new())).unwrap();
    let mut b = Endpoint::bind(config(Vec::new())).unwrap();
    let (from, to) = (base(&a), base(&b));
    for _ in 0..200 {
        a.send(from, closed, b"nobody");
        // Nor does an address that no route leads to, nor a base that is not there.
        a.send(from, "192.0.2.1:9".parse().unwrap(), b"nowhere");
        a.send(from, "[2001:db8::1]:9".parse().unwrap(), b"another family");
        a.send(closed, to, b"from nobody");
    }
    a.send(from, to, b"there");
    assert_eq!(datagram(&mut b, &mut a).await.2, b"there");
}

#[tokio::test]
async fn a_mapping_that_equals_the_host_is_no_candidate() {
    let coturn = Coturn::start();
    let mut endpoint = Endpoint::bind(config(vec![coturn.stun()])).unwrap();
    assert!(gathered(&mut endpoint).await.is_empty());
    assert_eq!(endpoint.candidates().len(), 1);
}

/// Forwards to the server and back, as a NAT does: its own address is what the server sees.
async fn nat(server: u16) -> (SocketAddr, SocketAddr) {
    let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addresses = (inside.local_addr().unwrap(), outside.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut request, mut response, mut client) = ([0; 2048], [0; 2048], None);
        loop {
            tokio::select! {
                Ok((len, from)) = inside.recv_from(&mut request) => {
                    client = Some(from);
                    outside.send_to(&request[..len], ("127.0.0.1", server)).await.unwrap();
                }
                Ok((len, _)) = outside.recv_from(&mut response) => {
                    inside.send_to(&response[..len], client.unwrap()).await.unwrap();
                }
            }
        }
    });
    addresses
}

#[tokio::test]
async fn a_mapping_becomes_a_server_reflexive_candidate() {
    let coturn = Coturn::start();
    let (server, mapped) = nat(coturn.port).await;
    let url = IceServer::new(format!("stun:{server}"));
    let mut endpoint = Endpoint::bind(config(vec![url])).unwrap();
    assert_eq!(gathered(&mut endpoint).await, [format!("+srflx {mapped}")]);
    let [host, reflexive] = endpoint.candidates() else { panic!("{:?}", endpoint.candidates()) };
    assert_eq!(reflexive.addr(), mapped);
    assert!(format!("{reflexive:?}").contains(&format!(" base={} ", host.addr())), "{reflexive:?}");
    // The candidate goes with the server that told it.
    endpoint.set_ice_servers(Vec::new());
    let lost = until(&mut endpoint, "CandidateLost", |event| match event {
        EndpointEvent::CandidateLost(candidate) => Some(candidate.addr()),
        _ => None,
    });
    assert_eq!(lost.await, mapped);
}

#[tokio::test]
async fn what_is_no_answer_goes_to_the_driver() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = IceServer::new(format!("stun:{}", server.local_addr().unwrap()));
    let mut endpoint = Endpoint::bind(config(vec![url])).unwrap();
    let host = base(&endpoint);
    let mut other = Endpoint::bind(config(Vec::new())).unwrap();
    for data in [&b"\x01\x01\0\0\x21\x12\xa4\x42123456789012"[..], b"\x80 RTP", b"\x16 DTLS"] {
        server.send_to(data, host).await.unwrap();
        assert_eq!(datagram(&mut endpoint, &mut other).await.2, data);
    }
    assert!(endpoint.is_gathering());
}

#[tokio::test]
async fn servers_that_cannot_be_used_are_told_and_end_the_gathering() {
    let mut servers = vec![
        IceServer::new("gopher:example.org"),
        IceServer::new("turn:127.0.0.1"),
        IceServer::new("stun:no-such-name.invalid"),
        IceServer::new("stun:192.0.2.1"),
    ];
    let mut endpoint = Endpoint::bind(config(servers.clone())).unwrap();
    let told = gathered(&mut endpoint).await;
    let expected = [
        "gopher:example.org: not a stun:, turn: or turns: URL",
        "turn:127.0.0.1: username or credential is missing",
        "stun:no-such-name.invalid:3478: its name cannot be resolved",
        "stun:192.0.2.1:3478: no interface reaches it",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for expected in expected {
        assert!(told.iter().any(|told| told.starts_with(expected)), "{expected}: {told:?}");
    }
    // The same servers again are no work, and tell nothing.
    servers.pop();
    endpoint.set_ice_servers(servers);
    assert!(!endpoint.is_gathering());
}

#[tokio::test]
async fn interfaces_come_and_go() {
    let interfaces = Interfaces::new(&[1]);
    let mut endpoint = Endpoint::bind(config_on(&interfaces, Vec::new())).unwrap();
    gathered(&mut endpoint).await;
    let first = base(&endpoint);
    let change = |event: &EndpointEvent<'_>, told: &mut Vec<String>| {
        match event {
            EndpointEvent::Candidate(candidate) => told.push(format!("+{}", candidate.addr().ip())),
            EndpointEvent::CandidateLost(candidate) => told.push(format!("-{}", candidate.addr().ip())),
            EndpointEvent::InterfacesChanged => return Some(()),
            _ => panic!("{event:?}"),
        }
        None
    };
    let mut told = Vec::new();
    interfaces.set(&[1, 2]);
    until(&mut endpoint, "change", |event| change(event, &mut told)).await;
    assert_eq!((told, endpoint.candidates().len()), (vec!["+127.0.0.2".to_owned()], 2));
    assert_eq!(base(&endpoint), first, "what stayed has kept its port");
    let mut told = Vec::new();
    interfaces.set(&[2, 3]);
    until(&mut endpoint, "change", |event| change(event, &mut told)).await;
    assert_eq!(told, ["-127.0.0.1", "+127.0.0.3"]);
    // All gone is a change, too, and no end.
    interfaces.set(&[]);
    until(&mut endpoint, "change", |event| change(event, &mut Vec::new())).await;
    assert!(endpoint.candidates().is_empty());
    interfaces.set(&[1]);
    until(&mut endpoint, "change", |event| change(event, &mut Vec::new())).await;
    let mut other = Endpoint::bind(config(Vec::new())).unwrap();
    let (from, to) = (base(&other), base(&endpoint));
    other.send(from, to, b"here again");
    assert_eq!(datagram(&mut endpoint, &mut other).await.2, b"here again");
}

#[tokio::test]
async fn no_address_is_an_error() {
    let bound = Endpoint::bind(config_on(&Interfaces::new(&[]), Vec::new()));
    assert!(matches!(bound.err(), Some(crate::net::BindError::NoAddress)));
}
