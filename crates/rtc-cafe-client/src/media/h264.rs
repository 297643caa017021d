//! H.264 as a byte stream (ITU-T H.264, annex B): its NAL units, and what their headers say.

use super::bitstream::BitReader;

pub(super) const IDR: u8 = 5;
pub(super) const SEI: u8 = 6;
pub(super) const SPS: u8 = 7;
pub(super) const PPS: u8 = 8;
pub(super) const DELIMITER: u8 = 9;
pub(super) const FILLER: u8 = 12;

/// What separates NAL units.
pub(super) const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The type of a NAL unit; 0, which none has, for an empty one.
pub(super) fn kind(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1f)
}

/// Whether it is a part of a picture.
pub(super) fn is_slice(nal: &[u8]) -> bool {
    matches!(kind(nal), 1..=IDR)
}

/// Whether it is the first part of a picture, by the number of its first macroblock. It has no other mark.
pub(super) fn is_first_slice(nal: &[u8]) -> bool {
    matches!(kind(nal), 1 | 2 | IDR) && nal.get(1).is_some_and(|byte| byte & 0x80 != 0)
}

/// Whether a NAL unit that follows a picture belongs to the next one (section 7.4.1.2.3).
pub(super) fn starts_access_unit(nal: &[u8]) -> bool {
    matches!(kind(nal), SEI | SPS | PPS | DELIMITER | 14..=18) || is_first_slice(nal)
}

/// Whether it is a slice that needs a later picture, so that pictures are not sent in the order in which they show.
pub(super) fn is_bidirectional(nal: &[u8]) -> bool {
    let slice_type = || {
        let mut bits = BitReader::new(nal.get(1..)?);
        bits.unsigned()?;
        bits.unsigned()
    };
    kind(nal) == 1 && slice_type().is_some_and(|slice_type| slice_type % 5 == 1)
}

/// Where the next start code begins, of three bytes.
pub(super) fn find_start_code(data: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        // The 1 is rarer than zeros.
        let one = from + data.get(from..)?.iter().position(|byte| *byte == 1)?;
        if one >= 2 && data[one - 2..one] == [0, 0] {
            return Some(one - 2);
        }
        from = one + 1;
    }
}

/// The NAL units of a byte stream, without their start codes and the zeros between them.
pub(super) fn nals(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = find_start_code(data).map(|at| &data[at + 3..]);
    std::iter::from_fn(move || {
        let data = rest?;
        let end = find_start_code(data);
        rest = end.map(|end| &data[end + 3..]);
        Some(without_trailing_zeros(&data[..end.unwrap_or(data.len())]))
    })
    .filter(|nal| !nal.is_empty())
}

pub(super) fn without_trailing_zeros(nal: &[u8]) -> &[u8] {
    let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &nal[..end]
}

/// What we need of a sequence parameter set (section 7.3.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sps {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Frames in so many seconds, by the timing in the usability information (annex E).
    pub(super) frame_rate: Option<(u32, u32)>,
}

impl Sps {
    /// Reads a NAL unit. What comes behind the timing is not looked at, as cameras write nonsense there.
    pub(super) fn parse(nal: &[u8]) -> Option<Self> {
        let data = without_emulation_prevention(nal.get(1..)?);
        let mut bits = BitReader::new(&data);
        let profile = bits.read(8)?;
        bits.read(16)?;
        bits.unsigned()?;
        let chroma = if has_chroma_format(profile) { Self::chroma(&mut bits)? } else { 1 };
        bits.unsigned()?;
        Self::picture_order(&mut bits)?;
        bits.unsigned()?;
        bits.flag()?;
        let columns = u64::from(bits.unsigned()?) + 1;
        let rows = u64::from(bits.unsigned()?) + 1;
        let fields = if bits.flag()? { 1 } else { 2 };
        if fields == 2 {
            bits.flag()?;
        }
        bits.flag()?;
        let (mut crop_x, mut crop_y) = (0, 0);
        if bits.flag()? {
            let (unit_x, unit_y) = match chroma {
                1 => (2, 2 * fields),
                2 => (2, fields),
                _ => (1, fields),
            };
            crop_x = unit_x * (u64::from(bits.unsigned()?) + u64::from(bits.unsigned()?));
            crop_y = unit_y * (u64::from(bits.unsigned()?) + u64::from(bits.unsigned()?));
        }
        let side = |full: u64, crop| full.checked_sub(crop).and_then(|side| u32::try_from(side).ok());
        Some(Self {
            width: side(16 * columns, crop_x)?,
            height: side(16 * fields * rows, crop_y)?,
            frame_rate: Self::timing(&mut bits),
        })
    }

