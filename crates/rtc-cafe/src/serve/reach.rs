//! By which host and port clients reach the relay, which may listen at several addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port of HTTPS, of which `Host` says nothing.
const HTTPS: u16 = 443;

/// What is known of the ways to this machine.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    /// The host that leads to all of the relay, if it was named.
    pub(super) host: Option<String>,
    /// Where the server for signalling listens, to which the hosts lead by which clients came.
    pub(super) listening: IpAddr,
    /// At which addresses the internet reaches this machine, if those are not its own.
    pub(super) public: Vec<IpAddr>,
}

impl Reach {
    /// `HOST:PORT` of these addresses, for a client that came by this host: one where the host leads to, or one of each
    /// family. None if it reaches none of them.
    pub(super) fn to(&self, addresses: &[SocketAddr], came_by: Option<&str>) -> Vec<String> {
        if let Some(host) = &self.host {
            return addresses.first().map(|address| joined(host, address.port())).into_iter().collect();
        }
        let came_by = came_by.map(without_port).filter(|host| !host.is_empty());
        let same = came_by.and_then(|host| {
            let address = addresses.iter().find(|address| self.leads(host, address.ip()))?;
            Some(joined(host, address.port()))
        });
        if let Some(same) = same {
            return vec![same];
        }
        let of_family = |is_v4: bool| {
            let mut of_family = addresses.iter().filter(|address| address.is_ipv4() == is_v4);
            of_family.find_map(|address| Some(joined(&self.itself(address.ip(), came_by)?.to_string(), address.port())))
        };
        [true, false].into_iter().filter_map(of_family).collect()
    }

    /// How a client that came by a host calls an address to which that does not lead.
    fn itself(&self, address: IpAddr, came_by: Option<&str>) -> Option<IpAddr> {
        if address.is_loopback() {
            return Some(address).filter(|_| came_by.is_none_or(is_local));
        }
        let public = self.public.iter().copied().find(|public| public.is_ipv4() == address.is_ipv4());
        public.or_else(|| Some(address).filter(|address| !address.is_unspecified()))
    }

    /// `HOST:PORT` of the server for signalling itself, which does TLS there. Ports may be mapped on the way to it, so it is
    /// the one by which the client came, unless a host was named.
    pub(super) fn to_door(&self, door: SocketAddr, came_by: Option<&str>) -> Vec<String> {
        let authority = came_by.filter(|authority| self.host.is_none() && !without_port(authority).is_empty());
        let Some(authority) = authority else { return self.to(&[door], came_by) };
        let host = without_port(authority);
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(HTTPS);
        (is_local(host) || !door.ip().is_loopback()).then(|| joined(host, port)).into_iter().collect()
    }

    /// Whether a host by which clients come leads to an address of the relay.
    fn leads(&self, host: &str, address: IpAddr) -> bool {
        match host.parse::<IpAddr>() {
            Ok(host) if host.is_ipv4() != address.is_ipv4() => false,
            Ok(host) if address.is_loopback() => address == host,
            // What has led to the server leads to what listens where that does, by whichever NAT.
            Ok(host) => {
                let is_beside = address == self.listening || address.is_unspecified();
                address == host || is_beside || self.public.contains(&host)
            }
            Err(_) if address.is_loopback() => {
                is_local(host) && [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&address)
            }
            Err(_) => address == self.listening || address.is_unspecified(),
        }
    }
}

fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn joined(host: &str, port: u16) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The host of a `Host` header; that of IPv6 without its brackets.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(listening: &str, public: &[&str], addresses: &[&str], came_by: &str) -> String {
        let public = public.iter().map(|address| address.parse().unwrap()).collect();
        let reach = Reach { host: None, listening: listening.parse().unwrap(), public };
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        reach.to(&addresses, Some(came_by).filter(|host| !host.is_empty())).join(" ")
    }

    #[test]
    fn the_host_by_which_one_came_if_it_leads_there() {
        let everywhere = ["[::]:3478", "0.0.0.0:3478"];
        for (host, expected) in [
            ("cafe.example:8080", "cafe.example:3478"),
            ("203.0.113.7:443", "203.0.113.7:3478"),
            ("[2001:db8::7]:443", "[2001:db8::7]:3478"),
            ("localhost:8080", "localhost:3478"),
        ] {
            assert_eq!(told("0.0.0.0", &[], &everywhere, host), expected);
            assert_eq!(told("127.0.0.1", &[], &everywhere, host), expected, "behind a proxy");
        }
        assert_eq!(told("203.0.113.7", &[], &["203.0.113.7:3478"], "cafe.example"), "cafe.example:3478");
        assert_eq!(told("127.0.0.1", &[], &["127.0.0.1:3478"], "localhost:8080"), "localhost:3478");
        assert_eq!(told("10.0.0.5", &["203.0.113.7"], &["10.0.0.5:3478"], "203.0.113.7"), "203.0.113.7:3478");
        assert_eq!(told("10.0.0.5", &[], &["10.0.0.5:3478"], "203.0.113.7"), "203.0.113.7:3478", "through a NAT");
    }

    #[test]
    fn otherwise_its_own_address() {
        let other = ["203.0.113.8:3478"];
        for host in ["cafe.example", "203.0.113.7", ""] {
            assert_eq!(told("0.0.0.0", &[], &other, host), "203.0.113.8:3478", "{host}");
            assert_eq!(told("127.0.0.1", &[], &other, host), "203.0.113.8:3478", "{host}");
        }
        assert_eq!(told("0.0.0.0", &[], &["203.0.113.7:3478", "203.0.113.8:3479"], "203.0.113.8"), "203.0.113.8:3479");
        assert_eq!(told("0.0.0.0", &["203.0.113.9"], &["10.0.0.8:3478"], "cafe.example"), "203.0.113.9:3478");
        assert_eq!(told("127.0.0.1", &[], &["127.0.0.2:3478"], "127.0.0.1:8080"), "127.0.0.2:3478");
        assert_eq!(told("127.0.0.1", &[], &["127.0.0.2:3478"], "localhost"), "127.0.0.2:3478");
        let both = ["[2001:db8::8]:3478", "203.0.113.8:3479"];
        assert_eq!(told("::", &[], &both, "cafe.example"), "203.0.113.8:3479 [2001:db8::8]:3478");
    }

    #[test]
    fn nobody_elsewhere_is_told_of_this_machine_alone() {
        assert_eq!(told("127.0.0.1", &[], &["127.0.0.1:3478"], "cafe.example"), "");
        assert_eq!(told("127.0.0.1", &[], &["127.0.0.1:3478"], "203.0.113.7"), "");
        assert_eq!(told("127.0.0.1", &["203.0.113.7"], &["127.0.0.1:3478"], "cafe.example"), "");
        assert_eq!(told("0.0.0.0", &[], &[], "cafe.example"), "");
    }

    #[test]
    fn what_was_named_is_for_everybody() {
        let reach = Reach { host: Some("2001:db8::1".into()), listening: [0; 4].into(), public: vec![] };
        assert_eq!(reach.to(&["127.0.0.1:3478".parse().unwrap()], Some("x")).join(" "), "[2001:db8::1]:3478");
    }

    #[test]
    fn the_door_is_where_clients_came_in() {
        let told = |named: Option<&str>, door: &str, came_by| {
            let (host, door) = (named.map(str::to_owned), door.parse::<SocketAddr>().unwrap());
            Reach { host, listening: door.ip(), public: vec![] }.to_door(door, came_by).join(" ")
        };
        for (came_by, place) in [
            ("cafe.example", "cafe.example:443"),
            ("cafe.example:8443", "cafe.example:8443"),
            ("203.0.113.7", "203.0.113.7:443"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
            ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
            ("cafe.example:x", "cafe.example:443"),
            ("", ""),
        ] {
            assert_eq!(told(None, "[::]:9443", Some(came_by)), place, "{came_by}");
        }
        assert_eq!(told(None, "203.0.113.7:9443", None), "203.0.113.7:9443");
        assert_eq!(told(Some("turn.example"), "0.0.0.0:9443", Some("cafe.example")), "turn.example:9443");
        assert_eq!(told(None, "127.0.0.1:9443", Some("localhost:9443")), "localhost:9443");
        assert_eq!(told(None, "127.0.0.1:9443", Some("cafe.example")), "", "it is a proxy's, as far as one knows");
    }

    #[test]
    fn hosts_are_read() {
        for (header, host) in
            [("a.example:8080", "a.example"), ("a.example", "a.example"), ("[::1]:80", "::1"), ("", "")]
        {
            assert_eq!(without_port(header), host);
        }
    }
}
