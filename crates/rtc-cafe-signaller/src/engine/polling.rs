//! Polling: a GET fetches what waits, a POST brings packets, and a keeper looks after the session in between.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::{
    sync::Notify,
    time::{sleep_until, timeout},
};

use super::{
    http::Refused,
    keepalive::{Due, Keepalive},
    outbox::{Frame, Next},
    packet,
    session::{Session, Step},
    shared::{Link, Open, Shared},
    upgrade,
};
use crate::{ErrorCode, admission::Arrival};

/// Between packets in one body.
const SEPARATOR: char = '\x1e';
/// A poll during an upgrade is answered this soon, because the client waits for it.
const DURING_UPGRADE: Duration = Duration::from_millis(100);
/// How long the last packets may wait for a poll when the session ends.
const LAST_POLL: Duration = Duration::from_secs(3);
/// How long the rest of a body that is too long is read, so that its sender gets to read the answer.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the body of a POST may take.
const BODY: Duration = Duration::from_secs(30);

const POLLING: u8 = 0;
const PROBING: u8 = 1;
const UPGRADED: u8 = 2;

/// The part of a connection that only polling needs.
#[derive(Debug, Default)]
pub(super) struct Polling {
    state: AtomicU8,
    polled: AtomicBool,
    posted: AtomicBool,
    /// The session, while no POST is at work on it and no websocket has taken it.
    session: tokio::sync::Mutex<Option<Session>>,
    /// What makes it one of those connected; the keeper's until a websocket takes over.
    open: Mutex<Option<Open>>,
    /// A websocket has taken over.
    upgraded: Notify,
    /// The session has ended; a POST that is being read ends too.
    ended: Notify,
}

