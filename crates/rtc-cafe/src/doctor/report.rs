//! The diagnosis for people: what was looked at, one line each, and what to do.

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
};

use rtc_cafe_client::diagnose::{
    Blocked, Check, Diagnosis, Filtering, Mapping, NatKind, Reach, ServerReport, StunReport, TurnReport,
};

use super::shown;
use crate::join::Look;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    Bad,
    /// No harm by itself.
    Note,
}

/// The lines, in columns: what it is, how it is, and more about it.
struct Lines {
    look: Look,
    lines: Vec<(&'static str, Mark, String, String)>,
}

/// All of it.
pub(super) fn text(diagnosis: &Diagnosis, look: Look) -> String {
    let mut lines = Lines { look, lines: Vec::new() };
    lines.server(&diagnosis.server);
    lines.addresses(&diagnosis.addresses);
    lines.stun(&diagnosis.stun);
    lines.firewall(diagnosis.blocked);
    lines.nat(diagnosis);
    lines.turn(&diagnosis.turn);
    lines.peers(diagnosis);
    let mut text = lines.finish();
    text += "\n";
    text += &match (diagnosis.ok, diagnosis.reach, diagnosis.advice.is_empty()) {
        (true, Reach::Network, _) => look.good("Peers in the same network can connect."),
        (true, _, true) => look.good("Peers can connect, and nothing is amiss."),
        (true, _, false) => look.good("Peers can connect."),
        (false, Reach::Network, _) => look.bad("Peers can connect in the same network only."),
        (false, ..) => look.bad("Peers cannot connect."),
    };
    text += "\n";
    for advice in &diagnosis.advice {
        text += &format!("  - {}\n", shown(advice));
    }
    text
}

impl Lines {
    fn add(&mut self, heading: &'static str, mark: Mark, what: impl Into<String>, more: impl Into<String>) {
        // A heading stands before the first of its lines.
        let repeated = self.lines.iter().any(|(other, ..)| *other == heading);
        self.lines.push((if repeated { "" } else { heading }, mark, what.into(), more.into()));
    }

    fn server(&mut self, server: &ServerReport) {
        let software = server.software.as_deref().map(|software| format!(", {}", shown(software))).unwrap_or_default();
        let version = server.api_version.as_deref().map(|version| format!(", API {version}")).unwrap_or_default();
        self.add("server", mark(&server.http, Mark::Note), "HTTP", outcome(&server.http, &software));
        self.add("server", mark(&server.websocket, Mark::Bad), "websocket", outcome(&server.websocket, &version));
    }

    fn addresses(&mut self, addresses: &[IpAddr]) {
        let of = |v6: bool| {
            let addresses: Vec<_> = addresses.iter().filter(|address| address.is_ipv6() == v6).collect();
            (!addresses.is_empty()).then(|| list(&addresses))
        };
        for (name, found) in [("IPv4", of(false)), ("IPv6", of(true))] {
            let mark = if found.is_some() { Mark::Good } else { Mark::Note };
            self.add("addresses", mark, name, found.unwrap_or_else(|| "none".to_owned()));
        }
    }

    fn stun(&mut self, servers: &[StunReport]) {
        if servers.is_empty() {
            self.add("STUN", Mark::Note, "no server", "");
        }
        for server in servers {
            let nat = if server.nat == Some(true) { "behind a NAT" } else { "no NAT" };
            let more = match &server.check.problem {
                None => {
                    format!("{nat}, seen as {}", list(&server.reflexive.iter().map(SocketAddr::ip).collect::<Vec<_>>()))
                }
                Some(problem) => shown(problem),
            };
            self.add("STUN", mark(&server.check, Mark::Bad), shown(&server.url), more);
        }
    }

    fn firewall(&mut self, blocked: Blocked) {
        let (mark, what, more) = match blocked {
            Blocked::Nothing => (Mark::Good, "UDP", "gets through"),
            Blocked::Udp => (Mark::Bad, "UDP", "is blocked; TCP gets through"),
            Blocked::AllButTcp443 => (Mark::Bad, "all but TCP 443", "is blocked"),
            Blocked::Everything => {
                (Mark::Bad, "everything", "is blocked on the way to these servers, or they are not there")
            }
            _ => (Mark::Note, "UDP", "nobody can tell"),
        };
        self.add("firewall", mark, what, more);
    }