    fn chroma(bits: &mut BitReader<'_>) -> Option<u32> {
        let chroma = bits.unsigned()?;
        if chroma == 3 {
            bits.flag()?;
        }
        bits.unsigned()?;
        bits.unsigned()?;
        bits.flag()?;
        if bits.flag()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    Self::scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Some(chroma)
    }

    /// Section 7.3.2.1.1.1.
    fn scaling_list(bits: &mut BitReader<'_>, size: usize) -> Option<()> {
        let (mut last, mut next) = (8_i32, 8_i32);
        for _ in 0..size {
            if next != 0 {
                next = last.wrapping_add(bits.signed()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }

    fn picture_order(bits: &mut BitReader<'_>) -> Option<()> {
        match bits.unsigned()? {
            0 => drop(bits.unsigned()?),
            1 => {
                bits.flag()?;
                bits.signed()?;
                bits.signed()?;
                let cycle = bits.unsigned()?;
                for _ in 0..cycle.min(255) {
                    bits.signed()?;
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Section E.1.1, up to the timing.
    fn timing(bits: &mut BitReader<'_>) -> Option<(u32, u32)> {
        const EXTENDED_ASPECT: u32 = 255;
        if !bits.flag()? {
            return None;
        }
        if bits.flag()? && bits.read(8)? == EXTENDED_ASPECT {
            bits.read(32)?;
        }
        if bits.flag()? {
            bits.flag()?;
        }
        if bits.flag()? {
            bits.read(4)?;
            if bits.flag()? {
                bits.read(24)?;
            }
        }
        if bits.flag()? {
            bits.unsigned()?;
            bits.unsigned()?;
        }
        if !bits.flag()? {
            return None;
        }
        let (units, scale) = (bits.read(32)?, bits.read(32)?);
        // A frame lasts for two units, one per field.
        let seconds = units.checked_mul(2)?;
        (seconds > 0 && scale > 0).then_some((scale, seconds))
    }
}

fn has_chroma_format(profile: u32) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

/// Takes out the 3 of each 0, 0, 3 (section 7.4.1).
fn without_emulation_prevention(nal: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let keep = |byte: &u8| {
        let kept = !(zeros >= 2 && *byte == 3);
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        kept
    };
    nal.iter().copied().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_units_between_start_codes() {
        let data = [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 0, 0, 1, 0x68, 0, 0, 1, 0, 0, 1, 0x65, 0, 0, 3, 0];
        let found: Vec<_> = nals(&data).collect();
        assert_eq!(found, [&[0x67, 1][..], &[0x68], &[0x65, 0, 0, 3]]);
        assert_eq!(nals(&[1, 2, 3]).count(), 0);
        assert_eq!(nals(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn reads_size_and_rate_of_a_camera() {
        // Published in h264-reader issue 53 and retina issue 108: 640 by 360 at 25 Hz, and one with nonsense at its end.
        let sps = [
            0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00,
            0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
        ];
        assert_eq!(Sps::parse(&sps), Some(Sps { width: 640, height: 360, frame_rate: Some((50, 2)) }));
        let sps = [39, 77, 224, 40, 141, 104, 10, 3, 218, 16, 0, 0, 3, 0, 16, 0, 0, 3, 2, 128, 241, 66, 42];
        assert!(Sps::parse(&sps).is_some());
        for end in 0..12 {
            assert_eq!(Sps::parse(&sps[..end.min(7)]), None);
        }
    }
}
