//! The client as an application uses it: the README's methods and properties, for Rust.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use rtc_cafe_core::{ApiVersion, JoinError, PermanentId, Recipients, RoomId, Sid, SignallerState, TrackId, TrackKind};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::{
    builder::{Builder, RtcConfig},
    driver::Input,
    error::{AddTrackError, JoinRoomError, ReplaceTrackError, RequestTrackError, SendMessageError},
    event::{Message, TrackDefinition},
    report::ConnectionReport,
    shared::{Local, Shared},
    track::{Feed, Player, RemoteTrack, TrackSource},
};

/// A peer in rooms: it connects to everybody in them, sends and receives messages, offers and requests tracks.
///
/// Clones are the same client. It lives on the tokio runtime on which it was made; when the last clone is dropped it
/// leaves its rooms and closes its connections, in the background. [`Client::close`] does so and waits for it, which is
/// the way to end before the runtime does.
///
/// Calls that are not `async` return at once. Every one is valid at any time, connected or not.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use rtc_cafe_client::{Client, Event};
///
/// let (client, mut events) = Client::builder("http://127.0.0.1:8080").connect()?;
/// client.join_room("kitchen-table")?;
/// while let Some(event) = events.recv().await {
///     if let Event::Message { sender, message } = event {
///         client.send_message_to([sender], &serde_json::json!({ "echo": message.as_json() })).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    input: mpsc::Sender<Input>,
    /// Whose messages wait take turns, for each set of recipients, so that their order is kept.
    turns: Mutex<BTreeMap<Vec<Sid>, Arc<tokio::sync::Mutex<()>>>>,
}

