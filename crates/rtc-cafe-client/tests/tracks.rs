//! Tracks between clients: told to everybody, sent to those who ask, recorded, passed on.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to clippy")]

mod common;

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use common::{Peer, Server, table};
use rtc_cafe_client::{
    AddTrackError, Codec, ErrorCode, Event, RemoteTrack, ReplaceTrackError, RequestTrackError, RtpPacket, Sid,
    TrackDefinition, TrackId, TrackKind, TrackSource,
};
use serde_json::json;
use tokio::time::{interval, timeout};

impl Peer {
    async fn defined(&mut self) -> (Sid, TrackDefinition) {
        let defined = |event: &Event| match event {
            Event::PeerTrackDefined { sid, definition } => Some((sid.clone(), definition.clone())),
            _ => None,
        };
        self.next("a definition", defined).await
    }

    async fn identified(&mut self) -> (TrackId, RemoteTrack) {
        let identified = |event: &Event| match event {
            Event::PeerTrackIdentified { id, track, .. } => Some((id.clone(), track.clone())),
            _ => None,
        };
        self.next("a track", identified).await
    }

    async fn undefined(&mut self) -> TrackId {
        let removed = |event: &Event| match event {
            Event::PeerTrackDefinitionRemoved { definition, .. } => Some(definition.id.clone()),
            _ => None,
        };
        self.next("the end of a track", removed).await
    }

    async fn request(&mut self, sid: &Sid, id: &TrackId) -> RemoteTrack {
        self.client.request_peer_track(sid, id).unwrap();
        loop {
            let (identified, track) = self.identified().await;
            if identified == *id {
                return track;
            }
        }
    }
}

/// Makes a file with FFmpeg: of `seconds`, of a codec by the file's extension.
fn media(folder: &Path, name: &str, seconds: u32) -> std::path::PathBuf {
    let path = folder.join(name);
    let source: &[&str] = match path.extension().and_then(|extension| extension.to_str()) {
        Some("opus") => &["sine=frequency=440", "-c:a", "libopus"],
        Some("h264") => &["testsrc=size=160x120:rate=25", "-c:v", "libx264", "-bf", "0", "-g", "25"],
        _ if name.contains("vp9") => {
            &["testsrc=size=160x120:rate=25", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-g", "25"]
        }
        _ => &["testsrc=size=160x120:rate=25", "-c:v", "libvpx", "-deadline", "realtime", "-g", "25"],
    };
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i"]).args(source).args(["-t", &seconds.to_string()]).arg(&path);
    let made = ffmpeg.status().expect("ffmpeg is missing: install the package ffmpeg");
    assert!(made.success());
    path
}

/// What ffprobe says of a file: codec, and seconds.
fn probe(path: &Path) -> (String, f64) {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "stream=codec_name:format=duration", "-of", "default=nk=1:nw=1"]);
    let output = ffprobe.arg(path).output().expect("ffprobe is missing: install the package ffmpeg");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let codec = lines.next().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr))).to_owned();
    (codec, lines.next().unwrap().parse().unwrap())
}

/// Sends a packet now and then until the track ends; each payload tells its number.
fn stream(codec: Codec) -> (TrackSource, tokio::task::JoinHandle<()>) {
    let (sender, source) = TrackSource::rtp(codec);
    let task = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(10));
        for number in 0_u32.. {
            ticks.tick().await;
            let payload = number.to_be_bytes().to_vec().into();
            let packet = RtpPacket { sequence: number.into(), timestamp: number * 480, marker: true, payload };
            if sender.send(packet).is_err() {
                break;
            }
        }
    });
    (source, task)
}

/// Waits for the next packet of a track; its number.
async fn packet(track: &RemoteTrack) -> Option<u32> {
    let received =
        timeout(Duration::from_secs(30), async { track.packets().recv().await }).await.expect("a packet, or the end");
    received.map(|(_, packet)| u32::from_be_bytes(packet.payload[..].try_into().unwrap()))
}

