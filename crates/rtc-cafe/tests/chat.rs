//! The chat of `rtc-cafe join` on a terminal, as somebody sees it who sits in front of it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    io::{Read, Write},
    sync::{Arc, Condvar, Mutex},
    time::Instant,
};

use common::{BINARY, DEADLINE, Peer, Server};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use serde_json::json;

const COLUMNS: u16 = 60;

/// A terminal with a chat in it.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    pty: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    screen: Arc<(Mutex<vt100::Parser>, Condvar)>,
    /// How it was before.
    before: String,
}

impl Terminal {
    fn start(server: &Server, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let size = PtySize { rows: 24, cols: COLUMNS, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).unwrap();
        let before = modes(&*pair.master);
        let mut command = CommandBuilder::new(BINARY);
        command.args(arguments);
        for (name, value) in [("RTC_CAFE_SERVER", server.url.as_str()), ("TERM", "xterm-256color"), ("NO_COLOR", "")] {
            command.env(name, value);
        }
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        let (mut output, keys) = (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        let screen = Arc::new((Mutex::new(vt100::Parser::new(24, COLUMNS, 100)), Condvar::new()));
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                shown.0.lock().unwrap().process(&buffer[..read]);
                shown.1.notify_all();
            }
        });
        Self { child, pty: pair.master, keys, screen, before }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the screen shows this; times are shown as `TT:TT`.
    fn shows(&self, lines: &[&str]) {
        let expected = lines.join("\n");
        let start = Instant::now();
        let mut screen = self.screen.0.lock().unwrap();
        loop {
            let found = without_times(screen.screen());
            if found == expected {
                return;
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            assert!(!left.is_zero(), "it shows:\n{found}\ninstead of:\n{expected}");
            screen = self.screen.1.wait_timeout(screen, left).unwrap().0;
        }
    }

    fn cursor(&self) -> (u16, u16) {
        self.screen.0.lock().unwrap().screen().cursor_position()
    }

    fn exit_code(&mut self) -> u32 {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("it does not end");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn modes(pty: &dyn MasterPty) -> String {
    format!("{:?}", pty.get_termios().map(|termios| (termios.local_flags, termios.input_flags)))
}

fn without_times(screen: &vt100::Screen) -> String {
    let is_time = |line: &str| {
        let mut bytes = line.bytes();
        line.len() > 5
            && bytes.all(|byte| byte != 0)
            && line.as_bytes()[2] == b':'
            && line.as_bytes()[0].is_ascii_digit()
    };
    let line = |line: &str| match is_time(line) {
        true => format!("TT:TT{}", &line[5..]),
        false => line.to_owned(),
    };
    let lines: Vec<_> = screen.rows(0, COLUMNS).map(|text| line(text.trim_end())).collect();
    lines.join("\n").trim_end().to_owned()
}

fn say(peer: &mut Peer, text: &str) {
    peer.value(json!({ "op": "sendMessage", "message": { "kind": "chat", "text": text } }));
}

#[test]
fn incoming_lines_do_not_break_the_prompt() {
    let server = Server::start();
    let mut ben = Peer::join(&server, "kitchen-table", &[]);
    ben.event("signallerStateChanged");
    let mut ana = Terminal::start(&server, &["join", "kitchen-table", "--name", "Ana"], &[]);
    assert_eq!(ben.event("message")["message"], json!({ "kind": "hello", "name": "Ana" }));
    let welcome = "You are Ana in kitchen-table. Type to talk, /help says more.";
    ben.value(json!({ "op": "sendMessage", "message": { "kind": "hello", "name": "Ben" } }));
    ana.shows(&[welcome, "TT:TT  Ben is here", ">"]);

    // While half a line is typed, and the cursor is in its middle.
    ana.press("hello th\u{1b}[D\u{1b}[D");
    ana.shows(&[welcome, "TT:TT  Ben is here", "> hello th"]);
    say(&mut ben, "one\ntwo \u{1b}[2J\u{9b}H\u{202e}three");
    let said = [welcome, "TT:TT  Ben is here", "TT:TT  Ben  one", "       two [2JHthree"];
    ana.shows(&[&said[..], &["> hello th"]].concat());
    assert_eq!(ana.cursor(), (4, 8));
    ana.press("\u{1b}[F");
    ana.press("ere, Ben!\r");
    assert_eq!(ben.event("message")["message"], json!({ "kind": "chat", "text": "hello there, Ben!" }));
    ana.shows(&[&said[..], &["> hello there, Ben!", ">"]].concat());

    // A line that is longer than the terminal is wide.
    let long = "a long line ".repeat(10);
    ana.press(&long);
    let typed = format!("> {}", long.trim_end());
    let typed: Vec<_> = [&typed[..60], &typed[60..120], &typed[120..]].iter().map(|line| line.trim_end()).collect();
    let before = [&said[..], &["> hello there, Ben!"]].concat();
    ana.shows(&[&before[..], &typed[..]].concat());
    say(&mut ben, "日本語 👍");
    ana.shows(&[&before[..], &["TT:TT  Ben  日本語 👍"], &typed[..]].concat());
    ana.press("\u{15}");
    let before = [&before[..], &["TT:TT  Ben  日本語 👍"]].concat();
    ana.shows(&[&before[..], &[">"]].concat());

    // History, commands that come at once, and who left.
    ana.press("\u{1b}[A");
    ana.shows(&[&before[..], &["> hello there, Ben!"]].concat());
    ana.press("\u{15}/who\r/nonsense\r");
    let answers = ["> /who", "Here with you: Ben.", "> /nonsense", "There is no /nonsense; /help names what there is."];
    ana.shows(&[&before[..], &answers, &[">"]].concat());
    ben.end();
    ana.shows(&[&before[..], &answers, &["TT:TT  Ben left", ">"]].concat());
    ana.press("anybody?\r");
    let alone = ["TT:TT  Ben left", "> anybody?", "Nobody else is here, so nobody has read this."];
    ana.shows(&[&before[..], &answers, &alone, &[">"]].concat());
    ana.press("/quit\r");
    assert_eq!(ana.exit_code(), 0);
    ana.shows(&[&before[..], &answers, &alone, &["> /quit"]].concat());
}

#[test]
fn two_terminals_talk() {
    let server = Server::start();
    let start = |name: &str| Terminal::start(&server, &["join", "r", "--name", name], &[]);
    let mut ana = start("Ana");
    ana.shows(&["You are Ana in r. Type to talk, /help says more.", "Nobody else is here yet.", ">"]);
    let mut ben = start("Ben");
    ben.shows(&["You are Ben in r. Type to talk, /help says more.", "TT:TT  Ana is here", ">"]);
    ben.press("hello\r//slash\r");
    let heard = ["You are Ana in r. Type to talk, /help says more.", "Nobody else is here yet."];
    // How soon that was decides the words.
    let start = Instant::now();
    let contents = |terminal: &Terminal| without_times(terminal.screen.0.lock().unwrap().screen());
    while !contents(&ana).ends_with("TT:TT  Ben  hello\nTT:TT  Ben  /slash\n>") {
        assert!(start.elapsed() < DEADLINE, "it shows:\n{}", contents(&ana));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(contents(&ana).starts_with(&heard.join("\n")));
    // What was pasted is one message.
    ana.press("\u{1b}[200~one\rtwo\u{1b}[201~\r");
    ben.shows(&[
        "You are Ben in r. Type to talk, /help says more.",
        "TT:TT  Ana is here",
        "> hello",
        "> //slash",
        "TT:TT  Ana  one",
        "       two",
        ">",
    ]);
    ben.press("\u{4}");
    assert_eq!(ben.exit_code(), 0);
    ana.press("half a line\u{3}");
    assert_eq!(ana.exit_code(), 0);
}

#[test]
fn the_terminal_is_given_back_as_it_was() {
    let server = Server::start();
    let mut watcher = Peer::join(&server, "r", &[]);
    let mut ana = Terminal::start(&server, &["join", "r", "--name", "Ana"], &[]);
    watcher.event("connectToPeer");
    ana.press("half a line");
    let welcome = "You are Ana in r. Type to talk, /help says more.";
    watcher.value(json!({ "op": "sendMessage", "message": { "kind": "hello", "name": "Ben" } }));
    ana.shows(&[welcome, "TT:TT  Ben is here", "> half a line"]);
    assert_ne!(modes(&*ana.pty), ana.before);
    let id = ana.child.process_id().unwrap().to_string();
    std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert_eq!(ana.exit_code(), 0);
    assert_eq!(modes(&*ana.pty), ana.before);
    ana.shows(&[welcome, "TT:TT  Ben is here"]);
}

#[test]
fn colours_are_for_those_who_want_them() {
    let server = Server::start();
    let mut ben = Peer::join(&server, "r", &[]);
    for (environment, coloured) in [(vec![], true), (vec![("NO_COLOR", "1")], false)] {
        let ana = Terminal::start(&server, &["join", "r", "--name", "Ana"], &environment);
        ben.event("connectToPeer");
        ben.value(json!({ "op": "sendMessage", "message": { "kind": "hello", "name": "Ben" } }));
        ana.shows(&["You are Ana in r. Type to talk, /help says more.", "TT:TT  Ben is here", ">"]);
        let screen = ana.screen.0.lock().unwrap();
        let colour = screen.screen().cell(1, 7).unwrap().fgcolor();
        assert_eq!(colour != vt100::Color::Default, coloured, "{colour:?}");
    }
}

#[test]
fn a_terminal_without_abilities_gets_plain_lines() {
    let server = Server::start();
    let mut ben = Peer::join(&server, "r", &[]);
    let mut ana = Terminal::start(&server, &["join", "r", "--name", "Ana"], &[("TERM", "dumb")]);
    ben.event("connectToPeer");
    say(&mut ben, "hello");
    ana.press("hi\n");
    ben.wait("text", |line| line["message"]["text"] == "hi");
    ana.press("\u{4}");
    assert_eq!(ana.exit_code(), 0);
}
