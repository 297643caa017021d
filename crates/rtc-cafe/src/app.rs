//! Everything that the server answers, by path: to everybody, and to operators.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use rtc_cafe_signaller::Signaller;
use tokio::task::spawn_blocking;
use tower_http::compression::CompressionLayer;

use crate::{
    admin::{self, Refusals, Token},
    files::{self, CLIENT, SAMPLES},
    listener::Doors,
    metrics::{self, Surroundings},
    process::Process,
    serve::Turn,
    tls::Certificates,
};

/// What this is, for whoever asks whether it is there.
const SOFTWARE: &str = concat!("rtc-cafe/", env!("CARGO_PKG_VERSION"));

/// Tells balancers whether to send clients here.
#[derive(Debug, Clone)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Sends clients elsewhere from now on.
    pub(crate) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What there is besides rooms.
#[derive(Default)]
pub(crate) struct Extras {
    /// What clients are shown, for the metrics.
    pub(crate) certificates: Option<Certificates>,
    /// By which operators are known who may look into rooms.
    pub(crate) admin: Option<Token>,
    /// The relay, for the metrics.
    pub(crate) turn: Option<Turn>,
    /// Who counts connections, for the metrics.
    pub(crate) doors: Option<Doors>,
}

/// What is answered, and to whom.
pub(crate) struct App {
    /// For everybody.
    pub(crate) public: Router,
    /// For operators, where they have an address of their own.
    pub(crate) operators: Option<Router>,
    pub(crate) readiness: Readiness,
}

/// Has figures and the admin view in the public router, or `apart` in one for operators. Whether this server is alive and
/// ready is told in both: balancers ask for it.
pub(crate) fn app(signaller: &Signaller, extras: Extras, apart: bool) -> App {
    Process::start();
    let readiness = Readiness(Arc::new(AtomicBool::new(true)));
    let health = health(signaller, &readiness);
    let public = pages().merge(health.clone()).merge(signaller.router());
    let insights = insights(signaller, extras);
    let (public, operators) =
        if apart { (public, Some(health.merge(insights))) } else { (public.merge(insights), None) };
    App {
        public: public.fallback(async || files::not_found("There is nothing here; / has an overview.\n")),
        operators: operators.map(|router| {
            router.fallback(async || files::not_found("There is nothing here; /metrics has figures for Prometheus.\n"))
        }),
        readiness,
    }
}

fn health(signaller: &Signaller, readiness: &Readiness) -> Router {
    let (ready, asked) = (readiness.clone(), signaller.clone());
    Router::new()
        .route("/healthz", get(async || ([(header::SERVER, SOFTWARE)], "ok\n")))
        .route("/readyz", get(async move || answer_readiness(&ready, &asked)))
}

/// Figures, and the view of rooms and members if it is turned on.
fn insights(signaller: &Signaller, extras: Extras) -> Router {
    let Extras { certificates, admin, turn, doors } = extras;
    let refusals = admin.as_ref().map(|_| Refusals::default());
    let (refused, counted) = (refusals.clone(), signaller.clone());
    let figures = get(async move || {
        let around = |process| Surroundings {
            process,
            certificate_expiry: certificates.as_ref().map(Certificates::expiry),
            admin_refusals: refused.as_ref().map(Refusals::count),
            turn: turn.as_ref().map(Turn::stats),
            door_refusals: doors.as_ref().map(Doors::refused),
        };
        answer_metrics(&counted, around).await
    });
    let router = Router::new().route("/metrics", figures);
    match admin.zip(refusals) {
        Some((token, refusals)) => router.merge(admin::router(signaller.clone(), token, refusals)),
        None => router,
    }
}

fn pages() -> Router {
    Router::new()
        .route("/", get(async |headers: HeaderMap| files::respond(SAMPLES, "index.html", &headers)))
        .route("/samples", get(async || Redirect::permanent("/")))
        .route("/samples/", get(async || Redirect::permanent("/")))
        .route(
            "/samples/{*name}",
            get(async |Path(name): Path<String>, headers: HeaderMap| files::respond(SAMPLES, &name, &headers)),
        )
        .route(
            "/client/{*name}",
            get(async |Path(name): Path<String>, headers: HeaderMap| files::respond(CLIENT, &name, &headers)),
        )
        .layer(CompressionLayer::new())
}

/// Without the broker there is still more to be had here than nowhere.
fn answer_readiness(readiness: &Readiness, signaller: &Signaller) -> (StatusCode, &'static str) {
    match (readiness.0.load(Ordering::Relaxed), signaller.stats().broker.is_none_or(|broker| broker.up)) {
        (true, true) => (StatusCode::OK, "ready\n"),
        (true, false) => (StatusCode::OK, "ready, but the broker is away: rooms end at this node\n"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    }
}

async fn answer_metrics(signaller: &Signaller, around: impl FnOnce(Process) -> Surroundings) -> Response {
    let Ok(process) = spawn_blocking(Process::now).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, metrics::text(&signaller.stats(), &around(process))).into_response()
}
