//! Negotiation of one peer connection: perfect negotiation (W3C WebRTC section 10.7) over lossy signalling.
//!
//! When both sides offer at once, the polite one takes its offer back. The impolite one ignores the other's offer and
//! sends its own again, because the other may never have got it.
//!
//! Once the data channel is open, descriptions go over it, and only one side at a time has the turn to offer; the
//! impolite one has it first. Browsers cannot be relied on to roll back an offer with media in it.
//!
//! When the path is lost, so is the channel until there is another path. An offer that restarts ICE therefore comes out of
//! turn and goes by every way there is, the channel included. There it marks where a new order begins: what was sent
//! before it is void, and the impolite side has the turn again.

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
    Offer { negotiation: u32, restart: bool, mids: Mids, sdp: String },
    /// Send an answer over the data channel.
    Answer { negotiation: u32, offers: u32, sdp: String },
}

/// The other side offered though it does not have the turn, or answered what was not asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfTurn;

/// The frame with which the other side's new order begins after a restart of ICE. What comes before it on the channel was
/// said in the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Its offer with this number.
    Offer(u32),
    /// Its answer to our offer with this number.
    Answer(u32),
}

/// The peer connection with one peer, from its first offer to its end.
#[derive(Debug)]
pub(crate) struct Connection {
    id: ConnectionId,
    polite: bool,
    /// The other side's connection, once it has answered us or we it.
    remote: Option<ConnectionId>,
    signalling: Signalling,
    /// Offers, and answers, that are being created; only the last one counts.
    creating: u32,
    answering: u32,
    /// Whether an offer of ours was answered.
    answered: bool,
    /// The number of our last offer.
    offers: u32,
    /// The m-lines of it that send tracks.
    mids: Mids,
    /// The number of the other side's last offer that we took.
    remote_offers: u32,
    /// Our answer to it, in case it has to be sent again, with the number that our offers had then.
    answer: Option<(u32, String)>,
    /// Our candidates, for a peer whose signalling session changes before we are connected.
    local_candidates: Vec<Option<IceCandidate>>,
    /// How many of them were sent by way of others, and how many over the channel.
    sent_candidates: usize,
    framed_candidates: usize,
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
    /// Whether our last offer restarts ICE, and whether one is to do so once the other side's offer is answered.
    restarting: bool,
    restart_due: bool,
    /// Whether the other side's last offer restarted ICE. The answer is kept then: the channel may lose it.
    restarted: bool,
    /// What has yet to come over the channel after a restart.
    awaited: Option<Mark>,
}

impl Connection {
    pub(crate) const fn new(id: ConnectionId, polite: bool, max_candidates: usize) -> Self {
        Self {
            id,
            polite,
            remote: None,
            signalling: Signalling::Stable,
            creating: 0,
            answering: 0,
            answered: false,
            offers: 0,
            mids: Vec::new(),
            remote_offers: 0,
            answer: None,
            local_candidates: Vec::new(),
            sent_candidates: 0,
            framed_candidates: 0,
            max_candidates,
            remote_candidates: 0,
            open: false,
            turn: !polite,
            turn_asked: false,
            turn_wanted: false,
            offer_due: false,
            restarting: false,
            restart_due: false,
            restarted: false,
            awaited: None,
        }
    }

    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whom it is for is known only now.
    pub(crate) const fn set_polite(&mut self, polite: bool) {
        self.polite = polite;
        self.turn = !polite;
    }

    /// Begins an offer that is to be there before anybody takes it.
    pub(crate) fn prepare_offer(&mut self, actions: &mut Vec<Action>) {
        self.offer(actions);
        actions.clear();
        actions.push(Action::Do(Command::PrepareOffer));
    }

    /// Our offer was created, and nobody is there yet to whom it could be sent.
    pub(crate) fn keep_offer(&mut self, sdp: String) -> Handshake {
        self.creating = 0;
        self.signalling = Signalling::Offered(sdp.clone());
        self.handshake(self.offers, self.offers, HandshakeBody::Offer(sdp))
    }

