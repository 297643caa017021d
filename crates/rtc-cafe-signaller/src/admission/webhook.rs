//! Asks an HTTP server who may connect, and what they may do.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::{Method, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use self::turns::{Crowded, Turns};
use super::{Admission, Pass, Rejection, Request, Ruling, Visitor, grant::Grant};
use crate::{ErrorCode, engine::address, quiet::Quiet};

mod turns;

/// How long an answer may take by default.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that are open at once, of those who want to come in, and as many of those who are in.
const AT_ONCE: usize = 32;
/// Bytes of questions of each kind that wait for their turn.
const WAITING: usize = 16 * 1024 * 1024;
/// Bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024;
/// Characters of an answer in words that a client is told.
const MAX_TEXT: usize = 500;
/// How long a connection is kept for the next question.
const IDLE: Duration = Duration::from_secs(30);

/// Why a URL cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookUrlError {
    /// It is none.
    #[error("it must be http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")]
    NotHttp,
    /// There are a name and a password in it.
    #[error("names and passwords in the URL are not sent; put a secret into its path or query")]
    Credentials,
    /// The system's certificates cannot be read.
    #[error("the certificates that the system trusts cannot be read: {0}")]
    Certificates(String),
}

/// Posts what clients ask for to a URL, as JSON: `{sid, event, data, address, origin, identity}`, where `sid` is `null` and
/// `event` is `connect` for who is to be let in; `data` is then the `auth`.
///
/// An answer with a status of 2xx and no `error` in its body lets it through; in the answer to `connect` there may be
/// `identity`, `rooms`, `send` and `limits` with the meaning that they have in tokens. A body `{"error": ...}`, or a status
/// of 4xx, refuses it with that error, or else the text of the body. No answer in time (5 seconds by default), one longer
/// than 64 KiB, and any other status are no decision: then it is refused with the code `admission-failed`, and that is
/// logged. Redirects are not followed.
///
/// 32 questions about clients who want to come in are asked at once, and 32 about events of those who are in; others wait, as
/// part of their time, and addresses take turns. When more than 16 MiB of either kind wait, those are refused, likewise with
/// `admission-failed`, of whose address most is waiting.
#[derive(Clone)]
pub struct Webhook {
    inner: Arc<Inner>,
    patience: Duration,
}

struct Inner {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    /// Of those who want to come in.
    entries: Arc<Turns>,
    /// Of those who are in.
    events: Arc<Turns>,
    /// It was logged that there is no decision, and not yet that there is one again.
    told: AtomicBool,
    /// When that was logged.
    failing: Quiet,
    /// When it was logged that somebody was turned away.
    crowded: Quiet,
}

#[derive(Serialize)]
struct Question<'a> {
    sid: Option<&'a str>,
    event: &'a str,
    data: Value,
    address: Option<IpAddr>,
    origin: Option<&'a str>,
    identity: Option<&'a Value>,
}

/// What an answer may say of who is let in.
#[derive(Deserialize)]
struct Welcome {
    identity: Option<Value>,
    #[serde(flatten)]
    grant: Grant,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
enum Undecided {
    #[error("it took too long")]
    Late,
    #[error("too many questions wait for it")]
    Crowded,
    #[error("{0}")]
    Unreachable(String),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("its answer cannot be used: {0}")]
    Answer(String),
}

impl Webhook {
    /// Asks this URL, `http://` or `https://`.
    pub fn new(url: &str) -> Result<Self, WebhookUrlError> {
        let url: Uri = url.parse().map_err(|_| WebhookUrlError::NotHttp)?;
        let authority = url.authority().ok_or(WebhookUrlError::NotHttp)?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(WebhookUrlError::NotHttp);
        }
        if authority.as_str().contains('@') {
            return Err(WebhookUrlError::Credentials);
        }
        let connector = connector(url.scheme_str() == Some("https")).map_err(WebhookUrlError::Certificates)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let (entries, events) = (Turns::new(AT_ONCE, WAITING), Turns::new(AT_ONCE, WAITING));
        let (told, failing, crowded) = (AtomicBool::new(false), Quiet::default(), Quiet::default());
        let inner = Inner { client, url, entries, events, told, failing, crowded };
        Ok(Self { inner: Arc::new(inner), patience: PATIENCE })
    }

    /// Sets how long an answer may take. Default: 5 s; more than 10 s are of no use, see [`Admission`].
    #[must_use]
    pub const fn timeout(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn ask(&self, visitor: &Visitor, request: &Request<'_>, pass: Option<Pass>) -> Ruling {
        let data = match request.data() {
            Ok(data) => data,
            Err(rejection) => return rejection.into(),
        };
        let (address, origin, identity) = (visitor.address(), visitor.origin(), visitor.identity());
        let question = Question { sid: visitor.sid(), event: request.name(), data, address, origin, identity };
        let Ok(question) = serde_json::to_vec(&question) else { return undecided().into() };
        let (inner, patience) = (self.inner.clone(), self.patience);
        let (turns, address) = (inner.turns(request), address.map(address::network));
        Ruling::later(async move {
            let answered = async {
                let _turn = turns.turn(address, question.len()).await.map_err(|Crowded| Undecided::Crowded)?;
                inner.post(question.into()).await
            };
            let answered = timeout(patience, answered).await.unwrap_or(Err(Undecided::Late));
            let decided = answered.and_then(|(status, body)| decide(status, &body, pass));
            inner.note(decided.as_ref().err());
            decided.unwrap_or_else(|_| Err(undecided()))
        })
    }
}