#[tokio::test]
async fn a_track_is_told_to_all_and_sent_to_who_asks() {
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let (source, sending) = stream(Codec::Opus);
    let id = peers[0].client.add_track(source, &json!({ "what": "microphone" })).unwrap();
    let mut late = Peer::in_room(&server, "table");
    let owner = peers[0].client.sid().unwrap();
    for peer in [&mut peers[1], &mut late] {
        let (sid, definition) = peer.defined().await;
        assert_eq!((&sid, &definition.id, definition.kind), (&owner, &id, TrackKind::Audio));
        assert_eq!(definition.description.as_json(), r#"{"what":"microphone"}"#);
        assert_eq!(
            peer.client.peer_track_definitions(),
            BTreeMap::from([(sid, BTreeMap::from([(id.clone(), definition)]))])
        );
        assert!(peer.client.peer_tracks().is_empty());
    }
    assert_eq!(peers[0].client.tracks()[0].receivers, 0);
    let track = peers[1].request(&owner, &id).await;
    assert_eq!(track.kind(), TrackKind::Audio);
    let first = packet(&track).await.unwrap();
    assert!(packet(&track).await.unwrap() > first);
    assert_eq!(peers[0].client.tracks()[0].receivers, 1);
    assert!(late.client.peer_tracks().is_empty(), "it did not ask");
    peers[1].client.request_peer_track(&owner, &id).unwrap();

    let other = late.request(&owner, &id).await;
    packet(&other).await.unwrap();
    assert!(peers[1].client.remove_peer_track(&owner, &id));
    assert!(!peers[1].client.remove_peer_track(&owner, &id));
    while packet(&track).await.is_some() {}
    assert!(!track.is_live() && other.is_live());
    packet(&other).await.unwrap();

    let again = peers[1].request(&owner, &id).await;
    let mut packets = again.packets();
    let mut numbers = Vec::new();
    while numbers.len() < 20 {
        let received = timeout(Duration::from_secs(30), packets.recv()).await.expect("packets").expect("no end");
        numbers.push(received.1.sequence);
    }
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "none is missing: {numbers:?}");
    assert!(peers[0].client.remove_track(&id));
    assert!(!peers[0].client.remove_track(&id));
    assert_eq!(peers[1].undefined().await, id);
    assert_eq!(late.undefined().await, id);
    sending.await.unwrap();
    assert!(late.client.peer_tracks().is_empty());
}

#[tokio::test]
async fn many_tracks_are_not_mixed_up() {
    let server = Server::start().await;
    let mut peers = table(&server, 3).await;
    let mut wanted = Vec::new();
    for peer in &peers {
        for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264] {
            let (sender, source) = TrackSource::rtp(codec);
            let id = peer.client.add_track(source, &codec.to_string()).unwrap();
            let payload = bytes::Bytes::from(id.as_str().to_owned());
            tokio::spawn(async move {
                let mut ticks = interval(Duration::from_millis(20));
                for number in 0_u32.. {
                    ticks.tick().await;
                    let payload = payload.clone();
                    let packet = RtpPacket { sequence: number.into(), timestamp: number * 960, marker: true, payload };
                    if sender.send(packet).is_err() {
                        break;
                    }
                }
            });
            wanted.push((peer.client.sid().unwrap(), id, codec));
        }
    }
    for peer in &mut peers {
        for _ in 0..8 {
            peer.defined().await;
        }
        let own = peer.client.sid().unwrap();
        let others = wanted.iter().filter(|(sid, ..)| *sid != own);
        for (sid, id, _) in others.clone() {
            peer.client.request_peer_track(sid, id).unwrap();
        }
        for _ in others {
            let (id, track) = peer.identified().await;
            let expected = wanted.iter().find(|(_, other, _)| *other == id).unwrap().2;
            let received = timeout(Duration::from_secs(30), async { track.packets().recv().await });
            let (codec, packet) = received.await.unwrap().unwrap();
            assert_eq!(codec, expected);
            assert_eq!(packet.payload, id.as_str().as_bytes());
        }
        peer.assert_clean();
    }
}

