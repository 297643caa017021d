//! Remembers sessions that have ended, so that nobody else can claim to be their successor.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// What is known of a session: the JSON of its bound id, and its secret if it is one of version 1.0.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: Option<Arc<str>>,
    pub(super) secret: Option<Box<str>>,
}

impl Session {
    /// Whether the successor is who it says: it knows the secret, or, before version 1.0, has the same id.
    pub(super) fn proven_by(&self, id: Option<&str>, secret: Option<&str>) -> bool {
        match &self.secret {
            Some(own) => {
                secret.is_some_and(|secret| same(own, secret)) && (self.id.is_none() || self.id.as_deref() == id)
            }
            None => self.id.as_deref() == id,
        }
    }
}

/// Compares in a time that does not tell how much is right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// The ended sessions, oldest first, bounded in number and age.
#[derive(Debug, Default)]
pub(super) struct Ended {
    sessions: BTreeMap<Arc<str>, Session>,
    order: VecDeque<(Duration, Arc<str>)>,
}

impl Ended {
    pub(super) fn insert(&mut self, now: Duration, sid: Arc<str>, session: Session, most: usize) {
        self.order.push_back((now, sid.clone()));
        self.sessions.insert(sid, session);
        while self.order.len() > most {
            self.forget_oldest();
        }
    }

    pub(super) fn expire(&mut self, now: Duration, age: Duration) {
        while self.order.front().is_some_and(|(at, _)| *at + age <= now) {
            self.forget_oldest();
        }
    }

    pub(super) fn get(&self, sid: &str) -> Option<&Session> {
        self.sessions.get(sid)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, sid)) = self.order.pop_front() {
            self.sessions.remove(&sid);
        }
    }
}
