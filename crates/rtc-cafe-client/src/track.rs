//! Tracks: where those of one's own come from, and those of peers that have arrived.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rtc_cafe_core::{Source, TrackId, TrackKind};
use tokio::sync::{Notify, broadcast, mpsc};

use crate::{
    driver::Input,
    media::{Codec, MediaReader, ReadError, RtpPacket},
};

mod frames;
mod play;
mod record;

pub use frames::Frames;
pub(crate) use play::Player;
pub use record::{Recorded, Recording};

/// Packets of a peer's track that wait for one reader; one that is slower loses the oldest, as a network does.
const READER_PACKETS: usize = 1024;
/// How often the encoder of a peer is bothered at most.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Where a track's packets come from. It is given to [`Client::add_track`](crate::Client::add_track).
#[derive(Debug)]
pub struct TrackSource {
    pub(crate) feed: Arc<Feed>,
    pub(crate) player: Option<Player>,
}

impl TrackSource {
    /// A track whose RTP packets the application supplies by the [`RtpSender`]: from an encoder, GStreamer, FFmpeg, a
    /// camera. When the sender is dropped, the track ends and is removed for everybody.
    ///
    /// What `gst-launch-1.0 ... ! rtpvp8pay ! udpsink port=5004` or `ffmpeg ... -f rtp rtp://127.0.0.1:5004` sends:
    ///
    /// ```no_run
    /// # async fn example(client: rtc_cafe_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use rtc_cafe_client::{Codec, RtpPacket, TrackSource, media::Unwrapper};
    ///
    /// let (sender, source) = TrackSource::rtp(Codec::Vp8);
    /// client.add_track(source, "from GStreamer")?;
    /// let socket = tokio::net::UdpSocket::bind("127.0.0.1:5004").await?;
    /// let (mut unwrapper, mut datagram) = (Unwrapper::new(), [0; 2048]);
    /// loop {
    ///     let length = socket.recv(&mut datagram).await?;
    ///     let (_, mut packet) = RtpPacket::parse(datagram[..length].to_vec().into())?;
    ///     packet.sequence = unwrapper.unwrap(packet.sequence as u16);
    ///     sender.send(packet)?;
    /// }
    /// # }
    /// ```
    pub fn rtp(codec: Codec) -> (RtpSender, Self) {
        let feed = Arc::new(Feed::new(codec));
        (RtpSender { feed: feed.clone() }, Self { feed, player: None })
    }

    /// A track that plays a file in real time, once somebody wants it: Opus in Ogg, VP8 or VP9 in IVF, or H.264 as a byte
    /// stream. Who requests it later joins in where it is then. At the end of the file the track ends and is removed for
    /// everybody.
    ///
    /// Files cannot make a keyframe when it is asked for: after a loss, a peer waits for the next one of the file.
    ///
    /// # Errors
    /// When the file cannot be read, or holds nothing that can be sent.
    pub fn file(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        Ok(Self::reader(MediaReader::open(path)?))
    }

    /// A track that plays what a reader has, as [`TrackSource::file`].
    pub fn reader(reader: MediaReader) -> Self {
        let feed = Arc::new(Feed::new(reader.codec()));
        Self { feed, player: Some(Player { reader, repeats: false }) }
    }

    /// Plays a file over and over.
    #[must_use]
    pub fn repeating(mut self) -> Self {
        if let Some(player) = &mut self.player {
            player.repeats = true;
        }
        self
    }

    /// A track that passes on a peer's track as it is, without decoding it. Keyframes that are asked for are asked for
    /// at its origin. It ends when the peer's track does.
    ///
    /// Must be called on a tokio runtime. The codec is that of the first packet, so this waits for it. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(client: rtc_cafe_client::Client, event: rtc_cafe_client::Event)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use rtc_cafe_client::{Event, TrackSource};
    ///
    /// if let Event::PeerTrackIdentified { track, .. } = event {
    ///     client.add_track(TrackSource::forward(&track).await?, "passed on")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the peer's track ends before anything came.
    pub async fn forward(track: &RemoteTrack) -> Result<Self, TrackEnded> {
        let mut packets = track.packets();
        let (codec, _) = packets.recv().await.ok_or(TrackEnded)?;
        let (sender, source) = Self::rtp(codec);
        let track = track.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    packet = packets.recv() => match packet {
                        Some((now, packet)) if now == codec => {
                            if sender.send(packet).is_err() {
                                break;
                            }
                        }
                        Some(_) => {}
                        None => break,
                    },
                    wanted = sender.keyframe_requested() => match wanted {
                        Ok(()) => track.request_keyframe(),
                        Err(TrackEnded) => break,
                    },
                }
            }
        });
        Ok(source)
    }

    /// How the track is encoded.
    pub fn codec(&self) -> Codec {
        self.feed.codec
    }
}

/// The track has ended, or was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the track has ended")]
pub struct TrackEnded;

