//! What the client knows of one peer.

use rtc_cafe_wire::{
    PermanentId, RoomId, Sid,
    signal::{ConnectionId, IceCandidate},
};

use crate::{
    connection::Connection,
    mailbox::Mailbox,
    map::{Map, take},
    report::History,
    roster::PeerKey,
    time::Time,
    tracks::PeerTracks,
};

/// One peer: somebody with one permanent id, whatever its signalling session is.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The session under which the application knows it.
    pub(crate) sid: Sid,
    /// Its permanent id; unknown only with servers before 0.2, until it offers or answers.
    pub(crate) id: Option<PermanentId>,
    /// Whether its signalling session is there, as far as we know, so that it can be reached over the server.
    pub(crate) present: bool,
    /// Its session has ended, or it has closed the connection, and nobody has heard of it since.
    pub(crate) left: bool,
    /// It is gone, and only remembered: for what we wanted of it, and for what it has received of us.
    pub(crate) absent: bool,
    /// The application was told that it is connected, and not that it is gone.
    pub(crate) connected: bool,
    /// The rooms that both are in, as far as we know.
    pub(crate) rooms: Map<RoomId, ()>,
    /// It was told whom we are connected to, and is told of every change.
    pub(crate) informed: bool,
    /// Who has told us of it, if it is known only from there.
    pub(crate) introduced_by: Option<PeerKey>,
    /// Whom it says it is connected to.
    pub(crate) acquaintances: Map<PermanentId, Acquaintance>,
    /// What it has had us pass on: since when, and how much.
    pub(crate) relayed: (Time, u32),
    pub(crate) connection: Option<Connection>,
    pub(crate) mailbox: Mailbox,
    pub(crate) tracks: PeerTracks,
    /// The newest of its connections that we have heard of.
    pub(crate) newest_remote: ConnectionId,
    /// Candidates that came before the description of their connection.
    early: Vec<(ConnectionId, Option<IceCandidate>)>,
    /// Connections that failed in a row.
    pub(crate) failures: u32,
    /// Another session that says it is this peer. While we are connected, only the peer itself can confirm it.
    pub(crate) claim: Option<Sid>,
    /// The nonce of the ping that waits for its answer.
    pub(crate) ping: Option<u32>,
    /// When it has said something, whatever it was.
    pub(crate) heard: Time,
    /// It did not answer in time.
    pub(crate) silent: bool,
    /// It has confirmed nothing for a while, though there is something to confirm.
    pub(crate) stuck: bool,
    /// Something of it was not taken, and comes again over another connection.
    pub(crate) missed: bool,
    /// Its connection says that there is no path to it.
    pub(crate) path_lost: bool,
    /// Its last connection was given up because there was no path; then its session may have ended for the same reason.
    pub(crate) cut_off: bool,
    /// How often ICE was restarted since the path was lost.
    pub(crate) restarts: u32,
    /// Another path is to be looked for, though this one may be there.
    pub(crate) restart_due: bool,
    /// How often the present handshake was sent again.
    pub(crate) resent: u32,
    /// How often a direct path was looked for in vain, and how often that was put off.
    pub(crate) detours: u32,
    pub(crate) pauses: u32,
    /// What it has to know goes by every way at once.
    pub(crate) by_every_way: bool,
    pub(crate) history: History,
}

/// Somebody whom a peer says it is connected to.
#[derive(Debug)]
pub(crate) struct Acquaintance {
    pub(crate) sid: Sid,
    /// The rooms of ours in which both are.
    pub(crate) rooms: Map<RoomId, ()>,
}

impl Peer {
    // Out of line it is smaller: docs/decisions/004-browser-backend.md.
    #[inline(never)]
    pub(crate) fn new(sid: Sid, id: Option<PermanentId>, mailbox: Mailbox) -> Self {
        Self {
            sid,
            id,
            present: true,
            left: false,
            absent: false,
            connected: false,
            rooms: Map::default(),
            informed: false,
            introduced_by: None,
            acquaintances: Map::default(),
            relayed: (Time::default(), 0),
            connection: None,
            mailbox,
            tracks: PeerTracks::default(),
            newest_remote: ConnectionId(0),
            early: Vec::new(),
            failures: 0,
            claim: None,
            ping: None,
            heard: Time::default(),
            silent: false,
            missed: false,
            stuck: false,
            path_lost: false,
            cut_off: false,
            restarts: 0,
            restart_due: false,
            resent: 0,
            detours: 0,
            pauses: 0,
            by_every_way: false,
            history: History::default(),
        }
    }

    /// It says that it is connected to somebody in a room.
    pub(crate) fn note_acquaintance(&mut self, id: &PermanentId, sid: &Sid, room: &RoomId) {
        let known = self.acquaintances.remove(id).map(|known| known.rooms);
        let mut rooms = known.unwrap_or_default();
        rooms.insert(room.clone(), ());
        self.acquaintances.insert(id.clone(), Acquaintance { sid: sid.clone(), rooms });
    }

    /// It says that it is not, or not any more.
    pub(crate) fn forget_acquaintance(&mut self, id: &PermanentId, room: &RoomId) {
        let Some(known) = self.acquaintances.get_mut(id) else { return };
        known.rooms.remove(room);
        if known.rooms.is_empty() {
            self.acquaintances.remove(id);
        }
    }

    /// It shares a room with us no more, or we with it: whom it is connected to there is not told any longer. Returns
    /// whether it did.
    pub(crate) fn leave_room(&mut self, room: &RoomId) -> bool {
        let mut known = Vec::new();
        for id in self.acquaintances.keys() {
            known.push(id.clone());
        }
        for id in known {
            self.forget_acquaintance(&id, room);
        }
        self.rooms.remove(room).is_some()
    }

    /// Whether frames can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_open)
    }

    /// Whether frames can be sent and there is no reason to believe that they do not arrive.
    pub(crate) fn is_well(&self) -> bool {
        self.is_open() && !self.path_lost && !self.silent
    }

    /// Whether what waits for it will make room before long.
    pub(crate) fn is_responsive(&self) -> bool {
        self.is_well() && !self.stuck
    }

    /// Whether both sides have each other's description, so that they can connect without signalling.
    pub(crate) fn is_bound(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.remote().is_some())
    }

    /// Keeps a candidate until the description of its connection is there.
    pub(crate) fn keep_early(&mut self, of: ConnectionId, candidate: Option<IceCandidate>, bound: usize) {
        if self.early.len() >= bound {
            take(&mut self.early, 0);
        }
        self.early.push((of, candidate));
    }

    /// Takes the candidates that came early for a connection; older ones are forgotten.
    pub(crate) fn take_early(&mut self, of: ConnectionId) -> Vec<Option<IceCandidate>> {
        let mut taken = Vec::new();
        for (connection, candidate) in std::mem::take(&mut self.early) {
            if connection == of {
                taken.push(candidate);
            } else if connection > of {
                self.early.push((connection, candidate));
            }
        }
        taken
    }
}
