//! coturn's own clients against this server, over every transport.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    net::{SocketAddr, UdpSocket},
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use common::{SECRET, Served, has_v6};
use rtc_cafe_turn::{Builder, Credentials, Secret, TurnServer};
use tokio::task::spawn_blocking;

async fn server() -> TurnServer {
    Served::start(|builder| builder).await.server
}

/// Runs a client; clients send to each other through two relayed addresses.
async fn uclient(port: u16, options: &[&str]) -> (bool, String) {
    let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
    let output: Output = spawn_blocking(move || {
        let mut command = Command::new("turnutils_uclient");
        command.args(["-y", "-c", "-L", "127.0.0.1", "-p"]).arg(port.to_string()).args(options).arg("127.0.0.1");
        command.output().expect("turnutils_uclient is missing: install coturn (on Debian: apt-get install coturn)")
    })
    .await
    .unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), text)
}

/// Nothing was lost on the way.
async fn relays(port: u16, options: &'static [&'static str]) {
    let (succeeded, text) = uclient(port, options).await;
    let says = |what: &str| text.lines().any(|line| line.contains(what));
    assert!(succeeded && says("Total lost packets 0 (0.000000%)"), "{options:?}: {text}");
    let received = text.rsplit("tot_recv_msgs=").next().and_then(|rest| rest.split_whitespace().next());
    assert!(received.is_some_and(|count| count.parse::<u32>().is_ok_and(|count| count >= 80)), "{options:?}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_client_is_served_over_every_transport() {
    let server = server().await;
    let [udp, tcp, tls] = [server.udp_addresses(), server.tcp_addresses(), server.tls_addresses()].map(|a| a[0].port());
    tokio::join!(
        relays(udp, &["-W", SECRET, "-u", "channels", "-n", "20", "-m", "4"]),
        relays(udp, &["-W", SECRET, "-u", "indications", "-n", "20", "-m", "4", "-s"]),
        relays(udp, &["-W", SECRET, "-u", "many", "-n", "5", "-m", "24"]),
        async {
            if has_v6() {
                relays(udp, &["-W", SECRET, "-u", "IPv6", "-n", "20", "-m", "4", "-x"]).await;
            }
        },
        relays(tcp, &["-W", SECRET, "-u", "tcp", "-n", "20", "-m", "4", "-t"]),
        relays(tls, &["-W", SECRET, "-u", "tls", "-n", "20", "-m", "4", "-t", "-S"]),
    );
    let stats = server.stats();
    assert!(stats.packets_to_peers >= 440, "{stats:?}");
    assert_eq!(stats.packets_to_peers, stats.packets_from_peers, "clients send to each other: {stats:?}");
    assert_eq!((stats.packets_refused, stats.packets_dropped), (0, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_client_is_refused_without_the_secret() {
    let server = server().await;
    let port = server.udp_addresses()[0].port();
    let (_, text) = uclient(port, &["-W", "another secret", "-u", "ana", "-n", "1", "-m", "1"]).await;
    assert!(text.contains("Cannot complete Allocation"), "{text}");
    assert_eq!(server.stats().allocations_total.sum(), 0);
    assert!(server.stats().refused[&401] > 0, "{:?}", server.stats());
}

/// By the clock alone: everything else about them is right.
#[tokio::test(flavor = "multi_thread")]
async fn its_client_is_refused_when_its_credentials_have_expired() {
    let server = server().await;
    let port = server.udp_addresses()[0].port();
    let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
    let of = |made: SystemTime| Secret::new(SECRET).unwrap().mint("ana", hour, made);
    let (old, good) = (of(now - 2 * hour), of(now));
    let with =
        |made: &'_ Credentials| ["-u", &made.username, "-w", &made.password, "-n", "1", "-m", "1"].map(str::to_owned);
    let (old, good) = (with(&old), with(&good));
    let run = async |options: &[String]| uclient(port, &options.iter().map(String::as_str).collect::<Vec<_>>()).await.1;
    let text = run(&old).await;
    assert!(text.contains("Cannot complete Allocation"), "{text}");
    assert_eq!(server.stats().allocations_total.sum(), 0);
    let text = run(&good).await;
    assert!(text.contains("Total lost packets 0 (0.000000%)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_client_reaches_no_peer_in_the_operators_network() {
    let server = server().await;
    let port = server.udp_addresses()[0].port();
    let output = spawn_blocking(move || {
        let mut command = Command::new("turnutils_uclient");
        command.args(["-c", "-W", SECRET, "-u", "ana", "-n", "3", "-m", "1", "-e", "10.0.0.1", "-r", "6379", "-p"]);
        command.arg(port.to_string()).arg("127.0.0.1").output().unwrap()
    })
    .await
    .unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(text.contains("403"), "{text}");
    assert_eq!(server.stats().packets_to_peers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_stun_client_is_told_its_address() {
    let server = server().await;
    let port = server.udp_addresses()[0].port();
    let told = spawn_blocking(move || {
        let mut command = Command::new("turnutils_stunclient");
        command.args(["-L", "127.0.0.1", "-p"]).arg(port.to_string()).arg("127.0.0.1").output().unwrap()
    });
    let text = String::from_utf8(told.await.unwrap().stdout).unwrap();
    assert!(text.contains("UDP reflexive addr: 127.0.0.1:"), "{text}");
}

/// Two ports that are free at two addresses.
fn square() -> Vec<SocketAddr> {
    let pair = || {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = one.local_addr().unwrap().port();
        UdpSocket::bind(("127.0.0.2", port)).map(|other| [one, other]).ok()
    };
    let pairs = [(); 2].map(|()| std::iter::repeat_with(pair).take(9).find_map(|pair| pair).unwrap());
    pairs.iter().flatten().map(|socket| socket.local_addr().unwrap()).collect()
}

/// What its client for RFC 5780 says of a server with these addresses besides.
async fn discovered(square: &[SocketAddr], set_up: impl FnOnce(Builder) -> Builder) -> String {
    let set_up = |builder| set_up(square.iter().fold(builder, |builder: Builder, address| builder.udp(*address)));
    let served = Served::start(set_up).await;
    let port = square[0].port();
    let told = spawn_blocking(move || {
        let mut command = Command::new("turnutils_natdiscovery");
        command.args(["-m", "-f", "-L", "127.0.0.1", "-p"]).arg(port.to_string()).arg("127.0.0.1").output().unwrap()
    });
    let text = String::from_utf8(told.await.unwrap().stdout).unwrap();
    drop(served);
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn its_nat_discovery_is_answered_from_all_corners() {
    let square = square();
    let text = discovered(&square, |builder| builder).await;
    let says = |what: &str| text.contains(what);
    assert!(says("NAT with Endpoint Independent Mapping!"), "{text}");
    assert!(says("NAT with Endpoint Independent Filtering!"), "{text}");
    let opposite = square[3];
    assert!(says(&format!("Response origin: : {opposite}")) && says(&format!("Other addr: : {opposite}")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_nat_discovery_is_told_of_no_addresses_that_are_not_the_public_ones() {
    let text = discovered(&square(), |builder| builder.public_address("203.0.113.7".parse().unwrap())).await;
    assert!(text.contains("UDP reflexive addr: 127.0.0.1:") && !text.contains("Other addr"), "{text}");
    let text = discovered(&square()[..2], |builder| builder).await;
    assert!(text.contains("UDP reflexive addr: 127.0.0.1:") && !text.contains("Other addr"), "{text}");
}

/// Whoever connects and says nothing, or nonsense, is let go.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_ends_a_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = server().await;
    let mut stream = tokio::net::TcpStream::connect(server.tcp_addresses()[0]).await.unwrap();
    stream.write_all(&[0xff; 64]).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    while server.stats().connections.sum() > 0 {
        tokio::task::yield_now().await;
    }
}
