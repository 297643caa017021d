//! The view of rooms and members for operators: a page for people, and JSON for programs, behind a token.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension, Json, Router,
    extract::{
        DefaultBodyLimit, Path, Query, Request, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use rtc_cafe_signaller::{Kicked, Member, Page, RoomSummary, Signaller};
use rtc_cafe_wire::{RoomId, json::Value};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::{sync::Semaphore, task::spawn_blocking, time::sleep};
use tracing::field::display;

use crate::{
    files::{self, ADMIN},
    process::Process,
};

/// Shorter tokens could be guessed.
const SHORTEST: usize = 16;
/// How long the answer to a wrong token takes, and how many of them are given at a time; others are refused at once.
const WRONG: (Duration, usize) = (Duration::from_secs(1), 8);
/// Items of a page, where nothing is said, and at most.
const PAGE: (usize, usize) = (50, 500);
/// Bytes of a question.
const QUESTION: usize = 8 * 1024;

/// By what an operator is known.
#[derive(Clone)]
pub(crate) struct Token([u8; 32]);

impl Token {
    /// Takes the operator's choice; `None` if there is none.
    pub(crate) fn new(text: Option<&str>) -> Result<Option<Self>, String> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
        if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "--admin-token: at least {SHORTEST} letters, digits or signs without spaces are needed; \
                 `openssl rand -hex 32` makes a good one"
            ));
        }
        Ok(Some(Self(Sha256::digest(text).into())))
    }

    /// Takes as long for any wrong one: hashes are compared, and all of their bytes.
    fn is(&self, text: &str) -> bool {
        self.0.ct_eq(Sha256::digest(text).as_slice()).into()
    }
}

/// Counts requests without the right token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals(Arc<AtomicU64>);

impl Refusals {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct Admin {
    signaller: Signaller,
    token: Token,
    refusals: Refusals,
    wrong: Arc<Semaphore>,
}

/// Everything below `/admin`.
pub(crate) fn router(signaller: Signaller, token: Token, refusals: Refusals) -> Router {
    let admin = Admin { signaller, token, refusals, wrong: Arc::new(Semaphore::new(WRONG.1)) };
    let api = Router::new()
        .route("/status", get(status))
        .route("/rooms", get(rooms))
        .route("/rooms/{room}", get(members))
        .route("/kick", post(kick))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "there is nothing here"))
        .layer(DefaultBodyLimit::max(QUESTION))
        .layer(from_fn_with_state(admin.clone(), check))
        .with_state(admin);
    let page = async |headers: HeaderMap| files::respond_strictly(ADMIN, "index.html", &headers);
    let file = async |Path(name): Path<String>, headers: HeaderMap| files::respond_strictly(ADMIN, &name, &headers);
    Router::new()
        .route("/admin", get(async || Redirect::permanent("admin/")))
        .route("/admin/", get(page))
        .route("/admin/{name}", get(file))
        .nest("/admin/api", api)
}

/// From where somebody asks who has the token.
#[derive(Clone, Copy)]
struct Operator(Option<IpAddr>);

