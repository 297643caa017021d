//! Which peers may be reached through the relay: everybody on the internet, and nobody in the operator's own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The peers that clients may exchange data with.
///
/// By default these are the addresses of the internet. Those that are private, shared, of the machine itself or of its link,
/// multicast, or reserved are refused, whether they are written as IPv4, as IPv6, or as one inside of the other: a relay
/// that took them would be a door into the operator's network (RFC 8656 section 21.1.4).
#[derive(Debug, Clone, Default)]
pub struct PeerPolicy {
    allowed: Vec<IpNet>,
}

/// IPv4 addresses that are not of the internet (RFC 6890).
const REFUSED_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

impl PeerPolicy {
    /// Lets clients reach the peers of a network, though they would be refused.
    #[must_use]
    pub fn allow(mut self, network: IpNet) -> Self {
        self.allowed.push(network);
        self
    }

    /// Whether a peer was allowed by name.
    pub(crate) fn is_exception(&self, peer: IpAddr) -> bool {
        let canonical = peer.to_canonical();
        self.allowed.iter().any(|network| network.contains(&canonical))
    }

    /// Whether clients may exchange data with a peer.
    #[must_use]
    pub fn allows(&self, peer: IpAddr) -> bool {
        // The way in which it is written does not matter.
        self.is_exception(peer) || is_of_internet(reached(peer))
    }
}

pub(crate) fn is_of_internet(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_of_internet_v4(address),
        IpAddr::V6(address) => is_of_internet_v6(address),
    }
}

fn is_of_internet_v4(address: Ipv4Addr) -> bool {
    let within = |(network, length): &(Ipv4Addr, u8)| (address.to_bits() ^ network.to_bits()) >> (32 - length) == 0;
    !REFUSED_V4.iter().any(within)
}

/// Where an address leads, however it is written: inside of IPv6 there may be one of IPv4, also by NAT64 (RFC 6052) and
/// 6to4 (RFC 3056).
pub(crate) fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else { return address.to_canonical() };
    let embedded = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into();
    match v6.segments() {
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        _ => v6.into(),
    }
}

/// Global unicast is 2000::/3 (RFC 4291 section 2.4), and NAT64 has a prefix of its own.
fn is_of_internet_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Teredo (RFC 4380), protocol assignments (RFC 2928), and documentation (RFC 3849, RFC 9637).
        [0x2001, 0x0000..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0x0000..=0x0fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: &PeerPolicy, peer: &str) -> bool {
        policy.allows(peer.parse().unwrap())
    }

    #[test]
    fn the_internet_is_allowed() {
        for peer in [
            "1.1.1.1",
            "9.255.255.255",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(allows(&PeerPolicy::default(), peer), "{peer}");
        }
    }

    #[test]
    fn what_is_inside_is_refused_however_it_is_written() {
        let inside = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:a00:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fec0::1",
            "100::1",
        ];
        for peer in inside {
            assert!(!allows(&PeerPolicy::default(), peer), "{peer}");
        }
    }

    #[test]
    fn an_exception_is_one_for_itself_only() {
        let policy = PeerPolicy::default().allow("127.0.0.0/8".parse().unwrap());
        assert!(allows(&policy, "127.0.0.1") && allows(&policy, "::ffff:127.0.0.1"));
        assert!(!allows(&policy, "10.0.0.1") && !allows(&policy, "::1"));
    }
}
