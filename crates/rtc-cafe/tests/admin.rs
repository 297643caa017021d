//! The operators' JSON as programs see it.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use common::{Peer, Server, command};
use serde_json::{Value, json};

const TOKEN: &str = "0123456789abcdef";

/// Status, headers and body of an answer.
fn request(server: &Server, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let kind = "Content-Type: application/json\r\nConnection: close\r\n";
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\n{kind}{authorization}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

fn get(server: &Server, path: &str) -> (u16, Value) {
    let (status, head, body) = request(server, "GET", path, Some(TOKEN), "");
    assert!(head.contains("cache-control: no-store") && !head.contains("access-control"), "{head}");
    (status, serde_json::from_str(&body).unwrap())
}

fn kick(server: &Server, whom: &Value) -> (u16, Value) {
    let (status, _, body) = request(server, "POST", "/admin/api/kick", Some(TOKEN), &whom.to_string());
    (status, serde_json::from_str(&body).unwrap())
}

fn start() -> Server {
    Server::start_by(command(&["serve", "--listen", "127.0.0.1:0"]).env("RTC_CAFE_ADMIN_TOKEN", TOKEN))
}

#[test]
fn rooms_and_members_are_told_and_kicked() {
    let server = start();
    let mut a = Peer::join(&server, "den", &[]);
    let mut b = Peer::join(&server, "den", &[]);
    let (sid_a, sid_b) = (a.sid(), b.sid());
    a.event("connectToPeer");
    b.event("connectToPeer");

    let (_, status) = get(&server, "/admin/api/status");
    assert_eq!((&status["connections"], &status["rooms"], &status["broker"]), (&json!(2), &json!(1), &Value::Null));
    let rooms = json!({ "total": 1, "rooms": [{ "room": "den", "key": "\"den\"", "members": 2, "here": 2 }] });
    assert_eq!(get(&server, "/admin/api/rooms"), (200, rooms));
    assert_eq!(get(&server, "/admin/api/rooms?search=nothing&limit=5").1["total"], 0);
    let (_, members) = get(&server, "/admin/api/rooms/den?limit=1&offset=1");
    let member = &members["members"][0];
    assert_eq!(
        (&members["room"], &members["total"], &member["address"]),
        (&json!("den"), &json!(2), &json!("127.0.0.1"))
    );
    assert!(member["id"].is_string() && member["since"].as_u64().is_some_and(|since| since > 1 << 40), "{member}");
    assert_eq!(get(&server, &format!("/admin/api/rooms/%22den%22?search={sid_b}")).1["members"][0]["sid"], sid_b);

    let one = json!({ "kicked": 1, "asked": {}, "unreachable": {} });
    assert_eq!(kick(&server, &json!({ "sid": sid_b })), (200, one.clone()));
    assert_eq!(b.event("error")["code"], "KICKED");
    assert!(b.process.wait().success(), "it leaves");
    assert_eq!(a.event("disconnectFromPeer")["sid"], sid_b);
    assert_eq!(kick(&server, &json!({ "sid": sid_b })).0, 404);
    assert_eq!(kick(&server, &json!({ "key": "\"den\"" })), (200, one));
    assert_eq!(a.event("error")["code"], "KICKED");
    assert_ne!(sid_a, sid_b);
    let (_, _, metrics) = request(&server, "GET", "/metrics", None, "");
    assert!(metrics.contains("\nrtc_cafe_sessions_kicked_total 2\n"), "{metrics}");
}

#[test]
fn large_numbers_keep_their_digits() {
    let server = start();
    let mut peer = Peer::join(&server, "den", &[]);
    peer.sid();
    // JavaScript takes these two for the same.
    for room in ["9007199254740993", "9007199254740992"] {
        peer.write(&format!("{{\"op\":\"joinRoom\",\"room\":{room}}}\n"));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while get(&server, "/admin/api/rooms").1["total"] != 3 {
        assert!(Instant::now() < deadline, "{:?}", get(&server, "/admin/api/rooms"));
        std::thread::sleep(Duration::from_millis(20));
    }
    let (_, members) = get(&server, "/admin/api/rooms/9007199254740993");
    assert_eq!((&members["key"], &members["total"]), (&json!("9007199254740993"), &json!(1)));
    let (status, _) = kick(&server, &json!({ "key": "9007199254740994" }));
    assert_eq!(status, 404);
    assert_eq!(kick(&server, &json!({ "key": "9007199254740993" })).0, 200);
}

#[test]
fn what_is_asked_wrongly_is_refused_with_a_reason() {
    let server = start();
    for (path, status) in [
        ("/admin/api/rooms?limit=-1", 400),
        ("/admin/api/rooms?offset=x", 400),
        ("/admin/api/rooms/nowhere", 404),
        ("/admin/api/nothing", 404),
    ] {
        let (found, body) = get(&server, path);
        assert!(found == status && body["error"].as_str().is_some_and(|error| !error.is_empty()), "{path}: {body}");
    }
    for whom in [json!({}), json!({ "room": [1] }), json!({ "sid": "a", "room": "b" }), json!([]), json!({ "sid": 5 })]
    {
        let (status, body) = kick(&server, &whom);
        assert!((400..500).contains(&status) && body["error"].is_string(), "{whom}: {status} {body}");
    }
    let long = format!("{{\"sid\":\"{}\"}}", "x".repeat(100_000));
    assert_eq!(request(&server, "POST", "/admin/api/kick", Some(TOKEN), &long).0, 413);
    // Large limits are cut, and do no harm.
    assert_eq!(get(&server, "/admin/api/rooms?limit=18446744073709551615&offset=18446744073709551615").0, 200);
}

#[test]
fn nobody_gets_in_without_the_token_or_guesses_it() {
    let server = start();
    let paths =
        ["/admin/api/status", "/admin/api/rooms", "/admin/api/rooms/R", "/admin/api/kick", "/admin/api/nothing"];
    for path in paths {
        let (status, head, body) = request(&server, "GET", path, None, "");
        assert!(status == 401 && head.contains("www-authenticate: bearer"), "{path}: {head}");
        assert!(body.contains("admin token is needed"), "{body}");
    }
    // Each wrong one takes a second, and few are answered at a time.
    let start = Instant::now();
    assert_eq!(request(&server, "GET", paths[0], Some("0123456789abcdeg"), "").0, 401);
    assert!(start.elapsed() >= Duration::from_millis(900));
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let ask = || request(&server, "GET", paths[0], Some("guess"), "").0;
        let asking: Vec<_> = (0..30).map(|_| scope.spawn(ask)).collect();
        // Whoever has it need not wait for those who have not.
        let start = Instant::now();
        assert_eq!(get(&server, paths[0]).0, 200);
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(statuses.contains(&429) && statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    let (_, _, metrics) = request(&server, "GET", "/metrics", None, "");
    assert!(metrics.contains("\nrtc_cafe_admin_requests_refused_total 36\n"), "{metrics}");
}

#[test]
fn the_page_is_strict_about_what_it_loads() {
    let server = start();
    let (status, head, _) = request(&server, "GET", "/admin/", None, "");
    assert!(status == 200 && head.contains("content-security-policy: default-src 'none'"), "{head}");
    assert!(!head.contains("unsafe") && head.contains("frame-ancestors 'none'"), "{head}");
    let output = command(&["serve", "--admin-token", "secret"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("at least 16"), "{text}");
}
