//! The binary as an operator sees it.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_rtc-cafe");

/// A running server, ended with its test.
struct Serving {
    child: Child,
    host: String,
}

impl Serving {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(BINARY)
            .arg("serve")
            .args(arguments)
            .env("RTC_CAFE_NO_TURN", "1")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let host = line.strip_prefix("rtc-cafe is ready at http://").and_then(|rest| rest.strip_suffix("/\n"));
        Self { host: host.unwrap_or_else(|| panic!("one line with the URL, not {line:?}")).to_owned(), child }
    }

    /// The head and the body of an answer.
    fn get(&self, path: &str, headers: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.host).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let body = answer.split_off(end + 4);
        (String::from_utf8(answer).unwrap().to_ascii_lowercase(), body)
    }

    /// Asks it to stop, and returns its exit code.
    fn stop(mut self, signal: &str) -> Option<i32> {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(15) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not stop");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_serves_what_it_promises() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"], &[]);
    let ok = "http/1.1 200 ok";
    for (path, kind) in [
        ("/", "text/html"),
        ("/samples/simple-chat.html", "text/html"),
        ("/healthz", "text/plain"),
        ("/readyz", "text/plain"),
        ("/metrics", "text/plain; version=0.0.4"),
        ("/socket.io/?EIO=4&transport=polling", "text/plain"),
    ] {
        let (head, _) = serving.get(path, "");
        assert!(head.starts_with(ok) && head.contains(&format!("content-type: {kind}")), "{path}: {head}");
    }
    let (head, page) = serving.get("/", "");
    assert!(head.contains("content-security-policy: default-src 'self'"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff") && head.contains("cache-control: no-cache"), "{head}");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().replace("w/", "W/");
    let (head, _) = serving.get("/", &format!("If-None-Match: {etag}\r\n"));
    assert!(head.starts_with("http/1.1 304"), "{head}");
    let (head, packed) = serving.get("/", "Accept-Encoding: gzip\r\n");
    assert!(head.contains("content-encoding: gzip") && packed.len() < page.len(), "{head}");
    // Without the npm build the client is not there, and that is said.
    let (head, body) = serving.get("/client/rtc-cafe-client.js", "");
    let text = String::from_utf8(body).unwrap();
    match head.starts_with(ok) {
        true => assert!(head.contains("content-type: text/javascript"), "{head}"),
        false => assert!(head.starts_with("http/1.1 404") && text.contains("cargo xtask build"), "{head}{text}"),
    }
    for path in ["/client/nothing", "/samples/../Cargo.toml", "/samples/%2e%2e/Cargo.toml", "/nothing"] {
        assert!(serving.get(path, "").0.starts_with("http/1.1 404"), "{path}");
    }
    let (_, metrics) = serving.get("/metrics", "");
    let metrics = String::from_utf8(metrics).unwrap();
    for line in [
        "rtc_cafe_connections 1",
        "rtc_cafe_events_refused_total{code=\"too-large\"} 0",
        "rtc_cafe_connections_refused_total{code=\"too-many-connections\"} 0",
        "rtc_cafe_connections_cut_total{code=\"too-slow\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
    assert_eq!(serving.stop("-TERM"), Some(0));
}

#[test]
fn metrics_follow_the_conventions() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--redis", "redis://127.0.0.1:1"], &[]);
    let (_, text) = serving.get("/metrics", "");
    let text = String::from_utf8(text).unwrap();
    let mut family = ("", "");
    let mut seen = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && !seen.contains(&name), "{line}");
            seen.push(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').unwrap();
            assert_eq!(seen.last(), Some(&family.0));
            assert_eq!(family.1 == "counter", family.0.ends_with("_total"), "{line}");
            assert!(["counter", "gauge"].contains(&family.1), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(name.split('{').next(), Some(family.0), "{line}");
            assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
        }
    }
    assert!(text.contains(concat!("rtc_cafe_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")), "{text}");
    assert!(seen.contains(&"process_start_time_seconds") && seen.contains(&"rtc_cafe_broker_up"), "{text}");
    assert!(!text.contains("certificate"), "there is none");
}