/// Supplies the packets of a track made by [`TrackSource::rtp`].
#[derive(Debug)]
pub struct RtpSender {
    feed: Arc<Feed>,
}

impl RtpSender {
    /// Sends a packet to every peer that has requested the track; while there is none it is dropped. Its sequence
    /// number and timestamp must go on from those before; what peers see of them is adapted to each connection. Never
    /// waits: what the network does not take is lost, and its loss repaired as any other.
    ///
    /// # Errors
    /// When the track was removed, or its client closed.
    pub fn send(&self, packet: RtpPacket) -> Result<(), TrackEnded> {
        let wanted = self.feed.listeners() > 0;
        self.hand_over(packet, false, wanted)
    }

    /// Sends a packet of a file, with which a keyframe may begin. It is kept for those who come later, so it is also sent
    /// while there is nobody.
    fn send_kept(&self, packet: RtpPacket, keyframe: bool) -> Result<(), TrackEnded> {
        self.hand_over(packet, keyframe, true)
    }

    fn hand_over(&self, packet: RtpPacket, keyframe: bool, wanted: bool) -> Result<(), TrackEnded> {
        let state = self.feed.lock();
        // The source that was never added, or the client's track, is gone.
        if state.ended || Arc::strong_count(&self.feed) == 1 {
            return Err(TrackEnded);
        }
        let Some((track, input)) = state.attached.as_ref().filter(|_| wanted) else { return Ok(()) };
        match input.try_send(Input::Packet { track: track.clone(), feed: self.feed.id, packet, keyframe }) {
            // A full queue loses it, as the network would.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(TrackEnded),
        }
    }

    /// Waits until a keyframe is wanted, because a peer has begun to receive or has lost something. Cancel safe.
    ///
    /// # Errors
    /// When the track has ended.
    pub async fn keyframe_requested(&self) -> Result<(), TrackEnded> {
        self.feed.wait(|state| std::mem::take(&mut state.keyframe_wanted)).await
    }

    /// Waits until some peer wants the track. Cancel safe.
    ///
    /// # Errors
    /// When the track has ended.
    pub async fn requested(&self) -> Result<(), TrackEnded> {
        self.feed.wait(|state| state.listeners > 0).await
    }

    /// How many peers the track is sent to.
    pub fn receivers(&self) -> usize {
        self.feed.listeners()
    }
}

impl Drop for RtpSender {
    fn drop(&mut self) {
        let (id, mut state) = (self.feed.id, self.feed.lock());
        state.ended = true;
        if let Some((track, input)) = state.attached.take() {
            // It must arrive, but neither may we wait here, nor does it matter after the client's end.
            if let Err(mpsc::error::TrySendError::Full(ended)) = input.try_send(Input::TrackEnded { track, feed: id }) {
                match tokio::runtime::Handle::try_current() {
                    Ok(runtime) => drop(runtime.spawn(async move { input.send(ended).await })),
                    // A thread of its own may block.
                    Err(_) => drop(input.blocking_send(ended)),
                }
            }
        }
    }
}

/// What connects a source to the client that it was added to.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) id: u64,
    pub(crate) codec: Codec,
    state: Mutex<FeedState>,
    changed: Notify,
    /// For players, which are threads.
    woken: Condvar,
}

#[derive(Debug, Default)]
struct FeedState {
    attached: Option<(TrackId, mpsc::Sender<Input>)>,
    listeners: usize,
    keyframe_wanted: bool,
    ended: bool,
}

