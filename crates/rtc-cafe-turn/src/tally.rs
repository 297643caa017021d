//! How many of something each has.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// Counts by key, with something that all of a key share. Keys that have none are forgotten.
#[derive(Debug)]
pub(crate) struct Tally<K, V = ()>(HashMap<K, (usize, V)>);

impl<K, V> Default for Tally<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V> Tally<K, V> {
    pub(crate) fn count<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.0.get(key).map_or(0, |(count, _)| *count)
    }

    /// One more; what they share is made for the first.
    pub(crate) fn add(&mut self, key: K, make: impl FnOnce() -> V) -> &V {
        let (count, shared) = self.0.entry(key).or_insert_with(|| (0, make()));
        *count += 1;
        shared
    }

    /// One less.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some((count, _)) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}
