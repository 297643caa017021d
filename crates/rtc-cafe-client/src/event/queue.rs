//! What waits for the application, and how much of what peers send is taken meanwhile.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use rtc_cafe_core::Intake;
use tokio::sync::{Notify, mpsc};

use super::Event;

/// Bytes of events that may wait before peers have to, unless the application wants another bound.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// What an event counts beside what it carries: as much as its message counts where it comes from.
const OVERHEAD: usize = 48;

/// How much waits for the application.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    /// The driver takes less than everything, and waits for less to wait.
    held: AtomicBool,
    drained: Notify,
}

/// Where events go in.
#[derive(Debug)]
pub(crate) struct EventSink {
    sender: mpsc::UnboundedSender<Event>,
    waiting: Arc<Waiting>,
    max: usize,
    intake: Intake,
}

/// The events of a client, as a [`Stream`]; it ends when the client is closed.
///
/// An application that reads them slower than they come loses nothing: where a quarter of
/// [`Builder::event_bytes`](crate::Builder::event_bytes) waits here, messages are not confirmed any more, so that peers stop
/// sending, and where as much as that waits, messages and tracks are not taken, and come again later. It only makes peers
/// wait, who wait ten seconds for it and then go on with the others. When this is dropped, events are not kept at all.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::UnboundedReceiver<Event>,
    waiting: Arc<Waiting>,
    max: usize,
}

pub(crate) fn channel(max: usize) -> (EventSink, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(Waiting::default());
    (EventSink { sender, waiting: waiting.clone(), max, intake: Intake::All }, Events { receiver, waiting, max })
}

impl EventSink {
    pub(crate) fn push(&self, event: Event) {
        let bytes = size(&event);
        self.waiting.bytes.fetch_add(bytes, Ordering::SeqCst);
        // Whoever dropped the receiver does not want to know.
        if self.sender.send(event).is_err() {
            self.waiting.bytes.fetch_sub(bytes, Ordering::SeqCst);
        }
    }

    /// How much is to be taken of what peers send, if that has changed.
    pub(crate) fn changed_intake(&mut self) -> Option<Intake> {
        let mut intake = self.judge();
        if intake != Intake::All {
            self.waiting.held.store(true, Ordering::SeqCst);
            // The application may have read everything before it could know that somebody waits for it.
            intake = self.judge();
        }
        (std::mem::replace(&mut self.intake, intake) != intake).then_some(intake)
    }

    fn judge(&self) -> Intake {
        match self.waiting.bytes.load(Ordering::SeqCst) {
            _ if self.sender.is_closed() => Intake::All,
            bytes if bytes >= self.max => Intake::Nothing,
            bytes if bytes >= self.max / 4 => self.intake.max(Intake::Unconfirmed),
            bytes if bytes > low(self.max) => self.intake,
            _ => Intake::All,
        }
    }

    /// Ends when so little waits that everything may be taken again. Cancel safe.
    pub(crate) async fn drained(&self) {
        self.waiting.drained.notified().await;
    }
}

impl Events {
    /// The next event; `None` when the client is closed and there are no more. Cancel safe: nothing is lost.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        let event = self.receiver.try_recv().ok();
        self.count(event.as_ref());
        event
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = ready!(self.receiver.poll_recv(context));
        self.count(event.as_ref());
        Poll::Ready(event)
    }

    fn count(&self, taken: Option<&Event>) {
        let Some(bytes) = taken.map(size) else { return };
        let before = self.waiting.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if before - bytes <= low(self.max) {
            self.release();
        }
    }

    fn release(&self) {
        if self.waiting.held.swap(false, Ordering::SeqCst) {
            self.waiting.drained.notify_one();
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll_recv(context)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.receiver.close();
        self.release();
    }
}

/// What waits when everything is taken again.
const fn low(max: usize) -> usize {
    max / 8
}

fn size(event: &Event) -> usize {
    let carried = match event {
        Event::Message { message, .. } | Event::MessageUndelivered { message, .. } => message.as_json().len(),
        Event::PeerTrackDefined { definition, .. } | Event::PeerTrackDefinitionRemoved { definition, .. } => {
            definition.description.as_json().len()
        }
        _ => 0,
    };
    carried + OVERHEAD
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rtc_cafe_core::Sid;

    use super::{super::Message, *};

    const MAX: usize = 80_000;

    fn push(sink: &EventSink, bytes: usize) {
        let message = Message::new("1".repeat(bytes - OVERHEAD));
        sink.push(Event::Message { sender: Sid::new("a").unwrap(), message });
    }

    #[test]
    fn who_reads_slowly_makes_peers_wait_and_loses_nothing() {
        let (mut sink, mut events) = channel(MAX);
        push(&sink, 10_000);
        assert_eq!(sink.changed_intake(), None);
        push(&sink, 10_000);
        assert_eq!(sink.changed_intake(), Some(Intake::Unconfirmed));
        (0..6).for_each(|_| push(&sink, 10_000));
        assert_eq!((sink.changed_intake(), sink.changed_intake()), (Some(Intake::Nothing), None));
        for _ in 0..6 {
            assert!(events.try_recv().is_some());
            assert_eq!((sink.changed_intake(), sink.drained().now_or_never()), (None, None), "much waits yet");
        }
        assert!(events.try_recv().is_some());
        assert!(sink.drained().now_or_never().is_some(), "the driver is woken");
        assert_eq!((sink.changed_intake(), events.try_recv().is_some()), (Some(Intake::All), true));
    }

    #[test]
    fn nobody_waits_for_who_does_not_want_to_know() {
        let (mut sink, events) = channel(MAX);
        push(&sink, MAX);
        assert_eq!(sink.changed_intake(), Some(Intake::Nothing));
        drop(events);
        assert!(sink.drained().now_or_never().is_some());
        push(&sink, MAX);
        assert_eq!(sink.changed_intake(), Some(Intake::All));
    }
}
