//! Files that FFmpeg made are read, sent, recorded, and judged by FFmpeg.

use std::{
    collections::HashMap,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;

const ALL: [Codec; 4] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264];
const SECONDS: f64 = 3.0;
const PATIENCE: Duration = Duration::from_secs(60);
const MISSING: &str =
    "FFmpeg is missing: install it (on Debian `apt-get install ffmpeg`), or run `cargo xtask test cargo`";

/// Runs a program that must succeed and say nothing against it.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().expect(MISSING);
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && complaints.is_empty(), "{program} {arguments:?}: {complaints}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A moving picture of 90 frames and 3 keyframes, or a tone.
fn generate(folder: &TempDir, codec: Codec) -> PathBuf {
    let picture = ["-f", "lavfi", "-i", "testsrc=duration=3:size=320x240:rate=30", "-g", "30", "-b:v", "600k"];
    let (name, options): (_, &[&str]) = match codec {
        Codec::Opus => ("source.opus", &["-f", "lavfi", "-i", "sine=duration=3", "-c:a", "libopus"]),
        Codec::Vp8 => ("source-vp8.ivf", &["-c:v", "libvpx", "-deadline", "realtime", "-pix_fmt", "yuv420p"]),
        Codec::Vp9 => ("source-vp9.ivf", &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-pix_fmt", "yuv420p"]),
        Codec::H264 => ("source.h264", &["-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p", "-preset", "veryfast"]),
    };
    let path = folder.path().join(name);
    let picture: &[&str] = if codec == Codec::Opus { &[] } else { &picture };
    let quiet = ["-v", "error", "-y"];
    run("ffmpeg", &[&quiet[..], picture, options, &[text(&path)]].concat());
    path
}

fn read(path: &Path) -> Vec<Frame> {
    let mut reader = MediaReader::open(path).unwrap();
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

/// What ffprobe says of a file.
#[derive(Debug)]
struct Probe(HashMap<String, String>);

impl Probe {
    fn of(path: &Path) -> Self {
        let entries = "stream=codec_name,nb_read_packets,width,height,r_frame_rate:format=duration";
        let format = ["-of", "default=noprint_wrappers=1"];
        let arguments = [&["-v", "error", "-count_packets", "-show_entries", entries][..], &format, &[text(path)]];
        let lines = run("ffprobe", &arguments.concat());
        Self(
            lines
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    fn check(&self, codec: Codec, packets: usize, seconds: Option<f64>) {
        let name = match codec {
            Codec::Opus => "opus",
            Codec::Vp8 => "vp8",
            Codec::Vp9 => "vp9",
            Codec::H264 => "h264",
        };
        assert_eq!(self.0["codec_name"], name);
        assert_eq!(self.0["nb_read_packets"], packets.to_string(), "packets of {codec}");
        if codec != Codec::Opus {
            assert_eq!((&self.0["width"][..], &self.0["height"][..]), ("320", "240"));
        }
        if let Some(seconds) = seconds {
            let found: f64 = self.0["duration"].parse().unwrap();
            assert!((found - seconds).abs() < 0.03, "{codec} lasts for {found} instead of {seconds} seconds");
        }
    }
}

fn decode(path: &Path) {
    run("ffmpeg", &["-v", "error", "-xerror", "-i", text(path), "-f", "null", "-"]);
}

/// By way of packets that come in another order; some may be lost.
fn transmit(codec: Codec, frames: &[Frame], is_lost: impl Fn(usize) -> bool) -> Vec<Frame> {
    let mut packetizer = Packetizer::new(codec, 65_000);
    // It wraps a second and a half later.
    let start = u32::MAX - codec.clock_rate() * 3 / 2;
    let moved = |frame: &Frame| Frame { timestamp: frame.timestamp.wrapping_add(start), ..frame.clone() };
    let packets = frames.iter().flat_map(|frame| packetizer.packetize(&moved(frame)));
    let mut packets: Vec<_> = packets.enumerate().filter(|(at, _)| !is_lost(*at)).map(|(_, packet)| packet).collect();
    for pair in packets[1..].chunks_exact_mut(7) {
        pair.swap(0, 4);
    }
    let mut depacketizer = Depacketizer::new(codec);
    let mut received = Vec::new();
    for packet in packets {
        depacketizer.push(packet);
        received.extend(std::iter::from_fn(|| depacketizer.poll()));
    }
    depacketizer.finish();
    received.extend(std::iter::from_fn(|| depacketizer.poll()));
    let frame = |output| match output {
        Depacketized::Frame(frame) => Some(frame),
        Depacketized::KeyframeNeeded => None,
    };
    received.into_iter().filter_map(frame).collect()
}

fn containers(codec: Codec) -> &'static [&'static str] {
    match codec {
        Codec::Opus => &["ogg", "opus", "webm", "mkv"],
        Codec::Vp8 | Codec::Vp9 => &["ivf", "webm", "mkv"],
        Codec::H264 => &["h264", "mkv"],
    }
}

fn record(path: &Path, codec: Codec, frames: &[Frame]) -> Recorder {
    let mut recorder = Recorder::create(path, codec).unwrap();
    for frame in frames {
        recorder.write(frame).unwrap();
    }
    recorder
}

#[test]
fn files_are_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    for codec in ALL {
        let path = generate(&folder, codec);
        let mut reader = MediaReader::open(&path).unwrap();
        assert_eq!(reader.codec(), codec);
        let frames: Vec<_> = std::iter::from_fn(|| reader.next_frame().unwrap()).collect();
        Probe::of(&path).check(codec, frames.len(), None);
        let step = if codec == Codec::Opus { 960 } else { 3_000 };
        assert!(frames.iter().enumerate().all(|(index, frame)| frame.timestamp == index as u32 * step), "{codec}");
        if codec != Codec::Opus {
            assert_eq!(frames.iter().filter(|frame| frame.keyframe).count(), 3, "keyframes of {codec}");
        }
        reader.rewind().unwrap();
        let again = reader.next_frame().unwrap().unwrap();
        assert_eq!(again.data, frames[0].data);
        assert_eq!(again.timestamp, frames.len() as u32 * step, "a loop goes on in time");
    }
}

#[test]
fn frames_survive_packets_and_files() {
    let folder = tempfile::tempdir().unwrap();
    for codec in ALL {
        let frames = read(&generate(&folder, codec));
        let received = transmit(codec, &frames, |_| false);
        for extension in containers(codec) {
            let path = folder.path().join(format!("recorded-{codec}.{extension}"));
            let recorder = record(&path, codec, &received);
            assert_eq!(recorder.frames(), frames.len() as u64);
            assert!((recorder.duration().as_secs_f64() - SECONDS).abs() < 0.03);
            recorder.finish().unwrap();
            Probe::of(&path).check(codec, frames.len(), (*extension != "h264").then_some(SECONDS));
            decode(&path);
            if !matches!(*extension, "webm" | "mkv") {
                assert!(read(&path) == frames, "{}", path.display());
            }
        }
    }
}

#[test]
fn video_with_losses_is_recorded_without_errors() {
    let folder = tempfile::tempdir().unwrap();
    for codec in [Codec::Vp8, Codec::Vp9, Codec::H264] {
        let frames = read(&generate(&folder, codec));
        let received = transmit(codec, &frames, |packet| matches!(packet, 0 | 70 | 71));
        let [first, .., last] = &received[..] else { panic!("nothing came of {codec}") };
        assert!(first.keyframe && received.len() < 70, "{} frames of {codec}", received.len());
        let path = folder.path().join(format!("lossy-{codec}.{}", codec.extension()));
        record(&path, codec, &received).finish().unwrap();
        let ticks = last.timestamp.wrapping_sub(first.timestamp) + 3_000;
        Probe::of(&path).check(codec, received.len(), Some(f64::from(ticks) / 90_000.0));
        decode(&path);
    }
}

#[test]
fn sound_with_gaps_keeps_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let frames = read(&generate(&folder, Codec::Opus));
    let received = transmit(Codec::Opus, &frames, |packet| packet == 20 || (40..90).contains(&packet));
    assert_eq!(received.len(), frames.len() - 51);
    for extension in containers(Codec::Opus) {
        let path = folder.path().join(format!("gaps.{extension}"));
        record(&path, Codec::Opus, &received).finish().unwrap();
        // The second that is missing takes nine packets of at most 120 ms in Ogg.
        let filled = if matches!(*extension, "webm" | "mkv") { 0 } else { 10 };
        Probe::of(&path).check(Codec::Opus, received.len() + filled, Some(SECONDS));
        decode(&path);
        run("ffmpeg", &["-v", "error", "-xerror", "-c:a", "libopus", "-i", text(&path), "-f", "null", "-"]);
    }
}

#[test]
fn a_killed_recording_is_readable() {
    let folder = tempfile::tempdir().unwrap();
    for codec in ALL {
        let frames = read(&generate(&folder, codec));
        for extension in containers(codec) {
            let path = folder.path().join(format!("whole.{extension}"));
            let recorder = record(&path, codec, &frames);
            let killed = folder.path().join(format!("killed-{codec}.{extension}"));
            std::fs::copy(&path, &killed).unwrap();
            drop(recorder);
            let arguments =
                ["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"];
            let count = Command::new("ffprobe").args(arguments).arg(&killed).output().expect(MISSING).stdout;
            let count: usize = String::from_utf8_lossy(&count).trim().parse().unwrap();
            assert!(count * 3 >= frames.len() * 2 - 9, "{count} of {} in {}", frames.len(), killed.display());
            if !matches!(*extension, "webm" | "mkv") {
                assert!(read(&killed).len() + 1 >= count);
            }
        }
    }
}

/// What FFmpeg sends as RTP is what it has read.
#[test]
fn rtp_of_ffmpeg_is_understood() {
    std::thread::scope(|scope| {
        for codec in ALL {
            scope.spawn(move || receive_from_ffmpeg(codec));
        }
    });
}

fn receive_from_ffmpeg(codec: Codec) {
    let folder = tempfile::tempdir().unwrap();
    let path = generate(&folder, codec);
    let frames = read(&path);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let target = format!("rtp://{}?pkt_size=1200", socket.local_addr().unwrap());
    let options = ["-c", "copy", "-strict", "experimental", "-f", "rtp", &target];
    let mut sender = Command::new("ffmpeg")
        .args(["-v", "error", "-re", "-i", text(&path)])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect(MISSING);
    let mut depacketizer = Depacketizer::new(codec);
    let mut unwrapper = Unwrapper::new();
    let mut received = Vec::new();
    while received.len() < frames.len() {
        let mut buffer = vec![0; 2_048];
        let length = socket.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        let (_, mut packet) = RtpPacket::parse(buffer.into()).unwrap();
        packet.sequence = unwrapper.unwrap(packet.sequence as u16);
        depacketizer.push(packet);
        received.extend(std::iter::from_fn(|| depacketizer.poll()));
    }
    sender.wait().unwrap();
    for (index, (received, sent)) in received.iter().zip(&frames).enumerate() {
        let Depacketized::Frame(received) = received else { panic!("{codec} lost something before frame {index}") };
        assert_eq!(received.data, sent.data, "frame {index} of {codec}");
        assert_eq!(received.keyframe, sent.keyframe, "frame {index} of {codec}");
    }
}

/// What we send as RTP, FFmpeg records and decodes. Its receiver of VP9 is experimental and
/// misreads the layer indices of non-flexible mode, which browsers require.
#[test]
fn ffmpeg_understands_our_rtp() {
    std::thread::scope(|scope| {
        for codec in [Codec::Opus, Codec::Vp8, Codec::H264] {
            scope.spawn(move || send_to_ffmpeg(codec));
        }
    });
}

fn send_to_ffmpeg(codec: Codec) {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = MediaReader::open(generate(&folder, codec)).unwrap();
    let target = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let format = match codec {
        Codec::Opus => "audio {port} RTP/AVP 96\na=rtpmap:96 opus/48000/2",
        Codec::Vp8 => "video {port} RTP/AVP 96\na=rtpmap:96 VP8/90000",
        Codec::Vp9 => "video {port} RTP/AVP 96\na=rtpmap:96 VP9/90000",
        Codec::H264 => "video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1",
    };
    let media = format.replace("{port}", &target.port().to_string());
    let (sdp, recorded) = (folder.path().join("track.sdp"), folder.path().join("recorded.mkv"));
    std::fs::write(&sdp, format!("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm={media}\n"))
        .unwrap();
    let frames = if codec == Codec::Opus { "-frames:a" } else { "-frames:v" };
    let mut receiver = Command::new("ffmpeg")
        .args(["-v", "error", "-protocol_whitelist", "file,udp,rtp", "-i", text(&sdp), "-c", "copy", frames, "60"])
        .arg(&recorded)
        .stdin(Stdio::null())
        .spawn()
        .expect(MISSING);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut packetizer = Packetizer::new(codec, 65_500);
    let deadline = Instant::now() + PATIENCE;
    while receiver.try_wait().unwrap().is_none() {
        let Some(frame) = reader.next_frame().unwrap() else {
            reader.rewind().unwrap();
            continue;
        };
        for packet in packetizer.packetize(&frame) {
            // Until it listens, it refuses.
            let _ = socket.send_to(&packet.to_bytes(RtpHeader { payload_type: 96, ssrc: 1 }), target);
        }
        if Instant::now() > deadline {
            receiver.kill().unwrap();
            panic!("FFmpeg got nothing of {codec}");
        }
        // Faster than the frames are to be shown, and slow enough not to fill the socket.
        std::thread::sleep(Duration::from_millis(5));
    }
    Probe::of(&recorded).check(codec, 60, None);
    decode(&recorded);
}
