//! `turn`: how much the relay passes on, and what it takes for it, beside coturn.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail, ensure};
use rtc_cafe_turn::Secret;
use turn_types::{
    attribute::{ChannelNumber, RequestedTransport, XorPeerAddress},
    message::{ALLOCATE, CHANNEL_BIND},
    stun::{
        attribute::{Nonce, Realm, Username},
        message::{
            IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials,
            MessageWrite, MessageWriteExt, MessageWriteVec, Method,
        },
        prelude::AttributeWrite,
    },
};

mod link;

use link::{Link, Transport};

use crate::{
    metric::{About, Measured, Samples, cost, rate},
    process::{Process, Programs},
    report::{Other, Report},
    signaller::bounded,
};

const SECRET: &str = "of this benchmark";
/// As much of a datagram as WebRTC fills with media.
const PAYLOAD: usize = 1200;
const CHANNEL: u16 = 0x4000;
const CLIENTS: usize = 8;
/// Packets of a client that are under way at a time.
const WINDOW: usize = 16;
const PATIENCE: Duration = Duration::from_millis(200);
const READY: Duration = Duration::from_secs(10);

/// Measures the relay beside coturn: packets per second, and processor time for a gigabit
///
/// Eight clients send packets of 1200 bytes through channels to a peer that sends each of them back, sixteen of each under way at a
/// time, on this machine: first by UDP, then by TCP, as clients do behind firewalls. A packet counts for each time that it is relayed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench turn
  cargo xtask bench turn --seconds 10 --rounds 5 --json > now.json")]
pub(crate) struct Options {
    /// How often each server is measured, in turns; the medians are shown
    #[arg(long, default_value_t = 3, value_name = "NUMBER", value_parser = bounded(1, 100))]
    rounds: usize,

    /// Seconds of each measurement
    #[arg(long, default_value_t = 4, value_name = "NUMBER", value_parser = bounded(1, 600))]
    seconds: usize,

    /// Prints JSON instead of the table, with the values of every round
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Metric {
    Packets,
    Cpu,
    PacketsByTcp,
    CpuByTcp,
}

impl Measured for Metric {
    const ALL: &'static [Self] = &[Self::Packets, Self::Cpu, Self::PacketsByTcp, Self::CpuByTcp];

    fn about(self) -> About {
        match self {
            Self::Packets => rate("turn_packets", "relayed packets of 1200 bytes, by UDP"),
            Self::Cpu => cost("turn_cpu", "processor time for a relayed gigabit, by UDP", "s", 3),
            Self::PacketsByTcp => rate("turn_tcp_packets", "relayed packets of 1200 bytes, by TCP"),
            Self::CpuByTcp => cost("turn_tcp_cpu", "processor time for a relayed gigabit, by TCP", "s", 3),
        }
    }

    fn hint(self) -> Option<&'static str> {
        None
    }
}

#[derive(Debug, Clone, Copy)]
enum Server {
    Ours,
    Coturn,
}

/// A server that runs; it ends when this is dropped.
struct Running {
    child: Child,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let programs = Programs::find()?;
    let start = Instant::now();
    let (mut ours, mut coturn) = (Samples::default(), Samples::default());
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for (server, samples) in [(Server::Ours, &mut ours), (Server::Coturn, &mut coturn)] {
            for (transport, rate, cost) in [
                (Transport::Udp, Metric::Packets, Metric::Cpu),
                (Transport::Tcp, Metric::PacketsByTcp, Metric::CpuByTcp),
            ] {
                let (packets, cpu) = measure(server, transport, &programs, options.seconds as u64)?;
                samples.add(rate, packets);
                samples.add(cost, cpu);
            }
        }
    }
    let report = Report {
        title: "The relay (TURN)",
        conditions: format!("{CLIENTS} clients, {WINDOW} packets of each under way, on this machine"),
        rounds: options.rounds,
        ours: &ours,
        others: vec![Other { name: "coturn", key: "coturn", samples: &coturn }],
        notes: String::from("Clients and peer run on the same processors as the server."),
    };
    report.print(options.json, start.elapsed());
    Ok(())
}

/// Relayed packets per second, and processor seconds for a relayed gigabit.
fn measure(server: Server, transport: Transport, programs: &Programs, seconds: u64) -> anyhow::Result<(f64, f64)> {
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let running = start(server, programs, port)?;
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let peer_address = peer.local_addr()?;
    peer.set_read_timeout(Some(PATIENCE))?;
    let process = Process(running.child.id());
    let allocated = |number| allocate(Link::open(transport, address)?, peer_address, number);
    let mut clients = (0..CLIENTS).map(allocated).collect::<anyhow::Result<Vec<_>>>()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let echo = thread::spawn(move || send_back(&peer, end));
    let before = process.cpu()?;
    let begun = Instant::now();
    let received = pump(&mut clients, end)?;
    let took = begun.elapsed().as_secs_f64();
    let cpu = (process.cpu()? - before).total;
    let _ = echo.join();
    ensure!(received > 0, "nothing came back through the relay");
    let relayed = 2.0 * received as f64;
    Ok((relayed / took, cpu / (relayed * (PAYLOAD * 8) as f64 / 1e9)))
}

