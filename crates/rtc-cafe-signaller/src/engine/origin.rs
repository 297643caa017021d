//! Which web pages may connect.

use axum::http::{HeaderMap, Uri, header};

/// The web origins whose pages may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Origins {
    /// Those served under the host and port that the page's request itself names.
    #[default]
    Same,
    /// These, besides the server's own.
    Listed(Vec<String>),
    /// All.
    Any,
}

impl Origins {
    pub(crate) fn allow(&mut self, origin: &str) {
        let origin = origin.trim().trim_end_matches('/').to_ascii_lowercase();
        match self {
            Self::Any => {}
            _ if origin == "*" => *self = Self::Any,
            Self::Same => *self = Self::Listed(vec![origin]),
            Self::Listed(list) => list.push(origin),
        }
    }

    /// Whether the origin may connect with a request to `host`.
    fn accept(&self, origin: &str, host: Option<&str>) -> bool {
        let listed = match self {
            Self::Any => return true,
            Self::Same => false,
            Self::Listed(list) => {
                let origin = normal(origin);
                list.iter().any(|listed| normal(listed) == origin)
            }
        };
        listed || host.is_some_and(|host| is_same(origin, host))
    }

    /// The origin of a request, if it has one; refused if that may not connect.
    pub(crate) fn check<'a>(&self, headers: &'a HeaderMap, uri: &'a Uri) -> Result<Option<&'a str>, ()> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
        let origin = origin.to_str().map_err(drop)?;
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
        if self.accept(origin, host) { Ok(Some(origin)) } else { Err(()) }
    }
}

/// An origin in lower case and with its port.
fn normal(origin: &str) -> Option<(String, String, u16)> {
    let origin = origin.to_ascii_lowercase();
    let (scheme, rest) = origin.split_once("://")?;
    let default = match scheme {
        "https" | "wss" => 443,
        _ => 80,
    };
    let (host, port) = authority(rest, default)?;
    Some((scheme.to_owned(), host, port))
}

/// Whether the page comes from the host that its request names. The scheme is not compared: behind a proxy that ends
/// TLS the server cannot know its own.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((_, origin_host, port)) = normal(origin) else { return false };
    authority(&host.to_ascii_lowercase(), port_of_scheme(origin)) == Some((origin_host, port))
}

fn port_of_scheme(origin: &str) -> u16 {
    if origin.to_ascii_lowercase().starts_with("https:") { 443 } else { 80 }
}

fn authority(text: &str, default: u16) -> Option<(String, u16)> {
    match text.rsplit_once(':') {
        // The colon inside of an IPv6 address is none before a port.
        Some((host, port)) if !port.contains(']') => Some((host.to_owned(), port.parse().ok()?)),
        _ => (!text.is_empty()).then(|| (text.to_owned(), default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_pages_only() {
        let same = |origin, host| Origins::Same.accept(origin, Some(host));
        assert!(same("http://127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(same("https://cafe.example", "cafe.example"));
        assert!(same("https://cafe.example", "Cafe.Example:443"));
        assert!(same("http://cafe.example:80", "cafe.example"));
        assert!(same("http://[::1]:8080", "[::1]:8080"));
        assert!(same("https://[::1]", "[::1]"));
        for (origin, host) in [
            ("http://localhost:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8081", "127.0.0.1:8080"),
            ("https://evil.example", "cafe.example"),
            ("https://cafe.example", "cafe.example:80"),
            ("https://cafe.example.evil.example", "cafe.example"),
            ("null", "cafe.example"),
            ("", ""),
        ] {
            assert!(!same(origin, host), "{origin} at {host}");
        }
    }

    #[test]
    fn listed_ones_besides() {
        let mut origins = Origins::default();
        origins.allow("https://App.example/");
        assert!(origins.accept("https://app.example", Some("cafe.example")));
        assert!(origins.accept("https://app.example:443", Some("cafe.example")));
        assert!(origins.accept("http://cafe.example", Some("cafe.example")));
        assert!(!origins.accept("http://app.example", Some("cafe.example")));
        origins.allow("*");
        assert!(origins.accept("null", None));
    }
}
