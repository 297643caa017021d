//! A server on every transport, and a client that speaks to it as any stranger could.
#![allow(dead_code, clippy::unwrap_used, reason = "a test, which takes some of it")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rtc_cafe_turn::{Builder, Credentials, Secret, TlsAcceptor, TurnServer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};
use turn_types::{
    AddressFamily,
    attribute::{AdditionalAddressFamily, Data, RequestedTransport, XorPeerAddress, XorRelayedAddress},
    message::{ALLOCATE, SEND},
    stun::{
        attribute::{ErrorCode, Nonce, Realm, Username},
        message::{
            IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageWrite, MessageWriteExt, MessageWriteVec, Method,
        },
        prelude::AttributeWrite,
    },
};

pub(crate) const SECRET: &str = "north";
pub(crate) const TRANSPORTS: [&str; 3] = ["udp", "tcp", "tls"];
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn secret() -> Secret {
    Secret::new(SECRET).unwrap()
}

/// Credentials that are good for an hour.
pub(crate) fn credentials(id: &str) -> Credentials {
    secret().mint(id, Duration::from_secs(3600), SystemTime::now())
}

/// What serves TLS, and the certificate that its clients trust.
pub(crate) fn acceptor() -> (TlsAcceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (TlsAcceptor::from(Arc::new(config)), made.cert.der().clone())
}

/// A server, and what its clients have to know.
pub(crate) struct Served {
    pub(crate) server: TurnServer,
    certificate: CertificateDer<'static>,
}

impl Served {
    /// One that listens on loopback by every transport, and relays both families where there is IPv6.
    pub(crate) async fn start(set_up: impl FnOnce(Builder) -> Builder) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (acceptor, certificate) = acceptor();
        let mut builder = TurnServer::builder(secret()).udp(any).tcp(any).tls(any, acceptor);
        if has_v6() {
            builder = builder.udp("[::1]:0".parse().unwrap());
        }
        Self { server: set_up(builder).bind().await.unwrap(), certificate }
    }

    /// Somebody who has connected and not said anything.
    pub(crate) async fn connect(&self, transport: &str) -> Client {
        let way = match transport {
            "udp" => {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.connect(self.server.udp_addresses()[0]).await.unwrap();
                Way::Udp(socket)
            }
            "tcp" => Way::Stream(Box::new(tcp(self.server.tcp_addresses()[0]).await)),
            _ => {
                let mut trusted = RootCertStore::empty();
                trusted.add(self.certificate.clone()).unwrap();
                let config = ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth();
                let stream = tcp(self.server.tls_addresses()[0]).await;
                let connector = TlsConnector::from(Arc::new(config));
                Way::Stream(Box::new(connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()))
            }
        };
        Client { way, claim: None }
    }

    /// Somebody with an allocation, and its relayed addresses.
    pub(crate) async fn allocate(&self, transport: &str) -> (Client, Vec<SocketAddr>) {
        let mut client = self.connect(transport).await;
        let nonce = client.nonce().await;
        client.claim = Some(Claim::new(credentials("ana"), &nonce));
        let udp = RequestedTransport::new(RequestedTransport::UDP);
        let reply = client.request(ALLOCATE, &[&udp, &AdditionalAddressFamily::new(AddressFamily::IPV6)], &[]).await;
        let message = Message::from_bytes(&reply).unwrap();
        assert_eq!(code(&reply), 0, "{message}");
        let relays = message.iter_attributes().filter_map(|(_, raw)| XorRelayedAddress::try_from(&raw).ok());
        let relays = relays.map(|relay| relay.addr(message.transaction_id())).collect();
        (client, relays)
    }
}

pub(crate) fn has_v6() -> bool {
    std::net::UdpSocket::bind("[::1]:0").is_ok()
}

async fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

enum Way {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>),
}

/// Who somebody says to be.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) credentials: Credentials,
    pub(crate) realm: String,
    pub(crate) nonce: String,
}

impl Claim {
    pub(crate) fn new(credentials: Credentials, nonce: &str) -> Self {
        Self { credentials, realm: "rtc-cafe".into(), nonce: nonce.into() }
    }
}

pub(crate) struct Client {
    way: Way,
    pub(crate) claim: Option<Claim>,
}

impl Client {
    /// Sends something as it is.
    pub(crate) async fn send(&mut self, data: &[u8]) {
        match &mut self.way {
            Way::Udp(socket) => drop(socket.send(data).await.unwrap()),
            Way::Stream(stream) => stream.write_all(data).await.unwrap(),
        }
    }

    /// The next message or channel data.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        timeout(PATIENCE, self.way.receive()).await.expect("the server says something")
    }

    /// Asks for something about some peers; the answer.
    pub(crate) async fn request(
        &mut self,
        method: Method,
        attributes: &[&dyn AttributeWrite],
        peers: &[SocketAddr],
    ) -> Vec<u8> {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        for peer in peers {
            message.add_attribute(&XorPeerAddress::new(*peer, message.transaction_id())).unwrap();
        }
        attributes.iter().for_each(|attribute| message.add_attribute(*attribute).unwrap());
        if let Some(Claim { credentials: Credentials { username, password }, realm, nonce }) = &self.claim {
            message.add_attribute(&Username::new(username).unwrap()).unwrap();
            message.add_attribute(&Realm::new(realm).unwrap()).unwrap();
            message.add_attribute(&Nonce::new(nonce).unwrap()).unwrap();
            let key = LongTermKeyCredentials::new(username.clone(), password.clone(), realm.clone()).into();
            message.add_message_integrity(&key, IntegrityAlgorithm::Sha1).unwrap();
        }
        self.send(&message.finish()).await;
        self.receive().await
    }

    /// Asks for something; 0, or the code with which it was refused.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        attributes: &[&dyn AttributeWrite],
        peers: &[SocketAddr],
    ) -> u16 {
        code(&self.request(method, attributes, peers).await)
    }

    /// Has something sent to a peer.
    pub(crate) async fn send_to(&mut self, peer: SocketAddr, data: &[u8]) {
        let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
        message.add_attribute(&XorPeerAddress::new(peer, message.transaction_id())).unwrap();
        message.add_attribute(&Data::new(data)).unwrap();
        self.send(&message.finish()).await;
    }

    /// The nonce that the server gives to whoever has none.
    pub(crate) async fn nonce(&mut self) -> String {
        let claim = self.claim.take();
        let reply = self.request(ALLOCATE, &[], &[]).await;
        self.claim = claim;
        Message::from_bytes(&reply).unwrap().attribute::<Nonce>().unwrap().nonce().to_owned()
    }
}

impl Way {
    async fn receive(&mut self) -> Vec<u8> {
        match self {
            Self::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                let length = socket.recv(&mut buffer).await.unwrap();
                buffer.truncate(length);
                buffer
            }
            Self::Stream(stream) => {
                let mut data = vec![0; 4];
                stream.read_exact(&mut data).await.unwrap();
                let length = usize::from(u16::from_be_bytes([data[2], data[3]]));
                // Channel data is padded, and a message has a header of twenty bytes.
                let rest = if data[0] >> 6 == 1 { length.next_multiple_of(4) } else { length + 16 };
                data.resize(4 + rest, 0);
                stream.read_exact(&mut data[4..]).await.unwrap();
                data
            }
        }
    }
}

/// 0, or the code with which something was refused.
pub(crate) fn code(reply: &[u8]) -> u16 {
    let message = Message::from_bytes(reply).expect("an answer");
    match message.attribute::<ErrorCode>() {
        Ok(error) => error.code(),
        Err(_) => {
            assert!(message.is_response(), "{message}");
            0
        }
    }
}
