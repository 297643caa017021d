//! The frames that wait for one peer's data channel, and the parts of what it is sending us.

use std::collections::VecDeque;

use rtc_cafe_wire::{limits::MAX_PART, peer::Frame};

use crate::config::Limits;

/// Both directions of one data channel.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: VecDeque<String>,
    waiting_bytes: usize,
    /// What the data channel holds, as far as we know.
    buffered: usize,
    incoming: Incoming,
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
        self.waiting_bytes.saturating_add(bytes) <= limits.outgoing_bytes
    }

    /// Whether a frame of our own may be queued: somewhat more than messages may take, so that they do not keep it out,
    /// and yet a bound, because some frames answer what the peer sends.
    pub(crate) const fn has_room_for_control(&self, limits: &Limits) -> bool {
        self.waiting_bytes < limits.outgoing_bytes + (64 << 10)
    }

    /// Bytes that wait for the data channel.
    pub(crate) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(crate) fn push(&mut self, frame: &Frame<'_>) {
        let frame = frame.encode();
        self.waiting_bytes += frame.len();
        self.waiting.push_back(frame);
    }

    /// Queues a body in frames that it fits into; `frame` makes one of whether more follow and of a part.
    pub(crate) fn push_parts(&mut self, body: &str, frame: &dyn for<'a> Fn(bool, &'a str) -> Frame<'a>) {
        let mut rest = body;
        loop {
            let (part, behind) = split(rest, MAX_PART);
            rest = behind;
            self.push(&frame(!rest.is_empty(), part));
            if rest.is_empty() {
                break;
            }
        }
    }

    /// The next frame for the data channel, unless the channel is full.
    pub(crate) fn pop(&mut self, limits: &Limits) -> Option<String> {
        if self.buffered >= limits.high_water {
            return None;
        }
        let frame = self.waiting.pop_front()?;
        self.waiting_bytes -= frame.len();
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
    pub(crate) fn receive(&mut self, more: bool, part: &str, limits: &Limits) -> Received {
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
        if message.len() + part.len() > limits.message_bytes {
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
    use super::*;

    fn frames(mailbox: &mut Mailbox, limits: &Limits) -> Vec<String> {
        std::iter::from_fn(|| mailbox.pop(limits)).collect()
    }

    #[test]
    fn a_long_message_arrives_whole() {
        let limits = Limits::default();
        let payload = format!("\"{}\"", "é\u{1f600}x".repeat(50_000));
        let (mut sender, mut receiver) = (Mailbox::default(), Mailbox::default());
        sender.push_parts(&payload, &|more, body| Frame::Message { more, body });
        let mut received = Vec::new();
        for frame in frames(&mut sender, &limits) {
            let Ok(Some(Frame::Message { more, body })) = Frame::decode(&frame) else { panic!("not a message") };
            received.push(receiver.receive(more, body, &limits));
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
            mailbox.push(&Frame::Message { more: false, body: "\"forty bytes of text, more or less\"" });
        }
        let first = frames(&mut mailbox, &limits).len();
        assert!((1..10).contains(&first));
        mailbox.set_buffered(0);
        assert!(!frames(&mut mailbox, &limits).is_empty());
        mailbox.set_buffered(100);
        assert!(frames(&mut mailbox, &limits).is_empty());
    }

    #[test]
    fn a_message_without_end_is_dropped_once() {
        let limits = Limits { message_bytes: 10, ..Limits::default() };
        let mut mailbox = Mailbox::default();
        assert_eq!(mailbox.receive(true, "123456", &limits), Received::Nothing);
        assert_eq!(mailbox.receive(true, "123456", &limits), Received::TooLong);
        assert_eq!(mailbox.receive(true, "123456", &limits), Received::Nothing);
        assert_eq!(mailbox.receive(false, "1", &limits), Received::Nothing);
        assert_eq!(mailbox.receive(false, "12", &limits), Received::Whole("12".into()));
    }
}
