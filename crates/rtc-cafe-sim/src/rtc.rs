//! Simulated peer connections: descriptions, candidates, and a reliable, ordered channel, with the rules that browsers
//! enforce (a description in the wrong state fails, a candidate without its description is lost, offers roll back).

use std::collections::{BTreeMap, BTreeSet};

use rtc_cafe_core::{Command, ConnectionEvent, ConnectionId, ConnectionState, TrackId, wire::signal::IceCandidate};

use crate::{NodeId, network::Network};

/// One end of a peer connection.
pub(crate) type End = (NodeId, ConnectionId);

/// What a session description says here: whose it is, which ICE credentials it has, at which address its candidates are,
/// and which m-lines send.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Description {
    end: End,
    ufrag: u64,
    address: u64,
    mids: BTreeSet<u64>,
}

impl Description {
    fn encode(&self) -> String {
        let mids: Vec<String> = self.mids.iter().map(u64::to_string).collect();
        format!("{} {} {} {} {}", self.end.0, self.end.1, self.ufrag, self.address, mids.join(" "))
    }

    fn decode(sdp: &str) -> Option<Self> {
        let mut numbers = sdp.split_ascii_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (node, connection, ufrag, address) = (next()?, next()?, next()?, next()?);
        let mids = numbers.collect::<Result<_, _>>().ok()?;
        Some(Self { end: (node as NodeId, ConnectionId(connection as u32)), ufrag, address, mids })
    }
}

#[derive(Debug, Default)]
struct Connection {
    local: Option<Description>,
    /// The local description is an offer without its answer.
    offering: bool,
    remote: Option<Description>,
    /// The credentials that its answer will have.
    foretold: Option<u64>,
    has_candidate: bool,
    linked: Option<End>,
    /// The addresses of both sides that the link is for.
    addresses: (u64, u64),
    /// Whether the link leads through a relay.
    relayed: bool,
    /// What the link's end was told of it, and how often that has changed.
    told: Option<ConnectionState>,
    turns: u64,
    /// Frames that have not arrived yet, with their numbers; those that came too early; and the number that comes next.
    unconfirmed: BTreeMap<u64, String>,
    sent: u64,
    early: BTreeMap<u64, String>,
    next: u64,
    /// The link is dead: nothing arrives any more.
    broken: bool,
    /// The tracks that are to be sent, by m-line.
    sending: BTreeMap<u64, TrackId>,
    /// The m-lines that the last answered offer sends on.
    negotiated: BTreeSet<u64>,
    next_mid: u64,
    /// The next offer brings new credentials.
    restart: bool,
    /// The other side's description has brought new ones.
    restarted: bool,
    /// No link was made with them yet.
    fresh: bool,
}

impl Connection {
    /// Sets the remote description; tells of the tracks that are new in it.
    fn set_remote(&mut self, end: End, sdp: &str) -> Vec<Effect> {
        let old = self.remote.take();
        self.remote = Description::decode(sdp);
        let ufrag = |description: &Option<Description>| description.as_ref().map(|description| description.ufrag);
        self.restarted = ufrag(&old) != ufrag(&self.remote);
        self.fresh |= self.restarted;
        if self.linked.is_none() || self.restarted {
            self.has_candidate = false;
        }
        let old = old.map(|remote| remote.mids).unwrap_or_default();
        let mids = self.remote.iter().flat_map(|remote| &remote.mids).filter(|mid| !old.contains(mid));
        mids.map(|mid| Effect::Tell(end, ConnectionEvent::TrackAdded(mid.to_string()))).collect()
    }
}

/// What happens next, to be scheduled by the world.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Tell an end something, in the order of its events.
    Tell(End, ConnectionEvent),
    /// These two can reach each other: call [`Connections::link`] a while later.
    Link(End, End),
    /// A frame travels to an end; call [`Connections::arrive`] then.
    Frame(End, u64, String),
    /// An end that hears nothing notices it in time; call [`Connections::notice`] then.
    Notice(End, u64, ConnectionState),
}

/// All peer connections of a world.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    connections: BTreeMap<End, Connection>,
    ufrags: u64,
    pub(crate) network: Network,
}

