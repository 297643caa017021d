//! How a server is set up.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Instant,
};

use ipnet::IpNet;
use tokio_rustls::TlsAcceptor;

use crate::{
    auth::Authenticator,
    client::Common,
    credentials::Secret,
    face::{self, Face},
    limits::{Limits, Quotas},
    policy::PeerPolicy,
    relays::{self, RelaySockets},
    server::{Server, TurnServer},
    socket::{self, Socket},
    strangers::Strangers,
};

/// The dynamic ports (RFC 6335 section 6), as RFC 8656 section 7.2 recommends.
const RELAY_PORTS: RangeInclusive<u16> = 49152..=65535;
const REALM: &str = "rtc-cafe";

/// Why a server is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// There is nothing to listen on.
    #[error("no address to listen on")]
    Nowhere,
    /// An address cannot be listened on.
    #[error("cannot listen on {transport} {address}")]
    Listen {
        /// `UDP`, `TCP` or `TLS`.
        transport: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The machine has no address at which peers could send to clients.
    #[error("no address of this machine leads to peers; name the public one")]
    Unreachable,
}

/// Sets a [`TurnServer`] up.
#[derive(Debug)]
#[must_use = "it is no server until it is bound"]
pub struct Builder {
    secret: Secret,
    realm: String,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    tls: Vec<(SocketAddr, Acceptor)>,
    public: Vec<IpAddr>,
    name: Option<String>,
    ports: RangeInclusive<u16>,
    limits: Limits,
    policy: PeerPolicy,
}

struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

impl Builder {
    pub(crate) fn new(secret: Secret) -> Self {
        Self {
            secret,
            realm: REALM.to_owned(),
            udp: Vec::new(),
            tcp: Vec::new(),
            tls: Vec::new(),
            public: Vec::new(),
            name: None,
            ports: RELAY_PORTS,
            limits: Limits::default(),
            policy: PeerPolicy::default(),
        }
    }

    /// Listens on UDP; port 0 lets the system choose one. May be called several times. With two ports, the same at two
    /// addresses each, clients can find out how the NAT in front of them behaves (RFC 5780).
    pub fn udp(mut self, address: SocketAddr) -> Self {
        self.udp.push(address);
        self
    }

    /// Listens on TCP.
    pub fn tcp(mut self, address: SocketAddr) -> Self {
        self.tcp.push(address);
        self
    }

    /// Listens on TCP with TLS, the certificate of which the acceptor knows.
    pub fn tls(mut self, address: SocketAddr, acceptor: TlsAcceptor) -> Self {
        self.tls.push((address, Acceptor(acceptor)));
        self
    }

    /// The address at which the internet reaches this machine, one for each family, if it is behind a NAT that passes its
    /// ports on unchanged. Default: the address it listens on, or that of the default route, which is looked for again when
    /// it is gone.
    pub fn public_address(mut self, address: IpAddr) -> Self {
        self.public.push(address);
        self
    }

    /// The name by which the internet knows this machine. Where its own address is one of a private network, and no public
    /// one is given, it is what the name leads to, if that is one address for each family; it is looked up every minute.
    pub fn public_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The UDP ports of relayed addresses. Default: 49152 to 65535.
    pub const fn relay_ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.ports = ports;
        self
    }

    /// What credentials are for. Default: `rtc-cafe`.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// Bounds on what clients take.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets clients reach peers in a network, though it is not of the internet.
    pub fn allow_peers(mut self, network: IpNet) -> Self {
        self.policy = self.policy.allow(network);
        self
    }

    /// Opens the sockets, and serves until the [`TurnServer`] is dropped.
    ///
    /// # Errors
    /// When there is nothing to listen on, or it cannot be listened on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn bind(self) -> Result<TurnServer, BindError> {
        let listening = self.addresses();
        if listening.is_empty() {
            return Err(BindError::Nowhere);
        }
        let interfaces = relays::interfaces().unwrap_or_else(|| {
            tracing::warn!(
                "the addresses of this machine cannot be read: the relay may reach those that it does not use"
            );
            HashSet::new()
        });
        let face = |v4| Face::new(v4, &listening, &self.public);
        let mut faces: Vec<_> = [true, false].into_iter().filter_map(face).collect();
        faces.iter_mut().for_each(|face| face.look_again(&interfaces));
        if let Some(name) = self.name.as_ref().filter(|_| faces.iter().any(Face::wants_name)) {
            let found = face::addresses_of(name).await.unwrap_or_default();
            faces.iter_mut().for_each(|face| face.take_name(&found));
        }
        if faces.iter().all(|face| face.public().is_none()) {
            return Err(BindError::Unreachable);
        }
        let common = Common {
            auth: Authenticator::new(self.realm, self.secret),
            policy: self.policy,
            strangers: Strangers::new(self.limits.answers_per_address, Instant::now()),
            limits: self.limits,
            quotas: Quotas::default(),
            counters: Default::default(),
        };
        let server = Server::new(common, RelaySockets::new(faces, interfaces, self.ports));
        let mut running = TurnServer::new(server, self.name);
        for address in self.udp {
            running.listen_udp(listen(address, "UDP", Socket::listen)?);
        }
        running.offer_discovery(&self.public);
        for address in self.tcp {
            running.listen_tcp(listen(address, "TCP", socket::listen_tcp)?);
        }
        for (address, Acceptor(acceptor)) in self.tls {
            running.listen_tls(listen(address, "TLS", socket::listen_tcp)?, acceptor);
        }
        Ok(running)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let all = self.udp.iter().chain(&self.tcp).chain(self.tls.iter().map(|(address, _)| address));
        all.map(SocketAddr::ip).collect()
    }
}

fn listen<T>(
    address: SocketAddr,
    transport: &'static str,
    open: impl FnOnce(SocketAddr) -> io::Result<T>,
) -> Result<T, BindError> {
    open(address).map_err(|source| BindError::Listen { transport, address, source })
}
