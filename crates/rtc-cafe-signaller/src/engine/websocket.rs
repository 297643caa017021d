//! One websocket connection: a single task that reads, writes, keeps time, and can be cut at any moment.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt,
    time::{Sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        error::CapacityError,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame as WsFrame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

use super::{
    keepalive::{Due, Keepalive},
    outbox::{Cut, Frame, Next},
    packet,
    session::{Question, Session, Step},
    shared::{Config, Counters, Open, Shared},
};
use crate::ErrorCode;

/// The read buffer is allocated for each connection; the default of 128 KiB would be most of its memory.
const READ_BUFFER: usize = 4 * 1024;
/// How much is gathered before a write. The write buffer keeps the size to which it once grew.
const WRITE_BUFFER: usize = 8 * 1024;
/// Longer messages are sent in fragments of this size, so that the write buffer stays small.
const FRAGMENT: usize = 8 * 1024;
/// Messages that are read in a row before it is the writer's turn.
const READS: usize = 32;
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A websocket on a connection whose handshake is done.
pub(super) async fn accept(upgraded: Upgraded, config: &Config) -> Socket {
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(config.max_message))
        .max_frame_size(Some(config.max_message));
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits)).await
}

/// How a connection ended.
#[derive(Debug)]
enum Ended {
    /// It is of no use any more.
    Gone,
    /// Everything is sent; the client is told that the server goes away.
    Finished,
    /// The client sent more than is read.
    TooLarge,
    /// The client has entered no namespace in time.
    Late,
    /// The client reads too slowly. That was counted when it was noticed.
    TooSlow,
}

impl From<Cut> for Ended {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Killed => Self::Gone,
            Cut::Overflown => Self::TooSlow,
        }
    }
}

/// Serves a connection until it ends.
pub(super) async fn run(socket: Socket, open: Open, session: Session, timing: Keepalive, counters: &Counters) {
    let mut connection = Connection {
        timer: Box::pin(sleep_until(timing.deadline(&open.link.life).into())),
        socket,
        session,
        keepalive: timing,
        question: None,
        rest: None,
        large: None,
        unflushed: false,
        open,
    };
    let ended = poll_fn(|cx| connection.poll(cx)).await;
    tracing::debug!(connection = connection.open.link.number, ?ended, "ended");
    let Connection { socket, session, open, .. } = connection;
    // Peers hear of it before the goodbye.
    match ended {
        Ended::Finished => session.finish(),
        _ => drop(session),
    }
    drop(open);
    let (code, reason) = match ended {
        Ended::Gone => return,
        Ended::Finished => (CloseCode::Away, None),
        Ended::TooLarge => (CloseCode::Size, Some(ErrorCode::TooLarge)),
        Ended::Late => (CloseCode::Policy, Some(ErrorCode::ConnectTimeout)),
        Ended::TooSlow => (CloseCode::Policy, Some(ErrorCode::TooSlow)),
    };
    let uncounted = reason.filter(|reason| *reason != ErrorCode::TooSlow);
    uncounted.into_iter().for_each(|reason| counters.cut.count(reason));
    Box::pin(say_goodbye(socket, code, reason.map_or("", ErrorCode::as_str))).await;
}

/// Sends a close frame, and reads on for a while: what is left unread would destroy it on its way.
async fn say_goodbye(mut socket: Socket, code: CloseCode, reason: &'static str) {
    let goodbye = async {
        let frame = CloseFrame { code, reason: reason.into() };
        socket.close(Some(frame)).await.ok()?;
        let mut waste = [0; 1024];
        while socket.get_mut().read(&mut waste).await.ok()? > 0 {}
        Some(())
    };
    let _ = timeout(GOODBYE, goodbye).await;
}

struct Connection {
    socket: Socket,
    session: Session,
    keepalive: Keepalive,
    timer: Pin<Box<Sleep>>,
    /// The application is asked about an event; until it answers, nothing is read.
    question: Option<Box<Question>>,
    /// What is still to be sent of a long message.
    rest: Option<Bytes>,
    /// The last long message, kept until the next read: only a buffer still in use is not used, and kept, again.
    large: Option<Message>,
    unflushed: bool,
    open: Open,
}