impl Inner {
    fn turns(&self, request: &Request<'_>) -> Arc<Turns> {
        if request.is_entry() { self.entries.clone() } else { self.events.clone() }
    }

    async fn post(&self, question: Bytes) -> Result<(StatusCode, Bytes), Undecided> {
        let unreachable = |error: &dyn std::error::Error| Undecided::Unreachable(causes(error));
        let request = axum::http::Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("rtc-cafe/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(question))
            .map_err(|error| unreachable(&error))?;
        let response = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let (parts, body) = response.into_parts();
        Ok((parts.status, collect(body).await?))
    }

    /// Logs that it fails, once a minute at most however often it changes, and that it is well again if that was logged.
    fn note(&self, failure: Option<&Undecided>) {
        let host = self.url.host().unwrap_or_default();
        match failure {
            Some(Undecided::Crowded) if self.crowded.is_over() => {
                tracing::warn!(host, "more is asked than the webhook answers in time; some are refused");
            }
            Some(Undecided::Crowded) => {}
            Some(why) if self.failing.is_over() => {
                self.told.store(true, Ordering::Relaxed);
                tracing::warn!(host, %why, "the webhook does not decide; who depends on it is refused");
            }
            Some(why) => tracing::debug!(host, %why, "the webhook does not decide"),
            None if self.told.swap(false, Ordering::Relaxed) => {
                tracing::info!(host, "the webhook decides again");
            }
            None => {}
        }
    }
}

impl Admission for Webhook {
    fn connect(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        self.ask(visitor, request, Some(visitor.pass().cloned().unwrap_or_default()))
    }

    fn event(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        self.ask(visitor, request, None)
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its path may be a secret.
        f.debug_struct("Webhook").field("host", &self.inner.url.host()).finish_non_exhaustive()
    }
}

async fn collect(body: Incoming) -> Result<Bytes, Undecided> {
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| Undecided::Answer(error.to_string()))
}

/// The way to the server. The system's certificates, which there may not be any of, are for TLS only.
fn connector(is_secure: bool) -> Result<HttpsConnector<HttpConnector>, String> {
    let provider = aws_lc_rs::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = if is_secure {
        builder.with_provider_and_native_roots(provider).map_err(|error| error.to_string())?
    } else {
        let config = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?.with_root_certificates(RootCertStore::empty());
        builder.with_tls_config(config.with_no_client_auth())
    };
    Ok(builder.https_or_http().enable_http1().build())
}

/// What an answer says: yes, which may change the pass of who is let in, or no and why.
fn decide(status: StatusCode, body: &[u8], pass: Option<Pass>) -> Result<Result<Option<Pass>, Rejection>, Undecided> {
    let parsed: Result<Value, _> = serde_json::from_slice(body);
    let is_json = matches!(body.trim_ascii().first(), Some(b'{' | b'[' | 0xef));
    let json = match parsed {
        Ok(json) => Some(json),
        // There may be an error in it.
        Err(error) if is_json && status.is_success() => return Err(Undecided::Answer(error.to_string())),
        Err(_) => None,
    };
    if let Some(error) = json.as_ref().and_then(|json| json.get("error")).filter(|error| !error.is_null()) {
        return Ok(Err(Rejection::new(error.clone())));
    }
    if status.is_client_error() {
        let text: String = String::from_utf8_lossy(body).trim().chars().take(MAX_TEXT).collect();
        // A page is not for reading here.
        let text =
            if text.is_empty() || text.starts_with('<') { format!("refused with status {status}") } else { text };
        return Ok(Err(Rejection::new(text)));
    }
    if !status.is_success() {
        return Err(Undecided::Status(status));
    }
    let Some(mut pass) = pass else { return Ok(Ok(None)) };
    let Some(json @ Value::Object(_)) = json else { return Ok(Ok(Some(pass))) };
    let welcome: Welcome = serde_json::from_value(json).map_err(|error| Undecided::Answer(error.to_string()))?;
    pass.identity = welcome.identity.or(pass.identity);
    welcome.grant.apply(&mut pass).map_err(Undecided::Answer)?;
    Ok(Ok(Some(pass)))
}

fn undecided() -> Rejection {
    Rejection::new("the server could not find out whether you may; try again later")
        .with_code(ErrorCode::AdmissionFailed)
}

/// An error with what has caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
