//! Tells other nodes everything that both are about: in pieces, as fast as the broker takes them, and not too often.

use std::time::Duration;

use super::{super::Hub, frame::Body};

/// A node is not told everything more often than this, however often it asks.
const BETWEEN: Duration = Duration::from_secs(3);

/// What is still to be told to a node.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// The rooms from this one on.
    from: Option<u32>,
    /// Everything, when this is done.
    wanted: bool,
    /// When it was begun last.
    begun: Option<Duration>,
    /// It has told everything, and is to be asked about those of the rooms from this one on that it did not name.
    asking: Option<u32>,
}

/// The next thing to tell a node.
enum Next {
    Begin,
    Room(u32),
    End,
    /// About a room that it did not name.
    Ask(u32),
}

impl Telling {
    /// Whatever was told may be lost, so it begins anew.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { wanted: true, ..Self::default() };
    }

    /// It is to be told everything, once what is being told is told.
    pub(super) const fn want(&mut self) {
        self.wanted = true;
    }

    /// It is to be asked about all rooms that it did not name, or about none.
    pub(super) fn ask_about_rest(&mut self, ask: bool) {
        self.asking = ask.then_some(0);
    }

    fn is_over(&self) -> bool {
        self.from.is_none() && !self.wanted && self.asking.is_none()
    }

    fn may_begin(&self, now: Duration) -> bool {
        self.from.is_none() && self.wanted && self.begun.is_none_or(|begun| begun + BETWEEN <= now)
    }
}

impl Hub {
    /// Whether there is more to publish as soon as everything else has gone to the broker: see [`Self::handle_flushed`].
    pub fn has_more(&self) -> bool {
        let nodes = self.nodes.as_deref().filter(|nodes| nodes.up);
        nodes.is_some_and(|nodes| {
            nodes.entering.is_some() || nodes.nodes.iter().any(|(_, node)| !node.telling_it.is_over())
        })
    }

    /// Everything that was published has gone to the broker: what is told in pieces goes on. To be called when
    /// [`Self::has_more`] says so, again and again until nothing comes of it.
    pub fn handle_flushed(&mut self, now: Duration) {
        let piece = self.config.piece as u64;
        let Some(nodes) = self.nodes.as_deref().filter(|nodes| nodes.up) else { return };
        let (end, known) = (nodes.told + piece, nodes.nodes.iter().map(|(index, _)| index).collect::<Vec<_>>());
        self.enter_rooms(end);
        for node in known {
            while self.told() < end
                && let Some(next) = self.next_for(now, node)
            {
                match next {
                    Next::Begin => self.tell_node(node, &Body::Begin),
                    Next::Room(room) => self.tell_room_again(node, room),
                    Next::End => self.tell_node(node, &Body::End),
                    Next::Ask(room) => self.ask_about(node, room),
                }
            }
        }
    }

    /// Bytes that were published, ever.
    fn told(&self) -> u64 {
        self.nodes.as_deref().map_or(0, |nodes| nodes.told)
    }

    /// Enters rooms after the broker came back, until so much is told.
    fn enter_rooms(&mut self, end: u64) {
        while self.told() < end
            && let Some(room) = self.nodes.as_deref().and_then(|nodes| nodes.entering)
        {
            let next = (room as usize + 1 < self.rooms.end()).then_some(room + 1);
            if let Some(nodes) = self.nodes.as_deref_mut() {
                nodes.entering = next;
            }
            self.tell_entry(room, true);
        }
    }

    fn next_for(&mut self, now: Duration, node: u32) -> Option<Next> {
        let other = self.nodes.as_deref_mut()?.nodes.get_mut(node)?;
        let telling = &mut other.telling_it;
        if telling.may_begin(now) {
            (telling.from, telling.wanted, telling.begun) = (Some(0), false, Some(now));
            return Some(Next::Begin);
        }
        let after = |room: Option<u32>| Some((room?, other.rooms.range(room?..).next().copied()));
        if let Some((_, room)) = after(telling.from) {
            telling.from = room.map(|room| room + 1);
            return Some(room.map_or(Next::End, Next::Room));
        }
        let (_, room) = after(telling.asking)?;
        telling.asking = room.map(|room| room + 1);
        room.map(Next::Ask)
    }

    fn tell_room_again(&mut self, node: u32, room: u32) {
        let away = self.rooms.get(room).and_then(|room| room.away.iter().find(|away| away.node == node));
        if let Some((entry, pending)) = away.map(|away| (away.entry, away.pending)) {
            self.tell_members(node, room, Some(entry), !pending);
        }
    }

    /// It has left the room, or has yet to learn that this node is in it.
    fn ask_about(&mut self, node: u32, room: u32) {
        if let Some(away) = self.known_away(node, room).filter(|away| away.stale) {
            away.stale = false;
            let (entry, knows) = (away.entry, !away.pending);
            self.tell_members(node, room, Some(entry), knows);
        }
    }
}
