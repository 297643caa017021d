//! ICE candidates between the wire and str0m (RFC 8839 section 5.1).

use std::{borrow::Cow, net::SocketAddr};

use rtc_cafe_core::wire::signal::IceCandidate;
use str0m::Candidate;

/// A peer's candidate, if it is of use: with an address, and over UDP. Multicast DNS names are of none, for the peer's
/// checks reach us all the same, and its address is learned from them (RFC 8445 section 7.3.1.3).
pub(crate) fn read(candidate: &IceCandidate) -> Option<Candidate> {
    let mut read = Candidate::from_sdp_string(&candidate.candidate).ok()?;
    if read.proto() != str0m::net::Protocol::Udp {
        return None;
    }
    // With it a candidate of before a restart of ICE is told from one of after it.
    if let Some(fragment) = candidate.username_fragment.as_deref().filter(|_| read.ufrag().is_none()) {
        read.set_ufrag(fragment);
    }
    Some(read)
}

/// The candidate that str0m makes of an address from which a check has come.
pub(crate) fn reflexive(address: SocketAddr) -> Option<Candidate> {
    let (ip, port) = (address.ip(), address.port());
    Candidate::from_sdp_string(&format!("candidate:1 1 udp 1 {ip} {port} typ prflx")).ok()
}

/// A candidate of ours. Everything is bundled, so it belongs to the first m-line.
pub(crate) fn write(candidate: &Candidate) -> IceCandidate {
    IceCandidate {
        candidate: candidate.to_sdp_string(),
        sdp_mid: None,
        sdp_m_line_index: Some(0),
        username_fragment: None,
    }
}

/// The candidates of a description that can be read.
pub(crate) fn of(sdp: &str) -> impl Iterator<Item = Candidate> {
    let attributes = sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a="));
    let candidates = attributes.filter(|attribute| attribute.starts_with("candidate:"));
    candidates.filter_map(|candidate| Candidate::from_sdp_string(candidate).ok())
}

/// A description without the candidates that cannot be read.
pub(crate) fn strip(sdp: &str) -> Cow<'_, str> {
    let unreadable = |line: &&str| {
        line.trim_end().strip_prefix("a=").is_some_and(|attribute| {
            attribute.starts_with("candidate:") && Candidate::from_sdp_string(attribute).is_err()
        })
    };
    if sdp.split_inclusive('\n').any(|line| unreadable(&line)) {
        sdp.split_inclusive('\n').filter(|line| !unreadable(line)).collect()
    } else {
        Cow::Borrowed(sdp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(candidate: &str) -> IceCandidate {
        IceCandidate { candidate: candidate.to_owned(), ..IceCandidate::default() }
    }

    #[test]
    fn only_addresses_over_udp_are_read() {
        assert!(read(&named("candidate:1 1 udp 2122260223 192.0.2.1 5000 typ host")).is_some());
        assert!(read(&named("candidate:1 1 UDP 2122260223 2001:db8::1 5000 typ host generation 0 ufrag ab")).is_some());
        for useless in [
            "",
            "candidate:1 1 udp 2122260223 0e7a2f5e-4f25-4b35-b5a1-2b9d0c1a9a10.local 5000 typ host",
            "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
            "candidate:1 1 udp",
        ] {
            assert!(read(&named(useless)).is_none(), "{useless}");
        }
    }

    #[test]
    fn a_name_in_a_description_does_no_harm() {
        let good = "a=candidate:1 1 udp 2122260223 192.0.2.1 5000 typ host\r\n";
        let bad = "a=candidate:1 1 udp 2122260223 x.local 5000 typ host\r\n";
        assert_eq!(strip(&["v=0\r\n", good, bad, "a=end\r\n"].concat()), ["v=0\r\n", good, "a=end\r\n"].concat());
        assert!(matches!(strip(good), Cow::Borrowed(_)));
    }
}
