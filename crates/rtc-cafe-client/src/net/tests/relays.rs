//! Relayed candidates through coturn.

use std::time::Instant;

use str0m::CandidateKind;

use super::{super::stun::KEEP_ALIVE, coturn::Coturn, *};

/// An endpoint that has nothing but this server.
fn relayed(coturn: &Coturn, servers: Vec<IceServer>) -> Endpoint {
    let mut config = config(servers);
    config.relay_only = true;
    config.tls = tls(Some(&coturn.certificate));
    Endpoint::bind(config).unwrap()
}

async fn relay_address(endpoint: &mut Endpoint) -> SocketAddr {
    until(endpoint, "relayed candidate", |event| match event {
        EndpointEvent::Candidate(candidate) => {
            assert_eq!(candidate.kind(), CandidateKind::Relayed);
            Some(candidate.addr())
        }
        EndpointEvent::ServerFailed { url, reason } => panic!("{url}: {reason}"),
        _ => None,
    })
    .await
}

async fn lost(endpoint: &mut Endpoint) -> SocketAddr {
    until(endpoint, "CandidateLost", |event| match event {
        EndpointEvent::CandidateLost(candidate) => Some(candidate.addr()),
        _ => None,
    })
    .await
}

/// Datagrams of every length modulo four there and back, in messages and in channels.
async fn echoes(carrier: &str) {
    let coturn = Coturn::start();
    let mut near = relayed(&coturn, vec![coturn.turn(carrier, "right")]);
    let mut far = Endpoint::bind(config(Vec::new())).unwrap();
    let (relay, peer) = (relay_address(&mut near).await, base(&far));
    let mut in_channel = 0..40;
    for n in 0..100_000_usize {
        // The server sees channels a moment before we know of them.
        if coturn.channels() > 0 && in_channel.next().is_none() {
            break;
        }
        let data = vec![u8::try_from(n % 256).unwrap(); 1 + n % 40 * 30];
        near.send(relay, peer, &data);
        assert_eq!(datagram(&mut far, &mut near).await, (peer, relay, data.clone()), "{n} there");
        far.send(peer, relay, &data);
        assert_eq!(datagram(&mut near, &mut far).await, (relay, peer, data), "{n} back");
    }
    assert_eq!((coturn.channels(), in_channel.len()), (1, 0));
    // A burst comes in one piece of the stream.
    for n in 0..100_u8 {
        far.send(peer, relay, &[n; 201]);
    }
    for n in 0..100_u8 {
        assert_eq!(datagram(&mut near, &mut far).await.2, [n; 201]);
    }
    for n in 0..100_u8 {
        near.send(relay, peer, &[n; 203]);
    }
    for n in 0..100_u8 {
        assert_eq!(datagram(&mut far, &mut near).await.2, [n; 203]);
    }
}

#[tokio::test]
async fn datagrams_go_through_turn_over_udp() {
    echoes("udp").await;
}

#[tokio::test]
async fn datagrams_go_through_turn_over_tcp() {
    echoes("tcp").await;
}

#[tokio::test]
async fn datagrams_go_through_turn_over_tls() {
    echoes("tls").await;
}

#[tokio::test]
async fn two_relays_talk_to_each_other() {
    let coturn = Coturn::start();
    let mut a = relayed(&coturn, vec![coturn.turn("udp", "right")]);
    let mut b = relayed(&coturn, vec![coturn.turn("tls", "right")]);
    let (from, to) = (relay_address(&mut a).await, relay_address(&mut b).await);
    // A server drops what comes from an address that the other side has not sent to.
    b.send(to, from, b"opens the way");
    a.send(from, to, b"opens the way back");
    let (local, remote, data) = loop {
        // Either first one may have come too early; one of them, or the next, arrives.
        if let Ok(received) = timeout(Duration::from_millis(500), datagram(&mut a, &mut b)).await {
            break received;
        }
        b.send(to, from, b"once more");
    };
    assert_eq!((local, remote), (from, to));
    assert!(!data.is_empty());
}

