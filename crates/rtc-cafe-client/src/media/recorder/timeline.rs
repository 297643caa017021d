//! Turns the timestamps of RTP, which begin anywhere and wrap, into times from the beginning of a recording.

use crate::media::Codec;

/// Longer gaps, in seconds, are jumps of the clock and not silence.
const LONGEST_GAP: u64 = 3_600;

#[derive(Debug)]
pub(super) struct Timeline {
    rate: u64,
    last: Option<u32>,
    at: u64,
    /// How long the last frame plays: as it says itself, or as long as the one before.
    duration: u64,
}

impl Timeline {
    pub(super) const fn new(codec: Codec) -> Self {
        let rate = codec.clock_rate() as u64;
        Self { rate, last: None, at: 0, duration: rate / 30 }
    }

    /// When a frame plays, in units of the clock rate. Time never stands still, nor goes back.
    pub(super) fn place(&mut self, timestamp: u32, duration: Option<u64>) -> u64 {
        if let Some(last) = self.last {
            let step = u64::from(timestamp.wrapping_sub(last));
            let is_jump = step >= 1 << 31 || step > LONGEST_GAP * self.rate;
            // Matroska counts milliseconds.
            let step = if is_jump { self.duration } else { step.max(self.rate / 1_000) };
            self.at += step;
            if step < self.rate {
                self.duration = step;
            }
        }
        self.last = Some(timestamp);
        self.duration = duration.unwrap_or(self.duration);
        self.at
    }

    /// When the last frame has played.
    pub(super) const fn end(&self) -> u64 {
        if self.last.is_some() { self.at + self.duration } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_with_zero_wraps_and_ignores_jumps() {
        let mut timeline = Timeline::new(Codec::Vp8);
        assert_eq!(timeline.end(), 0);
        let start = u32::MAX - 1_000;
        let mut place = |offset: u32| timeline.place(start.wrapping_add(offset), None);
        assert_eq!([0, 1_500, 3_000, 903_000].map(&mut place), [0, 1_500, 3_000, 903_000]);
        assert_eq!(place(0), 904_500, "a source that begins anew");
        assert_eq!(place(0), 904_590, "two at once");
        assert_eq!(timeline.end(), 904_680);
    }

    #[test]
    fn sound_tells_its_own_duration() {
        let mut timeline = Timeline::new(Codec::Opus);
        timeline.place(5, Some(960));
        timeline.place(965, Some(2_880));
        assert_eq!(timeline.end(), 960 + 2_880);
    }
}