/// Lets nobody in without the token.
async fn check(State(admin): State<Admin>, mut request: Request, next: Next) -> Response {
    let operator = Operator(admin.signaller.address_of(&request));
    request.extensions_mut().insert(operator);
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        given.and_then(|given| given.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let mut response = match token {
        Some((_, token)) if admin.token.is(token.trim()) => next.run(request).await,
        _ => refuse_token(&admin, operator, given.is_some()).await,
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Takes its time, so that nobody guesses a token.
async fn refuse_token(admin: &Admin, Operator(from): Operator, is_given: bool) -> Response {
    admin.refusals.0.fetch_add(1, Ordering::Relaxed);
    if is_given {
        tracing::debug!(from = from.map(display), "somebody has a wrong admin token");
        let Ok(_permit) = admin.wrong.try_acquire() else {
            return refuse(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; wait a moment");
        };
        sleep(WRONG.0).await;
    }
    let mut response = refuse(StatusCode::UNAUTHORIZED, "the admin token is needed: `Authorization: Bearer TOKEN`");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

async fn status(State(Admin { signaller, .. }): State<Admin>) -> Response {
    let stats = signaller.stats();
    let broker = stats.broker.map(|it| json!({ "up": it.up, "nodes": it.nodes, "remoteSockets": it.remote_sockets }));
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "node": signaller.node(),
        "started": Process::start(),
        "connections": stats.connections,
        "sockets": stats.sockets,
        "rooms": stats.rooms,
        "kicked": stats.kicked,
        "broker": broker,
    }))
    .into_response()
}

/// Which part of a list is wanted.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Part {
    search: String,
    offset: usize,
    limit: usize,
}

impl Default for Part {
    fn default() -> Self {
        Self { search: String::new(), offset: 0, limit: PAGE.0 }
    }
}

type Asked = Result<Query<Part>, QueryRejection>;

async fn rooms(State(Admin { signaller, .. }): State<Admin>, part: Asked) -> Response {
    let part = match part {
        Ok(Query(part)) => part,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    // There may be many rooms to look at.
    let found = spawn_blocking(move || signaller.rooms(part.search.trim(), part.offset, part.limit.min(PAGE.1))).await;
    let Ok(Page { total, items, .. }) = found else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the search failed");
    };
    let rooms: Vec<_> = items.into_iter().map(Room::from).collect();
    Json(json!({ "total": total, "rooms": rooms })).into_response()
}

/// A room in JSON, such as `"hall"` or `5`; whatever is neither is taken for the name itself.
fn room_id(text: &str) -> Option<RoomId> {
    let json = Value::parse(text).ok().and_then(|value| RoomId::from_json(value).ok());
    json.or_else(|| RoomId::named(text).ok())
}

async fn members(State(Admin { signaller, .. }): State<Admin>, Path(room): Path<String>, part: Asked) -> Response {
    let part = match part {
        Ok(Query(part)) => part,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let limit = part.limit.min(PAGE.1);
    let found = room_id(&room).and_then(|id| {
        let page = signaller.members(&id, part.search.trim(), part.offset, limit)?;
        Some((id, page))
    });
    let Some((id, page)) = found else {
        return refuse(StatusCode::NOT_FOUND, "nobody is in this room who is connected to this server");
    };
    let members: Vec<_> = page.items.into_iter().map(Shown::from).collect();
    let (room, key) = (raw(id.as_json()), id.as_json());
    Json(json!({ "room": room, "key": key, "total": page.total, "members": members })).into_response()
}

/// Who is to go: somebody, or everybody in a room, by its JSON or by that in a text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Kick {
    Sid(String),
    Room(Box<RawValue>),
    Key(String),
}

async fn kick(
    State(Admin { signaller, .. }): State<Admin>,
    Extension(Operator(from)): Extension<Operator>,
    kick: Result<Json<Kick>, JsonRejection>,
) -> Response {
    let from = from.map(display);
    let room = match kick {
        Ok(Json(Kick::Sid(sid))) => {
            let kicked = signaller.kick(&sid);
            let Kicked { here, asked, .. } = &kicked;
            let address = here.first().and_then(|(_, address)| address.map(display));
            tracing::info!(from, sid, address, ended = here.len(), ?asked, "an operator ends a session");
            return answer_kick(&kicked);
        }
        Ok(Json(Kick::Room(room))) => room.get().to_owned(),
        Ok(Json(Kick::Key(key))) => key,
        Err(error) => return refuse(error.status(), &error.body_text()),
    };
    let Some(room) = Value::parse(&room).ok().and_then(|value| RoomId::from_json(value).ok()) else {
        return refuse(StatusCode::BAD_REQUEST, "a room is a text or a number");
    };
    let kicked = signaller.kick_room(&room);
    let (ended, asked) = (kicked.here.len(), &kicked.asked);
    tracing::info!(from, room = room.as_json(), ended, ?asked, "an operator ends all sessions of a room");
    answer_kick(&kicked)
}

/// Says what is known: who is on another node is not known to have gone because that was asked for.
fn answer_kick(Kicked { here, asked, unreachable, .. }: &Kicked) -> Response {
    if here.is_empty() && asked.is_empty() {
        return match unreachable.is_empty() {
            true => refuse(StatusCode::NOT_FOUND, "nobody like that is known to this server"),
            false => refuse(StatusCode::SERVICE_UNAVAILABLE, "the broker is away, and other nodes cannot be asked"),
        };
    }
    Json(json!({ "kicked": here.len(), "asked": asked, "unreachable": unreachable })).into_response()
}

#[derive(Serialize)]
struct Room {
    room: Box<RawValue>,
    /// The same in a text, for those who would lose digits of a large number.
    key: String,
    members: usize,
    here: usize,
}

impl From<RoomSummary> for Room {
    fn from(it: RoomSummary) -> Self {
        Self { room: raw(&it.room), key: it.room, members: it.members, here: it.here }
    }
}

#[derive(Serialize)]
struct Shown {
    sid: String,
    id: Option<Box<RawValue>>,
    identity: Option<Box<RawValue>>,
    node: Option<String>,
    here: bool,
    address: Option<IpAddr>,
    /// Milliseconds since 1970.
    since: Option<u64>,
}

impl From<Member> for Shown {
    fn from(it: Member) -> Self {
        let Member { sid, id, identity, node, here, address, since, .. } = it;
        let milliseconds = |since: SystemTime| {
            let since = since.duration_since(UNIX_EPOCH).ok()?;
            u64::try_from(since.as_millis()).ok()
        };
        let (id, identity) = (id.as_deref().map(raw), identity.as_deref().map(raw));
        Self { sid, id, identity, node, here, address, since: since.and_then(milliseconds) }
    }
}

/// JSON as it is; what serde does not take for it, as a text.
fn raw(json: &str) -> Box<RawValue> {
    let raw = RawValue::from_string(json.to_owned());
    raw.or_else(|_| serde_json::value::to_raw_value(json)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_compared_as_a_whole() {
        assert!(matches!(Token::new(None), Ok(None)));
        assert!(matches!(Token::new(Some(" ")), Ok(None)));
        assert!(Token::new(Some("short")).is_err());
        assert!(Token::new(Some("with some spaces in it")).is_err());
        let token = Token::new(Some(" 0123456789abcdef\n")).unwrap().unwrap();
        assert!(token.is("0123456789abcdef"));
        assert!(!token.is("0123456789abcdeg") && !token.is("") && !token.is("0123456789abcdef0"));
    }

    #[test]
    fn rooms_are_named_as_in_json_or_as_they_are() {
        let json = |text: &str| room_id(text).map(|id| id.as_json().to_owned());
        assert_eq!(json("hall").as_deref(), Some("\"hall\""));
        assert_eq!(json("\"hall\"").as_deref(), Some("\"hall\""));
        assert_eq!(json("5.0").as_deref(), Some("5"));
        assert_eq!(json("\"5\"").as_deref(), Some("\"5\""));
        assert_eq!(json("[1]").as_deref(), Some("\"[1]\""));
        assert_eq!(json(""), None);
    }
}
