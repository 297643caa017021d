//! How a client is set up.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use rtc_cafe_core::{ApiVersion, Client as Core, Config, Limits, Timing};
use tokio::runtime::Handle;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::{
    Client, Events,
    driver::{self, Driver},
    error::ConnectError,
    net::{Endpoint, EndpointConfig, IceServer},
    shared::Shared,
    signalling::{HeaderError, Headers, ServerUrl, SignalModifier, Signalling, SignallingConfig},
    tls::{self, TlsConfigError},
};

/// Answers that are made ready before peers are met: there is one for everybody in a small room.
const READY: usize = 8;

/// How peer connections find a way: what `RTCConfiguration` (W3C WebRTC section 4.2.1) says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RtcConfig {
    /// STUN and TURN servers. Empty: those that the signalling server names.
    pub ice_servers: Vec<IceServer>,
    /// Whether those that the signalling server names are used where none are given here. Default: yes.
    pub servers_of_signaller: bool,
    /// Whether every path must lead over a TURN server, so that peers do not see this machine's addresses.
    pub relay_only: bool,
}

impl Default for RtcConfig {
    fn default() -> Self {
        Self::new([])
    }
}

impl RtcConfig {
    /// A configuration with these servers.
    pub fn new(ice_servers: impl IntoIterator<Item = IceServer>) -> Self {
        Self { ice_servers: ice_servers.into_iter().collect(), servers_of_signaller: true, relay_only: false }
    }
}

/// Makes a [`Client`]; every setting has a default that works.
#[must_use = "a builder does nothing until `connect`"]
pub struct Builder {
    server: String,
    rtc: RtcConfig,
    config: Config,
    seed: Option<[u8; 32]>,
    api_version: ApiVersion,
    path: String,
    headers: Headers,
    auth: Option<String>,
    modifier: Option<SignalModifier>,
    roots: Vec<CertificateDer<'static>>,
    loopback: Option<bool>,
    event_bytes: usize,
    /// Which addresses the machine has.
    #[cfg(test)]
    pub(crate) interfaces: Option<crate::net::InterfaceSource>,
    #[cfg(test)]
    pub(crate) cut: Option<crate::net::Cut>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("server", &self.server).field("rtc", &self.rtc).finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(server: String) -> Self {
        let mut config = Config::default();
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        config.incarnation = u32::try_from(since_1970.as_secs()).unwrap_or_default();
        config.ready = READY;
        Self {
            server,
            rtc: RtcConfig::default(),
            config,
            seed: None,
            api_version: ApiVersion::LATEST,
            path: "/socket.io/".to_owned(),
            headers: Headers::default(),
            auth: None,
            modifier: None,
            roots: Vec::new(),
            loopback: None,
            event_bytes: crate::event::MAX_BYTES,
            #[cfg(test)]
            interfaces: None,
            #[cfg(test)]
            cut: None,
        }
    }

    /// How peer connections find a way. Default: by the servers that the signalling server names.
    pub fn rtc_config(mut self, config: RtcConfig) -> Self {
        self.rtc = config;
        self
    }

    /// Bounds on what the client keeps.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Bytes of events that may wait for the application before no more of what peers send is taken: see
    /// [`Events`]. With less than twice [`Limits::outgoing_bytes`] of a peer, its connection is replaced when it has sent
    /// too much. Default 64 MiB.
    pub fn event_bytes(mut self, bytes: usize) -> Self {
        self.event_bytes = bytes;
        self
    }

