//! One client of the simulation: its core, its signalling session, and the application that uses it.

use std::collections::{BTreeMap, BTreeSet};

use rtc_cafe_core::{Client, Config, RoomId, Session, Sid, TrackId, wire::ApiVersion};

use crate::{NodeId, check::Observer, links::Link, world::Happening};

/// What a client does with what it is to pass on for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Forwarder {
    #[default]
    Honest,
    Drops,
    Repeats,
    /// Each for another time, so that the order is lost.
    Delays,
}

pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) session: Session,
    pub(crate) observer: Observer,
    pub(crate) rooms: BTreeSet<RoomId>,
    /// The tracks that it has asked others for, and not given up.
    pub(crate) wanted: BTreeSet<(NodeId, TrackId)>,
    /// The tracks whose owner took them back, which it may not have heard of if the two have been parted more often
    /// than this.
    pub(crate) doubtful: BTreeMap<(NodeId, TrackId), u64>,
    /// The session under which it knew another one last.
    pub(crate) last_sids: BTreeMap<NodeId, Sid>,
    /// The connection to the server, while there is one.
    pub(crate) link: Option<Link>,
    pub(crate) alive: bool,
    pub(crate) reaches_server: bool,
    pub(crate) asleep: bool,
    /// What happened while it slept.
    pub(crate) missed: Vec<Happening>,
    pub(crate) forwarder: Forwarder,
    /// When the world wakes it next.
    pub(crate) wakes_at: Option<u64>,
}

impl Node {
    pub(crate) fn new(seed: [u8; 32], api_version: ApiVersion, config: Config) -> Self {
        Self {
            client: Client::new(config, seed),
            session: Session::new(api_version),
            observer: Observer::default(),
            rooms: BTreeSet::new(),
            wanted: BTreeSet::new(),
            doubtful: BTreeMap::new(),
            last_sids: BTreeMap::new(),
            link: None,
            alive: true,
            reaches_server: true,
            asleep: false,
            missed: Vec::new(),
            forwarder: Forwarder::default(),
            wakes_at: None,
        }
    }
}
