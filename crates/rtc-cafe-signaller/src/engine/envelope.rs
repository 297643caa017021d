//! A frame between nodes with the attachments that go with it: each with its length in front.

use bytes::{BufMut, Bytes, BytesMut};

/// Most attachments that are taken.
const MAX_ATTACHMENTS: usize = 64;

/// Puts a frame and its attachments together.
pub(super) fn seal(frame: &str, attachments: &[Bytes]) -> Bytes {
    let parts = std::iter::once(frame.as_bytes()).chain(attachments.iter().map(|part| &part[..]));
    let size = parts.clone().map(|part| part.len() + 4).sum();
    let mut sealed = BytesMut::with_capacity(size);
    for part in parts {
        // What is longer was refused long before.
        sealed.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
        sealed.put_slice(part);
    }
    sealed.freeze()
}

/// Takes them apart again; `None` for what was never put together so.
pub(super) fn open(mut sealed: Bytes) -> Option<(Bytes, Vec<Bytes>)> {
    let frame = part(&mut sealed)?;
    std::str::from_utf8(&frame).ok()?;
    let mut attachments = Vec::new();
    while !sealed.is_empty() {
        if attachments.len() == MAX_ATTACHMENTS {
            return None;
        }
        attachments.push(part(&mut sealed)?);
    }
    Some((frame, attachments))
}

fn part(sealed: &mut Bytes) -> Option<Bytes> {
    let length = u32::from_be_bytes(sealed.get(..4)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(4)?;
    if sealed.len() < end {
        return None;
    }
    let part = sealed.split_to(end);
    Some(part.slice(4..))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_put_together_comes_apart() {
        let attachments = [Bytes::from_static(b""), Bytes::from_static(&[0, 255])];
        let sealed = seal("frame", &attachments);
        assert_eq!(open(sealed.clone()), Some((Bytes::from_static(b"frame"), attachments.to_vec())));
        for end in 0..sealed.len() {
            // Cut between two parts it is a whole one of fewer.
            assert_ne!(open(sealed.slice(..end)), open(sealed.clone()));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            open(bytes.into());
        }
    }
}