#[tokio::test]
async fn what_waits_for_a_permission_is_sent_in_order_and_bounded() {
    let coturn = Coturn::start();
    let mut near = relayed(&coturn, vec![coturn.turn("udp", "right")]);
    let mut far = Endpoint::bind(config(Vec::new())).unwrap();
    let (relay, peer) = (relay_address(&mut near).await, base(&far));
    for n in 0..50_u8 {
        near.send(relay, peer, &[n]);
    }
    for n in 0..16_u8 {
        assert_eq!(datagram(&mut far, &mut near).await.2, [n]);
    }
    near.send(relay, peer, b"later");
    assert_eq!(datagram(&mut far, &mut near).await.2, b"later", "the rest was dropped");
}

#[tokio::test]
async fn wrong_credentials_are_told_and_right_ones_tried_at_once() {
    for carrier in ["udp", "tcp", "tls"] {
        let coturn = Coturn::start();
        let mut endpoint = relayed(&coturn, vec![coturn.turn(carrier, "wrong")]);
        let told = gathered(&mut endpoint).await;
        let [failure] = &told[..] else { panic!("{carrier}: {told:?}") };
        assert!(failure.contains("wrong credentials (401"), "{carrier}: {failure}");
        assert!(endpoint.candidates().is_empty() && !endpoint.is_gathering());
        endpoint.set_ice_servers(vec![coturn.turn(carrier, "right")]);
        assert!(endpoint.is_gathering());
        relay_address(&mut endpoint).await;
        gathered(&mut endpoint).await;
        // Others of the same kind are no reason to give up what works.
        endpoint.set_ice_servers(vec![coturn.turn(carrier, "refreshed")]);
        assert!(!endpoint.is_gathering());
        assert_eq!(endpoint.candidates().len(), 1);
    }
}

#[tokio::test]
async fn an_unknown_certificate_is_refused() {
    let (coturn, other) = (Coturn::start(), Coturn::start());
    let mut endpoint = relayed(&other, vec![coturn.turn("tls", "right")]);
    let told = gathered(&mut endpoint).await;
    assert!(told[0].contains("TLS failed"), "{told:?}");
}

#[tokio::test]
async fn a_port_without_a_server_is_told() {
    for carrier in ["udp", "tcp", "tls"] {
        let mut coturn = Coturn::start();
        coturn.kill();
        let mut endpoint = relayed(&coturn, vec![coturn.turn(carrier, "right")]);
        let told = gathered(&mut endpoint).await;
        let expected = if carrier == "udp" { "nobody listens there" } else { "cannot be connected to" };
        assert!(told.len() == 1 && told[0].contains(expected), "{carrier}: {told:?}");
    }
}

/// A server that dies takes the candidate with it; when it is back, there is a new one that works.
async fn comes_back(carrier: &str) {
    let mut coturn = Coturn::start();
    let mut near = relayed(&coturn, vec![coturn.turn(carrier, "right")]);
    let relay = relay_address(&mut near).await;
    coturn.kill();
    // What is sent now shows that nobody is there.
    near.send(relay, "127.0.0.1:9".parse().unwrap(), b"anybody?");
    assert_eq!(lost(&mut near).await, relay);
    coturn.restart();
    let relay = until(&mut near, "new candidate", |event| match event {
        EndpointEvent::Candidate(candidate) => Some(candidate.addr()),
        _ => None,
    })
    .await;
    let mut far = Endpoint::bind(config(Vec::new())).unwrap();
    let peer = base(&far);
    near.send(relay, peer, b"again");
    assert_eq!(datagram(&mut far, &mut near).await, (peer, relay, b"again".to_vec()));
}

#[tokio::test]
async fn a_server_over_udp_dies_and_comes_back() {
    comes_back("udp").await;
}

