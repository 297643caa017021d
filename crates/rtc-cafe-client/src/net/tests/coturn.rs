//! A coturn of the test's own on loopback. It ends with the test.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::IceServer;

pub(super) struct Coturn {
    child: Child,
    folder: PathBuf,
    pub(super) port: u16,
    tls_port: u16,
    options: Vec<String>,
    channels: Arc<AtomicU32>,
    pub(super) certificate: rcgen::Certificate,
}

impl Coturn {
    pub(super) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(super) fn start_with(options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtc-cafe-coturn-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        fs::write(folder.join("cert.pem"), key.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), key.signing_key.serialize_pem()).unwrap();
        let (port, tls_port) = (free_port(), free_port());
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        let channels = Arc::default();
        let child = spawn(&folder, port, tls_port, &options, &channels);
        Self { child, folder, port, tls_port, options, channels, certificate: key.cert }
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, on the same ports and without a memory.
    pub(super) fn restart(&mut self) {
        self.child = spawn(&self.folder, self.port, self.tls_port, &self.options, &self.channels);
    }

    /// How many channels it has bound, as its log says.
    pub(super) fn channels(&self) -> u32 {
        self.channels.load(Ordering::Relaxed)
    }

    pub(super) fn stun(&self) -> IceServer {
        IceServer::new(format!("stun:127.0.0.1:{}", self.port))
    }

    pub(super) fn turn(&self, carrier: &str, password: &str) -> IceServer {
        let url = match carrier {
            "udp" => format!("turn:127.0.0.1:{}", self.port),
            "tcp" => format!("turn:127.0.0.1:{}?transport=tcp", self.port),
            _ => format!("turns:localhost:{}", self.tls_port),
        };
        IceServer::new(url).with_credentials("user", password)
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &std::path::Path, port: u16, tls_port: u16, options: &[String], channels: &Arc<AtomicU32>) -> Child {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut child = Command::new("turnserver")
        .args(["-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers", "--no-cli"])
        .args(["--lt-cred-mech", "--user=user:right", "--realm=test", "--no-dtls", "--relay-threads=1"])
        .args(["--log-file=stdout", "--simple-log", "--verbose"])
        .arg(format!("--listening-port={port}"))
        .arg(format!("--tls-listening-port={tls_port}"))
        .arg(format!("--cert={}", file("cert.pem")))
        .arg(format!("--pkey={}", file("key.pem")))
        .arg(format!("--pidfile={}", file("pid")))
        .arg(format!("--userdb={}", file("db")))
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("turnserver is missing: install coturn (on Debian: apt-get install coturn)");
    let output = BufReader::new(child.stdout.take().unwrap());
    let (ready, is_ready) = mpsc::channel();
    let channels = Arc::clone(channels);
    // Also keeps the pipe from filling up.
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if line.contains("IO method (admin thread)") {
                let _ = ready.send(());
            }
            if line.contains("CHANNEL_BIND processed, success") {
                channels.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    is_ready.recv_timeout(Duration::from_secs(60)).expect("turnserver did not start");
    child
}

/// A port that is free for UDP and TCP, for as long as nobody else takes it.
fn free_port() -> u16 {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("there is no free port");
}
