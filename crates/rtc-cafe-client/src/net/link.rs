//! The connection to a TURN server: UDP, TCP or TLS, as messages in both directions (RFC 8656 section 3.1).

use std::{
    cell::Cell,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use stun_proto::types::TransportType;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use crate::tls;

use super::{
    allocation::padded,
    framing::Frames,
    ice_server::{Carrier, ServerUrl},
    resolve::resolve,
    udp::{Queue, poll_flush, socket},
};

/// How long a connection and its TLS handshake may take together.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much may wait for a connection. Datagrams beyond it are dropped, requests have a little more.
const QUEUE_BYTES: usize = 256 * 1024;
const REQUEST_BYTES: usize = 320 * 1024;
const READ_BYTES: usize = 16 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to a TURN server.
pub(super) struct Link {
    local: SocketAddr,
    server: SocketAddr,
    carrier: LinkCarrier,
}

enum LinkCarrier {
    /// Connected, so that the kernel drops what others send, and tells what ICMP says.
    Udp {
        socket: UdpSocket,
        queue: Queue<()>,
        refused: Cell<bool>,
    },
    Stream {
        stream: Box<dyn Stream>,
        frames: Frames,
        read: Box<[u8]>,
        queue: Vec<u8>,
        written: usize,
        flushed: bool,
    },
}

/// A link, and how many addresses there are to be tried.
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) addresses: usize,
}

/// Connects to the server. Attempts go round its addresses where only later messages show whether one is alive.
pub(super) async fn connect(
    url: ServerUrl,
    attempt: usize,
    receive_buffer: usize,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Connected, String> {
    let servers = resolve(url.host.clone(), url.port).await?;
    let addresses = servers.len();
    let carrier = match url.service {
        super::ice_server::Service::Turn(carrier) => carrier,
        super::ice_server::Service::Stun => Carrier::Udp,
    };
    if carrier == Carrier::Udp {
        let server = servers[attempt % addresses];
        let link = udp(server, receive_buffer).await.map_err(|error| format!("no way there: {error}"))?;
        return Ok(Connected { link, addresses });
    }
    let connecting = timeout(PATIENCE, stream(&servers, carrier, &url.host, tls));
    let link = connecting.await.map_err(|_| "it does not answer".to_owned())??;
    Ok(Connected { link, addresses: 1 })
}

async fn udp(server: SocketAddr, receive_buffer: usize) -> io::Result<Link> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = socket(SocketAddr::new(any, 0), receive_buffer)?;
    socket.connect(server).await?;
    let local = socket.local_addr()?;
    Ok(Link { local, server, carrier: LinkCarrier::Udp { socket, queue: Queue::new(), refused: Cell::default() } })
}

async fn stream(
    servers: &[SocketAddr],
    carrier: Carrier,
    host: &str,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Link, String> {
    let stream = TcpStream::connect(servers).await.map_err(|error| format!("it cannot be connected to: {error}"))?;
    let addresses = || Ok::<_, io::Error>((stream.local_addr()?, stream.peer_addr()?));
    let (local, server) = addresses().map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    let stream: Box<dyn Stream> = if carrier == Carrier::Tls {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| "TLS cannot have such a name".to_owned())?;
        let tls = tls::or_shared(tls).await.map_err(|error| error.to_string())?;
        let handshake = TlsConnector::from(tls).connect(name, stream);
        Box::new(handshake.await.map_err(|error| format!("TLS failed: {error}"))?)
    } else {
        Box::new(stream)
    };
    let carrier = LinkCarrier::Stream {
        stream,
        frames: Frames::default(),
        read: vec![0; READ_BYTES].into(),
        queue: Vec::new(),
        written: 0,
        flushed: true,
    };
    Ok(Link { local, server, carrier })
}

