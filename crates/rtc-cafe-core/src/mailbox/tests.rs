//! What waits, what is confirmed and what is lost.

use rtc_cafe_wire::{TrackId, limits::MAX_MESSAGE, peer::TrackKind};

use super::*;

fn frames(mailbox: &mut Mailbox, limits: &Limits) -> Vec<String> {
    let fetch = |mailbox: &mut Mailbox| mailbox.pop(limits).inspect(|frame| mailbox.fetched(frame.len()));
    std::iter::from_fn(|| fetch(mailbox)).collect()
}

#[test]
fn a_long_message_arrives_whole() {
    let limits = Limits::default();
    let payload = format!("\"{}\"", "é\u{1f600}x".repeat(50_000));
    let (mut sender, mut receiver) = (Mailbox::default(), Mailbox::default());
    sender.push_message(payload.as_str().into());
    let mut received = Vec::new();
    for frame in frames(&mut sender, &limits) {
        let Ok(Some(Frame::Message { more, body })) = Frame::decode(&frame) else { panic!("not a message") };
        received.push(receiver.receive(more, body, MAX_MESSAGE));
    }
    assert!(received.len() > 2);
    assert_eq!(received.pop(), Some(Received::Whole(payload)));
    assert!(received.iter().all(|part| *part == Received::Nothing));
}

#[test]
fn waits_while_the_channel_is_full() {
    let limits = Limits { high_water: 100, ..Limits::default() };
    let mut mailbox = Mailbox::default();
    for _ in 0..10 {
        mailbox.push_message("\"forty bytes of text, more or less\"".into());
    }
    let first = frames(&mut mailbox, &limits).len();
    assert!((1..10).contains(&first));
    mailbox.set_buffered(0);
    assert!(!frames(&mut mailbox, &limits).is_empty());
    mailbox.set_buffered(100);
    assert!(frames(&mut mailbox, &limits).is_empty());
}

