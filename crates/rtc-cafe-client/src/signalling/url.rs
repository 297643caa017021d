//! Where the signalling server is.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use tokio_tungstenite::tungstenite::http::Uri;

/// The address of a signalling server: `http`, `https`, `ws` or `wss`, a host, a port, and the path under which the
/// signaller is nested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    secure: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// Without a slash at its end.
    prefix: String,
}

/// Why a text is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseUrlError {
    /// Not a URL at all.
    #[error("not a URL: {0}; write for example https://example.org or http://127.0.0.1:8080")]
    Syntax(String),
    /// No scheme, or one that is not spoken.
    #[error("the URL has to begin with http://, https://, ws:// or wss://")]
    Scheme,
    /// A user or a password, which would end up in logs.
    #[error("the URL contains credentials; give them in a header instead")]
    Credentials,
    /// A query or a fragment.
    #[error("the URL must end with its path: the signaller takes neither a query nor a fragment")]
    Query,
}

impl FromStr for ServerUrl {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseUrlError> {
        let text = text.trim();
        if text.contains('#') {
            return Err(ParseUrlError::Query);
        }
        let Some((scheme, _)) = text.split_once("://") else { return Err(ParseUrlError::Scheme) };
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(ParseUrlError::Scheme),
        };
        let uri: Uri = text.parse().map_err(|error| ParseUrlError::Syntax(format!("{error}")))?;
        let authority = uri.authority().ok_or_else(|| ParseUrlError::Syntax("it has no host".into()))?;
        if authority.as_str().contains('@') {
            return Err(ParseUrlError::Credentials);
        }
        if uri.query().is_some() {
            return Err(ParseUrlError::Query);
        }
        let host = host(authority.host()).ok_or_else(|| ParseUrlError::Syntax("its host is not valid".into()))?;
        let written = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = match written.strip_prefix(':') {
            Some(digits) if !digits.is_empty() => digits.parse().ok().filter(|&port| port > 0),
            _ => Some(if secure { 443 } else { 80 }),
        };
        let port = port.ok_or_else(|| ParseUrlError::Syntax("its port is not a number from 1 to 65535".into()))?;
        Ok(Self { secure, host: host.into(), port, prefix: uri.path().trim_end_matches('/').into() })
    }
}

/// A name, or an address without its brackets.
fn host(written: &str) -> Option<&str> {
    match written.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            Some(written).filter(|name| !name.is_empty() && name.chars().all(fits))
        }
    }
}

impl ServerUrl {
    /// Whether TLS is spoken.
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host's name or address, an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port; where none is written, that of the scheme.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Where the Socket.IO server listens that has this path (`/socket.io/`) within the signaller.
    /// The path of something that the server has beside Socket.IO.
    pub(super) fn beside(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    pub(super) fn websocket(&self, path: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        let path = path.trim_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        format!("{scheme}://{}{}/{path}{slash}?EIO=4&transport=websocket", self.authority(), self.prefix)
    }

    /// Host and port, as HTTP's `Host` has them.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.secure, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses() {
        for (text, shown, websocket) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "ws://127.0.0.1:8080/socket.io/"),
            ("https://example.org/", "https://example.org", "wss://example.org/socket.io/"),
            ("WSS://example.org:443/cafe/", "https://example.org/cafe", "wss://example.org/cafe/socket.io/"),
            ("ws://[::1]:9/a/b", "http://[::1]:9/a/b", "ws://[::1]:9/a/b/socket.io/"),
            (" http://example.org: ", "http://example.org", "ws://example.org/socket.io/"),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.websocket("/socket.io/"), format!("{websocket}?EIO=4&transport=websocket"));
        }
        let url: ServerUrl = "ws://[::1]:9".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.is_secure()), ("::1", 9, false));
        assert_eq!(url.websocket("/"), "ws://[::1]:9/?EIO=4&transport=websocket");
    }

    #[test]
    fn what_is_no_address() {
        let error = |text: &str| text.parse::<ServerUrl>().unwrap_err();
        assert_eq!(error("example.org"), ParseUrlError::Scheme);
        assert_eq!(error("ftp://example.org"), ParseUrlError::Scheme);
        assert_eq!(error("https://me:secret@example.org"), ParseUrlError::Credentials);
        assert_eq!(error("https://example.org?a=b"), ParseUrlError::Query);
        assert_eq!(error("https://example.org/#a"), ParseUrlError::Query);
        for text in [
            "http://[%]",
            "http://a%20b",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:65536",
            "http://a b",
            "http://a:b",
            "http://[::1",
        ] {
            assert!(matches!(error(text), ParseUrlError::Syntax(_)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "(https?|ws)://[a-z0-9@:\\[\\]/?#. %-]{0,20}") {
            if let Ok(url) = text.parse::<ServerUrl>() {
                prop_assert_eq!(url.to_string().parse::<ServerUrl>().unwrap(), url);
            }
        }
    }
}
