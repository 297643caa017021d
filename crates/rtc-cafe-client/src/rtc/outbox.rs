//! Frames on their way to the peer: those that wait for the data channel, and how many str0m holds.

use std::collections::VecDeque;

use str0m::{RtcError, channel::Channel};

/// Frames that str0m holds at most. With every datagram it walks through all that the peer has not acknowledged, so many
/// small ones would cost much; a thousand keep a path of 10 ms busy with 100,000 a second.
const MAX_HELD: usize = 1024;

/// What is sent on one data channel.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// What str0m has not taken yet, in order.
    waiting: VecDeque<String>,
    /// The bytes of that.
    waiting_bytes: usize,
    /// The lengths of the frames that it has taken and the peer has not acknowledged.
    held: VecDeque<usize>,
    /// The bytes of those.
    held_bytes: usize,
    /// The bytes of all that it has ever taken.
    written: usize,
    /// What [`Self::news`] has told last; nothing where more was added since.
    told: Option<usize>,
}

impl Outbox {
    pub(crate) fn push(&mut self, frame: String) {
        self.waiting_bytes += frame.len();
        self.waiting.push_back(frame);
        self.told = None;
    }

    /// Whether str0m has taken all.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes of frames that the peer has not acknowledged yet, if more was added, or they have become few.
    pub(crate) fn news(&mut self, few: usize) -> Option<usize> {
        let bytes = self.waiting_bytes + self.held_bytes;
        let is_news = self.told.is_none_or(|told| told > few && bytes <= few);
        is_news.then(|| *self.told.insert(bytes))
    }

    /// How many bytes str0m has ever taken.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// Gives str0m what it may take; whether that is anything. It packs what it gets at once into few datagrams.
    pub(crate) fn write(&mut self, channel: &mut Channel<'_>) -> Result<bool, RtcError> {
        self.settle(channel.buffered_amount());
        let before = self.waiting.len();
        while self.held.len() < MAX_HELD
            && let Some(frame) = self.waiting.front()
            && channel.write(false, frame.as_bytes())?
        {
            self.waiting_bytes -= frame.len();
            self.held_bytes += frame.len();
            self.written += frame.len();
            self.held.push_back(frame.len());
            self.waiting.pop_front();
        }
        Ok(self.waiting.len() < before)
    }

    /// Of what was written, so many bytes are not acknowledged.
    fn settle(&mut self, unacknowledged: usize) {
        while let Some(&first) = self.held.front()
            && self.held_bytes - first >= unacknowledged
        {
            self.held_bytes -= first;
            self.held.pop_front();
        }
    }
}