    fn nat(&mut self, diagnosis: &Diagnosis) {
        let (mark, kind) = match diagnosis.nat {
            NatKind::None => (Mark::Good, "none: whoever knows the address gets in"),
            NatKind::Firewall => (Mark::Good, "none, but a firewall: direct connections work with almost everybody"),
            NatKind::NoneOrFirewall => {
                (Mark::Good, "none; whether a firewall keeps others out, a server with two addresses would tell")
            }
            NatKind::FullCone => (Mark::Good, "full cone: direct connections work with everybody"),
            NatKind::RestrictedCone => (Mark::Good, "restricted cone: direct connections work with everybody"),
            NatKind::PortRestrictedCone => {
                (Mark::Good, "port-restricted cone: direct connections work, except with those behind a symmetric one")
            }
            NatKind::Cone => {
                (Mark::Good, "a cone: direct connections work; with whom, a server with two addresses would tell")
            }
            NatKind::Symmetric => {
                (Mark::Note, "symmetric: direct connections work only with those whose NAT is none or looks at no port")
            }
            _ => (Mark::Note, "unknown"),
        };
        self.add("NAT", mark, "kind", kind);
        let (mapping, filtering) = (&diagnosis.mapping, &diagnosis.filtering);
        let at_least = |exact: bool| if exact { "" } else { ", as far as one address of a server shows" };
        let (mark, what) = match mapping.kind {
            Mapping::NoNat => (Mark::Good, "none".to_owned()),
            Mapping::EndpointIndependent => (Mark::Good, "endpoint-independent".to_owned() + at_least(mapping.exact)),
            Mapping::AddressDependent if mapping.exact => (Mark::Note, "address-dependent".to_owned()),
            Mapping::AddressDependent => (Mark::Note, "address-dependent, at least".to_owned()),
            Mapping::AddressAndPortDependent => (Mark::Note, "address-and-port-dependent".to_owned()),
            _ => (Mark::Note, reason(mapping.reason)),
        };
        self.add("NAT", mark, "mapping", what);
        let at_most = |exact: bool| if exact { "" } else { ", at most" };
        let (mark, what) = match filtering.kind {
            Filtering::EndpointIndependent => (Mark::Good, "endpoint-independent".to_owned()),
            Filtering::AddressDependent => (Mark::Good, "address-dependent".to_owned() + at_most(filtering.exact)),
            Filtering::AddressAndPortDependent => {
                (Mark::Good, "address-and-port-dependent".to_owned() + at_most(filtering.exact))
            }
            _ => (Mark::Note, reason(filtering.reason)),
        };
        self.add("NAT", mark, "filtering", what);
    }

    fn turn(&mut self, servers: &[TurnReport]) {
        if servers.is_empty() {
            self.add("TURN", Mark::Note, "no server", "");
        }
        for server in servers {
            let transport = server.transport.map(|transport| format!("over {transport}, ")).unwrap_or_default();
            let more = match &server.check.problem {
                None => {
                    let (relayed, took) = (list(&server.relayed), server.check.milliseconds);
                    format!("{transport}passes on what is sent to {relayed} ({took} ms)")
                }
                Some(problem) => format!("{transport}{}", shown(problem)),
            };
            self.add("TURN", mark(&server.check, Mark::Bad), shown(&server.url), more);
        }
    }

    fn peers(&mut self, diagnosis: &Diagnosis) {
        let peers = &diagnosis.peers;
        let way = match peers.relayed {
            Some(true) => ", over a TURN server",
            Some(false) => ", directly",
            None => "",
        };
        self.add("peers", mark(&peers.check, Mark::Bad), "two of them", outcome(&peers.check, way));
    }

    fn finish(self) -> String {
        let width = |pick: fn(&(&'static str, Mark, String, String)) -> usize| self.lines.iter().map(pick).max();
        let first = width(|line| line.0.len()).unwrap_or_default();
        // One long URL does not push everything aside.
        let second = width(|line| line.2.chars().count()).unwrap_or_default().min(44);
        let mut text = String::new();
        for (heading, mark, what, more) in &self.lines {
            let sign = match mark {
                Mark::Good => self.look.good("ok"),
                Mark::Bad => self.look.bad("NO"),
                Mark::Note => self.look.dim("--"),
            };
            let line = format!("{heading:first$}  {sign}  {what:second$}  {more}");
            text += line.trim_end();
            text += "\n";
        }
        text
    }
}

fn mark(check: &Check, otherwise: Mark) -> Mark {
    if check.ok { Mark::Good } else { otherwise }
}

fn reason(reason: Option<&'static str>) -> String {
    reason.map_or_else(|| "unknown".to_owned(), |reason| format!("unknown: {reason}"))
}

fn outcome(check: &Check, more: &str) -> String {
    match &check.problem {
        None => format!("{} ms{more}", check.milliseconds),
        Some(problem) => shown(problem),
    }
}

fn list<T: Display>(values: &[T]) -> String {
    let mut texts: Vec<_> = values.iter().map(T::to_string).collect();
    texts.dedup();
    texts.join(", ")
}
