//! Puts frames together again from RTP packets, and says when what is left needs a keyframe.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{
    Codec, Frame, MAX_FRAME, RtpPacket, bitstream, h264, payload,
    reorder::{Reorder, Step},
};

/// What comes out of packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depacketized {
    /// A whole frame, which can be decoded after those before.
    Frame(Frame),
    /// Something is lost, and no frame of this video follows until a keyframe comes: ask for one.
    ///
    /// Repeated with every frame that is dropped, as the answer may be lost as well. Ask once in a while.
    KeyframeNeeded,
}

/// Makes frames of the packets of one track.
///
/// Packets may come in any order. One that is missing is waited for until half a second of media or 512 packets behind
/// it have come. Sound then goes on without it. Video goes on with the next keyframe.
///
/// ```
/// use rtc_cafe_client::media::{Codec, Depacketized, Depacketizer, Frame, Packetizer};
///
/// let mut packetizer = Packetizer::new(Codec::Opus, 0);
/// let frame = Frame { data: vec![0xf8, 0xff, 0xfe].into(), timestamp: 960, keyframe: true };
/// let mut depacketizer = Depacketizer::new(Codec::Opus);
/// for packet in packetizer.packetize(&frame) {
///     depacketizer.push(packet);
/// }
/// assert_eq!(depacketizer.poll(), Some(Depacketized::Frame(frame)));
/// assert_eq!(depacketizer.poll(), None);
/// ```
#[derive(Debug)]
pub struct Depacketizer {
    codec: Codec,
    packets: Reorder,
    current: Option<Assembly>,
    /// Whether the next packet is the first one of a frame, for nothing was lost since the end of the last one.
    at_boundary: bool,
    /// Whether what comes can be decoded.
    in_sync: bool,
    /// Whether an H.264 decoder knows how to read pictures.
    has_parameters: bool,
    output: VecDeque<Depacketized>,
}

/// A frame of which some packets are still to come.
#[derive(Debug)]
struct Assembly {
    timestamp: u32,
    data: BytesMut,
    /// Whether a NAL unit is not whole yet.
    fragment: bool,
    damaged: bool,
    /// Whether nothing can be missing before its first packet, such as parameter sets.
    from_start: bool,
}

impl Depacketizer {
    /// One that has seen nothing yet.
    pub const fn new(codec: Codec) -> Self {
        Self {
            codec,
            packets: Reorder::new(codec),
            current: None,
            at_boundary: false,
            in_sync: false,
            has_parameters: false,
            output: VecDeque::new(),
        }
    }

    /// Takes a packet; then [`poll`](Self::poll) until there is nothing.
    ///
    /// Late and repeated packets are ignored. So is everything beyond 1,024 packets or 4 MiB that were not polled.
    pub fn push(&mut self, packet: RtpPacket) {
        self.packets.push(packet);
    }

    /// The next frame, if one is whole.
    pub fn poll(&mut self) -> Option<Depacketized> {
        loop {
            if let Some(output) = self.output.pop_front() {
                return Some(output);
            }
            match self.packets.next() {
                Some(Step::Gap) => self.lose(),
                Some(Step::Packet(packet)) if packet.payload.is_empty() => {} // Padding, which probes the bandwidth.
                Some(Step::Packet(packet)) if self.codec == Codec::Opus => self.sound(packet),
                Some(Step::Packet(packet)) => self.picture(&packet),
                None => return None,
            }
        }
    }

    /// Says that the track has ended, so that nothing is waited for; then [`poll`](Self::poll) for what is left.
    ///
    /// A frame whose last packet never came is not among it.
    pub const fn finish(&mut self) {
        self.packets.end();
    }

    fn sound(&mut self, packet: RtpPacket) {
        let frame = Frame { data: packet.payload, timestamp: packet.timestamp, keyframe: true };
        self.output.push_back(Depacketized::Frame(frame));
    }

    fn lose(&mut self) {
        if let Some(current) = &mut self.current {
            current.damaged = true;
        }
        self.at_boundary = false;
        self.need_keyframe();
    }

    fn need_keyframe(&mut self) {
        if self.codec != Codec::Opus {
            self.in_sync = false;
            self.output.push_back(Depacketized::KeyframeNeeded);
        }
    }

    fn picture(&mut self, packet: &RtpPacket) {
        if self.current.as_ref().is_some_and(|current| current.timestamp != packet.timestamp) {
            self.close();
        }
        let starts = self.at_boundary || payload::starts_frame(self.codec, &packet.payload);
        let current = self.current.get_or_insert_with(|| Assembly {
            timestamp: packet.timestamp,
            data: BytesMut::new(),
            fragment: false,
            damaged: !starts,
            from_start: self.at_boundary,
        });
        self.at_boundary = false;
        current.append(self.codec, &packet.payload);
        if packet.marker {
            self.close();
            self.at_boundary = true;
        }
    }

