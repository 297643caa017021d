//! What is for operators, at an address of its own.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    fs,
    net::TcpStream,
    process::Stdio,
    time::{Duration, Instant},
};

use common::{DEADLINE, Folder, Lines, Server, command, get};
use serde_json::Value;

const TOKEN: &str = "0123456789abcdef";
const POLL: &str = "/socket.io/?EIO=4&transport=polling";

/// A server, and the address for operators, which is in its log.
fn serve(arguments: &[&str]) -> (Server, String) {
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"]);
    serve.args(arguments).args(["--log", "info", "--log-format", "json"]).env("RTC_CAFE_ADMIN_TOKEN", TOKEN);
    let mut server = Server::start_by(serve.stderr(Stdio::piped()));
    let line = Lines::of(&mut server.process).until("serving operators");
    let line: Value = serde_json::from_str(&line).unwrap();
    let operators = line["address"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
    (server, operators)
}

#[test]
fn figures_and_rooms_are_for_operators_and_rooms_for_everybody() {
    let (server, operators) = serve(&[]);
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let status = |address: &str, path| get(address, path, &token).0;
    for path in ["/metrics", "/admin", "/admin/", "/admin/list.js", "/admin/api/rooms"] {
        assert_eq!(status(server.address(), path), 404, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!((status(server.address(), path), status(&operators, path)), (200, 200), "{path}");
    }
    assert_eq!(status(&operators, "/admin"), 308);
    for path in ["/metrics", "/admin/", "/admin/list.js", "/admin/api/rooms"] {
        assert_eq!(status(&operators, path), 200, "{path}");
    }
    assert_eq!(get(&operators, "/admin/api/rooms", "").0, 401, "the token is needed there as well");
    for path in ["/", "/samples/simple-chat.html", "/client/rtc-cafe-client.js", POLL] {
        assert_eq!(status(&operators, path), 404, "{path}");
    }
    // It is one server.
    assert_eq!(status(server.address(), POLL), 200);
    let (_, metrics) = get(&operators, "/metrics", "");
    assert!(metrics.contains("\nrtc_cafe_connections 1\n"), "{metrics}");
    assert!(metrics.contains("\nrtc_cafe_admin_requests_refused_total 1\n"), "{metrics}");
}

#[test]
fn it_is_plain_where_clients_come_by_tls() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(folder.path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (server, operators) = serve(&["--tls-cert", &folder.text("cert.pem"), "--tls-key", &folder.text("key.pem")]);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let (status, metrics) = get(&operators, "/metrics", "");
    assert!(status == 200 && metrics.contains("\nrtc_cafe_tls_certificate_expiry_timestamp_seconds "), "{metrics}");
}

#[test]
fn operators_see_how_it_ends() {
    let (mut server, operators) = serve(&["--drain", "1m"]);
    // Two, of whom the second is sent away after half a minute.
    for _ in 0..2 {
        assert_eq!(get(server.address(), POLL, "").0, 200);
    }
    server.process.signal("-TERM");
    let start = Instant::now();
    while get(&operators, "/readyz", "").0 == 200 {
        assert!(start.elapsed() < DEADLINE);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(get(&operators, "/readyz", ""), (503, "shutting down\n".to_owned()));
    assert_eq!((get(&operators, "/healthz", "").0, get(&operators, "/metrics", "").0), (200, 200));
    server.process.signal("-TERM");
    server.process.wait();
    assert!(TcpStream::connect(&operators).is_err());
}

#[test]
fn an_address_that_cannot_be_had_is_named_with_its_option() {
    let (_server, operators) = serve(&[]);
    for (address, words) in [(operators.as_str(), "in use"), ("localhost", "no port")] {
        let output = command(&["serve", "--listen", "127.0.0.1:0", "--operator-listen", address]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{text}");
        assert!(text.contains(address) && text.contains(words) && text.contains("--operator-listen"), "{text}");
    }
}
