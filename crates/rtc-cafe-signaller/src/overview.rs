//! What an operator may see of rooms and members, and how somebody is thrown out.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rtc_cafe_wire::RoomId;

use crate::{
    Signaller,
    hub::{MemberOverview, Part, Place},
};

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// How many there are in the whole list.
    pub total: usize,
    /// Those that were asked for.
    pub items: Vec<T>,
}

/// A room with somebody in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomSummary {
    /// The room, as JSON: a text, or a number.
    pub room: String,
    /// Its members, on all nodes.
    pub members: usize,
    /// Those of them who are connected to this node.
    pub here: usize,
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// By which its peers know it.
    pub sid: String,
    /// The JSON of its permanent id, if it has named one.
    pub id: Option<String>,
    /// The JSON of the [identity](crate::admission::Pass::identity) with which it was let in, if it is connected to this node.
    pub identity: Option<String>,
    /// The node that it is connected to; `None` where there is one only.
    pub node: Option<String>,
    /// Whether that is this one.
    pub here: bool,
    /// Its address, if it is connected to this node, and the application told (as `ConnectInfo` of axum): that of its
    /// connection, or the one that a [trusted proxy](crate::Builder::trust_proxies) names.
    pub address: Option<IpAddr>,
    /// Since when it is connected; of somebody on another node, since when it is in this room.
    pub since: Option<SystemTime>,
}

impl Signaller {
    /// Rooms in which somebody is who is connected to this node, the largest first. A search finds them by their names, and
    /// by sids, permanent ids and identities of their members, in whatever case; an empty one finds all.
    ///
    /// It takes about a millisecond for each 10,000 rooms, in which clients wait.
    pub fn rooms(&self, search: &str, offset: usize, limit: usize) -> Page<RoomSummary> {
        let (core, _) = self.shared.core();
        let (total, rooms) = core.hub.overview(Part { search, offset, limit });
        drop(core);
        let summary = |it: crate::hub::RoomOverview| {
            let room = it.room.as_json().to_owned();
            RoomSummary { room, members: it.members, here: it.here }
        };
        Page { total, items: rooms.into_iter().map(summary).collect() }
    }

    /// The members of a room, those of this node first. A search finds them by sid, permanent id and identity. `None` if nobody is in
    /// the room who is connected to this node.
    pub fn members(&self, room: &RoomId, search: &str, offset: usize, limit: usize) -> Option<Page<Member>> {
        let (core, _) = self.shared.core();
        let (total, members) = core.hub.members_overview(room, Part { search, offset, limit })?;
        let own = core.hub.node_name();
        let owned = |text: Arc<str>| text.as_ref().to_owned();
        let member = |MemberOverview { sid, id, identity, place }| {
            let (node, here, address, since) = match place {
                Place::Here(socket) => {
                    let (address, age) = core.connection(socket).unzip();
                    let since = age.and_then(|age| SystemTime::now().checked_sub(age));
                    (own.map(str::to_owned), true, address.flatten(), since)
                }
                Place::Away(node, joined) => {
                    let since = UNIX_EPOCH.checked_add(Duration::from_micros(joined));
                    (Some(owned(node)), false, None, since)
                }
            };
            let (sid, id, identity) = (owned(sid), id.map(owned), identity.map(owned));
            Member { sid, id, identity, node, here, address, since }
        };
        Some(Page { total, items: members.into_iter().map(member).collect() })
    }

    /// The name of this node among several, by which other nodes show its members. It is another one after each start.
    pub fn node(&self) -> Option<String> {
        self.shared.core().0.hub.node_name().map(str::to_owned)
    }

    /// Ends a session: its client is told by an `error` with the code `kicked`, and disconnected; its peers hear of it. Our
    /// clients then leave for good, others do as they please. Returns whether it is known here; it may be on another
    /// node, if a room of it is on this one.
    pub fn kick(&self, sid: &str) -> bool {
        let (mut core, now) = self.shared.core();
        let kicked = core.hub.kick(now, sid);
        core.deliver(now, &self.shared.counters);
        kicked
    }

    /// Ends the sessions of everybody in a room, on all nodes; returns how many there were. It needs somebody in the room
    /// who is connected to this node.
    pub fn kick_room(&self, room: &RoomId) -> usize {
        let (mut core, now) = self.shared.core();
        let kicked = core.hub.kick_room(now, room);
        core.deliver(now, &self.shared.counters);
        kicked
    }
}
