//! The signalling server: whether it answers by HTTP, and lets clients in over a websocket.

use std::{sync::Arc, time::Duration};

use rtc_cafe_wire::signal::ServerSignal;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ClientConfig;

use super::Check;
use crate::{
    net::IceServer,
    signalling::{ServerUrl, Signalling, SignallingConfig, SignallingEvent, http},
};

const PATIENCE: Duration = Duration::from_secs(12);

/// How the signalling server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ServerReport {
    /// Its address.
    pub url: String,
    /// Whether `/healthz` answers.
    pub http: Check,
    /// What it calls itself.
    pub software: Option<String>,
    /// Whether it gives a session over a websocket.
    pub websocket: Check,
    /// The version of the signalling API that was agreed on.
    pub api_version: Option<String>,
    /// How many URLs of ICE servers it names.
    pub ice_servers: usize,
}

/// Returns the ICE servers that it names as well.
pub(super) async fn examine(
    url: &ServerUrl,
    tls: Option<&Arc<ClientConfig>>,
    auth: Option<&serde_json::Value>,
) -> (ServerReport, Vec<IceServer>) {
    let ((http, software), (websocket, session)) = tokio::join!(ask(url, tls), enter(url, tls, auth));
    let (api_version, servers) = session.unwrap_or_default();
    let ice_servers = servers.iter().map(|server| server.urls.len()).sum();
    let report = ServerReport { url: url.to_string(), http, software, websocket, api_version, ice_servers };
    (report, servers)
}

async fn ask(url: &ServerUrl, tls: Option<&Arc<ClientConfig>>) -> (Check, Option<String>) {
    let start = Instant::now();
    let answer = http::get(url.clone(), "/healthz", tls.cloned()).await;
    let answer = answer.map_err(|problem| problem.to_string());
    let answer = answer.and_then(|answer| match answer.status {
        200 => Ok(answer.server),
        status => Err(format!("{url}/healthz answers with HTTP status {status}; check the URL")),
    });
    (Check::since(start, &answer), answer.ok().flatten())
}

type Session = (Option<String>, Vec<IceServer>);

async fn enter(
    url: &ServerUrl,
    tls: Option<&Arc<ClientConfig>>,
    auth: Option<&serde_json::Value>,
) -> (Check, Option<Session>) {
    let start = Instant::now();
    let mut config = SignallingConfig::new(url.clone());
    (config.tls, config.connect_timeout) = (tls.cloned(), PATIENCE);
    config.auth = auth.map(ToString::to_string);
    let mut signalling = Signalling::connect(config);
    let entered = async {
        loop {
            match signalling.recv().await {
                SignallingEvent::Signal(ServerSignal::Sid { ice_servers, .. }) => {
                    let servers = ice_servers.and_then(|json| IceServer::list_from_json(&json).ok());
                    return Ok(servers.unwrap_or_default());
                }
                SignallingEvent::Problem(problem) => return Err(problem.to_string()),
                SignallingEvent::Signal(_) | SignallingEvent::State(_) | SignallingEvent::Opened => {}
            }
        }
    };
    let entered = timeout(PATIENCE, entered).await.unwrap_or_else(|_| Err("it does not answer".to_owned()));
    let check = Check::since(start, &entered);
    let session = entered.ok().map(|servers| (Some(signalling.session().api_version().to_string()), servers));
    signalling.close().await;
    (check, session)
}
