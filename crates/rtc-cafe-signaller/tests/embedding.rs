//! The server inside of somebody's application: nesting, validation, shutdown, numbers.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use common::{Client, Poller, Server};
use hyper::StatusCode;
use rtc_cafe_signaller::{ErrorCode, Limits, Signaller};
use serde_json::{Value, json};

#[tokio::test]
async fn nested_under_a_path() {
    for path in ["/cafe/socket.io/", "/cafe/socket.io"] {
        let signaller = Signaller::new();
        let app = Router::new().route("/", get(async || "the application")).nest("/cafe", signaller.router());
        let server = Server::serve(signaller, app, path).await;
        let mut a = Client::join(&server, "R", "a").await;
        a.nothing().await;
        let poller = Poller::open(&server).await;
        poller.connect().await;
        poller.post("42/rtc-cafe,[\"join\",{\"room\":\"R\"}]").await;
        a.event("acquire-peers").await;
    }
}

#[tokio::test]
async fn a_slow_validation_keeps_the_order_and_holds_up_nobody_else() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let validate = {
        let seen = seen.clone();
        move |sid: String, event: String, data: Value| {
            seen.lock().unwrap().push((sid, event, data.clone()));
            async move {
                // The first are the slowest.
                let pause = data["n"].as_u64().map_or(0, |n| 40_u64.saturating_sub(2 * n));
                tokio::time::sleep(Duration::from_millis(pause)).await;
                if data["n"] == 5 { Err(json!("not five")) } else { Ok(()) }
            }
        }
    };
    let server = Server::with(Signaller::builder().validate(validate).build()).await;
    let mut a = Client::join(&server, "R", "a").await;
    a.nothing().await;
    let mut b = Client::join(&server, "R", "b").await;
    a.event("acquire-peers").await;
    let start = Instant::now();
    for n in 0..20 {
        b.emit("candidate", json!({"recipient": a.sid, "n": n})).await;
    }
    b.send("42/rtc-cafe,[\"candidate\",{bad}]").await;
    a.emit("offer", json!({"recipient": b.sid})).await;
    assert_eq!(b.event("offer").await["sid"], a.sid);
    assert!(start.elapsed() < Duration::from_millis(200), "others wait for a slow validation");
    for n in (0..20).filter(|n| *n != 5) {
        assert_eq!(a.event("candidate").await["n"], n);
    }
    let rejected = json!({"error": "not five", "originalMessage": "candidate", "code": "rejected"});
    assert_eq!(b.event("error").await, rejected);
    b.error("invalid-json", "candidate").await;
    let seen = seen.lock().unwrap();
    let of_b: Vec<_> = seen.iter().filter(|(sid, ..)| *sid == b.sid).map(|(_, event, _)| event.as_str()).collect();
    assert_eq!((of_b[0], of_b.len()), ("join", 21));
    assert!(seen.iter().any(|(sid, event, data)| *sid == a.sid && event == "request-sid" && data.is_null()));
}

#[tokio::test]
async fn what_comes_with_connect_is_validated_in_its_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let validate = {
        let seen = seen.clone();
        move |_: String, event: String, data: Value| {
            seen.lock().unwrap().push(event);
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if data["room"] == "forbidden" { Err(json!("no")) } else { Ok(()) }
            }
        }
    };
    let server = Server::with(Signaller::builder().validate(validate).build()).await;
    let mut a = Client::join(&server, "R", "a").await;
    a.nothing().await;
    seen.lock().unwrap().clear();
    let mut b = Client::open(&server).await;
    let join = |room: &str| json!(["join", {"room": room, "id": "b"}]);
    let signals = json!([["request-sid", {"apiVersion": "1.0"}], join("forbidden"), join("R")]);
    b.send(&format!("40/rtc-cafe,{}", json!({"token": "t", "signals": signals}))).await;
    // What is sent behind it waits.
    b.send("42/rtc-cafe,[\"leave\",{\"room\":\"R\"}]").await;
    let entered = b.receive().await;
    let content: Value = serde_json::from_str(entered.strip_prefix("40/rtc-cafe,").unwrap()).unwrap();
    assert_eq!(content["signals"], 3);
    assert_eq!(b.event("sid").await["sid"], content["sid"]);
    assert_eq!(b.event("error").await["code"], "rejected");
    assert_eq!(a.event("acquire-peers").await["sid"], content["sid"]);
    a.event("peer-disconnection").await;
    assert_eq!(*seen.lock().unwrap(), ["request-sid", "join", "join", "leave"]);
}

