//! HTTPS and WSS as clients and operators see them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{Folder, Lines, Peer, Server, command};
use rcgen::{CertificateParams, KeyPair, SerialNumber};
use serde_json::json;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

/// A certificate for loopback, its key, and what both look like in PEM.
struct Made {
    certificate: String,
    key: String,
}

fn made(serial: u64, expires: i32) -> Made {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_after = rcgen::date_time_ymd(expires, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Made { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn der(made: &Made) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A connection of HTTP that trusts these, and the certificate that it was shown.
fn connect(server: &Server, trusted: &[&Made]) -> (Stream, CertificateDer<'static>) {
    let stream = connect_for(server, trusted, &["h2", "http/1.1"]);
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let shown = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
    (stream, shown)
}

/// A connection that trusts these, for one of these protocols.
fn connect_for(server: &Server, trusted: &[&Made], protocols: &[&str]) -> Stream {
    let mut roots = RootCertStore::empty();
    for made in trusted {
        roots.add(der(made)).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(tls, TcpStream::connect(server.address()).unwrap());
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream
}

/// The head of the answer to a question on a connection that lives on.
fn ask(stream: &mut Stream) -> String {
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"ok\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

fn serve(folder: &Folder, made: &Made) -> Server {
    serve_with(folder, made, &[])
}

fn serve_with(folder: &Folder, made: &Made, options: &[&str]) -> Server {
    fs::write(folder.path("cert.pem"), &made.certificate).unwrap();
    fs::write(folder.path("key.pem"), &made.key).unwrap();
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0"]);
    serve.env("RTC_CAFE_TLS_CERT", folder.path("cert.pem")).env("RTC_CAFE_TLS_KEY", folder.path("key.pem"));
    serve.env("RTC_CAFE_LOG", "info").args(options);
    if !options.is_empty() {
        serve.env_remove("RTC_CAFE_NO_TURN");
    }
    let server = Server::start_by(serve.stderr(Stdio::piped()));
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    server
}

#[test]
fn a_new_certificate_is_shown_and_nobody_is_dropped() {
    let folder = Folder::new();
    let (old, new) = (made(1, 2100), made(2, 2099));
    let mut server = serve(&folder, &old);
    let lines = Lines::of(&mut server.process);
    let (mut first, shown) = connect(&server, &[&old]);
    assert!(shown == der(&old) && ask(&mut first).starts_with("HTTP/1.1 200"));

    // Half a file is none, and neither is a certificate without its key.
    fs::write(folder.path("cert.pem"), &new.certificate[..300]).unwrap();
    server.process.signal("-HUP");
    lines.until("there is no certificate in it");
    fs::write(folder.path("cert.pem"), &new.certificate).unwrap();
    lines.until("is not that of the first certificate");
    assert_eq!(connect(&server, &[&old, &new]).1, der(&old));

    fs::write(folder.path("key.pem"), &new.key).unwrap();
    lines.until("the certificate has changed");
    let (mut second, shown) = connect(&server, &[&old, &new]);
    assert_eq!(shown, der(&new));
    ask(&mut first);
    // When it ends: the first of January 2099.
    write!(second, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    let _ = second.read_to_string(&mut metrics);
    assert!(metrics.contains("\nrtc_cafe_tls_certificate_expiry_timestamp_seconds 4070908800\n"), "{metrics}");
}

#[test]
fn peers_meet_over_wss() {
    let folder = Folder::new();
    let mut server = serve(&folder, &made(3, 2100));
    server.roots = Some(folder.path("cert.pem"));
    let mut a = Peer::join(&server, "R", &[]);
    let mut b = Peer::join(&server, "R", &[]);
    a.event("connectToPeer");
    b.event("connectToPeer");
    a.value(json!({ "op": "sendMessage", "message": "over TLS" }));
    assert_eq!(b.event("message")["message"], "over TLS");
    let (code, _) = b.end();
    assert_eq!(code, Some(0));
}

#[test]
fn who_does_not_shake_hands_is_left_alone_and_then_dropped() {
    let folder = Folder::new();
    let good = made(4, 2100);
    let server = serve(&folder, &good);
    let mut silent = TcpStream::connect(server.address()).unwrap();
    let mut plain = TcpStream::connect(server.address()).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // An alert of TLS, no HTTP.
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let (mut stream, _) = connect(&server, &[&good]);
    ask(&mut stream);
    let (mut mute, shaken) = (connect(&server, &[&good]).0, Instant::now());
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let start = Instant::now();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0, "it is closed");
    assert!(start.elapsed() > Duration::from_secs(5));
    mute.sock.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    closes(&mut mute);
    assert!(shaken.elapsed() > Duration::from_secs(20));
}

/// Nothing comes but the end.
fn closes(stream: &mut Stream) {
    match stream.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {}
        other => panic!("it is not closed: {other:?}"),
    }
}

/// A request for one's own address (RFC 8489).
const BINDING: &[u8] = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";

/// RFC 7443: who speaks STUN or TURN may say so, and nobody has to.
#[test]
fn stun_shares_the_port_with_https() {
    let folder = Folder::new();
    let made = made(8, 2100);
    let mut server = serve_with(&folder, &made, &["--turn-listen", "127.0.0.1:0"]);
    let lines = Lines::of(&mut server.process);
    let mut kept = Vec::new();
    for protocols in [&["stun.turn"][..], &["stun.nat-discovery"], &[]] {
        let mut stream = connect_for(&server, &[&made], protocols);
        assert_eq!(stream.conn.alpn_protocol(), protocols.first().map(|protocol| protocol.as_bytes()));
        // A client may be slow.
        for part in [&BINDING[..1], &BINDING[1..]] {
            stream.write_all(part).unwrap();
            stream.flush().unwrap();
        }
        let mut answer = [0; 40];
        stream.read_exact(&mut answer).unwrap();
        assert!(answer[..4] == [1, 1, 0, 20] && answer[4..20] == BINDING[4..], "{answer:?}");
        kept.push(stream);
    }
    let (mut http, _) = connect(&server, &[&made]);
    ask(&mut http);
    write!(http, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    let _ = http.read_to_string(&mut metrics);
    assert!(metrics.contains("\nrtc_cafe_turn_connections{transport=\"tls\"} 3\n"), "{metrics}");
    assert!(metrics.contains("\nrtc_cafe_stun_bindings_total 3\n"), "{metrics}");
    // Neither of both.
    let mut nonsense = connect_for(&server, &[&made], &[]);
    nonsense.write_all(&[0xff; 64]).unwrap();
    let mut answer = Vec::new();
    let _ = nonsense.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    // They hold up no end, and end with the server.
    server.process.signal("-INT");
    assert_eq!(server.process.wait().code(), Some(0));
    assert!(lines.rest().iter().all(|line| !line.contains("did not end in time")));
    kept.iter_mut().for_each(closes);
}

#[test]
fn without_a_relay_nobody_speaks_turn() {
    let folder = Folder::new();
    let made = made(9, 2100);
    let server = serve(&folder, &made);
    let mut stream = connect_for(&server, &[&made], &["stun.turn"]);
    stream.write_all(BINDING).unwrap();
    closes(&mut stream);
}

#[test]
fn what_is_wrong_with_which_file_is_said() {
    let folder = Folder::new();
    let (one, other, over) = (made(5, 2100), made(6, 2100), made(7, 2001));
    let file = |name: &str, text: &str| {
        fs::write(folder.path(name), text).unwrap();
        folder.text(name)
    };
    let (cert, key) = (file("a.crt", &one.certificate), file("a.key", &one.key));
    let wrong_key = file("b.key", &other.key);
    let encrypted = file("c.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let old_encrypted = file(
        "d.key",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
    );
    let broken = file("e.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let missing = folder.text("missing.pem");
    for (cert, key, words) in [
        (&missing, &key, vec!["--tls-cert", "missing.pem", "No such file"]),
        (&cert, &missing, vec!["--tls-key", "missing.pem", "No such file"]),
        (&key, &cert, vec!["--tls-cert", "a.key", "no certificate"]),
        (&cert, &cert, vec!["--tls-key", "a.crt", "no private key"]),
        (&cert, &wrong_key, vec!["b.key", "is not that of", "a.crt"]),
        (&cert, &encrypted, vec!["c.key", "is encrypted", "openssl"]),
        (&cert, &old_encrypted, vec!["d.key", "is encrypted"]),
        (&broken, &key, vec!["e.crt", "certificate 1", "is broken"]),
    ] {
        let output =
            command(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    }
    let output = command(&["serve", "--tls-cert", &cert]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("belong together"));

    let mut expired = serve(&folder, &over);
    Lines::of(&mut expired.process).until("the certificate has expired");
}