impl Connections {
    /// Carries out a command.
    pub(crate) fn execute(&mut self, end: End, command: Command) -> Vec<Effect> {
        match command {
            Command::Open => {
                self.connections.insert(end, Connection::default());
                Vec::new()
            }
            Command::Close => self.close(end, true),
            Command::CreateOffer | Command::PrepareOffer => self.describe(end, true),
            Command::ForetellAnswer => self.foretell(end),
            Command::AcceptOffer(sdp) => self.accept_offer(end, &sdp),
            Command::AcceptAnswer(sdp) => self.accept_answer(end, &sdp),
            Command::AddCandidate(candidate) => self.add_candidate(end, candidate),
            Command::AddTrack(id) => {
                if let Some(connection) = self.connections.get_mut(&end) {
                    connection.next_mid += 1;
                    connection.sending.insert(connection.next_mid, id);
                }
                Vec::new()
            }
            Command::RemoveTrack(id) => {
                if let Some(connection) = self.connections.get_mut(&end) {
                    connection.sending.retain(|_, sent| *sent != id);
                }
                Vec::new()
            }
            Command::RestartIce => {
                if let Some(connection) = self.connections.get_mut(&end) {
                    connection.restart = true;
                }
                Vec::new()
            }
            Command::Send(frame) => self.send(end, frame),
        }
    }

    fn foretell(&mut self, end: End) -> Vec<Effect> {
        self.ufrags += 1;
        let address = self.network.address(end.0);
        let Some(connection) = self.connections.get_mut(&end) else { return Vec::new() };
        connection.foretold = Some(self.ufrags);
        let answer = Description { end, ufrag: self.ufrags, address, mids: BTreeSet::new() };
        vec![Effect::Tell(end, ConnectionEvent::AnswerForetold(answer.encode()))]
    }

    fn describe(&mut self, end: End, offering: bool) -> Vec<Effect> {
        self.ufrags += 1;
        let address = self.network.address(end.0);
        let Some(connection) = self.connections.get_mut(&end) else { return Vec::new() };
        // A description of a connection that is up brings new credentials only when ICE is restarted.
        let restart = if offering { std::mem::take(&mut connection.restart) } else { connection.restarted };
        let keeps = connection.linked.is_some() && !restart;
        let known = connection.local.as_ref().filter(|_| keeps).map(|local| (local.ufrag, local.address));
        let foretold = connection.foretold.take().filter(|_| !offering);
        let (ufrag, address) = known.unwrap_or((foretold.unwrap_or(self.ufrags), address));
        // An answer brings no m-lines of its own.
        let may_send = |mid: &&u64| offering || connection.negotiated.contains(mid);
        let mids = connection.sending.keys().filter(may_send).copied().collect();
        let description = Description { end, ufrag, address, mids };
        let sdp = description.encode();
        connection.local = Some(description);
        connection.offering = offering;
        let created = if offering {
            let mids = connection.sending.iter().map(|(mid, id)| (mid.to_string(), id.clone())).collect();
            ConnectionEvent::OfferCreated { sdp, mids }
        } else {
            ConnectionEvent::AnswerCreated(sdp)
        };
        let mut effects = vec![Effect::Tell(end, created)];
        if known.is_none() {
            let candidate = IceCandidate { candidate: ufrag.to_string(), ..IceCandidate::default() };
            effects.push(Effect::Tell(end, ConnectionEvent::CandidateFound(Some(candidate))));
            effects.push(Effect::Tell(end, ConnectionEvent::CandidateFound(None)));
        }
        effects
    }

    fn accept_offer(&mut self, end: End, sdp: &str) -> Vec<Effect> {
        let Some(connection) = self.connections.get_mut(&end) else { return Vec::new() };
        let Some(offer) = Description::decode(sdp) else {
            return vec![Effect::Tell(end, ConnectionEvent::Failed("not a description".into()))];
        };
        // An offer of our own is taken back for one that restarts ICE.
        let restarts = connection.remote.as_ref().is_some_and(|remote| remote.ufrag != offer.ufrag);
        if connection.linked.is_some() && connection.offering && !restarts {
            return vec![Effect::Tell(end, ConnectionEvent::Failed("glare with media".into()))];
        }
        let mut effects = connection.set_remote(end, sdp);
        effects.extend(self.describe(end, false));
        effects.extend(self.try_link(end));
        effects
    }

    fn accept_answer(&mut self, end: End, sdp: &str) -> Vec<Effect> {
        let Some(connection) = self.connections.get_mut(&end) else { return Vec::new() };
        if !connection.offering {
            return vec![Effect::Tell(end, ConnectionEvent::Failed("answer in the state stable".into()))];
        }
        connection.offering = false;
        connection.negotiated = connection.local.as_ref().map(|local| local.mids.clone()).unwrap_or_default();
        let mut effects = connection.set_remote(end, sdp);
        effects.extend(self.try_link(end));
        effects
    }