impl Handle {
    fn turn(&self, recipients: &Recipients) -> Arc<tokio::sync::Mutex<()>> {
        let sids = match recipients {
            Recipients::All => Vec::new(),
            Recipients::Only(sids) => sids.clone(),
        };
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(sids).or_default().clone()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A track of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalTrack {
    /// Its id, by which it is removed.
    pub id: TrackId,
    /// What it carries.
    pub kind: TrackKind,
    /// The description that was given.
    pub description: Message,
    /// How many peers it is sent to.
    pub receivers: usize,
}

impl Client {
    /// Begins a client of the signalling server at this address, such as `https://cafe.example.org`.
    pub fn builder(server: impl Into<String>) -> Builder {
        Builder::new(server.into())
    }

    pub(crate) fn new(shared: Arc<Shared>, input: mpsc::Sender<Input>) -> Self {
        Self { handle: Arc::new(Handle { shared, input, turns: Mutex::default() }) }
    }

    /// Joins a room, at once or as soon as there is a connection to the server, and again after every reconnection. A
    /// room is named by a text or a number; `5` and `"5"` are two rooms.
    ///
    /// # Errors
    /// When the text cannot name a room, there are too many rooms, or the client is closed.
    pub fn join_room<R>(&self, room: R) -> Result<(), JoinRoomError>
    where
        R: TryInto<RoomId>,
        JoinRoomError: From<R::Error>,
    {
        let room = room.try_into()?;
        self.handle.shared.with(|state, now| match state.closing {
            Some(_) => Err(JoinError::Closed.into()),
            None => Ok(state.core.join_room(now, room)?),
        })
    }

    /// Leaves a room. Peers who share no other room with this client are disconnected from, with a
    /// [`DisconnectFromPeer`](crate::Event::DisconnectFromPeer) for each. Returns whether it was joined.
    pub fn leave_room<R: TryInto<RoomId>>(&self, room: R) -> bool {
        // What names no room was never joined.
        let Ok(room) = room.try_into() else { return false };
        let left = self.handle.shared.with(|state, now| state.core.leave_room(now, &room));
        // Whoever waits for room in the queue of a peer that is gone need not wait.
        self.handle.shared.room.notify_waiters();
        left
    }

    /// Sends a message to every connected peer. Waits while a peer takes messages slower than they are sent, and then
    /// hands it to all at once: each gets it in order and once, as long as its connection lasts. A message that waits does
    /// not hold up those to other recipients.
    ///
    /// Cancel safe: when the future is dropped before it is ready, nobody gets the message.
    ///
    /// # Errors
    /// When the message has no JSON or is too long, or the client is closed.
    pub async fn send_message<M: Serialize + ?Sized>(&self, message: &M) -> Result<(), SendMessageError> {
        self.send(serde_json::to_string(message)?, Recipients::All).await
    }

    /// Sends a message to some peers, otherwise as [`Client::send_message`], and cancel safe as that.
    ///
    /// # Errors
    /// Also when one of the sids is that of no connected peer; then nobody gets it.
    pub async fn send_message_to<M: Serialize + ?Sized>(
        &self,
        sids: impl IntoIterator<Item = Sid>,
        message: &M,
    ) -> Result<(), SendMessageError> {
        self.send(serde_json::to_string(message)?, Recipients::Only(sids.into_iter().collect())).await
    }

    /// Sends a message now or not at all: where waiting makes no sense, such as the state of a game.
    ///
    /// # Errors
    /// Also [`SendMessageError::QueueFull`], when one of the recipients takes messages slower than they are sent.
    pub fn try_send_message<M: Serialize + ?Sized>(
        &self,
        recipients: Recipients,
        message: &M,
    ) -> Result<(), SendMessageError> {
        let payload = serde_json::to_string(message)?;
        if self.try_send(&payload, &recipients)? { Ok(()) } else { Err(SendMessageError::QueueFull) }
    }

    async fn send(&self, payload: String, recipients: Recipients) -> Result<(), SendMessageError> {
        let turn = self.handle.turn(&recipients);
        let _turn = turn.lock().await;
        loop {
            let mut room = std::pin::pin!(self.handle.shared.room.notified());
            // Room that is made between the look and the wait must not be missed.
            room.as_mut().enable();
            if self.try_send(&payload, &recipients)? {
                return Ok(());
            }
            room.await;
        }
    }

    /// Sends it if there is room for it everywhere.
    fn try_send(&self, payload: &str, recipients: &Recipients) -> Result<bool, SendMessageError> {
        self.handle.shared.with(|state, now| {
            if state.closing.is_some() {
                return Err(SendMessageError::Closed);
            }
            if !state.core.has_room(payload.len(), recipients)? {
                return Ok(false);
            }
            state.core.send_message(now, payload, recipients.clone())?;
            Ok(true)
        })
    }

    /// Makes a track known to every peer, now and later, and sends it to those who request it. Returns its id.
    ///
    /// # Errors
    /// When the description has no JSON or a long one, there are too many tracks, or the client is closed.
    pub fn add_track<D: Serialize + ?Sized>(
        &self,
        source: TrackSource,
        description: &D,
    ) -> Result<TrackId, AddTrackError> {
        let description = serde_json::to_string(description)?;
        let TrackSource { feed, player } = source;
        let id = self.handle.shared.with(|state, _| {
            if state.closing.is_some() {
                return Err(AddTrackError::Closed);
            }
            let id = state.core.mint_track_id();
            state.core.add_track(id.clone(), feed.codec.kind(), &description)?;
            state.tracks.insert(id.clone(), Local { feed: feed.clone(), cached: player.is_some() });
            Ok(id)
        })?;
        self.begin(&id, feed, player);
        Ok(id)
    }

    /// Sends another source in the place of a track's, as when a camera is switched. Peers notice nothing but the
    /// picture.
    ///
    /// # Errors
    /// When there is no such track, or the other one is not of its kind.
    pub fn replace_track(&self, id: &TrackId, source: TrackSource) -> Result<(), ReplaceTrackError> {
        let TrackSource { feed, player } = source;
        let replaced = self.handle.shared.with(|state, _| {
            let track = state.tracks.get_mut(id).ok_or_else(|| ReplaceTrackError::UnknownTrack(id.clone()))?;
            let (was, is) = (track.feed.codec.kind(), feed.codec.kind());
            if was != is {
                return Err(ReplaceTrackError::Kind { was, is });
            }
            feed.set_listeners(track.feed.listeners());
            Ok(std::mem::replace(track, Local { feed: feed.clone(), cached: player.is_some() }))
        })?;
        replaced.feed.end();
        self.begin(id, feed, player);
        Ok(())
    }

    /// Lets a track's packets come, unless its source has ended already.
    fn begin(&self, id: &TrackId, feed: Arc<Feed>, player: Option<Player>) {
        if !feed.attach(id.clone(), self.handle.input.clone()) {
            self.remove_track(id);
        } else if let Some(player) = player {
            player.start(feed);
        }
    }

    /// Takes a track back from everybody. Returns whether there was one.
    pub fn remove_track(&self, id: &TrackId) -> bool {
        let removed = self.handle.shared.with(|state, _| {
            state.core.remove_track(id);
            state.tracks.remove(id)
        });
        removed.is_some_and(|track| {
            track.feed.end();
            true
        })
    }

    /// Asks a peer for one of its tracks, which then comes with
    /// [`Event::PeerTrackIdentified`](crate::Event::PeerTrackIdentified). It is asked again whenever the peer comes
    /// back. Asking twice is harmless.
    ///
    /// # Errors
    /// When there is no such peer or track.
    pub fn request_peer_track(&self, sid: &Sid, id: &TrackId) -> Result<(), RequestTrackError> {
        self.handle.shared.with(|state, _| state.core.request_peer_track(sid, id))
    }

    /// Has a peer's track sent to us no longer; others keep it. Returns whether it had been requested.
    pub fn remove_peer_track(&self, sid: &Sid, id: &TrackId) -> bool {
        self.handle.shared.with(|state, _| state.core.remove_peer_track(sid, id))
    }

    /// Has every connection look for a better path, where the application knows sooner than the system's list of
    /// addresses tells that the network has changed. Connections go on meanwhile.
    pub fn network_changed(&self) {
        self.handle.shared.lock().network_changed = true;
        self.handle.shared.work.notify_one();
    }

    /// The tracks of one's own.
    pub fn tracks(&self) -> Vec<LocalTrack> {
        let state = self.handle.shared.lock();
        let local = |id| state.tracks.get(id).map_or(0, |track| track.feed.listeners());
        let tracks = state.core.tracks().map(|(id, definition)| LocalTrack {
            id: id.clone(),
            kind: definition.kind,
            description: Message::new(definition.description.clone()),
            receivers: local(id),
        });
        tracks.collect()
    }

    /// The tracks that connected peers offer, by sid and id.
    pub fn peer_track_definitions(&self) -> BTreeMap<Sid, BTreeMap<TrackId, TrackDefinition>> {
        let state = self.handle.shared.lock();
        let mut peers = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (sid, id, definition) in state.core.peer_track_definitions() {
            let definition = TrackDefinition::new(id.clone(), definition.clone());
            peers.entry(sid.clone()).or_default().insert(id.clone(), definition);
        }
        peers
    }

    /// The tracks of peers that have arrived, by sid and id.
    pub fn peer_tracks(&self) -> BTreeMap<Sid, BTreeMap<TrackId, RemoteTrack>> {
        let state = self.handle.shared.lock();
        let mut peers = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (sid, id, source) in state.core.peer_tracks() {
            if let Some(track) = state.remote.get(&source) {
                peers.entry(sid.clone()).or_default().insert(id.clone(), track.clone());
            }
        }
        peers
    }

    /// The session's id; `None` until the server gave the first. It changes with every new session.
    pub fn sid(&self) -> Option<Sid> {
        self.handle.shared.lock().core.sid().cloned()
    }

    /// The id by which peers know this client all its life.
    pub fn permanent_id(&self) -> PermanentId {
        self.handle.shared.lock().core.permanent_id().clone()
    }

    /// The version of the signalling API: the one agreed on with the server, until then the one asked for.
    pub fn api_version(&self) -> ApiVersion {
        self.handle.shared.lock().api_version
    }

    /// The state of the connection to the signalling server.
    pub fn state(&self) -> SignallerState {
        self.handle.shared.lock().core.state()
    }

    /// The rooms that were joined.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.handle.shared.lock().core.rooms().cloned().collect()
    }

    /// The peers to whom messages flow, at present. It is ahead of the events that have not been read yet, and when all have
    /// been, it is what they told.
    pub fn connected_peers(&self) -> Vec<Sid> {
        self.handle.shared.lock().core.connected_peers().cloned().collect()
    }

    /// The peers that are known to be there at present, connected or not.
    pub fn discovered_peers(&self) -> Vec<Sid> {
        self.handle.shared.lock().core.discovered_peers().cloned().collect()
    }

    /// How the connection to a peer is doing: how far it got and how long each step took, which ways were tried, and which
    /// is in use. `None` for a peer that is not discovered, and for a client that is closed.
    ///
    /// It may be asked at any time, and is meant for whoever wants to know why a peer cannot be reached. Cancel safe.
    pub async fn connection_report(&self, sid: &Sid) -> Option<ConnectionReport> {
        let (answer, report) = oneshot::channel();
        self.handle.input.send(Input::Report(sid.clone(), answer)).await.ok()?;
        report.await.ok()?
    }

    /// The configuration of the peer connections: what was given, or else what the server says.
    pub fn rtc_config(&self) -> RtcConfig {
        self.handle.shared.lock().rtc_config.clone()
    }

    /// Sends what was handed to [`Client::send_message`], as far as that takes no longer than 5 seconds, leaves every room,
    /// tells every peer, and closes all connections; ready when that is done. Clones of the client are closed with it.
    /// Cancel safe: what has begun goes on.
    pub async fn close(&self) {
        self.handle.shared.close();
        // The sender lives as long as this client does.
        let _ = self.handle.shared.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