    /// How long the client waits for what.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.config.timing = timing;
        self
    }

    /// Whether handshakes may go over peers that both sides are connected to, and this client passes on those of others (the
    /// README's `enableWebRTCHandshake`). Default: yes.
    pub fn handshake_over_peers(mut self, enabled: bool) -> Self {
        self.config.handshake_over_peers = enabled;
        self
    }

    /// Where the permanent id and all jitter come from, so that a program that keeps it is the same peer after it was
    /// started again. That takes a clock that does not go back between the two. Whoever knows it can claim to be this
    /// client. Default: from the system's random numbers.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The newest version of the signalling API to use. Default: the latest.
    pub fn api_version(mut self, version: ApiVersion) -> Self {
        self.api_version = version;
        self
    }

    /// The path of Socket.IO on the server. Default: `/socket.io/`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Adds an HTTP header to the request that opens the signalling connection, such as `Authorization` or `Origin`.
    ///
    /// # Errors
    /// When it has characters that a header cannot have, or belongs to the handshake of websockets.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        self.headers.add(name, value)?;
        Ok(self)
    }

    /// What the server's admission is told when the client connects (Socket.IO's `auth`), a JSON object.
    pub fn auth(mut self, auth: &serde_json::Value) -> Self {
        self.auth = Some(auth.to_string());
        self
    }

    /// Changes the payload of every signal before it is sent, given its name and JSON: for tokens that the server's
    /// validation wants to see (the README's `signalModifier`).
    pub fn signal_modifier(mut self, modifier: impl Fn(&str, String) -> String + Send + 'static) -> Self {
        self.modifier = Some(Box::new(modifier));
        self
    }

    /// Trusts these certificate authorities as well, one in DER or any number in PEM, for `https://` and `turns:`.
    ///
    /// # Errors
    /// When there is no certificate in it.
    pub fn root_certificates(mut self, content: &[u8]) -> Result<Self, TlsConfigError> {
        self.roots.extend(tls::certificates(content)?);
        Ok(self)
    }

    /// Whether peers on this machine are offered its loopback address. Default: if the signalling server is on it, or
    /// the machine has no other address.
    pub fn loopback(mut self, loopback: bool) -> Self {
        self.loopback = Some(loopback);
        self
    }

    /// Makes the client and its stream of events. It connects in the background, and tries again for as long as it
    /// lives: that the server cannot be reached is told by an event, and is no error here.
    ///
    /// # Errors
    /// When the address cannot be read, no socket be opened, or there is no tokio runtime.
    pub fn connect(self) -> Result<(Client, Events), ConnectError> {
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let url: ServerUrl = self.server.parse()?;
        let tls = if self.roots.is_empty() { None } else { Some(tls::client_config(&self.roots)?) };
        let (mut seed, mut jitter) = ([0; 32], [0; 8]);
        for random in [&mut seed[..], &mut jitter] {
            getrandom::fill(random).map_err(|error| ConnectError::Random(error.to_string()))?;
        }
        let core = Core::new(self.config.clone(), self.seed.unwrap_or(seed));
        let shared = Arc::new(Shared::new(core, self.api_version, self.rtc.clone()));
        let config = EndpointConfig::new(tls.clone());
        #[cfg(test)]
        let config = match self.interfaces {
            Some(interfaces) => EndpointConfig { interfaces, cut: self.cut, ..config },
            None => EndpointConfig { cut: self.cut, ..config },
        };
        let endpoint = Endpoint::bind(EndpointConfig {
            loopback: self.loopback.unwrap_or_else(|| is_loopback(url.host())),
            ice_servers: self.rtc.ice_servers,
            relay_only: self.rtc.relay_only,
            ..config
        })?;
        let signalling = Signalling::connect(SignallingConfig {
            path: self.path,
            api_version: self.api_version,
            headers: self.headers,
            auth: self.auth,
            modifier: self.modifier,
            tls,
            seed: u64::from_le_bytes(jitter),
            ..SignallingConfig::new(url)
        });
        let (input, inputs) = driver::input();
        let (sink, events) = crate::event::channel(self.event_bytes);
        let driver =
            Driver::new(shared.clone(), endpoint, signalling, (input.clone(), inputs), sink, &self.config.limits);
        runtime.spawn(driver.run());
        Ok((Client::new(shared, input), events))
    }
}

/// Whether a host is this machine, by what it is called.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
