//! Who is let in by somebody else's HTTP server.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use common::{Client, Server};
use rtc_cafe_signaller::{
    ErrorCode, Signaller,
    admission::{Webhook, WebhookUrlError},
};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};

/// Somebody else's server: what it was asked, and from where.
#[derive(Clone, Default)]
struct Hook {
    asked: Arc<Mutex<Vec<(SocketAddr, Value)>>>,
    busy: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// Lets go those who are held.
    held: Arc<Notify>,
}

impl Hook {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=k", listener.local_addr().unwrap());
        let app = Router::new().route("/hook", post(answer)).with_state(self.clone());
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().iter().map(|(_, asked)| asked.clone()).collect()
    }
}

/// Does what the room, or the name, says.
async fn answer(
    State(hook): State<Hook>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Json(question): Json<Value>,
) -> Response {
    let busy = hook.busy.fetch_add(1, Ordering::SeqCst) + 1;
    hook.most.fetch_max(busy, Ordering::SeqCst);
    hook.asked.lock().unwrap().push((from, question.clone()));
    let what = question["data"]["room"].as_str().or_else(|| question["data"]["name"].as_str()).unwrap_or_default();
    let response = match what {
        "error" => Json(json!({"error": {"because": 7}})).into_response(),
        "null" => Json(json!({"error": null})).into_response(),
        "text" => "ok".into_response(),
        "403" => (StatusCode::FORBIDDEN, "not here").into_response(),
        "403 json" => (StatusCode::FORBIDDEN, Json(json!({"error": "not you"}))).into_response(),
        "404" => (StatusCode::NOT_FOUND, "<html>").into_response(),
        "500" => (StatusCode::INTERNAL_SERVER_ERROR, "stack trace").into_response(),
        "302" => (StatusCode::FOUND, [(header::LOCATION, "/hook")]).into_response(),
        "half a letter" => r#"{"error":"no \ud83d"}"#.into_response(),
        "cut off" => r#" {"error":"no"#.into_response(),
        "long" => "x".repeat(100_000).into_response(),
        "guest" => Json(json!({"identity": {"name": "guest"}, "rooms": ["lobby"], "more": 1})).into_response(),
        "broken" => Json(json!({"rooms": 5})).into_response(),
        "never" => std::future::pending().await,
        "held" => {
            hook.held.notified().await;
            StatusCode::NO_CONTENT.into_response()
        }
        "slow" => {
            tokio::time::sleep(Duration::from_millis(20)).await;
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    };
    hook.busy.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn start() -> (Server, Hook) {
    let hook = Hook::default();
    let webhook = Webhook::new(&hook.start().await).unwrap().timeout(Duration::from_millis(500));
    (Server::with(Signaller::builder().admission(webhook).build()).await, hook)
}

#[tokio::test]
async fn it_is_asked_about_everything() {
    let (server, hook) = start().await;
    let origin = format!("http://{}", server.address);
    let mut a = Client::with_headers(&server, &[("origin", origin.clone())]).await;
    a.enter(&json!({"name": "guest"})).await;
    a.emit("join", json!({"room": "lobby", "id": "a"})).await;
    a.nothing().await;
    let question = |sid: Value, event: &str, data: Value, identity: Value| json!({"sid": sid, "event": event, "data": data, "address": "127.0.0.1", "origin": origin, "identity": identity});
    let (sid, guest) = (json!(a.sid), json!({"name": "guest"}));
    let expected = [
        question(json!(null), "connect", json!({"name": "guest"}), json!(null)),
        question(sid.clone(), "join", json!({"room": "lobby", "id": "a"}), guest.clone()),
        question(sid, "request-sid", json!(null), guest),
    ];
    assert_eq!(hook.asked(), expected);
    // Connections are used again.
    let asked = hook.asked.lock().unwrap();
    let connections: HashSet<_> = asked.iter().map(|(from, _)| from).collect();
    assert!(connections.len() < asked.len(), "{asked:?}");
}

#[tokio::test]
async fn what_it_answers_counts() {
    let (server, _) = start().await;
    let mut a = Client::connect(&server).await;
    let mut expect = async |room: &str, code: &str, error: Value| {
        a.emit("join", json!({"room": room})).await;
        let told = a.event("error").await;
        assert_eq!((&told["code"], &told["originalMessage"]), (&json!(code), &json!("join")), "{room}");
        assert!(error.is_null() || told["error"] == error, "{told}");
    };
    expect("error", "rejected", json!({"because": 7})).await;
    expect("403", "rejected", json!("not here")).await;
    expect("403 json", "rejected", json!("not you")).await;
    expect("404", "rejected", json!("refused with status 404 Not Found")).await;
    for failure in ["500", "302", "long", "never", "half a letter", "cut off"] {
        let told = json!("the server could not find out whether you may; try again later");
        expect(failure, "admission-failed", told).await;
    }
    for room in ["null", "text", "any", "guest", "broken"] {
        a.emit("join", json!({"room": room})).await;
        a.nothing().await;
    }
    assert_eq!(server.signaller.stats().rooms, 5);
    let refused = server.signaller.stats().events_refused;
    assert!(refused.contains(&(ErrorCode::AdmissionFailed, 6)), "{refused:?}");
}

#[tokio::test]
async fn it_says_who_is_let_in_and_where() {
    let (server, _) = start().await;
    let mut a = Client::open(&server).await;
    assert_eq!(a.refused(&json!({"name": "403"})).await, ("rejected".into(), "not here".into()));
    assert_eq!(a.refused(&json!({"name": "error"})).await, ("rejected".into(), r#"{"because":7}"#.into()));
    for failure in ["500", "never", "broken", "half a letter"] {
        assert_eq!(a.refused(&json!({"name": failure})).await.0, "admission-failed", "{failure}");
    }
    a.enter(&json!({"name": "guest"})).await;
    a.emit("join", json!({"room": "staff"})).await;
    a.error("not-permitted", "join").await;
    a.emit("join", json!({"room": "lobby"})).await;
    a.nothing().await;
}

#[tokio::test]
async fn nobody_gets_in_while_it_is_away() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let server = Server::with(Signaller::builder().admission(Webhook::new(&url).unwrap()).build()).await;
    let mut a = Client::open(&server).await;
    assert_eq!(a.refused(&json!({})).await.0, "admission-failed");
}

#[tokio::test]
async fn it_is_not_asked_too_much_at_once() {
    let (server, hook) = start().await;
    let clients = (0..200).map(|_| async {
        let mut client = Client::open(&server).await;
        client.enter(&json!({"name": "slow"})).await;
    });
    futures_util::future::join_all(clients).await;
    let most = hook.most.load(Ordering::SeqCst);
    assert!((2..=64).contains(&most), "{most}");
}

/// A server that asks a hook, with all the time of the world, and believes who says for whom it speaks.
async fn patient() -> (Server, Hook) {
    let hook = Hook::default();
    let webhook = Webhook::new(&hook.start().await).unwrap().timeout(Duration::from_secs(10));
    let proxies = ["127.0.0.1/32".parse().unwrap()];
    (Server::with(Signaller::builder().admission(webhook).trust_proxies(proxies).build()).await, hook)
}

/// So many clients of an address, who ask to be let in and wait for that.
async fn held(server: &Server, address: &str, count: usize) -> Vec<Client> {
    let clients = (0..count).map(|_| async {
        let mut client = Client::with_headers(server, &[("x-forwarded-for", address.to_owned())]).await;
        client.send(r#"40/rtc-cafe,{"name":"held"}"#).await;
        client
    });
    futures_util::future::join_all(clients).await
}

async fn asked(hook: &Hook, count: usize) {
    let all = async {
        while hook.asked.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), all).await.expect("so many questions");
}

#[tokio::test]
async fn who_wants_to_come_in_does_not_keep_others_waiting() {
    let (server, hook) = patient().await;
    let mut member = Client::connect(&server).await;
    let flood = held(&server, "198.51.100.7", 150).await;
    asked(&hook, 1 + 32).await;
    // Who is in need not wait for those who are not.
    member.emit("join", json!({"room": "lobby"})).await;
    timeout(Duration::from_secs(3), member.nothing()).await.expect("an answer, while all turns of newcomers are taken");
    // Of those who are not, somebody from elsewhere is let in long before the rest of the flood.
    let mut late = Client::with_headers(&server, &[("x-forwarded-for", "203.0.113.9".to_owned())]).await;
    late.send(r#"40/rtc-cafe,{"name":"late"}"#).await;
    let mut let_go = 0;
    let reply = loop {
        if let Ok(reply) = timeout(Duration::from_millis(200), late.receive()).await {
            break reply;
        }
        hook.held.notify_one();
        let_go += 1;
    };
    assert!(reply.starts_with("40/rtc-cafe,") && let_go < 20, "{reply} after {let_go}");
    drop(flood);
}

#[test]
fn urls_are_looked_at() {
    let error = |url: &str| Webhook::new(url).unwrap_err();
    for bad in ["", "example.org", "/hook", "ftp://example.org/", "http:///x"] {
        assert_eq!(error(bad), WebhookUrlError::NotHttp, "{bad}");
    }
    assert_eq!(error("https://ana:secret@example.org/"), WebhookUrlError::Credentials);
    let shown = format!("{:?}", Webhook::new("https://example.org/secret").unwrap());
    assert!(shown.contains("example.org") && !shown.contains("secret"), "{shown}");
}
