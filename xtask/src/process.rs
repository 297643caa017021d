//! Runs other programs so that a person sees what happens: what is started, what it says and how long it takes.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// A program that runs longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(20 * 60);
/// So does a test runner that says nothing for so long.
const SILENCE: Duration = Duration::from_secs(5 * 60);
/// How often a quiet step says on a plain log that it is alive.
const PLAIN_SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// How much of a failed program's output is shown again.
const TAIL: usize = 60;

/// Says what is happening.
pub fn say(message: impl AsRef<str>) {
    if colours() {
        eprintln!("\x1b[1;36m[xtask]\x1b[0m {}", message.as_ref());
    } else {
        eprintln!("[xtask] {}", message.as_ref());
    }
}

/// Whether a person watches: colours and lines that overwrite themselves are welcome.
pub fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("CI").is_none() && std::env::var_os("NO_COLOR").is_none()
}

/// A command that does not inherit what `cargo run` put into our own environment.
///
/// The variables of this package would make build scripts run again, and a library path into the toolchain would make
/// a second toolchain load the compiler of the first.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// `cargo` of the toolchain that runs this program, started in the workspace's root.
pub fn cargo(root: &Path) -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}

/// Runs a program that shows its own progress.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = describe(command);
    say(format!("$ {shown}"));
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    succeed(&shown, status)
}

/// Runs a program for its output; what it complains about becomes the error.
pub fn capture(command: &mut Command) -> Result<String> {
    let shown = describe(command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be started and ends well; nothing is shown.
pub fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Runs a program that says little or too much: one line shows that it is alive, and its output only when it fails.
pub fn quiet(label: &str, command: &mut Command) -> Result<()> {
    let shown = describe(command);
    say(format!("{label}: $ {shown}"));
    let start = Instant::now();
    let (mut child, lines) = spawn(command).with_context(|| format!("cannot start `{shown}`"))?;
    let mut tail = Tail::default();
    let mut next_sign = PLAIN_SIGN_OF_LIFE;
    loop {
        match lines.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => tail.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let elapsed = start.elapsed();
        if elapsed > DEADLINE {
            stop(&mut child);
            bail!("`{shown}` did not end within {}", seconds(DEADLINE));
        }
        if colours() {
            eprint!("\r\x1b[K  {label}: {}", seconds(elapsed));
        } else if elapsed >= next_sign {
            next_sign += PLAIN_SIGN_OF_LIFE;
            eprintln!("  {label}: {}, still at work", seconds(elapsed));
        }
    }
    let status = child.wait()?;
    if colours() {
        eprint!("\r\x1b[K");
    }
    if !status.success() {
        eprintln!("{}", tail.text());
    }
    succeed(&shown, status)?;
    say(format!("{label}: done in {}", seconds(start.elapsed())));
    Ok(())
}

/// What a program said, and whether it ended well.
#[derive(Debug, Default)]
pub struct Transcript {
    pub succeeded: bool,
    pub lines: Vec<String>,
}

/// Runs a program, shows its output as it comes and keeps it.
pub fn tee(command: &mut Command) -> Result<Transcript> {
    let shown = describe(command);
    say(format!("$ {shown}"));
    let start = Instant::now();
    let (mut child, received) = spawn(command).with_context(|| format!("cannot start `{shown}`"))?;
    let mut lines = Vec::new();
    loop {
        match received.recv_timeout(SILENCE.min(DEADLINE.saturating_sub(start.elapsed()))) {
            Ok(line) => {
                println!("{line}");
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                stop(&mut child);
                let message = format!("`{shown}` was stopped: after {} it said nothing more", seconds(start.elapsed()));
                println!("{message}");
                lines.push(message);
                return Ok(Transcript { succeeded: false, lines });
            }
        }
    }
    io::stdout().flush()?;
    let status = child.wait()?;
    if !status.success() {
        lines.push(format!("`{shown}` failed ({status})"));
    }
    Ok(Transcript { succeeded: status.success(), lines })
}

/// The end of a long output.
pub fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// A duration as a person reads it.
pub fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        whole @ 10..100 => format!("{whole} s"),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// Both outputs of the child arrive line by line, in the order in which they were written.
fn spawn(command: &mut Command) -> io::Result<(Child, Receiver<String>)> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn();
    // The command holds the pipe's writing ends; the reader would wait for them for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = child?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok((child, receiver))
}

/// Ends a program and everything that it started, which would otherwise go on without anybody.
fn stop(child: &mut Child) {
    let table = capture(command("ps").args(["-A", "-o", "pid=,ppid="])).unwrap_or_default();
    let family = descendants(child.id(), &table);
    if !family.is_empty() {
        works(command("kill").args(family.iter().map(u32::to_string)));
    }
    // It may have ended in the meantime, which is just as well.
    let _ = child.kill();
    let _ = child.wait();
}

/// The processes below one, from a table with a process and its parent in each line.
fn descendants(ancestor: u32, table: &str) -> Vec<u32> {
    let pairs: Vec<(u32, u32)> = table
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
        .collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(pairs.iter().filter(|(_, of)| *of == parent).map(|(child, _)| child));
        next += 1;
    }
    family.split_off(1)
}

fn succeed(shown: &str, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { bail!("`{shown}` failed ({status})") }
}

fn describe(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name.to_string_lossy().into_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Tail(VecDeque<String>);

impl Tail {
    fn push(&mut self, line: String) {
        if self.0.len() == TAIL {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    fn text(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_of_a_process_is_all_that_it_started_and_no_other() {
        let table = "    1     0\n   10     1\n   11    10\n   12    11\n   20     1\n   21    20\n";
        assert_eq!(descendants(10, table), [11, 12]);
        assert_eq!(descendants(21, table), [0; 0]);
    }

    #[test]
    fn both_outputs_are_kept_in_their_order_with_the_result() {
        let transcript = tee(command("sh").args(["-c", "echo one; echo two >&2; echo three; exit 3"])).unwrap();
        assert!(!transcript.succeeded);
        assert_eq!(transcript.lines[..3], ["one", "two", "three"]);
        assert!(transcript.lines[3].contains("exit status: 3"), "{transcript:?}");
    }

    #[test]
    fn durations_read_well() {
        let text = |millis| seconds(Duration::from_millis(millis));
        assert_eq!([text(1_230), text(61_000), text(125_000)], ["1.2 s", "61 s", "2 min 05 s"]);
    }
}
