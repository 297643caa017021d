//! What a server logs, and what it never does.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use common::{Lines, Peer, Server, command};
use serde_json::{Value, json};

/// What nobody may read in a log.
const SECRETS: [&str; 5] = ["turnpassword", "redispassword", "authtoken", "oldsecret", "admintoken-admintoken"];

fn serve(arguments: &[&str], environment: &[(&str, &str)]) -> (Server, JoinHandle<String>) {
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0"]);
    serve.args(arguments).envs(environment.iter().copied()).stderr(Stdio::piped());
    let mut server = Server::start_by(&mut serve);
    let log = reading(&mut server.process.0);
    (server, log)
}

fn reading(child: &mut Child) -> JoinHandle<String> {
    let mut errors = child.stderr.take().unwrap();
    std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        text
    })
}

fn end((mut server, log): (Server, JoinHandle<String>)) -> String {
    server.process.signal("-INT");
    server.process.wait();
    log.join().unwrap()
}

fn request(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn secrets_are_not_in_it_even_where_everything_is_logged() {
    let arguments = ["--log", "trace", "--log-format", "json"];
    let environment = [
        ("RTC_CAFE_ICE_SERVER", "turn:user:turnpassword@127.0.0.1"),
        ("RTC_CAFE_REDIS", "redis://:redispassword@127.0.0.1:1"),
        ("RTC_CAFE_ADMIN_TOKEN", "admintoken-admintoken"),
    ];
    let (server, log) = serve(&arguments, &environment);
    let open = request(&server, "GET", "/socket.io/?EIO=4&transport=polling", "", "");
    let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let engine = open["sid"].as_str().unwrap().to_owned();
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={engine}");
    let signals = json!([
        ["request-sid", {"apiVersion": "1.0", "token": "authtoken"}],
        ["join", {"room": "R", "id": "a", "prevSid": "x", "prevSession": "oldsecret"}],
        ["oldsecret", {}],
    ]);
    let connect = format!("40/rtc-cafe,{}", json!({"token": "authtoken", "signals": signals}));
    assert_eq!(request(&server, "POST", &path, "Authorization: Bearer authtoken\r\n", &connect), "ok");
    let said = request(&server, "GET", &path, "", "");
    let session = said.split("\"session\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    assert!(said.contains("turnpassword"), "clients are told: {said}");
    request(&server, "GET", "/admin/api/rooms", "Authorization: Bearer admintoken-admintoken\r\n", "");
    request(&server, "GET", "/admin/api/rooms", "Authorization: Bearer authtoken\r\n", "");
    let peers = [Peer::join(&server, "R", &[]), Peer::join(&server, "R", &[])];
    for mut peer in peers {
        peer.event("connectToPeer");
    }

    let text = end((server, log));
    // An event's name is the client's own choice, and is told; it is no secret there.
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let text: Vec<_> = lines.iter().filter(|line| line["event"] != "oldsecret").map(Value::to_string).collect();
    let text = text.join("\n");
    for secret in SECRETS.iter().copied().chain([engine.as_str(), session.as_str()]) {
        assert!(!text.contains(secret), "{secret}: {:?}", text.lines().find(|line| line.contains(secret)));
    }
    let of = |level: &str, message: &str| {
        let fits = |line: &&Value| line["level"] == level && line["message"].as_str().unwrap().contains(message);
        lines.iter().find(fits).unwrap_or_else(|| panic!("no {level} {message:?} in {text}"))
    };
    of("INFO", "serving");
    of("WARN", "cannot reach the broker");
    assert_eq!(of("DEBUG", "opened")["transport"], "polling");
    assert!(of("DEBUG", "entered")["sid"].is_string());
    assert_eq!(of("TRACE", "received")["event"], "request-sid");
    assert!(of("TRACE", "sends")["bytes"].is_number());
    of("DEBUG", "ended");
    of("INFO", "shutting down");
}

#[test]
fn by_default_it_tells_of_its_life_and_not_of_clients() {
    let (server, log) = serve(&[], &[]);
    let mut peer = Peer::join(&server, "R", &[]);
    peer.event("signallerStateChanged");
    let text = end((server, log));
    assert!(text.contains("INFO") && text.contains("serving") && text.contains("shutting down"), "{text}");
    assert!(text.lines().count() <= 3 && !text.contains("connection=") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_proxy_on_this_machine_that_nobody_trusts_is_told_once() {
    let log_with = |arguments: &[&str]| {
        let (server, log) = serve(arguments, &[]);
        for client in ["203.0.113.9", "203.0.113.10"] {
            let forwarded = format!("X-Forwarded-For: {client}\r\n");
            request(&server, "GET", "/socket.io/?EIO=4&transport=polling", &forwarded, "");
        }
        end((server, log))
    };
    let text = log_with(&[]);
    let told: Vec<_> = text.lines().filter(|line| line.contains("X-Forwarded-For")).collect();
    assert!(told.len() == 1 && told[0].contains("WARN"), "{text}");
    assert!(told[0].contains("no limits by address") && told[0].contains("--trusted-proxy 127.0.0.1"), "{text}");
    let text = log_with(&["--trusted-proxy", "127.0.0.1"]);
    assert!(!text.contains("X-Forwarded-For"), "{text}");
}

/// A webhook that decides about every other question, and a URL for it.
fn moody_hook() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            let heads = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            for line in heads.map(|line| line.to_ascii_lowercase()) {
                length = line.strip_prefix("content-length: ").map_or(length, |length| length.parse().unwrap());
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let status = if at % 2 == 0 { "500 Moody" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn a_webhook_that_fails_now_and_then_fills_no_log() {
    let (server, log) = serve(&["--validate-url", &moody_hook()], &[]);
    for at in 0..20 {
        let open = request(&server, "GET", "/socket.io/?EIO=4&transport=polling", "", "");
        let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
        assert_eq!(request(&server, "POST", &path, "", "40/rtc-cafe,{}"), "ok");
        let told = request(&server, "GET", &path, "", "");
        assert_eq!(told.contains("admission-failed"), at % 2 == 0, "{told}");
    }
    let text = end((server, log));
    let lines = |part: &str| text.lines().filter(|line| line.contains(part)).collect::<Vec<_>>();
    let (failed, well) = (lines("the webhook does not decide"), lines("the webhook decides again"));
    assert!(failed.len() == 1 && failed[0].contains("WARN") && failed[0].contains("500"), "{text}");
    assert!(well.len() == 1 && well[0].contains("INFO"), "{text}");
}

#[test]
#[cfg(target_os = "linux")]
fn no_more_sockets_fill_no_log() {
    // It has some 20 files open itself.
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 50 && exec \"$0\" serve --listen 127.0.0.1:0", common::BINARY]);
    let mut server = Server::start_by(limited.env("RTC_CAFE_NO_TURN", "1").stderr(Stdio::piped()));
    let lines = Lines::of(&mut server.process);
    let crowd: Vec<_> = (0..80).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let line = lines.until("cannot accept connections");
    assert!(line.contains("ERROR") && line.contains("Too many open files"), "{line}");
    // It tries ten times a second.
    std::thread::sleep(Duration::from_secs(1));
    drop(crowd);
    assert_eq!(request(&server, "GET", "/healthz", "", ""), "ok\n", "it goes on when there are some again");
    server.process.signal("-INT");
    server.process.wait();
    let rest = lines.rest();
    assert!(!rest.iter().any(|line| line.contains("cannot accept")), "{rest:?}");
}

#[test]
#[cfg(unix)]
fn a_hangup_ends_nothing_where_there_is_nothing_to_reload() {
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--drain", "0"]);
    let mut server = Server::start_by(serve.stderr(Stdio::piped()));
    let lines = Lines::of(&mut server.process);
    server.process.signal("-HUP");
    assert!(lines.until("SIGHUP").contains("INFO"));
    assert_eq!(request(&server, "GET", "/healthz", "", ""), "ok\n");
    // While clients are sent away, too.
    server.process.signal("-TERM");
    server.process.signal("-HUP");
    assert_eq!(server.process.wait().code(), Some(0));
}

#[test]
fn what_is_no_filter_is_refused() {
    let output = command(&["--log", "a=b=c", "serve"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("the log filter"), "{text}");
    let output = command(&["--log-format", "xml", "serve"]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("it is `text` or `json`"));
}
