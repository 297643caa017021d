//! Where the relay listens elsewhere than the signalling, clients reach it, and operators are told what they miss.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use common::{Folder, Lines, Server, command};
use rcgen::{CertificateParams, KeyPair};
use rtc_cafe_turn::Secret;
use serde_json::Value;

fn serve(options: &[&str]) -> Command {
    let mut serve = command(&["serve", "--turn-allow-peer", "127.0.0.0/8"]);
    serve.env_remove("RTC_CAFE_NO_TURN").args(options);
    serve
}

fn diagnosis(server: &Server, options: &[&str]) -> Value {
    let output = server.command(&["doctor", "--json"]).args(options).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A server with a certificate that its clients trust, and where it lies.
fn start_with_tls(options: &[&str]) -> (Server, Folder) {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["127.0.0.1", "127.0.0.2"].map(String::from)).unwrap().self_signed(&key).unwrap();
    fs::write(folder.path("cert.pem"), certificate.pem()).unwrap();
    fs::write(folder.path("key.pem"), key.serialize_pem()).unwrap();
    let files = ["--tls-cert", &folder.text("cert.pem"), "--tls-key", &folder.text("key.pem")];
    let mut server = Server::start_by(&mut serve(&[options, &files].concat()));
    server.roots = Some(folder.path("cert.pem"));
    (server, folder)
}

/// The servers that clients are told of, by the doctor's word all of use.
fn told(server: &Server) -> Vec<String> {
    let diagnosis = diagnosis(server, &[]);
    let all = ["stun", "turn"].map(|kind| diagnosis[kind].as_array().unwrap().clone()).concat();
    for one in &all {
        assert_eq!(one["check"]["ok"], true, "{diagnosis:#}");
    }
    all.iter().map(|one| one["url"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn at_another_address() {
    let server = Server::start_by(&mut serve(&["--listen", "127.0.0.1:0", "--turn-listen", "127.0.0.2:0"]));
    let told = told(&server);
    assert!(told.len() == 3 && told.iter().all(|url| url.contains(":127.0.0.2:")), "{told:?}");
}

#[test]
fn tls_at_an_address_of_its_own() {
    let places = ["--listen", "127.0.0.1:0", "--turn-listen", "127.0.0.1:0", "--turn-tls-listen", "127.0.0.2:0"];
    let (server, _folder) = start_with_tls(&places);
    let told = told(&server);
    let by = |start: &str| told.iter().filter(|url| url.starts_with(start)).count();
    assert_eq!((by("stun:127.0.0.1:"), by("turn:127.0.0.1:"), by("turns:127.0.0.2:")), (1, 2, 1), "{told:?}");
}

/// One port for all, as where networks let 443 alone through.
#[test]
fn tls_at_the_port_of_the_signalling() {
    let (server, folder) =
        start_with_tls(&["--listen", "127.0.0.1:0", "--turn-listen", "127.0.0.1:0", "--turn-secret", "north"]);
    let told = told(&server);
    let (port, tls) = (server.address().rsplit(':').next().unwrap(), format!("turns:{}", server.address()));
    assert!(told.iter().any(|url| url.starts_with(&tls)), "{told:?}");
    // coturn's clients send to each other through two relayed addresses.
    let mut client = Command::new("turnutils_uclient");
    client.args(["-y", "-c", "-t", "-S", "-W", "north", "-u", "ana", "-n", "50", "-m", "4", "-L", "127.0.0.1"]);
    client.arg("-E").arg(folder.path("cert.pem")).args(["-p", port, "127.0.0.1"]);
    let output = client.output().expect("turnutils_uclient is missing: install coturn");
    let text = String::from_utf8_lossy(&output.stdout);
    let says = |words: &str| text.contains(words);
    assert!(says("tot_recv_msgs=200") && says("Total lost packets 0 (0.000000%)"), "{text}");
}

#[test]
fn all_of_ipv6_is_all_of_ipv4_too() {
    if UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let server = Server::start_by(&mut serve(&["--listen", "127.0.0.1:0", "--turn-listen", "[::]:0"]));
    let told = told(&server);
    assert!(told.len() == 3 && told.iter().all(|url| url.contains(":127.0.0.1:")), "{told:?}");
}

/// As behind a proxy that passes `Host` on: nobody there reaches what listens on loopback.
#[test]
fn whoever_is_told_of_none_is_logged() {
    let mut serve = serve(&["--listen", "127.0.0.1:0", "--turn-listen", "127.0.0.1:0", "--allow-origin", "*"]);
    let mut server = Server::start_by(serve.stderr(Stdio::piped()));
    let lines = Lines::of(&mut server.process);
    let polling = "/socket.io/?EIO=4&transport=polling";
    let handshake = ask(&server, "GET", polling, "");
    let sid = handshake.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap();
    let session = format!("{polling}&sid={sid}");
    ask(&server, "POST", &session, "40/rtc-cafe,{}");
    ask(&server, "POST", &session, "42/rtc-cafe,[\"request-sid\",{\"apiVersion\":\"1.2\"}]");
    let line = lines.until("are told of no STUN and TURN");
    assert!(line.contains("cafe.example") && line.contains("--turn-listen"), "{line}");
}

#[test]
fn a_server_that_refuses_is_no_firewall() {
    let secret = ["--turn-secret", "of this test", "--max-relays", "0"];
    let places = ["--listen", "127.0.0.1:0", "--turn-listen", "127.0.0.1:0"];
    let server = Server::start_by(&mut serve(&[places, secret].concat()));
    let named = diagnosis(&server, &[]);
    let place = named["stun"][0]["url"].as_str().unwrap().trim_start_matches("stun:");
    let hour = Duration::from_secs(3600);
    let made = Secret::new(secret[1]).unwrap().mint("ana", hour, SystemTime::now());
    let credentials = format!("{}:{}", made.username.replace(':', "%3A"), made.password);
    let relay = format!("turn:{credentials}@{place}");
    let alone = diagnosis(&server, &["--ice-server", &relay]);
    let problem = alone["turn"][0]["check"]["problem"].as_str().unwrap();
    assert!(problem.starts_with("508"), "{alone:#}");
    assert_eq!(alone["blocked"], "nothing", "{alone:#}");
}

/// The shell gives as few as many do by default.
#[test]
fn relays_leave_sockets_to_the_signalling() {
    let started = |limits: &str, options: &str| {
        let serve =
            format!("ulimit {limits} && exec \"$0\" serve --listen 127.0.0.1:0 --turn-listen 127.0.0.1:0 {options}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &serve, common::BINARY]).env("RTC_CAFE_LOG", "info").stderr(Stdio::piped());
        let mut server = Server::start_by(&mut shell);
        let lines = Lines::of(&mut server.process);
        (server, lines)
    };
    let (_server, lines) = started("-n 400", "--max-relays 200");
    let line = lines.until("too few file descriptors for 200 relayed addresses");
    assert!(line.contains("relays=100") && line.contains("ulimit -n"), "{line}");
    let (server, _lines) = started("-Sn 256", "--max-relays 100");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process.id())).unwrap_or_default();
    assert!(!limits.contains("Max open files            256 "), "it takes as many as it may: {limits}");
}

fn ask(server: &Server, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: cafe.example\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}
