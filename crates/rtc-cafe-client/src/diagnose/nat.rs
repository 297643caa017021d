//! What kind of NAT there is, from what was seen of it (RFC 4787 and RFC 5780). It says nothing about how many there are:
//! several in a row look like one, which is as strict as the strictest of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;

use crate::net::Mapping as Answer;

/// On what it depends at which address others see a socket of this machine (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mapping {
    /// Others see the machine's own addresses.
    NoNat,
    /// On nothing: all others see the same address, so peers can be reached directly, mostly.
    EndpointIndependent,
    /// On the address of whoever sees it.
    AddressDependent,
    /// On the address and the port of whoever sees it.
    AddressAndPortDependent,
    /// Nobody can tell.
    Unknown,
}

/// On what it depends who gets through to a socket of this machine (RFC 4787 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Filtering {
    /// On nothing: everybody does.
    EndpointIndependent,
    /// On the address: who was sent something does, from all of its ports.
    AddressDependent,
    /// On address and port: only what was sent something does.
    AddressAndPortDependent,
    /// Nobody can tell.
    Unknown,
}

/// The plain name of what mapping and filtering are together, such as RFC 3489 had them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NatKind {
    /// No NAT, and nothing that keeps others out.
    None,
    /// No NAT, but a firewall that keeps others out until they are sent something.
    Firewall,
    /// No NAT. Whether a firewall keeps others out takes a STUN server with two addresses to tell.
    NoneOrFirewall,
    /// Whoever knows the address gets in.
    FullCone,
    /// Whoever was sent something gets in.
    RestrictedCone,
    /// Whoever was sent something gets in by the same port.
    PortRestrictedCone,
    /// Others see the same address, as far as a STUN server with one address shows, which does not show whom it lets in.
    Cone,
    /// Everybody sees another address.
    Symmetric,
    /// Nobody can tell.
    Unknown,
}

/// How others see the sockets of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MappingReport {
    /// On what it depends.
    pub kind: Mapping,
    /// Whether that is all. With servers at one address only it may depend on the address as well.
    pub exact: bool,
    /// Why it is unknown, if it is.
    pub reason: Option<&'static str>,
}

/// Who gets through to the sockets of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FilteringReport {
    /// On what it depends, at the most.
    pub kind: Filtering,
    /// Whether it depends on all of that. With servers at one address only, strangers cannot be told from acquaintances.
    pub exact: bool,
    /// Why it is unknown, if it is.
    pub reason: Option<&'static str>,
}

impl FilteringReport {
    pub(super) const fn exact(kind: Filtering) -> Self {
        Self { kind, exact: true, reason: None }
    }

    pub(super) const fn at_most(kind: Filtering) -> Self {
        Self { kind, exact: false, reason: None }
    }

    pub(super) const fn unknown(reason: &'static str) -> Self {
        Self { kind: Filtering::Unknown, exact: false, reason: Some(reason) }
    }
}

impl NatKind {
    pub(super) const fn of(mapping: &MappingReport, filtering: &FilteringReport) -> Self {
        match (mapping.kind, filtering.kind) {
            (Mapping::AddressDependent | Mapping::AddressAndPortDependent, _) => Self::Symmetric,
            (Mapping::Unknown, _) | (_, Filtering::Unknown) => Self::Unknown,
            // What was seen is a bound, and no more is known.
            (Mapping::NoNat, _) if !filtering.exact => Self::NoneOrFirewall,
            (Mapping::NoNat, Filtering::EndpointIndependent) => Self::None,
            (Mapping::NoNat, _) => Self::Firewall,
            (Mapping::EndpointIndependent, _) if !(mapping.exact && filtering.exact) => Self::Cone,
            (Mapping::EndpointIndependent, Filtering::EndpointIndependent) => Self::FullCone,
            (Mapping::EndpointIndependent, Filtering::AddressDependent) => Self::RestrictedCone,
            (Mapping::EndpointIndependent, Filtering::AddressAndPortDependent) => Self::PortRestrictedCone,
        }
    }
}

/// The worst of what the sockets find.
pub(super) fn mapping(answers: &[Answer]) -> MappingReport {
    let mut sockets = BTreeMap::<SocketAddr, BTreeMap<SocketAddr, SocketAddr>>::new();
    for Answer { local, server, mapped, .. } in answers {
        if let Some(mapped) = mapped {
            sockets.entry(*local).or_default().insert(*server, *mapped);
        }
    }
    let unknown = |reason| MappingReport { kind: Mapping::Unknown, exact: false, reason: Some(reason) };
    if sockets.is_empty() {
        return unknown(if answers.is_empty() { "there is no STUN server to ask" } else { "no STUN server answers" });
    }
    let seen: Vec<_> = sockets.iter().map(|(local, seen)| kind(*local, seen)).collect();
    // One that nobody can tell anything about says nothing against the others, unless they have no NAT.
    let worst = [
        Mapping::AddressAndPortDependent,
        Mapping::AddressDependent,
        Mapping::EndpointIndependent,
        Mapping::Unknown,
        Mapping::NoNat,
    ];
    let found = worst.into_iter().find_map(|worst| {
        let exact = seen.iter().filter(|(kind, _)| *kind == worst).map(|(_, exact)| *exact);
        Some((worst, exact.reduce(|one, other| one | other)?))
    });
    match found {
        None | Some((Mapping::Unknown, _)) => unknown("it takes a second address of a server to tell"),
        Some((kind, exact)) => MappingReport { kind, exact, reason: None },
    }
}