#[tokio::test]
async fn storms_from_both_sides_end_in_the_right_state() {
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..100 {
        let at = random.usize(0..2);
        let (client, other) = (peers[at].client.clone(), peers[1 - at].client.sid().unwrap());
        let mine = client.tracks();
        let theirs = client.peer_track_definitions().remove(&other).unwrap_or_default();
        match random.u8(0..10) {
            0..=2 if mine.len() < 4 => drop(client.add_track(stream(Codec::Vp8).0, "storm").unwrap()),
            3 if !mine.is_empty() => drop(client.remove_track(&mine[0].id)),
            4..=7 if !theirs.is_empty() => {
                client.request_peer_track(&other, random.choice(theirs.keys()).unwrap()).unwrap();
            }
            8 if !theirs.is_empty() => drop(client.remove_peer_track(&other, random.choice(theirs.keys()).unwrap())),
            _ => tokio::task::yield_now().await,
        }
        if random.u8(0..4) == 0 {
            peers[at].client.send_message("a round trip").await.unwrap();
            peers[1 - at].message().await;
        }
    }
    for (at, other) in [(0, 1), (1, 0)] {
        let owner = peers[other].client.sid().unwrap();
        let (last, source) = TrackSource::rtp(Codec::Opus);
        let marker = peers[other].client.add_track(source, "the last").unwrap();
        while peers[at].defined().await.1.id != marker {}
        let theirs = peers[at].client.peer_track_definitions().remove(&owner).unwrap();
        assert_eq!(
            theirs.into_keys().collect::<Vec<_>>(),
            peers[other].client.tracks().into_iter().map(|track| track.id).collect::<Vec<_>>()
        );
        for track in peers[other].client.tracks().into_iter().filter(|track| track.id != marker) {
            peers[at].client.request_peer_track(&owner, &track.id).unwrap();
        }
        let arrived = async {
            loop {
                let tracks = peers[at].client.peer_tracks().remove(&owner).unwrap_or_default();
                if tracks.len() == peers[other].client.tracks().len() - 1 {
                    break tracks;
                }
                peers[at].events.recv().await.unwrap();
            }
        };
        for track in timeout(Duration::from_secs(30), arrived).await.expect("all that was requested").values() {
            packet(track).await.unwrap();
        }
        drop(last);
    }
}

#[tokio::test]
async fn a_file_is_played_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut recordings = Vec::new();
    let files = [
        ("a.opus", "a.ogg", "opus"),
        ("vp8.ivf", "vp8.webm", "vp8"),
        ("vp9.ivf", "vp9.mkv", "vp9"),
        ("a.h264", "h264.mkv", "h264"),
    ];
    let sources = files.map(|(file, ..)| TrackSource::file(media(folder.path(), file, 3)).unwrap());
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let owner = peers[0].client.sid().unwrap();
    for ((file, to, codec), source) in files.into_iter().zip(sources) {
        let id = peers[0].client.add_track(source, file).unwrap();
        peers[1].defined().await;
        let track = peers[1].request(&owner, &id).await;
        recordings.push((track.record(folder.path().join(to)), codec));
    }
    for (recording, codec) in recordings {
        let recorded = timeout(Duration::from_secs(30), recording.finished()).await.expect("files end").unwrap();
        let path = recorded.path.expect("something came");
        let (probed, seconds) = probe(&path);
        assert_eq!(probed, codec);
        assert!((2.7..3.3).contains(&seconds), "{codec}: {seconds} s of 3");
        assert!((recorded.duration.as_secs_f64() - seconds).abs() < 0.1, "{codec}");
    }
    assert!(peers[0].client.tracks().is_empty(), "files end");
    peers.iter().for_each(Peer::assert_clean);
}

#[tokio::test]
async fn who_comes_in_the_middle_of_a_file_begins_with_a_keyframe() {
    let folder = tempfile::tempdir().unwrap();
    let source = TrackSource::file(media(folder.path(), "vp8.ivf", 2)).unwrap().repeating();
    let server = Server::start().await;
    let mut peers = table(&server, 3).await;
    let owner = peers[0].client.sid().unwrap();
    let id = peers[0].client.add_track(source, "film").unwrap();
    for peer in &mut peers[1..] {
        peer.defined().await;
        let track = peer.request(&owner, &id).await;
        let mut frames = track.frames();
        let mut all = Vec::new();
        while all.len() < 30 {
            all.push(timeout(Duration::from_secs(30), frames.recv()).await.expect("frames").expect("no end").1);
        }
        assert!(all[0].keyframe);
        assert!(
            all.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == 3600),
            "none is missing"
        );
    }
}

