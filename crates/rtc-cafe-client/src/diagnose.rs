//! Finds out what the network lets through: the signalling server, STUN and TURN servers, and peers.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let diagnosis = rtc_cafe_client::diagnose::Examination::new("https://cafe.example.org").run().await?;
//! for advice in &diagnosis.advice {
//!     println!("{advice}");
//! }
//! # Ok(())
//! # }
//! ```

use std::{net::IpAddr, time::Duration};

use serde::Serialize;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::{
    error::ConnectError,
    net::{self, IceServer},
    signalling::ServerUrl,
    tls::{self, TlsConfigError},
};

mod advice;
mod behaviour;
mod blocked;
mod ice;
mod nat;
mod peers;
mod server;

pub use blocked::Blocked;
pub use ice::{StunReport, TurnReport};
pub use nat::{Filtering, FilteringReport, Mapping, MappingReport, NatKind};
pub use peers::PeersReport;
pub use server::ServerReport;

/// How one thing that was tried went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Check {
    /// Whether it works.
    pub ok: bool,
    /// How long that took, in milliseconds.
    pub milliseconds: u64,
    /// What is wrong, if something is.
    pub problem: Option<String>,
}

impl Check {
    fn since<T>(start: Instant, done: &Result<T, String>) -> Self {
        let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Self { ok: done.is_ok(), milliseconds, problem: done.as_ref().err().cloned() }
    }

    const fn failed(problem: String) -> Self {
        Self { ok: false, milliseconds: 0, problem: Some(problem) }
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Diagnosis {
    /// Whether peers can connect: two clients on this machine have met in a room of the server, and of the STUN and TURN
    /// servers, if there are any, at least one answers.
    pub ok: bool,
    /// How far away peers may be.
    pub reach: Reach,
    /// The signalling server.
    pub server: ServerReport,
    /// The addresses of this machine, but for loopback.
    pub addresses: Vec<IpAddr>,
    /// Each STUN server.
    pub stun: Vec<StunReport>,
    /// What does not get out of this network.
    pub blocked: Blocked,
    /// What kind of NAT lies between this machine and the STUN servers: several in a row are one, as strict as the
    /// strictest of them.
    pub nat: NatKind,
    /// How it has others see this machine.
    pub mapping: MappingReport,
    /// Whom it lets in.
    pub filtering: FilteringReport,
    /// Each TURN server, by each of its transports.
    pub turn: Vec<TurnReport>,
    /// Two clients in one room.
    pub peers: PeersReport,
    /// What to do about it, in sentences; nothing if all is well.
    pub advice: Vec<String>,
}

/// How far away peers may be, as far as can be seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Reach {
    /// Peers are not reached at all.
    Nowhere,
    /// In the same network: there is nothing that leads out of it.
    Network,
    /// Anywhere, as far as NATs allow: a STUN server answers.
    Internet,
    /// Anywhere: a TURN server answers.
    Everywhere,
}

impl Reach {
    fn of(peers: &PeersReport, stun: &[StunReport], turn: &[TurnReport]) -> Self {
        if !peers.check.ok {
            Self::Nowhere
        } else if turn.iter().any(|turn| turn.check.ok) {
            Self::Everywhere
        } else if stun.iter().any(|stun| stun.check.ok) {
            Self::Internet
        } else {
            Self::Network
        }
    }
}

/// What is to be looked at.
#[derive(Debug)]
#[must_use = "nothing is looked at until `run`"]
pub struct Examination {
    server: String,
    ice_servers: Vec<IceServer>,
    roots: Vec<CertificateDer<'static>>,
    auth: Option<serde_json::Value>,
}

impl Examination {
    /// Looks at the way to the signalling server at this address, and at the ICE servers that it names.
    pub fn new(server: impl Into<String>) -> Self {
        Self { server: server.into(), ice_servers: Vec::new(), roots: Vec::new(), auth: None }
    }

    /// Looks at these ICE servers instead.
    pub fn ice_servers(mut self, servers: impl IntoIterator<Item = IceServer>) -> Self {
        self.ice_servers = servers.into_iter().collect();
        self
    }

    /// Tells the server who this is, as [`Builder::auth`](crate::Builder::auth) does. It needs to be let into a room whose
    /// name begins with `doctor-`.
    pub fn auth(mut self, auth: &serde_json::Value) -> Self {
        self.auth = Some(auth.clone());
        self
    }

    /// Trusts these certificate authorities as well, as [`Builder::root_certificates`](crate::Builder) does.
    ///
    /// # Errors
    /// When there is no certificate in it.
    pub fn root_certificates(mut self, content: &[u8]) -> Result<Self, TlsConfigError> {
        self.roots.extend(tls::certificates(content)?);
        Ok(self)
    }

    /// Tries everything. It takes as long as the slowest of what does not answer, which is some 30 seconds at most.
    ///
    /// # Errors
    /// When the server's address cannot be read. Whatever else fails is in the diagnosis.
    pub async fn run(self) -> Result<Diagnosis, ConnectError> {
        let url: ServerUrl = self.server.parse()?;
        let tls = if self.roots.is_empty() { None } else { Some(tls::client_config(&self.roots)?) };
        let (server, told) = server::examine(&url, tls.as_ref(), self.auth.as_ref()).await;
        let servers = if self.ice_servers.is_empty() { told } else { self.ice_servers };
        let entries = net::kinds(&servers);
        let (ice::Seen { stun, mapping, filtering }, turn, peers) =
            tokio::join!(ice::stun(&entries, tls.as_ref()), ice::turn(&entries, tls.as_ref()), async {
                match server.websocket.ok {
                    true => peers::examine(&self.server, &servers, &self.roots, self.auth.as_ref()).await,
                    false => PeersReport::unreachable(),
                }
            });
        let signalling = (server.http.ok || server.websocket.ok).then(|| url.port());
        let blocked = blocked::blocked(&stun, &turn, signalling);
        let nat = NatKind::of(&mapping, &filtering);
        let addresses = net::usable().unwrap_or_default();
        let reach = Reach::of(&peers, &stun, &turn);
        let ok = reach > Reach::Network || (reach == Reach::Network && entries.is_empty());
        let advice = Vec::new();
        let mut diagnosis =
            Diagnosis { ok, reach, server, addresses, stun, blocked, nat, mapping, filtering, turn, peers, advice };
        diagnosis.advice = advice::of(&diagnosis);
        Ok(diagnosis)
    }
}

/// Longer than anything takes that has a bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);
