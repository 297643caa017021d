//! Takes apart what RTP payload formats put before the encoded data: VP8 (RFC 7741), VP9 (RFC 9628), H.264 (RFC 6184).

use bytes::BytesMut;

use super::{Codec, h264};

pub(super) const STAP_A: u8 = 24;
pub(super) const FU_A: u8 = 28;
pub(super) const FU_START: u8 = 0x80;
pub(super) const FU_END: u8 = 0x40;

/// Whether a payload is certainly the first one of a frame.
pub(super) fn starts_frame(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::Vp8 => payload.first().is_some_and(|byte| byte & 0x17 == 0x10),
        Codec::Vp9 => vp9_starts_frame(payload).unwrap_or(false),
        Codec::H264 => h264_starts_frame(payload).unwrap_or(false),
    }
}

fn vp9_starts_frame(payload: &[u8]) -> Option<bool> {
    let flags = *payload.first()?;
    let mut at = 1;
    if flags & 0x80 != 0 {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let lowest_layer = flags & 0x20 == 0 || payload.get(at)? >> 1 & 7 == 0;
    Some(flags & 0x08 != 0 && lowest_layer)
}

/// A picture begins with what describes it, or with its first macroblock.
fn h264_starts_frame(payload: &[u8]) -> Option<bool> {
    match h264::kind(payload) {
        STAP_A => Some(h264::starts_access_unit(payload.get(3..)?)),
        FU_A => {
            let (head, rest) = payload.split_at_checked(2)?;
            Some(head[1] & FU_START != 0 && h264::starts_access_unit(&[head[1] & 0x1f, *rest.first()?]))
        }
        _ => Some(h264::starts_access_unit(payload)),
    }
}

/// Appends what a payload holds of a frame; `fragment` says whether a NAL unit is going on. None if it is malformed.
pub(super) fn append(codec: Codec, payload: &[u8], frame: &mut BytesMut, fragment: &mut bool) -> Option<()> {
    match codec {
        Codec::Opus => frame.extend_from_slice(payload),
        Codec::Vp8 => frame.extend_from_slice(payload.get(vp8_descriptor(payload)?..)?),
        Codec::Vp9 => frame.extend_from_slice(payload.get(vp9_descriptor(payload)?..)?),
        Codec::H264 => append_h264(payload, frame, fragment)?,
    }
    Some(())
}

/// The length of the payload descriptor (RFC 7741, section 4.2).
fn vp8_descriptor(payload: &[u8]) -> Option<usize> {
    if payload.first()? & 0x80 == 0 {
        return Some(1);
    }
    let extension = payload.get(1)?;
    let mut length = 2;
    if extension & 0x80 != 0 {
        length += if payload.get(length)? & 0x80 != 0 { 2 } else { 1 };
    }
    length += usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
    Some(length)
}

/// The length of the payload descriptor (RFC 9628, section 4.2).
fn vp9_descriptor(payload: &[u8]) -> Option<usize> {
    let flags = *payload.first()?;
    let (flexible, predicted) = (flags & 0x10 != 0, flags & 0x40 != 0);
    let mut length = 1;
    if flags & 0x80 != 0 {
        length += if payload.get(length)? & 0x80 != 0 { 2 } else { 1 };
    }
    if flags & 0x20 != 0 {
        length += if flexible { 1 } else { 2 };
    }
    if flexible && predicted {
        let more = payload.get(length..)?.iter().take(3).take_while(|byte| *byte & 1 != 0).count();
        length += (more + 1).min(3);
    }
    if flags & 0x02 != 0 {
        length += vp9_scalability(payload.get(length..)?)?;
    }
    Some(length)
}

/// The length of the scalability structure (RFC 9628, section 4.2.1).
fn vp9_scalability(data: &[u8]) -> Option<usize> {
    let flags = *data.first()?;
    let mut length = 1;
    if flags & 0x10 != 0 {
        length += 4 * (usize::from(flags >> 5) + 1);
    }
    if flags & 0x08 != 0 {
        let pictures = *data.get(length)?;
        length += 1;
        for _ in 0..pictures {
            length += 1 + usize::from(data.get(length)? >> 2 & 3);
        }
    }
    Some(length)
}

fn append_h264(payload: &[u8], frame: &mut BytesMut, fragment: &mut bool) -> Option<()> {
    let kind = h264::kind(payload);
    if *fragment && kind != FU_A {
        return None;
    }
    match kind {
        1..STAP_A => append_nal(payload, frame),
        STAP_A => {
            let mut rest = payload.get(1..)?;
            while let Some((length, after)) = rest.split_first_chunk() {
                let (nal, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                append_nal(nal, frame);
                rest = after;
            }
        }
        FU_A => {
            let &[indicator, header, ref data @ ..] = payload else { return None };
            if *fragment == (header & FU_START != 0) {
                return None;
            }
            if header & FU_START != 0 {
                append_nal(&[indicator & 0xe0 | header & 0x1f], frame);
            }
            frame.extend_from_slice(data);
            *fragment = header & FU_END == 0;
        }
        _ => return None,
    }
    Some(())
}

fn append_nal(nal: &[u8], frame: &mut BytesMut) {
    if !nal.is_empty() {
        frame.extend_from_slice(&h264::START_CODE);
        frame.extend_from_slice(nal);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(codec: Codec, payloads: &[&[u8]]) -> Option<Vec<u8>> {
        let (mut frame, mut fragment) = (BytesMut::new(), false);
        for payload in payloads {
            append(codec, payload, &mut frame, &mut fragment)?;
        }
        Some(frame.to_vec())
    }

    #[test]
    fn finds_the_data_behind_vp8_descriptors() {
        for payload in [
            &[0x10, 7][..],
            &[0x90, 0x80, 0x11, 7],
            &[0x90, 0x80, 0x81, 0x11, 7],
            &[0x90, 0xf0, 0x81, 0x11, 1, 2, 7],
            &[0x90, 0x20, 2, 7],
        ] {
            assert_eq!(data(Codec::Vp8, &[payload]), Some(vec![7]), "{payload:x?}");
        }
        assert_eq!(data(Codec::Vp8, &[&[0x90, 0x80]]), None);
        assert!(starts_frame(Codec::Vp8, &[0x10, 7]) && !starts_frame(Codec::Vp8, &[0x11, 7]));
    }

    #[test]
    fn finds_the_data_behind_vp9_descriptors() {
        for payload in [
            &[0x08, 7][..],
            &[0x88, 0x11, 7],
            &[0xa8, 0x81, 0x11, 0, 1, 7],
            &[0xd8, 0x11, 3, 5, 6, 7],
            &[0xd8, 0x11, 3, 5, 7, 7],
            &[0x0a, 0x18, 1, 2, 3, 4, 1, 4, 9, 7],
        ] {
            assert_eq!(data(Codec::Vp9, &[payload]), Some(vec![7]), "{payload:x?}");
        }
        assert_eq!(data(Codec::Vp9, &[&[0x0a, 0x08, 200]]), None);
        assert!(starts_frame(Codec::Vp9, &[0xa8, 1, 0, 0, 7]), "the lowest spatial layer");
        assert!(!starts_frame(Codec::Vp9, &[0xa8, 1, 2, 0, 7]), "a higher one");
    }

    #[test]
    fn puts_h264_units_together() {
        assert_eq!(data(Codec::H264, &[&[0x65, 1]]), Some(vec![0, 0, 0, 1, 0x65, 1]));
        assert_eq!(
            data(Codec::H264, &[&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68]]),
            Some(vec![0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68])
        );
        let fragments: [&[u8]; 3] = [&[0x7c, 0x85, 1], &[0x7c, 0x05, 2], &[0x7c, 0x45, 3]];
        assert_eq!(data(Codec::H264, &fragments), Some(vec![0, 0, 0, 1, 0x65, 1, 2, 3]));
        assert_eq!(data(Codec::H264, &fragments[1..]), None, "no start");
        assert_eq!(data(Codec::H264, &[fragments[0], &[0x65, 1]]), None, "no end");
        assert_eq!(data(Codec::H264, &[&[0x78, 0, 9, 1]]), None, "longer than the packet");
        assert_eq!(data(Codec::H264, &[&[0x79, 0, 9, 1]]), None, "STAP-B");
    }

    proptest! {
        #[test]
        fn hostile_payloads_do_no_harm(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)) {
            for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264] {
                let (mut frame, mut fragment) = (BytesMut::new(), false);
                for payload in &payloads {
                    starts_frame(codec, payload);
                    let _ = append(codec, payload, &mut frame, &mut fragment);
                }
                prop_assert!(frame.len() <= 10 * payloads.iter().map(|payload| payload.len() + 4).sum::<usize>());
            }
        }
    }
}
