//! What a broker has brought and the node has not read yet: bounded in bytes.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// What a frame costs besides its bytes.
const OVERHEAD: usize = 64;

/// Where a broker puts what was published under topics that are subscribed to. It is closed for good when more bytes wait
/// than may, or when everything of it is dropped: the node then connects anew, and is told again what it has missed.
#[derive(Debug)]
pub struct Inbox {
    sender: Mutex<Option<mpsc::UnboundedSender<Bytes>>>,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

/// The other end of an [`Inbox`].
#[derive(Debug)]
pub struct Frames {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
}

impl Inbox {
    /// Bytes that may wait for a node by default: 32 MiB.
    pub const MOST: usize = 32 * 1024 * 1024;

    /// An inbox in which so many bytes may wait.
    pub fn new(most: usize) -> (Self, Frames) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        (Self { sender: Mutex::new(Some(sender)), waiting: waiting.clone(), most }, Frames { receiver, waiting })
    }

    /// Adds a frame; `false` if it is closed.
    pub fn put(&self, frame: Bytes) -> bool {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = frame.len() + OVERHEAD;
        let waiting = self.waiting.fetch_add(cost, Ordering::Relaxed) + cost;
        let taken = waiting <= self.most && sender.as_ref().is_some_and(|sender| sender.send(frame).is_ok());
        if !taken {
            *sender = None;
        }
        taken
    }

    /// Lets nothing more in. What waits can still be read.
    pub fn close(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Frames {
    /// The next frame; `None` when it is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        let frame = self.receiver.recv().await?;
        self.waiting.fetch_sub(frame.len() + OVERHEAD, Ordering::Relaxed);
        Some(frame)
    }

    /// Where it is told how many bytes wait.
    pub(crate) fn gauge(&self) -> Arc<AtomicUsize> {
        self.waiting.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_closed_when_too_much_waits() {
        let (inbox, mut frames) = Inbox::new(3 * (100 + OVERHEAD));
        let frame = Bytes::from(vec![0; 100]);
        for _ in 0..10 {
            // As long as it is read, anything goes through.
            assert!(inbox.put(frame.clone()));
            assert_eq!(frames.next().await.unwrap(), frame);
        }
        assert_eq!(frames.gauge().load(Ordering::Relaxed), 0);
        let taken = (0..5).filter(|_| inbox.put(frame.clone())).count();
        assert_eq!(taken, 3);
        for _ in 0..taken {
            assert!(frames.next().await.is_some());
        }
        assert_eq!(frames.next().await, None);
        assert!(!inbox.put(frame));
    }
}