/// How one socket is seen by each server, and whether that is all.
fn kind(local: SocketAddr, seen: &BTreeMap<SocketAddr, SocketAddr>) -> (Mapping, bool) {
    let mut by_address = BTreeMap::<IpAddr, BTreeSet<SocketAddr>>::new();
    for (server, mapped) in seen {
        by_address.entry(server.ip()).or_default().insert(*mapped);
    }
    let mapped: BTreeSet<_> = seen.values().collect();
    let ports_asked = seen.len() > by_address.len();
    if by_address.values().any(|of_one| of_one.len() > 1) {
        (Mapping::AddressAndPortDependent, true)
    } else if mapped.len() > 1 {
        (Mapping::AddressDependent, ports_asked)
    } else if mapped.contains(&local) {
        (Mapping::NoNat, true)
    } else if seen.len() == 1 {
        (Mapping::Unknown, false)
    } else {
        (Mapping::EndpointIndependent, by_address.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(local: &str, server: &str, mapped: Option<&str>) -> Answer {
        let mapped = mapped.map(|mapped| mapped.parse().unwrap());
        Answer { url: String::new(), local: local.parse().unwrap(), server: server.parse().unwrap(), mapped }
    }

    #[test]
    fn what_servers_see_tells_the_mapping() {
        let (local, one, port, two) = ("10.0.0.1:1", "192.0.2.1:3478", "192.0.2.1:3479", "192.0.2.2:3478");
        let found = |answers: &[Answer]| {
            let MappingReport { kind, exact, .. } = mapping(answers);
            (kind, exact)
        };
        let seen = |by, mapped| answer(local, by, Some(mapped));
        let (a, b) = ("5.5.5.5:8", "5.5.5.5:9");
        assert_eq!(found(&[seen(one, local), seen(two, local)]), (Mapping::NoNat, true));
        assert_eq!(found(&[seen(one, local)]), (Mapping::NoNat, true), "one is enough for that");
        assert_eq!(found(&[seen(one, a), seen(two, a)]), (Mapping::EndpointIndependent, true));
        assert_eq!(found(&[seen(one, a), seen(port, a)]), (Mapping::EndpointIndependent, false), "at one address");
        assert_eq!(found(&[seen(one, a), seen(two, b)]), (Mapping::AddressDependent, false), "or on the port, too");
        assert_eq!(found(&[seen(one, a), seen(port, a), seen(two, b)]), (Mapping::AddressDependent, true));
        assert_eq!(found(&[seen(one, a), seen(port, b)]), (Mapping::AddressAndPortDependent, true));
        let other = answer("10.0.0.1:2", one, Some("5.5.5.5:2"));
        let both = [other.clone(), seen(one, a), seen(two, a)];
        assert_eq!(found(&both), (Mapping::EndpointIndependent, true), "what one socket says is not undone by another");
        let unknown = mapping(&[seen(one, a), answer(local, two, None)]);
        assert!(unknown.kind == Mapping::Unknown && unknown.reason.unwrap().contains("second address"), "{unknown:?}");
        assert!(mapping(&[answer(local, one, None)]).reason.unwrap().contains("no STUN server answers"));
        assert!(mapping(&[]).reason.unwrap().contains("there is no STUN server"));
    }
    #[test]
    fn a_bound_is_no_kind() {
        use Filtering::{AddressAndPortDependent as Port, AddressDependent as Address, EndpointIndependent as Nothing};
        let of = |kind, exact, filtering: FilteringReport| {
            NatKind::of(&MappingReport { kind, exact, reason: None }, &filtering)
        };
        let (exact, at_most) = (FilteringReport::exact, FilteringReport::at_most);
        let same = Mapping::EndpointIndependent;
        assert_eq!(of(same, true, exact(Nothing)), NatKind::FullCone);
        assert_eq!(of(same, true, exact(Address)), NatKind::RestrictedCone);
        assert_eq!(of(same, true, exact(Port)), NatKind::PortRestrictedCone);
        for (exact_mapping, filtering) in [(true, at_most(Address)), (false, exact(Port)), (false, at_most(Port))] {
            assert_eq!(of(same, exact_mapping, filtering), NatKind::Cone);
        }
        assert_eq!(of(Mapping::NoNat, true, exact(Nothing)), NatKind::None);
        assert_eq!(of(Mapping::NoNat, true, exact(Port)), NatKind::Firewall);
        assert_eq!(of(Mapping::NoNat, true, at_most(Address)), NatKind::NoneOrFirewall);
        assert_eq!(of(Mapping::AddressDependent, false, at_most(Port)), NatKind::Symmetric);
        assert_eq!(of(same, true, FilteringReport::unknown("")), NatKind::Unknown);
    }
}
