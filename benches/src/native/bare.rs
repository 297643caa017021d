//! The floor: str0m with nothing around it but a UDP socket, set up as our client sets it up.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

use anyhow::Context;
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use str0m::{
    Candidate, Event, Input, Output, Rtc,
    channel::{ChannelConfig, ChannelId},
    config::DtlsCert,
    net::{Protocol, Receive},
};
use tokio::{net::UdpSocket, time::timeout_at};

/// As in our client.
const RECEIVE_BUFFER: usize = 2 << 20;
const CHANNEL_BYTES: usize = 2 << 20;
/// Writes between two looks at what has come.
const WRITES: usize = 16;

/// One end of a connection.
pub(super) struct Bare {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    channel: Option<ChannelId>,
    events: VecDeque<Event>,
    timeout: Instant,
    buffer: Box<[u8]>,
}

/// Makes a certificate, as there is one for each client.
pub(super) fn certificate() -> anyhow::Result<DtlsCert> {
    str0m::crypto::from_feature_flags().dtls_provider.generate_certificate().context("there is no cryptography")
}

/// A socket on loopback.
pub(super) fn socket() -> anyhow::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(SocketProtocol::UDP))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

/// Two ends that know each other's descriptions.
pub(super) fn pair(sockets: [UdpSocket; 2], certificates: [&DtlsCert; 2]) -> anyhow::Result<[Bare; 2]> {
    let [one, two] = sockets;
    let (mut one, mut two) = (Bare::new(one, certificates[0])?, Bare::new(two, certificates[1])?);
    let mut changes = one.rtc.sdp_api();
    one.channel = Some(changes.add_channel_with_config(channel_config()));
    let (offer, pending) = changes.apply().context("there is nothing to offer")?;
    one.drain_now()?;
    let answer = two.rtc.sdp_api().accept_offer(offer)?;
    two.drain_now()?;
    let mut changes = two.rtc.sdp_api();
    two.channel = Some(changes.add_channel_with_config(channel_config()));
    changes.apply();
    two.drain_now()?;
    one.rtc.sdp_api().accept_answer(pending, answer)?;
    one.drain_now()?;
    Ok([one, two])
}

fn channel_config() -> ChannelConfig {
    ChannelConfig { label: String::from("bench"), negotiated: Some(0), ..ChannelConfig::default() }
}

impl Bare {
    fn new(socket: UdpSocket, certificate: &DtlsCert) -> anyhow::Result<Self> {
        let now = Instant::now();
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_vp9(true)
            .enable_h264(true)
            .set_snap_enabled(true)
            .set_sctp_max_buffered_amount(CHANNEL_BYTES)
            .set_dtls_cert(certificate.clone())
            .build(now);
        let address = socket.local_addr()?;
        rtc.add_local_candidate(Candidate::host(address, "udp")?);
        let buffer = vec![0; 2048].into();
        Ok(Self { rtc, socket, address, channel: None, events: VecDeque::new(), timeout: now, buffer })
    }

    /// Does whatever is to be done until there is an event. Not cancel safe, but for what is sent.
    pub(super) async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            self.drain_now()?;
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if self.receive()? {
                continue;
            }
            let input = match timeout_at(self.timeout.into(), self.socket.readable()).await {
                Ok(ready) => {
                    ready?;
                    continue;
                }
                Err(_) => Input::Timeout(Instant::now()),
            };
            self.rtc.handle_input(input)?;
        }
    }

    /// Waits until the channel is open and there is a path.
    pub(super) async fn open(&mut self) -> anyhow::Result<()> {
        let (mut connected, mut open) = (false, false);
        while !(connected && open) {
            match self.next().await? {
                Event::Connected => connected = true,
                Event::ChannelOpen(..) => open = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends text for ever, the channel between the marks at which our client keeps it.
    pub(super) async fn send(&mut self, text: &str, low_water: usize) -> anyhow::Result<()> {
        let id = self.channel.context("there is no channel")?;
        self.rtc.channel(id).context("the channel is closed")?.set_buffered_amount_low_threshold(low_water);
        self.drain_now()?;
        loop {
            let mut writes = 0;
            while self.rtc.channel(id).context("the channel is closed")?.write(false, text.as_bytes())? {
                self.drain_now()?;
                writes += 1;
                if writes % WRITES == 0 {
                    while self.receive()? {
                        self.drain_now()?;
                    }
                    tokio::task::consume_budget().await;
                }
            }
            while !matches!(self.next().await?, Event::ChannelBufferedAmountLow(_)) {}
        }
    }

    /// Takes a datagram, if one is there.
    fn receive(&mut self) -> anyhow::Result<bool> {
        let Ok((len, source)) = self.socket.try_recv_from(&mut self.buffer) else { return Ok(false) };
        let receive = Receive::new(Protocol::Udp, source, self.address, &self.buffer[..len])?;
        self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
        Ok(true)
    }

    /// Takes out all that str0m has, as it demands after every change.
    fn drain_now(&mut self) -> anyhow::Result<()> {
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(transmit) => {
                    // What the socket does not take is lost, as on any network.
                    let _ = self.socket.try_send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(event) => self.events.push_back(event),
                Output::Timeout(at) => {
                    self.timeout = at;
                    return Ok(());
                }
            }
        }
    }
}
