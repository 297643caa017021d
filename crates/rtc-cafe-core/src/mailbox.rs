//! What waits for one peer's data channel and what it has confirmed, and the parts of what it is sending us.

use std::mem;

use rtc_cafe_wire::{limits::MAX_PART, peer::Frame};

use crate::{config::Limits, payload::Payload, queue::Queue};

mod outgoing;
#[cfg(test)]
mod tests;

use outgoing::{OVERHEAD, Outgoing, split};

/// Messages, and bytes of them, after which they are confirmed at once.
const ACK_MESSAGES: u32 = 64;
const ACK_BYTES: usize = 256 << 10;

/// Both directions of what is said to one peer, over however many connections.
///
/// What a peer has to be told overtakes the messages that wait, and stays in order among itself. It is forgotten with its
/// connection; a message is kept until the peer has confirmed it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    control: Control,
    messages: Outgoing,
    /// Parts of a message were handed over, and not the last one: no other body may come between them.
    unfinished: bool,
    /// Something that the peer had to be told did not fit.
    overflowed: bool,
    /// What the data channel holds, as far as we know.
    buffered: usize,
    /// Bytes of frames for the data channel that have not been fetched yet.
    unfetched: usize,
    /// What has come of a body, unless it has grown too long; then the rest of it is passed over.
    incoming: String,
    too_long: bool,
    heard: Heard,
}

/// Frames that wait, each with a mark if it has a body.
#[derive(Debug, Default)]
struct Control {
    frames: Queue<(bool, String)>,
    bytes: usize,
}

/// The stream of the peer's messages.
#[derive(Debug, Default)]
struct Heard {
    stream: u32,
    received: u32,
    /// What came of the stream before.
    before: u32,
    /// What is not confirmed yet.
    messages: u32,
    bytes: usize,
}

/// What a part completes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Nothing,
    Whole(String),
    /// It belongs to a body that is too long, of which nothing is kept.
    TooLong,
}

/// A message that was not confirmed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undelivered {
    pub(crate) payload: Payload,
    /// Whether the peer may have it all the same.
    pub(crate) may_have_arrived: bool,
}

/// How far each side is with the other's stream, as a hello says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) stream: u32,
    pub(crate) heard: u32,
    pub(crate) received: u32,
    pub(crate) before: u32,
}

impl Progress {
    /// How many messages of a stream have been received, of which so many were confirmed; `None` if that is forgotten.
    fn received_of(self, stream: u32, confirmed: u32) -> Option<u32> {
        match stream.wrapping_sub(self.heard) {
            0 => Some(self.received),
            u32::MAX => Some(self.before),
            // It has heard of none, or of an earlier one last.
            _ if confirmed == 0 && self.heard < stream => Some(0),
            _ => None,
        }
    }
}

impl Control {
    fn push(&mut self, body: bool, frame: String) {
        self.bytes += frame.len();
        self.frames.push((body, frame));
    }