#[tokio::test]
async fn a_slow_validation_over_polling() {
    let validate = |_: String, _: String, data: Value| async move {
        tokio::time::sleep(Duration::from_millis(if data["n"] == 0 { 50 } else { 0 })).await;
        Ok(())
    };
    let server = Server::with(Signaller::builder().validate(validate).build()).await;
    let poller = Poller::open(&server).await;
    let sid = poller.connect().await;
    let events: Vec<_> =
        (0..3).map(|n| format!("42/rtc-cafe,{}", json!(["candidate", {"recipient": sid, "n": n}]))).collect();
    poller.post(events.join("\x1e")).await;
    let polled = poller.poll().await;
    let order: Vec<_> = polled.split('\x1e').map(|frame| &frame.split("\"n\":").nth(1).unwrap()[..1]).collect();
    assert_eq!(order, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_validation_that_panics_takes_only_its_client_along() {
    let validate = |_: String, _: String, data: Value| async move {
        assert!(data["bug"].is_null(), "a bug of the application");
        Ok(())
    };
    let server = Server::with(Signaller::builder().validate(validate).build()).await;
    let mut a = Client::join(&server, "R", "a").await;
    a.nothing().await;
    let mut b = Client::join(&server, "R", "b").await;
    a.event("acquire-peers").await;
    b.emit("offer", json!({"bug": 1})).await;
    assert_eq!(a.event("peer-disconnection").await, json!({"sid": b.sid}));
    assert_eq!(server.signaller.stats().connections, 1);
}

#[tokio::test]
async fn a_shutdown_sends_what_waits_and_takes_nobody_new() {
    let server = Server::start().await;
    let mut a = Client::join(&server, "R", "a").await;
    a.nothing().await;
    let poller = Poller::open(&server).await;
    poller.connect().await;
    poller.post("42/rtc-cafe,[\"join\",{\"room\":\"R\"}]").await;
    let pending = tokio::spawn({
        let (query, other) = (poller.query(), Server::with(server.signaller.clone()).await);
        async move { other.get(&query).await.body }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    let ((), code) = tokio::join!(server.signaller.shutdown(), async {
        a.event("acquire-peers").await;
        a.closed().await
    });
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(code, Some(1001));
    assert!(pending.await.unwrap().ends_with('1'));
    assert_eq!(server.signaller.stats().connections, 0);
    assert_eq!(server.get("EIO=4&transport=polling").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_numbers_add_up() {
    let server = Server::start().await;
    let mut a = Client::join(&server, "R", "a").await;
    a.nothing().await;
    let mut b = Client::join(&server, "R", "b").await;
    a.event("acquire-peers").await;
    b.emit("offer", json!({"recipient": "nobody"})).await;
    b.error("recipient-not-found", "offer").await;
    let stats = server.signaller.stats();
    assert_eq!((stats.connections, stats.sockets, stats.rooms, stats.connections_opened), (2, 2, 1, 2));
    assert_eq!((stats.events_received, stats.events_sent), (4, 3));
    let refused: Vec<_> = stats.events_refused.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(refused, [(ErrorCode::RecipientNotFound, 1)]);
}

#[tokio::test]
async fn a_validation_sees_the_room_that_is_joined() {
    let validate = |_: String, event: String, data: Value| async move {
        if event == "join" && data["room"] == 5 { Err(json!("not five")) } else { Ok(()) }
    };
    let server = Server::with(Signaller::builder().validate(validate).build()).await;
    let mut a = Client::connect(&server).await;
    for room in ["5", "5.0", "50e-1", "0.5E1", "6,\"room\":5.00"] {
        a.send(&format!("42/rtc-cafe,[\"join\",{{\"room\":{room}}}]")).await;
        assert_eq!(a.event("error").await["code"], "rejected", "{room}");
    }
    for room in ["null", "[5]", "5e300"] {
        a.send(&format!("42/rtc-cafe,[\"join\",{{\"room\":{room}}}]")).await;
        a.error("invalid-room", "join").await;
    }
    assert_eq!(server.signaller.stats().rooms, 0);
    a.emit("join", json!({"room": "5"})).await;
    a.nothing().await;
    assert_eq!(server.signaller.stats().rooms, 1);
}

#[tokio::test]
async fn a_validation_is_asked_about_what_the_rate_allows() {
    let asked = Arc::new(Mutex::new(0));
    let validate = {
        let asked = asked.clone();
        move |_: String, _: String, _: Value| {
            *asked.lock().unwrap() += 1;
            async { Ok(()) }
        }
    };
    let mut limits = Limits::default();
    (limits.burst, limits.events_per_second) = (20, 1);
    let server = Server::with(Signaller::builder().validate(validate).limits(limits).build()).await;
    let mut a = Client::connect(&server).await;
    for _ in 0..60 {
        a.emit("request-sid", json!({})).await;
    }
    let mut limited = 0;
    for _ in 0..60 {
        limited += usize::from(a.receive().await.contains("rate-limited"));
    }
    // The entry into the namespace was the first of twenty.
    let asked = *asked.lock().unwrap();
    assert!((19..=21).contains(&asked) && asked + limited == 60, "{asked} asked, {limited} limited");
}

#[tokio::test]
async fn a_validation_that_does_not_end_is_a_rejection_and_no_death() {
    let validate = |_: String, _: String, data: Value| async move {
        if data["hang"] == true {
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    let beat = Duration::from_millis(200);
    let server = Server::with(Signaller::builder().validate(validate).heartbeat(beat, beat).build()).await;
    let mut a = Client::connect(&server).await;
    // Together they take longer than the heartbeat allows.
    for _ in 0..8 {
        a.emit("join", json!({"room": 1, "hang": true})).await;
    }
    for _ in 0..8 {
        a.error("admission-failed", "join").await;
    }
    a.emit("request-sid", json!({})).await;
    a.event("sid").await;
}
