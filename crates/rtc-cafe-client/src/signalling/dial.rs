//! Makes a websocket: finds the host, connects, speaks TLS where the URL says so, and asks for the upgrade.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::sleep,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, CertificateError, ClientConfig, pki_types::ServerName},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self,
        client::IntoClientRequest,
        handshake::client::Response,
        http::{Request, StatusCode, Uri, header},
        protocol::WebSocketConfig,
    },
};

use super::{
    config::Headers,
    problem::{SignallingProblem as Problem, excerpt},
    url::ServerUrl,
};
use crate::tls;

/// The read buffer is allocated for each connection; the default of 128 KiB would be most of a client's memory.
const READ_BUFFER: usize = 4 * 1024;
/// How much is gathered before a write.
const WRITE_BUFFER: usize = 8 * 1024;
/// Bytes of a message that are read: a payload, and what a server adds to it.
pub(super) const MAX_MESSAGE: usize = rtc_cafe_wire::limits::MAX_PAYLOAD + 4096;
/// How long an address is tried alone before the next one is tried beside it (RFC 8305 section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// What carries the websocket: TCP, or TLS on it.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

pub(super) type Socket = WebSocketStream<Box<dyn Transport>>;

/// What every attempt to connect needs to know.
pub(super) struct Dialler {
    pub(super) server: ServerUrl,
    /// The address of the websocket.
    pub(super) url: String,
    pub(super) headers: Headers,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Dialler {
    /// A websocket whose handshake is done. No redirection is followed.
    pub(super) async fn dial(&self) -> Result<Socket, Problem> {
        let request = self.request()?;
        let stream = self.stream().await?;
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        match client_async_with_config(request, stream, Some(limits)).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => Err(self.refused(&response)),
            Err(tungstenite::Error::Io(error)) => Err(self.unreachable(&error)),
            Err(error) => Err(self.no_websocket(&error)),
        }
    }

    /// Connects, with TLS where the URL says so.
    pub(super) async fn stream(&self) -> Result<Box<dyn Transport>, Problem> {
        let stream = self.tcp().await.map_err(|error| self.unreachable(&error))?;
        Ok(match self.server.is_secure() {
            true => Box::new(Box::pin(self.secure(stream)).await?),
            false => Box::new(stream),
        })
    }

    fn request(&self) -> Result<Request<()>, Problem> {
        let uri: Uri = self.url.parse().map_err(|error| self.no_websocket(&error))?;
        let mut request = uri.into_client_request().map_err(|error| self.no_websocket(&error))?;
        for (name, value) in self.headers.iter() {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }

    /// Tries the host's addresses in the resolver's order, the next one when one fails or takes long.
    async fn tcp(&self) -> io::Result<TcpStream> {
        let mut addresses = lookup_host((self.server.host(), self.server.port())).await?;
        let mut attempts = FuturesUnordered::new();
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        loop {
            let address = addresses.next();
            match address {
                Some(address) => attempts.push(TcpStream::connect(address)),
                None if attempts.is_empty() => return Err(failure),
                None => {}
            }
            tokio::select! {
                Some(attempt) = attempts.next() => match attempt {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        return Ok(stream);
                    }
                    Err(error) => failure = error,
                },
                () = sleep(NEXT_ADDRESS), if address.is_some() => {}
            }
        }
    }

    async fn secure(&self, stream: TcpStream) -> Result<impl Transport + use<>, Problem> {
        let config = tls::or_shared(self.tls.clone()).await.map_err(|error| self.tls_failed(error.to_string(), ""))?;
        let name = ServerName::try_from(self.server.host().to_owned());
        let name = name.map_err(|error| self.tls_failed(error.to_string(), "; the host needs a proper name"))?;
        let connecting = TlsConnector::from(config).connect(name, stream);
        connecting.await.map_err(|error| {
            let advice = error.get_ref().and_then(|inner| inner.downcast_ref()).map_or("", advice);
            self.tls_failed(error.to_string(), advice)
        })
    }

    pub(super) fn unreachable(&self, error: &io::Error) -> Problem {
        Problem::Unreachable { server: self.server.to_string(), reason: error.to_string() }
    }

    fn tls_failed(&self, reason: String, advice: &'static str) -> Problem {
        Problem::Tls { server: self.server.to_string(), reason, advice }
    }

    fn no_websocket(&self, error: &dyn std::error::Error) -> Problem {
        Problem::Handshake { url: self.url.clone(), reason: error.to_string() }
    }

    fn refused(&self, response: &Response) -> Problem {
        let status = response.status();
        let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let (detail, advice) = match location.filter(|_| status.is_redirection()) {
            Some(location) => (format!(" and redirects to {}", excerpt(location)), "; use the address it names"),
            None if body.trim().is_empty() => (String::new(), status_advice(status)),
            None => (format!(" ({})", excerpt(&body)), status_advice(status)),
        };
        Problem::Status { url: self.url.clone(), status: status.as_u16(), detail, advice }
    }
}

fn status_advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "; check the URL and the path, and whether the server accepts the Origin",
        401 | 403 | 407 => "; check the credentials in the headers, and whether the server accepts the Origin",
        429 | 502..=504 => "; the server is busy or about to start",
        _ => "; check the URL and the path",
    }
}

fn advice(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidMessage(_) => "; the server does not speak TLS there: try http:// or another port",
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "; if the certificate is your own, give it as a root"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "; renew the certificate, or set the clock",
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "; use the name that the certificate is for",
        _ => "",
    }
}