    fn pop(&mut self) -> Option<String> {
        let (_, frame) = self.frames.pop()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

impl Mailbox {
    /// A mailbox for somebody who has received nothing of a stream with this number or a higher one.
    pub(crate) fn new(first_stream: u32) -> Self {
        let messages = Outgoing { first: first_stream, stream: first_stream, ..Outgoing::default() };
        Self { messages, ..Self::default() }
    }

    /// Whether a message of this length may be queued, where at most so many bytes may wait.
    pub(crate) const fn has_room(&self, bytes: usize, max: usize) -> bool {
        self.messages.bytes.saturating_add(bytes) <= max
    }

    /// Whether there is room for an answer that the peer can do without: half of what is there for control, so that a
    /// peer who only asks does not lose its connection by it.
    pub(crate) const fn has_room_for_answer(&self, limits: &Limits) -> bool {
        self.control.bytes < limits.control_bytes / 2
    }

    /// Bytes that the peer has not confirmed, or that wait for the data channel.
    pub(crate) const fn waiting_bytes(&self) -> usize {
        self.control.bytes + self.messages.bytes
    }

    /// Whether something waits for the data channel.
    pub(crate) fn waits(&self) -> bool {
        self.control.bytes > 0 || self.messages.handed < self.messages.kept.len()
    }

    /// Queues what the peer has to be told; false if it does not fit, and nothing does from then on.
    pub(crate) fn push(&mut self, frame: &Frame<'_>, limits: &Limits) -> bool {
        let body =
            matches!(frame, Frame::Track { .. } | Frame::Offer { .. } | Frame::Answer { .. } | Frame::Relay { .. });
        let frame = frame.encode();
        self.overflowed |= self.control.bytes + frame.len() > limits.control_bytes;
        if !self.overflowed {
            self.control.push(body, frame);
        }
        !self.overflowed
    }

    /// Queues a message.
    pub(crate) fn push_message(&mut self, payload: Payload) {
        self.messages.bytes += payload.len() + OVERHEAD;
        self.messages.kept.push(payload);
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

    /// The next frame for the data channel, unless the channel is full. Messages of which the peer may have some wait
    /// for its hello, which says so.
    pub(crate) fn pop(&mut self, limits: &Limits) -> Option<String> {
        if self.buffered.saturating_add(self.unfetched) >= limits.high_water {
            return None;
        }
        let overtakes = self.control.frames.get(0).is_some_and(|(body, _)| !(*body && self.unfinished));
        let frame = if overtakes {
            self.control.pop()?
        } else if self.messages.in_doubt > 0 || self.is_in_doubt() {
            return None;
        } else {
            let (more, frame) = self.messages.next_part()?;
            self.unfinished = more;
            frame
        };
        self.unfetched += frame.len();
        Some(frame)
    }

    /// The next of the last words to a peer, which go into the channel however full it is. What has a body is left out.
    pub(crate) fn pop_last(&mut self) -> Option<String> {
        while self.control.frames.get(0).is_some_and(|(body, _)| *body) {
            self.control.pop();
        }
        let frame = self.control.pop()?;
        self.unfetched += frame.len();
        Some(frame)
    }

    /// A frame of so many bytes goes into the data channel now.
    pub(crate) const fn fetched(&mut self, bytes: usize) {
        self.unfetched = self.unfetched.saturating_sub(bytes);
        self.buffered = self.buffered.saturating_add(bytes);
    }

    /// How many bytes the data channel holds, as far as it has told.
    pub(crate) const fn buffered(&self) -> usize {
        self.buffered
    }

    /// The data channel holds so many bytes, of what was fetched until now; returns whether it sent some.
    pub(crate) const fn set_buffered(&mut self, bytes: usize) -> bool {
        let drained = bytes < self.buffered;
        self.buffered = bytes;
        drained
    }

    /// Takes a part of a body. The parts of one follow each other, so one place is enough for them.
    pub(crate) fn receive(&mut self, more: bool, part: &str, max: usize) -> Received {
        if self.too_long || self.incoming.len() + part.len() > max {
            self.too_long = more;
            self.incoming = String::new();
            return Received::TooLong;
        }
        self.incoming.push_str(part);
        if more { Received::Nothing } else { Received::Whole(mem::take(&mut self.incoming)) }
    }

    /// Counts a message of the peer, which has ended; returns whether it is time to confirm.
    pub(crate) const fn count(&mut self, bytes: usize) -> bool {
        let heard = &mut self.heard;
        heard.received = heard.received.wrapping_add(1);
        heard.messages += 1;
        heard.bytes += bytes;
        heard.messages >= ACK_MESSAGES || heard.bytes >= ACK_BYTES
    }

    /// What is to be confirmed, if anything is.
    pub(crate) fn take_ack(&mut self) -> Option<u32> {
        self.heard.bytes = 0;
        (mem::take(&mut self.heard.messages) > 0).then_some(self.heard.received)
    }

    /// The peer has received so many messages of our stream.
    pub(crate) fn confirm(&mut self, received: u32) {
        self.messages.confirm(received);
    }

    /// What our hello says.
    pub(crate) const fn progress(&self) -> Progress {
        let Heard { stream: heard, received, before, .. } = self.heard;
        Progress { stream: self.messages.stream, heard, received, before }
    }

    /// What the peer's hello says. Returns the messages of which it now turns out that they are lost, or may be.
    pub(crate) fn handle_progress(&mut self, theirs: Progress) -> Vec<Undelivered> {
        if self.heard.stream != theirs.stream {
            let follows = self.heard.stream.wrapping_add(1) == theirs.stream;
            let before = if follows { self.heard.received } else { 0 };
            self.heard = Heard { stream: theirs.stream, before, ..Heard::default() };
        }
        let (stream, confirmed, mut ended) = mem::take(&mut self.messages.ended);
        let received = theirs.received_of(stream, confirmed);
        let known = received.is_some();
        let arrived = received.map_or(0, |received| received.saturating_sub(confirmed) as usize);
        for _ in 0..arrived.min(ended.len()) {
            ended.pop();
        }
        let mut undelivered = undelivered(ended, !known);
        if let Some(received) = theirs.received_of(self.messages.stream, self.messages.confirmed) {
            self.messages.confirm(received);
        } else {
            // The peer does not know the stream, or not any more.
            for _ in 0..self.messages.in_doubt {
                let payload = self.messages.take();
                undelivered.extend(payload.map(|payload| Undelivered { payload, may_have_arrived: true }));
            }
            self.messages.confirmed = 0;
        }
        self.messages.in_doubt = 0;
        undelivered
    }

    /// The connection is gone, and another one may follow.
    pub(crate) fn rewind(&mut self) {
        self.messages.rewind();
        self.control = Control::default();
        self.unfinished = false;
        self.overflowed = false;
        self.buffered = 0;
        self.unfetched = 0;
        self.incoming = String::new();
        self.too_long = false;
        self.take_ack();
    }

    /// The peer says that it has received nothing more, and will not.
    pub(crate) fn refuse(&mut self) {
        self.messages.rewind();
        self.messages.in_doubt = 0;
    }

    /// The application is told that the peer is gone. Returns the messages that are lost; of those that it may have, the
    /// peer's next hello tells.
    pub(crate) fn end(&mut self) -> Vec<Undelivered> {
        self.messages.rewind();
        let Outgoing { first, stream, confirmed, mut kept, in_doubt, ended, .. } = mem::take(&mut self.messages);
        self.messages.first = first;
        let mut unknown = Queue::default();
        for _ in 0..in_doubt {
            kept.pop().into_iter().for_each(|payload| unknown.push(payload));
        }
        if ended.2.is_empty() {
            self.messages.stream = stream + 1;
            self.messages.ended = (stream, confirmed, unknown);
        } else {
            // Nothing of this stream was handed over, for the peer has yet to tell of the one before.
            self.messages.stream = stream;
            self.messages.ended = ended;
        }
        undelivered(kept, false)
    }

    /// Nobody waits any longer for the peer to tell what it has received of a stream that has ended.
    pub(crate) fn give_up(&mut self) -> Vec<Undelivered> {
        let (.., ended) = mem::take(&mut self.messages.ended);
        undelivered(ended, true)
    }

    /// Whether something was said that has to be remembered.
    pub(crate) fn is_used(&self) -> bool {
        self.messages.stream > self.messages.first || self.heard.stream > 0
    }

    /// Whether there are messages of which only the peer can tell whether it has them.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !self.messages.ended.2.is_empty()
    }
}

fn undelivered(mut payloads: Queue<Payload>, may_have_arrived: bool) -> Vec<Undelivered> {
    let mut undelivered = Vec::new();
    while let Some(payload) = payloads.pop() {
        undelivered.push(Undelivered { payload, may_have_arrived });
    }
    undelivered
}