#[tokio::test]
async fn a_server_over_tcp_dies_and_comes_back() {
    comes_back("tcp").await;
}

/// A server that was restarted in a moment is asked for another allocation, as soon as there is a reason to look.
async fn is_asked_again(give_reason: impl FnOnce(&Coturn, &Interfaces, &mut Endpoint)) {
    let mut coturn = Coturn::start();
    let interfaces = Interfaces::new(&[1]);
    let mut config = config_on(&interfaces, vec![coturn.turn("udp", "right")]);
    config.relay_only = true;
    let mut endpoint = Endpoint::bind(config).unwrap();
    let relay = relay_address(&mut endpoint).await;
    gathered(&mut endpoint).await;
    coturn.kill();
    coturn.restart();
    give_reason(&coturn, &interfaces, &mut endpoint);
    let since = Instant::now();
    assert_eq!(lost(&mut endpoint).await, relay);
    assert!(since.elapsed() < KEEP_ALIVE / 2, "it was lost after {:?}", since.elapsed());
    endpoint.set_ice_servers(vec![coturn.turn("udp", "right")]);
    until(&mut endpoint, "new candidate", |event| match event {
        EndpointEvent::Candidate(candidate) => Some(candidate.addr()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_server_that_forgot_the_allocation_is_asked_for_another_when_interfaces_change() {
    is_asked_again(|_, interfaces, _| interfaces.set(&[1, 2])).await;
}

#[tokio::test]
async fn a_server_that_forgot_the_allocation_is_asked_for_another_when_there_are_other_credentials() {
    is_asked_again(|coturn, _, endpoint| endpoint.set_ice_servers(vec![coturn.turn("udp", "other")])).await;
}

#[tokio::test]
async fn an_allocation_that_is_still_there_survives_a_change_of_interfaces() {
    let coturn = Coturn::start();
    let interfaces = Interfaces::new(&[1]);
    let mut config = config_on(&interfaces, vec![coturn.turn("udp", "right")]);
    config.relay_only = true;
    let mut near = Endpoint::bind(config).unwrap();
    let mut far = Endpoint::bind(self::config(Vec::new())).unwrap();
    let (relay, peer) = (relay_address(&mut near).await, base(&far));
    interfaces.set(&[1, 2]);
    until(&mut near, "change", |event| matches!(event, EndpointEvent::InterfacesChanged).then_some(())).await;
    for n in 0..10 {
        near.send(relay, peer, &[n]);
        assert_eq!(datagram(&mut far, &mut near).await.2, [n]);
    }
    // Its own address gone, it cannot be used any longer.
    interfaces.set(&[2]);
    assert_eq!(lost(&mut near).await, relay);
}

#[tokio::test]
async fn allocations_are_given_back() {
    let coturn = Coturn::start_with(&["--user-quota=1"]);
    for _ in 0..3 {
        // The server may take a moment, but not the half hour that the allocation would last.
        let mut endpoint = relayed(&coturn, vec![coturn.turn("udp", "right")]);
        let candidate = |event: &EndpointEvent<'_>| matches!(event, EndpointEvent::Candidate(_)).then_some(());
        until(&mut endpoint, "relayed candidate", candidate).await;
        let mut second = relayed(&coturn, vec![coturn.turn("udp", "right")]);
        let told = gathered(&mut second).await;
        assert!(told.len() == 1 && told[0].contains("486"), "{told:?}");
    }
}

#[tokio::test]
async fn servers_that_are_taken_away_take_their_candidates_along() {
    let coturn = Coturn::start();
    let mut endpoint = relayed(&coturn, vec![coturn.turn("udp", "right"), coturn.turn("tcp", "right")]);
    gathered(&mut endpoint).await;
    assert_eq!(endpoint.candidates().len(), 2);
    endpoint.set_ice_servers(vec![coturn.turn("tcp", "right")]);
    lost(&mut endpoint).await;
    assert_eq!(endpoint.candidates().len(), 1);
}
