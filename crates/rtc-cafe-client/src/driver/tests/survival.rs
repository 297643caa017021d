//! What happens to messages while paths, peers and the server are gone.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use rtc_cafe_core::{Sid, Timing};
use serde_json::{Value, json};

use super::common::{Peer, Server};
use crate::{Client, ConnectionReport, Event, Phase, Route};

/// A peer on an address of its own, and the addresses with which it cannot exchange anything.
struct Cuttable {
    peer: Peer,
    address: IpAddr,
    cut: Arc<Mutex<BTreeSet<IpAddr>>>,
}

impl Cuttable {
    fn new(server: &Server, last: u8) -> Self {
        let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
        let cut = Arc::<Mutex<BTreeSet<IpAddr>>>::default();
        let mut builder = Client::builder(server.url());
        builder.interfaces = Some(Arc::new(move || Ok(vec![address])));
        let unreachable = cut.clone();
        builder.cut = Some(Arc::new(move |remote| unreachable.lock().unwrap().contains(&remote)));
        let peer = Peer::build(builder);
        peer.client.join_room("table").unwrap();
        Self { peer, address, cut }
    }

    fn cut_from(&self, other: &Self) {
        self.cut.lock().unwrap().insert(other.address);
    }

    fn mend(&self) {
        self.cut.lock().unwrap().clear();
    }

    fn sid(&self) -> Sid {
        self.peer.client.sid().unwrap()
    }

    /// Waits until the report on another one says so.
    async fn until(&self, sid: &Sid, what: &str, is: impl Fn(&ConnectionReport) -> bool) -> ConnectionReport {
        for _ in 0..1200 {
            match self.peer.client.connection_report(sid).await {
                Some(report) if is(&report) => return report,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("never {what}: {:#?}", self.peer.client.connection_report(sid).await);
    }

    /// The messages that came until one says "end", without the sender.
    async fn heard(&mut self) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            let (_, message) = self.peer.message().await;
            if message == "end" {
                return heard;
            }
            heard.push(message);
        }
    }
}

fn no_farewell(peer: &Peer) {
    let farewell = |event: &Event| matches!(event, Event::DisconnectFromPeer { .. } | Event::MessageUndelivered { .. });
    assert!(!peer.seen.iter().any(farewell), "{:#?}", peer.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_while_the_path_is_gone_arrives_once() {
    let server = Server::start().await;
    let (mut one, mut other) = (Cuttable::new(&server, 2), Cuttable::new(&server, 3));
    one.peer.connected().await;
    other.peer.connected().await;
    let clients = [one.peer.client.clone(), other.peer.client.clone()];
    let say = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            for client in &clients {
                client.send_message(&json!([number, "x".repeat(1000)])).await.unwrap();
            }
        }
    };
    say(0..20).await;
    one.cut_from(&other);
    say(20..40).await;
    one.until(&other.sid(), "recovering", |report| report.phase == Phase::Recovering).await;
    other.until(&one.sid(), "recovering", |report| report.phase == Phase::Recovering).await;
    say(40..60).await;
    one.mend();
    say(60..80).await;
    for client in &clients {
        client.send_message("end").await.unwrap();
    }
    for end in [&mut one, &mut other] {
        let heard: Vec<_> = end.heard().await.iter().map(|message| message[0].as_u64().unwrap()).collect();
        assert_eq!(heard, (0..80).collect::<Vec<_>>());
        no_farewell(&end.peer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_stays_away_is_replaced_by_way_of_a_mutual_peer() {
    let server = Server::start().await;
    let mut peers = [Cuttable::new(&server, 2), Cuttable::new(&server, 3), Cuttable::new(&server, 4)];
    for peer in &mut peers {
        peer.peer.connected().await;
        peer.peer.connected().await;
    }
    server.stop().await;
    let [one, between, other] = &mut peers;
    one.cut_from(other);
    one.peer.client.send_message_to([other.sid()], "meanwhile").await.unwrap();
    let replaced = |report: &ConnectionReport| report.attempts > 1 && report.route == Some(Route::Peer);
    one.until(&other.sid(), "replaced over the peer", replaced).await;
    one.mend();
    assert_eq!(other.peer.message().await.1, "meanwhile");
    let report = one.until(&other.sid(), "open", |report| report.phase == Phase::Open).await;
    assert!(!report.selected().unwrap().is_relayed());
    assert!(between.peer.client.connected_peers().len() == 2);
    no_farewell(&one.peer);
    no_farewell(&other.peer);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_to_who_is_dropped_was_delivered_or_is_reported() {
    let server = Server::start().await;
    let mut timing = Timing::default();
    (timing.recovery, timing.doubt) = (Duration::from_secs(2), Duration::from_secs(1));
    let mut sender = Peer::build(Client::builder(server.url()).timing(timing));
    sender.client.join_room("table").unwrap();
    let url = server.url();
    let (told, mut received) = tokio::sync::mpsc::unbounded_channel();
    let dropped = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut peer = Peer::build(Client::builder(url));
            peer.client.join_room("table").unwrap();
            peer.connected().await;
            for _ in 0..10 {
                told.send(peer.message().await.1.as_u64().unwrap()).unwrap();
            }
            // Its end: no goodbye, neither to peers nor to the server.
            std::mem::forget(peer.client.clone());
        });
    });
    let sid = sender.connected().await;
    let mut delivered = BTreeSet::new();
    for number in 0..10 {
        sender.client.send_message(&number).await.unwrap();
    }
    while let Some(number) = received.recv().await {
        assert!(delivered.insert(number), "{number} came twice");
    }
    dropped.join().unwrap();
    let late = (10..20).filter(|number| sender.client.try_send_message(rtc_cafe_core::Recipients::All, number).is_ok());
    let mut sent: BTreeSet<u64> = (0..10).chain(late.collect::<Vec<_>>()).collect();
    assert_eq!(sender.disconnected().await, sid);
    let last = |event: &Event| match event {
        Event::MessageUndelivered { message, may_have_arrived, .. } => {
            Some((message.parse::<u64>().unwrap(), *may_have_arrived))
        }
        _ => None,
    };
    let mut undelivered: Vec<_> = sender.seen.iter().filter_map(last).collect();
    sent.retain(|number| !delivered.contains(number));
    // Those of which nobody knows are told a while later.
    while !sent.iter().all(|number| undelivered.iter().any(|(told, _)| told == number)) {
        undelivered.push(sender.next("the rest", last).await);
    }
    for (number, may_have_arrived) in &undelivered {
        assert!(*may_have_arrived || !delivered.contains(number), "{number} was delivered");
        assert_eq!(undelivered.iter().filter(|(told, _)| told == number).count(), 1, "{number}");
    }
}
