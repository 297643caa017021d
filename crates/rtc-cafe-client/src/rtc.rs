//! One peer connection on str0m: does what the core says, and reports what comes of it. It has no sockets of its own.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rtc_cafe_core::{
    Command, ConnectionEvent, ConnectionState, TrackId,
    wire::{
        limits::MAX_TRACKS,
        peer::{CHANNEL_ID, CHANNEL_LABEL},
    },
};
use str0m::{
    Candidate, IceConnectionState, Input, Output as RtcOutput, Rtc, RtcError,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    channel::{ChannelConfig, ChannelId},
    media::Mid,
    net::{Protocol, Receive, Transmit},
    rtp::Ssrc,
};

use crate::media::{Codec, RtpPacket};

mod candidate;
#[cfg(test)]
mod conformance;
mod early;
mod moved;
mod sending;
mod settings;

use early::Early;
use moved::Moved;
use sending::{Outgoing, Sending};
pub(crate) use settings::{Settings, certificate};

/// How long a connection may be without a path before it has failed. That there is none takes str0m some 20 s to find
/// out, so this is near the 30 s after which consent has expired (RFC 7675 section 5.1).
const DISCONNECTED: Duration = Duration::from_secs(8);
/// The same where an address of ours has gone, so that waiting for the path is of little use.
const ADDRESS_LOST: Duration = Duration::from_secs(2);
/// The data channel, and the tracks that either side may have, now or before.
const MAX_M_LINES: usize = 1 + 4 * MAX_TRACKS;
/// Sources of packets that are remembered.
const MAX_SSRCS: usize = 256;
/// Events that may come of one step before the peer is taken to be hostile.
const MAX_STEPS: usize = 100_000;

/// What a connection wants done or told.
#[derive(Debug)]
pub(crate) enum Output {
    /// Send this datagram.
    Transmit(Transmit),
    /// Tell the core.
    Event(ConnectionEvent),
    /// A packet of a peer's track has come, on this m-line.
    Packet(String, Codec, RtpPacket),
    /// A track can be sent to the peer from now on.
    Ready(TrackId),
    /// The peer needs a keyframe of a track that is sent to it.
    KeyframeWanted(TrackId),
}

/// A peer connection with its one data channel, and an m-line for each track.
#[derive(Debug)]
pub(crate) struct Connection {
    rtc: Rtc,
    settings: Settings,
    candidates: Vec<Candidate>,
    channel: Option<ChannelId>,
    /// Whether there is a path, and DTLS on it.
    connected: bool,
    /// Whether str0m takes frames, which with SNAP is before there is a path.
    channel_up: bool,
    open: bool,
    pending: Option<SdpPendingOffer>,
    restart: bool,
    sending: Sending,
    /// By whose SSRC which m-line and codec come in.
    incoming: BTreeMap<Ssrc, Mid>,
    /// What the data channel did not take, in order.
    waiting: VecDeque<String>,
    outputs: VecDeque<Output>,
    early: Early,
    moved: Moved,
    timeout: Instant,
    /// When it has failed, if there is no path until then.
    fails_at: Option<Instant>,
    /// From which address the last datagram went out.
    source: Option<SocketAddr>,
    /// Whether that address is gone.
    address_lost: bool,
}

impl Connection {
    pub(crate) fn new(settings: &Settings, candidates: &[Candidate], now: Instant) -> Self {
        let mut connection = Self {
            rtc: settings.rtc(candidates, now),
            settings: settings.clone(),
            candidates: candidates.to_vec(),
            channel: None,
            connected: false,
            channel_up: false,
            open: false,
            pending: None,
            restart: false,
            sending: Sending::default(),
            incoming: BTreeMap::new(),
            waiting: VecDeque::new(),
            outputs: VecDeque::new(),
            early: Early::default(),
            moved: Moved::default(),
            timeout: now,
            fails_at: None,
            source: None,
            address_lost: false,
        };
        connection.drain(now);
        connection
    }

    /// Carries out a command. [`Command::Open`] is [`Connection::new`], and tracks are added by
    /// [`Connection::add_track`].
    pub(crate) fn execute(&mut self, command: Command, now: Instant) {
        let done = match command {
            Command::CreateOffer => self.create_offer(),
            Command::AcceptOffer(sdp) => self.accept_offer(&sdp, now),
            Command::AcceptAnswer(sdp) => self.accept_answer(&sdp),
            Command::AddCandidate(candidate) => {
                if let Some(candidate) = candidate.and_then(|candidate| candidate::read(&candidate)) {
                    self.moved.learn(candidate.clone());
                    self.rtc.add_remote_candidate(candidate);
                }
                Ok(())
            }
            Command::RemoveTrack(id) => {
                self.sending.remove(&id);
                Ok(())
            }
            Command::RestartIce => {
                self.restart = true;
                Ok(())
            }
            Command::Send(frame) => self.send(frame),
            Command::Close => self.rtc.close(),
            Command::Open | Command::AddTrack(_) => Ok(()),
        };
        if let Err(error) = done {
            self.fail(&error);
        }
        self.drain(now);
    }

