//! Who may connect, and what they may do: the seam, and what is ready-made for it.
//!
//! An [`Admission`] is asked when a client connects, and then about each of its events. It decides at once or takes its
//! time, and may hand out a [`Pass`]: who the client is, which rooms are open to it, how much it may use up. What a pass
//! says needs no more questions.
//!
#![cfg_attr(feature = "tokens", doc = "Ready-made are [`Tokens`]")]
#![cfg_attr(feature = "webhook", doc = "and the [`Webhook`].")]

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::http::{HeaderMap, header};
use serde_json::Value;

pub use self::request::Request;
#[cfg(feature = "tokens")]
pub use self::tokens::{KeyError, Tokens};
pub(crate) use self::validation::Validation;
#[cfg(feature = "webhook")]
pub use self::webhook::{Webhook, WebhookUrlError};
pub use crate::hub::RoomRule;
use crate::{ErrorCode, hub::Permit};

pub(crate) mod chain;
#[cfg(any(feature = "tokens", feature = "webhook"))]
mod grant;
mod request;
#[cfg(feature = "tokens")]
mod tokens;
mod validation;
#[cfg(feature = "webhook")]
mod webhook;

/// Decides who may connect, and what they may do.
///
/// It is asked in the task of the client's connection: while it decides, the client's next events wait, so their order
/// stays; other clients do not wait. A decision that takes longer than ten seconds, or half of the heartbeat's timeout
/// where that is less, is a refusal with the code `admission-failed`; its future is dropped then, and when the client goes
/// away. A panic ends the client's connection.
///
/// ```
/// use rtc_cafe_signaller::{
///     Signaller,
///     admission::{Admission, Pass, Rejection, Request, Ruling, Visitor},
/// };
///
/// struct Members;
///
/// impl Admission for Members {
///     fn connect(&self, _visitor: &Visitor, request: &Request<'_>) -> Ruling {
///         let Ok(auth) = request.data() else { return Rejection::new("tell me who you are").into() };
///         let name = auth["name"].clone();
///         Ruling::later(async move {
///             // Ask a database.
///             if name != "ana" {
///                 return Err(Rejection::new("you are no member"));
///             }
///             let mut pass = Pass::default();
///             pass.identity = Some(name);
///             Ok(Some(pass))
///         })
///     }
/// }
///
/// let signaller = Signaller::builder().admission(Members).build();
/// ```
pub trait Admission: Send + Sync + 'static {
    /// A client asks to be let in (Socket.IO's CONNECT); the data of the request is its `auth`. A refusal reaches it as
    /// CONNECT_ERROR, with `{"message": reason, "data": {"code": code}}`; it may try again.
    fn connect(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        let _ = (visitor, request);
        Ruling::Allow
    }

    /// A client sends an event that its rate allows. A refusal reaches it as `error`, and drops the event.
    fn event(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        let _ = (visitor, request);
        Ruling::Allow
    }

    /// Whether the server may deal out what clients leave with it: offers that it holds (`hold`), and answers that come
    /// with a `join`. [`Self::event`] sees them there, but not one by one with their recipients. Where this says no, as by
    /// default, they are not dealt out; peers then send `offer` and `answer`, which takes a round trip longer.
    fn ready_handshakes(&self) -> bool {
        false
    }
}

/// What an [`Admission`] says.
#[must_use]
pub enum Ruling {
    /// It may; its pass stays as it is.
    Allow,
    /// It may, and this is its pass from now on.
    Admit(Pass),
    /// It may not.
    Reject(Rejection),
    /// That has to be found out. `None` is [`Self::Allow`].
    Later(Pin<Box<dyn Future<Output = Result<Option<Pass>, Rejection>> + Send>>),
}

impl Ruling {
    /// A ruling that takes its time.
    pub fn later(decision: impl Future<Output = Result<Option<Pass>, Rejection>> + Send + 'static) -> Self {
        Self::Later(Box::pin(decision))
    }
}

impl From<Rejection> for Ruling {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

impl fmt::Debug for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("Allow"),
            Self::Admit(pass) => f.debug_tuple("Admit").field(pass).finish(),
            Self::Reject(rejection) => f.debug_tuple("Reject").field(rejection).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// Why a client, or an event, is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    code: ErrorCode,
    reason: Value,
}

impl Rejection {
    /// A refusal with the code `rejected`. The reason reaches the client: words for people, or any JSON.
    pub fn new(reason: impl Into<Value>) -> Self {
        Self { code: ErrorCode::Rejected, reason: reason.into() }
    }

    /// The same with another code.
    #[must_use]
    pub const fn with_code(mut self, code: ErrorCode) -> Self {
        self.code = code;
        self
    }

    /// Its code.
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// What the client is told.
    pub const fn reason(&self) -> &Value {
        &self.reason
    }

    /// The same as a sentence.
    pub(crate) fn message(&self) -> Cow<'_, str> {
        self.reason.as_str().map_or_else(|| self.reason.to_string().into(), Cow::Borrowed)
    }
}

