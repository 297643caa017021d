//! Which STUN and TURN servers there are: the entries of `RTCConfiguration.iceServers` and their URLs.

use std::{fmt, net::Ipv6Addr};

use serde::Deserialize;
use serde_json::Value;

/// No more URLs than this are used.
const MOST_URLS: usize = 32;

/// One entry of `iceServers`, as the W3C's [`RTCIceServer`] has it.
///
/// [`RTCIceServer`]: https://www.w3.org/TR/webrtc/#rtciceserver-dictionary
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct IceServer {
    /// `stun:`, `turn:` and `turns:` URLs (RFC 7064, RFC 7065). In JSON also a single string.
    #[serde(deserialize_with = "one_or_many")]
    pub urls: Vec<String>,
    /// The user of the TURN server.
    #[serde(default)]
    pub username: Option<String>,
    /// The password of the TURN server.
    #[serde(default)]
    pub credential: Option<String>,
}

impl IceServer {
    /// A server that wants no credentials.
    pub fn new(url: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], ..Self::default() }
    }

    /// Adds the user and the password that a TURN server asks for.
    #[must_use]
    pub fn with_credentials(mut self, username: impl Into<String>, credential: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self.credential = Some(credential.into());
        self
    }

    /// Reads a list of servers. Entries that cannot be read are left out; a single entry counts as a list, `null` as an
    /// empty one.
    ///
    /// URLs are not looked at here: one that cannot be used is told when it would be.
    ///
    /// # Errors
    /// When the text is no JSON.
    pub fn list_from_json(json: &str) -> Result<Vec<Self>, serde_json::Error> {
        let entries = match serde_json::from_str(json)? {
            Value::Array(entries) => entries,
            Value::Null => Vec::new(),
            single => vec![single],
        };
        let read = |entry| {
            serde_json::from_value(entry)
                // What serde says may quote a credential.
                .inspect_err(|_| tracing::warn!("an entry of iceServers cannot be read and is left out"))
                .ok()
        };
        Ok(entries.into_iter().take(MOST_URLS).filter_map(read).collect())
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Urls {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Urls::deserialize(deserializer)? {
        Urls::One(url) => vec![url],
        Urls::Many(urls) => urls,
    })
}

/// How a TURN server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Carrier {
    Udp,
    Tcp,
    Tls,
}

/// What a URL asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Service {
    Stun,
    Turn(Carrier),
}

/// A URL that can be used. It identifies the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ServerUrl {
    pub(super) service: Service,
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a URL cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum UrlError {
    #[error("not a stun:, turn: or turns: URL")]
    Scheme,
    #[error("STUN over TLS finds no addresses of UDP")]
    Stuns,
    #[error("no host, or one that cannot be read")]
    Host,
    #[error("the port is no number from 1 to 65535")]
    Port,
    #[error("the transport is neither udp nor tcp")]
    Transport,
    #[error("TURN over DTLS is not supported")]
    Dtls,
    #[error("username or credential is missing")]
    Credentials,
}

impl ServerUrl {
    /// Reads `scheme:host[:port][?transport=...]` (RFC 7064 section 3.1, RFC 7065 section 3.1).
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.trim().split_once(':').ok_or(UrlError::Scheme)?;
        let (address, query) = rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
        let service = match (scheme.to_ascii_lowercase().as_str(), transport(query)?) {
            ("stun", _) => Service::Stun,
            ("turn", Some(Carrier::Tcp)) => Service::Turn(Carrier::Tcp),
            ("turn", _) => Service::Turn(Carrier::Udp),
            ("turns", Some(Carrier::Udp)) => return Err(UrlError::Dtls),
            ("turns", _) => Service::Turn(Carrier::Tls),
            ("stuns", _) => return Err(UrlError::Stuns),
            _ => return Err(UrlError::Scheme),
        };
        let default = if service == Service::Turn(Carrier::Tls) { 5349 } else { 3478 };
        let (host, port) = host_and_port(address)?;
        Ok(Self { service, host, port: port.unwrap_or(default) })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, query) = match self.service {
            Service::Stun => ("stun", ""),
            Service::Turn(Carrier::Udp) => ("turn", ""),
            Service::Turn(Carrier::Tcp) => ("turn", "?transport=tcp"),
            Service::Turn(Carrier::Tls) => ("turns", ""),
        };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}:{open}{}{close}:{}{query}", self.host, self.port)
    }
}

