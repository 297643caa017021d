//! What an operator sees, and kicks, on one server and on two.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::{Duration, SystemTime};

use common::{Client, Server};
use rtc_cafe_signaller::{
    Kicked, Signaller,
    admission::{Admission, Pass, Request, Ruling, Visitor},
    broker::MemoryBroker,
};
use rtc_cafe_wire::RoomId;
use serde_json::json;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn named(room: &str) -> RoomId {
    RoomId::named(room).unwrap()
}

async fn joined(server: &Server, room: &str, id: &str) -> Client {
    let mut client = Client::join(server, room, id).await;
    client.nothing().await;
    client
}

async fn is_kicked(client: &mut Client) {
    let error = client.event("error").await;
    assert_eq!((&error["code"], &error["originalMessage"]), (&json!("kicked"), &json!("")), "{error}");
    client.expect("41/rtc-cafe,").await;
    assert_eq!(client.closed().await, Some(1001));
}

#[tokio::test]
async fn rooms_and_members_are_found_and_dealt_out_in_parts() {
    let server = Server::start().await;
    let before = SystemTime::now();
    let mut kept = Vec::new();
    for (room, id) in [("Hall", "ana"), ("Hall", "BOB"), ("Hall", "cy"), ("attic", "bobby"), ("cellar", "dee")] {
        kept.push(joined(&server, room, id).await);
    }
    let rooms = |search: &str, offset, limit| {
        let page = server.signaller.rooms(search, offset, limit);
        let items: Vec<_> = page.items.into_iter().map(|it| (it.room, it.members, it.here)).collect();
        (page.total, items)
    };
    let room = |name: &str, size: usize| (format!("{name:?}"), size, size);
    assert_eq!(rooms("", 0, 2), (3, vec![room("Hall", 3), room("attic", 1)]));
    assert_eq!(rooms("", 2, 2), (3, vec![room("cellar", 1)]));
    assert_eq!(rooms("", 9, 2), (3, vec![]));
    assert_eq!(rooms("\"hALL", 0, 9), (1, vec![room("Hall", 3)]));
    assert_eq!(rooms("\"bob", 0, 9).0, 2, "by their members");
    assert_eq!(rooms(&kept[4].sid, 0, 9).1, [room("cellar", 1)]);

    // More rooms than are looked at in one go, and than are kept.
    for client in 0..10 {
        let mut crowd = Client::connect(&server).await;
        for number in 0..60 {
            crowd.emit("join", json!({"room": 1000 + client * 60 + number})).await;
        }
        crowd.nothing().await;
        kept.push(crowd);
    }
    assert_eq!(rooms("", 0, 1), (603, vec![room("Hall", 3)]));
    let (total, last) = rooms(&kept.last().unwrap().sid, 58, 9);
    assert_eq!((total, last.len()), (60, 2));

    let page = server.signaller.members(&named("Hall"), "", 1, 1).unwrap();
    let bob = &page.items[0];
    assert_eq!((page.total, &bob.sid, bob.id.as_deref()), (3, &kept[1].sid, Some("\"BOB\"")));
    assert!(bob.here && bob.node.is_none() && bob.identity.is_none(), "{bob:?}");
    assert!(bob.address.is_some_and(|address| address.is_loopback()), "{bob:?}");
    assert!(bob.since.is_some_and(|since| since >= before && since <= SystemTime::now()));
    assert_eq!(server.signaller.members(&named("Hall"), "\"c", 0, 9).unwrap().total, 1);
    assert!(server.signaller.members(&named("nowhere"), "", 0, 9).is_none());
    assert!(server.signaller.members(&RoomId::numbered(5), "", 0, 9).is_none());
}

/// Lets everybody in, under the name that they give.
struct Porter;

impl Admission for Porter {
    fn connect(&self, _: &Visitor, request: &Request<'_>) -> Ruling {
        let mut pass = Pass::default();
        pass.identity = request.data().ok().map(|data| data["name"].clone());
        Ruling::Admit(pass)
    }

    fn event(&self, _: &Visitor, _: &Request<'_>) -> Ruling {
        Ruling::Allow
    }
}

