//! RTP packets as bytes (RFC 3550): reads what an application sends us in a datagram, writes what it wants back.

use bytes::{BufMut, Bytes, BytesMut};

use super::RtpPacket;

const VERSION: u8 = 2;
const FIXED_HEADER: usize = 12;

/// What an RTP packet says about the connection that it came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RtpHeader {
    /// The payload type, below 128. Which codec it stands for was agreed elsewhere.
    pub payload_type: u8,
    /// Who sent it, the synchronization source.
    pub ssrc: u32,
}

/// Why bytes are no RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// It ends within its header, header extension or padding.
    #[error("the RTP packet is too short")]
    TooShort,
    /// Its first bits are of something else, such as STUN or DTLS.
    #[error("version {0} is not RTP: send plain RTP, as `ffmpeg -f rtp` does")]
    Version(u8),
    /// It is a control packet that came by the same port (RFC 5761, section 4).
    #[error("this is RTCP and not RTP")]
    Rtcp,
    /// It claims more padding than it has payload.
    #[error("the RTP packet has {0} bytes of padding and less payload")]
    Padding(u8),
}

impl RtpPacket {
    /// Reads a datagram by RFC 3550, section 5.1; contributing sources, header extension and padding are left out.
    ///
    /// The packet's [`sequence`](RtpPacket::sequence) is the one of the datagram, of 16 bits: extend it by an
    /// [`Unwrapper`].
    pub fn parse(datagram: Bytes) -> Result<(RtpHeader, Self), RtpError> {
        let fixed: &[u8; FIXED_HEADER] = datagram.first_chunk().ok_or(RtpError::TooShort)?;
        let [first, second, sequence @ .., t0, t1, t2, t3, s0, s1, s2, s3] = *fixed;
        if first >> 6 != VERSION {
            return Err(RtpError::Version(first >> 6));
        }
        if (192..=223).contains(&second) {
            return Err(RtpError::Rtcp);
        }
        let sources = usize::from(first & 0x0f);
        let mut start = FIXED_HEADER + 4 * sources;
        if first & 0x10 != 0 {
            let length = datagram.get(start + 2..start + 4).ok_or(RtpError::TooShort)?;
            start += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        let mut end = datagram.len();
        if first & 0x20 != 0 {
            // It counts itself, so that none at all is as wrong as too much.
            let padding = datagram.last().copied().unwrap_or_default();
            if padding == 0 || start + usize::from(padding) > end {
                return Err(RtpError::Padding(padding));
            }
            end -= usize::from(padding);
        }
        if start > end {
            return Err(RtpError::TooShort);
        }
        let header = RtpHeader { payload_type: second & 0x7f, ssrc: u32::from_be_bytes([s0, s1, s2, s3]) };
        let packet = Self {
            sequence: u64::from(u16::from_be_bytes(sequence)),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            marker: second & 0x80 != 0,
            payload: datagram.slice(start..end),
        };
        Ok((header, packet))
    }

    /// The packet as a datagram, with the lower 16 bits of the sequence number and without header extensions.
    ///
    /// Only the lower 7 bits of the payload type count.
    pub fn to_bytes(&self, header: RtpHeader) -> Bytes {
        let mut bytes = BytesMut::with_capacity(FIXED_HEADER + self.payload.len());
        bytes.put_u8(VERSION << 6);
        bytes.put_u8(u8::from(self.marker) << 7 | header.payload_type & 0x7f);
        bytes.put_u16(self.sequence as u16);
        bytes.put_u32(self.timestamp);
        bytes.put_u32(header.ssrc);
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }
}

/// Extends sequence numbers of 16 bits, each by the shortest way from the highest one so far (RFC 3550, appendix A.1).
#[derive(Debug, Clone, Default)]
pub struct Unwrapper {
    highest: Option<u64>,
}

impl Unwrapper {
    /// One that has seen nothing yet.
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// The sequence number in full. The first one lies in the second round, so that earlier ones have a place.
    pub fn unwrap(&mut self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else {
            return *self.highest.insert(0x1_0000 + u64::from(sequence));
        };
        let step = i64::from(sequence.wrapping_sub(highest as u16) as i16);
        let full = highest.saturating_add_signed(step);
        self.highest = Some(highest.max(full));
        full
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8]) -> Result<(RtpHeader, RtpPacket), RtpError> {
        RtpPacket::parse(Bytes::copy_from_slice(bytes))
    }

    fn fixed(first: u8) -> Vec<u8> {
        vec![first, 0x80 | 96, 0x12, 0x34, 0, 0, 0, 7, 0xde, 0xad, 0xbe, 0xef]
    }

    #[test]
    fn reads_and_writes_a_plain_packet() {
        let mut bytes = fixed(0x80);
        bytes.extend(b"payload");
        let (header, packet) = parse(&bytes).unwrap();
        assert_eq!(header, RtpHeader { payload_type: 96, ssrc: 0xdead_beef });
        assert_eq!((packet.sequence, packet.timestamp, packet.marker), (0x1234, 7, true));
        assert_eq!(packet.payload, "payload");
        assert_eq!(packet.to_bytes(header), bytes);
    }

    #[test]
    fn leaves_out_sources_extension_and_padding() {
        let mut bytes = fixed(0x80 | 0x20 | 0x10 | 2);
        bytes.extend([1; 8]);
        bytes.extend([0xbe, 0xde, 0, 1, 0x10, 1, 0, 0]);
        bytes.extend(b"payload");
        bytes.extend([0, 0, 3]);
        assert_eq!(parse(&bytes).unwrap().1.payload, "payload");
    }

    #[test]
    fn tells_what_is_wrong() {
        assert_eq!(parse(&[0x80; 11]), Err(RtpError::TooShort));
        assert_eq!(parse(&fixed(0x00)), Err(RtpError::Version(0)));
        assert_eq!(parse(&[0x80, 200, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0]), Err(RtpError::Rtcp));
        assert_eq!(parse(&fixed(0x8f)), Err(RtpError::TooShort), "sources");
        assert_eq!(parse(&fixed(0x90)), Err(RtpError::TooShort), "extension");
        let mut padded = fixed(0xa0);
        padded.push(2);
        assert_eq!(parse(&padded), Err(RtpError::Padding(2)));
        padded[12] = 0;
        assert_eq!(parse(&padded), Err(RtpError::Padding(0)));
        padded[12] = 1;
        assert_eq!(parse(&padded).unwrap().1.payload, "");
    }

    #[test]
    fn extends_sequence_numbers_in_both_directions() {
        let mut unwrapper = Unwrapper::new();
        let full = [0, 65_535, 1, 40_000, 30_000, 60_000, 2].map(|sequence| unwrapper.unwrap(sequence));
        assert_eq!(full, [65_536, 65_535, 65_537, 40_000, 95_536, 125_536, 131_074]);
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..80), first in 0x80..0xc0_u8) {
            let mut bytes = bytes;
            let _ = parse(&bytes);
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            if let Ok((header, packet)) = parse(&bytes) {
                let again = RtpPacket::parse(packet.to_bytes(header)).unwrap();
                prop_assert_eq!(again, (header, packet));
            }
        }
    }
}