#[tokio::test]
async fn a_track_is_passed_on_and_keyframes_are_asked_for_at_its_origin() {
    let server = Server::start().await;
    let mut origin = Peer::in_room(&server, "upstairs");
    let mut relay = Peer::in_room(&server, "upstairs");
    relay.client.join_room("downstairs").unwrap();
    let mut viewer = Peer::in_room(&server, "downstairs");
    origin.connected().await;
    viewer.connected().await;
    let (sender, source) = TrackSource::rtp(Codec::Vp8);
    let id = origin.client.add_track(source, "camera").unwrap();
    let (asked, mut keyframes) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(10));
        let mut number = 0_u32;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    number += 1;
                    let payload = number.to_be_bytes().to_vec().into();
                    let packet = RtpPacket { sequence: number.into(), timestamp: number * 900, marker: true, payload };
                    if sender.send(packet).is_err() {
                        break;
                    }
                }
                Ok(()) = sender.keyframe_requested() => {
                    if asked.send(number).is_err() {
                        break;
                    }
                }
            }
        }
    });
    let upstairs = relay.defined().await.0;
    let track = relay.request(&upstairs, &id).await;
    timeout(Duration::from_secs(30), keyframes.recv()).await.expect("who begins to receive needs a keyframe");
    let forwarded = relay.client.add_track(TrackSource::forward(&track).await.unwrap(), "from upstairs").unwrap();
    let middle = viewer.defined().await.0;
    let received = viewer.request(&middle, &forwarded).await;
    let first = packet(&received).await.unwrap();
    assert!(packet(&received).await.unwrap() > first);
    while keyframes.try_recv().is_ok() {}
    let asks = async {
        let mut ticks = interval(Duration::from_millis(300));
        loop {
            tokio::select! {
                _ = ticks.tick() => received.request_keyframe(),
                asked = keyframes.recv() => break asked,
            }
        }
    };
    timeout(Duration::from_secs(30), asks).await.expect("a request that goes through to the origin");
    origin.client.remove_track(&id);
    assert_eq!(viewer.undefined().await, forwarded);
}

#[tokio::test]
async fn a_source_is_replaced_without_anybody_noticing_but_by_the_picture() {
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let (source, first) = stream(Codec::Vp8);
    let id = peers[0].client.add_track(source, "camera").unwrap();
    let owner = peers[1].defined().await.0;
    let track = peers[1].request(&owner, &id).await;
    packet(&track).await.unwrap();
    let mut packets = track.packets();
    let before = packets.recv().await.unwrap().1;
    let (source, _second) = stream(Codec::Vp9);
    peers[0].client.replace_track(&id, source).unwrap();
    first.await.unwrap();
    let mut last = before;
    loop {
        let (codec, packet) = timeout(Duration::from_secs(30), packets.recv()).await.unwrap().unwrap();
        assert_eq!(packet.sequence, last.sequence + 1);
        assert!(packet.timestamp.wrapping_sub(last.timestamp) < 90_000);
        last = packet;
        if codec == Codec::Vp9 {
            break;
        }
    }
    let (audio, _sending) = stream(Codec::Opus);
    let refused = peers[0].client.replace_track(&id, audio);
    assert_eq!(refused, Err(ReplaceTrackError::Kind { was: TrackKind::Video, is: TrackKind::Audio }));
    assert!(!peers[1].seen.iter().any(|event| matches!(event, Event::PeerTrackRemoved { .. })));
}

#[tokio::test]
async fn what_was_requested_comes_back_with_the_peer() {
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let (source, _sending) = stream(Codec::Opus);
    let id = peers[0].client.add_track(source, "microphone").unwrap();
    let owner = peers[1].defined().await.0;
    let track = peers[1].request(&owner, &id).await;
    packet(&track).await.unwrap();
    let address = server.stop().await;
    packet(&track).await.unwrap();
    let _server = Server::start_at(address).await;
    let reassigned = |event: &Event| matches!(event, Event::ReassignPeerSid { .. }).then_some(());
    peers[1].next("the new sid", reassigned).await;
    packet(&track).await.unwrap();
    assert!(track.is_live());
}

