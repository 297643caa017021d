//! The metrics in the text format of Prometheus.

use std::fmt::{Display, Write};

use rtc_cafe_signaller::{BrokerStats, ErrorCode, Stats};
use rtc_cafe_turn::PerTransport;

use crate::process::Process;

/// What is told beside the signaller's own numbers.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) process: Process,
    /// When the certificate ends, in seconds since 1970, where there is one.
    pub(crate) certificate_expiry: Option<u64>,
    /// Requests for the admin view without its token, where there is one.
    pub(crate) admin_refusals: Option<u64>,
    /// What the relay does, where there is one.
    pub(crate) turn: Option<rtc_cafe_turn::Stats>,
    /// TCP connections that were closed at once.
    pub(crate) door_refusals: Option<u64>,
}

/// Writes every metric.
pub(crate) fn text(stats: &Stats, around: &Surroundings) -> String {
    let mut out = Text(String::new());
    out.family("rtc_cafe_build_info", "gauge", "Which version this is; the value is always 1.");
    out.line(concat!("rtc_cafe_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1);
    write_signaller(&mut out, stats);
    if let Some(broker) = &stats.broker {
        write_broker(&mut out, broker);
    }
    let expiry = "When the first certificate of the chain that clients are shown ends, in seconds since 1970.";
    out.known("rtc_cafe_tls_certificate_expiry_timestamp_seconds", "gauge", expiry, around.certificate_expiry);
    let refusals = "Requests for the admin view that came without its token.";
    out.known("rtc_cafe_admin_requests_refused_total", "counter", refusals, around.admin_refusals);
    let closed = "TCP connections that were closed at once, because their address has too many.";
    out.known("rtc_cafe_tcp_connections_refused_total", "counter", closed, around.door_refusals);
    if let Some(turn) = &around.turn {
        write_turn(&mut out, turn);
    }
    write_process(&mut out, &around.process);
    out.0
}

fn write_signaller(out: &mut Text, stats: &Stats) {
    out.single("rtc_cafe_connections", "gauge", "Clients that are connected.", stats.connections);
    out.single("rtc_cafe_sockets", "gauge", "Sockets in a namespace.", stats.sockets);
    out.single("rtc_cafe_rooms", "gauge", "Rooms with somebody in them.", stats.rooms);
    let opened = "Connections that there were.";
    out.single("rtc_cafe_connections_opened_total", "counter", opened, stats.connections_opened);
    let refused = "Connections that were refused, and clients that were not let in, by the code that they were told.";
    out.by_code("rtc_cafe_connections_refused_total", refused, &stats.connections_refused);
    let cut = "Connections that were cut, by code: clients that read too slowly, send too much at once, say nothing, or are refused again and again.";
    out.by_code("rtc_cafe_connections_cut_total", cut, &stats.connections_cut);
    out.single("rtc_cafe_events_received_total", "counter", "Events that clients sent.", stats.events_received);
    out.single("rtc_cafe_events_sent_total", "counter", "Events that were sent to clients.", stats.events_sent);
    let kicked = "Sessions that were ended by an operator.";
    out.single("rtc_cafe_sessions_kicked_total", "counter", kicked, stats.kicked);
    let refused = "Events that were refused, by the code that the client was told.";
    out.by_code("rtc_cafe_events_refused_total", refused, &stats.events_refused);
}

/// What there is only where there are several nodes.
fn write_broker(out: &mut Text, broker: &BrokerStats) {
    let up = "Whether the broker between the nodes is there; without it rooms end at this node.";
    out.single("rtc_cafe_broker_up", "gauge", up, u64::from(broker.up));
    let lost = "Connections to the broker that were lost.";
    out.single("rtc_cafe_broker_connections_lost_total", "counter", lost, broker.connections_lost);
    let nodes = "Other nodes that share, or lately shared, a room with this one.";
    out.single("rtc_cafe_broker_nodes", "gauge", nodes, broker.nodes);
    let remote = "Sockets on other nodes that are in rooms of this one.";
    out.single("rtc_cafe_broker_remote_sockets", "gauge", remote, broker.remote_sockets);
    let published = "Frames that the broker took.";
    out.single("rtc_cafe_broker_frames_published_total", "counter", published, broker.frames_published);
    let received = "Frames that came from the broker.";
    out.single("rtc_cafe_broker_frames_received_total", "counter", received, broker.frames_received);
    let dropped = "Frames that were dropped because the broker was too slow, or lost while they waited for it.";
    out.single("rtc_cafe_broker_frames_dropped_total", "counter", dropped, broker.frames_dropped);
    let outgoing = "Bytes that wait for the broker; beyond 32 MiB they are dropped.";
    out.single("rtc_cafe_broker_outgoing_bytes", "gauge", outgoing, broker.bytes_outgoing);
    let incoming = "Bytes from the broker that wait for this server; beyond 32 MiB it connects anew.";
    out.single("rtc_cafe_broker_incoming_bytes", "gauge", incoming, broker.bytes_incoming);
    let strange = "Frames from the broker that could not be used.";
    out.single("rtc_cafe_broker_frames_strange_total", "counter", strange, broker.frames_strange);
    let gaps = "Times that frames of another node were missing, and everything was told again.";
    out.single("rtc_cafe_broker_gaps_total", "counter", gaps, broker.gaps);
}

/// What there is only where STUN and TURN are served.
fn write_turn(out: &mut Text, turn: &rtc_cafe_turn::Stats) {
    let mut by = |name: &str, kind: &str, help: &str, label: &str, values: &[(&str, u64)]| {
        out.family(name, kind, help);
        for (value, count) in values {
            out.line(&format!("{name}{{{label}=\"{value}\"}}"), count);
        }
    };
    let PerTransport { udp, tcp, tls, .. } = turn.allocations;
    let now = [("udp", udp as u64), ("tcp", tcp as u64), ("tls", tls as u64)];
    let addresses = "Relayed addresses of clients, of one or two families, by how clients reach the relay.";
    by("rtc_cafe_turn_allocations", "gauge", addresses, "transport", &now);
    let PerTransport { udp, tcp, tls, .. } = turn.allocations_total;
    let made = "Relayed addresses that were given out.";
    by("rtc_cafe_turn_allocations_total", "counter", made, "transport", &[("udp", udp), ("tcp", tcp), ("tls", tls)]);
    let connections = [("tcp", turn.connections.tcp as u64), ("tls", turn.connections.tls as u64)];
    by("rtc_cafe_turn_connections", "gauge", "Connections to the relay.", "transport", &connections);
    let packets = [("to_peer", turn.packets_to_peers), ("from_peer", turn.packets_from_peers)];
    by("rtc_cafe_turn_relayed_packets_total", "counter", "Packets that were relayed.", "direction", &packets);
    let bytes = [("to_peer", turn.bytes_to_peers), ("from_peer", turn.bytes_from_peers)];
    by("rtc_cafe_turn_relayed_bytes_total", "counter", "Bytes in them.", "direction", &bytes);
    let lost = [
        ("not_permitted", turn.packets_refused),
        ("too_many", turn.packets_dropped),
        ("not_sent", turn.packets_unsent),
    ];
    by("rtc_cafe_turn_dropped_packets_total", "counter", "Packets that were not relayed.", "reason", &lost);
    let bindings = "STUN requests for an address that were answered.";
    out.single("rtc_cafe_stun_bindings_total", "counter", bindings, turn.bindings_total);
    let unanswered = "Requests without credentials beyond what one address is answered.";
    out.single("rtc_cafe_turn_requests_unanswered_total", "counter", unanswered, turn.unanswered_total);
    let refused = "rtc_cafe_turn_requests_refused_total";
    out.family(refused, "counter", "Requests that were refused, by the code of STUN.");
    for (code, count) in &turn.refused {
        out.line(&format!("{refused}{{code=\"{code}\"}}"), count);
    }
}

/// What Prometheus' own clients tell of every process, under their names.
fn write_process(out: &mut Text, process: &Process) {
    let cpu = "CPU time of user and system.";
    out.known("process_cpu_seconds_total", "counter", cpu, process.cpu_seconds);
    out.known("process_resident_memory_bytes", "gauge", "Resident memory.", process.resident_bytes);
    out.known("process_virtual_memory_bytes", "gauge", "Virtual memory.", process.virtual_bytes);
    out.known("process_open_fds", "gauge", "Open file descriptors; a connection is one.", process.open_files);
    out.known("process_max_fds", "gauge", "File descriptors that may be open.", process.most_files);
    let start = "When the process started, in seconds since 1970.";
    out.single("process_start_time_seconds", "gauge", start, process.start);
}

struct Text(String);

impl Text {
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line(name, value);
    }

    /// Writes a metric only where there is a value.
    fn known(&mut self, name: &str, kind: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.single(name, kind, help, value);
        }
    }

    fn by_code(&mut self, name: &str, help: &str, counts: &[(ErrorCode, u64)]) {
        self.family(name, "counter", help);
        for (code, count) in counts {
            self.line(&format!("{name}{{code=\"{code}\"}}"), count);
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }
}
