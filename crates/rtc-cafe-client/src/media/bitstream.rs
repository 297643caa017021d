//! Reads from encoded data what packets and files must know of it: keyframes, picture sizes, durations.

use super::{Codec, h264};

/// Whether a frame can be decoded without earlier ones.
pub(super) fn is_keyframe(codec: Codec, data: &[u8]) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::Vp8 => vp8_size(data).is_some(),
        Codec::Vp9 => vp9_is_keyframe(data),
        Codec::H264 => h264::nals(data).any(|nal| h264::kind(nal) == h264::IDR),
    }
}

/// Width and height of the pictures from this keyframe on.
pub(super) fn picture_size(codec: Codec, data: &[u8]) -> Option<(u32, u32)> {
    match codec {
        Codec::Opus => None,
        Codec::Vp8 => vp8_size(data),
        Codec::Vp9 => vp9_size(data),
        Codec::H264 => {
            let sps = h264::nals(data).find(|nal| h264::kind(nal) == h264::SPS)?;
            h264::Sps::parse(sps).map(|sps| (sps.width, sps.height))
        }
    }
}

/// How long an Opus packet plays, in samples at 48 kHz (RFC 6716, section 3.1); none if it is malformed.
pub(super) fn opus_duration(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let duration = frames * opus_frame_size(toc);
    // 120 ms are the most that a packet may hold (RFC 6716, section 3.2.5).
    (1..=5760).contains(&duration).then_some(duration)
}

/// Samples at 48 kHz in each frame of a packet with this first byte (RFC 6716, table 2).
pub(super) const fn opus_frame_size(toc: u8) -> u32 {
    match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][(config & 3) as usize],
        config @ 12..=15 => [480, 960][(config & 1) as usize],
        config => [120, 240, 480, 960][(config & 3) as usize],
    }
}

/// The header that only keyframes have (RFC 6386, section 9.1).
fn vp8_size(data: &[u8]) -> Option<(u32, u32)> {
    let &[tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = data.first_chunk::<10>()? else { return None };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    (tag & 1 == 0).then(|| (side(w0, w1), side(h0, h1)))
}

/// The first bits of the uncompressed header up to the frame type (VP9 bitstream specification, section 6.2).
fn vp9_start(data: &[u8]) -> Option<(BitReader<'_>, u32, bool)> {
    let mut bits = BitReader::new(data);
    if bits.read(2)? != 2 {
        return None;
    }
    let profile = bits.read(1)? | bits.read(1)? << 1;
    if profile == 3 {
        bits.read(1)?;
    }
    let shows_existing = bits.flag()?;
    let keyframe = !shows_existing && !bits.flag()?;
    Some((bits, profile, keyframe))
}

fn vp9_is_keyframe(data: &[u8]) -> bool {
    vp9_start(data).is_some_and(|(_, _, keyframe)| keyframe)
}

/// The size in the uncompressed header of a keyframe, behind its colours.
fn vp9_size(data: &[u8]) -> Option<(u32, u32)> {
    const SRGB: u32 = 7;
    let (mut bits, profile, true) = vp9_start(data)? else { return None };
    bits.read(2)?;
    if bits.read(24)? != 0x49_83_42 {
        return None;
    }
    if profile >= 2 {
        bits.read(1)?;
    }
    let all_samplings = profile & 1 == 1;
    if bits.read(3)? != SRGB {
        bits.read(if all_samplings { 4 } else { 1 })?;
    } else if all_samplings {
        bits.read(1)?;
    }
    Some((bits.read(16)? + 1, bits.read(16)? + 1))
}

/// Reads bits, the highest of each byte first.
#[derive(Debug, Clone)]
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// At most 32 bits.
    pub(super) fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.data.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        Some(self.read(1)? == 1)
    }

    /// An unsigned Exp-Golomb code (H.264, section 9.1).
    pub(super) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1_u64 << zeros) - 1) as u32 + self.read(zeros)?)
    }

    /// A signed Exp-Golomb code (H.264, section 9.1.1).
    pub(super) fn signed(&mut self) -> Option<i32> {
        let code = i64::from(self.unsigned()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { magnitude } else { -magnitude }).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn opus_packets_tell_their_duration() {
        assert_eq!(opus_duration(&[0b0000_1000]), Some(960), "SILK of 20 ms, alone");
        assert_eq!(opus_duration(&[0b1110_0001]), Some(240), "CELT of 2.5 ms, two of one size");
        assert_eq!(opus_duration(&[0b0111_1010]), Some(1920), "hybrid of 20 ms, two of different sizes");
        assert_eq!(opus_duration(&[0b0001_1011, 2]), Some(5760), "SILK of 60 ms, two by count");
        for malformed in [&[][..], &[0b11], &[0b11, 0], &[0b0001_1011, 3]] {
            assert_eq!(opus_duration(malformed), None);
        }
    }

    #[test]
    fn keyframes_tell_their_size() {
        let vp8 = [0x10, 2, 0, 0x9d, 1, 0x2a, 0x40, 0x41, 0xf0, 0];
        assert_eq!(picture_size(Codec::Vp8, &vp8), Some((320, 240)));
        assert!(is_keyframe(Codec::Vp8, &vp8) && !is_keyframe(Codec::Vp8, &[0x11, 2, 0, 0x9d, 1, 0x2a, 1, 0, 1, 0]));
        let vp9 = [0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0e, 0xf6];
        assert_eq!(picture_size(Codec::Vp9, &vp9), Some((320, 240)));
        assert!(
            is_keyframe(Codec::Vp9, &vp9) && !is_keyframe(Codec::Vp9, &[0x86]) && !is_keyframe(Codec::Vp9, &[0x88])
        );
    }

    #[test]
    fn reads_exp_golomb_codes() {
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([(); 4].map(|()| bits.unsigned()), [Some(0), Some(1), Some(2), Some(3)]);
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([(); 4].map(|()| bits.signed()), [Some(0), Some(1), Some(-1), Some(2)]);
        assert_eq!(BitReader::new(&[0; 9]).unsigned(), None);
        assert_eq!(BitReader::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]).unsigned(), Some(u32::MAX - 1));
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..60)) {
            for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264] {
                is_keyframe(codec, &data);
                picture_size(codec, &data);
            }
            opus_duration(&data);
        }
    }
}
