//! Cuts the byte stream of a TURN connection over TCP or TLS into messages (RFC 8656 section 12.5).
//!
//! turn-types 0.7 has such a buffer too, but it does not know that channel data is padded to four bytes on a stream.

/// The stream carries something that is neither STUN nor channel data: it cannot be understood any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotFraming;

/// Bytes that came and are not yet a whole message. Holds one message and one read at most.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    taken: usize,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, without its padding.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, NotFraming> {
        let rest = &self.bytes[self.taken..];
        let &[kind, _, high, low, ..] = rest else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (length, padded) = match kind >> 6 {
            0 => (20 + length, 20 + length),
            1 => (4 + length, (4 + length).next_multiple_of(4)),
            _ => return Err(NotFraming),
        };
        if rest.len() < padded {
            return Ok(None);
        }
        let start = self.taken;
        self.taken += padded;
        Ok(Some(&self.bytes[start..start + length]))
    }
}

/// The zeros that follow a message of this length on a stream.
pub(super) fn padding(frame: &[u8]) -> &'static [u8] {
    &[0; 3][..frame.len().next_multiple_of(4) - frame.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(data: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x40, 0x01, 0, u8::try_from(data.len()).unwrap()];
        frame.extend_from_slice(data);
        frame
    }

    fn message(body: usize) -> Vec<u8> {
        let mut frame = vec![0, 1, 0, u8::try_from(body).unwrap()];
        frame.resize(20 + body, 7);
        frame
    }

    #[test]
    fn messages_come_out_however_the_stream_is_cut() {
        let sent = [channel(b"a"), message(8), channel(b""), channel(b"four"), channel(b"12345"), message(0)];
        let mut stream = Vec::new();
        for frame in &sent {
            stream.extend_from_slice(frame);
            stream.extend_from_slice(padding(frame));
        }
        for size in 1..=stream.len() {
            let mut frames = Frames::default();
            let mut received = Vec::new();
            for chunk in stream.chunks(size) {
                frames.push(chunk);
                while let Some(frame) = frames.next().unwrap() {
                    received.push(frame.to_vec());
                }
            }
            assert_eq!(received, sent, "in pieces of {size}");
        }
    }

    #[test]
    fn something_else_is_noticed() {
        let mut frames = Frames::default();
        frames.push(b"\x80HTTP/1.1 400 Bad Request");
        assert_eq!(frames.next(), Err(NotFraming));
    }
}
