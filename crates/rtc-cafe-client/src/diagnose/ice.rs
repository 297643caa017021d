//! STUN and TURN servers, each tried as a client would use it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ClientConfig;

use super::{
    Check, PATIENCE,
    behaviour::{self, Behaviour},
    nat::{self, FilteringReport, MappingReport},
};
use crate::net::{Endpoint, EndpointConfig, EndpointEvent, Entry, IceServer, Kind, Mapping};

/// One STUN server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StunReport {
    /// Its URL.
    pub url: String,
    /// Whether it answers over UDP.
    pub check: Check,
    /// The addresses of this machine as it sees them.
    pub reflexive: Vec<SocketAddr>,
    /// Whether those are others than the machine's own, so that there is a NAT; `None` if it does not answer.
    pub nat: Option<bool>,
}

/// One TURN server, by one transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TurnReport {
    /// Its URL.
    pub url: String,
    /// `udp`, `tcp` or `tls`; `None` if the URL cannot be used.
    pub transport: Option<&'static str>,
    /// Whether it takes the credentials, gives an address, and passes on what is sent to that.
    pub check: Check,
    /// The addresses that it gave.
    pub relayed: Vec<SocketAddr>,
    /// Whether the server said anything at all, be it a refusal.
    #[serde(skip)]
    pub(super) answers: bool,
}

/// What STUN servers see.
pub(super) struct Seen {
    pub(super) stun: Vec<StunReport>,
    pub(super) mapping: MappingReport,
    pub(super) filtering: FilteringReport,
}

/// The servers of `stun:`, and what they say together about a NAT. TURN servers are asked for that as well.
pub(super) async fn stun(entries: &[Entry], tls: Option<&Arc<ClientConfig>>) -> Seen {
    let observer = |url: &str, kind: Kind| match kind {
        Kind::Stun => Some(url.to_owned()),
        Kind::Turn("udp") => url.strip_prefix("turn:").map(|address| format!("stun:{address}")),
        Kind::Turn(_) => None,
    };
    let urls = entries.iter().flatten().filter_map(|(url, kind, _)| observer(url, *kind));
    let servers: Vec<_> = urls.map(IceServer::new).collect();
    if servers.is_empty() {
        let filtering = FilteringReport::unknown("there is no STUN server to ask");
        return Seen { stun: Vec::new(), mapping: nat::mapping(&[]), filtering };
    }
    let start = Instant::now();
    let config = EndpointConfig { loopback: true, ice_servers: servers, ..EndpointConfig::new(None) };
    let found = gather(config).await;
    let mappings = found.as_ref().map(Endpoint::mappings).unwrap_or_default();
    let failed = found.as_ref().map(Endpoint::failed_servers).unwrap_or_default();
    let report = |url: &String| {
        let of: Vec<&Mapping> = mappings.iter().filter(|mapping| mapping.url == *url).collect();
        let mut reflexive: Vec<_> = of.iter().filter_map(|mapping| mapping.mapped).collect();
        let nat =
            of.iter().filter_map(|mapping| Some(mapping.mapped? != mapping.local)).reduce(|one, other| one | other);
        reflexive.dedup();
        let reason = failed.iter().find(|server| server.url == *url).map(|server| server.reason.clone());
        let done = match (&found, nat) {
            (Err(error), _) => Err(error.clone()),
            (Ok(_), Some(_)) => Ok(()),
            (Ok(_), None) => Err(reason.unwrap_or_else(|| "it does not answer".to_owned())),
        };
        StunReport { url: url.clone(), check: Check::since(start, &done), reflexive, nat }
    };
    let stun = entries.iter().flatten().filter(|(_, kind, _)| *kind == Kind::Stun).map(|(url, ..)| report(url));
    let stun = stun.collect();
    let Behaviour { mappings: further, filtering } = match observer_of(&mappings) {
        Some((local, server)) => behaviour::examine(local, server, relay(entries, tls)).await,
        None => Behaviour { mappings: Vec::new(), filtering: FilteringReport::unknown("no STUN server answers") },
    };
    let mapping = nat::mapping(&[mappings, further].concat());
    Seen { stun, mapping, filtering }
}

