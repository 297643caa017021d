//! Sessions on other nodes, as far as they are in rooms of this one.

use std::{collections::BTreeMap, sync::Arc};

use super::super::{ended::Session, slab::Slab};

/// A session on another node.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) sid: Arc<str>,
    pub(super) node: u32,
    pub(super) session: Session,
    /// One for each room.
    pub(super) stays: Vec<Stay>,
}

/// A session's membership of a room.
#[derive(Debug)]
pub(super) struct Stay {
    /// The index of the room.
    pub(super) room: u32,
    pub(super) joined: u64,
    /// Its node is telling its members, and has not come to this one.
    pub(super) stale: bool,
    /// The client is there under another sid, on another node: nobody misses this one.
    pub(super) replaced: bool,
}

impl Remote {
    /// The rooms in which it can be reached.
    pub(super) fn rooms(&self) -> impl Iterator<Item = u32> {
        self.stays.iter().filter(|stay| !stay.replaced).map(|stay| stay.room)
    }

    pub(super) fn stay_mut(&mut self, room: u32) -> Option<&mut Stay> {
        self.stays.iter_mut().find(|stay| stay.room == room)
    }
}

/// All of them, by index and by sid.
#[derive(Debug)]
pub(super) struct Remotes {
    all: Slab<Remote>,
    sids: BTreeMap<Arc<str>, u32>,
}

impl Default for Remotes {
    fn default() -> Self {
        Self { all: Slab::new(), sids: BTreeMap::new() }
    }
}

impl Remotes {
    pub(super) fn find(&self, sid: &str) -> Option<u32> {
        self.sids.get(sid).copied()
    }

    pub(super) fn get(&self, index: u32) -> Option<&Remote> {
        self.all.get(index)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Remote> {
        self.all.get_mut(index)
    }

    pub(super) fn insert(&mut self, sid: &str, node: u32, session: Session) -> u32 {
        let sid: Arc<str> = sid.into();
        let index = self.all.insert(Remote { sid: sid.clone(), node, session, stays: Vec::new() });
        self.sids.insert(sid, index);
        index
    }

    /// Ends a stay. Returns the session if that was its last.
    pub(super) fn leave(&mut self, index: u32, room: u32) -> Option<Remote> {
        let remote = self.all.get_mut(index)?;
        remote.stays.retain(|stay| stay.room != room);
        if !remote.stays.is_empty() {
            return None;
        }
        self.sids.remove(&remote.sid);
        self.all.remove(index)
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }
}
