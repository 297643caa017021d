//! STUN and TURN beside the signalling, and what clients are told of it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use rtc_cafe_signaller::{IceServer, IpNet, Quiet};
use rtc_cafe_turn::{BindError, Limits, Secret, TlsAcceptor, TurnServer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::reach::Reach;
use crate::{
    duration,
    hidden::Hidden,
    ice,
    listed::{Listed, listed, number},
};

/// The port of STUN and TURN (RFC 8489 section 18.6).
const PORT: u16 = 3478;
const DEFAULT_LIFETIME: &str = "1h";
/// Credentials that end sooner would end while a client connects.
const LEAST_LIFETIME: Duration = Duration::from_secs(60);

/// The relay for peers that find no direct way: `turn:` on UDP and TCP port 3478, `turns:` where there is a certificate.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "STUN and TURN")]
pub(crate) struct TurnOptions {
    /// Serves no STUN and TURN; name servers with `--ice-server` then, or peers behind some NATs do not meet
    #[arg(long, env = "RTC_CAFE_NO_TURN", value_parser = clap::builder::FalseyValueParser::new())]
    no_turn: bool,

    /// Address and port for STUN and TURN, on UDP and TCP; repeat it, or separate several by commas [default: port
    /// 3478 of the address of `--listen`]
    ///
    /// Peers send to the ports of `--turn-ports` as well; let them through the firewall. With two ports, the same at two
    /// addresses each, clients can find out exactly how the NAT in front of them behaves (RFC 5780).
    #[arg(long, env = "RTC_CAFE_TURN_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',', value_parser = address)]
    turn_listen: Vec<Listed<SocketAddr>>,

    /// Address and port for TURN over TLS, with the certificate of `--tls-cert`; repeat it, or separate several by commas
    /// [default: that of `--listen`, if that has TLS]
    ///
    /// On port 443 it reaches clients whose network lets nothing else through. An address of its own is needed only where a
    /// proxy does TLS for the signalling.
    #[arg(long, env = "RTC_CAFE_TURN_TLS_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',', value_parser = address)]
    turn_tls_listen: Vec<Listed<SocketAddr>>,

    /// What clients reach the relay by: a name or an address [default: the host by which they came]
    ///
    /// It is needed where they come through a proxy that is another machine, and for TLS, where it must be the name in
    /// the certificate.
    #[arg(long, env = "RTC_CAFE_TURN_HOST", value_name = "HOST", value_parser = host)]
    turn_host: Option<Listed<String>>,

    /// Address at which the internet reaches this machine, one for IPv4 and one for IPv6, if it is behind a NAT that
    /// passes its ports on [default: its own, or if that is of a private network, what the name of `--turn-host` leads to]
    #[arg(long, env = "RTC_CAFE_PUBLIC_ADDRESS", value_name = "ADDRESS", value_delimiter = ',', value_parser = ip)]
    public_address: Vec<Listed<IpAddr>>,

    /// Secret with which credentials are made; several servers, or coturn's `static-auth-secret`, may share it [default:
    /// one that nobody knows]
    #[arg(long, env = "RTC_CAFE_TURN_SECRET", hide_env_values = true, value_name = "SECRET")]
    turn_secret: Option<Hidden>,

    /// How long the credentials are good that a client gets; it gets others before they end
    #[arg(
        long,
        env = "RTC_CAFE_TURN_CREDENTIALS",
        value_name = "TIME",
        default_value = DEFAULT_LIFETIME,
        value_parser = lifetime
    )]
    turn_credentials: Duration,

    /// UDP ports of relayed addresses [default: 49152-65535]
    #[arg(long, env = "RTC_CAFE_TURN_PORTS", value_name = "FIRST-LAST", value_parser = ports)]
    turn_ports: Option<Listed<RangeInclusive<u16>>>,

    /// Relayed addresses of one client [default: 1000]
    #[arg(long, env = "RTC_CAFE_MAX_RELAYS_PER_CLIENT", value_name = "NUMBER", value_parser = number::<usize>)]
    max_relays_per_client: Option<Listed<usize>>,

    /// Relayed addresses of all clients; at the most a quarter of the open files that the system allows [default: 10000]
    #[arg(long, env = "RTC_CAFE_MAX_RELAYS", value_name = "NUMBER", value_parser = number::<usize>)]
    max_relays: Option<Listed<usize>>,

    /// Bytes per second of one client, all its relayed addresses and both ways together, and a fifth of what all at one
    /// address may have; more is dropped [default: 12500000]
    #[arg(long, env = "RTC_CAFE_MAX_RELAYED_BYTES_PER_SECOND", value_name = "BYTES", value_parser = number::<usize>)]
    max_relayed_bytes_per_second: Option<Listed<usize>>,

    /// Answers per second over UDP for one address (of IPv6: one /64) that has shown no credentials, so that nobody is
    /// flooded with what others ask for in his name [default: 250]
    #[arg(long, env = "RTC_CAFE_MAX_STUN_ANSWERS_PER_SECOND", value_name = "NUMBER", value_parser = number::<usize>)]
    max_stun_answers_per_second: Option<Listed<usize>>,

    /// Network whose addresses the relay may reach, though it is not of the internet, such as `10.0.0.0/8`; repeat it, or
    /// separate several by commas
    ///
    /// Whoever is let into a room can then send to every UDP port there.
    #[arg(long, env = "RTC_CAFE_TURN_ALLOW_PEER", value_name = "NETWORK", value_delimiter = ',', value_parser = network)]
    turn_allow_peer: Vec<Listed<IpNet>>,
}

