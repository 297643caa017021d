//! The frames that wait for one peer's data channel, and the parts of what it is sending us.

use std::collections::VecDeque;

use rtc_cafe_wire::{limits::MAX_PART, peer::Frame};

use crate::config::Limits;

/// Both directions of one data channel.
///
/// What a peer has to be told overtakes the messages that wait, and stays in order among itself.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    control: Queue,
    messages: Queue,
    /// Parts of a message were handed over, and not the last one: no other body may come between them.
    unfinished: bool,
    /// Something that the peer had to be told did not fit.
    overflowed: bool,
    /// What the data channel holds, as far as we know.
    buffered: usize,
    incoming: Incoming,
}

/// Frames that wait, each with a mark.
#[derive(Debug, Default)]
struct Queue {
    /// Marked are frames with a body, among messages those of which further parts follow.
    frames: VecDeque<(bool, String)>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, mark: bool, frame: String) {
        self.bytes += frame.len();
        self.frames.push_back((mark, frame));
    }

    fn pop(&mut self) -> Option<(bool, String)> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.1.len();
        Some(frame)
    }
}

/// A body that comes in parts.
#[derive(Debug, Default)]
enum Incoming {
    #[default]
    Nothing,
    Parts(String),
    /// It grew too long; the rest of its parts is passed over.
    TooLong,
}

/// What a part completes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Nothing,
    Whole(String),
    TooLong,
}

impl Mailbox {
    /// Whether a message of this length may be queued.
    pub(crate) fn has_room(&self, bytes: usize, limits: &Limits) -> bool {
        self.messages.bytes.saturating_add(bytes) <= limits.outgoing_bytes
    }

    /// Whether there is room for an answer that the peer can do without: half of what is there for control, so that a
    /// peer who only asks does not lose its connection by it.
    pub(crate) const fn has_room_for_answer(&self, limits: &Limits) -> bool {
        self.control.bytes < limits.control_bytes / 2
    }

    /// Bytes that wait for the data channel.
    pub(crate) const fn waiting_bytes(&self) -> usize {
        self.control.bytes + self.messages.bytes
    }

    /// Queues what the peer has to be told; false if it does not fit, and nothing does from then on.
    pub(crate) fn push(&mut self, frame: &Frame<'_>, limits: &Limits) -> bool {
        let body = matches!(frame, Frame::Track { .. } | Frame::Offer { .. } | Frame::Answer { .. });
        let frame = frame.encode();
        self.overflowed |= self.control.bytes + frame.len() > limits.control_bytes;
        if !self.overflowed {
            self.control.push(body, frame);
        }
        !self.overflowed
    }

    /// Queues a message in frames that it fits into.
    pub(crate) fn push_message(&mut self, payload: &str) {
        let mut rest = payload;
        loop {
            let (body, behind) = split(rest, MAX_PART);
            rest = behind;
            let more = !rest.is_empty();
            self.messages.push(more, Frame::Message { more, body }.encode());
            if !more {
                break;
            }
        }
    }

