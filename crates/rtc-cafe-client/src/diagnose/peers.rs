//! Two clients in this process, who meet in a room of the server.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{Check, PATIENCE};
use crate::{Client, ConnectionReport, ErrorCode, Event, Events, IceServer, RtcConfig};

/// How two clients met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PeersReport {
    /// Whether a message went there and back. The time is that from joining until messages flowed.
    pub check: Check,
    /// Whether a TURN server lay between; `None` if they did not meet.
    pub relayed: Option<bool>,
}

impl PeersReport {
    /// Without a server nobody meets.
    pub(super) fn unreachable() -> Self {
        Self { check: Check::failed("the signalling server cannot be reached".to_owned()), relayed: None }
    }
}

pub(super) async fn examine(
    server: &str,
    servers: &[IceServer],
    roots: &[CertificateDer<'static>],
    auth: Option<&serde_json::Value>,
) -> PeersReport {
    let made: Result<Vec<_>, String> = (0..2)
        .map(|_| {
            let mut builder = Client::builder(server).rtc_config(RtcConfig::new(servers.iter().cloned()));
            if let Some(auth) = auth {
                builder = builder.auth(auth);
            }
            for root in roots {
                builder = builder.root_certificates(root).map_err(|error| error.to_string())?;
            }
            builder.connect().map_err(|error| error.to_string())
        })
        .collect();
    let mut ends = match made {
        Ok(ends) => ends,
        Err(problem) => return PeersReport { check: Check::failed(problem), relayed: None },
    };
    let start = Instant::now();
    let met = timeout(PATIENCE, meet(&mut ends)).await;
    let late = || format!("they did not meet within {} seconds", PATIENCE.as_secs());
    let met = met.unwrap_or_else(|_| Err(late()));
    let mut check = Check::since(start, &met);
    if let Ok((_, took)) = &met {
        check.milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    }
    let selected = met.ok().and_then(|(report, _)| Some(report?.selected()?.is_relayed()));
    let closing = ends.iter().map(|(client, _)| client.close());
    futures_util::future::join_all(closing).await;
    PeersReport { check, relayed: selected }
}

type Met = (Option<ConnectionReport>, Duration);

/// Says something both ways.
async fn meet(ends: &mut [(Client, Events)]) -> Result<Met, String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let room = format!("doctor-{}", random.map(|byte| format!("{byte:02x}")).concat());
    let [(one, ears), (other, others)] = ends else { return Err("there are not two of them".to_owned()) };
    let start = Instant::now();
    for client in [&*one, &*other] {
        client.join_room(room.as_str()).map_err(|error| error.to_string())?;
    }
    let connects = |event: Event| matches!(event, Event::ConnectToPeer { .. }).then_some(());
    until(ears, connects).await?;
    until(others, connects).await?;
    let took = start.elapsed();
    let hears = |event: Event| matches!(event, Event::Message { .. }).then_some(());
    one.send_message("ping").await.map_err(|error| error.to_string())?;
    until(others, hears).await?;
    other.send_message("pong").await.map_err(|error| error.to_string())?;
    until(ears, hears).await?;
    let report = match other.sid() {
        Some(sid) => one.connection_report(&sid).await,
        None => None,
    };
    Ok((report, took))
}

/// Waits for what is wanted; what keeps them apart ends it.
async fn until(events: &mut Events, wanted: impl Fn(Event) -> Option<()>) -> Result<(), String> {
    while let Some(event) = events.recv().await {
        match event {
            Event::Error { code: ErrorCode::ConnectFailed | ErrorCode::SignalRefused, message, .. } => {
                return Err(message);
            }
            event => {
                if wanted(event).is_some() {
                    return Ok(());
                }
            }
        }
    }
    Err("the client was closed".to_owned())
}