fn address(text: &str) -> Result<Listed<SocketAddr>, String> {
    listed(text, |text| text.parse().map_err(|_| "it is `ADDRESS:PORT`, such as 0.0.0.0:3478 or [::]:3478".to_owned()))
}

fn ip(text: &str) -> Result<Listed<IpAddr>, String> {
    listed(text, |text| text.parse().map_err(|_| "it is an IPv4 or IPv6 address".to_owned()))
}

fn network(text: &str) -> Result<Listed<IpNet>, String> {
    let parse = |text: &str| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    listed(text, |text| parse(text).map_err(|_| "it is an address, or a network such as 10.0.0.0/8".to_owned()))
}

fn host(text: &str) -> Result<Listed<String>, String> {
    listed(text, |text| {
        let bare = text.trim_matches(['[', ']']);
        let is_name = !bare.contains(|char: char| char == '/' || char == '@' || char.is_whitespace() || char == ':');
        let is_host = is_name || bare.parse::<std::net::Ipv6Addr>().is_ok();
        is_host.then(|| bare.to_owned()).ok_or_else(|| "it is a name or an address, without a port".to_owned())
    })
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration::parse(if text.trim().is_empty() { DEFAULT_LIFETIME } else { text })?;
    if lifetime < LEAST_LIFETIME { Err("it must be a minute or more".into()) } else { Ok(lifetime) }
}

fn ports(text: &str) -> Result<Listed<RangeInclusive<u16>>, String> {
    listed(text, |text| {
        let (first, last) = text.split_once('-').ok_or("it is `FIRST-LAST`, such as 49152-65535")?;
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let (Some(first), Some(last)) = (port(first), port(last)) else { return Err("ports are 1 to 65535".into()) };
        if first > last { Err("the first port is above the last one".into()) } else { Ok(first..=last) }
    })
}

/// A relay that runs, and how clients are told of it.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    server: Arc<TurnServer>,
    secret: Secret,
    lifetime: Duration,
    reach: Reach,
    /// Where the signalling does TLS, if TURN over TLS has no address of its own.
    door: Option<SocketAddr>,
    quiet: Arc<Quiet>,
}