    /// Ends the current frame.
    fn close(&mut self) {
        let Some(Assembly { timestamp, data, fragment, damaged, from_start }) = self.current.take() else { return };
        self.at_boundary = !damaged;
        if damaged || fragment {
            return self.need_keyframe();
        }
        if data.is_empty() {
            return;
        }
        let keyframe = bitstream::is_keyframe(self.codec, &data);
        self.in_sync |= keyframe && self.can_start(&data, from_start);
        if !self.in_sync {
            return self.need_keyframe();
        }
        self.output.push_back(Depacketized::Frame(Frame { data: Bytes::from(data), timestamp, keyframe }));
    }

    /// An H.264 keyframe needs parameter sets, before its slices or once before.
    fn can_start(&mut self, keyframe: &[u8], from_start: bool) -> bool {
        let has_parameters = || h264::nals(keyframe).any(|nal| h264::kind(nal) == h264::SPS);
        if self.codec != Codec::H264 || has_parameters() {
            self.has_parameters = true;
            return true;
        }
        self.has_parameters && from_start
    }
}

impl Assembly {
    fn append(&mut self, codec: Codec, payload: &[u8]) {
        let fits = self.data.len() + payload.len() <= MAX_FRAME;
        if self.damaged || !fits || payload::append(codec, payload, &mut self.data, &mut self.fragment).is_none() {
            self.damaged = true;
            self.data = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Packetizer, *};

    const ALL: [Codec; 4] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264];

    /// Frames with a keyframe every five, of many sizes.
    fn frames(codec: Codec, count: u32) -> Vec<Frame> {
        let frame = |index: u32| {
            let keyframe = codec == Codec::Opus || index.is_multiple_of(5);
            let mut data = match (codec, keyframe) {
                (Codec::Opus, _) => vec![0xf8],
                (Codec::Vp8, true) => vec![0x10, 2, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0],
                (Codec::Vp8, false) => vec![0x11, 2, 0],
                (Codec::Vp9, true) => vec![0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0e, 0xf6],
                (Codec::Vp9, false) => vec![0x86],
                (Codec::H264, true) => vec![0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 0x88],
                (Codec::H264, false) => vec![0, 0, 0, 1, 0x41, 0x9a],
            };
            let size = [20, 1_300, 5_000, 100][index as usize % 4];
            data.resize(data.len() + size, 1 + (index % 250) as u8);
            let step = if codec == Codec::Opus { 960 } else { 3_000 };
            Frame { data: data.into(), timestamp: (index * step).wrapping_sub(20_000), keyframe }
        };
        (0..count).map(frame).collect()
    }

    fn packets(codec: Codec, frames: &[Frame]) -> Vec<RtpPacket> {
        let mut packetizer = Packetizer::new(codec, 65_500);
        frames.iter().flat_map(|frame| packetizer.packetize(frame)).collect()
    }

    fn depacketize(codec: Codec, packets: impl IntoIterator<Item = RtpPacket>) -> Vec<Depacketized> {
        let mut depacketizer = Depacketizer::new(codec);
        let mut output = Vec::new();
        for packet in packets {
            depacketizer.push(packet);
            output.extend(std::iter::from_fn(|| depacketizer.poll()));
        }
        depacketizer.finish();
        output.extend(std::iter::from_fn(|| depacketizer.poll()));
        output
    }

    fn whole(frames: &[Frame]) -> Vec<Depacketized> {
        frames.iter().cloned().map(Depacketized::Frame).collect()
    }

