//! Negotiation of one peer connection: perfect negotiation (W3C WebRTC section 10.7) over lossy signalling.
//!
//! When both sides offer at once, the polite one takes its offer back. The impolite one ignores the other's offer and
//! sends its own again, because the other may never have got it.

use rtc_cafe_wire::signal::{ConnectionId, Handshake, HandshakeBody, IceCandidate};

use crate::output::Command;

/// Where the exchange of descriptions stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Signalling {
    /// No offer is under way.
    Stable,
    /// Our offer is being created.
    Offering,
    /// Our offer was sent; it is kept to be sent again.
    Offered(String),
    /// The other side's offer is being answered.
    Answering,
}

/// What comes of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Do(Command),
    Signal(Handshake),
}

/// The peer connection with one peer, from its first offer to its end.
#[derive(Debug)]
pub(crate) struct Connection {
    id: ConnectionId,
    polite: bool,
    /// The other side's connection, once it has answered us or we it.
    remote: Option<ConnectionId>,
    signalling: Signalling,
    /// The number of our last offer.
    offers: u32,
    /// The number of the other side's last offer that we took.
    remote_offers: u32,
    /// Our answer to it, in case it has to be sent again.
    answer: Option<String>,
    /// Our candidates, for a peer whose signalling session changes before we are connected.
    local_candidates: Vec<Option<IceCandidate>>,
    /// How many of them were sent.
    sent_candidates: usize,
    /// Bound on the candidates of either side.
    max_candidates: usize,
    remote_candidates: usize,
    /// Whether the data channel is open.
    pub(crate) open: bool,
}

impl Connection {
    pub(crate) const fn new(id: ConnectionId, polite: bool, max_candidates: usize) -> Self {
        Self {
            id,
            polite,
            remote: None,
            signalling: Signalling::Stable,
            offers: 0,
            remote_offers: 0,
            answer: None,
            local_candidates: Vec::new(),
            sent_candidates: 0,
            max_candidates,
            remote_candidates: 0,
            open: false,
        }
    }

    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// The other side's connection, once known.
    pub(crate) const fn remote(&self) -> Option<ConnectionId> {
        self.remote
    }

    /// Begins an offer.
    pub(crate) fn offer(&mut self, actions: &mut Vec<Action>) {
        self.signalling = Signalling::Offering;
        self.offers += 1;
        actions.push(Action::Do(Command::CreateOffer));
    }

    /// Our offer was created.
    pub(crate) fn handle_offer_created(&mut self, sdp: String, actions: &mut Vec<Action>) {
        if self.signalling == Signalling::Offering {
            self.signalling = Signalling::Offered(sdp);
            self.resend(actions);
        }
    }

    /// Our answer was created.
    pub(crate) fn handle_answer_created(&mut self, sdp: String, actions: &mut Vec<Action>) {
        if self.signalling == Signalling::Answering {
            self.signalling = Signalling::Stable;
            self.answer = Some(sdp);
            self.resend(actions);
        }
    }

    /// One of our candidates was found.
    pub(crate) fn handle_candidate_found(&mut self, candidate: Option<IceCandidate>, actions: &mut Vec<Action>) {
        if self.local_candidates.len() < self.max_candidates {
            self.local_candidates.push(candidate);
            // Candidates follow the description that they belong to.
            if !matches!(self.signalling, Signalling::Offering | Signalling::Answering) {
                self.send_candidates(actions);
            }
        }
    }

    /// Sends what the other side may have missed: the last description, and all candidates behind it.
    pub(crate) fn resend(&mut self, actions: &mut Vec<Action>) {
        match (&self.signalling, &self.answer) {
            (Signalling::Offering | Signalling::Answering, _) => return,
            (Signalling::Offered(sdp), _) => {
                actions.push(self.signal(self.offers, HandshakeBody::Offer(sdp.clone())));
            }
            (Signalling::Stable, Some(sdp)) => {
                actions.push(self.signal(self.remote_offers, HandshakeBody::Answer(sdp.clone())));
            }
            (Signalling::Stable, None) => {}
        }
        self.sent_candidates = 0;
        self.send_candidates(actions);
    }

    /// The other side's offer, for this connection.
    pub(crate) fn handle_offer(&mut self, handshake: &Handshake, sdp: String, actions: &mut Vec<Action>) {
        if self.remote == Some(handshake.connection) && handshake.negotiation <= self.remote_offers {
            // Sent again, so our answer may be lost.
            if handshake.negotiation == self.remote_offers && self.signalling == Signalling::Stable {
                self.resend(actions);
            }
            return;
        }
        let glare = matches!(self.signalling, Signalling::Offering | Signalling::Offered(_));
        if glare && !self.polite {
            self.resend(actions);
            return;
        }
        if glare {
            // They belong to the offer that is taken back.
            self.local_candidates.clear();
            self.sent_candidates = 0;
        }
        self.remote = Some(handshake.connection);
        self.remote_offers = handshake.negotiation;
        self.remote_candidates = 0;
        self.answer = None;
        self.signalling = Signalling::Answering;
        actions.push(Action::Do(Command::AcceptOffer(sdp)));
    }

    /// The other side's answer.
    pub(crate) fn handle_answer(&mut self, handshake: &Handshake, sdp: String, actions: &mut Vec<Action>) {
        let ours = handshake.peer_connection == Some(self.id) && handshake.negotiation == self.offers;
        let bound = self.remote.is_none_or(|remote| remote == handshake.connection);
        if ours && bound && matches!(self.signalling, Signalling::Offered(_)) {
            self.remote = Some(handshake.connection);
            self.signalling = Signalling::Stable;
            self.answer = None;
            actions.push(Action::Do(Command::AcceptAnswer(sdp)));
        }
    }

    /// A candidate of the other side, whose description is there.
    pub(crate) fn handle_candidate(&mut self, candidate: Option<IceCandidate>, actions: &mut Vec<Action>) {
        if self.remote_candidates < self.max_candidates {
            self.remote_candidates += 1;
            actions.push(Action::Do(Command::AddCandidate(candidate)));
        }
    }

    fn send_candidates(&mut self, actions: &mut Vec<Action>) {
        for candidate in &self.local_candidates[self.sent_candidates..] {
            actions.push(self.signal(self.offers, HandshakeBody::Candidate(candidate.clone())));
        }
        self.sent_candidates = self.local_candidates.len();
    }

    const fn signal(&self, negotiation: u32, body: HandshakeBody) -> Action {
        Action::Signal(Handshake { connection: self.id, peer_connection: self.remote, negotiation, body })
    }
}