/// Says what clients may miss.
fn warn(server: &TurnServer, is_named: bool, has_public: bool) {
    if server.udp_addresses().iter().all(|address| address.ip().is_loopback()) {
        let names = [("--turn-host", is_named), ("--public-address", has_public)];
        for (option, _) in names.into_iter().filter(|(_, is_given)| *is_given) {
            tracing::warn!("{option} names a relay that listens on this machine alone; give --turn-listen as well");
        }
    }
    if !is_named && !server.tls_addresses().is_empty() {
        tracing::warn!(
            "TURN over TLS is told by the host of the page, or by an address, which the certificate may not have and \
             Firefox does not use; name it by --turn-host"
        );
    }
}

/// Where to listen: as was asked, or beside a server that listens there and at the addresses of TLS, of which clients are
/// told by the same name. On all of IPv6 is on all of IPv4, too, unless something else was asked for.
fn places(asked: Vec<SocketAddr>, listening: IpAddr, tls: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut places = asked;
    if places.is_empty() {
        places.push(SocketAddr::new(listening, PORT));
        for address in tls {
            let is_there = |place: &SocketAddr| {
                place.ip() == address.ip() || (place.ip().is_unspecified() && place.is_ipv4() == address.is_ipv4())
            };
            if !places.iter().any(is_there) {
                // Nobody else may listen there as well.
                places.retain(|place| !address.ip().is_unspecified() || place.is_ipv4() != address.is_ipv4());
                places.push(SocketAddr::new(address.ip(), PORT));
            }
        }
    }
    let all_v6: Vec<_> =
        places.iter().filter(|place| place.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED)).map(SocketAddr::port).collect();
    for port in all_v6 {
        if !places.iter().any(|place| place.is_ipv4() && place.port() == port) {
            places.push(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
        }
    }
    places
}

/// TURN servers of others, for which credentials are made here.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    servers: Vec<ice::Server>,
    secret: Secret,
    lifetime: Duration,
}

impl Elsewhere {
    /// `None` if there are none.
    pub(crate) fn new(
        servers: Vec<ice::Server>,
        secret: Option<&str>,
        lifetime: Duration,
    ) -> anyhow::Result<Option<Self>> {
        let secret = secret.map(Secret::new).transpose().context("--ice-secret, or RTC_CAFE_ICE_SECRET")?;
        let Some(first) = servers.first() else { return Ok(None) };
        let why = || format!("{} needs credentials: write turn:USER:PASSWORD@HOST, or give --ice-secret", first.url);
        let secret = secret.with_context(why)?;
        Ok(Some(Self { servers, secret, lifetime }))
    }

    /// What a client is told.
    pub(crate) fn ice_servers(&self, client: &str) -> impl Iterator<Item = IceServer> {
        let made = self.secret.mint(client, self.lifetime, SystemTime::now());
        let servers = self.servers.iter();
        servers.map(move |server| {
            IceServer::new(server.url.clone()).credentials(made.username.clone(), made.password.clone())
        })
    }
}

impl TurnOptions {
    /// How long credentials are good that clients get.
    pub(crate) const fn lifetime(&self) -> Duration {
        self.turn_credentials
    }

