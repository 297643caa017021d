//! Simulated peer connections: descriptions, candidates, and a reliable, ordered channel, with the rules that browsers
//! enforce (a description in the wrong state fails, a candidate without its description is lost, offers roll back).

use std::collections::{BTreeMap, BTreeSet};

use rtc_cafe_core::{Command, ConnectionEvent, ConnectionId, ConnectionState, TrackId, wire::signal::IceCandidate};

use crate::NodeId;

/// One end of a peer connection.
pub(crate) type End = (NodeId, ConnectionId);

/// What a session description says here: whose it is, which ICE credentials it has, and which m-lines send.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Description {
    end: End,
    ufrag: u64,
    mids: BTreeSet<u64>,
}

impl Description {
    fn encode(&self) -> String {
        let mids: Vec<String> = self.mids.iter().map(u64::to_string).collect();
        format!("{} {} {} {}", self.end.0, self.end.1, self.ufrag, mids.join(" "))
    }

    fn decode(sdp: &str) -> Option<Self> {
        let mut numbers = sdp.split_ascii_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (node, connection, ufrag) = (next()?, next()?, next()?);
        let mids = numbers.collect::<Result<_, _>>().ok()?;
        Some(Self { end: (node as NodeId, ConnectionId(connection as u32)), ufrag, mids })
    }
}

#[derive(Debug, Default)]
struct Connection {
    local: Option<Description>,
    /// The local description is an offer without its answer.
    offering: bool,
    remote: Option<Description>,
    has_candidate: bool,
    linked: Option<End>,
    /// The tracks that are to be sent, by m-line.
    sending: BTreeMap<u64, TrackId>,
    /// The m-lines that the last answered offer sends on.
    negotiated: BTreeSet<u64>,
    next_mid: u64,
    /// Bytes on their way to the other end.
    in_flight: usize,
}

impl Connection {
    /// Sets the remote description; tells of the tracks that are new in it.
    fn set_remote(&mut self, end: End, sdp: &str) -> Vec<Effect> {
        let old = self.remote.take().map(|remote| remote.mids).unwrap_or_default();
        self.remote = Description::decode(sdp);
        if self.linked.is_none() {
            self.has_candidate = false;
        }
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
    Frame(End, String),
}

/// All peer connections of a world.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    connections: BTreeMap<End, Connection>,
    ufrags: u64,
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
            Command::CreateOffer => self.describe(end, true),
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
            Command::Send(frame) => self.send(end, frame),
        }
    }

    fn describe(&mut self, end: End, offering: bool) -> Vec<Effect> {
        self.ufrags += 1;
        let Some(connection) = self.connections.get_mut(&end) else { return Vec::new() };
        // Only the first description of a connection brings credentials; later ones change its media.
        let known = connection.local.as_ref().filter(|_| connection.linked.is_some()).map(|local| local.ufrag);
        let ufrag = known.unwrap_or(self.ufrags);
        // An answer brings no m-lines of its own.
        let may_send = |mid: &&u64| offering || connection.negotiated.contains(mid);
        let mids = connection.sending.keys().filter(may_send).copied().collect();
        let description = Description { end, ufrag, mids };
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
        if connection.linked.is_some() && connection.offering {
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
        let connection = self.connections.get(&end)?;
        let other_end = connection.remote.as_ref()?.end;
        let other = self.connections.get(&other_end)?;
        let described = connection.remote == other.local && other.remote == connection.local;
        let settled = !connection.offering && !other.offering;
        let candidate = connection.has_candidate || other.has_candidate;
        let free = connection.linked.is_none() && other.linked.is_none();
        (described && settled && candidate && free).then_some(other_end)
    }

    fn try_link(&self, end: End) -> Vec<Effect> {
        self.reachable(end).map(|other| Effect::Link(end, other)).into_iter().collect()
    }

    /// Connects two ends, if they still can be.
    pub(crate) fn link(&mut self, one: End, other: End) -> Vec<Effect> {
        if self.reachable(one) != Some(other) {
            return Vec::new();
        }
        for (end, to) in [(one, other), (other, one)] {
            if let Some(connection) = self.connections.get_mut(&end) {
                connection.linked = Some(to);
            }
        }
        let events = [ConnectionEvent::StateChanged(ConnectionState::Connected), ConnectionEvent::ChannelOpen];
        [one, other].into_iter().flat_map(|end| events.clone().map(|event| Effect::Tell(end, event))).collect()
    }

    fn send(&mut self, end: End, frame: String) -> Vec<Effect> {
        let Some(connection) = self.connections.get_mut(&end) else { return Vec::new() };
        let Some(other) = connection.linked else { return Vec::new() };
        connection.in_flight += frame.len();
        let buffered = ConnectionEvent::ChannelBuffered(connection.in_flight);
        vec![Effect::Frame(other, frame), Effect::Tell(end, buffered)]
    }

    /// A frame has arrived at an end.
    pub(crate) fn arrive(&mut self, end: End, frame: String) -> Vec<Effect> {
        let Some(sender) = self.connections.get(&end).and_then(|connection| connection.linked) else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        if let Some(connection) = self.connections.get_mut(&sender) {
            connection.in_flight = connection.in_flight.saturating_sub(frame.len());
            effects.push(Effect::Tell(sender, ConnectionEvent::ChannelBuffered(connection.in_flight)));
        }
        effects.push(Effect::Tell(end, ConnectionEvent::ChannelMessage(frame)));
        effects
    }

    /// Ends one end; the other hears of it, unless the end died without a word.
    fn close(&mut self, end: End, says_so: bool) -> Vec<Effect> {
        let linked = self.connections.remove(&end).and_then(|connection| connection.linked);
        match linked {
            Some(other) if says_so => vec![Effect::Tell(other, ConnectionEvent::ChannelClosed)],
            Some(other) => {
                let failed = ConnectionEvent::StateChanged(ConnectionState::Failed);
                vec![Effect::Tell(other, failed)]
            }
            None => Vec::new(),
        }
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
