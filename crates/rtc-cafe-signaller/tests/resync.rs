//! Two hubs tell each other everything: in pieces, not too often, and no frame more than it takes.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use rtc_cafe_signaller::hub::{Hub, HubConfig, Output, SocketId, Topic};
use rtc_cafe_wire::ApiVersion;

const PIECE: usize = 20_000;
/// A roster is told as a whole; no room of these tests has a longer one.
const LONGEST: usize = 4_000;

struct Node {
    hub: Hub,
    now: Duration,
    published: Vec<(Topic, String)>,
    events: Vec<(SocketId, &'static str, String)>,
}

impl Node {
    fn new(number: u8) -> Self {
        let mut config = HubConfig::default();
        (config.piece, config.rooms_per_socket) = (PIECE, 2000);
        (config.burst, config.events_per_second) = (1_000_000, 1_000_000);
        let mut hub = Hub::new(config, [number; 32]);
        hub.connect_nodes(Duration::from_secs(1_700_000_000));
        let mut node = Self { hub, now: Duration::from_secs(1), published: Vec::new(), events: Vec::new() };
        node.hub.handle_broker(node.now, true);
        node.collect();
        node
    }

    fn collect(&mut self) {
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Publish { topic, frame, .. } => self.published.push((topic, frame.into())),
                Output::Emit { to, event, payload } => self.events.push((to, event, payload.to_string())),
                _ => {}
            }
        }
    }

    fn client(&mut self, version: ApiVersion, rooms: usize) -> SocketId {
        let socket = self.hub.connect(version);
        for room in 0..rooms {
            self.say(socket, "join", &format!("{{\"room\":{room}}}"));
        }
        socket
    }

    fn say(&mut self, socket: SocketId, event: &str, payload: &str) {
        self.hub.handle_event(self.now, socket, event, payload);
        self.collect();
    }

    /// Tells the next piece; what is published by it.
    fn tell(&mut self) -> Vec<(Topic, String)> {
        self.collect();
        if self.published.is_empty() && self.hub.has_more() {
            self.hub.handle_flushed(self.now);
            self.collect();
        }
        std::mem::take(&mut self.published)
    }
}

/// Lets two talk until both are silent; the most bytes that one of them had waiting, and how many frames of a type there were.
fn talk(a: &mut Node, b: &mut Node, kind: &str) -> (usize, usize) {
    let (mut most, mut count) = (0, 0);
    loop {
        let (from_a, from_b) = (a.tell(), b.tell());
        if from_a.is_empty() && from_b.is_empty() {
            return (most, count);
        }
        for (frames, to) in [(from_a, &mut *b), (from_b, &mut *a)] {
            most = most.max(frames.iter().map(|(_, frame)| frame.len()).sum());
            for (_, frame) in &frames {
                count += usize::from(frame.starts_with(&format!("{{\"type\":\"{kind}\"")));
                to.hub.handle_frame(to.now, frame);
                // Answers go out one by one, as they come.
                to.collect();
            }
        }
    }
}

fn two(rooms: usize) -> (Node, Node) {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    for _ in 0..3 {
        a.client(ApiVersion::V1_0, rooms);
        b.client(ApiVersion::V1_0, rooms);
    }
    talk(&mut a, &mut b, "");
    assert_eq!((a.hub.node_stats().remotes, b.hub.node_stats().remotes), (3, 3));
    (a, b)
}

#[test]
fn much_is_told_in_pieces() {
    let (mut a, mut b) = two(1000);
    a.hub.handle_broker(a.now, false);
    a.collect();
    a.events.clear();
    b.events.clear();
    a.hub.handle_broker(a.now, true);
    let (most, rosters) = talk(&mut a, &mut b, "room");
    assert!(most < PIECE + LONGEST, "{most} bytes waited at a time");
    assert_eq!(rosters, 2000, "each room is told by each of them once");
    assert_eq!((a.events.len(), b.events.len()), (0, 0), "nobody notices");
}

#[test]
fn everything_is_not_told_again_and_again() {
    let (mut a, mut b) = two(50);
    let name = b.hub.node_name().unwrap().to_owned();
    let mut begun = 0;
    for number in 0..100 {
        // It says that it has missed something, a hundred times in ten seconds.
        let sync = format!("{{\"type\":\"sync\",\"from\":\"{name}\",\"link\":1000000,\"number\":{}}}", number + 1);
        a.hub.handle_frame(a.now, &sync);
        for node in [&mut a, &mut b] {
            node.now += Duration::from_millis(100);
            node.hub.handle_tick(node.now);
        }
        begun += talk(&mut a, &mut b, "begin").1;
    }
    assert!((2..=10).contains(&begun), "told {begun} times");
}

#[test]
fn what_is_for_all_goes_to_each_node_once() {
    let (mut a, mut b) = two(20);
    let root = a.client(ApiVersion::V0_0, 20);
    talk(&mut a, &mut b, "");
    b.events.clear();
    a.say(root, "offer", r#"{"offer":{"sdp":"v=0"}}"#);
    let frames = a.tell();
    assert_eq!(frames.len(), 1, "{frames:?}");
    b.hub.handle_frame(b.now, &frames[0].1);
    b.collect();
    let sid = a.hub.sid(root).unwrap();
    assert_eq!(b.events.len(), 3, "everybody who shares a room hears it once: {:?}", b.events);
    assert!(b.events.iter().all(|(_, event, payload)| *event == "offer" && payload.contains(sid)));
    // It is not believed of somebody who is not there.
    let forged = frames[0].1.replace(sid, "nobody").replace("\"number\":", "\"number\":9");
    b.events.clear();
    b.hub.handle_frame(b.now, &forged);
    b.collect();
    assert!(b.events.is_empty(), "{:?}", b.events);
}
