//! Negotiation of one peer connection: perfect negotiation (W3C WebRTC section 10.7) over lossy signalling.
//!
//! When both sides offer at once, the polite one takes its offer back. The impolite one ignores the other's offer and
//! sends its own again, because the other may never have got it.
//!
//! Once the data channel is open, descriptions go over it, and only one side at a time has the turn to offer; the
//! impolite one has it first. Browsers cannot be relied on to roll back an offer with media in it.

use rtc_cafe_wire::{
    peer::{Frame, Mids},
    signal::{ConnectionId, Handshake, HandshakeBody, IceCandidate},
};

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
    /// Do this to the connection.
    Do(Command),
    /// Send this by way of the server.
    Signal(Handshake),
    /// Send this over the data channel.
    Frame(Frame<'static>),
    /// Send an offer over the data channel.
    Offer { negotiation: u32, mids: Mids, sdp: String },
    /// Send an answer over the data channel.
    Answer { negotiation: u32, sdp: String },
}

/// The other side offered though it does not have the turn, or answered what was not asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfTurn;

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
    open: bool,
    /// Whether it is our turn to offer.
    turn: bool,
    /// Whether we have asked for the turn.
    turn_asked: bool,
    /// Whether the other side has asked for it.
    turn_wanted: bool,
    /// Whether something has changed that needs an offer.
    offer_due: bool,
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
            turn: !polite,
            turn_asked: false,
            turn_wanted: false,
            offer_due: false,
        }
    }

    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// The other side's connection, once known.
    pub(crate) const fn remote(&self) -> Option<ConnectionId> {
        self.remote
    }

    /// Whether the data channel is open.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// The data channel has opened.
    pub(crate) fn set_open(&mut self) {
        self.open = true;
        self.local_candidates = self.local_candidates.split_off(self.sent_candidates);
        self.sent_candidates = 0;
    }

    /// Begins an offer.
    pub(crate) fn offer(&mut self, actions: &mut Vec<Action>) {
        self.signalling = Signalling::Offering;
        self.offers += 1;
        actions.push(Action::Do(Command::CreateOffer));
    }

    /// Our offer was created.
    pub(crate) fn handle_offer_created(&mut self, sdp: String, mids: Mids, actions: &mut Vec<Action>) {
        if self.signalling != Signalling::Offering {
            return;
        }
        self.signalling = Signalling::Offered(sdp.clone());
        if self.open {
            actions.push(Action::Offer { negotiation: self.offers, mids, sdp });
            self.send_candidates(actions);
        } else {
            self.resend(actions);
        }
    }

    /// Our answer was created.
    pub(crate) fn handle_answer_created(&mut self, sdp: String, actions: &mut Vec<Action>) {
        if self.signalling != Signalling::Answering {
            return;
        }
        self.signalling = Signalling::Stable;
        if self.open {
            actions.push(Action::Answer { negotiation: self.remote_offers, sdp });
            self.send_candidates(actions);
            self.advance(actions);
        } else {
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
        if self.open {
            return;
        }
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
        if self.open {
            return;
        }
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

    /// Something has changed that needs an offer; it is made as soon as it is our turn.
    pub(crate) fn renegotiate(&mut self, actions: &mut Vec<Action>) {
        self.offer_due = true;
        self.advance(actions);
    }

    /// The way to the other side may have changed, so another one is looked for.
    pub(crate) fn restart_ice(&mut self, actions: &mut Vec<Action>) {
        if self.open {
            actions.push(Action::Do(Command::RestartIce));
            self.renegotiate(actions);
        }
    }

    /// The other side asks for the turn to offer.
    pub(crate) fn handle_turn_request(&mut self, actions: &mut Vec<Action>) {
        self.turn_wanted = true;
        self.advance(actions);
    }

    /// The other side hands us the turn.
    pub(crate) fn handle_turn(&mut self, actions: &mut Vec<Action>) {
        self.turn = true;
        self.turn_asked = false;
        self.advance(actions);
    }

    /// An offer over the data channel.
    pub(crate) fn handle_frame_offer(
        &mut self,
        negotiation: u32,
        sdp: String,
        actions: &mut Vec<Action>,
    ) -> Result<(), OutOfTurn> {
        if self.turn || self.signalling != Signalling::Stable || negotiation <= self.remote_offers {
            return Err(OutOfTurn);
        }
        self.remote_offers = negotiation;
        self.remote_candidates = 0;
        self.signalling = Signalling::Answering;
        actions.push(Action::Do(Command::AcceptOffer(sdp)));
        Ok(())
    }

    /// An answer over the data channel.
    pub(crate) fn handle_frame_answer(
        &mut self,
        negotiation: u32,
        sdp: String,
        actions: &mut Vec<Action>,
    ) -> Result<(), OutOfTurn> {
        if !matches!(self.signalling, Signalling::Offered(_)) || negotiation != self.offers {
            return Err(OutOfTurn);
        }
        self.signalling = Signalling::Stable;
        self.remote_candidates = 0;
        actions.push(Action::Do(Command::AcceptAnswer(sdp)));
        self.advance(actions);
        Ok(())
    }

    /// Passes the turn on, takes it, or asks for it, as is due. Whoever has offered lets the other go first.
    fn advance(&mut self, actions: &mut Vec<Action>) {
        if !self.open || self.signalling != Signalling::Stable {
            return;
        }
        if self.turn && self.turn_wanted {
            self.turn = false;
            self.turn_wanted = false;
            actions.push(Action::Frame(Frame::Turn));
        }
        if !self.offer_due {
            return;
        }
        if self.turn {
            self.offer_due = false;
            self.offer(actions);
        } else if !self.turn_asked {
            self.turn_asked = true;
            actions.push(Action::Frame(Frame::TurnRequest));
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
        if self.open {
            // The channel loses nothing, so nothing is kept, and their end does not matter to whoever is connected.
            let candidates = std::mem::take(&mut self.local_candidates).into_iter().flatten();
            actions.extend(candidates.map(|candidate| Action::Frame(Frame::Candidate(candidate))));
            return;
        }
        for candidate in self.local_candidates.iter().skip(self.sent_candidates) {
            actions.push(self.signal(self.offers, HandshakeBody::Candidate(candidate.clone())));
        }
        self.sent_candidates = self.local_candidates.len();
    }

    const fn signal(&self, negotiation: u32, body: HandshakeBody) -> Action {
        Action::Signal(Handshake { connection: self.id, peer_connection: self.remote, negotiation, body })
    }
}