/// A server that answers, and the address of ours that it was asked from: of IPv4 if there is one, for there are the NATs.
fn observer_of(mappings: &[Mapping]) -> Option<(IpAddr, SocketAddr)> {
    let answered = mappings.iter().filter(|mapping| mapping.mapped.is_some());
    let first = answered.min_by_key(|mapping| mapping.local.is_ipv6())?;
    Some((first.local.ip(), first.server))
}

/// An endpoint with a relayed address, of whichever of the TURN servers gives one first.
async fn relay(entries: &[Entry], tls: Option<&Arc<ClientConfig>>) -> Option<Endpoint> {
    let servers =
        entries.iter().flatten().filter(|(_, kind, _)| *kind != Kind::Stun).map(|(.., server)| server.clone());
    let ice_servers: Vec<_> = servers.collect();
    if ice_servers.is_empty() {
        return None;
    }
    let config = EndpointConfig { relay_only: true, ice_servers, ..EndpointConfig::new(tls.cloned()) };
    let mut endpoint = Endpoint::bind(config).ok()?;
    let first = async {
        while endpoint.candidates().is_empty() {
            if matches!(endpoint.recv().await, EndpointEvent::GatheringComplete) {
                break;
            }
        }
    };
    let _ = timeout(PATIENCE, first).await;
    Some(endpoint).filter(|endpoint| !endpoint.candidates().is_empty())
}

/// An allocation on each TURN server, by each of its URLs. What is no URL is told here, too.
pub(super) async fn turn(entries: &[Entry], tls: Option<&Arc<ClientConfig>>) -> Vec<TurnReport> {
    let reports = entries.iter().filter_map(|entry| match entry {
        Ok((_, Kind::Stun, _)) => None,
        Ok((url, Kind::Turn(transport), server)) => Some(Ok((url, *transport, server))),
        Err(refused) => Some(Err(refused)),
    });
    let reports = reports.map(async |entry| match entry {
        Ok((url, transport, server)) => allocate(url, transport, server, tls).await,
        Err((url, reason)) => {
            let check = Check::failed(reason.clone());
            TurnReport { url: url.clone(), transport: None, check, relayed: Vec::new(), answers: false }
        }
    });
    join_all(reports).await
}

async fn allocate(
    url: &str,
    transport: &'static str,
    server: &IceServer,
    tls: Option<&Arc<ClientConfig>>,
) -> TurnReport {
    let start = Instant::now();
    let config =
        EndpointConfig { relay_only: true, ice_servers: vec![server.clone()], ..EndpointConfig::new(tls.cloned()) };
    let (mut relayed, mut answers) = (Vec::new(), false);
    let done = match gather(config).await {
        Ok(mut endpoint) => {
            answers = endpoint.hears_turn();
            relayed.extend(endpoint.candidates().iter().map(str0m::Candidate::addr));
            pass_on(&mut endpoint, &relayed).await
        }
        Err(problem) => Err(problem),
    };
    TurnReport { url: url.to_owned(), transport: Some(transport), check: Check::since(start, &done), relayed, answers }
}

/// Sends something through the server to each of the addresses that it gave.
async fn pass_on(endpoint: &mut Endpoint, relayed: &[SocketAddr]) -> Result<(), String> {
    if relayed.is_empty() {
        let failed = endpoint.failed_servers().into_iter().next().map(|server| server.reason);
        return Err(failed.unwrap_or_else(|| "it does not answer".to_owned()));
    }
    for address in relayed {
        if !behaviour::echo(endpoint, *address).await {
            return Err(format!(
                "it gives the address {address}, but what is sent there through it does not come back"
            ));
        }
    }
    Ok(())
}

/// Asks the servers, until each has answered or failed.
async fn gather(config: EndpointConfig) -> Result<Endpoint, String> {
    let mut endpoint = Endpoint::bind(config).map_err(|error| error.to_string())?;
    let gathered = async { while !matches!(endpoint.recv().await, EndpointEvent::GatheringComplete) {} };
    // What has not answered by then is told by what is missing.
    let _ = timeout(PATIENCE + Duration::from_secs(5), gathered).await;
    Ok(endpoint)
}
