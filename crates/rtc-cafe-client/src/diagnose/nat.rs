//! What kind of NAT there is (in the spirit of RFC 5780): one socket asks several servers how they see it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use serde::Serialize;

use crate::net::Mapping as Answer;

/// How the addresses that others see come about (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mapping {
    /// Others see the machine's own addresses.
    NoNat,
    /// All others see the same address, so peers can be reached directly, mostly.
    EndpointIndependent,
    /// Everybody sees another address, so that only peers with a friendlier NAT can be reached without a TURN server.
    AddressDependent,
    /// Nobody can tell.
    Unknown,
}

/// What is known of the NAT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MappingReport {
    /// Its kind.
    pub kind: Mapping,
    /// Why it is unknown, if it is.
    pub reason: Option<&'static str>,
}

/// The worst of what the sockets find.
pub(super) fn mapping(answers: &[Answer]) -> MappingReport {
    let mut sockets = BTreeMap::<SocketAddr, BTreeMap<SocketAddr, SocketAddr>>::new();
    for Answer { local, server, mapped, .. } in answers {
        if let Some(mapped) = mapped {
            sockets.entry(*local).or_default().insert(*server, *mapped);
        }
    }
    if sockets.is_empty() {
        let reason = if answers.is_empty() { "there is no STUN server to ask" } else { "no STUN server answers" };
        return MappingReport { kind: Mapping::Unknown, reason: Some(reason) };
    }
    let kinds: Vec<_> = sockets.iter().map(|(local, seen)| kind(*local, seen)).collect();
    let worst = [Mapping::AddressDependent, Mapping::Unknown, Mapping::EndpointIndependent, Mapping::NoNat];
    let kind = worst.into_iter().find(|kind| kinds.contains(kind)).unwrap_or(Mapping::Unknown);
    let reason = (kind == Mapping::Unknown).then_some("it takes two STUN servers to tell, and only one answers");
    MappingReport { kind, reason }
}

/// How one socket is seen by each server.
fn kind(local: SocketAddr, seen: &BTreeMap<SocketAddr, SocketAddr>) -> Mapping {
    let mapped: BTreeSet<_> = seen.values().collect();
    match (mapped.len(), seen.len()) {
        (1, _) if mapped.contains(&local) => Mapping::NoNat,
        (1, 1) => Mapping::Unknown,
        (1, _) => Mapping::EndpointIndependent,
        _ => Mapping::AddressDependent,
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
    fn two_servers_tell_the_kind() {
        let (local, one, two) = ("10.0.0.1:1", "192.0.2.1:3478", "192.0.2.2:3478");
        let kind = |answers: &[Answer]| mapping(answers).kind;
        let seen = |by, mapped| answer(local, by, Some(mapped));
        assert_eq!(kind(&[seen(one, local), seen(two, local)]), Mapping::NoNat);
        assert_eq!(kind(&[seen(one, local)]), Mapping::NoNat, "one is enough for that");
        assert_eq!(kind(&[seen(one, "5.5.5.5:9"), seen(two, "5.5.5.5:9")]), Mapping::EndpointIndependent);
        assert_eq!(kind(&[seen(one, "5.5.5.5:9"), seen(two, "5.5.5.5:8")]), Mapping::AddressDependent);
        let unknown = mapping(&[seen(one, "5.5.5.5:9"), answer(local, two, None)]);
        assert!(unknown.kind == Mapping::Unknown && unknown.reason.unwrap().contains("only one"), "{unknown:?}");
        assert!(mapping(&[answer(local, one, None)]).reason.unwrap().contains("no STUN server answers"));
        assert!(mapping(&[]).reason.unwrap().contains("there is no STUN server"));
    }
}
