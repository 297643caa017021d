//! The files for operators speak of what there is.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use common::{Folder, Server, command};
use serde_json::Value;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap()
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let ours =
        |word: &&str| ["rtc_cafe_", "process_"].iter().any(|prefix| word.starts_with(prefix)) && !word.ends_with('_');
    words.filter(ours).map(str::to_owned).collect()
}

/// All that a server tells which has everything turned on.
fn told() -> BTreeSet<String> {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(folder.path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (folder.text("cert.pem"), folder.text("key.pem"));
    let options = [
        "--redis",
        "redis://127.0.0.1:1",
        "--admin-token",
        "0123456789abcdef",
        "--log",
        "off",
        "--turn-listen",
        "127.0.0.1:0",
    ];
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key]);
    let server = Server::start_by(serve.args(options).env_remove("RTC_CAFE_NO_TURN"));
    let metrics = over_tls(&server, made.cert.der().clone());
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

fn over_tls(server: &Server, root: tokio_rustls::rustls::pki_types::CertificateDer<'static>) -> String {
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs};
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientConnection::new(config.into(), "127.0.0.1".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, TcpStream::connect(server.address()).unwrap());
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    // It ends without a goodbye of TLS.
    let _ = stream.read_to_string(&mut metrics);
    metrics
}

#[test]
fn metrics_are_those_that_there_are() {
    let told = told();
    assert!(told.len() > 20, "{told:?}");
    for name in ["deploy/grafana.json", "deploy/prometheus-rules.yml", "docs/operations.md"] {
        let named = named(&file(name));
        let unknown: Vec<_> = named.difference(&told).collect();
        assert!(!named.is_empty() && unknown.is_empty(), "{name} has {unknown:?}");
    }
    let documented = named(&file("docs/operations.md"));
    assert_eq!(told.difference(&documented).collect::<Vec<_>>(), [""; 0], "each is documented");
    // It is what was reserved, and says nothing about what is used.
    let shown = named(&file("deploy/grafana.json"));
    let hidden: Vec<_> = told.difference(&shown).filter(|name| *name != "process_virtual_memory_bytes").collect();
    assert_eq!(hidden, [""; 0], "the dashboard shows each");
}

#[test]
fn the_dashboard_is_one() {
    let dashboard: Value = serde_json::from_str(&file("deploy/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && !panel["title"].as_str().unwrap().is_empty());
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            let balanced = |open, close| expression.matches(open).count() == expression.matches(close).count();
            assert!(balanced('(', ')') && balanced('{', '}') && balanced('[', ']'), "{expression}");
            // What only goes up is looked at as a rate.
            let counts = expression.contains("_total");
            assert_eq!(counts, expression.contains("rate(") || expression.contains("increase("), "{expression}");
        }
    }
}

/// What stands behind a key in a file, once.
fn only<'a>(text: &'a str, key: &str) -> &'a str {
    let found: Vec<_> = text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key)).collect();
    assert_eq!(found.len(), 1, "{key} {found:?}");
    found[0].trim()
}

#[test]
fn the_address_of_the_proxy_is_nobody_elses() {
    let compose = file("deploy/compose.yaml");
    let net = |key| only(&compose, key).parse::<rtc_cafe_signaller::IpNet>().unwrap();
    let (subnet, given_out) = (net("subnet:"), net("ip_range:"));
    let proxy = only(&compose, "ipv4_address:");
    assert_eq!(proxy, only(&compose, "RTC_CAFE_TRUSTED_PROXY:"));
    let proxy: std::net::IpAddr = proxy.parse().unwrap();
    assert!(subnet.contains(&given_out) && subnet.contains(&proxy) && !given_out.contains(&proxy));
}

#[test]
fn the_image_is_built_once() {
    let compose = file("deploy/compose.yaml");
    only(&compose, "build:");
    let other = compose.split("\n  other:").nth(1).unwrap().split("\n\n").next().unwrap();
    assert!(!other.contains("build") && only(other, "pull_policy:") == "never", "{other}");
}

#[test]
fn systemd_starts_it_again_and_again() {
    let unit = file("deploy/rtc-cafe.service");
    let (head, service) = unit.split_once("[Service]").unwrap();
    assert_eq!(only(head, "StartLimitIntervalSec="), "0", "or it is given up after five seconds");
    assert_eq!((only(service, "Restart="), only(service, "RestartSec=")), ("always", "2"));
    let folder = Folder::new();
    let start = unit.replace("/usr/local/bin/rtc-cafe", common::BINARY);
    fs::write(folder.path("rtc-cafe.service"), start).unwrap();
    let analyze = ["verify", "--man=no", &folder.text("rtc-cafe.service")];
    match std::process::Command::new("systemd-analyze").args(analyze).output() {
        Ok(output) => {
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success() && !said.contains("rtc-cafe.service:"), "{said}");
        }
        Err(error) => println!("skipped: systemd-analyze {error}"),
    }
}

#[test]
fn options_in_the_files_exist() {
    let help_of = |name| String::from_utf8(command(&[name, "--help"]).output().unwrap().stdout).unwrap();
    let (help, of_clients) = (help_of("serve"), help_of("join"));
    let names = ["deploy/rtc-cafe.service", "deploy/Dockerfile", "deploy/compose.yaml", "docs/operations.md"];
    for name in names {
        let text = file(name);
        let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        for variable in words.filter(|word| word.starts_with("RTC_CAFE_")) {
            assert!([&help, &of_clients].iter().any(|help| help.contains(variable)), "{name}: {variable}");
        }
    }
    let operations = file("docs/operations.md");
    let options = help.lines().map(str::trim).filter(|line| line.starts_with("--"));
    for option in options.filter_map(|line| line.split([' ', '=']).next()).filter(|option| *option != "--help") {
        assert!(operations.contains(&format!("`{option}")), "{option} is in docs/operations.md");
    }
}