    /// Starts the relay, beside a server that listens there, in a process that may have so many files open; `None` if there
    /// is to be none.
    pub(crate) async fn start(
        self,
        listening: SocketAddr,
        acceptor: Option<TlsAcceptor>,
        files: Option<usize>,
    ) -> anyhow::Result<Option<Turn>> {
        let tls: Vec<_> = self.turn_tls_listen.iter().flatten().copied().collect();
        if self.no_turn {
            anyhow::ensure!(tls.is_empty(), "--turn-tls-listen asks for what --no-turn forbids");
            return Ok(None);
        }
        let asked: Vec<_> = self.turn_listen.iter().flatten().copied().collect();
        let door = (acceptor.is_some() && tls.is_empty()).then_some(listening);
        let is_asked = !asked.is_empty() || !tls.is_empty();
        let addresses = places(asked, listening.ip(), &tls);
        let secret = match self.turn_secret.as_deref() {
            None => Secret::random(),
            Some(secret) => Secret::new(secret).context("--turn-secret, or RTC_CAFE_TURN_SECRET")?,
        };
        let mut builder = TurnServer::builder(secret.clone()).limits(self.limits(files));
        for &address in &addresses {
            builder = builder.udp(address).tcp(address);
        }
        if !tls.is_empty() {
            let acceptor = acceptor.context("--turn-tls-listen needs a certificate: --tls-cert and --tls-key")?;
            builder = tls.into_iter().fold(builder, |builder, address| builder.tls(address, acceptor.clone()));
        }
        for address in self.public_address.iter().flatten() {
            builder = builder.public_address(*address);
        }
        for network in self.turn_allow_peer.iter().flatten() {
            builder = builder.allow_peers(*network);
        }
        if let Some(ports) = self.turn_ports.flatten() {
            builder = builder.relay_ports(ports);
        }
        let host = self.turn_host.flatten();
        if let Some(name) = &host {
            builder = builder.public_name(name);
        }
        let server = match builder.bind().await {
            Ok(server) => server,
            // Somebody else serves there already, and nobody has asked for ours.
            Err(error @ BindError::Listen { .. }) if !is_asked => {
                tracing::warn!(
                    "{error:#}: there is no STUN and TURN; choose another port with --turn-listen, or say --no-turn"
                );
                return Ok(None);
            }
            Err(error) => return Err(error).context("cannot serve STUN and TURN; --no-turn does without"),
        };
        let public: Vec<_> = self.public_address.iter().flatten().copied().collect();
        warn(&server, host.is_some(), !public.is_empty());
        let reach = Reach { host, listening: listening.ip(), public };
        Ok(Some(Turn {
            server: Arc::new(server),
            secret,
            lifetime: self.turn_credentials,
            reach,
            door,
            quiet: Arc::default(),
        }))
    }

    /// `files` is how many sockets this process may have, of which a quarter is left to the signalling: a relay may take two,
    /// one for each family.
    fn limits(&self, files: Option<usize>) -> Limits {
        let mut limits = Limits::default();
        let set = |limit: &mut usize, given: Option<Listed<usize>>| *limit = given.flatten().unwrap_or(*limit);
        set(&mut limits.allocations_per_id, self.max_relays_per_client);
        set(&mut limits.allocations, self.max_relays);
        set(&mut limits.bandwidth, self.max_relayed_bytes_per_second);
        set(&mut limits.answers_per_address, self.max_stun_answers_per_second);
        if let Some(most) = files.map(|files| files / 4).filter(|most| *most < limits.allocations) {
            let asked = limits.allocations;
            if self.max_relays.flatten().is_some() {
                tracing::warn!(
                    files,
                    relays = most,
                    "there are too few file descriptors for {asked} relayed addresses; raise the limit (`ulimit -n`, or \
                     `LimitNOFILE=` in a unit)"
                );
            } else {
                tracing::info!(files, relays = most, "file descriptors bound the number of relayed addresses");
            }
            limits.allocations = most;
            limits.connections = limits.connections.min(most);
        }
        limits.bandwidth_per_address = limits.bandwidth.saturating_mul(5);
        limits
    }
}

impl Turn {
    pub(crate) fn stats(&self) -> rtc_cafe_turn::Stats {
        self.server.stats()
    }

    /// Serves a client that has come to the signalling's own port, and speaks TURN in TLS.
    pub(crate) fn serve_tls(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, client: SocketAddr) {
        self.server.serve_tls(stream, client);
    }