    /// Queues a body that the peer has to be told in frames that it fits into; `frame` makes one of whether more follow
    /// and of a part. False if it does not fit.
    pub(crate) fn push_parts(
        &mut self,
        body: &str,
        limits: &Limits,
        frame: &dyn for<'a> Fn(bool, &'a str) -> Frame<'a>,
    ) -> bool {
        let mut rest = body;
        loop {
            let (part, behind) = split(rest, MAX_PART);
            rest = behind;
            if !self.push(&frame(!rest.is_empty(), part), limits) || rest.is_empty() {
                return !self.overflowed;
            }
        }
    }

    /// The next frame for the data channel, unless the channel is full.
    pub(crate) fn pop(&mut self, limits: &Limits) -> Option<String> {
        if self.buffered >= limits.high_water {
            return None;
        }
        let overtakes = self.control.frames.front().is_some_and(|(body, _)| !(*body && self.unfinished));
        let frame = if overtakes {
            self.control.pop()?.1
        } else {
            let (more, frame) = self.messages.pop()?;
            self.unfinished = more;
            frame
        };
        self.buffered += frame.len();
        Some(frame)
    }

    /// The data channel holds so many bytes; returns whether it sent some.
    pub(crate) const fn set_buffered(&mut self, bytes: usize) -> bool {
        let drained = bytes < self.buffered;
        self.buffered = bytes;
        drained
    }

    /// Takes a part of a body. The parts of one follow each other, so one place is enough for them.
    pub(crate) fn receive(&mut self, more: bool, part: &str, max: usize) -> Received {
        let mut message = match std::mem::take(&mut self.incoming) {
            Incoming::TooLong => {
                if more {
                    self.incoming = Incoming::TooLong;
                }
                return Received::Nothing;
            }
            Incoming::Nothing => String::new(),
            Incoming::Parts(message) => message,
        };
        if message.len() + part.len() > max {
            if more {
                self.incoming = Incoming::TooLong;
            }
            return Received::TooLong;
        }
        message.push_str(part);
        if more {
            self.incoming = Incoming::Parts(message);
            Received::Nothing
        } else {
            Received::Whole(message)
        }
    }
}

/// The longest beginning of at most so many bytes that ends between two characters, and the rest.
fn split(text: &str, max: usize) -> (&str, &str) {
    text.split_at_checked(text.floor_char_boundary(max)).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use rtc_cafe_wire::{TrackId, peer::TrackKind};

    use super::*;

    fn frames(mailbox: &mut Mailbox, limits: &Limits) -> Vec<String> {
        std::iter::from_fn(|| mailbox.pop(limits)).collect()
    }

    #[test]
    fn a_long_message_arrives_whole() {
        let limits = Limits::default();
        let payload = format!("\"{}\"", "é\u{1f600}x".repeat(50_000));
        let (mut sender, mut receiver) = (Mailbox::default(), Mailbox::default());
        sender.push_message(&payload);
        let mut received = Vec::new();
        for frame in frames(&mut sender, &limits) {
            let Ok(Some(Frame::Message { more, body })) = Frame::decode(&frame) else { panic!("not a message") };
            received.push(receiver.receive(more, body, limits.message_bytes));
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
            mailbox.push_message("\"forty bytes of text, more or less\"");
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
        mailbox.push_message(&long);
        mailbox.push_message("2");
        let pop = |mailbox: &mut Mailbox| {
            mailbox.set_buffered(0);
            mailbox.pop(&limits).and_then(|frame| frame.split(['\n', ',', '}']).next().map(String::from))
        };
        let message = Some(String::from(r#"{"type":"message""#));
        assert_eq!(pop(&mut mailbox), message);
        let id = TrackId::new("t").expect("short");
        assert!(mailbox.push(&Frame::Turn, &limits));
        assert!(mailbox.push(&Frame::Track { id, kind: TrackKind::Audio, description: "1" }, &limits));
        assert!(mailbox.push_parts(&long, &limits, &|more, body| Frame::Answer { more, negotiation: 1, body }));
        assert!(mailbox.push(&Frame::TurnRequest, &limits));
        let order = ["turn", "message", "track", "answer", "answer", "turn-request", "message"];
        for name in order {
            assert_eq!(pop(&mut mailbox), Some(["{\"type\":\"", name, "\""].concat()));
        }
        assert_eq!((pop(&mut mailbox), mailbox.waiting_bytes()), (None, 0));
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
    fn a_message_without_end_is_dropped_once() {
        let limits = Limits { message_bytes: 10, ..Limits::default() };
        let mut mailbox = Mailbox::default();
        assert_eq!(mailbox.receive(true, "123456", limits.message_bytes), Received::Nothing);
        assert_eq!(mailbox.receive(true, "123456", limits.message_bytes), Received::TooLong);
        assert_eq!(mailbox.receive(true, "123456", limits.message_bytes), Received::Nothing);
        assert_eq!(mailbox.receive(false, "1", limits.message_bytes), Received::Nothing);
        assert_eq!(mailbox.receive(false, "12", limits.message_bytes), Received::Whole("12".into()));
    }
}
