//! Plays a media file as a track, in real time.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Feed, RtpSender};
use crate::{
    driver::Input,
    media::{MediaReader, Packetizer, ReadError},
};

/// A file that is played from when somebody first wants it.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) reader: MediaReader,
    pub(crate) repeats: bool,
}

impl Player {
    /// Plays it on a thread of its own, because reading files blocks. The thread ends with the file or the track.
    pub(crate) fn start(self, feed: Arc<Feed>) {
        let playing = thread::Builder::new().name("rtc-cafe-play".to_owned());
        let sender = RtpSender { feed: feed.clone() };
        let player = move || {
            if let Err(error) = self.play(&sender) {
                sender.feed.report(Input::MediaFailed(error.to_string()));
            }
        };
        if let Err(error) = playing.spawn(player) {
            // The sender went with it, so that the track has ended.
            tracing::error!(%error, "no thread to play a file");
        }
    }

    fn play(mut self, sender: &RtpSender) -> Result<(), ReadError> {
        let feed = &sender.feed;
        if !feed.wait_for_listener() {
            return Ok(());
        }
        let mut packetizer = Packetizer::new(self.reader.codec(), 0);
        let clock_rate = u64::from(self.reader.codec().clock_rate());
        let start = Instant::now();
        // Timestamps wrap; what has been played does not.
        let (mut played, mut last) = (0_u64, None);
        let mut empty = true;
        loop {
            let Some(frame) = self.reader.next_frame()? else {
                if !self.repeats || empty {
                    return Ok(());
                }
                self.reader.rewind()?;
                empty = true;
                continue;
            };
            empty = false;
            played += u64::from(last.map_or(0, |last| frame.timestamp.wrapping_sub(last)));
            last = Some(frame.timestamp);
            let due = start + Duration::from_micros(played.saturating_mul(1_000_000) / clock_rate);
            if !feed.wait_until(due) {
                return Ok(());
            }
            for (at, packet) in packetizer.packetize(&frame).into_iter().enumerate() {
                if sender.send_kept(packet, frame.keyframe && at == 0).is_err() {
                    return Ok(());
                }
            }
        }
    }
}
