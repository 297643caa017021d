//! At which addresses peers reach clients.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use tokio::{net::lookup_host, time::timeout};

use crate::policy::is_of_internet;

/// How long a name may take that nobody may know.
const LOOKUP: Duration = Duration::from_secs(5);

/// Where peers reach the clients of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Face {
    is_v4: bool,
    /// What relays listen on.
    local: IpAddr,
    /// At which the internet reaches this machine, as it was given.
    given: Option<IpAddr>,
    /// What the machine's name leads to.
    named: Option<IpAddr>,
    /// An address of this machine, by which it reaches the internet.
    own: Option<IpAddr>,
}

impl Face {
    /// Of a family that the server listens on, or that has a public address. It may have no address yet.
    pub(crate) fn new(is_v4: bool, listening: &[IpAddr], given: &[IpAddr]) -> Option<Self> {
        let of_family = |addresses: &[IpAddr]| {
            let of_family = || addresses.iter().copied().filter(|address| address.is_ipv4() == is_v4);
            of_family().find(|address| is_of_internet(*address)).or_else(|| of_family().next())
        };
        let given = of_family(given);
        let any = if is_v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let local = of_family(listening).or(given.map(|_| any))?;
        let own = Some(local).filter(|local| !local.is_unspecified());
        Some(Self { is_v4, local, given, named: None, own })
    }

    pub(crate) const fn is_v4(&self) -> bool {
        self.is_v4
    }

    pub(crate) const fn local(&self) -> IpAddr {
        self.local
    }

    /// What peers know it by. `None` while the machine has no address of the family.
    pub(crate) fn public(&self) -> Option<IpAddr> {
        self.given.or(self.named.filter(|_| self.wants_name())).or(self.own)
    }

    /// Whether only its name could tell its public address.
    pub(crate) fn wants_name(&self) -> bool {
        self.given.is_none() && self.own.is_some_and(is_private)
    }

    /// An address of the internet is kept as long as it is there, whatever the way out becomes.
    pub(crate) fn look_again(&mut self, interfaces: &HashSet<IpAddr>) {
        let is_kept = |own| is_of_internet(own) && interfaces.contains(&own);
        if self.local.is_unspecified() && !self.own.is_some_and(is_kept) {
            self.own = way_out(self.is_v4, interfaces);
        }
    }

    /// Takes what the name leads to, if that is one address: of several, others may be those of other machines.
    pub(crate) fn take_name(&mut self, addresses: &[IpAddr]) {
        let mut found =
            addresses.iter().copied().filter(|found| found.is_ipv4() == self.is_v4 && is_of_internet(*found));
        let first = found.next();
        self.named = first.filter(|first| found.all(|other| other == *first));
    }
}

/// Of a network that a NAT may lead into, and not of this machine alone.
pub(crate) fn is_private(address: IpAddr) -> bool {
    !is_of_internet(address) && !address.is_loopback()
}