fn start(server: Server, programs: &Programs, port: u16) -> anyhow::Result<Running> {
    let folder = std::env::temp_dir().join(format!("rtc-cafe-bench-turn-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut command = match server {
        Server::Ours => {
            let mut serve = Command::new(&programs.signaller);
            serve.args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--turn-secret",
                SECRET,
                "--turn-allow-peer",
                "127.0.0.0/8",
            ]);
            serve.args(["--max-relayed-bytes-per-second", "100000000000"]);
            serve.args(["--turn-listen", &format!("127.0.0.1:{port}")]);
            serve
        }
        Server::Coturn => {
            let mut turnserver = Command::new("turnserver");
            turnserver.args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file", "stdout", "--realm", "cafe"]);
            turnserver.args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--allow-loopback-peers"]);
            turnserver.args(["--use-auth-secret", "--static-auth-secret", SECRET]);
            turnserver.args(["--listening-port", &port.to_string()]);
            turnserver.arg("--userdb").arg(folder.join("users")).arg("--pidfile").arg(folder.join("pid"));
            turnserver
        }
    };
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let name = if matches!(server, Server::Ours) { "rtc-cafe" } else { "turnserver (Debian's package coturn)" };
    Ok(Running { child: child.with_context(|| format!("cannot start {name}"))?, folder })
}

/// A client with an allocation, and a channel to the peer.
fn allocate(mut link: Link, peer: SocketAddr, number: usize) -> anyhow::Result<Link> {
    let secret = Secret::new(SECRET)?;
    let made = secret.mint(&format!("client{number}"), Duration::from_secs(3600), SystemTime::now());
    let udp = RequestedTransport::new(RequestedTransport::UDP);
    let challenge = ask(&mut link, ALLOCATE, |message| message.add_attribute(&udp).is_ok())?;
    let challenge = Message::from_bytes(&challenge)?;
    let (realm, nonce) = (challenge.attribute::<Realm>()?, challenge.attribute::<Nonce>()?);
    let (realm, nonce) = (realm.realm().to_owned(), nonce.nonce().to_owned());
    let credentials: MessageIntegrityCredentials =
        LongTermKeyCredentials::new(made.username.clone(), made.password, realm.clone()).into();
    let mut signed = |method: Method, attributes: &dyn Fn(&mut MessageWriteVec) -> bool| {
        let reply = ask(&mut link, method, |message| {
            let add = |message: &mut MessageWriteVec, attribute: &dyn AttributeWrite| {
                message.add_attribute(attribute).is_ok()
            };
            attributes(message)
                && Username::new(&made.username).is_ok_and(|name| add(message, &name))
                && Realm::new(&realm).is_ok_and(|realm| add(message, &realm))
                && Nonce::new(&nonce).is_ok_and(|nonce| add(message, &nonce))
                && message.add_message_integrity(&credentials, IntegrityAlgorithm::Sha1).is_ok()
        })?;
        let reply = Message::from_bytes(&reply)?;
        ensure!(reply.has_class(MessageClass::Success), "the server refuses {method}: {reply}");
        anyhow::Ok(())
    };
    signed(ALLOCATE, &|message| message.add_attribute(&udp).is_ok())?;
    signed(CHANNEL_BIND, &|message| {
        let peer = XorPeerAddress::new(peer, message.transaction_id());
        message.add_attribute(&ChannelNumber::new(CHANNEL)).is_ok() && message.add_attribute(&peer).is_ok()
    })?;
    Ok(link)
}

/// Sends a request until it is answered.
fn ask(link: &mut Link, method: Method, complete: impl Fn(&mut MessageWriteVec) -> bool) -> anyhow::Result<Vec<u8>> {
    let mut message = Message::builder_request(method, MessageWriteVec::new());
    ensure!(complete(&mut message), "a request cannot be written");
    let transaction = message.transaction_id();
    let request = message.finish();
    let end = Instant::now() + READY;
    let mut buffer = [0; 2048];
    while Instant::now() < end {
        // Until the server listens, sending fails.
        let _ = link.send(&request);
        let Ok(length) = link.receive(&mut buffer) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        let is_answer = Message::from_bytes(&buffer[..length]).is_ok_and(|reply| reply.transaction_id() == transaction);
        if is_answer {
            return Ok(buffer[..length].to_vec());
        }
    }
    bail!("the server does not answer {method}")
}

/// The peer: sends everything back to where it came from.
fn send_back(peer: &UdpSocket, end: Instant) {
    let mut buffer = [0; 2048];
    while Instant::now() < end {
        if let Ok((length, from)) = peer.recv_from(&mut buffer) {
            let _ = peer.send_to(&buffer[..length], from);
        }
    }
}

/// Keeps packets of each client under way; how many came back.
fn pump(clients: &mut [Link], end: Instant) -> anyhow::Result<u64> {
    let mut packet = vec![0x55; 4 + PAYLOAD];
    packet[..2].copy_from_slice(&CHANNEL.to_be_bytes());
    packet[2..4].copy_from_slice(&(PAYLOAD as u16).to_be_bytes());
    let packet = packet.as_slice();
    thread::scope(|scope| {
        let pump = |client| scope.spawn(move || pump_one(client, packet, end));
        let threads: Vec<_> = clients.iter_mut().map(pump).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(0))).sum()
    })
}

fn pump_one(client: &mut Link, packet: &[u8], end: Instant) -> anyhow::Result<u64> {
    let mut buffer = [0; 2048];
    let mut received = 0;
    let fill = |client: &mut Link| (0..WINDOW).try_for_each(|_| client.send(packet));
    fill(client)?;
    while Instant::now() < end {
        match client.receive(&mut buffer) {
            Ok(_) => {
                received += 1;
                client.send(packet)?;
            }
            // All of them were lost.
            Err(_) => fill(client)?,
        }
    }
    Ok(received)
}
