//! What waits to be sent on one connection: bounded in bytes, cut off when it overflows.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// What a frame costs besides its bytes, so that many small ones are bounded too.
const OVERHEAD: usize = 64;
/// A queue that was longer than this gives its memory back once it is empty.
const KEEP: usize = 32;

/// An Engine.IO packet as a websocket carries it; everybody who gets the same one shares its bytes.
#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// A packet in text.
    Text(Utf8Bytes),
    /// An attachment.
    Binary(Bytes),
}

impl Frame {
    pub(super) fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// The connection is cut: its client reads too slowly.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// How a connection is dropped before everything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It is of no use any more.
    Killed,
    /// Its client reads too slowly.
    Overflown,
}

/// What there is to do for the one who sends.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this.
    Frame(Frame),
    /// Everything is sent, and nothing more will come: say goodbye.
    Finished,
    /// Drop the connection now.
    Cut(Cut),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What waits is still sent, nothing is added.
    Closing,
    Cut(Cut),
}

#[derive(Debug)]
struct Inner {
    queue: VecDeque<Frame>,
    cost: usize,
    state: State,
    /// A pending poll is to be answered by a NOOP.
    noop: bool,
    /// Who sends.
    sender: Option<Waker>,
    /// The sender is blocked, and wants to know of nothing but the end.
    blocked: bool,
    /// Who looks after a polling session.
    keeper: Option<Waker>,
}

/// The queue between the hub and the one task that sends.
#[derive(Debug)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    most: usize,
}

impl Outbox {
    pub(super) const fn new(most: usize) -> Self {
        let inner = Inner {
            queue: VecDeque::new(),
            cost: 0,
            state: State::Open,
            noop: false,
            sender: None,
            blocked: false,
            keeper: None,
        };
        Self { inner: Mutex::new(inner), most }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two changes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame. What comes after the end is dropped.
    pub(super) fn push(&self, frame: Frame) -> Result<(), Overflow> {
        self.push_all([frame])
    }

    /// Adds frames with nothing between them.
    pub(super) fn push_all(&self, frames: impl IntoIterator<Item = Frame>) -> Result<(), Overflow> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Ok(());
        }
        for frame in frames {
            inner.cost += frame.len() + OVERHEAD;
            if inner.cost > self.most {
                inner.cut(Cut::Overflown);
                return Err(Overflow);
            }
            inner.queue.push_back(frame);
        }
        if !inner.blocked
            && let Some(waker) = inner.sender.take()
        {
            drop(inner);
            waker.wake();
        }
        Ok(())
    }

    /// Lets what waits be sent, and then ends.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        if inner.state == State::Open {
            inner.state = State::Closing;
            inner.wake();
        }
    }

    /// Ends at once, also while a write is stuck.
    pub(super) fn kill(&self) {
        self.lock().cut(Cut::Killed);
    }

    pub(super) fn is_cut(&self) -> bool {
        matches!(self.lock().state, State::Cut(_))
    }

    /// The next frame for a websocket.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Next> {
        let mut inner = self.lock();
        inner.blocked = false;
        if let State::Cut(cut) = inner.state {
            return Poll::Ready(Next::Cut(cut));
        }
        if let Some(frame) = inner.pop() {
            return Poll::Ready(Next::Frame(frame));
        }
        if inner.state == State::Closing {
            return Poll::Ready(Next::Finished);
        }
        inner.register(cx);
        Poll::Pending
    }

    /// Waits for the end while the websocket takes nothing.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> Poll<Cut> {
        let mut inner = self.lock();
        inner.blocked = true;
        if let State::Cut(cut) = inner.state {
            return Poll::Ready(cut);
        }
        inner.register(cx);
        Poll::Pending
    }

    /// Frames for one answer to a poll, as many as fit, or none where a NOOP is due.
    pub(super) fn poll_batch(&self, cx: &Context<'_>, most: usize) -> Poll<(Vec<Frame>, Option<Next>)> {
        let mut inner = self.lock();
        if let State::Cut(cut) = inner.state {
            return Poll::Ready((Vec::new(), Some(Next::Cut(cut))));
        }
        let mut batch = Vec::new();
        let mut size = 0;
        while let Some(frame) = inner.queue.front() {
            size += frame.len() + 1;
            if size > most && !batch.is_empty() {
                return Poll::Ready((batch, None));
            }
            batch.extend(inner.pop());
        }
        if inner.state == State::Closing {
            return Poll::Ready((batch, Some(Next::Finished)));
        }
        if std::mem::take(&mut inner.noop) || !batch.is_empty() {
            return Poll::Ready((batch, None));
        }
        inner.register(cx);
        Poll::Pending
    }

    /// Has a poll that waits answered by a NOOP.
    pub(super) fn noop(&self) {
        let mut inner = self.lock();
        inner.noop = true;
        inner.wake();
    }

    /// Waits until it is closing or killed, for the keeper of a polling session.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Poll::Ready(());
        }
        inner.keeper = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Inner {
    fn pop(&mut self) -> Option<Frame> {
        let frame = self.queue.pop_front()?;
        self.cost -= frame.len() + OVERHEAD;
        if self.queue.is_empty() && self.queue.capacity() > KEEP {
            self.queue = VecDeque::new();
        }
        Some(frame)
    }

    /// The first reason counts.
    fn cut(&mut self, why: Cut) {
        if !matches!(self.state, State::Cut(_)) {
            self.state = State::Cut(why);
        }
        self.queue = VecDeque::new();
        self.cost = 0;
        self.wake();
    }

    fn wake(&mut self) {
        for waker in [self.sender.take(), self.keeper.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn register(&mut self, cx: &Context<'_>) {
        match &self.sender {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => self.sender = Some(cx.waker().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn what_overflows_is_cut_and_gives_its_memory_back() {
        let outbox = Outbox::new(1000);
        assert_eq!((0..100).take_while(|_| outbox.push(Frame::text("x".repeat(36))).is_ok()).count(), 10);
        outbox.kill();
        assert!(matches!(outbox.poll_next(&cx()), Poll::Ready(Next::Cut(Cut::Overflown))));
        assert_eq!(outbox.lock().queue.capacity(), 0);
        assert_eq!(outbox.poll_cut(&cx()), Poll::Ready(Cut::Overflown));
        assert_eq!(outbox.push(Frame::text("late")), Ok(()));
    }

    #[test]
    fn what_waits_is_sent_before_the_end() {
        let outbox = Outbox::new(1000);
        outbox.push(Frame::text("last")).unwrap();
        outbox.close();
        outbox.push(Frame::text("late")).unwrap();
        assert!(matches!(outbox.poll_next(&cx()), Poll::Ready(Next::Frame(Frame::Text(text))) if text == "last"));
        assert!(matches!(outbox.poll_next(&cx()), Poll::Ready(Next::Finished)));
    }

    #[test]
    fn a_batch_is_bounded_but_never_empty_handed() {
        let outbox = Outbox::new(1000);
        for text in ["aaaa", "bb", "cc"] {
            outbox.push(Frame::text(text)).unwrap();
        }
        let batch = |most| match outbox.poll_batch(&cx(), most) {
            Poll::Ready((frames, _)) => frames.len(),
            Poll::Pending => 0,
        };
        assert_eq!((batch(3), batch(100), batch(100)), (1, 2, 0));
    }
}
