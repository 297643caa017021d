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

/// An address of the server, as it is here and as peers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Face {
    pub(crate) local: IpAddr,
    pub(crate) public: IpAddr,
    /// Whether it is the address of this machine's way out, which may become another.
    pub(crate) is_own: bool,
}

impl Face {
    /// Where relays of a family are. `public` are the addresses at which the internet reaches this machine as far as they
    /// were given, and `named` those to which its name leads.
    pub(crate) fn find(v4: bool, listening: &[IpAddr], public: &[IpAddr], named: &[IpAddr]) -> Option<Self> {
        let of_family = |addresses: &[IpAddr]| {
            let of_family = || addresses.iter().copied().filter(|address| address.is_ipv4() == v4);
            of_family().find(|address| is_of_internet(*address)).or_else(|| of_family().next())
        };
        let (public, listening) = (of_family(public), of_family(listening));
        let named = of_family(named).filter(|address| is_of_internet(*address));
        // Relays may be of a family that nobody listens on, if it has a public address.
        let any = if v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let local = listening.or(public.map(|_| any))?;
        if let Some(public) = public {
            return Some(Self { local, public, is_own: false });
        }
        let (own, is_own) = if local.is_unspecified() { (way_out(v4)?, true) } else { (local, false) };
        let named = named.filter(|_| is_private(own));
        Some(Self { local, public: named.unwrap_or(own), is_own: is_own && named.is_none() })
    }

    /// Whether the machine, which has these addresses, has another way out than before, which then is taken.
    pub(crate) fn look_again(&mut self, interfaces: &HashSet<IpAddr>) -> bool {
        if !self.is_own {
            return false;
        }
        // Without a way out, it keeps its address as long as that is there.
        let is_better = |found: &IpAddr| !found.is_loopback() || !interfaces.contains(&self.public);
        let found = way_out(self.public.is_ipv4()).filter(|found| *found != self.public && is_better(found));
        self.public = found.unwrap_or(self.public);
        found.is_some()
    }
}

/// Of a network that a NAT may lead into, and not of this machine alone.
fn is_private(address: IpAddr) -> bool {
    !is_of_internet(address) && !address.is_loopback()
}

/// What a name leads to; nothing if nobody knows it.
pub(crate) async fn addresses_of(name: &str) -> Vec<IpAddr> {
    match timeout(LOOKUP, lookup_host((name, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(error)) => {
            tracing::debug!(name, %error, "nobody knows the name");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

/// The address from which this machine would send to the internet; nothing is sent.
fn way_out(v4: bool) -> Option<IpAddr> {
    let (any, there): (SocketAddr, SocketAddr) = if v4 {
        ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into())
    } else {
        ((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into())
    };
    let socket = UdpSocket::bind(any).ok()?;
    let found = socket.connect(there).ok().and_then(|()| socket.local_addr().ok()).map(|address| address.ip());
    // A machine without a way out has itself, and its own clients.
    found.or_else(|| v4.then_some(Ipv4Addr::LOCALHOST.into())).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(listening: &[&str], public: &[&str], named: &[&str]) -> String {
        let read = |all: &[&str]| all.iter().map(|address| address.parse().unwrap()).collect::<Vec<IpAddr>>();
        let (listening, public, named) = (read(listening), read(public), read(named));
        let faces = [true, false].into_iter().filter_map(|v4| Face::find(v4, &listening, &public, &named));
        faces.map(|face| format!("{}={}", face.local, face.public)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_was_given_counts() {
        assert_eq!(found(&["10.0.0.5"], &["5.0.0.7"], &["5.0.0.8"]), "10.0.0.5=5.0.0.7");
        assert_eq!(found(&["0.0.0.0"], &["5.0.0.7", "2a05::7"], &[]), "0.0.0.0=5.0.0.7 ::=2a05::7");
        assert_eq!(found(&["10.0.0.5"], &["10.0.0.9"], &["5.0.0.8"]), "10.0.0.5=10.0.0.9");
    }

    #[test]
    fn where_it_listens_is_where_the_internet_reaches_it_if_it_can() {
        assert_eq!(found(&["10.0.0.5", "5.0.0.7", "2a05::7"], &[], &[]), "5.0.0.7=5.0.0.7 2a05::7=2a05::7");
        assert_eq!(found(&["10.0.0.5", "10.0.0.6"], &[], &[]), "10.0.0.5=10.0.0.5");
    }

    #[test]
    fn behind_a_nat_its_name_tells() {
        assert_eq!(found(&["10.0.0.5"], &[], &["2a05::8", "5.0.0.8"]), "10.0.0.5=5.0.0.8");
        assert_eq!(found(&["10.0.0.5"], &[], &["10.0.0.9"]), "10.0.0.5=10.0.0.5", "the name of a network inside");
        assert_eq!(found(&["5.0.0.7"], &[], &["5.0.0.8"]), "5.0.0.7=5.0.0.7", "there is none");
        assert_eq!(found(&["127.0.0.1"], &[], &["5.0.0.8"]), "127.0.0.1=127.0.0.1", "nobody else comes here");
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        assert!(addresses_of("localhost").await.contains(&Ipv4Addr::LOCALHOST.into()));
        assert!(addresses_of("no-such-name.invalid").await.is_empty());
        assert_eq!(addresses_of("5.0.0.7").await, [IpAddr::from([5, 0, 0, 7])]);
    }
}
