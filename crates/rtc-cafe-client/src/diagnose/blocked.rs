//! What a firewall lets through, from what has reached the servers.

use serde::Serialize;

use super::{StunReport, TurnReport};

/// What does not get out of this network, as far as the servers can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Blocked {
    /// UDP gets through, and so can everything.
    Nothing,
    /// UDP does not get through, TCP does.
    Udp,
    /// Of several ports of TCP only 443 gets through, and UDP does not.
    #[serde(rename = "all-but-tcp-443")]
    AllButTcp443,
    /// Nothing has reached a STUN or TURN server: they are not there, or everything is blocked.
    Everything,
    /// There is no server that could tell.
    Unknown,
}

/// Judges by what has reached STUN and TURN servers. `signalling` is the port by which the signalling server was reached.
pub(super) fn blocked(stun: &[StunReport], turn: &[TurnReport], signalling: Option<u16>) -> Blocked {
    let over_udp = || turn.iter().filter(|turn| turn.transport == Some("udp"));
    let over_tcp = || turn.iter().filter(|turn| matches!(turn.transport, Some("tcp" | "tls")));
    if stun.iter().any(|stun| stun.check.ok) || over_udp().any(|turn| turn.answers) {
        return Blocked::Nothing;
    }
    let asked = !stun.is_empty() || over_udp().next().is_some();
    let port = |turn: &TurnReport| turn.url.split('?').next()?.rsplit(':').next()?.parse::<u16>().ok();
    let reached: Vec<_> = over_tcp().filter(|turn| turn.answers).filter_map(port).collect();
    match (asked, reached.is_empty()) {
        (false, _) => Blocked::Unknown,
        (true, true) if signalling.is_none() || over_tcp().next().is_some() => Blocked::Everything,
        // Whether the servers are there at all, nobody can tell.
        (true, true) => Blocked::Unknown,
        (true, false) => {
            let only_443 = reached.iter().copied().chain(signalling).all(|port| port == 443);
            let others_failed = over_tcp().any(|turn| !turn.answers && port(turn) != Some(443));
            if only_443 && others_failed { Blocked::AllButTcp443 } else { Blocked::Udp }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::Check;

    const SILENCE: &str = "it does not answer";

    fn stun(ok: bool) -> StunReport {
        let check = Check { ok, milliseconds: 0, problem: None };
        StunReport { url: "stun:a:3478".into(), check, reflexive: Vec::new(), nat: None }
    }

    fn turn(url: &str, transport: &'static str, problem: Option<&str>) -> TurnReport {
        let check = Check { ok: problem.is_none(), milliseconds: 0, problem: problem.map(Into::into) };
        let relayed = if check.ok { vec![([192, 0, 2, 1], 50_000).into()] } else { Vec::new() };
        let answers = problem.is_none_or(|problem| problem != SILENCE);
        TurnReport { url: url.into(), transport: Some(transport), check, relayed, answers }
    }

    #[test]
    fn what_reaches_servers_tells_what_is_blocked() {
        let udp = |problem| turn("turn:a:3478", "udp", problem);
        let tcp = |problem| turn("turn:a:3478?transport=tcp", "tcp", problem);
        let tls = |problem| turn("turns:[::1]:443", "tls", problem);
        let silence = Some(SILENCE);
        assert_eq!(blocked(&[stun(true)], &[tls(silence)], None), Blocked::Nothing);
        assert_eq!(blocked(&[], &[udp(Some("wrong credentials (401)"))], None), Blocked::Nothing);
        assert_eq!(blocked(&[], &[udp(Some("508 Insufficient Capacity"))], None), Blocked::Nothing);
        assert_eq!(blocked(&[stun(false)], &[udp(silence), tcp(None), tls(None)], Some(443)), Blocked::Udp);
        assert_eq!(blocked(&[stun(false)], &[tcp(silence), tls(None)], Some(443)), Blocked::AllButTcp443);
        assert_eq!(blocked(&[stun(false)], &[tcp(silence), tls(None)], Some(8080)), Blocked::Udp);
        assert_eq!(blocked(&[stun(false)], &[tls(None)], Some(443)), Blocked::Udp, "nothing else was tried");
        assert_eq!(blocked(&[stun(false)], &[tcp(silence)], None), Blocked::Everything);
        assert_eq!(blocked(&[stun(false)], &[], Some(443)), Blocked::Unknown);
        assert_eq!(blocked(&[], &[tls(None)], Some(443)), Blocked::Unknown);
    }
}