impl Feed {
    fn new(codec: Codec) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            codec,
            state: Mutex::default(),
            changed: Notify::new(),
            woken: Condvar::new(),
        }
    }

    /// From now on packets go to this client. False if the source has ended already.
    pub(crate) fn attach(&self, track: TrackId, input: mpsc::Sender<Input>) -> bool {
        self.change(|state| state.attached = Some((track, input)).filter(|_| !state.ended));
        !self.lock().ended
    }

    /// The track was removed.
    pub(crate) fn end(&self) {
        self.change(|state| {
            state.ended = true;
            state.attached = None;
        });
    }

    /// So many peers receive it.
    pub(crate) fn set_listeners(&self, listeners: usize) {
        self.change(|state| state.listeners = listeners);
    }

    pub(crate) fn listeners(&self) -> usize {
        self.lock().listeners
    }

    /// A peer needs a keyframe.
    pub(crate) fn want_keyframe(&self) {
        self.change(|state| state.keyframe_wanted = true);
    }

    /// Tells the client something, if it listens.
    fn report(&self, input: Input) {
        if let Some((_, client)) = &self.lock().attached {
            let _ = client.try_send(input);
        }
    }

    /// Blocks a thread until some peer wants the track; false when the track has ended.
    fn wait_for_listener(&self) -> bool {
        let waits = |state: &mut FeedState| !state.ended && state.listeners == 0;
        !self.woken.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Blocks a thread until a moment; false when the track has ended.
    fn wait_until(&self, due: Instant) -> bool {
        let state = self.lock();
        let left = due.saturating_duration_since(Instant::now());
        let waited = self.woken.wait_timeout_while(state, left, |state| !state.ended);
        !waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    fn change(&self, change: impl FnOnce(&mut FeedState)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
        self.woken.notify_all();
    }

    async fn wait(&self, mut ready: impl FnMut(&mut FeedState) -> bool) -> Result<(), TrackEnded> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // A change between the look and the wait must not be missed.
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if state.ended {
                    return Err(TrackEnded);
                }
                if ready(&mut state) {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Nothing that is done under the lock can leave it half done.
    fn lock(&self) -> MutexGuard<'_, FeedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A peer's track that has arrived. Clones are the same track; it ends when it is removed by either side, and comes back
/// as another one when the connection was replaced.
#[derive(Debug, Clone)]
pub struct RemoteTrack(Arc<Remote>);

#[derive(Debug)]
struct Remote {
    source: Source,
    kind: TrackKind,
    packets: Mutex<Option<Flow>>,
    input: mpsc::Sender<Input>,
    /// When a keyframe was asked for.
    asked: Mutex<Option<Instant>>,
}

/// What comes in, while it does.
#[derive(Debug)]
struct Flow {
    sender: broadcast::Sender<(Codec, RtpPacket)>,
    /// For the first reader, who would miss the first keyframe otherwise.
    first: Option<broadcast::Receiver<(Codec, RtpPacket)>>,
}

impl RemoteTrack {
    pub(crate) fn new(source: Source, kind: TrackKind, input: mpsc::Sender<Input>) -> Self {
        let (sender, first) = broadcast::channel(READER_PACKETS);
        let packets = Mutex::new(Some(Flow { sender, first: Some(first) }));
        Self(Arc::new(Remote { source, kind, packets, input, asked: Mutex::default() }))
    }

    /// What it carries.
    pub fn kind(&self) -> TrackKind {
        self.0.kind
    }

    /// Whether it still flows.
    pub fn is_live(&self) -> bool {
        self.lock().is_some()
    }

    /// Its packets: for the first reader all since it arrived, up to 1,024; for others those from now on. Several readers
    /// each get all of them.
    pub fn packets(&self) -> Packets {
        let mut flow = self.lock();
        Packets(flow.as_mut().map(|Flow { sender, first }| first.take().unwrap_or_else(|| sender.subscribe())))
    }

    /// Its frames from now on, put together from its packets.
    ///
    /// ```no_run
    /// # async fn example(track: rtc_cafe_client::RemoteTrack) {
    /// let mut frames = track.frames();
    /// while let Some((codec, frame)) = frames.recv().await {
    ///     println!("{codec}: {} bytes at {}", frame.data.len(), frame.timestamp);
    /// }
    /// # }
    /// ```
    pub fn frames(&self) -> Frames {
        Frames::new(self.clone())
    }

    /// Records it to a file, from the first keyframe on, until it ends or the [`Recording`] does. The container is told by
    /// the file's extension: `.ogg`, `.ivf`, `.h264`, `.webm` or `.mkv`; one that does not fit the codec is an error of the
    /// recording. A track that goes on in another codec is recorded as long as it has the first. Must be called on a tokio
    /// runtime.
    ///
    /// ```no_run
    /// # async fn example(track: rtc_cafe_client::RemoteTrack) -> Result<(), rtc_cafe_client::RecordError> {
    /// let recorded = track.record("interview.mkv").finished().await?;
    /// println!("{} frames, {:?}", recorded.frames, recorded.duration);
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(&self, path: impl Into<PathBuf>) -> Recording {
        Recording::start(self.clone(), path.into())
    }

    /// Asks the peer for a keyframe (RFC 4585 picture loss indication), unless it was asked within the last half second.
    pub fn request_keyframe(&self) {
        let now = Instant::now();
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_some_and(|asked| now < asked + ASK_EVERY) {
            return;
        }
        *asked = Some(now);
        let _ = self.0.input.try_send(Input::RequestKeyframe(self.0.source.clone()));
    }

    pub(crate) fn push(&self, codec: Codec, packet: RtpPacket) {
        if let Some(flow) = &*self.lock() {
            // Nobody has to listen.
            let _ = flow.sender.send((codec, packet));
        }
    }

    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Flow>> {
        self.0.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The packets of a peer's track, in the order in which they came.
#[derive(Debug)]
pub struct Packets(Option<broadcast::Receiver<(Codec, RtpPacket)>>);

impl Packets {
    /// The next packet and its codec; `None` when the track has ended. Who reads too slowly loses packets, which shows
    /// as a gap in their numbers. Cancel safe.
    pub async fn recv(&mut self) -> Option<(Codec, RtpPacket)> {
        let receiver = self.0.as_mut()?;
        loop {
            match receiver.recv().await {
                Ok(packet) => return Some(packet),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
