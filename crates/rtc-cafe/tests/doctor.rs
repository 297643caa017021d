//! `rtc-cafe doctor` with a real server, a real TURN server, and with what is dead.
#![allow(clippy::unwrap_used, reason = "they are tests")]

mod common;

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use common::{Server, command};
use serde_json::Value;

/// A coturn that ends with its test.
struct Coturn {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Coturn {
    fn start() -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("rtc-cafe-doctor-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        let mut child = Command::new("turnserver")
            .args(["-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers", "--no-cli"])
            .args(["--lt-cred-mech", "--user=user:right", "--realm=test", "--no-tls", "--no-dtls", "--relay-threads=1"])
            .args(["--log-file=stdout", "--simple-log", "--verbose"])
            .arg(format!("--listening-port={port}"))
            .arg(format!("--pidfile={}", file("pid")))
            .arg(format!("--userdb={}", file("db")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver is missing: install coturn (on Debian: apt-get install coturn)");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (ready, is_ready) = mpsc::channel();
        // Also keeps the pipe from filling up.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if line.contains("IO method (admin thread)") {
                    let _ = ready.send(());
                }
            }
        });
        is_ready.recv_timeout(Duration::from_secs(60)).expect("turnserver did not start");
        Self { child, folder, port }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that is free for UDP and TCP, for as long as nobody else takes it.
fn free_port() -> u16 {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("there is no free port");
}

fn doctor(server: &str, arguments: &[&str]) -> Output {
    command(&["doctor", "--server", server]).args(arguments).output().unwrap()
}

fn diagnosis(server: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = doctor(server, &[&["--json"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    (output.status.code(), serde_json::from_str(&text).unwrap())
}

fn advice(diagnosis: &Value) -> String {
    diagnosis["advice"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_healthy_network_is_said_to_be() {
    let (server, coturn) = (Server::start(), Coturn::start());
    let port = coturn.port;
    let servers = format!(
        "stun:127.0.0.1:{port},turn:user:right@127.0.0.1:{port},turn:user:right@127.0.0.1:{port}?transport=tcp"
    );
    let (code, diagnosis) = diagnosis(&server.url, &["--ice-server", &servers]);
    assert_eq!(code, Some(0), "{diagnosis:#}");
    assert_eq!((&diagnosis["ok"], &diagnosis["reach"]), (&true.into(), &"everywhere".into()));
    let found = &diagnosis["server"];
    assert_eq!((&found["http"]["ok"], &found["websocket"]["ok"]), (&Value::from(true), &Value::from(true)));
    assert_eq!(found["software"], format!("rtc-cafe/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!((&found["apiVersion"], &found["iceServers"]), (&Value::from("1.0"), &Value::from(0)));
    assert_eq!((&diagnosis["stun"][0]["check"]["ok"], &diagnosis["stun"][0]["nat"]), (&true.into(), &false.into()));
    assert_eq!((&diagnosis["blocked"], &diagnosis["mapping"]["kind"]), (&"nothing".into(), &"no-nat".into()));
    // There is only one address of the server, so the relay tells.
    assert_eq!(diagnosis["filtering"]["kind"], "address-dependent", "{diagnosis:#}");
    assert_eq!(diagnosis["filtering"]["exact"], false, "{diagnosis:#}");
    for (at, transport) in ["udp", "tcp"].into_iter().enumerate() {
        let turn = &diagnosis["turn"][at];
        assert_eq!((&turn["transport"], &turn["check"]["ok"]), (&transport.into(), &true.into()), "{turn}");
        assert!(turn["relayed"][0].as_str().unwrap().starts_with("127.0.0.1:"), "{turn}");
    }
    assert_eq!((&diagnosis["peers"]["check"]["ok"], &diagnosis["peers"]["relayed"]), (&true.into(), &false.into()));
    assert_eq!(advice(&diagnosis), "");
}

#[test]
fn what_is_amiss_is_named_with_what_to_do() {
    let (server, coturn) = (Server::start(), Coturn::start());
    let dead = free_port();
    let servers = format!(
        "stun:127.0.0.1:{dead},turn:user:wrong@127.0.0.1:{},turn:user:right@127.0.0.1:{dead}?transport=tcp",
        coturn.port
    );
    let output = doctor(&server.url, &["--ice-server", &servers]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("Peers can connect in the same network only."), "{text}");
    assert!(!text.contains('\u{1b}'), "a pipe has no colours: {text}");
    for (line, says) in [
        (format!("NO  stun:127.0.0.1:{dead}"), "it does not answer"),
        (format!("NO  turn:127.0.0.1:{}", coturn.port), "wrong credentials"),
        (format!("NO  turn:127.0.0.1:{dead}?transport=tcp"), "refused"),
        ("ok  websocket".to_owned(), "ms, API 1.0"),
        ("ok  two of them".to_owned(), "directly"),
    ] {
        let found = text.lines().find(|other| other.contains(&line) && other.contains(says));
        assert!(found.is_some(), "{line} ... {says} in\n{text}");
    }
    assert!(text.contains("Check user and password for turn:127.0.0.1"), "{text}");
    assert!(!text.contains("wrong@") && !text.contains("user:"), "credentials are not shown: {text}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn servers_that_the_server_names_are_looked_at() {
    let coturn = Coturn::start();
    let named = format!("stun:127.0.0.1:{}", coturn.port);
    let server = Server::start_with(&["--ice-server", &named]);
    let (code, diagnosis) = diagnosis(&server.url, &[]);
    assert_eq!((code, &diagnosis["server"]["iceServers"]), (Some(0), &Value::from(1)), "{diagnosis:#}");
    assert_eq!((&diagnosis["stun"][0]["url"], &diagnosis["stun"][0]["check"]["ok"]), (&named.into(), &true.into()));
}

#[test]
fn without_a_server_nobody_can_connect() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let (code, diagnosis) = diagnosis(&url, &[]);
    assert_eq!((code, &diagnosis["ok"]), (Some(1), &Value::from(false)));
    assert!(diagnosis["server"]["websocket"]["problem"].as_str().unwrap().contains("refused"), "{diagnosis:#}");
    assert!(advice(&diagnosis).contains(&url), "{diagnosis:#}");
    let output = doctor(&url, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("Peers cannot connect."), "{text}");
}

#[test]
fn another_server_is_not_taken_for_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.9\r\n");
        }
    });
    let (code, diagnosis) = diagnosis(&url, &[]);
    assert_eq!(code, Some(1), "{diagnosis:#}");
    assert_eq!(diagnosis["server"]["http"]["ok"], false);
    let secure = url.replace("http:", "https:");
    let (code, diagnosis) = self::diagnosis(&secure, &[]);
    let problem = diagnosis["server"]["http"]["problem"].as_str().unwrap();
    assert!(code == Some(1) && problem.contains("does not speak TLS"), "{diagnosis:#}");
}

#[test]
fn wrong_arguments_are_2() {
    for arguments in [&["--ice-server", "gopher:a"][..], &["--dance"]] {
        assert_eq!(doctor("http://127.0.0.1:1", arguments).status.code(), Some(2));
    }
    let output = doctor("nonsense", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("http://"));
    let help = String::from_utf8(command(&["doctor", "--help"]).output().unwrap().stdout).unwrap();
    assert!(help.contains("endpoint-independent") && help.contains("Exits with 0"), "{help}");
}
