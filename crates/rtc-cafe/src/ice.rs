//! Reads the ICE servers of the command line; browsers refuse whole configurations for one that is malformed.

use rtc_cafe_signaller::IceServer;

use crate::listed::{Listed, listed};

const FORMS: &str = "an ICE server is `stun:HOST[:PORT]` or `turn:USER:PASSWORD@HOST[:PORT][?transport=udp|tcp]`, \
    or the same with `stuns:` or `turns:`";

const WITHOUT: &str = "a TURN server needs credentials: `turn:USER:PASSWORD@HOST`";

/// One server, for whoever needs it in a form of its own.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its address, without credentials.
    pub(crate) url: String,
    /// User and password.
    pub(crate) credentials: Option<(String, String)>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}

impl From<Server> for IceServer {
    fn from(server: Server) -> Self {
        match server.credentials {
            Some((user, password)) => Self::new(server.url).credentials(user, password),
            None => Self::new(server.url),
        }
    }
}

impl Server {
    /// Whether it relays, and who uses it has yet to be given credentials.
    pub(crate) fn wants_credentials(&self) -> bool {
        self.url.starts_with("turn") && self.credentials.is_none()
    }
}

/// Reads one server of a list.
pub(crate) fn parse_listed(text: &str) -> Result<Listed<Server>, String> {
    listed(text, |text| match parse(text)? {
        server if server.wants_credentials() => Err(WITHOUT.to_owned()),
        server => Ok(server),
    })
}

/// The same, where credentials can be made.
pub(crate) fn parse_for_clients(text: &str) -> Result<Listed<Server>, String> {
    listed(text, parse)
}

/// Reads one server. User and password may have any character percent-encoded.
fn parse(text: &str) -> Result<Server, String> {
    let (scheme, rest) = text.trim().split_once(':').ok_or(FORMS)?;
    match scheme {
        "stun" | "stuns" => {
            check_address(rest)?;
            Ok(Server { url: format!("{scheme}:{rest}"), credentials: None })
        }
        "turn" | "turns" => {
            let (credentials, server) = rest.rsplit_once('@').map_or((None, rest), |(it, server)| (Some(it), server));
            let credentials = credentials.map(read_credentials).transpose()?;
            let (address, query) =
                server.split_once('?').map_or((server, None), |(address, query)| (address, Some(query)));
            if !matches!(query, None | Some("transport=udp" | "transport=tcp")) {
                return Err("behind the `?` of a TURN server stands `transport=udp` or `transport=tcp`".to_owned());
            }
            check_address(address)?;
            Ok(Server { url: format!("{scheme}:{server}"), credentials })
        }
        _ => Err(FORMS.to_owned()),
    }
}

fn read_credentials(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => Ok((decode(user)?, decode(password)?)),
        _ => Err(WITHOUT.to_owned()),
    }
}

fn check_address(text: &str) -> Result<(), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or("the `]` behind the IPv6 address is missing")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(format!("{host:?} is no IPv6 address"));
            }
            let port = tail.strip_prefix(':');
            if port.is_none() && !tail.is_empty() {
                return Err(FORMS.to_owned());
            }
            (None, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    if host.is_some_and(|host| !is_host(host)) {
        return Err(format!("{:?} is no host; {FORMS}", host.unwrap_or_default()));
    }
    match port {
        Some(port) if !is_port(port) => Err(format!("{port:?} is no port: there are 1 to 65535")),
        _ => Ok(()),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether it is an IPv4 address or a name of the DNS.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // What ends in a number can only be an address.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    match numeric {
        true => text.parse::<std::net::Ipv4Addr>().is_ok(),
        false => name.len() <= 253 && name.split('.').all(label),
    }
}

fn decode(text: &str) -> Result<String, String> {
    let bad = || "a `%` in user or password is followed by two hexadecimal digits, of UTF-8".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, tail)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        let digits = tail.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        bytes.push(u8::from_str_radix(digits.ok_or_else(bad)?, 16).map_err(|_| bad())?);
        rest = &tail[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_take() {
        for good in [
            "stun:stun.example.org",
            "stun:stun.example.org:3478",
            "stuns:192.0.2.1:5349",
            "stun:[2001:db8::1]:3478",
            " stun:localhost ",
        ] {
            let server = Server { url: good.trim().to_owned(), credentials: None };
            assert_eq!(parse(good), Ok(server), "{good}");
        }
        let turn = |url: &str, user: &str, password: &str| {
            Ok(Server { url: url.to_owned(), credentials: Some((user.to_owned(), password.to_owned())) })
        };
        let tcp = "turn:turn.example.org:3478?transport=tcp";
        assert_eq!(parse("turn:u:p:@%2C%c3%a4@turn.example.org:3478?transport=tcp"), turn(tcp, "u", "p:@,ä"));
        assert_eq!(parse("turns:u:p@[::1]"), turn("turns:[::1]", "u", "p"));
    }

    #[test]
    fn credentials_may_be_made_where_that_is_possible() {
        for url in ["turn:host", "turn:host:3478", "turns:host:443?transport=tcp"] {
            assert!(parse_listed(url).unwrap_err().contains("needs credentials"), "{url}");
            assert!(parse_for_clients(url).unwrap().unwrap().wants_credentials(), "{url}");
        }
        assert!(!parse_for_clients("stun:host").unwrap().unwrap().wants_credentials());
    }

    #[test]
    fn what_browsers_throw_at() {
        for bad in [
            "",
            "stun:",
            "stun.example.org",
            "http://stun.example.org",
            "stun:host:99999",
            "stun:host:0",
            "stun:host:+1",
            "stun:host:",
            "stun:host:1:2",
            "stun://host",
            "stun:host?transport=udp",
            "stun:u:p@host",
            "stun:256.1.1.1",
            "stun:a..b",
            "stun:-a",
            "stun:a b",
            "stun:[::1",
            "stun:[::1]x",
            "stun:[host]",
            "turn:u@host",
            "turn::p@host",
            "turn:u:@host",
            "turn:u:p@",
            "turn:u:p@host?transport=sctp",
            "turn:u:%zz@host",
            "turn:u:%ff@host",
            "turn:u:%+1@host",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
