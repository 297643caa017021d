//! Clients on TCP and TLS.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    limits::{Limits, network},
    server::{Server, lock},
    session::{Session, Way},
    stats::{PerTransport, Transport},
    tally::Tally,
    udp,
};

/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may stay that has no allocation.
const IDLE: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what is sent to it.
const STUCK: Duration = Duration::from_secs(30);
/// What is read or written at once.
const CHUNK: usize = 16 << 10;
/// After the system has refused a connection, because there are too many.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections there are.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// No more are taken.
    ended: bool,
    open: HashMap<u64, Open>,
    addresses: Tally<IpAddr>,
    counts: PerTransport<usize>,
}

#[derive(Debug)]
struct Open {
    address: IpAddr,
    transport: Transport,
    session: Option<Arc<Session>>,
    task: Option<AbortHandle>,
}

impl Streams {
    pub(crate) fn counts(&self) -> PerTransport<usize> {
        lock(&self.0).counts
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.0).open.values().filter_map(|open| open.session.clone()).collect()
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        let mut table = lock(&self.0);
        table.ended = true;
        for open in table.open.values() {
            open.task.iter().for_each(AbortHandle::abort);
        }
    }

    fn enter(&self, address: IpAddr, transport: Transport, limits: &Limits) -> Option<u64> {
        let mut table = lock(&self.0);
        let is_full = table.open.len() >= limits.connections;
        if is_full || table.addresses.count(&address) >= limits.connections_per_address {
            return None;
        }
        table.addresses.add(address, || ());
        *table.counts.of_mut(transport) += 1;
        table.next += 1;
        let id = table.next;
        table.open.insert(id, Open { address, transport, session: None, task: None });
        Some(id)
    }

    fn started(&self, id: u64, task: AbortHandle) {
        let mut table = lock(&self.0);
        if table.ended {
            task.abort();
        } else if let Some(open) = table.open.get_mut(&id) {
            open.task = Some(task);
        }
    }

    fn speaks(&self, id: u64, session: &Arc<Session>) {
        if let Some(open) = lock(&self.0).open.get_mut(&id) {
            open.session = Some(session.clone());
        }
    }

    fn leave(&self, id: u64) -> Option<Arc<Session>> {
        let mut table = lock(&self.0);
        let Open { address, transport, session, .. } = table.open.remove(&id)?;
        table.addresses.remove(&address);
        *table.counts.of_mut(transport) -= 1;
        session
    }
}

/// A connection as long as it lives; however it ends, so does its client.
pub(crate) struct Connection {
    server: Arc<Server>,
    id: u64,
    transport: Transport,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(session) = self.server.streams.leave(self.id) {
            session.end(&self.server);
        }
    }
}

pub(crate) async fn serve(server: Arc<Server>, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    let transport = if acceptor.is_some() { Transport::Tls } else { Transport::Tcp };
    loop {
        let Ok((stream, address)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let acceptor = acceptor.clone();
        take(&server, address, transport, |connection| connect(connection, stream, address, acceptor));
    }
}

/// Serves a client in a task of its own, if there is room for it.
pub(crate) fn take<F>(
    server: &Arc<Server>,
    address: SocketAddr,
    transport: Transport,
    serve: impl FnOnce(Connection) -> F,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let Some(id) = server.streams.enter(network(address.ip()), transport, &server.common.limits) else {
        tracing::debug!(client = %address, "too many connections");
        return;
    };
    let served = serve(Connection { server: server.clone(), id, transport });
    let task = tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::debug!(client = %address, %error, "a connection ended");
        }
    });
    server.streams.started(id, task.abort_handle());
}

async fn connect(
    connection: Connection,
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    // Below TLS, where each message has a record of its own: there are clients that look for one only in each.
    let stream = BufWriter::with_capacity(CHUNK, stream);
    match acceptor {
        None => speak(connection, stream, address).await,
        Some(acceptor) => {
            let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
            speak(connection, stream, address).await
        }
    }
}

/// Serves a client until either side ends it.
pub(crate) async fn speak(
    connection: Connection,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
) -> io::Result<()> {
    let Connection { server, id, transport } = &connection;
    let (sender, mut queue) = mpsc::unbounded_channel();
    let session = Arc::new(Session::new(address, *transport, Way::Stream(sender)));
    server.streams.speaks(*id, &session);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let read = async {
        let mut buffer = Vec::with_capacity(CHUNK);
        let mut idle_since = Instant::now();
        loop {
            if session.is_allocated() {
                idle_since = Instant::now();
            } else if idle_since.elapsed() >= IDLE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let length = match timeout(IDLE, reader.read_buf(&mut buffer)).await {
                Ok(length) => length?,
                // It is looked at again whether there is an allocation.
                Err(_) => continue,
            };
            if length == 0 {
                return Ok(());
            }
            let taken = udp::with_outbox(server, |outbox, now| {
                let mut taken = 0;
                while let Some(length) = frame(&buffer[taken..])? {
                    session.handle(&buffer[taken..taken + length], server, outbox, now);
                    taken += length;
                }
                io::Result::Ok(taken)
            })?;
            buffer.drain(..taken);
            buffer.reserve(CHUNK);
        }
    };
    let write = async {
        let stuck = |_| io::Error::from(io::ErrorKind::TimedOut);
        while let Some(message) = queue.recv().await {
            let written = timeout(STUCK, writer.write_all(&message)).await;
            session.taken(message.len());
            written.map_err(stuck)??;
            if queue.is_empty() {
                timeout(STUCK, writer.flush()).await.map_err(stuck)??;
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
    }
}

/// The length of the message at the beginning, if all of it is there (RFC 8656 sections 5 and 12.5).
fn frame(buffer: &[u8]) -> io::Result<Option<usize>> {
    let Some(header) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let length = match header[0] >> 6 {
        0 => 20 + length,
        1 => (4 + length).next_multiple_of(4),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok((buffer.len() >= length).then_some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        assert_eq!(frame(&[0, 1, 0]).unwrap(), None);
        assert_eq!(frame(&[0, 1, 0, 0]).unwrap(), None);
        let mut binding = vec![0; 21];
        binding[1] = 1;
        assert_eq!(frame(&binding).unwrap(), Some(20));
        assert_eq!(frame(&[0x40, 0, 0, 1, 7]).unwrap(), None, "the padding is missing");
        assert_eq!(frame(&[0x40, 0, 0, 1, 7, 0, 0, 0, 0x40]).unwrap(), Some(8));
        assert!(frame(b"GET / HTTP/1.1").is_ok_and(|length| length.is_none()), "as channel data it would be long");
        assert!(frame(&[0x80, 0, 0, 0]).is_err());
        assert!(frame(&[0x16 | 0xc0, 3, 1, 0]).is_err());
    }
}