    /// Sends a track from the next offer on.
    pub(crate) fn add_track(&mut self, id: TrackId, codec: Codec) {
        self.sending.add(id, codec);
    }

    /// Another address of ours was found.
    pub(crate) fn add_candidate(&mut self, candidate: &Candidate, now: Instant) {
        self.candidates.push(candidate.clone());
        if let Some(added) = self.rtc.add_local_candidate(candidate.clone()) {
            let found = ConnectionEvent::CandidateFound(Some(candidate::write(added)));
            self.outputs.push_back(Output::Event(found));
            self.drain(now);
        }
    }

    /// An address of ours is gone.
    pub(crate) fn remove_candidate(&mut self, candidate: &Candidate, now: Instant) {
        self.candidates.retain(|other| other != candidate);
        if self.source.is_some_and(|source| [candidate.addr(), candidate.local()].contains(&source)) {
            self.address_lost = true;
            self.fails_at = self.fails_at.map(|at| at.min(now + ADDRESS_LOST));
        }
        self.rtc.direct_api().invalidate_candidate(candidate);
        self.drain(now);
    }

    /// Whether a datagram is for this connection.
    pub(crate) fn accepts(&self, input: &Input<'_>) -> bool {
        self.rtc.accepts(input)
    }

    /// A datagram for this connection has come: from where, what, and the same as str0m takes it.
    pub(crate) fn handle_datagram(&mut self, remote: SocketAddr, data: &[u8], input: Input<'_>, now: Instant) {
        if let Some(gone) = self.moved.received(remote, data, now) {
            tracing::info!(address = %gone.addr(), "the peer sends from elsewhere; this address of it is given up");
            self.rtc.direct_api().invalidate_candidate(&gone);
            self.drain(now);
        }
        if let Err(error) = self.rtc.handle_input(input) {
            // A datagram can be anybody's, so what is wrong with it is no reason to end anything.
            tracing::debug!(%error, "a datagram was not taken");
        }
        self.drain(now);
    }

