//! The report on a connection as JSON, with the names that the JavaScript client has for the same.

use rtc_cafe_client::{CandidateEnd, CandidateKind, CandidatePair, Client, ConnectionReport, Sid};
use rtc_cafe_wire::json::{Writer, string};

/// `null` for a peer that is not discovered.
pub(crate) async fn report(client: &Client, sid: String) -> String {
    let Some(sid) = Sid::new(sid) else { return "null".to_owned() };
    client.connection_report(&sid).await.map_or_else(|| "null".to_owned(), |report| json(&report))
}

pub(crate) fn json(report: &ConnectionReport) -> String {
    let phases = report.phases.iter().map(|(phase, spent)| {
        Writer::new().string("phase", phase.as_str()).raw("milliseconds", &spent.as_millis().to_string()).finish()
    });
    let servers = report.failed_servers.iter().map(|server| {
        Writer::new().string("url", &server.url).raw("errorCode", "null").string("errorText", &server.reason).finish()
    });
    let selected = report.selected();
    let path = selected.map(|pair| if pair.is_relayed() { "relayed" } else { "direct" });
    Writer::new()
        .string("phase", report.phase.as_str())
        .raw("phases", &array(phases))
        .raw("route", &text(report.route.map(rtc_cafe_client::Route::as_str)))
        .raw("attempts", &report.attempts.to_string())
        .raw("restarts", &report.restarts.to_string())
        .raw("failure", &text(report.failure.as_deref()))
        .raw("path", &text(path))
        .raw("protocol", &text(report.protocol()))
        .raw("roundTripTime", &seconds(selected))
        .raw("selectedPair", &selected.map_or_else(|| "null".to_owned(), |selected| pair(report, selected)))
        .raw("candidatePairs", &array(report.pairs.iter().map(|tried| pair(report, tried))))
        .raw("iceServerFailures", &array(servers))
        .finish()
}

fn pair(report: &ConnectionReport, pair: &CandidatePair) -> String {
    let over = report.relay.as_deref().filter(|_| pair.selected && pair.local.kind == CandidateKind::Relayed);
    let protocol = over.and(report.protocol()).unwrap_or("udp");
    Writer::new()
        .string("state", pair.state.as_str())
        .raw("local", &end(&pair.local, protocol, over))
        .raw("remote", &end(&pair.remote, "udp", None))
        .raw("roundTripTime", &seconds(Some(pair)))
        .finish()
}

fn end(end: &CandidateEnd, protocol: &str, url: Option<&str>) -> String {
    Writer::new()
        .string("type", end.kind.as_str())
        .string("protocol", protocol)
        .string("address", &end.address.ip().to_string())
        .raw("port", &end.address.port().to_string())
        .raw("url", &text(url))
        .finish()
}

fn seconds(pair: Option<&CandidatePair>) -> String {
    let round_trip = pair.and_then(|pair| pair.round_trip);
    round_trip.map_or_else(|| "null".to_owned(), |time| format!("{:.6}", time.as_secs_f64()))
}

fn text(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), string)
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}
