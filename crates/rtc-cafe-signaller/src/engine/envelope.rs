//! How frames travel between nodes: each with the attachments that go with it, and several in one parcel.
//!
//! A broker's work is for each parcel, however much is in it. So what waits for one topic goes together.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Most attachments that are taken.
const MAX_ATTACHMENTS: u8 = 64;
/// A parcel that would be longer is closed before.
const FULL: usize = 64 * 1024;

/// A frame, which is UTF-8, and its attachments.
pub(super) type Opened = (Bytes, Vec<Bytes>);

/// Puts a frame and its attachments together: how many of these there are, and each part with its length in front.
pub(super) fn seal(frame: &str, attachments: &[Bytes]) -> Bytes {
    let parts = std::iter::once(frame.as_bytes()).chain(attachments.iter().map(|part| &part[..]));
    let size: usize = parts.clone().map(|part| part.len() + 4).sum();
    let mut sealed = BytesMut::with_capacity(size + 1);
    // What is more, or longer, was refused long before.
    sealed.put_u8(u8::try_from(attachments.len()).unwrap_or(u8::MAX));
    for part in parts {
        sealed.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
        sealed.put_slice(part);
    }
    sealed.freeze()
}

/// Puts sealed frames into parcels. Those for one topic keep their order.
pub(super) fn pack(frames: impl IntoIterator<Item = (String, Bytes)>) -> Vec<(String, Bytes)> {
    let mut parcels: Vec<(String, Vec<Bytes>, usize)> = Vec::new();
    // The last parcel for each topic.
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (topic, frame) in frames {
        let size = frame.len();
        match last.get(&topic).and_then(|&at| parcels.get_mut(at)) {
            Some((_, frames, total)) if *total + size <= FULL => {
                *total += size;
                frames.push(frame);
            }
            _ => {
                last.insert(topic.clone(), parcels.len());
                parcels.push((topic, vec![frame], size));
            }
        }
    }
    let close = |(topic, mut frames, size): (String, Vec<Bytes>, usize)| match frames.len() {
        1 => (topic, frames.pop().unwrap_or_default()),
        _ => {
            let mut parcel = BytesMut::with_capacity(size);
            frames.iter().for_each(|frame| parcel.put_slice(frame));
            (topic, parcel.freeze())
        }
    };
    parcels.into_iter().map(close).collect()
}

/// Takes a parcel apart again; `None` for what was never put together so, which ends it.
pub(super) fn unpack(mut parcel: Bytes) -> impl Iterator<Item = Option<Opened>> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let opened = open(&mut parcel);
        is_over = opened.is_none() || parcel.is_empty();
        Some(opened)
    })
}

fn open(parcel: &mut Bytes) -> Option<Opened> {
    let count = *parcel.first().filter(|count| **count <= MAX_ATTACHMENTS)?;
    parcel.advance(1);
    let frame = part(parcel)?;
    std::str::from_utf8(&frame).ok()?;
    // Copies of their own: they may wait for long, and are not to keep the whole parcel.
    let attachments = (0..count).map(|_| part(parcel).map(|part| Bytes::copy_from_slice(&part)));
    Some((frame, attachments.collect::<Option<_>>()?))
}

fn part(parcel: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(u32::from_be_bytes(parcel.get(..4)?.try_into().ok()?)).ok()?;
    if parcel.len() - 4 < length {
        return None;
    }
    parcel.advance(4);
    Some(parcel.split_to(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(parcel: &Bytes) -> Vec<Option<String>> {
        let text = |opened: Opened| String::from_utf8(opened.0.to_vec()).unwrap();
        unpack(parcel.clone()).map(|opened| opened.map(text)).collect()
    }

    #[test]
    fn what_was_put_together_comes_apart() {
        let attachments = [Bytes::from_static(b""), Bytes::from_static(&[0, 255])];
        let sealed = seal("frame", &attachments);
        let whole = Some((Bytes::from_static(b"frame"), attachments.to_vec()));
        assert_eq!(unpack(sealed.clone()).collect::<Vec<_>>(), [whole]);
        for end in 0..sealed.len() {
            assert_eq!(unpack(sealed.slice(..end)).collect::<Vec<_>>(), [None]);
        }
    }

    #[test]
    fn what_is_for_one_topic_goes_together_and_in_order() {
        let frame = |topic: &str, text: &str| (topic.to_owned(), seal(text, &[]));
        let long = "x".repeat(FULL - 13);
        let sent =
            [frame("a", "1"), frame("b", "2"), frame("a", "3"), frame("a", &long), frame("b", "4"), frame("a", "5")];
        let packed = pack(sent);
        let topics: Vec<_> = packed.iter().map(|(topic, _)| topic.as_str()).collect();
        assert_eq!(topics, ["a", "b", "a"]);
        let texts: Vec<_> = packed.iter().map(|(_, parcel)| frames(parcel)).collect();
        let some = |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
        assert!(texts == [some(&["1", "3"]), some(&["2", "4"]), some(&[&long, "5"])]);
        // What follows garbage is not read.
        let mut broken = packed[0].1.to_vec();
        broken.truncate(broken.len() - 1);
        assert_eq!(frames(&broken.into()), [Some("1".to_owned()), None]);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(unpack(bytes.into()).count() <= 41);
        }
    }
}
