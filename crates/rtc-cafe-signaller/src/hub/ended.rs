//! Remembers sessions that have ended, so that nobody else can claim to be their successor.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The SHA-256 of a session's secret. Other nodes know this much, and so can check who claims to be its successor.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proof([u8; 32]);

impl Proof {
    pub(super) fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    pub(super) fn to_hex(&self) -> String {
        self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(HEX[usize::from(digit)])).collect()
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let digit = |digit: &u8| HEX.iter().position(|hex| hex == digit).and_then(|at| u8::try_from(at).ok());
        let pairs = text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect();
        Some(Self(bytes?.try_into().ok()?))
    }

    /// Compares in a time that does not tell how much is right.
    fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

/// What is known of a session: the JSON of its bound id, and the proof of its secret if it is one of version 1.0.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: Option<Arc<str>>,
    pub(super) proof: Option<Proof>,
}

impl Session {
    /// Whether the successor is who it says: it knows the secret, or, before version 1.0, has the same id.
    pub(super) fn proven_by(&self, id: Option<&str>, proof: Option<&Proof>) -> bool {
        match &self.proof {
            Some(own) => proof.is_some_and(|proof| own.is(proof)) && (self.id.is_none() || self.id.as_deref() == id),
            None => self.id.as_deref() == id,
        }
    }
}

/// The ended sessions, oldest first, bounded in number and age.
#[derive(Debug, Default)]
pub(super) struct Ended {
    sessions: BTreeMap<Arc<str>, Session>,
    order: VecDeque<(Duration, Arc<str>)>,
}

impl Ended {
    pub(super) fn insert(&mut self, now: Duration, sid: Arc<str>, session: Session, most: usize) {
        if self.sessions.insert(sid.clone(), session).is_none() {
            self.order.push_back((now, sid));
        }
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

    /// When the last one ended.
    fn latest(&self) -> Option<Duration> {
        self.order.back().map(|(at, _)| *at)
    }

    fn forget_oldest(&mut self) {
        if let Some((_, sid)) = self.order.pop_front() {
            self.sessions.remove(&sid);
        }
    }
}

/// The ended sessions of other nodes. Each node has its own bound, so that who comes and goes on one pushes out nobody else,
/// and they outlive their node.
#[derive(Debug, Default)]
pub(super) struct EndedElsewhere(BTreeMap<Arc<str>, Ended>);

impl EndedElsewhere {
    /// Remembers one of a node; at most so many of each node, and of so many nodes.
    pub(super) fn insert(
        &mut self,
        now: Duration,
        node: &Arc<str>,
        sid: Arc<str>,
        session: Session,
        (most, most_nodes): (usize, usize),
    ) {
        self.0.entry(node.clone()).or_default().insert(now, sid, session, most);
        while self.0.len() > most_nodes
            && let Some(quiet) = self.0.iter().min_by_key(|(_, ended)| ended.latest()).map(|(node, _)| node.clone())
        {
            self.0.remove(&quiet);
        }
    }

    pub(super) fn expire(&mut self, now: Duration, age: Duration) {
        self.0.values_mut().for_each(|ended| ended.expire(now, age));
        self.0.retain(|_, ended| ended.len() > 0);
    }

    pub(super) fn get(&self, sid: &str) -> Option<&Session> {
        self.0.values().find_map(|ended| ended.get(sid))
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(Ended::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_the_hash_of_the_secret_in_hexadecimal() {
        let hex = Proof::of("abc").to_hex();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Proof::from_hex(&hex), Some(Proof::of("abc")));
        for bad in ["", &hex[1..], &hex[2..], &hex.to_uppercase(), &format!("{hex}00"), &hex.replace('b', "é")] {
            assert_eq!(Proof::from_hex(bad), None, "{bad}");
        }
        let session = Session { id: Some("\"a\"".into()), proof: Some(Proof::of("abc")) };
        assert!(session.proven_by(Some("\"a\""), Some(&Proof::of("abc"))));
        assert!(!session.proven_by(Some("\"a\""), Some(&Proof::of("abd"))));
        assert!(!session.proven_by(Some("\"b\""), Some(&Proof::of("abc"))));
    }
}