    /// Our answer to the first offer will be like this.
    pub(crate) fn foretell(&self, sdp: String) -> Handshake {
        self.handshake(1, self.offers, HandshakeBody::Answer(sdp))
    }

    /// One of our candidates was found, and nobody is there yet to whom it could be sent.
    pub(crate) fn keep_candidate(&mut self, candidate: Option<IceCandidate>) {
        if self.local_candidates.len() < self.max_candidates {
            self.local_candidates.push(candidate);
        }
    }

    /// The other side's connection, once known.
    pub(crate) const fn remote(&self) -> Option<ConnectionId> {
        self.remote
    }

    /// Whether the data channel is open.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the data channel is open and nothing is being negotiated.
    pub(crate) fn is_settled(&self) -> bool {
        self.open && self.signalling == Signalling::Stable && self.awaited.is_none()
    }

    /// The data channel has opened.
    pub(crate) fn set_open(&mut self) {
        self.open = true;
        self.framed_candidates = self.sent_candidates;
    }

    /// Begins an offer.
    pub(crate) fn offer(&mut self, actions: &mut Vec<Action>) {
        self.signalling = Signalling::Offering;
        self.creating += 1;
        self.offers += 1;
        self.restarting = false;
        actions.push(Action::Do(Command::CreateOffer));
    }

    /// Our offer was created.
    pub(crate) fn handle_offer_created(&mut self, sdp: String, mids: Mids, actions: &mut Vec<Action>) {
        self.creating = self.creating.saturating_sub(1);
        if self.signalling != Signalling::Offering || self.creating > 0 {
            return;
        }
        self.signalling = Signalling::Offered(sdp.clone());
        self.mids.clone_from(&mids);
        if self.open {
            actions.push(Action::Offer { negotiation: self.offers, restart: self.restarting, mids, sdp });
        }
        self.resend(actions);
    }