    fn add_candidate(&mut self, end: End, candidate: Option<IceCandidate>) -> Vec<Effect> {
        let Some(connection) = self.connections.get_mut(&end) else { return Vec::new() };
        let ufrag = candidate.and_then(|candidate| candidate.candidate.parse::<u64>().ok());
        if ufrag.is_some() && connection.remote.as_ref().map(|remote| remote.ufrag) == ufrag {
            connection.has_candidate = true;
            return self.try_link(end);
        }
        Vec::new()
    }

    /// Two ends can reach each other once both have the other's description and one of them a candidate of the other.
    fn reachable(&self, end: End) -> Option<End> {
        let other = self.matched(end)?;
        let (one, two) = (self.connections.get(&end)?, self.connections.get(&other)?);
        let free = one.linked.is_none() && two.linked.is_none();
        let restarts = one.linked == Some(other) && two.linked == Some(end) && (one.fresh || two.fresh) && !one.broken;
        let there = |end: End, connection: &Connection| {
            connection.local.as_ref().is_some_and(|local| local.address == self.network.address(end.0))
        };
        let path = self.network.connects(end.0, other.0) && there(end, one) && there(other, two);
        ((free || restarts) && path).then_some(other)
    }

    /// The network has changed: links notice in time, and ends that could not reach each other try again.
    pub(crate) fn reassess(&mut self) -> Vec<Effect> {
        let ends: Vec<End> = self.connections.keys().copied().collect();
        ends.into_iter().flat_map(|end| if self.is_up(end) { self.resume(end) } else { self.falter(end) }).collect()
    }

    /// Whether frames from one end arrive at the other, now.
    fn arrives(&self, from: End) -> bool {
        let Some(connection) = self.connections.get(&from).filter(|connection| !connection.broken) else {
            return false;
        };
        let Some(to) = connection.linked else { return false };
        let addresses = (self.network.address(from.0), self.network.address(to.0));
        self.network.reaches(from.0, to.0) && connection.addresses == addresses
    }

    fn is_up(&self, end: End) -> bool {
        let back = self.connections.get(&end).and_then(|connection| connection.linked);
        self.arrives(end) && back.is_some_and(|other| self.arrives(other))
    }

