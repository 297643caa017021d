//! One peer connection on str0m: does what the core says, and reports what comes of it. It has no sockets of its own.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rtc_cafe_core::{Command, ConnectionEvent, ConnectionState, TrackId};
use str0m::{
    Candidate, CandidateKind, Input, Output as RtcOutput, Rtc, RtcError,
    change::SdpPendingOffer,
    channel::ChannelId,
    media::Mid,
    net::{Protocol, Receive, Transmit},
    rtp::Ssrc,
};

use crate::{
    media::{Codec, RtpPacket},
    report::CandidatePair,
};

mod candidate;
#[cfg(test)]
mod conformance;
mod early;
mod moved;
mod negotiating;
mod outbox;
mod paths;
mod sending;
mod settings;
mod stall;
mod vitals;

use early::Early;
use moved::Moved;
use outbox::Outbox;
use paths::Paths;
use sending::{Outgoing, Sending};
pub(crate) use settings::{Settings, certificate};
use stall::Stall;
use vitals::Vitals;

/// How long the last words may take to a peer that is still there, before the connection ends without them.
const LAST_WORDS: Duration = Duration::from_millis(1500);
/// Candidates that wait for a check.
const MAX_KNOWN_AHEAD: usize = 16;
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
    /// The m-line of the data channel in our first offer.
    mid: Option<String>,
    /// Whether the next offer restarts ICE, and whether the one that is pending does.
    restart: bool,
    restarting: bool,
    sending: Sending,
    /// By whose SSRC which m-line and codec come in.
    incoming: BTreeMap<Ssrc, Mid>,
    outbox: Outbox,
    outputs: VecDeque<Output>,
    early: Early,
    moved: Moved,
    vitals: Vitals,
    stall: Stall,
    paths: Paths,
    /// Candidates of the peer with addresses that are being checked already, because checks came from there.
    known_ahead: VecDeque<Candidate>,
    /// Whether the core was told that the path leads through a TURN server.
    relayed: Option<bool>,
    timeout: Instant,
    /// When it closes, although the peer has not confirmed all.
    closes_at: Option<Instant>,
    /// The peer was told that it ends.
    closing: bool,
    /// From which address the last datagram went out.
    source: Option<SocketAddr>,
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
            mid: None,
            restart: false,
            restarting: false,
            sending: Sending::default(),
            incoming: BTreeMap::new(),
            outbox: Outbox::default(),
            outputs: VecDeque::new(),
            early: Early::default(),
            moved: Moved::default(),
            vitals: Vitals::new(now),
            stall: Stall::new(),
            paths: Paths::default(),
            known_ahead: VecDeque::new(),
            relayed: None,
            timeout: now,
            closes_at: None,
            closing: false,
            source: None,
        };
        connection.drain(now);
        connection
    }

    /// Carries out a command. [`Command::Open`] is [`Connection::new`], tracks are added by [`Connection::add_track`], and
    /// frames wait for [`Connection::write_frames`].
    pub(crate) fn execute(&mut self, command: Command, now: Instant) {
        let is_description = matches!(command, Command::AcceptOffer(_) | Command::AcceptAnswer(_));
        let done = match command {
            // Its candidates are in it in any case.
            Command::CreateOffer | Command::PrepareOffer => self.create_offer(now),
            Command::ForetellAnswer => self.foretell_answer(),
            Command::AcceptOffer(sdp) => self.accept_offer(&sdp, now),
            Command::AcceptAnswer(sdp) => self.accept_answer(&sdp),
            Command::AddCandidate(candidate) => {
                if let Some(candidate) = candidate.and_then(|candidate| candidate::read(&candidate)) {
                    self.moved.learn(candidate.clone());
                    self.forget_reflexive(&candidate);
                    self.known_ahead.push_back(candidate);
                    self.add_remote_candidates(now);
                    self.look_at_path();
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
            Command::Send(frame) => return self.outbox.push(frame),
            Command::Close => self.close(now),
            Command::Open | Command::AddTrack(_) => Ok(()),
        };
        if let Err(error) = done {
            self.fail(&error);
        }
        self.drain(now);
        if is_description {
            // A check that was sooner than the description, and ours in return.
            self.hurry(now, 2);
        }
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
            self.vitals.lose_address();
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
        if let Input::Receive(_, receive) = &input {
            self.paths.received(receive.destination, remote, data, now);
        }
        if let Some(gone) = self.moved.received(remote, data, now) {
            tracing::info!(address = %gone.addr(), "the peer sends from elsewhere; this address of it is given up");
            self.rtc.direct_api().invalidate_candidate(&gone);
            self.drain(now);
        }
        if let Err(error) = self.rtc.handle_input(input) {
            // A datagram can be anybody's, so what is wrong with it is no reason to end anything.
            tracing::debug!(%error, "a datagram was not taken");
        }
        self.add_remote_candidates(now);
        self.drain(now);
        if !moved::is_content(data) {
            self.hurry(now, 1);
        }
        let state = self.vitals.hear(now);
        self.report_state(state, now);
    }

    /// Takes back what a check of a relay has made believe: its address would count as one of the peer's own, and be
    /// preferred to direct ones (RFC 8445 section 7.1.1 has it so, and str0m keeps to it when it knows better).
    fn forget_reflexive(&mut self, candidate: &Candidate) {
        if candidate.kind() == CandidateKind::Relayed
            && !self.connected
            && let Some(reflexive) = candidate::reflexive(candidate.addr())
            && self.rtc.direct_api().invalidate_candidate(&reflexive)
        {
            self.paths.forget(candidate.addr());
        }
    }

    /// Tells str0m the addresses of the peer, except while one is being checked: str0m would begin that check anew, and not
    /// take the answer.
    fn add_remote_candidates(&mut self, now: Instant) {
        for _ in 0..self.known_ahead.len() {
            let Some(candidate) = self.known_ahead.pop_front() else { return };
            if self.paths.is_first_check(candidate.addr(), now) && self.known_ahead.len() < MAX_KNOWN_AHEAD {
                self.known_ahead.push_back(candidate);
            } else {
                self.rtc.add_remote_candidate(candidate);
            }
        }
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
            self.add_remote_candidates(now);
            self.drain(now);
        }
        let state = self.vitals.handle_timeout(now);
        self.report_state(state, now);
        if self.stall_deadline().is_some() && self.stall.is_over(now) {
            self.report(ConnectionEvent::ChannelStalled);
        }
        if self.closes_at.is_some_and(|at| now >= at) {
            self.drain(now);
        }
    }

    /// When to call [`Connection::handle_timeout`].
    pub(crate) fn timeout(&self) -> Instant {
        let deadlines = [self.vitals.deadline(), self.stall_deadline(), self.closes_at];
        deadlines.into_iter().flatten().fold(self.timeout, Instant::min)
    }

    /// Without a path it is no wonder that nothing is acknowledged.
    fn stall_deadline(&self) -> Option<Instant> {
        self.stall.deadline().filter(|_| self.vitals.is_well())
    }

    /// What to do next; to be called until it returns `None`.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Gives the data channel the frames that wait, as far as it takes them; to be called before [`Connection::poll`].
    pub(crate) fn write_frames(&mut self, now: Instant) {
        let Some(mut channel) = self.channel.filter(|_| self.open).and_then(|id| self.rtc.channel(id)) else { return };
        let done = self.outbox.write(&mut channel);
        let written = self.outbox.written();
        self.stall.see(written, written.saturating_sub(channel.buffered_amount()), now);
        match done {
            Ok(false) => {}
            Ok(true) => self.drain(now),
            Err(error) => self.fail(&error),
        }
        if let Some(bytes) = self.outbox.news(self.settings.low_water) {
            self.report(ConnectionEvent::ChannelBuffered(bytes));
        }
    }

    /// Whether the peer has acknowledged all frames, or there is no channel for them.
    pub(crate) fn is_flushed(&mut self) -> bool {
        let channel = self.channel.filter(|_| self.open).and_then(|id| self.rtc.channel(id));
        self.outbox.is_empty() && channel.is_none_or(|mut channel| channel.buffered_amount() == 0)
    }

    /// The pairs of addresses that were tried, the one in use first.
    pub(crate) fn pairs(&self, now: Instant) -> Vec<CandidatePair> {
        self.paths.report(&self.candidates, self.moved.remote(), now)
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

    /// Ends the connection, as soon as the peer has what was sent to it if it is still there.
    fn close(&mut self, now: Instant) -> Result<(), RtcError> {
        self.write_frames(now);
        if self.vitals.is_well() && !self.is_flushed() {
            self.closes_at = Some(now + LAST_WORDS);
            return Ok(());
        }
        self.open = false;
        self.closing = true;
        self.rtc.close()
    }

    fn close_when_due(&mut self, now: Instant) {
        let Some(at) = self.closes_at else { return };
        if now >= at || self.is_flushed() {
            self.closes_at = None;
            self.open = false;
            // It is of no interest any more what is wrong with it.
            let _ = self.rtc.close();
            self.closing = true;
            self.drain_rtc(now);
        }
    }

    /// Has str0m do what is due before there is a path. By itself it waits 50 ms between any two steps of ICE, so that checks
    /// keep a distance (RFC 8445 section 14.2); but one for each that comes (section 7.3.1.4) is no flood.
    fn hurry(&mut self, now: Instant, steps: usize) {
        for _ in 0..if self.connected || self.closing { 0 } else { steps } {
            if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                self.fail(&error);
            }
            self.drain(now);
        }
    }

    /// Takes out of str0m all that it has, as it demands after every change.
    fn drain(&mut self, now: Instant) {
        self.drain_rtc(now);
        self.close_when_due(now);
        if self.closing {
            // All is said; DTLS 1.3 would wait for an answer.
            self.rtc.disconnect();
        }
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
                    if self.paths.sent(&transmit, now) {
                        self.look_at_path();
                    }
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
                let state = self.vitals.connect(now);
                self.report_state(Some(state), now);
                self.open_channel();
            }
            str0m::Event::IceConnectionStateChange(state) => {
                let state = self.vitals.handle_ice(state, now);
                self.report_state(state, now);
            }
            str0m::Event::ChannelOpen(id, _) if self.channel == Some(id) => {
                self.channel_up = true;
                self.open_channel();
            }
            str0m::Event::ChannelData(data) if self.channel == Some(data.id) => {
                // Frames are text; the core says what it thinks of an empty one.
                let text = if data.binary { None } else { String::from_utf8(data.data).ok() };
                self.report(ConnectionEvent::ChannelMessage(text.unwrap_or_default()));
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
        self.report(ConnectionEvent::ChannelOpen);
    }

    fn report_state(&mut self, state: Option<ConnectionState>, now: Instant) {
        if let Some(state) = state {
            self.stall.begin_anew(now);
            self.report(ConnectionEvent::StateChanged(state));
        }
    }

    /// Which path is in use, or what its addresses are, may have changed.
    fn look_at_path(&mut self) {
        let relayed = self.paths.is_relayed(&self.candidates, self.moved.remote());
        if let Some(relayed) = relayed.filter(|_| relayed != self.relayed) {
            self.relayed = Some(relayed);
            self.report(ConnectionEvent::PathChanged { relayed });
        }
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
