//! The stream of our messages to one peer, kept until they are confirmed.

use rtc_cafe_wire::{limits::MAX_PART, peer::Frame};

use crate::{payload::Payload, queue::Queue};

/// Bytes that a message costs beside its text.
pub(super) const OVERHEAD: usize = 48;

/// The stream of our messages.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Numbers the streams; a new one begins when the application was told that the peer is gone.
    pub(super) stream: u32,
    /// The first one of all.
    pub(super) first: u32,
    /// Messages of the stream that the peer has confirmed.
    pub(super) confirmed: u32,
    /// Those behind them.
    pub(super) kept: Queue<Payload>,
    pub(super) bytes: usize,
    /// How many of those were handed to the data channel, and how many bytes of the one behind them.
    pub(super) handed: usize,
    pub(super) offset: usize,
    /// How many of them were handed to an earlier one, if only in part: the peer may have them.
    pub(super) in_doubt: usize,
    /// A stream that has ended: its number, the confirmed messages, and those of which nobody knows.
    pub(super) ended: (u32, u32, Queue<Payload>),
}

impl Default for Outgoing {
    fn default() -> Self {
        let ended = (0, 0, Queue::default());
        Self {
            stream: 1,
            first: 1,
            confirmed: 0,
            kept: Queue::default(),
            bytes: 0,
            handed: 0,
            offset: 0,
            in_doubt: 0,
            ended,
        }
    }
}

impl Outgoing {
    /// Takes the oldest message that is not confirmed.
    pub(super) fn take(&mut self) -> Option<Payload> {
        let payload = self.kept.pop()?;
        self.bytes -= payload.len() + OVERHEAD;
        self.in_doubt = self.in_doubt.saturating_sub(1);
        if self.handed > 0 {
            self.handed -= 1;
        } else {
            self.offset = 0;
        }
        Some(payload)
    }

    /// The peer has received so many messages of the stream.
    pub(super) fn confirm(&mut self, received: u32) {
        // What was handed over in part may have been handed over whole before.
        let most = self.handed.max(self.in_doubt);
        let new = received.wrapping_sub(self.confirmed);
        if new as usize > most {
            return;
        }
        for _ in 0..new {
            self.take();
        }
        self.confirmed = received;
    }

    /// The next part of a message, and whether more of it follow.
    pub(super) fn next_part(&mut self) -> Option<(bool, String)> {
        let (_, rest) = self.kept.get(self.handed)?.split_at_checked(self.offset)?;
        let (body, behind) = split(rest, MAX_PART);
        let more = !behind.is_empty();
        let frame = Frame::Message { more, body }.encode();
        if more {
            self.offset += body.len();
        } else {
            self.handed += 1;
            self.offset = 0;
        }
        Some((more, frame))
    }

    /// The connection is gone: everything that is not confirmed has to be handed over again.
    pub(super) fn rewind(&mut self) {
        self.in_doubt = self.in_doubt.max(self.handed + usize::from(self.offset > 0));
        self.handed = 0;
        self.offset = 0;
    }
}

/// The longest beginning of at most so many bytes that ends between two characters, and the rest.
pub(super) fn split(text: &str, max: usize) -> (&str, &str) {
    text.split_at_checked(text.floor_char_boundary(max)).unwrap_or((text, ""))
}
