//! Who is let in, and what they may do: by a hook of the application.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use common::{Client, Poller, Server};
use rtc_cafe_signaller::{
    ErrorCode, Signaller,
    admission::{Admission, Pass, Rejection, Request, RoomRule, Ruling, Visitor},
};
use serde_json::{Value, json};

/// Lets in by name, after a while; tells what it was asked.
#[derive(Clone, Default)]
struct Doorman {
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Doorman {
    fn note(&self, visitor: &Visitor, request: &Request<'_>) {
        self.seen.lock().unwrap().push(json!({
            "event": request.name(),
            "data": request.data().unwrap_or_default(),
            "sid": visitor.sid(),
            "origin": visitor.origin(),
            "identity": visitor.identity(),
            "cookie": visitor.headers().get("cookie").map(|value| value.to_str().unwrap()),
        }));
    }

    fn seen(&self) -> Vec<Value> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Admission for Doorman {
    fn connect(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        self.note(visitor, request);
        let name = request.data().unwrap_or_default()["name"].clone();
        Ruling::later(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut pass = Pass::default();
            match name.as_str() {
                Some("ana") => {}
                Some("guest") => {
                    pass.rooms = Some(vec![RoomRule::named("lobby").unwrap(), RoomRule::named("g-*").unwrap()])
                }
                Some("witness") => pass.send = false,
                Some("late") => pass.expires = Some(SystemTime::now() + Duration::from_millis(100)),
                Some("slow") => {
                    (pass.burst, pass.events_per_second, pass.rooms_per_socket) = (Some(9), Some(1), Some(2))
                }
                Some("hangs") => std::future::pending().await,
                _ => return Err(Rejection::new(json!({"who": name}))),
            }
            pass.identity = Some(name);
            Ok(Some(pass))
        })
    }

    fn event(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        self.note(visitor, request);
        Ruling::Allow
    }

    fn ready_handshakes(&self) -> bool {
        true
    }
}

async fn house() -> (Server, Doorman) {
    let doorman = Doorman::default();
    let builder =
        Signaller::builder().admission(doorman.clone()).heartbeat(Duration::from_secs(1), Duration::from_secs(1));
    (Server::with(builder.build()).await, doorman)
}

/// A client that was let in under a name.
async fn enter(server: &Server, name: &str) -> Client {
    let mut client = Client::open(server).await;
    client.enter(&json!({"name": name})).await;
    client
}

#[tokio::test]
async fn who_is_refused_again_and_again_has_to_begin_anew() {
    let (server, doorman) = house().await;
    let mut a = Client::open(&server).await;
    for _ in 0..9 {
        assert_eq!(a.refused(&json!({"name": "eve"})).await.0, "rejected");
    }
    let mut b = Client::open(&server).await;
    for _ in 0..9 {
        assert_eq!(b.refused(&json!({"name": "eve"})).await.0, "rejected");
    }
    b.enter(&json!({"name": "ana"})).await;
    // The tenth is told, and what is already on its way behind it is not even asked about.
    a.send(r#"40/rtc-cafe,{"name":"eve"}"#).await;
    a.send(r#"40/rtc-cafe,{"name":"ana"}"#).await;
    assert!(a.receive().await.starts_with("44/rtc-cafe,"));
    a.closed().await;
    let seen = doorman.seen();
    let asked = |name: &str| seen.iter().filter(|seen| seen["data"]["name"] == name).count();
    assert_eq!((asked("eve"), asked("ana")), (19, 1));
    assert!(server.signaller.stats().connections_cut.contains(&(ErrorCode::Rejected, 1)));

    let poller = Poller::open(&server).await;
    let connects = [r#"40/rtc-cafe,{"name":"eve"}"#; 20].join("\u{1e}");
    poller.post(connects).await;
    let told = poller.poll().await;
    assert_eq!(told.matches("44/rtc-cafe,").count(), 10, "{told}");
    assert_eq!(server.get(&poller.query()).await.status, 400);
    b.nothing().await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_and_may_try_again() {
    let (server, doorman) = house().await;
    let mut a = Client::open(&server).await;
    a.send(r#"40/rtc-cafe,{"name":"eve","signals":[["join",{"room":"R"}]]}"#).await;
    a.expect(r#"44/rtc-cafe,{"message":"{\"who\":\"eve\"}","data":{"code":"rejected"}}"#).await;
    a.send("40/rtc-cafe,").await;
    a.expect(r#"44/rtc-cafe,{"message":"{\"who\":null}","data":{"code":"rejected"}}"#).await;
    a.send("40/rtc-cafe,{bad").await;
    assert!(a.receive().await.starts_with("44/rtc-cafe,"));
    // What it says besides is heard by nobody.
    a.emit("join", json!({"room": "R"})).await;
    a.enter(&json!({"name": "ana"})).await;
    a.nothing().await;
    assert_eq!(server.signaller.stats().rooms, 0);
    let refused = server.signaller.stats().connections_refused;
    assert!(refused.contains(&(ErrorCode::Rejected, 3)), "{refused:?}");
    let seen = doorman.seen();
    // The signals in it are no business of whoever lets in.
    assert_eq!((&seen[0]["data"], &seen[0]["sid"]), (&json!({"name": "eve"}), &json!(null)));
    let asked = seen.last().unwrap();
    assert_eq!(
        (&asked["event"], &asked["sid"], &asked["identity"]),
        (&json!("request-sid"), &json!(a.sid), &json!("ana"))
    );
}

#[tokio::test]
async fn a_decision_that_does_not_come_is_a_refusal() {
    let (server, _) = house().await;
    let mut a = Client::open(&server).await;
    a.send(r#"40/rtc-cafe,{"name":"hangs"}"#).await;
    // What comes behind it waits, and has no namespace then.
    a.emit("join", json!({"room": "R"})).await;
    let refused = a.receive().await;
    assert!(refused.starts_with("44/rtc-cafe,") && refused.contains(r#""code":"admission-failed""#), "{refused}");
    assert_eq!(server.signaller.stats().rooms, 0);
}

#[tokio::test]
async fn what_comes_with_connect_waits_for_the_decision() {
    let (server, doorman) = house().await;
    let mut witness = enter(&server, "ana").await;
    witness.emit("join", json!({"room": "R"})).await;
    witness.nothing().await;
    doorman.seen();
    let mut a = Client::open(&server).await;
    a.send(
        r#"40/rtc-cafe,{"name":"ana","signals":[["request-sid",{"apiVersion":"1.0"}],["join",{"room":"R","id":"a"}]]}"#,
    )
    .await;
    let entered = a.receive().await;
    assert!(entered.starts_with("40/rtc-cafe,") && entered.ends_with(r#""signals":2}"#), "{entered}");
    assert_eq!(a.event("sid").await["sid"], witness.event("acquire-peers").await["sid"]);
    let events: Vec<_> = doorman.seen().into_iter().map(|seen| seen["event"].clone()).collect();
    assert_eq!(events, ["connect", "request-sid", "join"]);
}

#[tokio::test]
async fn a_pass_opens_rooms() {
    let (server, _) = house().await;
    let mut guest = enter(&server, "guest").await;
    for room in [json!("lobby"), json!("g-1"), json!("g-")] {
        guest.emit("join", json!({"room": room, "id": "g"})).await;
        guest.nothing().await;
    }
    for room in [json!("staff"), json!("lobby2"), json!(5), json!("G-1")] {
        guest.emit("join", json!({"room": room, "id": "g"})).await;
        guest.error("not-permitted", "join").await;
    }
    assert_eq!(server.signaller.stats().rooms, 3);
    let refused = server.signaller.stats().events_refused;
    assert!(refused.contains(&(ErrorCode::NotPermitted, 4)), "{refused:?}");
}

#[tokio::test]
async fn who_may_not_send_hears_who_comes_and_is_given_nothing() {
    let (server, _) = house().await;
    let mut a = enter(&server, "ana").await;
    a.emit("request-sid", json!({"apiVersion": "1.0"})).await;
    a.event("sid").await;
    a.emit("join", json!({"room": "R", "id": "a"})).await;
    a.emit("hold", json!({"id": "a", "offer": {}, "connection": 1})).await;
    let mut witness = enter(&server, "witness").await;
    witness.emit("request-sid", json!({"apiVersion": "1.0"})).await;
    witness.event("sid").await;
    witness
        .emit("join", json!({"room": "R", "id": "w", "answers": [{"answer": {}, "connection": 2}], "informed": true}))
        .await;
    assert_eq!(a.event("acquire-peers").await["offered"], json!(null));
    for (event, data) in [
        ("offer", json!({"recipient": a.sid, "offer": {}})),
        ("answer", json!({"recipient": a.sid, "answer": {}})),
        ("candidate", json!({"recipient": a.sid, "candidate": null})),
        ("acquire-peers-response", json!({"recipient": a.sid, "room": "R"})),
        ("hold", json!({"offer": {}, "connection": 1})),
    ] {
        witness.emit(event, data).await;
        witness.error("not-permitted", event).await;
    }
    let mut b = enter(&server, "ana").await;
    b.emit("join", json!({"room": "R", "id": "b"})).await;
    assert_eq!(witness.event("acquire-peers").await["id"], "b");
}

#[tokio::test]
async fn after_a_pass_has_expired_rooms_stay_and_none_are_added() {
    let (server, _) = house().await;
    let mut a = enter(&server, "ana").await;
    a.emit("join", json!({"room": "R", "id": "a"})).await;
    a.nothing().await;
    let mut late = enter(&server, "late").await;
    late.emit("join", json!({"room": "R", "id": "l"})).await;
    a.event("acquire-peers").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    late.emit("join", json!({"room": "S", "id": "l"})).await;
    late.error("token-expired", "join").await;
    late.emit("offer", json!({"recipient": a.sid, "offer": {}})).await;
    assert_eq!(a.event("offer").await["sid"], late.sid);
}

#[tokio::test]
async fn a_pass_has_limits_of_its_own() {
    let (server, _) = house().await;
    let mut slow = enter(&server, "slow").await;
    for room in 0..3 {
        slow.emit("join", json!({"room": room})).await;
    }
    slow.error("too-many-rooms", "join").await;
    for _ in 0..20 {
        slow.emit("leave", json!({"room": "none"})).await;
    }
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(slow.event("error").await["code"].clone());
    }
    assert!(codes.contains(&json!("rate-limited")) && codes.contains(&json!("not-in-room")), "{codes:?}");
}

/// Decides about events one by one: `offer` and `answer` for nobody but the recipient that it names.
struct Strict(Arc<Mutex<Vec<Value>>>);

impl Admission for Strict {
    fn event(&self, _: &Visitor, request: &Request<'_>) -> Ruling {
        let data = request.data().unwrap_or_default();
        self.0.lock().unwrap().push(json!([request.name(), data["recipient"]]));
        Ruling::Allow
    }
}

#[tokio::test]
async fn who_decides_about_each_signal_is_asked_about_each() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Server::with(Signaller::builder().admission(Strict(seen.clone())).build()).await;
    let mut a = Client::connect(&server).await;
    a.emit("request-sid", json!({"apiVersion": "1.0"})).await;
    a.event("sid").await;
    a.emit("join", json!({"room": "R", "id": "a"})).await;
    a.emit("hold", json!({"id": "a", "offer": {}, "connection": 1})).await;
    a.emit("request-sid", json!({"apiVersion": "1.0"})).await;
    a.event("sid").await;
    let mut b = Client::connect(&server).await;
    b.emit("request-sid", json!({"apiVersion": "1.0"})).await;
    b.event("sid").await;
    b.emit("join", json!({"room": "R", "id": "b", "answers": [{"answer": {}, "connection": 2}], "informed": true}))
        .await;
    // Neither the offer nor the answer is dealt out: they come as signals, with recipients.
    assert_eq!(a.event("acquire-peers").await, json!({"id": "b", "sid": b.sid, "prevSid": null, "room": "R"}));
    a.emit("offer", json!({"recipient": b.sid, "offer": {}, "connection": 1})).await;
    assert_eq!(b.event("offer").await["sid"], a.sid);
    b.emit("answer", json!({"recipient": a.sid, "answer": {}, "connection": 2})).await;
    a.event("answer").await;
    let seen = seen.lock().unwrap().clone();
    assert!(seen.contains(&json!(["hold", null])), "{seen:?}");
    assert!(seen.contains(&json!(["offer", b.sid])) && seen.contains(&json!(["answer", a.sid])), "{seen:?}");
}

#[tokio::test]
async fn several_are_asked_in_their_order() {
    struct Second(Arc<Mutex<Vec<Value>>>);
    impl Admission for Second {
        fn connect(&self, visitor: &Visitor, _: &Request<'_>) -> Ruling {
            self.0.lock().unwrap().push(json!(visitor.identity()));
            let Some(pass) = visitor.pass() else { return Rejection::new("nobody has vouched for you").into() };
            let mut pass = pass.clone();
            pass.identity = Some(json!([visitor.identity(), "too"]));
            Ruling::Admit(pass)
        }

        fn event(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
            self.0.lock().unwrap().push(json!(visitor.identity()));
            match request.name() {
                "leave" => Rejection::new("nobody leaves").with_code(ErrorCode::NotPermitted).into(),
                _ => Ruling::Allow,
            }
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let signaller = Signaller::builder().admission(Doorman::default()).admission(Second(seen.clone())).build();
    let server = Server::with(signaller).await;
    let mut guest = enter(&server, "guest").await;
    guest.emit("join", json!({"room": "staff"})).await;
    guest.error("not-permitted", "join").await;
    guest.emit("leave", json!({"room": "lobby"})).await;
    assert_eq!(guest.error("not-permitted", "leave").await["error"], "nobody leaves");
    let both = json!(["guest", "too"]);
    assert_eq!(*seen.lock().unwrap(), [json!("guest"), both.clone(), both]);
}

#[tokio::test]
async fn tokens_in_signals_reach_the_hook_and_no_peer() {
    let (server, doorman) = house().await;
    let mut a = enter(&server, "ana").await;
    a.emit("join", json!({"room": "R", "id": "a", "token": "secret"})).await;
    a.nothing().await;
    let mut b = enter(&server, "ana").await;
    b.emit("join", json!({"room": "R", "id": "b", "token": "secret"})).await;
    assert!(a.event("acquire-peers").await.get("token").is_none());
    for event in ["offer", "answer", "candidate"] {
        a.emit(event, json!({"recipient": b.sid, "token": "secret", "x": 1})).await;
        assert_eq!(b.event(event).await, json!({"id": "a", "sid": a.sid, "recipient": b.sid, "x": 1}));
    }
    assert_eq!(doorman.seen().iter().filter(|seen| seen["data"]["token"] == "secret").count(), 5);
}

#[tokio::test]
async fn the_hook_sees_where_a_client_is_from() {
    let (server, doorman) = house().await;
    let headers = [("origin", format!("http://{}", server.address)), ("cookie", "session=1".to_owned())];
    let mut a = Client::with_headers(&server, &headers).await;
    a.enter(&json!({"name": "ana"})).await;
    let seen = &doorman.seen()[0];
    assert_eq!((&seen["origin"], &seen["cookie"]), (&json!(headers[0].1), &json!("session=1")));
    let long = [("cookie", "x".repeat(20_000))];
    let refused = Client::try_with_headers(&server, &long).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("431"), "{refused}");
}

#[tokio::test]
async fn the_address_is_known_where_the_application_tells_it() {
    struct Address(Arc<Mutex<Option<IpAddr>>>);
    impl Admission for Address {
        fn connect(&self, visitor: &Visitor, _: &Request<'_>) -> Ruling {
            *self.0.lock().unwrap() = visitor.address();
            Ruling::Allow
        }
    }
    let seen = Arc::new(Mutex::new(None));
    let server = Server::with(Signaller::builder().admission(Address(seen.clone())).build()).await;
    Client::connect(&server).await;
    assert_eq!(*seen.lock().unwrap(), Some([127, 0, 0, 1].into()));
}