    /// Our answer was created.
    pub(crate) fn handle_answer_created(&mut self, sdp: String, actions: &mut Vec<Action>) {
        self.answering = self.answering.saturating_sub(1);
        if self.signalling != Signalling::Answering || self.answering > 0 {
            return;
        }
        self.signalling = Signalling::Stable;
        if self.open {
            let (negotiation, offers) = (self.remote_offers, self.offers);
            actions.push(Action::Answer { negotiation, offers, sdp: sdp.clone() });
        }
        self.answer = (self.is_routed() || self.restarted).then_some((self.offers, sdp));
        self.resend(actions);
        if std::mem::take(&mut self.restart_due) {
            self.restart(actions);
        }
        self.advance(actions);
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

    /// Whether what the other side has to know goes by way of others, because the channel is not there or in doubt.
    pub(crate) const fn is_routed(&self) -> bool {
        !self.open || self.awaited.is_some()
    }

    /// Sends what the other side may have missed: the last description, and all candidates behind it.
    pub(crate) fn resend(&mut self, actions: &mut Vec<Action>) {
        if matches!(self.signalling, Signalling::Offering | Signalling::Answering) {
            return;
        }
        if self.is_routed() {
            match (&self.signalling, &self.answer) {
                (Signalling::Offered(sdp), _) if !self.open || self.restarting => {
                    actions.push(self.signal(self.offers, self.offers, HandshakeBody::Offer(sdp.clone())));
                }
                _ => self.resend_answer(actions),
            }
            self.sent_candidates = 0;
        }
        self.send_candidates(actions);
    }

    /// The other side has sent an offer again, so our answer may be lost, whatever way it took.
    fn repeat_answer(&mut self, actions: &mut Vec<Action>) {
        if self.signalling != Signalling::Answering {
            self.resend_answer(actions);
            self.sent_candidates = 0;
            self.signal_candidates(actions);
        }
    }

    fn resend_answer(&self, actions: &mut Vec<Action>) {
        if let Some((offers, sdp)) = &self.answer {
            actions.push(self.signal(self.remote_offers, *offers, HandshakeBody::Answer(sdp.clone())));
        }
    }

    /// The other side's offer, for this connection.
    pub(crate) fn handle_offer(&mut self, handshake: &Handshake, sdp: String, actions: &mut Vec<Action>) {
        // Once our offer is answered, one that the other side has taken back may still come, by a slower way.
        if self.open || self.answered {
            return;
        }
        if self.remote == Some(handshake.connection) && handshake.negotiation <= self.remote_offers {
            if handshake.negotiation == self.remote_offers {
                self.repeat_answer(actions);
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
            self.forget_candidates();
        }
        self.remote = Some(handshake.connection);
        self.accept_offer(handshake.negotiation, false, sdp, actions);
    }

    fn accept_offer(&mut self, negotiation: u32, restart: bool, sdp: String, actions: &mut Vec<Action>) {
        self.remote_offers = negotiation;
        self.restarted = restart;
        self.remote_candidates = 0;
        self.answer = None;
        self.signalling = Signalling::Answering;
        self.answering += 1;
        actions.push(Action::Do(Command::AcceptOffer(sdp)));
    }

    fn forget_candidates(&mut self) {
        self.local_candidates.clear();
        self.sent_candidates = 0;
        self.framed_candidates = 0;
    }

    /// The other side's answer.
    pub(crate) fn handle_answer(&mut self, handshake: &Handshake, sdp: String, actions: &mut Vec<Action>) {
        let ours = handshake.peer_connection == Some(self.id) && handshake.negotiation == self.offers;
        let bound = self.remote.is_none_or(|remote| remote == handshake.connection);
        // What is negotiated over the channel is answered there.
        let routed = !self.open || self.restarting;
        if ours && bound && routed && matches!(self.signalling, Signalling::Offered(_)) {
            self.remote = Some(handshake.connection);
            self.answered = true;
            self.accept_answer(handshake.offers, sdp, actions);
        }
    }

    /// Offers of the other side up to this number were void when it answered.
    fn accept_answer(&mut self, offers: u32, sdp: String, actions: &mut Vec<Action>) {
        self.remote_offers = self.remote_offers.max(offers);
        self.signalling = Signalling::Stable;
        self.answer = None;
        self.remote_candidates = 0;
        actions.push(Action::Do(Command::AcceptAnswer(sdp)));
        self.advance(actions);
    }

    /// Something has changed that needs an offer; it is made as soon as it is our turn.
    pub(crate) fn renegotiate(&mut self, actions: &mut Vec<Action>) {
        self.offer_due = true;
        self.advance(actions);
    }

    /// The path to the other side is lost, or about to be: another one is looked for.
    pub(crate) fn restart(&mut self, actions: &mut Vec<Action>) {
        let under_way = self.restarting && matches!(self.signalling, Signalling::Offering | Signalling::Offered(_));
        self.restart_due = self.open && self.signalling == Signalling::Answering;
        if !self.open || under_way || self.restart_due {
            self.resend(actions);
            return;
        }
        actions.push(Action::Do(Command::RestartIce));
        self.offer(actions);
        self.restarting = true;
        // It says all that there is to say.
        self.offer_due = false;
        self.begin_order(Mark::Answer(self.offers));
    }

    /// The other side's offer restarts ICE; returns whether it is taken.
    pub(crate) fn handle_restart(&mut self, negotiation: u32, sdp: String, actions: &mut Vec<Action>) -> bool {
        if negotiation <= self.remote_offers {
            if negotiation == self.remote_offers {
                self.repeat_answer(actions);
            }
            return false;
        }
        let offering = matches!(self.signalling, Signalling::Offering | Signalling::Offered(_));
        if offering && !self.polite {
            self.restart(actions);
            return false;
        }
        // Ours is rolled back.
        self.offer_due |= offering;
        self.restarting = false;
        self.begin_order(Mark::Offer(negotiation));
        self.accept_offer(negotiation, true, sdp, actions);
        true
    }

    fn begin_order(&mut self, awaited: Mark) {
        self.awaited = Some(awaited);
        self.turn = !self.polite;
        self.turn_asked = false;
        self.turn_wanted = false;
        self.forget_candidates();
    }

    /// Whether a frame that comes now is of an order that is void. `mark` is what the frame would begin a new one with.
    fn is_void(&mut self, mark: Option<Mark>) -> bool {
        if mark.is_some() && self.awaited == mark {
            self.awaited = None;
        }
        self.awaited.is_some()
    }

    /// The other side asks for the turn to offer.
    pub(crate) fn handle_turn_request(&mut self, actions: &mut Vec<Action>) {
        if !self.is_void(None) {
            self.turn_wanted = true;
            self.advance(actions);
        }
    }

    /// The other side hands us the turn.
    pub(crate) fn handle_turn(&mut self, actions: &mut Vec<Action>) {
        if !self.is_void(None) {
            self.turn = true;
            self.turn_asked = false;
            self.advance(actions);
        }
    }

    /// An offer over the data channel; returns whether it is taken.
    pub(crate) fn handle_frame_offer(
        &mut self,
        negotiation: u32,
        restart: bool,
        sdp: String,
        actions: &mut Vec<Action>,
    ) -> Result<bool, OutOfTurn> {
        if restart {
            let taken = self.handle_restart(negotiation, sdp, actions);
            self.is_void(Some(Mark::Offer(negotiation)));
            return Ok(taken);
        }
        if self.is_void(None) {
            return Ok(false);
        }
        if self.turn || self.signalling != Signalling::Stable || negotiation <= self.remote_offers {
            return Err(OutOfTurn);
        }
        self.accept_offer(negotiation, false, sdp, actions);
        Ok(true)
    }

    /// An answer over the data channel.
    pub(crate) fn handle_frame_answer(
        &mut self,
        negotiation: u32,
        offers: u32,
        sdp: String,
        actions: &mut Vec<Action>,
    ) -> Result<(), OutOfTurn> {
        let begins = self.awaited == Some(Mark::Answer(negotiation));
        let waits = matches!(self.signalling, Signalling::Offered(_)) && negotiation == self.offers;
        if self.is_void(Some(Mark::Answer(negotiation))) || (begins && !waits) {
            // It is void, or has come by another way before.
            self.advance(actions);
            return Ok(());
        }
        if !waits {
            return Err(OutOfTurn);
        }
        self.accept_answer(offers, sdp, actions);
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

    pub(crate) fn send_candidates(&mut self, actions: &mut Vec<Action>) {
        if self.open {
            // Their end does not matter to whoever is connected.
            for candidate in self.local_candidates.iter().skip(self.framed_candidates).flatten() {
                actions.push(Action::Frame(Frame::Candidate(candidate.clone())));
            }
            self.framed_candidates = self.local_candidates.len();
        }
        if self.is_routed() {
            self.signal_candidates(actions);
        } else if self.answer.is_none() {
            // The channel loses nothing, so nothing is kept.
            self.forget_candidates();
        }
    }

    fn signal_candidates(&mut self, actions: &mut Vec<Action>) {
        for candidate in self.local_candidates.iter().skip(self.sent_candidates) {
            actions.push(self.signal(self.offers, self.offers, HandshakeBody::Candidate(candidate.clone())));
        }
        self.sent_candidates = self.local_candidates.len();
    }

    fn signal(&self, negotiation: u32, offers: u32, body: HandshakeBody) -> Action {
        Action::Signal(self.handshake(negotiation, offers, body))
    }

    fn handshake(&self, negotiation: u32, offers: u32, body: HandshakeBody) -> Handshake {
        let restart = self.restarting && matches!(body, HandshakeBody::Offer(_));
        let mids = if restart { self.mids.clone() } else { Mids::new() };
        let (connection, peer_connection) = (self.id, self.remote);
        Handshake { connection, peer_connection, negotiation, offers, restart, mids, body }
    }
}