#[tokio::test]
async fn identities_and_addresses_are_those_that_were_told() {
    let proxy = "127.0.0.0/8".parse().unwrap();
    let server = Server::with(Signaller::builder().admission(Porter).trust_proxies([proxy]).build()).await;
    let mut client = Client::with_headers(&server, &[("x-forwarded-for", "6.6.6.6, 203.0.113.9".to_owned())]).await;
    client.enter(&json!({"name": {"user": 7}})).await;
    client.emit("join", json!({"room": "R"})).await;
    client.nothing().await;
    let members = |search| server.signaller.members(&named("R"), search, 0, 9).unwrap();
    let member = &members("\"USER\":7").items[0];
    assert_eq!(member.identity.as_deref(), Some(r#"{"user":7}"#));
    assert_eq!(member.address.map(|address| address.to_string()).as_deref(), Some("203.0.113.9"));
    assert_eq!(members("\"user\":8").total, 0);
    assert_eq!(server.signaller.rooms("user", 0, 9).total, 1);
}

#[tokio::test]
async fn who_is_kicked_is_told_and_so_are_the_others() {
    let server = Server::start().await;
    let mut ana = joined(&server, "R", "ana").await;
    let mut bob = joined(&server, "R", "bob").await;
    ana.event("acquire-peers").await;
    assert_eq!(server.signaller.kick("nobody"), Kicked::default());
    let kicked = server.signaller.kick(&bob.sid);
    assert_eq!(kicked.here, [(bob.sid.clone(), Some("127.0.0.1".parse().unwrap()))]);
    is_kicked(&mut bob).await;
    assert_eq!(ana.event("peer-disconnection").await, json!({"sid": bob.sid}));
    assert_eq!(server.signaller.kick(&bob.sid), Kicked::default());
    assert_eq!(server.signaller.kick_room(&named("R")).here.len(), 1);
    is_kicked(&mut ana).await;
    let stats = server.signaller.stats();
    assert_eq!((stats.kicked, stats.sockets, stats.rooms), (2, 0, 0));
}

#[tokio::test]
async fn members_on_other_servers_are_seen_and_kicked() {
    let broker = MemoryBroker::new();
    let node = async || {
        let signaller = Signaller::builder().broker(broker.clone()).build();
        let server = Server::with(signaller.clone()).await;
        timeout(PATIENCE, signaller.broker_connected()).await.expect("the broker is there");
        server
    };
    let (a, b) = (node().await, node().await);
    let mut ana = joined(&a, "R", "ana").await;
    let mut bob = joined(&b, "R", "bob").await;
    ana.event("acquire-peers").await;
    let mut cy = joined(&b, "R", "cy").await;
    ana.event("acquire-peers").await;
    bob.event("acquire-peers").await;

    let summary = &a.signaller.rooms("", 0, 9).items[0];
    assert_eq!((summary.members, summary.here), (3, 1));
    let members = a.signaller.members(&named("R"), "", 0, 9).unwrap().items;
    let places: Vec<_> = members.iter().map(|it| (it.sid.as_str(), it.here, it.node.clone())).collect();
    let (here, there) = (a.signaller.node(), b.signaller.node());
    assert!(here.is_some() && here != there);
    assert_eq!(places, [(&*ana.sid, true, here), (&*bob.sid, false, there.clone()), (&*cy.sid, false, there)]);
    assert!(members.iter().all(|member| member.since.is_some_and(|since| since.elapsed().unwrap() < PATIENCE)));

    let other = b.signaller.node().unwrap();
    let kicked = a.signaller.kick(&bob.sid);
    assert_eq!((kicked.here.len(), kicked.asked, kicked.unreachable.len()), (0, [(other.clone(), 1)].into(), 0));
    is_kicked(&mut bob).await;
    for other in [&mut ana, &mut cy] {
        assert_eq!(other.event("peer-disconnection").await, json!({"sid": bob.sid}));
    }
    broker.set_down(true);
    let away = async {
        while a.signaller.stats().broker.unwrap().up {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, away).await.expect("it is noticed");
    assert_eq!(a.signaller.kick(&cy.sid).unreachable, [(other.clone(), 1)].into());
    broker.set_down(false);
    timeout(PATIENCE, a.signaller.broker_connected()).await.expect("the broker is there");
    timeout(PATIENCE, b.signaller.broker_connected()).await.expect("the broker is there");
    let kicked = a.signaller.kick_room(&named("R"));
    assert_eq!((kicked.here.len(), kicked.asked), (1, [(other, 1)].into()));
    // Either may hear of the other's end first.
    for mut client in [ana, cy] {
        while client.receive().await != "41/rtc-cafe," {}
        client.closed().await;
    }
    assert_eq!((a.signaller.stats().kicked, b.signaller.stats().kicked), (1, 2));
}
