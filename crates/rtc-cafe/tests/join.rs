//! `rtc-cafe join` as programs and pipes see it.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use common::{Folder, Peer, Process, Server, write_video};
use serde_json::{Value, json};

#[test]
fn peers_talk_to_all_and_to_some() {
    let server = Server::start();
    let mut a = Peer::join(&server, "kitchen-table", &[]);
    let state = a.event("signallerStateChanged");
    assert_eq!(state, json!({ "event": "signallerStateChanged", "state": "connected" }));
    let mut b = Peer::join(&server, "kitchen-table", &[]);
    let (sid_a, sid_b) = (a.sid(), b.sid());
    assert_eq!(a.event("connectToPeer"), json!({ "event": "connectToPeer", "sid": sid_b }));
    assert_eq!(b.event("connectToPeer"), json!({ "event": "connectToPeer", "sid": sid_a }));

    let messages =
        [json!(null), json!("ä\n\u{1f600}"), json!([1, { "a": [true] }]), json!({ "big": "x".repeat(200_000) })];
    for message in &messages {
        assert_eq!(a.value(json!({ "op": "sendMessage", "message": message })), Value::Null);
        assert_eq!(b.value(json!({ "op": "sendMessage", "message": message })), Value::Null);
        assert_eq!(b.event("message"), json!({ "event": "message", "sender": sid_a, "message": message }));
        assert_eq!(a.event("message"), json!({ "event": "message", "sender": sid_b, "message": message }));
    }

    let mut c = Peer::join(&server, "kitchen-table", &[]);
    let sid_c = c.sid();
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.event("connectToPeer")["sid"], sid_c);
    }
    for _ in 0..2 {
        c.event("connectToPeer");
    }
    a.value(json!({ "op": "sendMessage", "message": 1, "peerSids": [sid_c] }));
    a.value(json!({ "op": "sendMessage", "message": 2, "peerSids": [sid_b, sid_c] }));
    a.value(json!({ "op": "sendMessage", "message": 3, "peerSids": [] }));
    a.value(json!({ "op": "sendMessage", "message": 4, "peerSids": null }));
    assert_eq!(
        [c.event("message"), c.event("message"), c.event("message")].map(|line| line["message"].clone()),
        [1, 2, 4]
    );
    assert_eq!([b.event("message"), b.event("message")].map(|line| line["message"].clone()), [2, 4]);

    // The end of the input leaves, and everything was told until then.
    b.write("{\"op\":\"sendMessage\",\"message\":\"bye\",\"call\":\"last\"}");
    let (code, told) = b.end();
    assert_eq!(code, Some(0));
    assert!(told.contains(&json!({ "event": "result", "call": "last", "value": null })), "{told:#?}");
    for peer in [&mut a, &mut c] {
        assert_eq!(peer.event("message")["message"], "bye");
        assert_eq!(peer.event("disconnectFromPeer"), json!({ "event": "disconnectFromPeer", "sid": sid_b }));
    }
    for signal in ["-TERM", "-INT"] {
        let mut peer = Peer::join(&server, "kitchen-table", &[]);
        let sid = peer.sid();
        a.wait("peer", |line| line["event"] == "connectToPeer" && line["sid"] == sid);
        peer.process.signal(signal);
        assert_eq!(peer.process.wait().code(), Some(0));
        a.wait("farewell", |line| line["event"] == "disconnectFromPeer" && line["sid"] == sid);
    }
}

