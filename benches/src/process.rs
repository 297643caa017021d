//! A server under test: a process of its own, so that its time and memory are nobody else's.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStderr},
    time::{sleep, timeout},
};

/// Ticks in a second in `/proc/PID/stat`: the same on every Linux.
const TICKS: f64 = 100.0;
const READY: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// `rtc-cafe serve`.
    Signaller,
    /// Two of them, with the same rooms over Redis; whoever meets is on different ones.
    Nodes,
    /// The bare websocket relay.
    Relay,
}

/// The programs that are measured.
#[derive(Debug)]
pub(crate) struct Programs {
    /// `rtc-cafe`, which is the native peer as well.
    pub(crate) signaller: PathBuf,
    relay: PathBuf,
}

impl Programs {
    /// `RTC_CAFE_BIN`, or the binary that is built now, beside this one.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let relay = std::env::current_exe().context("cannot find this program's own file")?;
        let signaller = match std::env::var_os("RTC_CAFE_BIN") {
            Some(path) => path.into(),
            None => build(&relay)?,
        };
        if !signaller.is_file() {
            bail!("{} is not there; RTC_CAFE_BIN names the `rtc-cafe` to measure", signaller.display());
        }
        Ok(Self { signaller, relay })
    }
}

/// Builds the signaller as it is shipped.
fn build(own: &Path) -> anyhow::Result<PathBuf> {
    let target = own.ancestors().nth(2).context("this program does not lie in a target folder; set RTC_CAFE_BIN")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "rtc-cafe", "--target-dir"])
        .arg(target)
        // The report alone goes to the standard output.
        .stdout(Stdio::null())
        .status()
        .context("cannot run cargo to build rtc-cafe; set RTC_CAFE_BIN instead")?;
    if !status.success() {
        bail!("rtc-cafe could not be built");
    }
    Ok(target.join("release").join(format!("rtc-cafe{}", std::env::consts::EXE_SUFFIX)))
}

/// Processor time that a process has used, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// By the scheduler's clock, in nanoseconds.
    pub(crate) total: f64,
    /// In ticks, which is too coarse for more than to share the total out.
    user: f64,
    kernel: f64,
}

impl Cpu {
    /// How much of it was in the program itself.
    pub(crate) fn user(self) -> f64 {
        let ticks = self.user + self.kernel;
        if ticks > 0.0 { self.total * self.user / ticks } else { 0.0 }
    }

    /// How much of it was in the kernel on the program's behalf.
    pub(crate) fn kernel(self) -> f64 {
        self.total - self.user()
    }
}

impl std::ops::Add for Cpu {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { total: self.total + other.total, user: self.user + other.user, kernel: self.kernel + other.kernel }
    }
}

impl std::ops::Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { total: self.total - before.total, user: self.user - before.user, kernel: self.kernel - before.kernel }
    }
}

/// A running program; it ends when this is dropped.
#[derive(Debug)]
struct Running {
    child: Child,
    process: Process,
}

impl Running {
    fn start(command: Command, name: &str) -> anyhow::Result<Self> {
        let child = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let process = Process(child.id().with_context(|| format!("{name} ended at once"))?);
        Ok(Self { child, process })
    }

    /// Waits until it says at which address it serves.
    async fn address(&mut self, name: &str) -> anyhow::Result<SocketAddr> {
        let stdout = self.child.stdout.take().context("it has no standard output")?;
        let mut line = String::new();
        timeout(READY, BufReader::new(stdout).read_line(&mut line))
            .await
            .with_context(|| format!("the {name} is not ready in time"))??;
        let address = line.split_once("http://").map_or("", |(_, rest)| rest.trim_end().trim_end_matches('/'));
        address.parse().with_context(|| format!("the {name} says no address: {line:?}"))
    }

    async fn stop(mut self, name: &str) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the {name} ended by itself: {status}");
        }
        self.child.kill().await.with_context(|| format!("cannot end the {name}"))
    }
}

/// A running server of one or several nodes; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    nodes: Vec<Running>,
    addresses: Vec<SocketAddr>,
    redis: Option<Running>,
    pub(crate) target: Target,
}

impl Server {
    pub(crate) async fn start(target: Target, programs: &Programs) -> anyhow::Result<Self> {
        let mut server = Self { nodes: Vec::new(), addresses: Vec::new(), redis: None, target };
        let mut serve = Command::new(&programs.signaller);
        serve.args(["serve", "--no-turn", "--listen", "127.0.0.1:0"]);
        match target {
            Target::Signaller => server.add(serve).await?,
            Target::Nodes => {
                let (redis, url) = redis().await?;
                server.redis = Some(redis);
                for _ in 0..2 {
                    let mut serve = Command::new(&programs.signaller);
                    serve.args(["serve", "--no-turn", "--listen", "127.0.0.1:0", "--redis", &url]);
                    server.add(serve).await?;
                }
            }
            Target::Relay => {
                let mut relay = Command::new(&programs.relay);
                relay.arg("relay");
                server.add(relay).await?;
            }
        }
        Ok(server)
    }

    /// A signaller of one node with further options, and what it logs.
    pub(crate) async fn logged(programs: &Programs, options: &[&str]) -> anyhow::Result<(Self, ChildStderr)> {
        let mut server = Self { nodes: Vec::new(), addresses: Vec::new(), redis: None, target: Target::Signaller };
        let mut serve = Command::new(&programs.signaller);
        serve.args(["serve", "--no-turn", "--listen", "127.0.0.1:0"]).args(options).stderr(Stdio::piped());
        server.add(serve).await?;
        let log = server.nodes[0].child.stderr.take().context("it has no standard error")?;
        Ok((server, log))
    }

