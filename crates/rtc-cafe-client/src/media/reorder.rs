//! Puts packets in order, and decides when one that is missing will not come any more.

use std::collections::BTreeMap;

use super::{Codec, RtpPacket, payload};

/// Packets behind a missing one, at most.
const WINDOW: usize = 512;
/// How far they may get ahead of it, as a part of a second; if they are so many, as sound is not sent in silence.
const PATIENCE: u32 = 2;
const DISORDER: usize = 5;
/// What may wait in all.
const MAX_PACKETS: usize = 1_024;
const MAX_BYTES: usize = 4 << 20;
/// How many packets may wait for the first packet of a first frame.
const START: usize = 16;
/// Two packets in succession that are so late belong to a source that began anew (RFC 3550, appendix A.1).
const RESTART: u64 = 1_024;

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    Packet(RtpPacket),
    /// Something is lost before the next packet.
    Gap,
}

/// The packets of one source.
#[derive(Debug)]
pub(super) struct Reorder {
    codec: Codec,
    waiting: BTreeMap<u64, RtpPacket>,
    bytes: usize,
    /// The sequence number that is due, once it is known.
    next: Option<u64>,
    /// The one that would prove that the source began anew.
    restart: Option<u64>,
    ended: bool,
}

impl Reorder {
    pub(super) const fn new(codec: Codec) -> Self {
        Self { codec, waiting: BTreeMap::new(), bytes: 0, next: None, restart: None, ended: false }
    }

    /// Takes a packet, unless it is late, a duplicate, or one too many.
    pub(super) fn push(&mut self, packet: RtpPacket) {
        let sequence = packet.sequence;
        if let Some(late) = self.next.and_then(|next| next.checked_sub(sequence)).filter(|late| *late > 0) {
            if self.restart != Some(sequence) {
                self.restart = (late > RESTART).then_some(sequence.saturating_add(1));
                return;
            }
            self.waiting.clear();
            self.bytes = 0;
            // The one before proved nothing then and is gone now, which makes it a gap.
            self.next = Some(sequence.saturating_sub(1));
            self.restart = None;
        }
        if self.waiting.len() < MAX_PACKETS && self.bytes + packet.payload.len() <= MAX_BYTES {
            self.bytes += packet.payload.len();
            if let Some(duplicate) = self.waiting.insert(sequence, packet) {
                self.bytes -= duplicate.payload.len();
            }
        }
    }

    /// Nothing comes any more, so that nothing is waited for.
    pub(super) const fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn next(&mut self) -> Option<Step> {
        let (first, packet) = self.waiting.first_key_value()?;
        let first = *first;
        match self.next {
            None if !self.ended && !self.can_start(packet) => return None,
            Some(next) if next < first => {
                if !self.ended && !self.is_overdue() {
                    return None;
                }
                self.next = Some(first);
                return Some(Step::Gap);
            }
            _ => {}
        }
        let (_, packet) = self.waiting.pop_first()?;
        self.bytes -= packet.payload.len();
        self.next = Some(first.saturating_add(1));
        Some(Step::Packet(packet))
    }

    fn can_start(&self, packet: &RtpPacket) -> bool {
        payload::starts_frame(self.codec, &packet.payload) || self.waiting.len() >= START || self.is_overdue()
    }

    fn is_overdue(&self) -> bool {
        let mut packets = self.waiting.values();
        let (Some(first), last) = (packets.next(), packets.next_back()) else { return false };
        let ahead = last.map_or(0, |last| last.timestamp.wrapping_sub(first.timestamp));
        let ahead_in_time =
            self.waiting.len() >= DISORDER && ahead < 1 << 31 && ahead >= self.codec.clock_rate() / PATIENCE;
        ahead_in_time || self.waiting.len() >= WINDOW || self.bytes >= MAX_BYTES / 2
    }
}
