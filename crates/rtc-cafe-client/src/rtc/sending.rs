//! Our tracks on one connection: which m-line each goes out on, and the numbers of its packets there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rtc_cafe_core::{TrackId, TrackKind, wire::peer::Mids};
use str0m::{
    Rtc,
    change::SdpApi,
    format::PayloadParams,
    media::{Direction, MediaKind, Mid, Pt},
};

use crate::media::{Codec, RtpPacket};

/// The tracks that are sent, or will be from the next offer on.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    tracks: BTreeMap<TrackId, Track>,
    /// M-lines of ours whose track was removed; the next offer silences them.
    removed: Vec<Mid>,
    /// Those that the offer under way silences.
    silenced: Vec<Mid>,
    /// M-lines of ours that a finished negotiation has silenced, to be used again. One is never given to another track
    /// within a single offer, because then the peer would see no change.
    idle: Vec<(Mid, TrackKind)>,
    lines: BTreeMap<Mid, Line>,
}

#[derive(Debug)]
struct Track {
    codec: Codec,
    mid: Option<Mid>,
    /// Whether the other side has answered the offer that it is in.
    answered: bool,
    /// The payload type, once negotiated.
    pt: Option<Pt>,
}

/// The numbers on an m-line, which go on whichever track it carries.
#[derive(Debug)]
struct Line {
    kind: TrackKind,
    /// Whether both sides know it.
    negotiated: bool,
    feed: Option<u64>,
    /// The number of the feed's first packet here.
    first: u64,
    /// What is added to the numbers of the present feed.
    sequence_offset: u64,
    timestamp_offset: u32,
    /// The last that were sent.
    sequence: u64,
    timestamp: u32,
    sent: Option<Instant>,
}

/// Where a packet goes.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) mid: Mid,
    pub(crate) pt: Pt,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
}

impl Sending {
    pub(crate) fn add(&mut self, id: TrackId, codec: Codec) {
        self.tracks.entry(id).or_insert(Track { codec, mid: None, answered: false, pt: None });
    }

    pub(crate) fn remove(&mut self, id: &TrackId) {
        self.removed.extend(self.tracks.remove(id).and_then(|track| track.mid));
    }

    /// Puts what has changed into an offer.
    pub(crate) fn offer(&mut self, changes: &mut SdpApi<'_>) {
        for mid in self.removed.drain(..) {
            changes.set_direction(mid, Direction::Inactive);
            self.silenced.push(mid);
        }
        for (id, track) in self.tracks.iter_mut().filter(|(_, track)| track.mid.is_none()) {
            let kind = track.codec.kind();
            let free = self.idle.iter().position(|&(_, idle)| idle == kind);
            let mid = if let Some(at) = free {
                let (mid, _) = self.idle.remove(at);
                changes.set_direction(mid, Direction::SendOnly);
                mid
            } else {
                let media = if kind == TrackKind::Audio { MediaKind::Audio } else { MediaKind::Video };
                changes.add_media(media, Direction::SendOnly, None, Some(id.as_str().to_owned()), None)
            };
            track.mid = Some(mid);
            self.lines.entry(mid).or_insert_with(|| Line::new(kind));
        }
    }

    /// Which track goes out on which m-line.
    pub(crate) fn mids(&self) -> Mids {
        self.tracks.iter().filter_map(|(id, track)| Some((track.mid?.to_string(), id.clone()))).collect()
    }

    /// The offer was answered. Returns the tracks that can be sent from now on.
    pub(crate) fn settle(&mut self) -> Vec<TrackId> {
        let mut ready = Vec::new();
        for (id, track) in self.tracks.iter_mut().filter(|(_, track)| !track.answered && track.mid.is_some()) {
            track.answered = true;
            if let Some(line) = track.mid.and_then(|mid| self.lines.get_mut(&mid)) {
                line.negotiated = true;
            }
            ready.push(id.clone());
        }
        for mid in std::mem::take(&mut self.silenced) {
            if let Some(line) = self.lines.get_mut(&mid) {
                line.feed = None;
                self.idle.push((mid, line.kind));
            }
        }
        ready
    }

    /// The offer is taken back: what it would have changed waits for the next one. New m-lines of it never come to be.
    pub(crate) fn take_back(&mut self) {
        for track in self.tracks.values_mut().filter(|track| !track.answered) {
            let Some(mid) = track.mid.take() else { continue };
            if let Some(line) = self.lines.get(&mid).filter(|line| line.negotiated) {
                self.idle.push((mid, line.kind));
            }
        }
        self.removed.append(&mut self.silenced);
        self.lines.retain(|_, line| line.negotiated);
        self.removed.retain(|mid| self.lines.contains_key(mid));
    }

    /// The track on an m-line.
    pub(crate) fn by_mid(&self, mid: Mid) -> Option<&TrackId> {
        self.tracks.iter().find(|(_, track)| track.mid == Some(mid)).map(|(id, _)| id)
    }

    /// Where and with which numbers a packet goes out; nowhere if the peer does not get the track or knows no such codec.
    pub(crate) fn place(
        &mut self,
        id: &TrackId,
        feed: (u64, Codec),
        packet: &RtpPacket,
        rtc: &Rtc,
        now: Instant,
    ) -> Option<Outgoing> {
        let (mid, pt) = self.negotiated(id, feed.1, rtc)?;
        let (sequence, timestamp) = self.lines.get_mut(&mid)?.number(feed.0, packet, feed.1, now)?;
        Some(Outgoing { mid, pt, sequence, timestamp })
    }