#[tokio::test]
async fn what_cannot_be_is_an_error() {
    let server = Server::start().await;
    let peers = table(&server, 2).await;
    let [a, b] = &peers[..] else { unreachable!() };
    let nobody = Sid::new("nobody").unwrap();
    let nothing = TrackId::new("nothing").unwrap();
    let sid = b.client.sid().unwrap();
    assert_eq!(a.client.request_peer_track(&nobody, &nothing), Err(RequestTrackError::NotConnected(nobody.clone())));
    assert_eq!(a.client.request_peer_track(&sid, &nothing), Err(RequestTrackError::UnknownTrack(nothing.clone())));
    assert!(!a.client.remove_peer_track(&nobody, &nothing));
    assert!(!a.client.remove_track(&nothing));
    let (sender, source) = TrackSource::rtp(Codec::Opus);
    assert!(matches!(a.client.add_track(source, &"x".repeat(20_000)), Err(AddTrackError::Refused(_))));
    drop(sender);
    let missing = TrackSource::file("no such file").unwrap_err();
    assert!(missing.to_string().contains("cannot read"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "not a film").unwrap();
    let no_media = TrackSource::file(&text).unwrap_err();
    assert!(no_media.to_string().contains("ffmpeg"), "{no_media}");
    a.client.close().await;
    assert!(matches!(a.client.add_track(TrackSource::rtp(Codec::Opus).1, "late"), Err(AddTrackError::Closed)));
}

#[tokio::test]
async fn a_file_that_breaks_off_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(media(folder.path(), "vp8.ivf", 2)).unwrap();
    let broken = folder.path().join("broken.ivf");
    // Behind the first frame comes one that claims to have four gigabytes.
    let first = 32 + 12 + u32::from_le_bytes(whole[32..36].try_into().unwrap()) as usize;
    std::fs::write(&broken, [&whole[..first], &[0xff; 64]].concat()).unwrap();
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let id = peers[0].client.add_track(TrackSource::file(&broken).unwrap(), "film").unwrap();
    let owner = peers[1].defined().await.0;
    peers[1].client.request_peer_track(&owner, &id).unwrap();
    assert_eq!(peers[1].undefined().await, id);
    let told = |event: &Event| matches!(event, Event::Error { code: ErrorCode::Media, .. }).then_some(());
    peers[0].next("the reason", told).await;
}

#[tokio::test]
async fn who_asks_again_in_the_middle_of_a_file_is_given_all_since_the_last_keyframe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.ivf");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x480:rate=30", "-t", "15", "-c:v", "libvpx"]);
    ffmpeg.args(["-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-g", "1000"]);
    assert!(ffmpeg.arg(&path).status().unwrap().success());
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let owner = peers[0].client.sid().unwrap();
    let id = peers[0].client.add_track(TrackSource::file(&path).unwrap(), "film").unwrap();
    peers[1].defined().await;
    for _ in 0..3 {
        let track = peers[1].request(&owner, &id).await;
        let mut frames = track.frames();
        for _ in 0..70 {
            timeout(Duration::from_secs(30), frames.recv()).await.expect("frames").expect("no end");
        }
        peers[1].client.remove_peer_track(&owner, &id);
        while frames.recv().await.is_some() {}
    }
}

#[tokio::test]
async fn no_number_is_left_out_when_a_file_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let source = TrackSource::file(media(folder.path(), "vp8.ivf", 20)).unwrap();
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let owner = peers[0].client.sid().unwrap();
    let id = peers[0].client.add_track(source, "film").unwrap();
    peers[1].defined().await;
    for round in 0..3 {
        let track = peers[1].request(&owner, &id).await;
        let mut packets = track.packets();
        let mut numbers = Vec::new();
        while numbers.len() < 80 {
            let received = timeout(Duration::from_secs(30), packets.recv()).await.expect("packets").expect("no end");
            numbers.push((received.1.sequence, received.1.timestamp));
        }
        assert!(numbers.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "round {round}: {numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[1].1.wrapping_sub(pair[0].1) <= 3600), "round {round}: {numbers:?}");
        peers[1].client.remove_peer_track(&owner, &id);
        while packets.recv().await.is_some() {}
        // The file plays on meanwhile.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