#[test]
fn options_come_from_the_environment_too() {
    let environment = [
        ("RTC_CAFE_LISTEN", "127.0.0.1:0"),
        ("RTC_CAFE_ALLOW_ORIGIN", "https://a.example,https://b.example"),
        ("RTC_CAFE_ICE_SERVER", "stun:stun.example.org"),
    ];
    let serving = Serving::start(&[], &environment);
    for (origin, status) in [("https://b.example", "200"), ("https://c.example", "400")] {
        let (head, _) = serving.get("/socket.io/?EIO=4&transport=polling", &format!("Origin: {origin}\r\n"));
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
    assert_eq!(serving.stop("-INT"), Some(0));
}

#[test]
fn what_goes_wrong_is_said() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"], &[]);
    let fails = |arguments: &[&str]| {
        let output = Command::new(BINARY).arg("serve").args(arguments).output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = fails(&["--listen", &serving.host]);
    assert!(code == Some(1) && text.contains(&serving.host) && text.contains("in use"), "{text}");
    let (code, text) = fails(&["--listen", "localhost"]);
    assert!(code == Some(1) && text.contains("no port"), "{text}");
    let (code, text) = fails(&["--allow-origin", "a.example"]);
    assert!(code == Some(2) && text.contains("an origin is"), "{text}");
    let (code, text) = fails(&["--drain", "a while"]);
    assert!(code == Some(2) && text.contains("no length of time"), "{text}");
    let (code, text) = fails(&["--ice-server", "stun:stun.example.org:99999"]);
    assert!(code == Some(2) && text.contains("no port"), "{text}");
    let listen = ["--listen", "127.0.0.1:0"];
    let (code, text) = fails(&[&listen[..], &["--ice-server", "turn:turn.example.org"]].concat());
    assert!(code == Some(1) && text.contains("needs credentials"), "{text}");
    // What is no secret is not shown all the same.
    let (code, text) = fails(&[&listen[..], &["--jwt-secret", "hunter2"]].concat());
    assert!(code == Some(1) && text.contains("at least 32 bytes") && !text.contains("hunter2"), "{text}");
    let (code, text) = fails(&[&listen[..], &["--jwt-public-key", "/nothing.pem"]].concat());
    assert!(code == Some(1) && text.contains("cannot read /nothing.pem"), "{text}");
    let (code, text) =
        fails(&[&listen[..], &["--jwt-public-key", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]].concat());
    assert!(code == Some(1) && text.contains("BEGIN PUBLIC KEY"), "{text}");
    let (code, text) = fails(&[&listen[..], &["--jwt-audience", "cafe"]].concat());
    assert!(code == Some(1) && text.contains("needs --jwt-secret"), "{text}");
    let (code, text) = fails(&[&listen[..], &["--validate-url", "example.org/may"]].concat());
    assert!(code == Some(1) && text.contains("http://HOST"), "{text}");
    // Without TLS no certificates are needed.
    let nothing = [("SSL_CERT_FILE", "/nothing.pem"), ("SSL_CERT_DIR", "/nothing")];
    Serving::start(&[&listen[..], &["--validate-url", "http://127.0.0.1:9/"]].concat(), &nothing);
    let (code, text) = fails(&["--validate-timeout", "60"]);
    assert!(code == Some(2) && text.contains("1 to 10"), "{text}");
    let (code, text) = fails(&["--trusted-proxy", "proxy.example"]);
    assert!(code == Some(2) && text.contains("10.0.0.0/8"), "{text}");
    let (code, text) = fails(&["--max-events-per-second", "0"]);
    assert!(code == Some(2) && text.contains("1 or more"), "{text}");
}

#[test]
fn secrets_do_not_show_in_the_help() {
    let environment = [
        ("RTC_CAFE_JWT_SECRET", "hunter2-hunter2"),
        ("RTC_CAFE_VALIDATE_URL", "http://hunter2.example"),
        ("RTC_CAFE_TOKEN", "hunter2"),
    ];
    for command in ["serve", "join"] {
        let output = Command::new(BINARY).args([command, "--help"]).envs(environment).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Usage:") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn nobody_is_let_in_because_a_secret_is_empty() {
    let variables =
        ["RTC_CAFE_JWT_SECRET", "RTC_CAFE_JWT_PUBLIC_KEY", "RTC_CAFE_JWT_AUDIENCE", "RTC_CAFE_VALIDATE_URL"];
    for variable in variables {
        let server =
            Command::new(BINARY).args(["serve", "--listen", "127.0.0.1:0"]).env(variable, " ").output().unwrap();
        let text = String::from_utf8(server.stderr).unwrap();
        assert!(!server.status.success() && text.contains("is empty"), "{variable}: {text}");
    }
}

#[test]
fn empty_variables_are_as_good_as_none() {
    let environment = [
        ("RTC_CAFE_ALLOW_ORIGIN", ""),
        ("RTC_CAFE_ICE_SERVER", ""),
        ("RTC_CAFE_LOG", ""),
        ("RTC_CAFE_VALIDATE_TIMEOUT", ""),
        ("RTC_CAFE_TRUSTED_PROXY", ""),
        ("RTC_CAFE_MAX_CONNECTIONS_PER_ADDRESS", ""),
        ("RTC_CAFE_MAX_EVENTS_PER_SECOND", ""),
        ("RTC_CAFE_MAX_MESSAGE_BYTES", ""),
        ("RTC_CAFE_CONNECT_TIMEOUT", ""),
        ("RTC_CAFE_LOG_FORMAT", ""),
        ("RTC_CAFE_DRAIN", ""),
        ("RTC_CAFE_TLS_CERT", ""),
        ("RTC_CAFE_TLS_KEY", ""),
        ("RTC_CAFE_ADMIN_TOKEN", ""),
        ("RTC_CAFE_OPERATOR_LISTEN", ""),
        ("RTC_CAFE_LISTEN", "127.0.0.1:0"),
    ];
    assert_eq!(Serving::start(&[], &environment).stop("-TERM"), Some(0));
    let environment = [
        ("RTC_CAFE_ALLOW_ORIGIN", "https://a.example,"),
        ("RTC_CAFE_ICE_SERVER", "stun:a.example, ,"),
        ("RTC_CAFE_LISTEN", "127.0.0.1:0"),
    ];
    let serving = Serving::start(&[], &environment);
    for (origin, status) in [("https://a.example", "200"), ("https://c.example", "400")] {
        let (head, _) = serving.get("/socket.io/?EIO=4&transport=polling", &format!("Origin: {origin}\r\n"));
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
    assert_eq!(serving.stop("-TERM"), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"], &[]);
    // A session that nobody polls any more is waited for.
    serving.get("/socket.io/?EIO=4&transport=polling", "");
    let start = Instant::now();
    Command::new("kill").args(["-INT", &serving.child.id().to_string()]).status().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(serving.stop("-INT"), Some(1));
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}
