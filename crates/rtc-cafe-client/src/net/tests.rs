//! Endpoints with each other, with a real TURN server, and with interfaces that come and go.

mod coturn;
mod hosts;
mod relays;

use std::{
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Endpoint, EndpointConfig, EndpointEvent, IceServer};

const DEADLINE: Duration = Duration::from_secs(60);

/// Trusts this certificate, and nobody else.
fn tls(certificate: Option<&rcgen::Certificate>) -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    if let Some(certificate) = certificate {
        roots.add(certificate.der().clone()).unwrap();
    }
    Some(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// Interfaces that a test can change.
#[derive(Clone)]
struct Interfaces(Arc<Mutex<Vec<IpAddr>>>);

impl Interfaces {
    fn new(last: &[u8]) -> Self {
        let interfaces = Self(Arc::default());
        interfaces.set(last);
        interfaces
    }

    /// 127.0.0.x for each x.
    fn set(&self, last: &[u8]) {
        *self.0.lock().unwrap() = last.iter().map(|last| Ipv4Addr::new(127, 0, 0, *last).into()).collect();
    }
}

/// An endpoint on 127.0.0.1 only.
fn config(ice_servers: Vec<IceServer>) -> EndpointConfig {
    config_on(&Interfaces::new(&[1]), ice_servers)
}

fn config_on(interfaces: &Interfaces, ice_servers: Vec<IceServer>) -> EndpointConfig {
    let addresses = Arc::clone(&interfaces.0);
    let mut config = EndpointConfig::new(tls(None));
    config.interfaces = Arc::new(move || Ok(addresses.lock().unwrap().clone()));
    config.ice_servers = ice_servers;
    config
}

/// Drives the endpoint until something is found in its events.
async fn until<T>(endpoint: &mut Endpoint, what: &str, mut find: impl FnMut(&EndpointEvent<'_>) -> Option<T>) -> T {
    let mut seen = Vec::new();
    let found = timeout(DEADLINE, async {
        loop {
            let event = endpoint.recv().await;
            if let Some(found) = find(&event) {
                return found;
            }
            if seen.len() < 100 {
                seen.push(format!("{event:?}"));
            }
        }
    });
    match found.await {
        Ok(found) => found,
        Err(_) => panic!("no {what}, but {seen:#?}"),
    }
}

/// Until the servers have answered or failed: what was told until then, without datagrams.
async fn gathered(endpoint: &mut Endpoint) -> Vec<String> {
    let mut told = Vec::new();
    until(endpoint, "GatheringComplete", |event| {
        match event {
            EndpointEvent::GatheringComplete => return Some(()),
            EndpointEvent::Candidate(candidate) => told.push(format!("+{} {}", candidate.kind(), candidate.addr())),
            EndpointEvent::CandidateLost(candidate) => told.push(format!("-{} {}", candidate.kind(), candidate.addr())),
            EndpointEvent::ServerFailed { url, reason } => told.push(format!("{url}: {reason}")),
            EndpointEvent::Datagram { .. } | EndpointEvent::InterfacesChanged => {}
        }
        None
    })
    .await;
    told
}

/// A datagram: its base, where it comes from, and what it is.
type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

/// The next datagram of `to`, while both endpoints are driven.
async fn datagram(to: &mut Endpoint, other: &mut Endpoint) -> Datagram {
    let wanted = async { until(to, "datagram", as_datagram).await };
    let other = async {
        loop {
            other.recv().await;
        }
    };
    let (mut wanted, mut other) = (pin!(wanted), pin!(other));
    poll_fn(|cx| {
        let _: Poll<()> = other.as_mut().poll(cx);
        wanted.as_mut().poll(cx)
    })
    .await
}

fn as_datagram(event: &EndpointEvent<'_>) -> Option<Datagram> {
    match event {
        EndpointEvent::Datagram { local, remote, data } => Some((*local, *remote, data.to_vec())),
        _ => None,
    }
}

/// Its only socket.
fn base(endpoint: &Endpoint) -> SocketAddr {
    endpoint.candidates()[0].addr()
}

#[test]
fn a_task_of_any_runtime_can_own_an_endpoint() {
    fn is_send<T: Send>(_: impl FnOnce(Endpoint) -> T) {}
    is_send(|endpoint| endpoint);
    is_send(|mut endpoint| async move {
        endpoint.recv().await;
    });
}