    /// What a client is told: its own credentials, and where it reaches the relay.
    pub(crate) fn ice_servers(&self, client: &str, came_by: Option<&str>) -> Vec<IceServer> {
        let made = self.secret.mint(client, self.lifetime, SystemTime::now());
        let with = |url: String| IceServer::new(url).credentials(made.username.clone(), made.password.clone());
        let at = |addresses: &[SocketAddr]| self.reach.to(addresses, came_by);
        let mut servers = Vec::new();
        for place in at(self.server.udp_addresses()) {
            servers.push(IceServer::new(format!("stun:{place}")));
            servers.push(with(format!("turn:{place}?transport=udp")));
        }
        for place in at(self.server.tcp_addresses()) {
            servers.push(with(format!("turn:{place}?transport=tcp")));
        }
        let door = self.door.map(|door| self.reach.to_door(door, came_by));
        for place in door.unwrap_or_else(|| at(self.server.tls_addresses())) {
            servers.push(with(format!("turns:{place}?transport=tcp")));
        }
        if servers.is_empty() && self.quiet.is_over() {
            tracing::warn!(
                host = came_by,
                "clients come by this host, and are told of no STUN and TURN, which listen on this machine alone; give \
                 --turn-listen, or say --no-turn"
            );
        }
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        assert_eq!(ports("1000-2000"), Ok(Some(1000..=2000)));
        for bad in ["1000", "0-10", "2000-1000", "a-b", "1-70000"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
        assert!(network("10.0.0.0/8").is_ok() && network("10.0.0.1").is_ok() && network("10.0.0.0/33").is_err());
        assert!(host("turn.example.org").is_ok() && host("[2001:db8::1]").is_ok());
        assert!(host("turn.example.org:3478").is_err() && host("turn:a").is_err() && host("a b").is_err());
        assert!(lifetime("59s").is_err() && lifetime("1h").is_ok());
        assert_eq!((address(""), ip(" "), ports("")), (Ok(None), Ok(None), Ok(None)));
    }

    #[test]
    fn credentials_for_other_servers_take_their_secret() {
        let coturn = || ice::parse_for_clients("turn:turn.example.org").unwrap().into_iter().collect::<Vec<_>>();
        let made = |secret| Elsewhere::new(coturn(), secret, Duration::from_secs(60));
        assert!(made(None).unwrap_err().to_string().contains("--ice-secret"));
        assert!(format!("{:#}", made(Some(" ")).unwrap_err()).contains("empty"));
        let servers: Vec<_> = made(Some("north")).unwrap().unwrap().ice_servers("ana").collect();
        assert!(matches!(&servers[..], [one] if format!("{one:?}").contains(":ana")), "{servers:?}");
        assert!(Elsewhere::new(Vec::new(), None, Duration::from_secs(60)).unwrap().is_none());
    }

    #[test]
    fn it_listens_where_clients_look_for_it() {
        let places = |asked: &[&str], listening: &str, tls: &[&str]| {
            let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
            let places = places(read(asked), listening.parse().unwrap(), &read(tls));
            places.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(places(&[], "127.0.0.1", &[]), "127.0.0.1:3478");
        assert_eq!(places(&[], "::", &[]), "[::]:3478 0.0.0.0:3478");
        assert_eq!(places(&[], "203.0.113.7", &["203.0.113.8:443"]), "203.0.113.7:3478 203.0.113.8:3478");
        assert_eq!(places(&[], "203.0.113.7", &["0.0.0.0:443"]), "0.0.0.0:3478");
        assert_eq!(places(&[], "0.0.0.0", &["203.0.113.8:443"]), "0.0.0.0:3478");
        assert_eq!(places(&["203.0.113.7:1"], "0.0.0.0", &["203.0.113.8:443"]), "203.0.113.7:1");
        assert_eq!(places(&["[::]:5"], "0.0.0.0", &[]), "[::]:5 0.0.0.0:5");
        assert_eq!(places(&["[::]:5", "10.0.0.1:5"], "0.0.0.0", &[]), "[::]:5 10.0.0.1:5");
    }
}
