//! `rtc-cafe send` and `rtc-cafe receive`, between real processes.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use common::{DEADLINE, Folder, Peer, Process, Server, noise};
use serde_json::json;

fn start(server: &Server, arguments: &[&str]) -> Process {
    let mut command = server.command(arguments);
    Process::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

fn send(server: &Server, file: &str, more: &[&str]) -> Process {
    start(server, &[&["send", "r", file, "--name", "Ana"], more].concat())
}

fn receive(server: &Server, output: &str, more: &[&str]) -> Process {
    start(server, &[&["receive", "r", "--yes", "--output", output, "--name", "Ben"], more].concat())
}

/// Waits until there are so many bytes in a file of the folder.
fn wait_for_part(folder: &Folder, bytes: u64) {
    let start = Instant::now();
    let enough = |name: String| fs::metadata(folder.path(&name)).is_ok_and(|file| file.len() >= bytes);
    while !folder.names().into_iter().any(enough) {
        assert!(start.elapsed() < DEADLINE, "nothing arrives");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_large_file_takes_little_memory() {
    const BOUND: u64 = 72 << 20;
    let (server, folder, inbox) = (Server::start(), Folder::new(), Folder::new());
    let content = noise(80 << 20);
    fs::write(folder.path("large.bin"), &content).unwrap();
    let sender = send(&server, &folder.text("large.bin"), &[]);
    let receiver = receive(&server, &inbox.text(""), &[]);
    let mut peaks = (0, 0);
    let start = Instant::now();
    // Once a process has ended its peak is not told any more.
    while let (Some(sent), Some(received)) = (sender.peak_memory(), receiver.peak_memory()) {
        assert!(start.elapsed() < 2 * DEADLINE, "it takes too long");
        peaks = (sent, received);
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, told) = receiver.finish();
    assert!(code == Some(0) && told.contains("Received large.bin (83.89 MB)"), "{code:?} {told}");
    let (code, told) = sender.finish();
    assert!(code == Some(0) && told.contains("1 receiver has large.bin"), "{code:?} {told}");
    assert!(fs::read(inbox.path("large.bin")).unwrap() == content, "it is another file");
    assert_eq!(inbox.names(), ["large.bin"]);
    assert!(peaks.0 < BOUND && peaks.1 < BOUND, "{peaks:?} bytes");
}

#[test]
fn several_receive_before_and_after() {
    let (server, folder, inbox) = (Server::start(), Folder::new(), Folder::new());
    let content = noise(3_000_001);
    fs::write(folder.path("a.tar.gz"), &content).unwrap();
    // In the same folder, where there is a file of that name already.
    fs::write(inbox.path("a.tar.gz"), "mine").unwrap();
    let before = receive(&server, &inbox.text(""), &[]);
    let mut chat = Peer::join(&server, "r", &[]);
    let sender = send(&server, &folder.text("a.tar.gz"), &["--receivers", "2"]);
    let offer = chat.wait("offer", |line| line["message"]["kind"] == "file-offer");
    assert_eq!((&offer["message"]["name"], &offer["message"]["size"]), (&json!("a.tar.gz"), &json!(3_000_001)));
    let (code, told) = before.finish();
    assert!(code == Some(0) && told.contains("a (1).tar.gz"), "{code:?} {told}");
    let (code, told) = receive(&server, &inbox.text(""), &[]).finish();
    assert!(code == Some(0) && told.contains("a (2).tar.gz"), "{code:?} {told}");
    let (code, told) = sender.finish();
    assert!(code == Some(0) && told.contains("2 receivers have a.tar.gz"), "{code:?} {told}");
    assert_eq!(inbox.names(), ["a (1).tar.gz", "a (2).tar.gz", "a.tar.gz"]);
    assert_eq!(fs::read(inbox.path("a.tar.gz")).unwrap(), b"mine");
    for name in ["a (1).tar.gz", "a (2).tar.gz"] {
        assert!(fs::read(inbox.path(name)).unwrap() == content, "{name} is another file");
    }
}

#[test]
fn who_is_killed_is_told_of_and_gets_the_rest_later() {
    let (server, folder, inbox) = (Server::start(), Folder::new(), Folder::new());
    let content = noise(24 << 20);
    fs::write(folder.path("large.bin"), &content).unwrap();
    let sender = send(&server, &folder.text("large.bin"), &["--patience", "0"]);
    let mut receiver = receive(&server, &inbox.text(""), &[]);
    wait_for_part(&inbox, 2 << 20);
    receiver.signal("-KILL");
    receiver.wait();
    let (code, told) = sender.finish();
    assert!(code == Some(4) && told.contains("left when it had"), "{code:?} {told}");
    let names = inbox.names();
    assert!(names.len() == 1 && names[0].ends_with(".part"), "{names:?}");

    // The other way round: the sender is killed, and another one goes on.
    let mut sender = send(&server, &folder.text("large.bin"), &[]);
    let receiver = receive(&server, &inbox.text(""), &[]);
    wait_for_part(&inbox, 12 << 20);
    sender.signal("-KILL");
    sender.wait();
    let sender = send(&server, &folder.text("large.bin"), &[]);
    let (code, told) = receiver.finish();
    assert!(code == Some(0) && told.matches("Fetching the rest").count() == 2, "{code:?} {told}");
    assert!(told.contains("Ana is gone, and may come back"), "{told}");
    assert_eq!(sender.finish().0, Some(0));
    assert!(fs::read(inbox.path("large.bin")).unwrap() == content, "it is another file");
    assert_eq!(inbox.names(), ["large.bin"]);
}

#[test]
fn a_sender_that_leaves_is_told_of() {
    let (server, folder, inbox) = (Server::start(), Folder::new(), Folder::new());
    // Far more than comes through until the signal does, however slow this machine is; nothing but zeros, so no disk is full.
    fs::File::create(folder.path("large.bin")).unwrap().set_len(384 << 20).unwrap();
    let sender = send(&server, &folder.text("large.bin"), &[]);
    let receiver = receive(&server, &inbox.text(""), &["--patience", "0"]);
    wait_for_part(&inbox, 1 << 20);
    sender.signal("-INT");
    assert_eq!(sender.finish().0, Some(130));
    let (code, told) = receiver.finish();
    assert!(code == Some(4) && (told.contains("left when") || told.contains("stopped")), "{code:?} {told}");
}

/// A sender that is no `rtc-cafe send`: it says what it is told to.
fn offering(server: &Server, sha256: &str, size: u64) -> Peer {
    let mut peer = Peer::join(server, "r", &[]);
    peer.event("connectToPeer");
    let offer = json!({ "kind": "file-offer", "id": "1", "name": "../../a.txt", "size": size, "sha256": sha256 });
    peer.value(json!({ "op": "sendMessage", "message": offer }));
    let accept = peer.wait("accept", |line| line["message"]["kind"] == "file-accept");
    assert_eq!(accept["message"], json!({ "kind": "file-accept", "id": "1", "offset": 0 }));
    peer
}

/// The SHA-256 of "hello".
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[test]
fn any_program_can_send_but_not_cheat() {
    let (server, inbox) = (Server::start(), Folder::new());
    let part = |offset: u64, data: &str| json!({ "op": "sendMessage", "message": { "kind": "file-part", "id": "1", "offset": offset, "data": data } });
    let receiver = receive(&server, &inbox.text(""), &[]);
    let mut sender = offering(&server, HELLO, 5);
    sender.value(part(0, "aGVs"));
    sender.value(part(3, "bG8="));
    sender.wait("confirmation", |line| line["message"] == json!({ "kind": "file-done", "id": "1" }));
    assert_eq!(receiver.finish().0, Some(0));
    assert_eq!(inbox.names(), ["a.txt"]);
    drop(sender);

    for (size, offset, data, code, text) in [
        (5, 0, "aHVsbG8=", 5, "not what was offered"),
        (5, 1, "aGVs", 4, "protocol"),
        (2, 0, "aGVs", 4, "protocol"),
        (5, 0, "!", 4, "protocol"),
    ] {
        let receiver = receive(&server, &inbox.text("b.txt"), &[]);
        let mut sender = offering(&server, HELLO, size);
        sender.value(part(offset, data));
        let failed = sender.wait("failure", |line| line["message"]["kind"] == "file-failed");
        assert!(failed["message"]["reason"].as_str().is_some_and(|reason| reason.contains(text)), "{failed}");
        let (found, told) = receiver.finish();
        assert!(found == Some(code) && told.contains(text), "{found:?} {told}");
        for name in inbox.names().iter().filter(|name| name.ends_with(".part")) {
            fs::remove_file(inbox.path(name)).unwrap();
        }
    }
    assert_eq!(inbox.names(), ["a.txt"]);
}

#[test]
fn a_sender_listens_to_any_program() {
    let (server, folder) = (Server::start(), Folder::new());
    fs::write(folder.path("empty"), "").unwrap();
    let mut page = Peer::join(&server, "r", &[]);
    let say = |kind: &str, id: &serde_json::Value| json!({ "op": "sendMessage", "message": { "kind": kind, "id": id, "offset": 0, "reason": "no \u{1b}[2Jroom" } });
    for (answer, code, text) in [
        (vec!["file-decline"], 6, "declined"),
        (vec!["file-wait", "file-accept", "file-failed"], 4, "no [2Jroom"),
        (vec!["file-accept", "file-done"], 0, "1 receiver has empty (0 B)"),
    ] {
        let sender = send(&server, &folder.text("empty"), &["--patience", "0"]);
        let offer = page.wait("offer", |line| line["message"]["kind"] == "file-offer")["message"].clone();
        for kind in answer {
            page.value(say(kind, &offer["id"]));
        }
        let (found, told) = sender.finish();
        assert!(found == Some(code) && told.contains(text) && !told.contains('\u{1b}'), "{found:?} {told}");
    }
}

#[test]
fn a_stranger_does_not_end_a_sender() {
    let (server, folder, inbox) = (Server::start(), Folder::new(), Folder::new());
    fs::write(folder.path("a.txt"), "hello").unwrap();
    for (answers, more) in [(vec!["file-wait", "file-failed"], vec![]), (vec!["file-decline"], vec!["--timeout", "50"])]
    {
        let mut stranger = Peer::join(&server, "r", &[]);
        let sender = send(&server, &folder.text("a.txt"), &more);
        let offer = stranger.wait("offer", |line| line["message"]["kind"] == "file-offer")["message"].clone();
        for kind in answers {
            let message = json!({ "kind": kind, "id": offer["id"], "reason": "no" });
            stranger.value(json!({ "op": "sendMessage", "message": message }));
        }
        // Only now the one comes that it is for.
        assert_eq!(receive(&server, &inbox.text(""), &[]).finish().0, Some(0));
        let (code, told) = sender.finish();
        assert!(code == Some(0) && told.contains("1 receiver has a.txt"), "{code:?} {told}");
    }
    // When nobody else comes, it ends for what happened.
    let mut stranger = Peer::join(&server, "r", &[]);
    let sender = send(&server, &folder.text("a.txt"), &["--timeout", "2"]);
    let offer = stranger.wait("offer", |line| line["message"]["kind"] == "file-offer")["message"].clone();
    stranger.value(json!({ "op": "sendMessage", "message": { "kind": "file-decline", "id": offer["id"] } }));
    assert_eq!(sender.finish().0, Some(6));
}

#[test]
fn what_goes_wrong_is_said() {
    let (server, folder) = (Server::start(), Folder::new());
    fs::write(folder.path("a.txt"), "hello").unwrap();
    let file = folder.text("a.txt");
    let (none, folder_itself) = (folder.text("none"), folder.text(""));
    for (arguments, code, text) in [
        (vec!["send", "r", &file, "--timeout", "1"], 3, "nobody came within 1s"),
        (vec!["receive", "r", "--yes", "--timeout", "1"], 3, "nobody came within 1s"),
        (vec!["send", "r", &none], 1, "cannot read"),
        (vec!["send", "r", &folder_itself], 1, "is no file"),
        (vec!["send", "r", &file, "--receivers", "0"], 2, "receivers"),
        (vec!["receive", "r"], 1, "--yes"),
        (vec!["receive", "r", "--yes", "--output", "/proc/none/"], 1, "cannot make the folder /proc/none/"),
    ] {
        let (found, told) = start(&server, &arguments).finish();
        assert!(found == Some(code) && told.contains(text), "{found:?} {told}");
    }
    // A folder that is not there is told when the file is.
    let sender = send(&server, &file, &["--patience", "0"]);
    let (code, told) = receive(&server, &folder.text("no/a.txt"), &[]).finish();
    assert!(code == Some(1) && told.contains("cannot write") && told.contains("no/a.txt"), "{code:?} {told}");
    let (code, told) = sender.finish();
    assert!(code == Some(4) && told.contains("the receiver cannot write the file"), "{code:?} {told}");
}

#[test]
fn a_waiting_sender_can_be_stopped() {
    let (server, folder) = (Server::start(), Folder::new());
    fs::write(folder.path("a.txt"), "hello").unwrap();
    let mut sender = send(&server, &folder.text("a.txt"), &[]);
    let mut told = BufReader::new(sender.0.stderr.take().unwrap()).lines();
    assert_eq!(told.next().unwrap().unwrap(), "Offering a.txt (5 B) in r.");
    sender.signal("-TERM");
    assert_eq!(sender.wait().code(), Some(130));
}

#[test]
fn options_come_from_the_environment_too() {
    let (server, folder, inbox) = (Server::start(), Folder::new(), Folder::new());
    fs::write(folder.path("a.txt"), "hello").unwrap();
    let start = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = server.command(arguments);
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Process::start(&mut command)
    };
    let empty = ["RTC_CAFE_TIMEOUT", "RTC_CAFE_PATIENCE", "RTC_CAFE_RECEIVERS", "RTC_CAFE_NAME", "RTC_CAFE_RELAY_ONLY"];
    let sender = start(&["send", "r", &folder.text("a.txt")], &empty.map(|name| (name, "")));
    let inbox_path = inbox.text("b.txt");
    let receiver = start(&["receive", "r"], &[("RTC_CAFE_OUTPUT", &inbox_path), ("RTC_CAFE_YES", "1")]);
    assert_eq!(receiver.finish().0, Some(0));
    assert_eq!(sender.finish().0, Some(0));
    assert_eq!(inbox.names(), ["b.txt"]);
    let (code, told) = start(&["receive", "r"], &[("RTC_CAFE_TIMEOUT", "soon"), ("RTC_CAFE_YES", "1")]).finish();
    assert!(code == Some(2) && told.contains("--timeout"), "{code:?} {told}");
}