/// Who a client is, and what it may do. The default is nobody in particular, who may do everything.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pass {
    /// Who it is, in whatever form the application likes. It is kept by the server, and no client sees it.
    pub identity: Option<Value>,
    /// The rooms that it may join; `None` for all.
    pub rooms: Option<Vec<RoomRule>>,
    /// Whether it may send signals to others. Without that it hears who comes and goes, and connects to nobody.
    pub send: bool,
    /// When it may join no more rooms. It stays in those where it is, and goes on with whom it knows.
    pub expires: Option<SystemTime>,
    /// Rooms that it may be in, in place of [`Limits::rooms_per_socket`](crate::Limits).
    pub rooms_per_socket: Option<usize>,
    /// In place of [`Limits::events_per_second`](crate::Limits).
    pub events_per_second: Option<u32>,
    /// In place of [`Limits::burst`](crate::Limits).
    pub burst: Option<u32>,
    /// The token that it was given for.
    pub(crate) token: Option<Arc<Given>>,
}

/// What a token has given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The digest of the token.
    pub(crate) digest: [u8; 32],
    /// The pass, before anybody else had a say.
    pub(crate) pass: Pass,
}

impl Default for Pass {
    fn default() -> Self {
        Self {
            identity: None,
            rooms: None,
            send: true,
            expires: None,
            rooms_per_socket: None,
            events_per_second: None,
            burst: None,
            token: None,
        }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass")
            .field("identity", &self.identity)
            .field("rooms", &self.rooms)
            .field("send", &self.send)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Pass {
    /// What others have made of a pass that was given, made of another one.
    #[cfg(feature = "tokens")]
    pub(crate) fn carry(&self, given: &Self, into: &mut Self) {
        fn one<T: Clone + PartialEq>(now: &T, given: &T, into: &mut T) {
            if now != given {
                into.clone_from(now);
            }
        }
        one(&self.identity, &given.identity, &mut into.identity);
        one(&self.rooms, &given.rooms, &mut into.rooms);
        one(&self.send, &given.send, &mut into.send);
        one(&self.expires, &given.expires, &mut into.expires);
        one(&self.rooms_per_socket, &given.rooms_per_socket, &mut into.rooms_per_socket);
        one(&self.events_per_second, &given.events_per_second, &mut into.events_per_second);
        one(&self.burst, &given.burst, &mut into.burst);
    }

    /// The same for the hub, where it is `now`.
    pub(crate) fn permit(&self, now: Duration) -> Permit {
        let until = |expires: SystemTime| now + expires.duration_since(SystemTime::now()).unwrap_or_default();
        Permit {
            identity: self.identity.as_ref().map(|identity| identity.to_string().into()),
            rooms: self.rooms.clone(),
            send: self.send,
            until: self.expires.map(until),
            rooms_per_socket: self.rooms_per_socket,
            events_per_second: self.events_per_second,
            burst: self.burst,
        }
    }
}

/// What is known of a client by its connection.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) address: Option<IpAddr>,
    /// By which host it came, where that is of use.
    pub(crate) host: Option<Box<str>>,
    pub(crate) headers: HeaderMap,
}

/// A client, as it is shown to an [`Admission`].
#[derive(Clone)]
pub struct Visitor {
    arrival: Arc<Arrival>,
    sid: Option<Arc<str>>,
    pass: Option<Arc<Pass>>,
}

impl Visitor {
    pub(crate) const fn new(arrival: Arc<Arrival>) -> Self {
        Self { arrival, sid: None, pass: None }
    }

    /// The same under its sid, and with a pass if it was given one.
    pub(crate) fn admitted(mut self, sid: &str, pass: Option<Arc<Pass>>) -> Self {
        self.sid = Some(sid.into());
        self.pass = pass.or(self.pass);
        self
    }

    pub(crate) fn renew(&mut self, pass: Arc<Pass>) {
        self.pass = Some(pass);
    }

    /// Its address, behind whatever proxies are trusted. `None` where the application does not serve the router with
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    pub fn address(&self) -> Option<IpAddr> {
        self.arrival.address
    }

    /// The headers of the request by which its connection began.
    pub fn headers(&self) -> &HeaderMap {
        &self.arrival.headers
    }

    /// The origin of the page that it is; `None` for other programs.
    pub fn origin(&self) -> Option<&str> {
        self.headers().get(header::ORIGIN)?.to_str().ok()
    }

    /// The sid under which its peers know it; `None` before it is let in.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// What it was given.
    pub fn pass(&self) -> Option<&Pass> {
        self.pass.as_deref()
    }

    /// Who it is.
    pub fn identity(&self) -> Option<&Value> {
        self.pass()?.identity.as_ref()
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers have secrets in them.
        f.debug_struct("Visitor")
            .field("address", &self.address())
            .field("sid", &self.sid)
            .field("pass", &self.pass)
            .finish_non_exhaustive()
    }
}