    /// Keeps a datagram that is for this connection and not accepted yet: see [`Early`].
    pub(crate) fn keep_early(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8]) {
        if !self.connected {
            self.early.keep(local, remote, data);
        }
    }

    /// The time that [`Connection::timeout`] named has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.timeout {
            if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                self.fail(&error);
            }
            self.drain(now);
        }
        if self.fails_at.is_some_and(|at| now >= at) {
            self.fails_at = None;
            self.report(ConnectionEvent::StateChanged(ConnectionState::Failed));
        }
    }

    /// When to call [`Connection::handle_timeout`].
    pub(crate) fn timeout(&self) -> Instant {
        self.fails_at.map_or(self.timeout, |at| self.timeout.min(at))
    }

    /// What to do next; to be called until it returns `None`.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Bytes of frames that the peer has not acknowledged yet.
    pub(crate) fn buffered(&mut self) -> usize {
        let waiting: usize = self.waiting.iter().map(String::len).sum();
        let channel = self.channel.filter(|_| self.open).and_then(|id| self.rtc.channel(id));
        channel.map_or(0, |mut channel| channel.buffered_amount()) + waiting
    }

    /// Whether there is still something to send after [`Command::Close`].
    pub(crate) fn is_alive(&self) -> bool {
        self.rtc.is_alive()
    }

    /// Whether a packet of this feed would be the first that the peer gets of it, and it can get it.
    pub(crate) fn begins(&mut self, id: &TrackId, feed: (u64, Codec)) -> bool {
        self.sending.begins(id, feed, &self.rtc)
    }

    /// Sends a packet of a track, if the peer gets it.
    pub(crate) fn write(&mut self, id: &TrackId, feed: (u64, Codec), packet: &RtpPacket, now: Instant) {
        let placed = self.sending.place(id, feed, packet, &self.rtc, now);
        let Some(Outgoing { mid, pt, sequence, timestamp }) = placed else { return };
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(mid, None) else { return };
        let rtp = str0m::rtp::RtpWrite::new(pt, sequence.into(), timestamp, now, &*packet.payload)
            .marker(packet.marker)
            .nackable(true);
        stream.write_rtp(rtp);
        self.drain(now);
    }

    /// Asks the peer for a keyframe on an m-line.
    pub(crate) fn request_keyframe(&mut self, mid: &str, now: Instant) {
        let mut direct = self.rtc.direct_api();
        if let Some(stream) = direct.stream_rx_by_mid(mid.into(), None) {
            stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
            self.drain(now);
        }
    }

    fn create_offer(&mut self) -> Result<(), RtcError> {
        let mut changes = self.rtc.sdp_api();
        if self.channel.is_none() {
            self.channel = Some(changes.add_channel_with_config(channel_config()));
        }
        if std::mem::take(&mut self.restart) {
            changes.ice_restart(true);
        }
        self.sending.offer(&mut changes);
        if !changes.has_changes() {
            // What was to change has been taken back, but an offer was promised; this one changes nothing else.
            changes.ice_restart(true);
        }
        let Some((offer, pending)) = changes.apply() else {
            return Err(RtcError::RemoteSdp("there is nothing to offer".into()));
        };
        self.pending = Some(pending);
        let mids = self.sending.mids();
        self.report(ConnectionEvent::OfferCreated { sdp: offer.to_sdp_string(), mids });
        Ok(())
    }

    fn accept_offer(&mut self, sdp: &str, now: Instant) -> Result<(), RtcError> {
        let offer = parse(sdp, SdpOffer::from_sdp_string)?;
        candidate::of(sdp).for_each(|candidate| self.moved.learn(candidate));
        // Whatever was offered ourselves is taken back. A first offer has reserved the channel, which nothing but
        // beginning anew sets free; nobody has seen anything of the connection yet.
        if self.pending.take().is_some() && !self.open {
            self.rtc = self.settings.rtc(&self.candidates, now);
            self.channel = None;
            self.channel_up = false;
        }
        let answer = self.rtc.sdp_api().accept_offer(offer)?;
        if self.channel.is_none() {
            let mut changes = self.rtc.sdp_api();
            self.channel = Some(changes.add_channel_with_config(channel_config()));
            // The offer has the m-line, so there is nothing to offer in return.
            changes.apply();
        }
        self.report(ConnectionEvent::AnswerCreated(answer.to_sdp_string()));
        Ok(())
    }

    fn accept_answer(&mut self, sdp: &str) -> Result<(), RtcError> {
        let answer = parse(sdp, SdpAnswer::from_sdp_string)?;
        candidate::of(sdp).for_each(|candidate| self.moved.learn(candidate));
        if let Some(pending) = self.pending.take() {
            self.rtc.sdp_api().accept_answer(pending, answer)?;
            self.outputs.extend(self.sending.settle().into_iter().map(Output::Ready));
        }
        Ok(())
    }

    fn send(&mut self, frame: String) -> Result<(), RtcError> {
        self.waiting.push_back(frame);
        self.write_frames()
    }

    fn write_frames(&mut self) -> Result<(), RtcError> {
        let Some(mut channel) = self.channel.filter(|_| self.open).and_then(|id| self.rtc.channel(id)) else {
            return Ok(());
        };
        while let Some(frame) = self.waiting.front() {
            if !channel.write(false, frame.as_bytes())? {
                break;
            }
            self.waiting.pop_front();
        }
        let buffered = self.buffered();
        self.report(ConnectionEvent::ChannelBuffered(buffered));
        Ok(())
    }

    /// Takes out of str0m all that it has, as it demands after every change.
    fn drain(&mut self, now: Instant) {
        self.drain_rtc(now);
        while let Some((local, remote, data)) = self.early.take(&self.rtc, now) {
            if let Some(input) = input(local, remote, &data, now)
                && let Err(error) = self.rtc.handle_input(input)
            {
                tracing::debug!(%error, "an early datagram was not taken");
            }
            self.drain_rtc(now);
        }
    }

    fn drain_rtc(&mut self, now: Instant) {
        for _ in 0..MAX_STEPS {
            match self.rtc.poll_output() {
                Ok(RtcOutput::Timeout(at)) => {
                    self.timeout = at.max(now);
                    return;
                }
                Ok(RtcOutput::Transmit(transmit)) => {
                    self.source = Some(transmit.source);
                    self.moved.sent(&transmit);
                    self.outputs.push_back(Output::Transmit(transmit));
                }
                Ok(RtcOutput::Event(event)) => self.handle_event(event, now),
                Err(error) => {
                    self.fail(&error);
                    return;
                }
            }
        }
    }

    fn handle_event(&mut self, event: str0m::Event, now: Instant) {
        match event {
            str0m::Event::Connected => {
                self.connected = true;
                self.early = Early::default();
                self.report(ConnectionEvent::StateChanged(ConnectionState::Connected));
                self.open_channel();
            }
            str0m::Event::IceConnectionStateChange(state) => self.handle_ice_state(state, now),
            str0m::Event::ChannelOpen(id, _) if self.channel == Some(id) => {
                self.channel_up = true;
                self.open_channel();
            }
            str0m::Event::ChannelData(data) if self.channel == Some(data.id) => {
                // Frames are text; the core says what it thinks of an empty one.
                let text = if data.binary { None } else { String::from_utf8(data.data).ok() };
                self.report(ConnectionEvent::ChannelMessage(text.unwrap_or_default()));
            }
            str0m::Event::ChannelBufferedAmountLow(id) if self.channel == Some(id) => {
                if let Err(error) = self.write_frames() {
                    self.fail(&error);
                }
            }
            str0m::Event::ChannelClose(id) if self.channel == Some(id) => self.report(ConnectionEvent::ChannelClosed),
            str0m::Event::Closed => self.report(ConnectionEvent::ChannelClosed),
            str0m::Event::MediaAdded(media) if media.direction.is_receiving() => self.report_track(media.mid),
            str0m::Event::MediaChanged(media) => {
                // Another source may send there from now on.
                self.incoming.retain(|_, mid| *mid != media.mid);
                if media.direction.is_receiving() {
                    self.report_track(media.mid);
                }
            }
            str0m::Event::RtpPacket(packet) => self.handle_packet(&packet),
            str0m::Event::KeyframeRequest(request) => {
                self.outputs.extend(self.sending.by_mid(request.mid).cloned().map(Output::KeyframeWanted));
            }
            _ => {}
        }
    }

    fn open_channel(&mut self) {
        if self.open || !self.connected || !self.channel_up {
            return;
        }
        self.open = true;
        if let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) {
            channel.set_buffered_amount_low_threshold(self.settings.low_water);
        }
        self.report(ConnectionEvent::ChannelOpen);
    }

    fn handle_ice_state(&mut self, state: IceConnectionState, now: Instant) {
        let state = match state {
            IceConnectionState::New => return,
            IceConnectionState::Checking => ConnectionState::Connecting,
            IceConnectionState::Connected | IceConnectionState::Completed => {
                self.fails_at = None;
                self.address_lost = false;
                // The first time DTLS is still to come, which is told by another event.
                if !self.open {
                    return;
                }
                ConnectionState::Connected
            }
            IceConnectionState::Disconnected => {
                let patience = if self.address_lost { ADDRESS_LOST } else { DISCONNECTED };
                self.fails_at.get_or_insert(now + patience);
                ConnectionState::Disconnected
            }
        };
        self.report(ConnectionEvent::StateChanged(state));
    }

    fn report_track(&mut self, mid: Mid) {
        self.report(ConnectionEvent::TrackAdded(mid.to_string()));
    }

    fn handle_packet(&mut self, packet: &str0m::rtp::RtpPacket) {
        let mid = match self.incoming.get(&packet.header.ssrc) {
            Some(&mid) => mid,
            None => {
                let Some(stream) = self.rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid())
                else {
                    return;
                };
                if self.incoming.len() >= MAX_SSRCS {
                    self.incoming.clear();
                }
                self.incoming.insert(packet.header.ssrc, stream);
                stream
            }
        };
        let params = self.rtc.codec_config().find(|params| params.pt() == packet.header.payload_type);
        let Some(codec) = params.and_then(|params| sending::codec(params.spec().codec)) else { return };
        let packet = RtpPacket {
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: bytes::Bytes::from_owner(packet.payload.clone()),
        };
        self.outputs.push_back(Output::Packet(mid.to_string(), codec, packet));
    }

    fn report(&mut self, event: ConnectionEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn fail(&mut self, error: &RtcError) {
        self.report(ConnectionEvent::Failed(error.to_string()));
    }
}

/// The input that a datagram is, unless it is none of WebRTC's.
pub(crate) fn input(local: SocketAddr, remote: SocketAddr, data: &[u8], now: Instant) -> Option<Input<'_>> {
    Some(Input::Receive(now, Receive::new(Protocol::Udp, remote, local, data).ok()?))
}

fn channel_config() -> ChannelConfig {
    ChannelConfig { label: CHANNEL_LABEL.to_owned(), negotiated: Some(CHANNEL_ID), ..ChannelConfig::default() }
}

/// Reads a description, leaving out candidates that have no address of ours to read.
fn parse<T, E: ToString>(sdp: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, RtcError> {
    // An m-line costs time and stays, so there are only so many.
    if sdp.lines().filter(|line| line.starts_with("m=")).count() > MAX_M_LINES {
        return Err(RtcError::RemoteSdp(format!("more than {MAX_M_LINES} m-lines")));
    }
    parse(&candidate::strip(sdp)).map_err(|error| RtcError::RemoteSdp(error.to_string()))
}
