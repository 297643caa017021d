//! How much clients may take, and what they have.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    stats::{PerTransport, Transport},
    tally::Tally,
};

/// Bounds on what clients take of the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Allocations of all clients together, which is also the number of relay ports in use, or half of it where clients ask
    /// for both families. Default 10,000.
    pub allocations: usize,
    /// Allocations of one `id` in the credentials. A browser takes one for each peer connection, URL and address of its own.
    /// Default 1,000.
    pub allocations_per_id: usize,
    /// Allocations from one address, or one /64 of IPv6, behind which there may be many clients. Default 2,500.
    pub allocations_per_address: usize,
    /// Bytes per second that all allocations of one `id` together may pass on, both ways; what is beyond is dropped.
    /// Default 12.5 MB, which are 100 megabits per second.
    pub bandwidth: usize,
    /// The same for all clients at one address, or one /64 of IPv6. Default five times as much.
    pub bandwidth_per_address: usize,
    /// TCP and TLS connections of all clients. Default 10,000.
    pub connections: usize,
    /// TCP and TLS connections from one address, or one /64 of IPv6. A browser has one of each for each peer connection.
    /// Default 1,000.
    pub connections_per_address: usize,
    /// Permissions and channels of one allocation. Natives have one allocation for all their peers. Default 1,024.
    pub permissions: usize,
    /// Answers per second over UDP for one address, or one /64 of IPv6, that has not shown credentials: the sender of a
    /// datagram may be forged, and the answer a nuisance to somebody else. Default 250, which are 25 kB.
    pub answers_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allocations: 10_000,
            allocations_per_id: 1_000,
            allocations_per_address: 2_500,
            bandwidth: 12_500_000,
            bandwidth_per_address: 62_500_000,
            connections: 10_000,
            connections_per_address: 1_000,
            permissions: 1_024,
            answers_per_address: 250,
        }
    }
}

/// Whom an address counts for: whoever has one of IPv6 has a whole network of them, /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Which quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// That of the client or its address: 486.
    Client,
    /// That of the server: 508.
    Server,
}

#[derive(Debug, Default)]
struct Taken {
    total: PerTransport<usize>,
    ids: Tally<String, Share>,
    addresses: Tally<IpAddr, Share>,
}

/// The bandwidth that all with the same credentials, or at one address, have together.
type Share = Arc<Mutex<Bucket>>;

/// Counts the allocations there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas(Arc<Mutex<Taken>>);

/// One allocation, as long as it lives.
#[derive(Debug)]
pub(crate) struct Permit {
    quotas: Quotas,
    id: String,
    address: IpAddr,
    transport: Transport,
    of_client: Share,
    at_address: Share,
}

impl Quotas {
    pub(crate) fn take(
        &self,
        limits: &Limits,
        id: &str,
        (transport, address): (Transport, IpAddr),
        now: Instant,
    ) -> Result<Permit, Full> {
        let address = network(address);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.ids.count(id) >= limits.allocations_per_id
            || taken.addresses.count(&address) >= limits.allocations_per_address
        {
            return Err(Full::Client);
        }
        if taken.total.sum() >= limits.allocations {
            return Err(Full::Server);
        }
        let share = |rate| Arc::new(Mutex::new(Bucket::new(rate, now)));
        *taken.total.of_mut(transport) += 1;
        let at_address = taken.addresses.add(address, || share(limits.bandwidth_per_address)).clone();
        let of_client = taken.ids.add(id.to_owned(), || share(limits.bandwidth)).clone();
        Ok(Permit { quotas: self.clone(), id: id.to_owned(), address, transport, of_client, at_address })
    }

    /// Allocations there are now.
    pub(crate) fn total(&self) -> PerTransport<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Permit {
    /// Whether so many bytes of the client may pass now.
    pub(crate) fn take(&self, limits: &Limits, bytes: usize, now: Instant) -> bool {
        let take =
            |bucket: &Mutex<Bucket>, rate| bucket.lock().unwrap_or_else(PoisonError::into_inner).take(rate, bytes, now);
        take(&self.of_client, limits.bandwidth) && take(&self.at_address, limits.bandwidth_per_address)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.quotas.0.lock().unwrap_or_else(PoisonError::into_inner);
        *taken.total.of_mut(self.transport) -= 1;
        taken.ids.remove(&self.id);
        taken.addresses.remove(&self.address);
    }
}

/// Lets so many bytes, or whatever is counted, pass per second, and as many at once after a second of silence.
#[derive(Debug)]
pub(crate) struct Bucket {
    free: usize,
    filled: Instant,
}

impl Bucket {
    pub(crate) const fn new(rate: usize, now: Instant) -> Self {
        Self { free: rate, filled: now }
    }

    /// Whether so many may pass now.
    pub(crate) fn take(&mut self, rate: usize, bytes: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).min(Duration::from_secs(1));
        let earned = (passed.as_nanos() * rate as u128 / 1_000_000_000) as usize;
        if earned > 0 {
            self.free = self.free.saturating_add(earned).min(rate);
            self.filled = now;
        }
        let passes = bytes <= self.free;
        if passes {
            self.free -= bytes;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn what_is_taken_comes_back() {
        let limits = Limits { allocations: 3, allocations_per_id: 2, ..Limits::default() };
        let quotas = Quotas::default();
        let first = quotas.take(&limits, "ana", (Transport::Udp, HERE), Instant::now()).unwrap();
        let _second = quotas.take(&limits, "ana", (Transport::Udp, HERE), Instant::now()).unwrap();
        assert_eq!(quotas.take(&limits, "ana", (Transport::Udp, HERE), Instant::now()).unwrap_err(), Full::Client);
        let _third = quotas.take(&limits, "ben", (Transport::Udp, HERE), Instant::now()).unwrap();
        assert_eq!(quotas.take(&limits, "cid", (Transport::Udp, HERE), Instant::now()).unwrap_err(), Full::Server);
        drop(first);
        assert!(quotas.take(&limits, "ana", (Transport::Udp, HERE), Instant::now()).is_ok());
        assert_eq!(quotas.total().sum(), 2, "the last one is gone already");
        let limits = Limits { allocations_per_address: 2, ..Limits::default() };
        assert_eq!(quotas.take(&limits, "dan", (Transport::Udp, HERE), Instant::now()).unwrap_err(), Full::Client);
    }

    #[test]
    fn a_network_of_ipv6_counts_once() {
        let limits = Limits { allocations_per_address: 1, ..Limits::default() };
        let quotas = Quotas::default();
        let take = |address: &str| {
            let here = (Transport::Udp, address.parse().unwrap());
            quotas.take(&limits, "ana", here, Instant::now())
        };
        let first = take("2620:fe::1").unwrap();
        assert_eq!(take("2620:fe::ffff:2").unwrap_err(), Full::Client);
        let _neighbour = take("2620:fe:0:1::1").unwrap();
        drop(first);
        assert!(take("2620:fe::2").is_ok());
        let _v4 = take("9.9.9.9").unwrap();
        assert_eq!(take("::ffff:9.9.9.9").unwrap_err(), Full::Client, "it is the same, written in another way");
        assert!(take("9.9.9.8").is_ok());
    }

    #[test]
    fn a_rate_is_kept() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, start);
        assert!(bucket.take(1000, 1000, start) && !bucket.take(1000, 1, start));
        let later = start + Duration::from_millis(500);
        assert!(bucket.take(1000, 500, later) && !bucket.take(1000, 1, later));
        let much_later = start + Duration::from_secs(60);
        assert!(bucket.take(1000, 1000, much_later) && !bucket.take(1000, 1, much_later));
    }
}
