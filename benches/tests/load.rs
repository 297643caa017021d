//! A short `load` with the debug server: what the long one asserts, except for times.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{env, path::Path, process::Command};

use serde_json::Value;

/// All attacks but the polling sessions, which the server forgets after 45 seconds.
const ATTACKS: [&str; 7] = ["slow-readers", "slowloris", "flood", "silent", "huge", "invalid-utf8", "malformed"];

#[test]
fn the_server_stands_load_and_attacks() {
    let bench = Path::new(env!("CARGO_BIN_EXE_rtc-cafe-bench"));
    let beside = bench.with_file_name(format!("rtc-cafe{}", env::consts::EXE_SUFFIX));
    let server = env::var_os("RTC_CAFE_BIN").map_or(beside, Into::into);
    if !cfg!(target_os = "linux") || !server.is_file() {
        eprintln!("skipped: needs Linux and {}, which `cargo build -p rtc-cafe` makes", server.display());
        return;
    }
    let mut load = Command::new(bench);
    load.args(["load", "--connections", "500", "--churn", "50", "--seconds", "5", "--frames", "20000"]);
    load.args(["--attack-seconds", "1", "--rounds", "2", "--drain", "3", "--json"]).env("RTC_CAFE_BIN", server);
    load.args(ATTACKS.iter().flat_map(|attack| ["--only", attack]));
    let output = load.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for attack in ATTACKS {
        let key = attack.replace('-', "_");
        for number in ["done", "p99_ms", "memory_mb"] {
            let value = report[format!("{key}_{number}")]["ours"].as_f64();
            assert!(value.is_some_and(|value| value > 0.0), "{key}_{number} in {report:#}");
        }
    }
    assert!(report["malformed_done"]["ours"].as_f64() >= Some(20_000.0), "{report:#}");
    assert_eq!(report["drained_done"]["ours"].as_f64(), Some(500.0), "everybody is told to come back: {report:#}");
    for number in ["ended_s", "spread_s", "peak_mb"] {
        let value = report[format!("drained_{number}")]["ours"].as_f64();
        assert!(value > Some(1.0), "{number} in {report:#}");
    }
}
