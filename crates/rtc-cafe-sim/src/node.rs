//! One client of the simulation: its core, its signalling session, and the application that uses it.

use std::collections::BTreeSet;

use rtc_cafe_core::{Client, Config, RoomId, Session, TrackId, wire::ApiVersion};

use crate::{NodeId, check::Observer, links::Link};

pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) session: Session,
    pub(crate) observer: Observer,
    pub(crate) rooms: BTreeSet<RoomId>,
    /// The tracks that it has asked others for, and not given up.
    pub(crate) wanted: BTreeSet<(NodeId, TrackId)>,
    /// The connection to the server, while there is one.
    pub(crate) link: Option<Link>,
    pub(crate) alive: bool,
    /// When the world wakes it next.
    pub(crate) wakes_at: Option<u64>,
}

impl Node {
    pub(crate) fn new(seed: [u8; 32], api_version: ApiVersion) -> Self {
        Self {
            client: Client::new(Config::default(), seed),
            session: Session::new(api_version),
            observer: Observer::default(),
            rooms: BTreeSet::new(),
            wanted: BTreeSet::new(),
            link: None,
            alive: true,
            wakes_at: None,
        }
    }
}
