//! What a client says about its signalling server.

use std::{fmt, sync::Arc, time::Duration};

use rtc_cafe_core::ApiVersion;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{backoff::BackoffConfig, url::ServerUrl};

/// Changes the payload (JSON) of every signal before it is sent, by the signal's name; what it returns has to be JSON.
/// What comes in is not changed.
pub(crate) type SignalModifier = Box<dyn Fn(&str, String) -> String + Send>;

/// How to reach the signalling server, and as whom.
pub(crate) struct SignallingConfig {
    /// The server.
    pub(crate) url: ServerUrl,
    /// The path of Socket.IO, below that of the URL. Default: `/socket.io/`.
    pub(crate) path: String,
    /// The newest version to speak; it decides the namespace. Default: [`ApiVersion::LATEST`].
    pub(crate) api_version: ApiVersion,
    /// Headers of the websocket's handshake, such as `Origin`, `Authorization` or `Cookie`. Default: none.
    pub(crate) headers: Headers,
    /// Credentials for the namespace: a JSON object that goes with CONNECT. Default: none.
    pub(crate) auth: Option<String>,
    /// Changes what is sent. Default: nothing does.
    pub(crate) modifier: Option<SignalModifier>,
    /// Whom TLS trusts. Default: the roots of the operating system, which are read when they are needed.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// How long to wait between attempts.
    pub(crate) backoff: BackoffConfig,
    /// How long an attempt may take, from the host's name to the namespace. Default: 20 seconds.
    pub(crate) connect_timeout: Duration,
    /// For the randomness in the waits. Default: 0; give each client another one.
    pub(crate) seed: u64,
}

impl SignallingConfig {
    /// The defaults, for this server.
    pub(crate) fn new(url: ServerUrl) -> Self {
        Self {
            url,
            path: "/socket.io/".into(),
            api_version: ApiVersion::LATEST,
            headers: Headers::default(),
            auth: None,
            modifier: None,
            tls: None,
            backoff: BackoffConfig::default(),
            connect_timeout: Duration::from_secs(20),
            seed: 0,
        }
    }
}

impl fmt::Debug for SignallingConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignallingConfig")
            .field("url", &self.url)
            .field("path", &self.path)
            .field("api_version", &self.api_version)
            .field("headers", &self.headers)
            .field("backoff", &self.backoff)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// Headers that go with the websocket's handshake. Their values are not shown by `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Headers(HeaderMap);

/// Why a header cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name or the value has characters that a header cannot have (RFC 9110 section 5).
    #[error("the header \"{0}\" has characters that cannot be sent")]
    Invalid(String),
    /// The websocket's handshake sets it itself.
    #[error("the header \"{0}\" belongs to the websocket's handshake")]
    Reserved(String),
}

impl Headers {
    /// Adds a header; a name may be added more than once.
    pub(crate) fn add(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        let invalid = || HeaderError::Invalid(name.into());
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        let of_handshake = [header::HOST, header::CONNECTION, header::UPGRADE].contains(&header);
        if of_handshake || header.as_str().starts_with("sec-websocket-") {
            return Err(HeaderError::Reserved(name.into()));
        }
        value.set_sensitive(true);
        // It fails where there are tens of thousands.
        self.0.try_append(header, value).map_err(|_| invalid())?;
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_checked_and_kept_secret() {
        let mut headers = Headers::default();
        headers.add("Authorization", "Bearer hunter2").unwrap();
        assert_eq!(headers.add("a b", "1"), Err(HeaderError::Invalid("a b".into())));
        assert_eq!(headers.add("cookie", "a\r\nb: c"), Err(HeaderError::Invalid("cookie".into())));
        for name in ["Host", "upgrade", "Connection", "Sec-WebSocket-Key"] {
            assert_eq!(headers.add(name, "1"), Err(HeaderError::Reserved(name.into())));
        }
        let mut config = SignallingConfig::new("http://a".parse().unwrap());
        (config.headers, config.auth) = (headers, Some("{\"token\":\"hunter2\"}".into()));
        let shown = format!("{config:?}");
        assert!(shown.contains("authorization") && !shown.contains("hunter2"), "{shown}");
    }
}
