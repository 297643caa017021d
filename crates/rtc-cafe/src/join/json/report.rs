//! The report on a connection as JSON, with the names that W3C's statistics have for the same.

use rtc_cafe_client::{CandidateEnd, CandidatePair, Client, ConnectionReport, Sid};
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
    let servers = report
        .failed_servers
        .iter()
        .map(|server| Writer::new().string("url", &server.url).string("reason", &server.reason).finish());
    let selected = report.selected();
    Writer::new()
        .string("phase", report.phase.as_str())
        .raw("phases", &array(phases))
        .raw("route", &text(report.route.map(rtc_cafe_client::Route::as_str)))
        .raw("attempts", &report.attempts.to_string())
        .raw("restarts", &report.restarts.to_string())
        .raw("failure", &text(report.failure.as_deref()))
        .raw("relayed", selected.map_or("null", |pair| if pair.is_relayed() { "true" } else { "false" }))
        .raw("relay", &text(report.relay.as_deref()))
        .raw("protocol", &text(report.protocol()))
        .raw("roundTripTime", &seconds(selected))
        .raw("pairs", &array(report.pairs.iter().map(pair)))
        .raw("failedServers", &array(servers))
        .finish()
}

fn pair(pair: &CandidatePair) -> String {
    Writer::new()
        .raw("local", &end(&pair.local))
        .raw("remote", &end(&pair.remote))
        .string("state", pair.state.as_str())
        .raw("selected", if pair.selected { "true" } else { "false" })
        .raw("roundTripTime", &seconds(Some(pair)))
        .finish()
}

fn end(end: &CandidateEnd) -> String {
    Writer::new().string("address", &end.address.to_string()).string("type", end.kind.as_str()).finish()
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