    #[test]
    fn lost_packets_cost_frames_until_the_next_keyframe() {
        for codec in [Codec::Vp8, Codec::Vp9, Codec::H264] {
            let frames = frames(codec, 60);
            let packets = packets(codec, &frames);
            let lost = packets.iter().position(|packet| packet.timestamp == frames[6].timestamp).unwrap() + 1;
            let output =
                depacketize(codec, packets.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, p)| p.clone()));
            let got: Vec<_> =
                output.iter().filter(|output| **output != Depacketized::KeyframeNeeded).cloned().collect();
            assert_eq!(got, [whole(&frames[..6]), whole(&frames[10..])].concat(), "{codec}");
            assert_eq!(output[6], Depacketized::KeyframeNeeded);
        }
    }

    #[test]
    fn sound_goes_on_behind_a_gap() {
        let frames = frames(Codec::Opus, 60);
        let mut packets = packets(Codec::Opus, &frames);
        packets.remove(3);
        let mut depacketizer = Depacketizer::new(Codec::Opus);
        let mut count = 0;
        for packet in packets.drain(..20) {
            depacketizer.push(packet);
            count += std::iter::from_fn(|| depacketizer.poll()).count();
        }
        assert_eq!(count, 3, "it waits for half a second");
        for packet in packets {
            depacketizer.push(packet);
            count += std::iter::from_fn(|| depacketizer.poll()).count();
        }
        assert_eq!(count, 59);
    }

    #[test]
    fn a_stream_that_is_joined_begins_with_a_keyframe() {
        for codec in [Codec::Vp8, Codec::Vp9, Codec::H264] {
            let frames = frames(codec, 20);
            let output = depacketize(codec, packets(codec, &frames[2..]));
            assert_eq!(output, [vec![Depacketized::KeyframeNeeded; 3], whole(&frames[5..])].concat(), "{codec}");
        }
    }

    #[test]
    fn an_h264_keyframe_without_parameters_is_of_no_use_at_first() {
        let idr = Frame { data: vec![0, 0, 0, 1, 0x65, 0x88, 7].into(), timestamp: 0, keyframe: true };
        assert_eq!(depacketize(Codec::H264, packets(Codec::H264, &[idr])), [Depacketized::KeyframeNeeded]);
    }

    #[test]
    fn padding_is_no_loss() {
        let frames = frames(Codec::Vp8, 3);
        let mut packets = packets(Codec::Vp8, &frames);
        let end = packets.iter().position(|packet| packet.marker).unwrap();
        for packet in &mut packets[end + 1..] {
            packet.sequence += 1;
        }
        let padding = RtpPacket {
            sequence: packets[end].sequence + 1,
            payload: Bytes::new(),
            marker: false,
            ..packets[end].clone()
        };
        packets.insert(end + 1, padding);
        assert_eq!(depacketize(Codec::Vp8, packets), whole(&frames));
    }

    #[test]
    fn a_source_that_begins_anew_is_followed() {
        let frames = frames(Codec::Opus, 10);
        let mut later = packets(Codec::Opus, &frames);
        later.iter_mut().for_each(|packet| packet.sequence += 1 << 20);
        let output = depacketize(Codec::Opus, later.into_iter().chain(packets(Codec::Opus, &frames)));
        assert_eq!(output, [whole(&frames), whole(&frames[1..])].concat());
    }

    proptest! {
        #[test]
        fn order_does_not_matter(seed in prop::collection::vec(0_usize..12, 400), twice in 0_usize..100) {
            for codec in ALL {
                let frames = frames(codec, 60);
                let packets = packets(codec, &frames);
                let mut late: Vec<_> = packets.iter().enumerate().map(|(at, packet)| {
                    // The first packet of sound is the earliest one that counts.
                    (if at == 0 { 0 } else { at + seed[at % seed.len()] }, packet.clone())
                }).collect();
                late.push((twice + 5, packets[twice % packets.len()].clone()));
                late.sort_by_key(|(at, _)| *at);
                prop_assert_eq!(depacketize(codec, late.into_iter().map(|(_, packet)| packet)), whole(&frames));
            }
        }

        #[test]
        fn whatever_is_lost_the_rest_is_whole(lost in prop::collection::vec(any::<prop::sample::Index>(), 1..20)) {
            for codec in ALL {
                let frames = frames(codec, 60);
                let mut packets = packets(codec, &frames);
                for lost in &lost {
                    packets.remove(lost.index(packets.len()));
                }
                let mut last: Option<usize> = None;
                for output in depacketize(codec, packets) {
                    let Depacketized::Frame(frame) = output else { continue };
                    let at = frames.iter().position(|sent| *sent == frame);
                    prop_assert!(at.is_some() && at > last, "a frame that was never sent");
                    prop_assert!(last.map(|last| last + 1) == at || frame.keyframe, "a frame that can't be decoded");
                    last = at;
                }
            }
        }

        #[test]
        fn hostile_packets_do_no_harm(
            packets in prop::collection::vec((any::<u16>(), 0..5_u32, any::<bool>(), prop::collection::vec(any::<u8>(), 0..30)), 0..80),
            wide in any::<bool>(),
        ) {
            for codec in ALL {
                let packet = |(sequence, timestamp, marker, payload): &(u16, u32, bool, Vec<u8>)| RtpPacket {
                    sequence: if wide { u64::MAX - u64::from(*sequence) } else { u64::from(sequence % 100) },
                    timestamp: timestamp.wrapping_mul(0x3fff_ffff),
                    marker: *marker,
                    payload: Bytes::copy_from_slice(payload),
                };
                depacketize(codec, packets.iter().map(packet));
            }
        }
    }

    #[test]
    fn an_endless_frame_does_not_grow() {
        let mut depacketizer = Depacketizer::new(Codec::Vp8);
        for sequence in 0..12_000 {
            let payload = Bytes::from(vec![if sequence == 0 { 0x10 } else { 0 }; 1_000]);
            depacketizer.push(RtpPacket { sequence, timestamp: 0, marker: false, payload });
            assert_eq!(depacketizer.poll(), None);
            assert!(depacketizer.current.as_ref().unwrap().data.len() <= MAX_FRAME);
        }
    }

    #[test]
    fn what_is_not_polled_does_not_grow() {
        let mut depacketizer = Depacketizer::new(Codec::Vp8);
        for sequence in 0..10_000 {
            let payload = Bytes::from_static(&[0x10; 1_000]);
            depacketizer.push(RtpPacket { sequence, timestamp: 0, marker: true, payload });
        }
        assert_eq!(std::iter::from_fn(|| depacketizer.poll()).count(), 1_024);
    }
}