    /// Fails if a node has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if let Some(status) = node.child.try_wait()? {
                bail!("the {} ended by itself: {status}", self.target.name());
            }
        }
        Ok(())
    }

    /// Asks all nodes to end.
    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(|node| node.process.terminate())
    }

    /// Whether all nodes have ended, which is an error if one has failed.
    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        let mut ended = true;
        for node in &mut self.nodes {
            match node.child.try_wait()? {
                Some(status) => ensure!(status.success(), "the {} has failed: {status}", self.target.name()),
                None => ended = false,
            }
        }
        Ok(ended)
    }

    /// Starts a node.
    async fn add(&mut self, mut command: Command) -> anyhow::Result<()> {
        let settings = std::env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| name.to_str().is_some_and(|name| name.starts_with("RTC_CAFE_"))) {
            command.env_remove(name);
        }
        let mut node = Running::start(command, self.target.name())?;
        self.addresses.push(node.address(self.target.name()).await?);
        self.nodes.push(node);
        Ok(())
    }

    /// Where the client of this number connects: one after the other to every node.
    pub(crate) fn address(&self, client: usize) -> SocketAddr {
        self.addresses[client % self.addresses.len()]
    }

    /// Processor time that all nodes have used so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        self.nodes.iter().try_fold(Cpu::default(), |sum, node| Ok(sum + node.process.cpu()?))
    }

    /// Processor time that Redis has used so far, where there is one.
    pub(crate) fn redis_cpu(&self) -> anyhow::Result<Option<Cpu>> {
        self.redis.as_ref().map(|redis| redis.process.cpu()).transpose()
    }

    /// Resident memory of all nodes, in KB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        self.nodes.iter().try_fold(0.0, |sum, node| Ok(sum + node.process.memory()?))
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for node in self.nodes {
            node.stop(self.target.name()).await?;
        }
        match self.redis {
            Some(redis) => redis.stop("Redis").await,
            None => Ok(()),
        }
    }
}

/// Whether there is a Redis to connect nodes by.
pub(crate) fn has_redis() -> bool {
    let version = Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// A Redis that keeps nothing, and its URL.
async fn redis() -> anyhow::Result<(Running, String)> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    let redis = Running::start(command, "redis-server")?;
    let answers = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(READY, answers).await.context("Redis is not ready in time")?;
    Ok((redis, format!("redis://127.0.0.1:{port}")))
}

/// A process, to see what it uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// This one.
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        let stat = self.read("stat")?;
        // The name, in parentheses, may contain anything.
        let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
        let mut fields = rest.split_ascii_whitespace().skip(11).map(|field| field.parse::<f64>());
        let mut next = || fields.next().context("/proc/PID/stat is too short")?.context("no number in /proc/PID/stat");
        let (user, kernel) = (next()? / TICKS, next()? / TICKS);
        Ok(Cpu { total: self.run_time().unwrap_or(user + kernel), user, kernel })
    }

    /// The time that the threads have run, where the kernel counts it.
    fn run_time(&self) -> Option<f64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).ok()?;
        let mut nanoseconds = 0.0;
        for task in tasks {
            let schedstat = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            nanoseconds += schedstat.split(' ').next()?.parse::<f64>().ok()?;
        }
        Some(nanoseconds / 1e9)
    }

    /// Resident memory, in KB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let status = self.read("status")?;
        let value =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/PID/status")?;
        value.trim().trim_end_matches("kB").trim_end().parse().context("VmRSS is no number")
    }

    /// Sends SIGTERM.
    #[cfg(unix)]
    fn terminate(self) -> anyhow::Result<()> {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw).context("this is no process")?;
        kill_process(pid, Signal::TERM).context("cannot send SIGTERM")
    }

    #[cfg(not(unix))]
    fn terminate(self) -> anyhow::Result<()> {
        bail!("there is no SIGTERM on this system")
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}; this benchmark runs on Linux"))
    }
}

impl Target {
    pub(crate) const ALL: [Self; 3] = [Self::Signaller, Self::Relay, Self::Nodes];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Signaller => "signaller",
            Self::Nodes => "two nodes over Redis",
            Self::Relay => "bare relay",
        }
    }
}

/// A script beside the end-to-end tests, which drives browsers.
pub(crate) fn script(name: &str) -> anyhow::Result<tokio::process::Command> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e"));
    ensure!(folder.join("node_modules").is_dir(), "the npm packages of e2e are missing; `cargo xtask setup` gets them");
    let mut command = tokio::process::Command::new("node");
    command.current_dir(folder).arg(format!("bench/{name}"));
    Ok(command)
}

/// What a program prints as its last line. Its errors are told if they are piped.
pub(crate) async fn last_line_of(command: &mut tokio::process::Command, longest: Duration) -> anyhow::Result<String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = match timeout(longest, child.wait_with_output()).await {
        Ok(output) => output?,
        Err(_) => bail!("it takes more than {longest:?}"),
    };
    if !output.status.success() {
        bail!("it fails ({}) {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).context("what it prints is no text")?;
    text.lines().last().map(str::to_owned).context("it prints nothing")
}

/// Lets this process and its children have as many open files as the system allows them.
pub(crate) fn raise_open_files(needed: u64) -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current.is_some_and(|current| current < needed) {
            limit.current = Some(limit.maximum.map_or(needed, |most| most.min(needed)));
            setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
            if limit.current < Some(needed) {
                bail!(
                    "{needed} files must be open at once, and the system allows fewer; take fewer --connections and --rooms"
                );
            }
        }
    }
    Ok(())
}
