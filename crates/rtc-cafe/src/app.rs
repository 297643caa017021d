//! Everything that the server answers, by path.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect},
    routing::get,
};
use rtc_cafe_signaller::Signaller;
use tower_http::compression::CompressionLayer;

use crate::{
    files::{self, CLIENT, SAMPLES},
    metrics::{self, Surroundings},
    process::Process,
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

pub(crate) fn router(signaller: &Signaller, certificates: Option<Certificates>) -> (Router, Readiness) {
    // It counts as the start.
    Process::now();
    let readiness = Readiness(Arc::new(AtomicBool::new(true)));
    let (ready, asked, counted) = (readiness.clone(), signaller.clone(), signaller.clone());
    let health = Router::new()
        .route("/healthz", get(async || ([(header::SERVER, SOFTWARE)], "ok\n")))
        .route("/readyz", get(async move || answer_readiness(&ready, &asked)))
        .route("/metrics", get(async move || answer_metrics(&counted, certificates.as_ref())));
    let router = pages().merge(health).merge(signaller.router());
    let router = router.fallback(async || files::not_found("There is nothing here; / has an overview.\n"));
    (router, readiness)
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

fn answer_metrics(signaller: &Signaller, certificates: Option<&Certificates>) -> impl IntoResponse + use<> {
    let certificate_expiry = certificates.map(Certificates::expiry);
    let around = Surroundings { process: Process::now(), certificate_expiry };
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, metrics::text(&signaller.stats(), &around))
}
