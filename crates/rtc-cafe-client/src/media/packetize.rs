//! Cuts frames into RTP packets: Opus (RFC 7587), VP8 (RFC 7741), VP9 (RFC 9628), H.264 (RFC 6184).

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Codec, Frame, RtpPacket, bitstream, h264,
    payload::{FU_A, FU_END, FU_START, STAP_A},
};

/// Leaves room for the headers of RTP, SRTP, TURN, UDP and IPv6 in the least packet that IPv6 carries, 1,280 bytes.
const MAX_PAYLOAD: usize = 1_180;

/// Makes the packets of one track.
#[derive(Debug)]
pub struct Packetizer {
    codec: Codec,
    sequence: u64,
    /// Of VP8 and VP9, 15 bits.
    picture: u16,
    /// Of VP9, counts the frames of the lowest temporal layer; ours are all of it.
    layer_picture: u8,
}

impl Packetizer {
    /// One whose first packet has this sequence number. It should be random below 32,768, if nothing was sent before
    /// (RFC 3711, section 3.3.1).
    pub fn new(codec: Codec, first_sequence: u64) -> Self {
        Self { codec, sequence: first_sequence, picture: first_sequence as u16 & 0x7fff, layer_picture: 0 }
    }

    /// The packets of a frame, in order; none if it is empty.
    ///
    /// Opus goes into one packet however long it is. Of H.264, access unit delimiters and filler are left out.
    pub fn packetize(&mut self, frame: &Frame) -> Vec<RtpPacket> {
        let data = &frame.data;
        let payloads = match self.codec {
            _ if data.is_empty() => Vec::new(),
            Codec::Opus => vec![data.clone()],
            Codec::Vp8 => self.vp8(data),
            Codec::Vp9 => self.vp9(data),
            Codec::H264 => h264_payloads(data),
        };
        let last = payloads.len().saturating_sub(1);
        let video = self.codec != Codec::Opus;
        let packet = |(index, payload)| {
            let sequence = self.sequence;
            self.sequence += 1;
            RtpPacket { sequence, timestamp: frame.timestamp, marker: video && index == last, payload }
        };
        payloads.into_iter().enumerate().map(packet).collect()
    }

    fn next_picture(&mut self) -> [u8; 2] {
        let picture = self.picture;
        self.picture = (picture + 1) & 0x7fff;
        (picture | 0x8000).to_be_bytes()
    }

    /// The whole frame as one partition, with a picture id (RFC 7741, section 4.2).
    fn vp8(&mut self, data: &[u8]) -> Vec<Bytes> {
        const EXTENDED: u8 = 0x80;
        const PICTURE_ID: u8 = 0x80;
        const START: u8 = 0x10;
        let [high, low] = self.next_picture();
        let chunks = data.chunks(MAX_PAYLOAD - 4).enumerate();
        let payload = |(index, chunk)| {
            let start = if index == 0 { START } else { 0 };
            join(&[EXTENDED | start, PICTURE_ID, high, low], chunk)
        };
        chunks.map(payload).collect()
    }

    /// Non-flexible mode with one layer, as browsers send and require it (RFC 9628, section 4.2).
    fn vp9(&mut self, data: &[u8]) -> Vec<Bytes> {
        const PICTURE_ID_AND_LAYER: u8 = 0xa0;
        const PREDICTED: u8 = 0x40;
        const BEGIN: u8 = 0x08;
        const END: u8 = 0x04;
        const SCALABILITY: u8 = 0x02;
        const SWITCHING_UP: u8 = 0x10;
        let [high, low] = self.next_picture();
        self.layer_picture = self.layer_picture.wrapping_add(1);
        let keyframe = bitstream::is_keyframe(Codec::Vp9, data);
        let structure = if keyframe { vp9_structure(data) } else { Vec::new() };
        let chunks = data.chunks(MAX_PAYLOAD - 5 - structure.len());
        let last = chunks.len() - 1;
        let payload = |(index, chunk)| {
            let mut flags = PICTURE_ID_AND_LAYER;
            flags |= if keyframe { 0 } else { PREDICTED };
            flags |= if index == 0 { BEGIN } else { 0 };
            flags |= if index == last { END } else { 0 };
            let mut header = vec![flags, high, low, SWITCHING_UP, self.layer_picture];
            if keyframe && index == 0 {
                header[0] |= SCALABILITY;
                header.extend(&structure);
            }
            join(&header, chunk)
        };
        chunks.enumerate().map(payload).collect()
    }
}

/// One spatial layer of this size, each picture of which refers to the one before (RFC 9628, section 4.2.1).
fn vp9_structure(keyframe: &[u8]) -> Vec<u8> {
    const SIZE: u8 = 0x10;
    const GROUP: u8 = 0x08;
    const SWITCHING_UP: u8 = 0x10;
    const ONE_REFERENCE: u8 = 0x04;
    let size = bitstream::picture_size(Codec::Vp9, keyframe);
    let size = size.and_then(|(width, height)| Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?)));
    let mut structure = vec![GROUP];
    if let Some((width, height)) = size {
        structure[0] |= SIZE;
        structure.extend(width.to_be_bytes());
        structure.extend(height.to_be_bytes());
    }
    structure.extend([1, SWITCHING_UP | ONE_REFERENCE, 1]);
    structure
}

