//! Counts TCP connections by address, whatever they are used for: nobody takes all of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rtc_cafe_signaller::{IpNet, counted_address};

/// TCP connections for each client that may be connected: a client that polls has two.
const FOR_EACH_CLIENT: usize = 2;

/// As which address a peer's is counted, if it is.
type Counted = dyn Fn(IpAddr) -> Option<IpAddr> + Send + Sync;

/// Lets connections in, as long as there are not too many from their address. Clones are the same.
#[derive(Clone)]
pub(crate) struct Doors(Arc<Inner>);

struct Inner {
    most: usize,
    counted: Box<Counted>,
    inside: Mutex<HashMap<IpAddr, usize>>,
    refused: AtomicU64,
}

/// A connection that is counted for as long as this lives.
pub(super) struct Inside(Option<(Doors, IpAddr)>);

impl Doors {
    /// For so many clients of each address. Proxies that are trusted, and this machine itself, are not counted.
    pub(crate) fn new(clients: usize, trusted: Vec<IpNet>) -> Self {
        let counted = move |peer| {
            let is_trusted = trusted.iter().any(|net| net.contains(&peer));
            counted_address(peer).filter(|_| !is_trusted)
        };
        Self::with(clients.saturating_mul(FOR_EACH_CLIENT), counted)
    }

    pub(super) fn with(most: usize, counted: impl Fn(IpAddr) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        let (inside, refused) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { most, counted: Box::new(counted), inside, refused }))
    }

    fn inside(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in, or not.
    pub(super) fn enter(&self, peer: IpAddr) -> Option<Inside> {
        let Some(address) = (self.0.counted)(peer.to_canonical()) else { return Some(Inside(None)) };
        let mut inside = self.inside();
        let count = inside.entry(address).or_default();
        if *count >= self.0.most {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        Some(Inside(Some((self.clone(), address))))
    }

    /// Connections that were not let in.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let Some((doors, address)) = &self.0 else { return };
        if let Entry::Occupied(mut count) = doors.inside().entry(*address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").field("most", &self.0.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections() {
        let doors = Doors::new(1, vec!["10.0.0.0/8".parse().unwrap()]);
        let enter = |peer: &str| doors.enter(peer.parse().unwrap());
        let two = [enter("203.0.113.9"), enter("::ffff:203.0.113.9")];
        assert!(two.iter().all(Option::is_some));
        assert!(enter("203.0.113.9").is_none() && doors.refused() == 1);
        let other = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(other.iter().all(Option::is_some) && enter("2001:db8::3").is_none(), "a network is one address");
        for free in ["127.0.0.1", "::1", "10.1.2.3"] {
            let many: Vec<_> = (0..9).map(|_| enter(free)).collect();
            assert!(many.iter().all(Option::is_some), "{free}");
        }
        drop(two);
        assert!(enter("203.0.113.9").is_some(), "whoever goes makes room");
        assert_eq!(doors.inside().len(), 1, "nothing is left of it");
    }
}