#[test]
fn who_does_not_get_a_message_is_told_and_how_peers_are_reached() {
    let server = Server::start();
    let (mut a, mut b) = (Peer::join(&server, "kitchen-table", &[]), Peer::join(&server, "kitchen-table", &[]));
    let sid_b = b.sid();
    a.event("connectToPeer");
    b.event("connectToPeer");
    let report = a.value(json!({ "op": "getConnectionReport", "sid": sid_b }));
    assert_eq!((&report["phase"], &report["attempts"], &report["path"]), (&"open".into(), &1.into(), &"direct".into()));
    assert_eq!((&report["protocol"], &report["iceServerFailures"]), (&"udp".into(), &json!([])));
    assert_eq!(&report["selectedPair"]["local"]["type"], "host");
    assert_eq!(report["candidatePairs"][0], report["selectedPair"]);
    assert!(report["roundTripTime"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report:#}");
    assert_eq!(report["phases"].as_array().unwrap().last().unwrap()["phase"], "open");
    assert_eq!(a.value(json!({ "op": "getConnectionReport", "sid": "nobody" })), Value::Null);

    b.process.signal("-STOP");
    a.value(json!({ "op": "sendMessage", "message": ["lost"] }));
    b.process.signal("-KILL");
    assert_eq!(a.event("disconnectFromPeer")["sid"], sid_b);
    let (code, told) = a.end();
    assert_eq!(code, Some(0));
    let lost = json!({ "event": "messageUndelivered", "sid": sid_b, "message": ["lost"], "mayHaveArrived": true });
    assert!(told.contains(&lost), "{told:#?}");
}

#[test]
fn rooms_are_left() {
    let server = Server::start();
    let (mut a, mut b) = (Peer::join(&server, "kitchen-table", &[]), Peer::join(&server, "kitchen-table", &[]));
    let (sid_a, sid_b) = (a.sid(), b.sid());
    a.event("connectToPeer");
    b.event("connectToPeer");
    assert_eq!(a.value(json!({ "op": "leaveRoom", "room": "balcony" })), false);
    assert_eq!(a.value(json!({ "op": "leaveRoom", "room": "kitchen-table" })), true);
    assert_eq!(a.event("disconnectFromPeer")["sid"], sid_b);
    assert_eq!(b.event("disconnectFromPeer")["sid"], sid_a);
    a.value(json!({ "op": "joinRoom", "room": "kitchen-table" }));
    assert_eq!(a.event("connectToPeer")["sid"], sid_b);
    assert_eq!(b.event("connectToPeer")["sid"], sid_a);
}

#[test]
fn properties_are_those_of_the_readme() {
    let server = Server::start();
    let mut a = Peer::join(&server, "5", &["--ice-server", "turn:u:p%40@127.0.0.1:9,stun:127.0.0.1:9"]);
    let sid = a.sid();
    let mut b = Peer::join(&server, "5", &[]);
    a.event("connectToPeer");
    let properties = a.value(json!({ "op": "properties" }));
    assert!(properties["permanentId"].as_str().unwrap().len() > 8, "{properties}");
    let ice_servers = json!([
        { "urls": ["turn:127.0.0.1:9"], "username": "u", "credential": "p@" },
        { "urls": ["stun:127.0.0.1:9"] },
    ]);
    let expected = json!({
        "apiVersion": "1.0",
        "rtcConfig": { "iceServers": ice_servers, "iceTransportPolicy": "all" },
        "sid": sid,
        "permanentId": properties["permanentId"],
        "connectedPeers": [b.sid()],
        "discoveredPeers": [b.sid()],
        "state": "connected",
    });
    assert_eq!(properties, expected);

    // The room of the command line is a text; the room 5 is another one.
    let mut c = Peer::join(&server, "elsewhere", &[]);
    c.value(json!({ "op": "joinRoom", "room": 5 }));
    let mut d = Peer::join(&server, "nowhere", &[]);
    d.value(json!({ "op": "joinRoom", "room": 5 }));
    let sid = d.sid();
    assert_eq!(c.event("connectToPeer")["sid"], sid);
    d.value(json!({ "op": "joinRoom", "room": "5" }));
    assert_eq!(a.event("connectToPeer")["sid"], sid);
    assert_eq!(c.value(json!({ "op": "properties" }))["connectedPeers"], json!([sid]));

    // Without a server, everything else works.
    let mut alone = Peer::join(&server, "5", &["--server", "http://127.0.0.1:9"]);
    let properties = alone.value(json!({ "op": "properties" }));
    assert_eq!((&properties["sid"], &properties["state"]), (&json!("unassigned"), &json!("setup")));
    assert_eq!(alone.event("error")["code"], "SIGNALLER_UNREACHABLE");
    assert_eq!(alone.end().0, Some(0));
}

#[test]
fn tracks_are_offered_requested_and_recorded() {
    let (server, folder) = (Server::start(), Folder::new());
    write_video(&folder.path("film.ivf"), 600);
    let mut a = Peer::join(&server, "studio", &[]);
    let mut b = Peer::join(&server, "studio", &[]);
    let (sid_a, sid_b) = (a.sid(), b.sid());
    a.event("connectToPeer");
    b.event("connectToPeer");
    let described = json!({ "what": "screen" });
    let id = b.value(json!({ "op": "addTrack", "file": folder.text("film.ivf"), "description": described }));
    let plain = b.value(json!({ "op": "addTrack", "file": folder.text("film.ivf") }));
    let definition = json!({ "id": id, "description": described, "kind": "video" });
    let defined = a.wait("track", |line| line["event"] == "peerTrackDefined" && line["definition"]["id"] == id);
    assert_eq!(defined, json!({ "event": "peerTrackDefined", "sid": sid_b, "definition": definition }));
    let defined = a.wait("track", |line| line["event"] == "peerTrackDefined");
    assert_eq!(defined["definition"]["description"], "no description");

    assert_eq!(b.value(json!({ "op": "getTracks" })).as_array().unwrap().len(), 2);
    assert_eq!(b.value(json!({ "op": "getTracks", "idFilter": [id] })), json!([definition]));
    // Into a file that cannot be.
    a.value(json!({ "op": "requestPeerTrack", "sid": sid_b, "id": plain, "record": folder.text("no/film.mkv") }));
    a.event("peerTrackIdentified");
    let error = a.event("error");
    assert!(error["code"] == "MEDIA" && error["message"].as_str().unwrap().contains("no/film.mkv"), "{error}");
    a.value(json!({ "op": "removePeerTrack", "sid": sid_b, "id": plain }));
    a.event("peerTrackRemoved");

    assert_eq!(b.value(json!({ "op": "removeTrack", "id": plain })), plain);
    assert_eq!(b.value(json!({ "op": "removeTrack", "id": plain })), Value::Null);
    let removed = a.event("peerTrackDefinitionRemoved");
    let expected = json!({ "event": "peerTrackDefinitionRemoved", "sid": sid_b, "id": plain, "kind": "video",
        "description": "no description" });
    assert_eq!(removed, expected);
    let definitions = json!({ &sid_b: { id.as_str().unwrap(): definition } });
    assert_eq!(
        a.value(json!({ "op": "getPeerTrackDefinitions", "sidFilter": [sid_b], "idFilter": [id] })),
        definitions
    );
    assert_eq!(a.value(json!({ "op": "getPeerTrackDefinitions", "sidFilter": [sid_a] })), json!({}));
    assert_eq!(a.value(json!({ "op": "getPeerTracks" })), json!({}));

    let record = folder.text("film.mkv");
    a.value(json!({ "op": "requestPeerTrack", "sid": sid_b, "id": id, "record": record }));
    let identified = a.event("peerTrackIdentified");
    assert_eq!(identified, json!({ "event": "peerTrackIdentified", "sid": sid_b, "id": id, "kind": "video" }));
    let tracks = a.value(json!({ "op": "getPeerTracks" }));
    assert_eq!(tracks[&sid_b][id.as_str().unwrap()], json!({ "id": id, "kind": "video", "live": true }));
    wait_for_file(&record);
    assert_eq!(a.value(json!({ "op": "removePeerTrack", "sid": sid_b, "id": id })), id);
    assert_eq!(a.value(json!({ "op": "removePeerTrack", "sid": sid_b, "id": id })), Value::Null);
    assert_eq!(a.event("peerTrackRemoved"), json!({ "event": "peerTrackRemoved", "sid": sid_b, "id": id }));
    let recorded = a.event("recorded");
    let expected = json!({ "event": "recorded", "sid": sid_b, "id": id, "file": record,
        "frames": recorded["frames"], "seconds": recorded["seconds"] });
    assert_eq!(recorded, expected);
    assert!(recorded["frames"].as_u64() > Some(0) && recorded["seconds"].is_number(), "{recorded}");

    let (code, _) = a.end();
    assert_eq!(code, Some(0));
    let recorded = fs::read(&record).unwrap();
    assert!(recorded.starts_with(b"\x1a\x45\xdf\xa3") && recorded.len() > 1000, "{}", recorded.len());
}

/// Waits until there is something in a file.
fn wait_for_file(path: &str) {
    let start = std::time::Instant::now();
    while fs::metadata(path).map_or(0, |file| file.len()) < 500 {
        assert!(start.elapsed() < common::DEADLINE, "{path} stays empty");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn everything_is_recorded_that_is_played() {
    let (server, folder) = (Server::start(), Folder::new());
    write_video(&folder.path("film.ivf"), 5);
    let mut b = Peer::join(&server, "studio", &["--record", &folder.text("recordings")]);
    let mut a = Peer::join(&server, "studio", &["--play", &folder.text("film.ivf"), "--repeat"]);
    b.event("peerTrackIdentified");
    assert_eq!(a.value(json!({ "op": "getTracks" }))[0]["description"], "film.ivf");
    let recordings = Folder(folder.path("recordings"));
    let start = std::time::Instant::now();
    while recordings.names().is_empty() {
        assert!(start.elapsed() < common::DEADLINE, "nothing is recorded");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(b.end().0, Some(0));
    let names = recordings.names();
    assert!(names.len() == 1 && names[0].ends_with("-video.mkv"), "{names:?}");
    assert!(fs::metadata(recordings.path(&names[0])).unwrap().len() > 500);
}

#[test]
fn tracks_of_one_kind_have_files_of_their_own() {
    let (server, folder) = (Server::start(), Folder::new());
    write_video(&folder.path("film.ivf"), 5);
    let film = folder.text("film.ivf");
    let mut b = Peer::join(&server, "studio", &["--record", &folder.text("recordings")]);
    let a = Peer::join(&server, "studio", &["--play", &film, "--play", &film, "--repeat"]);
    for _ in 0..2 {
        b.event("peerTrackIdentified");
    }
    let recordings = Folder(folder.path("recordings"));
    let start = std::time::Instant::now();
    let grown = |name: &String| fs::metadata(recordings.path(name)).is_ok_and(|file| file.len() > 500);
    while recordings.names().iter().filter(|name| grown(name)).count() < 2 {
        assert!(start.elapsed() < common::DEADLINE, "{:?}", recordings.names());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (code, told) = b.end();
    assert_eq!(code, Some(0));
    // What ends with the program is told as well.
    let files: Vec<_> = told.iter().filter(|line| line["event"] == "recorded").map(|line| &line["file"]).collect();
    assert!(files.len() == 2 && files[0] != files[1], "{told:#?}");
    for name in recordings.names() {
        assert!(fs::read(recordings.path(&name)).unwrap().starts_with(b"\x1a\x45\xdf\xa3"), "{name}");
    }
    drop(a);
}

#[test]
fn one_file_holds_one_recording() {
    let (server, folder) = (Server::start(), Folder::new());
    write_video(&folder.path("film.ivf"), 5);
    let film = folder.text("film.ivf");
    let mut b = Peer::join(&server, "studio", &[]);
    let mut a = Peer::join(&server, "studio", &["--play", &film, "--play", &film, "--repeat"]);
    let sid = a.sid();
    for _ in 0..2 {
        let id = b.event("peerTrackDefined")["definition"]["id"].clone();
        b.value(json!({ "op": "requestPeerTrack", "sid": sid, "id": id, "record": folder.text("film.mkv") }));
    }
    let error = b.event("error");
    assert!(error["code"] == "MEDIA" && error["message"].as_str().unwrap().contains("already"), "{error}");
    assert_eq!(b.end().0, Some(0));
}

#[test]
fn who_waits_for_a_peer_does_the_rest() {
    let server = Server::start();
    let mut a = Peer::join(&server, "r", &[]);
    let mut b = Peer::join(&server, "r", &[]);
    let sid = b.sid();
    a.event("connectToPeer");
    b.event("connectToPeer");
    b.process.signal("-STOP");
    // Until its queue and the network hold no more.
    let text = "x".repeat(12 << 20);
    let send = |number: u32, text: &str| json!({ "op": "sendMessage", "message": [number, text], "call": number });
    let waits = |a: &mut Peer, number: &u32| {
        a.write(&format!("{}\n", send(*number, &text)));
        assert_eq!(a.value(json!({ "op": "properties" }))["connectedPeers"], json!([sid]));
        !a.seen.iter().any(|line| line["call"] == *number)
    };
    let number = (0..10).find(|number| waits(&mut a, number)).unwrap();
    // The next one waits in the input, and nothing is lost.
    a.write(&format!("{}\n", send(number + 1, "short")));
    b.process.signal("-CONT");
    for number in 0..=number + 1 {
        assert_eq!(b.event("message")["message"][0], number);
        b.seen.clear();
    }
    for number in 0..=number + 1 {
        assert_eq!(a.wait("answer", |line| line["call"].is_number())["call"], number);
    }
    assert_eq!(a.end().0, Some(0));
}

#[test]
fn a_silent_track_is_not_waited_for_for_ever() {
    let (server, folder) = (Server::start(), Folder::new());
    write_video(&folder.path("film.ivf"), 2);
    let mut a = Peer::join(&server, "r", &[]);
    let mut b = Peer::join(&server, "r", &["--play", &folder.text("film.ivf"), "--repeat"]);
    let sid = b.sid();
    let id = a.event("peerTrackDefined")["definition"]["id"].clone();
    a.value(json!({ "op": "requestPeerTrack", "sid": sid, "id": id }));
    a.event("peerTrackIdentified");
    let forward = json!({ "op": "forwardPeerTrack", "sid": sid, "id": id });
    assert!(a.value(forward.clone()).is_string());
    // The first packets are taken; now there are none any more.
    b.process.signal("-STOP");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut waits = forward;
    waits["call"] = json!("waits");
    a.write(&format!("{waits}\n"));
    assert_eq!(a.value(json!({ "op": "properties" }))["connectedPeers"], json!([sid]));
    let answer = a.wait("answer", |line| line["call"] == "waits");
    assert_eq!((&answer["event"], &answer["code"]), (&json!("error"), &json!("NO_MEDIA")), "{answer}");
    b.process.signal("-CONT");
}

#[test]
fn what_cannot_be_done_is_refused_with_a_code() {
    let server = Server::start();
    let mut a = Peer::join(&server, "r", &[]);
    let mut b = Peer::join(&server, "r", &[]);
    a.event("connectToPeer");
    let sid = b.sid();
    for (operation, code) in [
        (json!({ "op": "dance" }), "UNKNOWN_OP"),
        (json!({}), "INVALID_ARGUMENT"),
        (json!({ "op": "joinRoom" }), "INVALID_ARGUMENT"),
        (json!({ "op": "joinRoom", "room": "" }), "INVALID_ROOM"),
        (json!({ "op": "joinRoom", "room": true }), "INVALID_ROOM"),
        (json!({ "op": "joinRoom", "room": "x".repeat(300) }), "INVALID_ROOM"),
        (json!({ "op": "sendMessage" }), "INVALID_ARGUMENT"),
        (json!({ "op": "sendMessage", "message": 1, "peerSids": 5 }), "INVALID_ARGUMENT"),
        (json!({ "op": "sendMessage", "message": 1, "peerSid": [sid] }), "INVALID_ARGUMENT"),
        (json!({ "op": "sendMessage", "message": 1, "peerSids": [sid, "nobody"] }), "NOT_CONNECTED"),
        (json!({ "op": "sendMessage", "message": "x".repeat(16 << 20) }), "MESSAGE_TOO_LONG"),
        (json!({ "op": "addTrack" }), "INVALID_ARGUMENT"),
        (json!({ "op": "addTrack", "file": "/nowhere/film.ivf" }), "INVALID_TRACK"),
        (json!({ "op": "addTrack", "file": env!("CARGO_MANIFEST_PATH") }), "INVALID_TRACK"),
        (json!({ "op": "removeTrack" }), "INVALID_ARGUMENT"),
        (json!({ "op": "getTracks", "idFilter": [5] }), "INVALID_ARGUMENT"),
        (json!({ "op": "requestPeerTrack", "sid": sid }), "INVALID_ARGUMENT"),
        (json!({ "op": "requestPeerTrack", "sid": sid, "id": "x", "record": 5 }), "INVALID_ARGUMENT"),
        (json!({ "op": "requestPeerTrack", "sid": sid, "id": "x" }), "UNKNOWN_TRACK"),
        (json!({ "op": "requestPeerTrack", "sid": "nobody", "id": "x" }), "NOT_CONNECTED"),
        (json!({ "op": "removePeerTrack", "sid": sid }), "INVALID_ARGUMENT"),
    ] {
        assert_eq!(a.code(operation.clone()), code, "{:.200}", operation.to_string());
    }
    assert_eq!(a.value(json!({ "op": "removePeerTrack", "sid": "nobody", "id": "x" })), Value::Null);
    for room in 0..63 {
        a.value(json!({ "op": "joinRoom", "room": room }));
    }
    assert_eq!(a.code(json!({ "op": "joinRoom", "room": 63 })), "TOO_MANY_ROOMS");
    // Nobody got any of it.
    a.value(json!({ "op": "sendMessage", "message": "after all" }));
    assert_eq!(b.event("message")["message"], "after all");
}

#[test]
fn bad_lines_are_told_and_left_behind() {
    let server = Server::start();
    let mut a = Peer::join(&server, "r", &[]);
    a.write("hello\n\n[1]\n{\"op\":\n");
    for _ in 0..3 {
        let error = a.event("error");
        assert!(error["code"] == "INVALID_JSON" && error.get("call").is_none(), "{error}");
    }
    for _ in 0..200 {
        a.write(&"x".repeat(1 << 20));
    }
    a.write("\n");
    assert_eq!(a.event("error")["code"], "LINE_TOO_LONG");
    a.input.as_mut().unwrap().write_all(b"\xff\xfe\n").unwrap();
    assert_eq!(a.event("error")["code"], "INVALID_JSON");
    assert_eq!(a.value(json!({ "op": "getTracks" })), json!([]));
    if let Some(peak) = a.process.peak_memory() {
        assert!(peak < 128 << 20, "{peak} bytes");
    }
    assert_eq!(a.end().0, Some(0));
}

#[test]
fn a_burst_waits_for_whoever_is_slow() {
    let server = Server::start();
    let mut a = Peer::join(&server, "r", &[]);
    let mut b = Peer::join(&server, "r", &[]);
    a.event("connectToPeer");
    b.event("connectToPeer");
    let text = "x".repeat(100_000);
    let mut input = a.input.take().unwrap();
    let writing = std::thread::spawn(move || {
        for number in 0..1500 {
            let operation = json!({ "op": "sendMessage", "message": [number, text], "call": number });
            writeln!(input, "{operation}").unwrap();
        }
        input
    });
    for number in 0..1500 {
        assert_eq!(b.event("message")["message"][0], number);
        b.seen.clear();
    }
    a.input = Some(writing.join().unwrap());
    for number in 0..1500 {
        assert_eq!(a.event("result")["call"], number);
    }
    if let Some(peak) = a.process.peak_memory() {
        assert!(peak < 140 << 20, "{peak} bytes");
    }
    assert_eq!(a.end().0, Some(0));
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let server = Server::start();
    let mut command = server.command(&["join", "r", "--json"]);
    let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut output = BufReader::new(process.0.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    drop(output);
    let mut input = process.0.stdin.take().unwrap();
    // It may end at the first.
    let _ = input.write_all(b"{\"op\":\"properties\"}\n");
    assert_eq!(process.finish(), (Some(0), String::new()));
}

#[test]
fn pipes_talk_in_plain_lines() {
    let server = Server::start();
    let mut page = Peer::join(&server, "r", &[]);
    let mut command = server.command(&["join", "r", "--name", "web1"]);
    let mut pipe = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut output = BufReader::new(pipe.0.stdout.take().unwrap()).lines();
    let mut input = pipe.0.stdin.take().unwrap();
    assert_eq!(page.event("message")["message"], json!({ "kind": "hello", "name": "web1" }));
    page.value(json!({ "op": "sendMessage", "message": { "kind": "hello", "name": "Ana\u{1b}[2J" } }));
    page.value(json!({ "op": "sendMessage", "message": { "kind": "chat", "text": "one\ntwo\u{9b}31m" } }));
    assert_eq!(output.next().unwrap().unwrap(), "Ana[2J: one");
    assert_eq!(output.next().unwrap().unwrap(), "Ana[2J: two31m");
    input.write_all(b"hello\n\n/quit\n").unwrap();
    for text in ["hello", "/quit"] {
        assert_eq!(page.event("message")["message"], json!({ "kind": "chat", "text": text }));
    }
    drop(input);
    let (code, told) = pipe.finish();
    assert_eq!((code, told.as_str()), (Some(0), "* Ana[2J is here\n"));
}

#[test]
fn a_line_waits_until_somebody_reads_it() {
    let server = Server::start();
    let mut command = server.command(&["join", "r", "--name", "web1"]);
    let mut pipe = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()));
    pipe.0.stdin.take().unwrap().write_all(b"the disk is full\n").unwrap();
    let mut told = BufReader::new(pipe.0.stderr.take().unwrap()).lines();
    assert_eq!(told.next().unwrap().unwrap(), "* Nobody else is here yet.");
    let mut reader = Peer::join(&server, "r", &[]);
    assert_eq!(reader.event("message")["message"]["kind"], "hello");
    assert_eq!(reader.event("message")["message"]["text"], "the disk is full");
    assert_eq!(pipe.wait().code(), Some(0));
}

#[test]
fn wrong_usage_is_said() {
    let fails = |arguments: &[&str]| {
        let output = common::command(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = fails(&["join", ""]);
    assert!(code == Some(2) && text.contains("empty"), "{text}");
    let (code, text) = fails(&["join", "r", "--server", "ftp://a.example"]);
    assert!(code == Some(1) && text.contains("ftp://a.example"), "{text}");
    let (code, text) = fails(&["join", "r", "--play", "/nowhere/film.ivf"]);
    assert!(code == Some(1) && text.contains("/nowhere/film.ivf"), "{text}");
    let (code, text) = fails(&["join", "r", "--ice-server", "turn:host"]);
    assert!(code == Some(2) && text.contains("credentials"), "{text}");
}
