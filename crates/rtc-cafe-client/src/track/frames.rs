//! The frames of a peer's track, put together from its packets.

use std::time::{Duration, Instant};

use super::{Packets, RemoteTrack};
use crate::media::{Codec, Depacketized, Depacketizer, Frame};

/// How often a keyframe is asked for while one is needed.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The frames of a peer's track, whole and in order. Where video is lost, it asks for a keyframe and goes on with that.
#[derive(Debug)]
pub struct Frames {
    track: RemoteTrack,
    packets: Packets,
    depacketizer: Option<(Codec, Depacketizer)>,
    asked: Option<Instant>,
    ended: bool,
}

impl Frames {
    pub(super) fn new(track: RemoteTrack) -> Self {
        let packets = track.packets();
        let mut frames = Self { track, packets, depacketizer: None, asked: None, ended: false };
        frames.ask_for_keyframe();
        frames
    }

    /// The next frame and its codec, which may change in the middle of a track; `None` when the track has ended.
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<(Codec, Frame)> {
        loop {
            if let Some(frame) = self.poll() {
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            match self.packets.recv().await {
                Some((codec, packet)) => {
                    if self.depacketizer.as_ref().is_none_or(|(of, _)| *of != codec) {
                        self.depacketizer = Some((codec, Depacketizer::new(codec)));
                    }
                    if let Some((_, depacketizer)) = &mut self.depacketizer {
                        depacketizer.push(packet);
                    }
                }
                None => self.end(),
            }
        }
    }

    /// Takes nothing more in; what has come is still given out.
    pub(super) fn end(&mut self) {
        self.ended = true;
        if let Some((_, depacketizer)) = &mut self.depacketizer {
            depacketizer.finish();
        }
    }

    fn poll(&mut self) -> Option<(Codec, Frame)> {
        loop {
            let (codec, depacketizer) = self.depacketizer.as_mut()?;
            match depacketizer.poll()? {
                Depacketized::Frame(frame) => return Some((*codec, frame)),
                Depacketized::KeyframeNeeded => self.ask_for_keyframe(),
            }
        }
    }

    fn ask_for_keyframe(&mut self) {
        if self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            self.asked = Some(Instant::now());
            self.track.request_keyframe();
        }
    }
}
