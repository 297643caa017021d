//! Which addresses this machine has, and what changed about them.

use std::{collections::BTreeSet, io, net::IpAddr, sync::Arc, time::Duration};

/// Says which addresses the interfaces have at the moment. Also the place for a filter, and for tests.
pub(crate) type InterfaceSource = Arc<dyn Fn() -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// How often the interfaces are looked at. That takes less than a tenth of a millisecond.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A machine with more addresses than that gets no sockets for the rest.
const MOST_ADDRESSES: usize = 16;

/// The addresses of all interfaces that are up.
pub(crate) fn system() -> io::Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(interfaces.into_iter().filter(if_addrs::Interface::is_oper_up).map(|interface| interface.ip()).collect())
}

/// Those that get a socket (RFC 8445 section 5.1.1.1). Loopback counts when it is asked for or nothing else is there.
///
/// Link-local addresses never count: a candidate has no place for the zone that they need.
pub(super) fn select(addresses: Vec<IpAddr>, loopback: bool) -> BTreeSet<IpAddr> {
    let (local, mut others): (Vec<_>, Vec<_>) =
        addresses.into_iter().filter(is_usable).partition(|address| address.is_loopback());
    if loopback || others.is_empty() {
        others.extend(local);
    }
    let mut selected = BTreeSet::new();
    for address in others {
        if selected.len() < MOST_ADDRESSES {
            selected.insert(address);
        }
    }
    selected
}

/// The addresses of this machine that a peer can be reached at, loopback aside.
pub(crate) fn usable() -> io::Result<Vec<IpAddr>> {
    let addresses = select(system()?, false);
    Ok(addresses.into_iter().filter(|address| !address.is_loopback()).collect())
}

fn is_usable(address: &IpAddr) -> bool {
    if address.is_unspecified() || address.is_multicast() {
        return false;
    }
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast(),
        // fec0::/10 is the site-local prefix, which RFC 8445 excludes as it does mapped and compatible addresses.
        IpAddr::V6(v6) => {
            let compatible = v6.to_ipv4().is_some() && !v6.is_loopback();
            !v6.is_unicast_link_local() && (v6.segments()[0] & 0xffc0) != 0xfec0 && !compatible
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(addresses: &[&str], loopback: bool) -> Vec<String> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        select(addresses, loopback).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn loopback_counts_when_asked_for_or_alone() {
        let all = ["127.0.0.1", "192.168.1.2", "::1", "2001:db8::5"];
        assert_eq!(selected(&all, false), ["192.168.1.2", "2001:db8::5"]);
        assert_eq!(selected(&all, true), ["127.0.0.1", "192.168.1.2", "::1", "2001:db8::5"]);
        assert_eq!(selected(&["127.0.0.1", "::1", "fe80::1"], false), ["127.0.0.1", "::1"]);
    }

    #[test]
    fn addresses_that_cannot_be_candidates_are_left_out() {
        let odd = ["169.254.3.4", "fe80::1", "fec0::1", "::ffff:10.0.0.1", "::10.0.0.1", "0.0.0.0", "::", "224.0.0.1"];
        assert_eq!(selected(&odd, true), Vec::<String>::new());
    }

    #[test]
    fn duplicates_count_once_and_there_is_a_most() {
        assert_eq!(selected(&["10.0.0.1", "10.0.0.1"], false), ["10.0.0.1"]);
        let many: Vec<_> = (0..100).map(|n| format!("10.0.0.{n}")).collect();
        assert_eq!(selected(&many.iter().map(String::as_str).collect::<Vec<_>>(), false).len(), MOST_ADDRESSES);
    }

    #[test]
    fn this_machine_has_an_address() {
        assert!(!select(system().unwrap(), true).is_empty());
    }
}
