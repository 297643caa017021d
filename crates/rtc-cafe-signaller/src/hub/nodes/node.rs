//! Another node, and the numbered link to and from it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::resync::Telling;

/// Until a node that was asked for everything is asked again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Another node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    /// Indices of the rooms in which it has members, or is about to.
    pub(super) rooms: BTreeSet<u32>,
    /// When something was heard of it last.
    pub(super) heard: Duration,
    /// It is telling everything.
    pub(super) telling: bool,
    /// What it is still to be told.
    pub(super) telling_it: Telling,
    /// It says what does not fit to what was said before: it is to be asked for everything again within a minute.
    pub(super) disputed: bool,
    /// When it was asked to tell everything, as long as it has not.
    asked: Option<Duration>,
    /// What we send: the link, and how many frames.
    out: (u64, u64),
    /// What we have got; links are numbered from 1.
    got: (u64, u64),
}

/// How a frame fits to those before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    InOrder,
    /// Something before it was lost.
    AfterGap,
    /// It has come before, or is of a link that is over.
    Stale,
}

impl Node {
    pub(super) fn new(name: Arc<str>, now: Duration, link: u64) -> Self {
        let (rooms, telling, asked) = (BTreeSet::new(), false, None);
        let telling_it = Telling::default();
        Self { name, rooms, heard: now, telling, telling_it, disputed: false, asked, out: (link, 0), got: (0, 0) }
    }

    /// Begins another link: what was sent on the last one may be lost, and everything is told on the new one.
    pub(super) fn relink(&mut self, link: u64) {
        self.out = (link, 0);
        self.telling_it.begin_anew();
    }

    /// Link and number of the next frame to it.
    pub(super) const fn next(&mut self) -> (u64, u64) {
        self.out.1 += 1;
        self.out
    }

    /// Takes note of a frame. One that begins to tell everything needs nothing before it.
    pub(super) fn arrive(&mut self, link: u64, number: u64, begins: bool) -> Arrival {
        let (last_link, last) = self.got;
        if (link, number) <= (last_link, last) {
            return Arrival::Stale;
        }
        self.got = (link, number);
        let follows = if link == last_link { Some(number) == last.checked_add(1) } else { number == 1 };
        // One that begins another link has forgotten us, so what we know of it may be over.
        let knows_us = link == last_link || last_link == 0 || self.rooms.is_empty();
        if begins || (follows && knows_us) {
            Arrival::InOrder
        } else {
            self.telling = false;
            Arrival::AfterGap
        }
    }

    /// Whether to ask it for everything now; not again and again.
    pub(super) fn ask(&mut self, now: Duration) -> bool {
        let due = self.asked.is_none_or(|asked| asked + PATIENCE <= now);
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// Whether it was asked for everything, and has not answered for too long.
    pub(super) fn owes(&self, now: Duration) -> bool {
        self.asked.is_some_and(|asked| asked + PATIENCE <= now)
    }

    /// It is about to tell everything, and goes on with it: it is not asked again meanwhile.
    pub(super) fn goes_on(&mut self, now: Duration) {
        if self.telling && self.asked.is_some() {
            self.asked = Some(now);
        }
    }

    /// It has told everything.
    pub(super) const fn told(&mut self) {
        self.asked = None;
        self.telling = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_repetitions_are_seen() {
        let mut node = Node::new("n".into(), Duration::ZERO, 1);
        let mut arrive = |link, number| node.arrive(link, number, false);
        assert_eq!(arrive(4, 1), Arrival::InOrder);
        assert_eq!(arrive(4, 2), Arrival::InOrder);
        assert_eq!(arrive(4, 2), Arrival::Stale);
        assert_eq!(arrive(4, 5), Arrival::AfterGap);
        assert_eq!(arrive(4, 4), Arrival::Stale);
        assert_eq!(arrive(4, 6), Arrival::InOrder);
        assert_eq!(arrive(3, 7), Arrival::Stale);
        assert_eq!(arrive(9, 1), Arrival::InOrder, "nothing is known of it that could be wrong");
        assert_eq!(arrive(9, u64::MAX), Arrival::AfterGap);
        assert_eq!(arrive(9, 2), Arrival::Stale);
        node.rooms.insert(1);
        assert_eq!(node.arrive(10, 1, false), Arrival::AfterGap, "it has forgotten us, so we may know what is over");
        assert_eq!(node.arrive(11, 1, true), Arrival::InOrder);
        let mut unknown = Node::new("u".into(), Duration::ZERO, 1);
        assert_eq!(unknown.arrive(4, 7, false), Arrival::AfterGap);
    }
}
