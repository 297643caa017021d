//! Answers for those of whom nothing is known: so few that nobody is flooded with what another has asked for in his name.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::limits::{Bucket, network};

/// More addresses than these share what one may have, by chance: the memory is bounded.
const SLOTS: usize = 4096;

/// How much each address was answered lately.
#[derive(Debug)]
pub(crate) struct Strangers {
    slots: Box<[Mutex<Bucket>]>,
    hasher: RandomState,
    rate: usize,
}

impl Strangers {
    /// So many answers per second for an address.
    pub(crate) fn new(rate: usize, now: Instant) -> Self {
        let slots = (0..SLOTS).map(|_| Mutex::new(Bucket::new(rate, now))).collect();
        Self { slots, hasher: RandomState::new(), rate }
    }

    /// Whether there is another answer for an address.
    pub(crate) fn may_hear(&self, address: IpAddr, now: Instant) -> bool {
        let slot = self.hasher.hash_one(network(address)) as usize % self.slots.len();
        self.slots[slot].lock().unwrap_or_else(PoisonError::into_inner).take(self.rate, 1, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_address_has_its_share() {
        let start = Instant::now();
        let strangers = Strangers::new(3, start);
        let heard = |address: &str, now| (0..9).filter(|_| strangers.may_hear(address.parse().unwrap(), now)).count();
        assert_eq!(heard("9.9.9.9", start), 3);
        assert_eq!(heard("::ffff:9.9.9.9", start), 0);
        assert_eq!(heard("9.9.9.9", start + Duration::from_secs(1)), 3);
        let others = (1..=100).filter(|number| heard(&format!("2620:fe:0:{number}::1"), start) == 3).count();
        assert!(others > 80, "{others} of 100 have their own");
    }
}