/// What a name leads to; `None` if nobody can tell at present.
pub(crate) async fn addresses_of(name: &str) -> Option<Vec<IpAddr>> {
    match timeout(LOOKUP, lookup_host((name, 0))).await {
        Ok(Ok(found)) => Some(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => {
            tracing::debug!(name, %error, "the name cannot be looked up");
            None
        }
        Err(_) => None,
    }
}

/// The address from which this machine would send to the internet; nothing is sent. Without a way there it is one of its
/// others, and of IPv4 loopback if there is no other.
fn way_out(v4: bool, interfaces: &HashSet<IpAddr>) -> Option<IpAddr> {
    let there: IpAddr = if v4 { [9, 9, 9, 9].into() } else { Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe).into() };
    let any = if v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok();
    let connected = socket.filter(|socket| socket.connect(SocketAddr::new(there, 9)).is_ok());
    let found = connected.and_then(|socket| socket.local_addr().ok()).map(|address| address.ip());
    found.filter(|found| !found.is_unspecified() && !found.is_loopback()).or_else(|| {
        let leads_nowhere = |address: &IpAddr| match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
        };
        let others = interfaces.iter().filter(|other| other.is_ipv4() == v4 && !leads_nowhere(other));
        others.copied().min_by_key(|other| (other.is_loopback(), !is_of_internet(*other), *other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(all: &[&str]) -> Vec<IpAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    /// The faces of a machine whose only own address of each family is one of these.
    fn found(listening: &[&str], given: &[&str], own: &[&str], named: &[&str]) -> String {
        let faces = [true, false].into_iter().filter_map(|v4| Face::new(v4, &read(listening), &read(given)));
        let shown = faces.map(|mut face| {
            if face.local.is_unspecified() {
                face.own = read(own).into_iter().find(|own| own.is_ipv4() == face.is_v4);
            }
            face.take_name(&read(named));
            format!("{}={}", face.local, face.public().map_or_else(String::new, |public| public.to_string()))
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_was_given_counts() {
        assert_eq!(found(&["10.0.0.5"], &["5.0.0.7"], &[], &["5.0.0.8"]), "10.0.0.5=5.0.0.7");
        assert_eq!(found(&["0.0.0.0"], &["5.0.0.7", "2a05::7"], &["10.0.0.5"], &[]), "0.0.0.0=5.0.0.7 ::=2a05::7");
        assert_eq!(found(&["10.0.0.5"], &["10.0.0.9"], &[], &["5.0.0.8"]), "10.0.0.5=10.0.0.9");
    }

    #[test]
    fn where_it_listens_is_where_the_internet_reaches_it_if_it_can() {
        assert_eq!(found(&["10.0.0.5", "5.0.0.7", "2a05::7"], &[], &[], &[]), "5.0.0.7=5.0.0.7 2a05::7=2a05::7");
        assert_eq!(found(&["10.0.0.5", "10.0.0.6"], &[], &[], &[]), "10.0.0.5=10.0.0.5");
        assert_eq!(found(&["0.0.0.0", "::"], &[], &["5.0.0.7"], &[]), "0.0.0.0=5.0.0.7 ::=", "IPv6 may come");
    }

    #[test]
    fn behind_a_nat_its_name_tells() {
        assert_eq!(found(&["10.0.0.5"], &[], &[], &["2a05::8", "5.0.0.8"]), "10.0.0.5=5.0.0.8");
        assert_eq!(found(&["0.0.0.0"], &[], &["10.0.0.5"], &["5.0.0.8", "5.0.0.8"]), "0.0.0.0=5.0.0.8");
        assert_eq!(found(&["10.0.0.5"], &[], &[], &["5.0.0.8", "5.0.0.9"]), "10.0.0.5=10.0.0.5", "which is it?");
        assert_eq!(found(&["10.0.0.5"], &[], &[], &["10.0.0.9"]), "10.0.0.5=10.0.0.5", "the name of a network inside");
        assert_eq!(found(&["5.0.0.7"], &[], &[], &["5.0.0.8"]), "5.0.0.7=5.0.0.7", "there is no NAT");
        assert_eq!(found(&["127.0.0.1"], &[], &[], &["5.0.0.8"]), "127.0.0.1=127.0.0.1", "nobody else comes here");
    }

    #[test]
    fn an_address_is_kept_as_long_as_it_is_there() {
        let mut face = Face::new(true, &read(&["0.0.0.0"]), &[]).unwrap();
        let interfaces = |all: &[&str]| read(all).into_iter().collect::<HashSet<_>>();
        face.own = Some([5, 0, 0, 7].into());
        face.look_again(&interfaces(&["127.0.0.1", "10.8.0.2", "5.0.0.7"]));
        assert_eq!(face.public(), Some([5, 0, 0, 7].into()), "a VPN has taken the way out");
        face.look_again(&interfaces(&["127.0.0.1", "10.8.0.2"]));
        assert_ne!(face.public(), Some([5, 0, 0, 7].into()));
        let mut bound = Face::new(true, &read(&["5.0.0.7"]), &[]).unwrap();
        bound.look_again(&interfaces(&["10.8.0.2"]));
        assert_eq!(bound.public(), Some([5, 0, 0, 7].into()), "it listens there and nowhere else");
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        assert!(addresses_of("localhost").await.unwrap().contains(&Ipv4Addr::LOCALHOST.into()));
        assert_eq!(addresses_of("no-such-name.invalid").await, None);
        assert_eq!(addresses_of("5.0.0.7").await, Some(read(&["5.0.0.7"])));
    }
}
