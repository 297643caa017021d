//! What the client knows of one peer.

use std::collections::VecDeque;

use rtc_cafe_wire::{
    PermanentId, Sid,
    signal::{ConnectionId, IceCandidate},
};

use crate::{connection::Connection, mailbox::Mailbox, tracks::PeerTracks};

/// One peer: somebody with one permanent id, whatever its signalling session is.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The session under which the application knows it.
    pub(crate) sid: Sid,
    /// Its permanent id; unknown only with servers before 0.2, until it offers or answers.
    pub(crate) id: Option<PermanentId>,
    /// Whether its signalling session is there, as far as we know, so that it can be reached over the server.
    pub(crate) present: bool,
    pub(crate) connection: Option<Connection>,
    pub(crate) mailbox: Mailbox,
    pub(crate) tracks: PeerTracks,
    /// The newest of its connections that we have heard of.
    pub(crate) newest_remote: ConnectionId,
    /// Candidates that came before the description of their connection.
    early: VecDeque<(ConnectionId, Option<IceCandidate>)>,
    /// Connections that failed in a row.
    pub(crate) failures: u32,
    /// Another session that says it is this peer. While we are connected, only the peer itself can confirm it.
    pub(crate) claim: Option<Sid>,
    /// The nonce of the ping that waits for its answer.
    pub(crate) ping: Option<u32>,
}

impl Peer {
    pub(crate) fn new(sid: Sid, id: Option<PermanentId>) -> Self {
        Self {
            sid,
            id,
            present: true,
            connection: None,
            mailbox: Mailbox::default(),
            tracks: PeerTracks::default(),
            newest_remote: ConnectionId(0),
            early: VecDeque::new(),
            failures: 0,
            claim: None,
            ping: None,
        }
    }

    /// Whether messages flow.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_open)
    }

    /// Whether both sides have each other's description, so that they can connect without signalling.
    pub(crate) fn is_bound(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.remote().is_some())
    }

    /// Keeps a candidate until the description of its connection is there.
    pub(crate) fn keep_early(&mut self, of: ConnectionId, candidate: Option<IceCandidate>, bound: usize) {
        if self.early.len() >= bound {
            self.early.pop_front();
        }
        self.early.push_back((of, candidate));
    }

    /// Takes the candidates that came early for a connection; older ones are forgotten.
    pub(crate) fn take_early(&mut self, of: ConnectionId) -> Vec<Option<IceCandidate>> {
        let mut taken = Vec::new();
        for (connection, candidate) in std::mem::take(&mut self.early) {
            if connection == of {
                taken.push(candidate);
            } else if connection > of {
                self.early.push_back((connection, candidate));
            }
        }
        taken
    }
}
