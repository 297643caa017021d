//! Runs the real binary: a server, peers that speak JSON lines, folders and files.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_rtc-cafe");
/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A command that gets nothing from the environment of whoever runs the test.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RTC_CAFE_")) {
        command.env_remove(name);
    }
    // There is one port for STUN and TURN, and many tests run at once.
    command.args(arguments).env("RTC_CAFE_NO_TURN", "1").env("USER", "tester").env_remove("NO_COLOR");
    command
}

/// A process that is ended with its test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }

    /// Waits for its end, and returns its exit code with what it wrote to standard error.
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        let mut errors = self.0.stderr.take().unwrap();
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        });
        let code = self.wait().code();
        (code, reading.join().unwrap())
    }

    /// The most memory that it had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A signalling server.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) url: String,
    /// A file with certificates that its clients trust.
    pub(crate) roots: Option<PathBuf>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::start_by(command(&["serve", "--listen", "127.0.0.1:0"]).args(options))
    }

    pub(crate) fn start_by(serve: &mut Command) -> Self {
        let mut process = Process::start(serve.stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(process.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("rtc-cafe is ready at ").unwrap().to_owned();
        Self { process, url, roots: None }
    }

    /// A command that uses this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("RTC_CAFE_SERVER", &self.url);
        if let Some(roots) = &self.roots {
            command.env("SSL_CERT_FILE", roots);
        }
        command
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.split("//").nth(1).unwrap().trim_end_matches('/')
    }
}

/// What a process writes to standard error, line by line.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    /// Of a process whose standard error is piped.
    pub(crate) fn of(process: &mut Process) -> Self {
        let errors = process.0.stderr.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Self(lines)
    }

    /// The next line with this in it.
    pub(crate) fn until(&self, part: &str) -> String {
        let start = Instant::now();
        while let Ok(line) = self.0.recv_timeout(DEADLINE.saturating_sub(start.elapsed())) {
            if line.contains(part) {
                return line;
            }
        }
        panic!("no line with {part:?}");
    }

    /// All lines until the process ends.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0.iter().collect()
    }
}

/// Asks for a page on a connection of its own: status, and body.
pub(crate) fn get(address: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A `join --json`.
pub(crate) struct Peer {
    pub(crate) process: Process,
    pub(crate) input: Option<ChildStdin>,
    lines: Receiver<Value>,
    pub(crate) seen: Vec<Value>,
    calls: u32,
    /// What `wait` may still return.
    unread: Vec<Value>,
}

impl Peer {
    pub(crate) fn join(server: &Server, room: &str, more: &[&str]) -> Self {
        let arguments: Vec<_> = ["join", room, "--json"].iter().chain(more).copied().collect();
        let mut process = Process::start(server.command(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()));
        let output = process.0.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
                let _ = sender.send(line);
            }
        });
        let input = process.0.stdin.take();
        Self { process, input, lines, seen: Vec::new(), calls: 0, unread: Vec::new() }
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The next line that fits, of those that were not returned yet.
    pub(crate) fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.unread.iter().position(&fits) {
            return self.unread.remove(index);
        }
        let start = Instant::now();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE.saturating_sub(start.elapsed())) {
            self.seen.push(line.clone());
            if fits(&line) {
                return line;
            }
            self.unread.push(line);
        }
        panic!("no {what} among {:#?}", self.seen);
    }

    /// The next event of this name.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.wait(name, |line| line["event"] == name)
    }

    /// Does something, and returns its answer.
    pub(crate) fn call(&mut self, mut operation: Value) -> Value {
        self.calls += 1;
        let call = json!({ "number": self.calls });
        operation["call"] = call.clone();
        self.write(&format!("{operation}\n"));
        self.wait("answer", |line| line["call"] == call)
    }

    /// Does something that must not fail, and returns its value.
    pub(crate) fn value(&mut self, operation: Value) -> Value {
        let answer = self.call(operation);
        assert_eq!(answer["event"], "result", "{answer}");
        answer["value"].clone()
    }

    /// Does something that must fail, and returns the code.
    pub(crate) fn code(&mut self, operation: Value) -> String {
        let answer = self.call(operation);
        assert_eq!(answer["event"], "error", "{answer}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
        answer["code"].as_str().unwrap().to_owned()
    }

    /// The peer's sid, once it has one.
    pub(crate) fn sid(&mut self) -> String {
        let find = |seen: &[Value]| {
            seen.iter().rev().find(|line| line["event"] == "acquireSid").map(|line| line["sid"].clone())
        };
        let sid = find(&self.seen).unwrap_or_else(|| self.event("acquireSid")["sid"].clone());
        sid.as_str().unwrap().to_owned()
    }

    /// Ends its input, and returns its exit code and what it told until then.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<Value>) {
        self.input = None;
        let code = self.process.wait().code();
        let rest: Vec<_> = self.lines.iter().collect();
        (code, [std::mem::take(&mut self.seen), rest].concat())
    }
}

/// A folder that is removed with its test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtc-cafe-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The names of the files in it, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes without a pattern, always the same.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Writes a video: VP8 in IVF, ten pictures a second, which no decoder would like but every reader takes.
pub(crate) fn write_video(path: &Path, pictures: u32) {
    let mut ivf = b"DKIF\0\0\x20\0VP80\x40\0\x30\0".to_vec();
    for number in [10_u32, 1, pictures, 0] {
        ivf.extend_from_slice(&number.to_le_bytes());
    }
    for picture in 0..pictures {
        // A key frame of 64 by 48.
        let mut frame = vec![0x50, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x00, 0x30, 0x00];
        frame.extend(noise(600));
        ivf.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_le_bytes());
        ivf.extend_from_slice(&u64::from(picture).to_le_bytes());
        ivf.extend_from_slice(&frame);
    }
    fs::write(path, ivf).unwrap();
}