    /// Whether a packet would be the first of this feed here.
    pub(crate) fn begins(&mut self, id: &TrackId, feed: (u64, Codec), rtc: &Rtc) -> bool {
        let line = self.negotiated(id, feed.1, rtc).and_then(|(mid, _)| self.lines.get(&mid));
        line.is_some_and(|line| line.feed != Some(feed.0))
    }

    /// The m-line and payload type of a track, once both sides agree on them. Another codec of the same kind may take the
    /// place of the first, because an m-line takes them all.
    fn negotiated(&mut self, id: &TrackId, codec: Codec, rtc: &Rtc) -> Option<(Mid, Pt)> {
        let track = self.tracks.get_mut(id)?;
        if track.codec != codec {
            (track.codec, track.pt) = (codec, None);
        }
        let mid = track.mid.filter(|_| track.answered)?;
        let pt = match track.pt {
            Some(pt) => pt,
            None => *track.pt.insert(payload_type(rtc, mid, codec)?),
        };
        Some((mid, pt))
    }
}

impl Line {
    const fn new(kind: TrackKind) -> Self {
        Self {
            kind,
            negotiated: false,
            feed: None,
            first: 0,
            sequence_offset: 0,
            timestamp_offset: 0,
            sequence: 0,
            timestamp: 0,
            sent: None,
        }
    }

    /// The numbers of a packet here. Where another feed begins, they go on behind those of the one before, in time as
    /// long after it as it is; what comes late from before that is dropped.
    fn number(&mut self, feed: u64, packet: &RtpPacket, codec: Codec, now: Instant) -> Option<(u64, u32)> {
        if self.feed != Some(feed) {
            self.feed = Some(feed);
            let pause = self.sent.map_or(Duration::ZERO, |sent| now.saturating_duration_since(sent));
            let pause = (pause.as_secs_f64() * f64::from(codec.clock_rate())) as u64;
            self.first = self.sequence + 1;
            self.sequence_offset = self.first.wrapping_sub(packet.sequence);
            self.timestamp_offset = self.timestamp.wrapping_add(pause as u32).wrapping_sub(packet.timestamp);
        }
        let sequence = packet.sequence.wrapping_add(self.sequence_offset);
        if sequence < self.first {
            return None;
        }
        if sequence.abs_diff(self.sequence) > 1 << 15 {
            // The source has begun anew.
            self.feed = None;
            return self.number(feed, packet, codec, now);
        }
        let timestamp = packet.timestamp.wrapping_add(self.timestamp_offset);
        if sequence > self.sequence {
            (self.sequence, self.timestamp, self.sent) = (sequence, timestamp, Some(now));
        }
        Some((sequence, timestamp))
    }
}

/// The payload type that both sides have for a codec on an m-line.
fn payload_type(rtc: &Rtc, mid: Mid, of: Codec) -> Option<Pt> {
    let negotiated = rtc.media(mid)?.remote_pts();
    let params = rtc.codec_config().params().iter();
    // Mode 1 (RFC 6184 section 6.3) is what is sent; other codecs have no modes.
    let mode = |params: &&PayloadParams| of != Codec::H264 || params.spec().format.packetization_mode == Some(1);
    let usable = params.filter(|params| codec(params.spec().codec) == Some(of)).filter(mode);
    usable.map(PayloadParams::pt).find(|pt| negotiated.contains(pt))
}

/// The codec as str0m calls it, if it is one of ours.
pub(crate) const fn codec(codec: str0m::format::Codec) -> Option<Codec> {
    Some(match codec {
        str0m::format::Codec::Opus => Codec::Opus,
        str0m::format::Codec::Vp8 => Codec::Vp8,
        str0m::format::Codec::Vp9 => Codec::Vp9,
        str0m::format::Codec::H264 => Codec::H264,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn packet(sequence: u64, timestamp: u32) -> RtpPacket {
        RtpPacket { sequence, timestamp, marker: false, payload: Bytes::new() }
    }

    #[test]
    fn numbers_go_on_when_another_feed_begins() {
        let start = Instant::now();
        let mut line = Line::new(TrackKind::Video);
        let mut number = |feed, sequence, timestamp, seconds| {
            line.number(feed, &packet(sequence, timestamp), Codec::Vp8, start + Duration::from_secs(seconds))
        };
        assert_eq!(number(1, 700_000, 5000, 0), Some((1, 0)));
        assert_eq!(number(1, 700_002, 8000, 0), Some((3, 3000)));
        assert_eq!(number(1, 700_001, 8000, 0), Some((2, 3000)), "out of order");
        assert_eq!(number(2, 9, u32::MAX, 2), Some((4, 183_000)), "two seconds later");
        assert_eq!(number(2, 10, 2999, 2), Some((5, 186_000)), "a timestamp that wraps");
        assert_eq!(number(2, 8, 0, 2), None, "from before the beginning");
        assert_eq!(number(2, 90_000_000, 0, 2), Some((6, 186_000)), "a source that begins anew");
    }
}
