//! The HTTP face of Engine.IO: one route for both transports.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use rtc_cafe_wire::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{polling, shared::Shared, upgrade, websocket};
use crate::{ErrorCode, admission::Arrival};

/// Bytes of headers that are kept for who is asked about a client.
const MAX_HEADERS: usize = 16 * 1024;
/// Longest host by which a client may come to be told it again.
const MAX_HOST: usize = 260;
/// Seconds until a client may try again for whom there were too many.
const RETRY_AFTER: &str = "10";

/// Why a request is refused; status and body are those of the original.
#[derive(Debug)]
pub(super) enum Refused<'a> {
    Version,
    Transport,
    InvalidSession(&'a str),
    Origin,
    Method,
    Overlap,
    BadBody,
    Late,
    TooLarge(usize),
    NotAWebsocket,
    ShuttingDown,
    TooMany(usize),
    LongHeaders,
}

impl IntoResponse for Refused<'_> {
    fn into_response(self) -> Response {
        let text: Cow<'_, str> = match &self {
            Self::Version => {
                "The client is using an unsupported version of the Socket.IO or Engine.IO protocols".into()
            }
            Self::Transport => "Invalid transport".into(),
            Self::InvalidSession(sid) => format!("Invalid session {sid}").into(),
            Self::Origin => "Not an accepted origin.".into(),
            Self::Method => "Method not allowed".into(),
            Self::Overlap => "Overlapping requests of one session; it is closed".into(),
            Self::BadBody => "The body is not UTF-8 text".into(),
            Self::Late => "The body did not come in time".into(),
            Self::TooLarge(most) => format!("The body is longer than {most} bytes").into(),
            Self::NotAWebsocket => "The request is no websocket handshake of version 13".into(),
            Self::ShuttingDown => "The server is shutting down".into(),
            Self::LongHeaders => format!("The headers are longer than {MAX_HEADERS} bytes").into(),
            Self::TooMany(most) => return too_many(*most),
        };
        let status = match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::LongHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json::string(&text);
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// One connection too many, with a code that programs understand.
fn too_many(most: usize) -> Response {
    let message = format!("there are {most} connections from your address, which is as many as there may be");
    let code = ErrorCode::TooManyConnections.as_str();
    let body = json::Writer::new().string("code", code).string("message", &message).finish();
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::RETRY_AFTER, RETRY_AFTER)];
    (StatusCode::TOO_MANY_REQUESTS, headers, body).into_response()
}

/// The route of Socket.IO, wherever the router is nested.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/socket.io/", any(handle)).route("/socket.io", any(handle)).with_state(shared)
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let Ok(origin) = shared.config.origins.check(request.headers(), request.uri()) else {
        return Refused::Origin.into_response();
    };
    let allowed = origin.and_then(|origin| HeaderValue::from_str(origin).ok());
    let mut response = match *request.method() {
        Method::OPTIONS => preflight(request.headers()),
        _ => dispatch(&shared, request).await,
    };
    let headers = response.headers_mut();
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("OPTIONS, GET, POST"));
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    response
}

async fn dispatch(shared: &Arc<Shared>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parameter = |name: &str| {
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    if parameter("EIO") != Some("4") {
        return Refused::Version.into_response();
    }
    let sid = parameter("sid");
    let link = match sid {
        None => None,
        Some(sid) => match shared.link(sid) {
            Some(link) => Some(link),
            None => return Refused::InvalidSession(sid).into_response(),
        },
    };
    match (parameter("transport"), request.method(), link) {
        (Some("polling"), &Method::GET, None) => match arrival(shared, &request) {
            Ok(arrival) => polling::handshake(shared, arrival).await,
            Err(refused) => refused.into_response(),
        },
        (Some("polling"), &Method::GET, Some(link)) => polling::get(&link, shared).await,
        (Some("polling"), &Method::POST, Some(link)) => polling::post(link, shared, request.into_body()).await,
        (Some("polling"), &Method::POST, None) => Refused::InvalidSession("None").into_response(),
        (Some("websocket"), &Method::GET, link) => websocket_upgrade(shared, link, request),
        (Some("polling" | "websocket"), ..) => Refused::Method.into_response(),
        _ => Refused::Transport.into_response(),
    }
}

/// What there is to know of who begins a connection.
fn arrival(shared: &Shared, request: &Request) -> Result<Arrival, Refused<'static>> {
    let config = &shared.config;
    let address = config.proxies.client(request.extensions(), request.headers());
    let mut headers = HeaderMap::new();
    // Only who is asked wants to see them. They are copied, so as not to keep the buffer into which they were read.
    if config.admission.is_some() {
        for (name, value) in request.headers() {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Refused::LongHeaders)?);
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > MAX_HEADERS {
            return Err(Refused::LongHeaders);
        }
    }
    let host = config.minted.as_ref().and_then(|_| request.headers().get(header::HOST)?.to_str().ok());
    let host = host.filter(|host| host.len() <= MAX_HOST).map(Into::into);
    Ok(Arrival { address, host, headers })
}

/// Answers a websocket handshake, and serves the connection in a task of its own.
fn websocket_upgrade(shared: &Arc<Shared>, link: Option<Arc<super::shared::Link>>, mut request: Request) -> Response {
    let Some(key) = websocket_key(request.headers()) else { return Refused::NotAWebsocket.into_response() };
    let Some(upgraded) = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>() else {
        return Refused::NotAWebsocket.into_response();
    };
    let shared = shared.clone();
    match link {
        None => {
            let open = match arrival(&shared, &request).and_then(|arrival| shared.open(arrival, None)) {
                Ok(open) => open,
                Err(refused) => return refused.into_response(),
            };
            tokio::spawn(async move {
                if let Ok(upgraded) = upgraded.await {
                    let socket = websocket::accept(upgraded, &shared.config).await;
                    websocket::serve(socket, open, shared).await;
                }
            });
        }
        Some(link) => {
            // A websocket already, or about to become one.
            if !link.polling.as_ref().is_some_and(|polling| polling.begin_probe()) {
                return Refused::InvalidSession(&link.sid).into_response();
            }
            tokio::spawn(async move {
                match upgraded.await {
                    Ok(upgraded) => {
                        let socket = websocket::accept(upgraded, &shared.config).await;
                        upgrade::serve(socket, link, shared).await;
                    }
                    Err(_) => link.polling.iter().for_each(|polling| polling.end_probe()),
                }
            });
        }
    }
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")];
    let accept = [(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))];
    (StatusCode::SWITCHING_PROTOCOLS, headers, accept, Body::empty()).into_response()
}

/// The key of a websocket handshake (RFC 6455 section 4.2.1).
fn websocket_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name: header::HeaderName, token: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    let is_handshake = has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    is_handshake.then(|| headers.get(header::SEC_WEBSOCKET_KEY).cloned()).flatten()
}