#[test]
fn control_overtakes_messages_but_no_body_comes_between_the_parts_of_one() {
    let limits = Limits { high_water: 1, ..Limits::default() };
    let mut mailbox = Mailbox::default();
    let long = "1".repeat(MAX_PART + 1);
    mailbox.push_message(long.as_str().into());
    mailbox.push_message("2".into());
    let pop = |mailbox: &mut Mailbox| {
        mailbox.set_buffered(0);
        let frame = mailbox.pop(&limits).inspect(|frame| mailbox.fetched(frame.len()));
        frame.and_then(|frame| frame.split(['\n', ',', '}']).next().map(String::from))
    };
    let message = Some(String::from(r#"{"type":"message""#));
    assert_eq!(pop(&mut mailbox), message);
    let id = TrackId::new("t").expect("short");
    assert!(mailbox.push(&Frame::Turn, &limits));
    assert!(mailbox.push(&Frame::Track { id, kind: TrackKind::Audio, description: "1" }, &limits));
    assert!(mailbox.push_parts(&long, &limits, &|more, body| Frame::Answer { more, negotiation: 1, offers: 0, body }));
    assert!(mailbox.push(&Frame::TurnRequest, &limits));
    let order = ["turn", "message", "track", "answer", "answer", "turn-request", "message"];
    for name in order {
        assert_eq!(pop(&mut mailbox), Some(["{\"type\":\"", name, "\""].concat()));
    }
    assert_eq!((pop(&mut mailbox), mailbox.waits()), (None, false));
    assert!(mailbox.waiting_bytes() > MAX_PART, "nothing is confirmed");
    mailbox.confirm(2);
    assert_eq!(mailbox.waiting_bytes(), 0);
}

/// Two mailboxes, of which the left one sends.
#[derive(Default)]
struct Pair {
    left: Mailbox,
    right: Mailbox,
    received: Vec<String>,
    undelivered: Vec<(String, bool)>,
}

impl Pair {
    /// Hands over so many frames, of which all or none arrive.
    fn hand_over(&mut self, count: usize, arrive: bool) {
        for _ in 0..count {
            let frame = self.left.pop(&Limits::default()).unwrap();
            let Ok(Some(Frame::Message { more, body })) = Frame::decode(&frame) else { panic!("not a message") };
            if arrive && let Received::Whole(message) = self.right.receive(more, body, 1 << 20) {
                self.received.push(message);
                self.right.count(1);
            }
        }
    }

    fn reconnect(&mut self) {
        self.left.rewind();
        self.right.rewind();
        let (left, right) = (self.left.progress(), self.right.progress());
        let lost = self.left.handle_progress(right);
        self.undelivered.extend(lost.into_iter().map(|lost| (lost.payload.to_string(), lost.may_have_arrived)));
        assert_eq!(self.right.handle_progress(left), []);
    }
}

#[test]
fn a_new_connection_goes_on_where_the_last_one_ended() {
    let mut pair = Pair::default();
    pair.reconnect();
    let long = "7".repeat(MAX_PART + 1);
    for message in ["1", "2", "3", long.as_str(), "5"] {
        pair.left.push_message(message.into());
    }
    pair.hand_over(2, true);
    pair.left.confirm(1);
    pair.hand_over(2, false);
    pair.left.rewind();
    assert_eq!(pair.left.pop(&Limits::default()), None, "the peer says first what it has");
    pair.reconnect();
    pair.hand_over(4, true);
    assert_eq!(pair.received, ["1", "2", "3", &long, "5"]);
    pair.left.confirm(9);
    assert!(pair.left.waiting_bytes() > 0, "more than there were are not confirmed");
    pair.left.confirm(pair.right.take_ack().unwrap());
    assert_eq!((pair.left.waiting_bytes(), pair.right.take_ack()), (0, None));
    assert_eq!(pair.undelivered, []);
}

#[test]
fn of_a_stream_that_has_ended_the_peer_tells_what_arrived() {
    let mut pair = Pair::default();
    pair.reconnect();
    for message in ["1", "2", "3", "4"] {
        pair.left.push_message(message.into());
    }
    pair.hand_over(2, true);
    pair.hand_over(1, false);
    pair.left.rewind();
    assert_eq!(pair.left.end(), [Undelivered { payload: "4".into(), may_have_arrived: false }]);
    assert!(pair.left.is_in_doubt());
    pair.left.push_message("5".into());
    pair.reconnect();
    assert_eq!(pair.undelivered, [("3".into(), false)]);
    pair.hand_over(1, true);
    assert_eq!(pair.received, ["1", "2", "5"]);
}

#[test]
fn what_nobody_tells_may_have_arrived() {
    let doubtful = |payload: &str| Undelivered { payload: payload.into(), may_have_arrived: true };
    let mut pair = Pair::default();
    pair.reconnect();
    pair.left.push_message("0".into());
    pair.left.push_message("1".into());
    pair.hand_over(2, true);
    pair.left.confirm(1);
    pair.left.push_message("2".into());
    pair.left.rewind();
    pair.right = Mailbox::default();
    pair.reconnect();
    assert_eq!(pair.undelivered, [("1".into(), true)], "the peer has forgotten the stream");
    pair.hand_over(1, true);
    assert_eq!(pair.received, ["0", "1", "2"]);
    pair.left.rewind();
    assert_eq!(pair.left.end(), []);
    assert_eq!(pair.left.give_up(), [doubtful("2")]);
    assert_eq!(pair.left.give_up(), []);
}

#[test]
fn nothing_follows_what_did_not_fit() {
    let limits = Limits { control_bytes: 30, ..Limits::default() };
    let mut mailbox = Mailbox::default();
    assert!(mailbox.push(&Frame::Turn, &limits));
    assert!(!mailbox.push(&Frame::Ping { nonce: 1 }, &limits));
    assert_eq!(frames(&mut mailbox, &limits).len(), 1);
    assert!(!mailbox.push(&Frame::Turn, &limits));
}

#[test]
fn all_that_belongs_to_a_message_that_is_too_long_is_dropped() {
    let mut mailbox = Mailbox::default();
    assert_eq!(mailbox.receive(true, "123456", 10), Received::Nothing);
    assert_eq!(mailbox.receive(true, "123456", 10), Received::TooLong);
    assert_eq!(mailbox.receive(true, "1", 10), Received::TooLong);
    assert_eq!(mailbox.receive(false, "1", 10), Received::TooLong);
    assert_eq!(mailbox.receive(false, "12", 10), Received::Whole("12".into()));
}