impl Connection {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if let Poll::Ready(ended) = self.poll_write(cx) {
                return Poll::Ready(ended);
            }
            match self.poll_read(cx) {
                Poll::Ready(Some(ended)) => return Poll::Ready(ended),
                Poll::Ready(None) => {}
                Poll::Pending => break,
            }
        }
        self.poll_timer(cx)
    }

    /// Sends what waits, as much as the client takes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Gone),
                Poll::Pending => return self.open.link.outbox.poll_cut(cx).map(Ended::from),
            }
            let message = match self.rest.take() {
                Some(rest) => self.fragment(Data::Continue, rest),
                None => match self.open.link.outbox.poll_next(cx) {
                    Poll::Ready(Next::Frame(frame)) => self.message(frame),
                    Poll::Ready(Next::Finished) => return Poll::Ready(Ended::Finished),
                    Poll::Ready(Next::Cut(cut)) => return Poll::Ready(cut.into()),
                    Poll::Pending => break,
                },
            };
            self.unflushed = true;
            if Pin::new(&mut self.socket).start_send(message).is_err() {
                return Poll::Ready(Ended::Gone);
            }
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx)
        {
            self.unflushed = false;
            if flushed.is_err() {
                return Poll::Ready(Ended::Gone);
            }
        }
        Poll::Pending
    }

    fn message(&mut self, frame: Frame) -> Message {
        match frame {
            Frame::Text(text) if text.len() > FRAGMENT => self.fragment(Data::Text, text.into()),
            Frame::Binary(bytes) if bytes.len() > FRAGMENT => self.fragment(Data::Binary, bytes),
            Frame::Text(text) => Message::Text(text),
            Frame::Binary(bytes) => Message::Binary(bytes),
        }
    }

    fn fragment(&mut self, kind: Data, mut rest: Bytes) -> Message {
        let fragment = rest.split_to(rest.len().min(FRAGMENT));
        let last = rest.is_empty();
        self.rest = (!last).then_some(rest);
        Message::Frame(WsFrame::message(fragment, OpCode::Data(kind), last))
    }

    /// Reads some messages; ready with `None` if there may be more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended>> {
        for _ in 0..READS {
            if let Some(question) = &mut self.question {
                let verdict = ready!(question.verdict.as_mut().poll(cx));
                if let Some(question) = self.question.take()
                    && let Step::Ask(next) = self.session.answer(*question, verdict)
                {
                    self.question = Some(next);
                    continue;
                }
            }
            let read = Pin::new(&mut self.socket).poll_next(cx);
            self.large = None;
            let message = match ready!(read) {
                Some(Ok(message)) => message,
                Some(Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                    return Poll::Ready(Some(Ended::TooLarge));
                }
                Some(Err(_)) | None => return Poll::Ready(Some(Ended::Gone)),
            };
            if let Some(ended) = self.handle(message) {
                return Poll::Ready(Some(ended));
            }
        }
        Poll::Ready(None)
    }

    fn handle(&mut self, message: Message) -> Option<Ended> {
        let step = match &message {
            Message::Text(text) => self.session.text(text),
            Message::Binary(bytes) => self.session.binary(bytes.clone()),
            // The answer to a close frame is sent by the next read, which then says that the end has come.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Step::Done,
        };
        if message.len() > READ_BUFFER {
            self.large = Some(message);
        }
        match step {
            Step::Done => None,
            Step::Close => Some(Ended::Gone),
            Step::Ask(question) => {
                self.question = Some(question);
                None
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        while self.timer.as_mut().poll(cx).is_ready() {
            match self.keepalive.due(Instant::now(), &self.open.link.life) {
                Due::Dead => {
                    tracing::debug!(connection = self.open.link.number, "dead");
                    return Poll::Ready(Ended::Gone);
                }
                Due::Late => return Poll::Ready(Ended::Late),
                Due::Ping => {
                    let _ = self.open.link.outbox.push(Frame::text(packet::PING));
                    if let Poll::Ready(ended) = self.poll_write(cx) {
                        return Poll::Ready(ended);
                    }
                }
                Due::Nothing => {}
            }
            let deadline = self.keepalive.deadline(&self.open.link.life);
            self.timer.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}

/// Serves a client that begins with a websocket.
pub(super) async fn serve(socket: Socket, open: Open, shared: Arc<Shared>) {
    let packet = shared.open_packet(&open.link.sid, "");
    let _ = open.link.outbox.push(Frame::text(packet));
    let keepalive = Keepalive::new(shared.config.timing);
    let session = Session::new(shared.clone(), open.link.clone());
    run(socket, open, session, keepalive, &shared.counters).await;
}