impl Link {
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) fn transport(&self) -> TransportType {
        match self.carrier {
            LinkCarrier::Udp { .. } => TransportType::Udp,
            LinkCarrier::Stream { .. } => TransportType::Tcp,
        }
    }

    /// Sends a message, or queues it, or drops it when too much waits. What carries a datagram goes first.
    pub(super) fn send(&mut self, frame: &mut Vec<u8>, is_request: bool) {
        match &mut self.carrier {
            LinkCarrier::Udp { socket, queue, refused } => {
                queue.send((), frame, |data, ()| try_send(socket, refused, data));
            }
            LinkCarrier::Stream { queue, written, flushed, .. } => {
                let most = if is_request { REQUEST_BYTES } else { QUEUE_BYTES };
                padded(frame);
                if queue.len() - *written + frame.len() <= most {
                    queue.extend_from_slice(frame);
                    *flushed = false;
                }
            }
        }
    }

    /// Writes what waits. An error is the end of a stream.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match &mut self.carrier {
            LinkCarrier::Udp { socket, queue, refused } => {
                poll_flush(socket, queue, |data, ()| try_send(socket, refused, data), cx);
                Ok(())
            }
            LinkCarrier::Stream { stream, queue, written, flushed, .. } => {
                if *flushed {
                    return Ok(());
                }
                match poll_write(Pin::new(stream), queue, written, cx) {
                    Poll::Ready(Ok(())) => {
                        *flushed = true;
                        Ok(())
                    }
                    Poll::Ready(Err(error)) => Err(error),
                    Poll::Pending => Ok(()),
                }
            }
        }
    }

    /// Whether ICMP said since the last call that nobody listens.
    pub(super) fn take_refused(&mut self) -> bool {
        match &self.carrier {
            LinkCarrier::Udp { socket, refused, .. } => {
                // An error does not make a socket readable, so it has to be asked for.
                refused.take() | socket.take_error().ok().flatten().is_some_and(|error| is_refusal(&error))
            }
            LinkCarrier::Stream { .. } => false,
        }
    }

    /// The next message of the server, written to the buffer. An error of UDP is not its end.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            LinkCarrier::Udp { socket, refused, .. } => {
                let mut buffer = ReadBuf::new(buffer);
                let received = ready!(socket.poll_recv(cx, &mut buffer));
                received.inspect_err(|error| refused.set(refused.get() || is_refusal(error)))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
            LinkCarrier::Stream { stream, frames, read, .. } => loop {
                let broken = |_| io::Error::new(io::ErrorKind::InvalidData, "it speaks something else than TURN");
                if let Some(frame) = frames.next().map_err(broken)? {
                    // A message of the largest size exceeds a datagram; nothing that we want is so large.
                    let Some(room) = buffer.get_mut(..frame.len()) else { continue };
                    room.copy_from_slice(frame);
                    return Poll::Ready(Ok(frame.len()));
                }
                let mut chunk = ReadBuf::new(read);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut chunk))?;
                if chunk.filled().is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                frames.push(chunk.filled());
            },
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// An answer of ICMP to the datagram before is told by the call that sends the next one, which then is not sent.
fn try_send(socket: &UdpSocket, refused: &Cell<bool>, data: &[u8]) -> io::Result<usize> {
    socket.try_send(data).or_else(|error| {
        if !is_refusal(&error) {
            return Err(error);
        }
        refused.set(true);
        socket.try_send(data)
    })
}

fn poll_write(
    mut stream: Pin<&mut Box<dyn Stream>>,
    queue: &mut Vec<u8>,
    written: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while *written < queue.len() {
        match stream.as_mut().poll_write(cx, &queue[*written..]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(n)) => *written += n,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                // What went out makes room before the queue would grow.
                if *written >= READ_BYTES {
                    queue.drain(..*written);
                    *written = 0;
                }
                return Poll::Pending;
            }
        }
    }
    queue.clear();
    queue.shrink_to(READ_BYTES);
    *written = 0;
    stream.as_mut().poll_flush(cx)
}
