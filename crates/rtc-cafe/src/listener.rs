//! Accepts connections, with TLS or without, and serves HTTP/1.1 on them; those that speak TURN in TLS go to the relay.

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rtc_cafe_signaller::Quiet;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::doors::Doors;
use self::patient::Patient;
use crate::serve::Turn;

mod doors;
mod patient;

/// How long a client may take for the head of a request, and a connection may be idle.
const REQUEST_HEAD: Duration = Duration::from_secs(30);
/// How long a client may take for the handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long nothing of an answer may get away because its client does not read.
const STALLED: Duration = Duration::from_secs(60);
/// Until it is tried again when the system has no more sockets to give.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// What a connection with TLS gets.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// Serves those who speak TURN and not HTTP.
    pub(crate) relay: Option<Turn>,
}

/// A running server.
pub(crate) struct Serving {
    stop: watch::Sender<()>,
}

impl Serving {
    pub(crate) fn start(listener: TcpListener, app: Router, tls: Option<Tls>, doors: Doors) -> Self {
        Self::with(listener, app, tls, doors, STALLED)
    }

    fn with(listener: TcpListener, app: Router, tls: Option<Tls>, doors: Doors, stalled: Duration) -> Self {
        let (stop, stopped) = watch::channel(());
        tokio::spawn(accept(listener, app, tls, doors, stalled, stopped));
        Self { stop }
    }

    /// Takes no new connections, and waits for the requests that are open.
    pub(crate) async fn shutdown(self) {
        // Without anybody to hear it, there is nothing to wait for.
        let _ = self.stop.send(());
        self.stop.closed().await;
    }
}

async fn accept(
    listener: TcpListener,
    app: Router,
    tls: Option<Tls>,
    doors: Doors,
    stalled: Duration,
    mut stopped: watch::Receiver<()>,
) {
    let failing = Quiet::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let Some(inside) = doors.enter(from.ip()) else {
                    tracing::debug!(address = %from.ip(), "closed a connection of an address that has too many");
                    continue;
                };
                let (app, tls, stopped) = (app.clone(), tls.clone(), stopped.clone());
                drop(tokio::spawn(async move {
                    shake_hands(stream, from, app, tls, stalled, stopped).await;
                    drop(inside);
                }));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // It lasts, as a rule, and a full log would make it worse.
                if failing.is_over() {
                    tracing::error!(%error, "cannot accept connections");
                }
                sleep(OUT_OF_SOCKETS).await;
            }
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    from: SocketAddr,
    app: Router,
    tls: Option<Tls>,
    stalled: Duration,
    mut stopped: watch::Receiver<()>,
) {
    // Signals are small and many: with Nagle's algorithm each would wait for the acknowledgement of the last.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let stream = Patient::new(stream, stalled);
    let Some(Tls { acceptor, relay }) = tls else { return serve(stream, from, app, stopped).await };
    let begun = async {
        let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
        // With room for one byte nothing else goes through it.
        let mut stream = BufReader::with_capacity(1, stream);
        let is_turn = timeout(REQUEST_HEAD, stream.fill_buf()).await??.first().is_some_and(is_stun);
        io::Result::Ok((stream, is_turn))
    };
    let begun = tokio::select! {
        begun = begun => begun,
        _ = stopped.changed() => return,
    };
    match (begun, relay) {
        (Ok((stream, false)), _) => serve(stream, from, app, stopped).await,
        (Ok((stream, true)), Some(relay)) => relay.serve_tls(stream, from),
        (Ok((_, true)), None) => tracing::debug!("closed a connection of TURN: there is no relay"),
        (Err(error), _) => tracing::debug!(%error, "a connection ended before its first request"),
    }
}

/// Whether this begins a message of STUN, as all that clients of TURN send first, and no request of HTTP: types of requests are
/// below 0x0200 (RFC 8489 section 5).
const fn is_stun(first: &u8) -> bool {
    *first < 2
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    from: SocketAddr,
    app: Router,
    mut stopped: watch::Receiver<()>,
) {
    // Whose connection it is, for limits, admission and operators.
    let app = TowerToHyperService::new(app);
    let app = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        app.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD)
        .serve_connection(TokioIo::new(stream), app)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    async fn serving(most: usize) -> (Serving, SocketAddr, Doors) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(async || "x".repeat(1_000_000)));
        let doors = Doors::with(most, Some);
        (Serving::with(listener, app, None, doors.clone(), Duration::from_millis(500)), address, doors)
    }

    #[tokio::test]
    async fn who_asks_for_pages_and_does_not_read_them_is_cut() {
        let (_serving, address, doors) = serving(1).await;
        let mut greedy = TcpStream::connect(address).await.unwrap();
        greedy.write_all(&REQUEST.repeat(100)).await.unwrap();
        // Its place is free when it is cut, and not before.
        timeout(Duration::from_secs(30), async {
            while doors.enter(address.ip()).is_some() {
                sleep(Duration::from_millis(1)).await;
            }
            while doors.enter(address.ip()).is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("it is cut");
    }

    #[tokio::test]
    async fn connections_beyond_those_of_an_address_are_closed() {
        let (_serving, address, doors) = serving(2).await;
        let mut inside = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(REQUEST).await.unwrap();
            stream.read_exact(&mut [0; 8]).await.unwrap();
            inside.push(stream);
        }
        let mut third = TcpStream::connect(address).await.unwrap();
        let closed = timeout(Duration::from_secs(30), third.read(&mut [0; 8])).await.expect("it is closed at once");
        assert!(matches!(closed, Ok(0) | Err(_)) && doors.refused() == 1);
    }
}