/// Small NAL units share a packet (STAP-A), large ones are spread (FU-A; RFC 6184, section 5).
fn h264_payloads(data: &[u8]) -> Vec<Bytes> {
    let mut payloads = Vec::new();
    let mut shared: Vec<&[u8]> = Vec::new();
    let mut shared_length = 1;
    for nal in h264::nals(data).filter(|nal| !matches!(h264::kind(nal), h264::DELIMITER | h264::FILLER)) {
        if shared_length + 2 + nal.len() > MAX_PAYLOAD {
            payloads.extend(share(&shared));
            shared.clear();
            shared_length = 1;
        }
        if nal.len() > MAX_PAYLOAD {
            payloads.extend(spread(nal));
        } else {
            shared.push(nal);
            shared_length += 2 + nal.len();
        }
    }
    payloads.extend(share(&shared));
    payloads
}

/// A single NAL unit stays as it is.
fn share(nals: &[&[u8]]) -> Option<Bytes> {
    match nals {
        [] => None,
        [nal] => Some(Bytes::copy_from_slice(nal)),
        _ => {
            let forbidden = nals.iter().fold(0, |bits, nal| bits | nal[0] & 0x80);
            let importance = nals.iter().map(|nal| nal[0] & 0x60).max().unwrap_or_default();
            let mut payload = BytesMut::with_capacity(MAX_PAYLOAD);
            payload.put_u8(forbidden | importance | STAP_A);
            for nal in nals {
                payload.put_u16(nal.len() as u16);
                payload.put_slice(nal);
            }
            Some(payload.freeze())
        }
    }
}

fn spread(nal: &[u8]) -> impl Iterator<Item = Bytes> {
    let (header, data) = (nal[0], &nal[1..]);
    let chunks = data.chunks(MAX_PAYLOAD - 2);
    let last = chunks.len() - 1;
    chunks.enumerate().map(move |(index, chunk)| {
        let start = if index == 0 { FU_START } else { 0 };
        let end = if index == last { FU_END } else { 0 };
        join(&[header & 0xe0 | FU_A, start | end | header & 0x1f], chunk)
    })
}

fn join(header: &[u8], data: &[u8]) -> Bytes {
    let mut payload = BytesMut::with_capacity(header.len() + data.len());
    payload.put_slice(header);
    payload.put_slice(data);
    payload.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packetize(codec: Codec, data: Vec<u8>) -> Vec<RtpPacket> {
        let frame = Frame { data: data.into(), timestamp: 90, keyframe: false };
        Packetizer::new(codec, 0x1_7fff).packetize(&frame)
    }

    #[test]
    fn sequence_numbers_are_continuous_and_the_last_packet_is_marked() {
        let mut packetizer = Packetizer::new(Codec::Vp8, 65_535);
        let frame = Frame { data: vec![1; 3_000].into(), timestamp: 90, keyframe: false };
        let packets: Vec<_> = [&frame, &frame].into_iter().flat_map(|frame| packetizer.packetize(frame)).collect();
        let sequences: Vec<_> = packets.iter().map(|packet| packet.sequence).collect();
        assert_eq!(sequences, (65_535..65_541).collect::<Vec<_>>());
        let markers = packets.iter().map(|packet| packet.marker).collect::<Vec<_>>();
        assert_eq!(markers, [false, false, true, false, false, true]);
        assert!(packets.iter().all(|packet| packet.payload.len() <= MAX_PAYLOAD && packet.timestamp == 90));
    }

    #[test]
    fn opus_is_not_cut() {
        let packets = packetize(Codec::Opus, vec![1; 1_275]);
        assert_eq!((packets.len(), packets[0].payload.len(), packets[0].marker), (1, 1_275, false));
    }

    #[test]
    fn vp8_has_a_picture_id() {
        let packets = packetize(Codec::Vp8, vec![1; 1_200]);
        assert_eq!(packets[0].payload[..4], [0x90, 0x80, 0xff, 0xff]);
        assert_eq!(packets[1].payload[..4], [0x80, 0x80, 0xff, 0xff]);
    }

    #[test]
    fn vp9_describes_its_keyframes() {
        let mut key = vec![0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0e, 0xf6];
        key.resize(1_200, 1);
        let packets = packetize(Codec::Vp9, key);
        assert_eq!(packets[0].payload[..6], [0xaa, 0xff, 0xff, 0x10, 1, 0x18]);
        assert_eq!(packets[0].payload[6..13], [1, 0x40, 0, 0xf0, 1, 0x14, 1]);
        assert_eq!(packets[1].payload[..5], [0xa4, 0xff, 0xff, 0x10, 1]);
        assert_eq!(packetize(Codec::Vp9, vec![0x86; 9])[0].payload[..5], [0xec, 0xff, 0xff, 0x10, 1]);
    }

    #[test]
    fn h264_shares_and_spreads() {
        let mut data = vec![0, 0, 0, 1, 0x09, 0xf0, 0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x28, 2, 0, 0, 1, 0x65];
        data.resize(2_000, 3);
        let packets = packetize(Codec::H264, data);
        assert_eq!(packets.len(), 3);
        assert_eq!(packets[0].payload[..], [0x78, 0, 2, 0x67, 1, 0, 2, 0x28, 2]);
        assert_eq!(packets[1].payload[..3], [0x7c, 0x85, 3]);
        assert_eq!(packets[2].payload[..3], [0x7c, 0x45, 3]);
        assert!(packets[2].marker);
        assert_eq!(packetize(Codec::H264, vec![0, 0, 1, 0x41, 2])[0].payload[..], [0x41, 2]);
        assert!(packetize(Codec::H264, vec![1, 2, 3]).is_empty());
    }
}
