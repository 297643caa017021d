//! Whose connection it is: the address of the client, behind proxies that are trusted.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Once,
};

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap},
};
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Proxies that are believed when they say for whom they speak.
#[derive(Debug)]
pub(crate) struct Proxies {
    trusted: Vec<IpNet>,
    /// It was logged that somebody on this machine speaks for others, and is not trusted.
    told_here: Once,
    /// The same of somebody elsewhere.
    told_elsewhere: Once,
}

impl Proxies {
    pub(crate) const fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted, told_here: Once::new(), told_elsewhere: Once::new() }
    }

    /// The address of whoever sent a request; `None` if the application does not know it.
    pub(crate) fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        let peer = peer.ip().to_canonical();
        if headers.contains_key(FORWARDED_FOR) && !self.trust(peer) {
            self.warn_of(peer);
        }
        Some(self.behind(peer, headers))
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// The right-most address that no trusted proxy has. What is no address ends the search: whatever stands left of it was
    /// written by somebody who is not trusted, or nobody knows by whom.
    fn behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if !self.trust(client) {
            return client;
        }
        let lines = headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>();
        for line in lines.into_iter().rev() {
            let Ok(line) = line.to_str() else { return client };
            for hop in line.rsplit(',') {
                let Some(address) = parse(hop.trim()) else { return client };
                client = address;
                if !self.trust(client) {
                    return client;
                }
            }
        }
        client
    }

    /// Once for each place: strangers may write the header, too, and must not keep a proxy on this machine from being told.
    fn warn_of(&self, peer: IpAddr) {
        if peer.is_loopback() {
            self.told_here.call_once(|| {
                tracing::warn!(
                    "a proxy on this machine names its clients (X-Forwarded-For) and is not trusted: there are no limits by \
                     address for them; with `--trusted-proxy {peer}` (`Builder::trust_proxies`) each is limited by its own"
                );
            });
        } else {
            self.told_elsewhere.call_once(|| {
                tracing::warn!(
                    "{peer} sends X-Forwarded-For, and is not trusted: that is ignored; if it is a proxy of yours, \
                     `--trusted-proxy {peer}` (`Builder::trust_proxies`) has its clients limited by their own addresses"
                );
            });
        }
    }
}

/// An address, which some proxies write with a port, or in brackets.
fn parse(hop: &str) -> Option<IpAddr> {
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    hop.parse().ok().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

/// As which address a client's is counted, where it is: a network of 64 bits for IPv6, and `None` for this machine itself,
/// where a proxy may speak for everybody.
pub fn counted_address(address: IpAddr) -> Option<IpAddr> {
    (!address.is_loopback()).then(|| network(address))
}

/// What is taken for one address: a network of 64 bits for IPv6, which is what one customer has at least.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let proxies = Proxies::new(trusted.iter().map(|net| net.parse().unwrap()).collect());
        proxies.behind(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        assert_eq!(client("198.51.100.1", &["203.0.113.9"], &[]), "198.51.100.1");
        assert_eq!(client("198.51.100.1", &["203.0.113.9"], &["10.0.0.0/8"]), "198.51.100.1");
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_counts() {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"];
        let of = |lines: &[&str]| client("10.0.0.1", lines, &trusted);
        assert_eq!(of(&["203.0.113.9"]), "203.0.113.9");
        assert_eq!(of(&["6.6.6.6, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(of(&["6.6.6.6", "203.0.113.9, 10.0.0.3", "10.0.0.2"]), "203.0.113.9");
        assert_eq!(of(&["203.0.113.9, 2001:db8:1::7"]), "203.0.113.9");
        assert_eq!(of(&["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(of(&["[2001:db8:2::9]:4711"]), "2001:db8:2::9");
        assert_eq!(of(&["[2001:db8:2::9]"]), "2001:db8:2::9");
        assert_eq!(of(&["::ffff:203.0.113.9"]), "203.0.113.9");
        // All of them are ours.
        assert_eq!(of(&["10.0.0.9, 10.0.0.2"]), "10.0.0.9");
        assert_eq!(of(&[]), "10.0.0.1");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        let of = |lines: &[&str]| client("10.0.0.1", lines, &["10.0.0.0/8"]);
        for malformed in
            ["", "unknown", "203.0.113.9, ", "203.0.113.9, _hidden", "203.0.113.9 10.0.0.2", "1.2.3", "[::1"]
        {
            assert_eq!(of(&[malformed]), "10.0.0.1", "{malformed:?}");
        }
        assert_eq!(of(&["203.0.113.9, nonsense, 10.0.0.7"]), "10.0.0.7");
        assert_eq!(of(&["203.0.113.9", "n\u{f6}nsense, 10.0.0.7"]), "10.0.0.1");
    }

    #[test]
    fn a_customer_is_a_network_of_ipv6() {
        let of = |text: &str| counted_address(text.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("203.0.113.9").unwrap(), "203.0.113.9");
        assert_eq!(of("2001:db8:1:2:3:4:5:6").unwrap(), "2001:db8:1:2::");
        assert_eq!((of("127.0.0.1"), of("::1")), (None, None));
    }
}
