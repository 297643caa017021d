//! Malformed frames: what fuzzing begins from, mutated, over many connections. The same seed sends the same frames.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rtc_cafe_fuzz_seeds::{CLIENT, ENGINE, FRAMES, HUB, JSON, ROOMS, Rng, SIGNALS, mutate};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::ReadHalf,
    time::timeout,
};

use super::{Attacker, Next, raw};

/// Frames that go out at once.
const BATCH: usize = 32;
/// Batches on one connection: its frames stay below the burst that the server allows, or it would not look at them.
const BATCHES: usize = 8;
/// How long the server may take for the frame that is none.
const LAST: Duration = Duration::from_millis(5);
/// How long the server may take for a batch.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent, and how much of it is left.
pub(super) struct Supply {
    seeds: Vec<Vec<u8>>,
    frames: u64,
    /// Batches that were begun.
    begun: AtomicU64,
    seed: u64,
}

impl Supply {
    pub(super) fn new(frames: u64, seed: u64) -> Self {
        Self { seeds: seeds(), frames, begun: AtomicU64::new(0), seed }
    }

    /// A frame of the server's protocol with up to five mistakes.
    fn frame(&self, rng: &mut Rng) -> Vec<u8> {
        let mut frame = self.seeds[rng.below(self.seeds.len())].clone();
        for _ in 0..=rng.below(5) {
            let other = &self.seeds[rng.below(self.seeds.len())];
            mutate(&mut frame, other, rng);
        }
        frame
    }

    /// A frame that is none for a websocket, or not for long.
    fn last(&self, number: u64) -> Vec<u8> {
        let mut rng = self.rng(number);
        let mut out = Vec::new();
        raw::add_frame(&mut out, raw::TEXT, &self.frame(&mut rng));
        let at = rng.below(out.len().min(12));
        out[at] ^= 1 << rng.below(8);
        out
    }

    fn rng(&self, number: u64) -> Rng {
        Rng::new(self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(number))
    }

    /// Frames that the server reads to the end.
    fn batch(&self, number: u64) -> Vec<u8> {
        let mut rng = self.rng(number);
        let mut out = Vec::new();
        raw::add_frame(&mut out, raw::TEXT, b"40/rtc-cafe,");
        let mut sent = 0;
        while sent < BATCH {
            let frame = self.frame(&mut rng);
            let opcode = if rng.below(16) == 0 { raw::BINARY } else { raw::TEXT };
            if opcode == raw::BINARY || !ends(&frame) {
                raw::add_frame(&mut out, opcode, &frame);
                sent += 1;
            }
        }
        raw::add_frame(&mut out, raw::TEXT, format!("2{}", marker(number)).as_bytes());
        out
    }
}

/// Whether the server ends the connection on this text.
fn ends(frame: &[u8]) -> bool {
    frame.first() == Some(&b'1') || std::str::from_utf8(frame).is_err()
}

/// What tells that a batch was read.
fn marker(number: u64) -> String {
    format!("read-{number}.")
}

/// Sends batches on one connection until it is cut, or has sent enough.
pub(super) async fn send(attacker: Attacker, supply: Arc<Supply>) -> io::Result<Next> {
    if attacker.done.load(Ordering::Relaxed) >= supply.frames {
        return Ok(Next::Stop);
    }
    let mut stream = raw::websocket(&attacker).await?;
    let mut number = 0;
    for _ in 0..BATCHES {
        number = supply.begun.fetch_add(1, Ordering::Relaxed);
        let (batch, marker) = (supply.batch(number), marker(number));
        let (mut reading, mut writing) = stream.split();
        let exchange = async { tokio::try_join!(writing.write_all(&batch), find(&mut reading, &marker)) };
        timeout(PATIENCE, exchange).await.map_err(io::Error::from)??;
        attacker.count(BATCH as u64);
    }
    stream.write_all(&supply.last(number)).await?;
    let _ = timeout(LAST, raw::drain(&mut stream)).await;
    Ok(Next::Again)
}

/// Reads until the text has come.
async fn find(stream: &mut ReadHalf<'_>, text: &str) -> io::Result<()> {
    let text = format!("3{text}");
    let mut seen: Vec<u8> = Vec::new();
    let mut part = vec![0; 16 * 1024];
    loop {
        let length = stream.read(&mut part).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend_from_slice(&part[..length]);
        if seen.windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(());
        }
        seen.drain(..seen.len().saturating_sub(text.len()));
    }
}

/// The seeds of the fuzz targets as frames of a client.
fn seeds() -> Vec<Vec<u8>> {
    let event = |name: &str, payload: &str| format!("42/rtc-cafe,[\"{name}\",{payload}]");
    let mut seeds: Vec<String> = Vec::new();
    for room in JSON.iter().chain(ROOMS) {
        seeds.push(event("join", &format!(r#"{{"room":{room},"id":{room}}}"#)));
        seeds.push(event("leave", &format!(r#"{{"room":{room}}}"#)));
    }
    for payload in SIGNALS.iter().chain(FRAMES) {
        for name in ["offer", "answer", "candidate", "join", "hold", "acquire-peers-response", "request-sid", "error"] {
            seeds.push(event(name, payload));
        }
    }
    // Steps of scripts: `0t42[...]` of the engine, `0 join {...}` of the hub, `>offer {...}` of the client.
    for step in ENGINE.iter().flat_map(|script| script.lines()) {
        seeds.extend(step.get(2..).into_iter().flat_map(|packets| packets.split('\t')).map(str::to_owned));
    }
    for step in HUB.iter().chain(CLIENT).flat_map(|script| script.lines()) {
        let words = step.trim_start_matches(|first: char| first.is_ascii_digit() || first == '>').trim_start();
        seeds.extend(words.split_once(' ').map(|(name, payload)| event(name, payload)));
    }
    seeds.push(String::from("40/rtc-cafe,{\"signals\":[[\"request-sid\",{\"apiVersion\":\"1.0\"}]]}"));
    seeds.into_iter().map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_sends_the_same_frames() {
        let supply = |seed| Supply::new(1, seed);
        assert_eq!(supply(1).batch(7), supply(1).batch(7));
        assert_ne!(supply(1).batch(7), supply(2).batch(7));
        assert!(supply(1).seeds.len() > 150);
    }
}
