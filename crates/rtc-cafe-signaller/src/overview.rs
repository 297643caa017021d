//! What an operator may see of rooms and members, and how somebody is thrown out.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rtc_cafe_wire::RoomId;

use crate::{
    Signaller,
    hub::{self, MemberOverview, Part, Place, RoomOverview},
};

/// Members at whom a search looks before clients have their turn.
const WORK: usize = 500;

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

/// What is known of sessions that an operator has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Kicked {
    /// Those that were connected to this node, and have ended: sid, and address as in [`Member`].
    pub here: Vec<(String, Option<IpAddr>)>,
    /// How many other nodes were asked to end, by their names. They are not known to have ended before they are seen no more.
    pub asked: BTreeMap<String, usize>,
    /// How many stay, because their nodes cannot be asked while the broker is away, by the names of the nodes.
    pub unreachable: BTreeMap<String, usize>,
}

impl Signaller {
    /// Rooms in which somebody is who is connected to this node, the largest first. A search finds them by their names, and
    /// by sids, permanent ids and identities of their members, in whatever case; an empty one finds all.
    ///
    /// It takes some milliseconds for each 10,000 members. Clients wait for a fraction of a millisecond at a time; in between
    /// rooms come and go, so what it finds may be from several moments.
    pub fn rooms(&self, search: &str, offset: usize, limit: usize) -> Page<RoomSummary> {
        let needle = hub::needle(search);
        let end = offset.saturating_add(limit);
        let (mut total, mut best, mut from) = (0, Vec::new(), Some(0));
        while let Some(at) = from {
            let (found, next) = self.shared.core().0.hub.overview(&needle, at, WORK);
            total += found.len();
            best.extend(found);
            from = next;
            // Of many rooms only those that are shown are kept, and need an order.
            if best.len() > end.saturating_add(end.max(WORK)) {
                best.select_nth_unstable_by(end, |one, other| rank(one).cmp(&rank(other)));
                best.truncate(end);
            }
        }
        best.sort_unstable_by(|one, other| rank(one).cmp(&rank(other)));
        let summary =
            |it: RoomOverview| RoomSummary { room: it.room.as_json().to_owned(), members: it.members, here: it.here };
        Page { total, items: best.into_iter().skip(offset).take(limit).map(summary).collect() }
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
    /// clients then leave for good, others do as they please. The session may be on another node, if a room of it is on this
    /// one; nothing of it is in what is returned if it is not known here.
    pub fn kick(&self, sid: &str) -> Kicked {
        self.kick_all(|_| vec![sid.into()])
    }

    /// Ends the sessions of everybody in a room, on all nodes. It needs somebody in the room who is connected to this node.
    pub fn kick_room(&self, room: &RoomId) -> Kicked {
        self.kick_all(|hub| hub.sids_in(room))
    }

    fn kick_all(&self, sids: impl FnOnce(&hub::Hub) -> Vec<Arc<str>>) -> Kicked {
        let (mut core, now) = self.shared.core();
        let mut kicked = Kicked::default();
        for sid in sids(&core.hub) {
            match core.hub.kick(now, &sid) {
                hub::Kicked::Here(socket) => {
                    let address = core.connection(socket).and_then(|(address, _)| address);
                    kicked.here.push((sid.as_ref().to_owned(), address));
                }
                hub::Kicked::Asked(node) => *kicked.asked.entry(node.as_ref().to_owned()).or_default() += 1,
                hub::Kicked::Unreachable(node) => *kicked.unreachable.entry(node.as_ref().to_owned()).or_default() += 1,
                hub::Kicked::Unknown => {}
            }
        }
        core.deliver(now, &self.shared.counters);
        kicked
    }

    /// The address of whoever sent a request to the application, behind the [trusted proxies](crate::Builder::trust_proxies).
    /// `None` where the application does not tell (as `ConnectInfo` of axum).
    pub fn address_of<B>(&self, request: &axum::http::Request<B>) -> Option<IpAddr> {
        self.shared.config.proxies.client(request.extensions(), request.headers())
    }
}

/// The largest come first.
const fn rank(room: &RoomOverview) -> (Reverse<usize>, &RoomId) {
    (Reverse(room.members), &room.room)
}
