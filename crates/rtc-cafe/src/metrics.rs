//! The metrics in the text format of Prometheus.

use std::fmt::Write;

use rtc_cafe_signaller::Stats;

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
    let cut = "Connections that were cut because their clients read too slowly.";
    single("rtc_cafe_connections_cut_total", "counter", cut, stats.connections_cut);
    single("rtc_cafe_events_received_total", "counter", "Events that clients sent.", stats.events_received);
    single("rtc_cafe_events_sent_total", "counter", "Events that were sent to clients.", stats.events_sent);
    let refused = "rtc_cafe_events_refused_total";
    family(&mut out, refused, "counter", "Events that were refused, by the code that the client was told.");
    for (code, count) in &stats.events_refused {
        let _ = writeln!(out, "{refused}{{code=\"{code}\"}} {count}");
    }
    out
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
