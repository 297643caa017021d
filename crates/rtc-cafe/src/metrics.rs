//! The metrics in the text format of Prometheus.

use std::fmt::Write;

use rtc_cafe_signaller::{BrokerStats, ErrorCode, Stats};

/// Writes every metric.
pub(crate) fn text(stats: &Stats) -> String {
    let mut out = String::new();
    let mut single = |name: &str, kind: &str, help: &str, value: u64| {
        family(&mut out, name, kind, help);
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name} {value}");
    };
    single("rtc_cafe_connections", "gauge", "Clients that are connected.", stats.connections as u64);
    single("rtc_cafe_sockets", "gauge", "Sockets in a namespace.", stats.sockets as u64);
    single("rtc_cafe_rooms", "gauge", "Rooms with somebody in them.", stats.rooms as u64);
    let opened = "Connections that there were.";
    single("rtc_cafe_connections_opened_total", "counter", opened, stats.connections_opened);
    single("rtc_cafe_events_received_total", "counter", "Events that clients sent.", stats.events_received);
    single("rtc_cafe_events_sent_total", "counter", "Events that were sent to clients.", stats.events_sent);
    if let Some(broker) = &stats.broker {
        write_broker(&mut single, broker);
    }
    let mut by_code = |name: &str, help: &str, counts: &[(ErrorCode, u64)]| {
        family(&mut out, name, "counter", help);
        for (code, count) in counts {
            let _ = writeln!(out, "{name}{{code=\"{code}\"}} {count}");
        }
    };
    let refused = "Connections that were refused, and clients that were not let in, by the code that they were told.";
    by_code("rtc_cafe_connections_refused_total", refused, &stats.connections_refused);
    let cut =
        "Connections that were cut, by code: clients that read too slowly, send too much at once, or say nothing.";
    by_code("rtc_cafe_connections_cut_total", cut, &stats.connections_cut);
    let refused = "Events that were refused, by the code that the client was told.";
    by_code("rtc_cafe_events_refused_total", refused, &stats.events_refused);
    out
}

/// What there is only where there are several nodes.
fn write_broker(single: &mut impl FnMut(&str, &str, &str, u64), broker: &BrokerStats) {
    let up = "Whether the broker between the nodes is there; without it rooms end at this node.";
    single("rtc_cafe_broker_up", "gauge", up, u64::from(broker.up));
    let lost = "Connections to the broker that were lost.";
    single("rtc_cafe_broker_connections_lost_total", "counter", lost, broker.connections_lost);
    let nodes = "Other nodes that share, or lately shared, a room with this one.";
    single("rtc_cafe_broker_nodes", "gauge", nodes, broker.nodes as u64);
    let remote = "Sockets on other nodes that are in rooms of this one.";
    single("rtc_cafe_broker_remote_sockets", "gauge", remote, broker.remote_sockets as u64);
    let published = "Frames that went to the broker.";
    single("rtc_cafe_broker_frames_published_total", "counter", published, broker.frames_published);
    let received = "Frames that came from the broker.";
    single("rtc_cafe_broker_frames_received_total", "counter", received, broker.frames_received);
    let dropped = "Frames that were dropped because the broker was too slow.";
    single("rtc_cafe_broker_frames_dropped_total", "counter", dropped, broker.frames_dropped);
    let strange = "Frames from the broker that could not be used.";
    single("rtc_cafe_broker_frames_strange_total", "counter", strange, broker.frames_strange);
    let gaps = "Times that frames of another node were missing, and everything was told again.";
    single("rtc_cafe_broker_gaps_total", "counter", gaps, broker.gaps);
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