fn transport(query: Option<&str>) -> Result<Option<Carrier>, UrlError> {
    let Some(query) = query else { return Ok(None) };
    match query.strip_prefix("transport=").map(str::to_ascii_lowercase).as_deref() {
        Some("udp") => Ok(Some(Carrier::Udp)),
        Some("tcp") => Ok(Some(Carrier::Tcp)),
        _ => Err(UrlError::Transport),
    }
}

fn host_and_port(address: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UrlError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| UrlError::Host)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(UrlError::Host),
        }
    } else {
        address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)))
    };
    let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':'));
    if host.is_empty() || host.len() > 253 || host.contains(odd) {
        return Err(UrlError::Host);
    }
    let port = match port.map(str::parse::<u16>) {
        Some(Err(_) | Ok(0)) => return Err(UrlError::Port),
        Some(Ok(port)) => Some(port),
        None => None,
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// A user and a password that appear in no log.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// A URL of the configuration and what became of it.
pub(super) type Listed = Result<(ServerUrl, Credentials), (String, UrlError)>;

/// Every URL of the servers once; the first one wins.
pub(super) fn listed(servers: &[IceServer]) -> Vec<Listed> {
    let mut listed: Vec<Listed> = Vec::new();
    let urls = servers.iter().flat_map(|server| server.urls.iter().map(move |url| (server, url)));
    for (server, url) in urls.take(MOST_URLS) {
        let entry = usable(server, url).map_err(|error| (url.chars().take(200).collect(), error));
        let same = |other: &Listed| match (other, &entry) {
            (Ok((other, _)), Ok((url, _))) => other == url,
            (Err(other), Err(error)) => other == error,
            _ => false,
        };
        if !listed.iter().any(same) {
            listed.push(entry);
        }
    }
    listed
}

/// What a URL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stun,
    /// A TURN server, over what.
    Turn(&'static str),
}

/// A URL as it is written in one form, what it is for, and a server of this URL only; or as it was given, and why it
/// cannot be used.
pub(crate) type Entry = Result<(String, Kind, IceServer), (String, String)>;

/// Every URL of the servers once.
pub(crate) fn kinds(servers: &[IceServer]) -> Vec<Entry> {
    let kind = |listed: Listed| match listed {
        Ok((url, Credentials { username, password })) => {
            let kind = match url.service {
                Service::Stun => Kind::Stun,
                Service::Turn(Carrier::Udp) => Kind::Turn("udp"),
                Service::Turn(Carrier::Tcp) => Kind::Turn("tcp"),
                Service::Turn(Carrier::Tls) => Kind::Turn("tls"),
            };
            let server = IceServer::new(url.to_string());
            let server = if kind == Kind::Stun { server } else { server.with_credentials(username, password) };
            Ok((url.to_string(), kind, server))
        }
        Err((url, error)) => Err((url, error.to_string())),
    };
    listed(servers).into_iter().map(kind).collect()
}

fn usable(server: &IceServer, url: &str) -> Result<(ServerUrl, Credentials), UrlError> {
    let url = ServerUrl::parse(url)?;
    if url.service == Service::Stun {
        return Ok((url, Credentials::default()));
    }
    // RFC 8489 bounds both well below this; longer ones could not be written.
    let fits = |text: &&String| !text.is_empty() && text.len() <= 508;
    let username = server.username.as_ref().filter(fits).ok_or(UrlError::Credentials)?.clone();
    let password = server.credential.as_ref().filter(fits).ok_or(UrlError::Credentials)?.clone();
    Ok((url, Credentials { username, password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<String, UrlError> {
        ServerUrl::parse(url).map(|url| url.to_string())
    }

    #[test]
    fn urls_are_read() {
        for (url, expected) in [
            ("stun:example.org", "stun:example.org:3478"),
            ("STUN:Example.org:19302", "stun:example.org:19302"),
            ("turn:10.0.0.1", "turn:10.0.0.1:3478"),
            ("turn:a?transport=udp", "turn:a:3478"),
            ("turn:a:80?transport=TCP", "turn:a:80?transport=tcp"),
            ("turns:a", "turns:a:5349"),
            ("turns:a:443?transport=tcp", "turns:a:443"),
            ("turn:[::1]:3479", "turn:[::1]:3479"),
            ("stun:[2001:db8::1]", "stun:[2001:db8::1]:3478"),
        ] {
            assert_eq!(parsed(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_with_the_reason() {
        for (url, expected) in [
            ("", UrlError::Scheme),
            ("example.org", UrlError::Scheme),
            ("http://example.org", UrlError::Scheme),
            ("stuns:example.org", UrlError::Stuns),
            ("stun:", UrlError::Host),
            ("stun:?transport=udp", UrlError::Host),
            ("stun://example.org", UrlError::Host),
            ("stun:[::1", UrlError::Host),
            ("stun:[nonsense]", UrlError::Host),
            ("stun:[::1]x", UrlError::Host),
            ("stun:a:0", UrlError::Port),
            ("stun:a:65536", UrlError::Port),
            ("stun:a:b:c", UrlError::Port),
            ("turn:a?transport=sctp", UrlError::Transport),
            ("turn:a?x=y", UrlError::Transport),
            ("turns:a?transport=udp", UrlError::Dtls),
        ] {
            assert_eq!(parsed(url), Err(expected), "{url}");
        }
    }

    #[test]
    fn lists_are_read_leniently() {
        let json = r#"[{"urls":"stun:a"}, {"urls":["turn:b","turns:c"],"username":"u","credential":"p","extra":1},
            {"url":"stun:old"}, 5, {"urls":7}]"#;
        let servers = IceServer::list_from_json(json).unwrap();
        let many = IceServer { urls: vec!["turn:b".into(), "turns:c".into()], ..IceServer::default() };
        assert_eq!(servers, [IceServer::new("stun:a"), many.with_credentials("u", "p")]);
        assert_eq!(IceServer::list_from_json("null").unwrap(), []);
        assert_eq!(IceServer::list_from_json(r#"{"urls":"stun:a"}"#).unwrap(), [IceServer::new("stun:a")]);
        assert!(IceServer::list_from_json("nonsense").is_err());
    }

    #[test]
    fn credentials_are_not_printed() {
        let server = IceServer::new("turn:a").with_credentials("somebody", "secret");
        let printed = format!("{server:?} {:?}", listed(std::slice::from_ref(&server)));
        assert!(!printed.contains("secret") && !printed.contains("somebody"), "{printed}");
    }

    #[test]
    fn each_url_is_used_once_and_turn_wants_credentials() {
        let servers = [
            IceServer::new("stun:a"),
            IceServer::new("stun:A:3478"),
            IceServer::new("turn:b"),
            IceServer::new("turn:c").with_credentials("u", "p"),
            IceServer::new("turn:c").with_credentials("v", "q"),
            IceServer::new("gopher:d"),
        ];
        let [Ok((a, _)), Err((b, missing)), Ok((c, credentials)), Err((_, scheme))] = &listed(&servers)[..] else {
            panic!("{:?}", listed(&servers));
        };
        assert_eq!((a.to_string().as_str(), c.to_string().as_str()), ("stun:a:3478", "turn:c:3478"));
        assert_eq!((b.as_str(), missing, scheme), ("turn:b", &UrlError::Credentials, &UrlError::Scheme));
        assert_eq!(credentials.username, "u");
    }

    #[test]
    fn there_is_a_most_of_urls() {
        let urls = (0..1000).map(|n| format!("stun:host{n}")).collect();
        assert_eq!(listed(&[IceServer { urls, ..IceServer::default() }]).len(), MOST_URLS);
    }
}