impl Polling {
    /// Begins an upgrade, unless there is one.
    pub(super) fn begin_probe(&self) -> bool {
        self.state.compare_exchange(POLLING, PROBING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn end_probe(&self) {
        let _ = self.state.compare_exchange(PROBING, POLLING, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Hands the session to a websocket, after the POST that may be at work on it.
    pub(super) async fn take_over(&self) -> Option<(Open, Session)> {
        let mut session = self.session.lock().await;
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.state.store(UPGRADED, Ordering::Release);
        self.upgraded.notify_one();
        Some((open, session.take()?))
    }

    fn end(&self) -> Option<Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Acquire) == state
    }
}

/// Begins a session.
pub(super) async fn handshake(shared: &Arc<Shared>, arrival: Arrival) -> Response {
    let open = match shared.open(arrival, Some(Box::default())) {
        Ok(open) => open,
        Err(refused) => return refused.into_response(),
    };
    let link = open.link.clone();
    if let Some(polling) = &link.polling {
        *polling.session.lock().await = Some(Session::new(shared.clone(), link.clone()));
        *polling.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
    }
    tokio::spawn(keep(link.clone(), Keepalive::new(shared.config.timing), shared.clone()));
    text(shared.open_packet(&link.sid, "\"websocket\""))
}

/// Pings, and ends the session when its time has come.
async fn keep(link: Arc<Link>, mut keepalive: Keepalive, shared: Arc<Shared>) {
    let Some(polling) = &link.polling else { return };
    loop {
        tokio::select! {
            () = polling.upgraded.notified() => return,
            () = poll_fn(|cx| link.outbox.poll_ended(cx)) => break,
            () = sleep_until(keepalive.deadline(&link.life).into()) => {}
        }
        match keepalive.due(Instant::now(), &link.life) {
            Due::Nothing => {}
            Due::Ping => drop(link.outbox.push(Frame::text(packet::PING))),
            Due::Dead => {
                tracing::debug!(connection = link.number, "dead");
                link.outbox.kill();
            }
            Due::Late => {
                tracing::debug!(connection = link.number, "entered no namespace in time");
                shared.counters.cut.count(ErrorCode::ConnectTimeout);
                link.outbox.kill();
            }
        }
    }
    let is_finished = !link.outbox.is_cut();
    if is_finished {
        // The last poll kills it.
        let _ = timeout(LAST_POLL, killed(&link)).await;
    }
    tracing::debug!(connection = link.number, finished = is_finished, "ended");
    polling.ended.notify_one();
    let open = polling.end();
    match polling.session.lock().await.take() {
        Some(session) if is_finished => session.finish(),
        session => drop(session),
    }
    drop(open);
}

/// Answers a GET with what waits, as soon as there is something.
pub(super) async fn get(link: &Arc<Link>, shared: &Shared) -> Response {
    let Some(polling) = link.polling.as_ref().filter(|polling| !polling.is(UPGRADED)) else {
        return Refused::InvalidSession(&link.sid).into_response();
    };
    if polling.polled.swap(true, Ordering::AcqRel) {
        link.outbox.kill();
        return Refused::Overlap.into_response();
    }
    let _polled = Polled(&polling.polled);
    let most = shared.config.max_payload;
    let batch = poll_fn(|cx| {
        if polling.is(UPGRADED) {
            return std::task::Poll::Ready((Vec::new(), None));
        }
        link.outbox.poll_batch(cx, most)
    });
    let (mut frames, end) = match polling.is(PROBING) {
        true => timeout(DURING_UPGRADE, batch).await.unwrap_or_default(),
        false => batch.await,
    };
    match end {
        Some(Next::Cut(_)) => return Refused::InvalidSession(&link.sid).into_response(),
        Some(_) => {
            frames.push(Frame::text("1"));
            link.outbox.kill();
        }
        None if frames.is_empty() => frames.push(upgrade::noop()),
        None => {}
    }
    text(encode(&frames))
}

/// Marks a poll as ended, also when its client goes away.
struct Polled<'a>(&'a AtomicBool);

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Marks a POST as ended, also when its client goes away before it is read.
struct Posted(Arc<Link>);

impl Posted {
    /// `None` if there is one already.
    fn begin(link: &Arc<Link>) -> Option<Self> {
        let polling = link.polling.as_ref()?;
        (!polling.posted.swap(true, Ordering::AcqRel)).then(|| Self(link.clone()))
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        if let Some(polling) = &self.0.polling {
            polling.posted.store(false, Ordering::Release);
        }
    }
}

/// Takes the packets of a POST, one after the other.
pub(super) async fn post(link: Arc<Link>, shared: &Shared, body: Body) -> Response {
    let Some(polling) = &link.polling else { return Refused::InvalidSession(&link.sid).into_response() };
    let Some(posted) = Posted::begin(&link) else {
        link.outbox.kill();
        waste(body);
        return Refused::Overlap.into_response();
    };
    let body = tokio::select! {
        body = timeout(BODY, read(body, shared.config.max_payload)) => body.unwrap_or(Err(Unread::Late)),
        () = polling.ended.notified() => return Refused::InvalidSession(&link.sid).into_response(),
    };
    let body = match body {
        Ok(body) => body,
        Err(Unread::Late) => return Refused::Late.into_response(),
        Err(Unread::Broken) => return Refused::BadBody.into_response(),
        Err(Unread::TooLarge(size)) => {
            if let Some(session) = polling.session.lock().await.as_mut() {
                session.too_large("", size);
            }
            return Refused::TooLarge(shared.config.max_payload).into_response();
        }
    };
    let Ok(body) = std::str::from_utf8(&body).map(str::to_owned) else {
        return Refused::BadBody.into_response();
    };
    // A task of its own, so that a client that goes away does not leave half of its packets behind.
    let task = tokio::spawn({
        let link = link.clone();
        async move {
            let _posted = posted;
            let mut session = link.polling.as_ref()?.session.lock().await;
            take(session.as_mut()?, &link, &body).await;
            Some(text("ok".to_owned()))
        }
    });
    let response = task.await.unwrap_or_else(|_| {
        // The validation panicked; a websocket's task would have ended too.
        link.outbox.kill();
        None
    });
    response.unwrap_or_else(|| Refused::InvalidSession(&link.sid).into_response())
}

/// Takes the packets of one body.
pub(super) async fn take(session: &mut Session, link: &Link, body: &str) {
    for packet in body.split(SEPARATOR) {
        let mut step = match packet.strip_prefix('b') {
            // What is no base64 is no packet either.
            Some(base64) => match STANDARD.decode(base64) {
                Ok(bytes) => session.binary(bytes.into()),
                Err(_) => session.text(packet),
            },
            None => session.text(packet),
        };
        while let Step::Ask(mut question) = step {
            let verdict = tokio::select! {
                verdict = question.verdict.as_mut() => verdict,
                // Nobody waits for it, and the session could not end meanwhile.
                () = killed(link) => return,
            };
            step = session.answer(*question, verdict);
        }
        if matches!(step, Step::Close) {
            return link.outbox.kill();
        }
    }
}

/// Waits until the client is gone.
async fn killed(link: &Link) {
    while !link.outbox.is_cut() {
        tokio::time::sleep(DURING_UPGRADE).await;
    }
}

/// Why a body is not taken.
enum Unread {
    TooLarge(usize),
    /// It did not come in time.
    Late,
    /// It ended too early.
    Broken,
}

/// Reads a body; what is too long is answered at once, and the rest of it read behind the back of the answer.
async fn read(mut body: Body, most: usize) -> Result<Bytes, Unread> {
    use axum::body::HttpBody as _;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most {
        waste(body);
        return Err(Unread::TooLarge(announced));
    }
    let mut read = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if read.len() + data.len() > most {
            waste(body);
            return Err(Unread::TooLarge(read.len() + data.len()));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

fn waste(mut body: Body) {
    tokio::spawn(timeout(DRAIN, async move { while let Some(Ok(_)) = body.frame().await {} }));
}

fn encode(frames: &[Frame]) -> String {
    let mut out = String::with_capacity(frames.iter().map(|frame| frame.len() + 1).sum());
    for (at, frame) in frames.iter().enumerate() {
        if at > 0 {
            out.push(SEPARATOR);
        }
        match frame {
            Frame::Text(text) => out.push_str(text),
            Frame::Binary(bytes) => {
                out.push('b');
                STANDARD.encode_string(bytes, &mut out);
            }
        }
    }
    out
}

fn text(body: String) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], body).into_response()
}