    /// A link works again: what did not arrive is sent again.
    fn resume(&mut self, end: End) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(connection) = self.connections.get_mut(&end) else { return effects };
        let Some(other) = connection.linked else { return effects };
        if connection.told != Some(ConnectionState::Failed) {
            connection.turns += 1;
            if connection.told.take().is_some() {
                effects.push(Effect::Tell(end, ConnectionEvent::StateChanged(ConnectionState::Connected)));
            }
        }
        effects.extend(connection.unconfirmed.iter().map(|(&n, frame)| Effect::Frame(other, n, frame.clone())));
        effects
    }

    /// An end hears nothing any more, or is not linked.
    fn falter(&mut self, end: End) -> Vec<Effect> {
        let retry = self.try_link(end);
        let Some(connection) = self.connections.get_mut(&end) else { return retry };
        if connection.linked.is_none() || connection.broken || connection.told == Some(ConnectionState::Failed) {
            return retry;
        }
        connection.turns += 1;
        let notice = |state| Effect::Notice(end, connection.turns, state);
        let mut effects = vec![notice(ConnectionState::Disconnected), notice(ConnectionState::Failed)];
        effects.extend(retry);
        effects
    }

    /// An end notices that it has not heard anything for some time, unless it has meanwhile.
    pub(crate) fn notice(&mut self, end: End, turns: u64, state: ConnectionState) -> Vec<Effect> {
        let Some(connection) = self.connections.get_mut(&end).filter(|connection| connection.turns == turns) else {
            return Vec::new();
        };
        connection.told = Some(state);
        vec![Effect::Tell(end, ConnectionEvent::StateChanged(state))]
    }

    /// The links whose ends do not agree on how to reach each other, because a restart of ICE was not finished.
    pub(crate) fn astray(&self) -> Vec<End> {
        let linked = self.connections.iter().filter(|(_, connection)| connection.linked.is_some());
        linked.map(|(&end, _)| end).filter(|&end| self.matched(end).is_none()).collect()
    }

    /// The end that an end and its other side agree on.
    fn matched(&self, end: End) -> Option<End> {
        let connection = self.connections.get(&end)?;
        let other_end = connection.remote.as_ref()?.end;
        let other = self.connections.get(&other_end)?;
        let described = connection.remote == other.local && other.remote == connection.local;
        let settled = !connection.offering && !other.offering;
        let candidate = connection.has_candidate || other.has_candidate;
        (described && settled && candidate).then_some(other_end)
    }

    fn try_link(&self, end: End) -> Vec<Effect> {
        self.reachable(end).map(|other| Effect::Link(end, other)).into_iter().collect()
    }

    /// Connects two ends, if they still can be.
    pub(crate) fn link(&mut self, one: End, other: End) -> Vec<Effect> {
        if self.reachable(one) != Some(other) {
            return Vec::new();
        }
        let restarted = self.connections.get(&one).is_some_and(|connection| connection.linked.is_some());
        let relayed = self.network.is_walled(one.0, other.0);
        let mut effects = Vec::new();
        for (end, to) in [(one, other), (other, one)] {
            let addresses = (self.network.address(end.0), self.network.address(to.0));
            if let Some(connection) = self.connections.get_mut(&end) {
                connection.linked = Some(to);
                connection.addresses = addresses;
                connection.fresh = false;
                if std::mem::replace(&mut connection.relayed, relayed) != relayed {
                    effects.push(Effect::Tell(end, ConnectionEvent::PathChanged { relayed }));
                }
                if restarted && connection.told == Some(ConnectionState::Failed) {
                    connection.told = Some(ConnectionState::Disconnected);
                }
            }
        }
        if restarted {
            effects.extend([one, other].into_iter().flat_map(|end| self.resume(end)));
            return effects;
        }
        let events = [ConnectionEvent::StateChanged(ConnectionState::Connected), ConnectionEvent::ChannelOpen];
        effects.extend([one, other].into_iter().flat_map(|end| events.clone().map(|event| Effect::Tell(end, event))));
        effects
    }

    fn send(&mut self, end: End, frame: String) -> Vec<Effect> {
        let Some(connection) = self.connections.get_mut(&end) else { return Vec::new() };
        let Some(other) = connection.linked.filter(|_| !connection.broken) else { return Vec::new() };
        let number = connection.sent;
        connection.sent += 1;
        connection.unconfirmed.insert(number, frame.clone());
        vec![Effect::Frame(other, number, frame), self.buffered(end)]
    }

    fn buffered(&self, end: End) -> Effect {
        let unconfirmed = self.connections.get(&end).map(|connection| &connection.unconfirmed);
        let bytes = unconfirmed.into_iter().flat_map(BTreeMap::values).map(String::len).sum();
        Effect::Tell(end, ConnectionEvent::ChannelBuffered(bytes))
    }

    /// A frame has arrived at an end, if there is still a way. Frames are told in order.
    pub(crate) fn arrive(&mut self, end: End, number: u64, frame: String) -> Vec<Effect> {
        let Some(connection) = self.connections.get_mut(&end).filter(|connection| !connection.broken) else {
            return Vec::new();
        };
        let Some(sender) = connection.linked else { return Vec::new() };
        let gone = !self.connections.contains_key(&sender);
        if !gone && !self.arrives(sender) {
            return Vec::new();
        }
        let mut effects = Vec::new();
        if let Some(connection) = self.connections.get_mut(&sender) {
            connection.unconfirmed.remove(&number);
            effects.push(self.buffered(sender));
        }
        let Some(connection) = self.connections.get_mut(&end) else { return effects };
        if number >= connection.next {
            connection.early.insert(number, frame);
        }
        while let Some(frame) = connection.early.remove(&connection.next) {
            connection.next += 1;
            effects.push(Effect::Tell(end, ConnectionEvent::ChannelMessage(frame)));
        }
        effects
    }

    /// Ends one end; the other hears of it, unless the end died without a word or none arrives.
    fn close(&mut self, end: End, says_so: bool) -> Vec<Effect> {
        let heard = says_so && self.arrives(end);
        let closed = self.connections.remove(&end).filter(|connection| !connection.broken);
        let linked = closed.and_then(|connection| connection.linked);
        match linked {
            Some(other) if heard => vec![Effect::Tell(other, ConnectionEvent::ChannelClosed)],
            Some(other) => self.falter(other),
            None => Vec::new(),
        }
    }

    /// Breaks the link between two nodes, of which each is told that the channel has closed, or slowly that there is no
    /// path any more.
    pub(crate) fn break_between(&mut self, one: NodeId, other: NodeId, slowly: [bool; 2]) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut slowly = slowly.into_iter();
        for (&end, connection) in &mut self.connections {
            let to = connection.linked.filter(|_| !connection.broken).map(|to| to.0);
            if (end.0 == one && to == Some(other)) || (end.0 == other && to == Some(one)) {
                connection.broken = true;
                let notice = |state| Effect::Notice(end, connection.turns, state);
                match slowly.next() {
                    Some(true) => {
                        effects.extend([ConnectionState::Disconnected, ConnectionState::Failed].map(notice));
                    }
                    _ => effects.push(Effect::Tell(end, ConnectionEvent::ChannelClosed)),
                }
            }
        }
        effects
    }

    /// Ends everything of a node that is gone.
    pub(crate) fn kill(&mut self, node: NodeId, says_so: bool) -> Vec<Effect> {
        let ends: Vec<End> = self.connections.keys().copied().filter(|&(owner, _)| owner == node).collect();
        ends.into_iter().flat_map(|end| self.close(end, says_so)).collect()
    }

    /// The pairs of nodes that are linked, each link once.
    pub(crate) fn links(&self) -> Vec<(NodeId, NodeId)> {
        let ends = self.connections.iter().filter_map(|(&end, connection)| Some((end, connection.linked?)));
        ends.filter(|(end, other)| end < other && self.connections.contains_key(other))
            .map(|(end, other)| (end.0, other.0))
            .collect()
    }

    /// Whether two nodes are linked through a relay.
    pub(crate) fn are_relayed(&self, one: NodeId, other: NodeId) -> bool {
        let mut ends = self.connections.iter().filter(|(end, _)| end.0 == one);
        ends.any(|(_, connection)| connection.relayed && connection.linked.is_some_and(|to| to.0 == other))
    }

    /// Whether what one node sends arrives at another, and the other way round.
    pub(crate) fn are_linked(&self, one: NodeId, other: NodeId) -> bool {
        let mut ends = self.connections.iter().filter(|(end, _)| end.0 == one);
        ends.any(|(&end, connection)| connection.linked.is_some_and(|to| to.0 == other) && self.is_up(end))
    }

    /// The tracks that flow from one node to another.
    pub(crate) fn flowing(&self, from: NodeId, to: NodeId) -> BTreeSet<TrackId> {
        let of_sender = (from, ConnectionId(0))..=(from, ConnectionId(u32::MAX));
        self.connections
            .range(of_sender)
            .map(|(_, connection)| connection)
            .filter(|connection| connection.linked.is_some_and(|other| other.0 == to))
            .flat_map(|connection| {
                let negotiated = |(mid, _): &(&u64, &TrackId)| connection.negotiated.contains(mid);
                connection.sending.iter().filter(negotiated).map(|(_, id)| id.clone())
            })
            .collect()
    }

    /// The node at the other end of a linked connection.
    pub(crate) fn partner(&self, end: End) -> Option<NodeId> {
        Some(self.connections.get(&end)?.linked?.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use rtc_cafe_core::TrackKind;

    use super::*;
    use crate::conformance::{Backend, conforms};

    /// Two ends of the fake, where everything happens at once.
    #[derive(Default)]
    struct Fake {
        connections: Connections,
        events: [VecDeque<ConnectionEvent>; 2],
    }

    impl Fake {
        fn carry_out(&mut self, effects: Vec<Effect>) {
            let mut effects = VecDeque::from(effects);
            while let Some(effect) = effects.pop_front() {
                effects.extend(match effect {
                    Effect::Tell((node, _), event) => {
                        self.events[node].push_back(event);
                        Vec::new()
                    }
                    Effect::Link(one, other) => self.connections.link(one, other),
                    Effect::Frame(end, number, frame) => self.connections.arrive(end, number, frame),
                    Effect::Notice(..) => Vec::new(),
                });
            }
        }
    }

    impl Backend for Fake {
        fn execute(&mut self, end: usize, command: Command) {
            let effects = self.connections.execute((end, ConnectionId(1)), command);
            self.carry_out(effects);
        }

        fn prepare_track(&mut self, _end: usize, _id: &TrackId, _kind: TrackKind) {}

        fn event(&mut self, end: usize) -> Option<ConnectionEvent> {
            self.events[end].pop_front()
        }
    }

    #[test]
    fn the_fake_conforms() {
        conforms(Fake::default);
    }
}
