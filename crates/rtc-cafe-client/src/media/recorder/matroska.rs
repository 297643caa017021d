//! One track in Matroska or WebM (RFC 9559): playable while it grows, with duration and index once it is finished.

use std::io::{self, Seek, SeekFrom, Write};

use super::{OPUS_PRE_SKIP, h264, opus_head};
use crate::media::{Codec, Frame, bitstream};

/// Elements by their ids, in the order of their section in RFC 9559.
mod id {
    pub(super) const EBML: u32 = 0x1a45_dfa3;
    pub(super) const DOC_TYPE: u32 = 0x4282;
    pub(super) const DOC_TYPE_VERSION: u32 = 0x4287;
    pub(super) const DOC_TYPE_READ_VERSION: u32 = 0x4285;
    pub(super) const VOID: u32 = 0xec;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const SEEK_HEAD: u32 = 0x114d_9b74;
    pub(super) const SEEK: u32 = 0x4dbb;
    pub(super) const SEEK_ID: u32 = 0x53ab;
    pub(super) const SEEK_POSITION: u32 = 0x53ac;
    pub(super) const INFO: u32 = 0x1549_a966;
    pub(super) const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
    pub(super) const DURATION: u32 = 0x4489;
    pub(super) const MUXING_APP: u32 = 0x4d80;
    pub(super) const WRITING_APP: u32 = 0x5741;
    pub(super) const CLUSTER: u32 = 0x1f43_b675;
    pub(super) const TIMESTAMP: u32 = 0xe7;
    pub(super) const SIMPLE_BLOCK: u32 = 0xa3;
    pub(super) const TRACKS: u32 = 0x1654_ae6b;
    pub(super) const TRACK_ENTRY: u32 = 0xae;
    pub(super) const TRACK_NUMBER: u32 = 0xd7;
    pub(super) const TRACK_UID: u32 = 0x73c5;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    pub(super) const FLAG_LACING: u32 = 0x9c;
    pub(super) const CODEC_ID: u32 = 0x86;
    pub(super) const CODEC_PRIVATE: u32 = 0x63a2;
    pub(super) const CODEC_DELAY: u32 = 0x56aa;
    pub(super) const SEEK_PRE_ROLL: u32 = 0x56bb;
    pub(super) const VIDEO: u32 = 0xe0;
    pub(super) const PIXEL_WIDTH: u32 = 0xb0;
    pub(super) const PIXEL_HEIGHT: u32 = 0xba;
    pub(super) const AUDIO: u32 = 0xe1;
    pub(super) const SAMPLING_FREQUENCY: u32 = 0xb5;
    pub(super) const CHANNELS: u32 = 0x9f;
    pub(super) const CUES: u32 = 0x1c53_bb6b;
    pub(super) const CUE_POINT: u32 = 0xbb;
    pub(super) const CUE_TIME: u32 = 0xb3;
    pub(super) const CUE_TRACK_POSITIONS: u32 = 0xb7;
    pub(super) const CUE_TRACK: u32 = 0xf7;
    pub(super) const CUE_CLUSTER_POSITION: u32 = 0xf1;
}

const TRACK: u64 = 1;
/// A size that is not known yet, of eight bytes.
const UNKNOWN: u64 = (1 << 56) - 1;
/// Where a reader finds the index, with what comes before it.
const SEEK_HEAD_LENGTH: usize = 31;
/// A double with its header.
const DURATION_LENGTH: usize = 11;
/// A cluster begins with each keyframe, but not twice in a second; it lasts for at most so many milliseconds.
const SHORTEST_CLUSTER: u64 = 1_000;
const LONGEST_CLUSTER: u64 = 5_000;
/// Clusters in the index; of longer recordings, only the beginning is in it.
const MAX_CUES: usize = 100_000;

pub(super) struct Matroska<W> {
    output: W,
    codec: Codec,
    doc_type: &'static str,
    /// Where the next byte goes.
    position: u64,
    /// Where the content of the segment begins, if it does.
    segment: Option<u64>,
    duration: u64,
    cluster: Option<Cluster>,
    /// When clusters begin in milliseconds, and where in the segment.
    cues: Vec<(u64, u64)>,
}

#[derive(Clone, Copy)]
struct Cluster {
    start: u64,
    content: u64,
}

impl<W: Write + Seek> Matroska<W> {
    pub(super) const fn new(output: W, codec: Codec, doc_type: &'static str) -> Self {
        Self { output, codec, doc_type, position: 0, segment: None, duration: 0, cluster: None, cues: Vec::new() }
    }

    pub(super) fn write(&mut self, frame: &Frame, at: u64) -> io::Result<()> {
        if self.segment.is_none() {
            self.write_header(&frame.data)?;
        }
        let time = self.milliseconds(at);
        let begins = self.cluster.is_none_or(|cluster| {
            let lasted = time - cluster.start;
            lasted >= LONGEST_CLUSTER || frame.keyframe && lasted >= SHORTEST_CLUSTER && self.codec != Codec::Opus
        });
        if begins {
            self.close_cluster()?;
            self.open_cluster(time)?;
        }
        let relative = self.cluster.map_or(0, |cluster| (time - cluster.start) as u16);
        let mut block = vec![0x80 | TRACK as u8];
        block.extend(relative.to_be_bytes());
        block.push(if frame.keyframe { 0x80 } else { 0 });
        if self.codec == Codec::H264 {
            for nal in h264::nals(&frame.data) {
                block.extend((nal.len() as u32).to_be_bytes());
                block.extend(nal);
            }
        } else {
            block.extend(&frame.data);
        }
        self.put(&element(id::SIMPLE_BLOCK, &block))
    }

    /// Writes the index, and everything that could not be known before.
    pub(super) fn finish(&mut self, end: u64) -> io::Result<()> {
        let Some(segment) = self.segment else { return Ok(()) };
        self.close_cluster()?;
        let cues = self.position - segment;
        let points: Vec<u8> = self.cues.iter().flat_map(|(time, position)| cue(*time, *position)).collect();
        self.put(&element(id::CUES, &points))?;
        let end = end as f64 * 1_000.0 / f64::from(self.codec.clock_rate());
        self.patch(self.duration, &element(id::DURATION, &end.to_be_bytes()))?;
        self.patch(segment, &seek_head(cues))?;
        self.patch(segment - 8, &size(self.position - segment))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn milliseconds(&self, at: u64) -> u64 {
        let rate = u64::from(self.codec.clock_rate());
        (at * 1_000 + rate / 2) / rate
    }

    fn write_header(&mut self, first: &[u8]) -> io::Result<()> {
        let ebml = [
            element(id::DOC_TYPE, self.doc_type.as_bytes()),
            unsigned(id::DOC_TYPE_VERSION, 4),
            unsigned(id::DOC_TYPE_READ_VERSION, 2),
        ];
        self.put(&element(id::EBML, &ebml.concat()))?;
        self.put(&open(id::SEGMENT))?;
        self.segment = Some(self.position);
        self.put(&void(SEEK_HEAD_LENGTH))?;
        let info = [
            unsigned(id::TIMESTAMP_SCALE, 1_000_000),
            element(id::MUXING_APP, b"RTCCafe"),
            element(id::WRITING_APP, b"RTCCafe"),
            void(DURATION_LENGTH),
        ];
        self.put(&element(id::INFO, &info.concat()))?;
        self.duration = self.position - DURATION_LENGTH as u64;
        self.put(&element(id::TRACKS, &element(id::TRACK_ENTRY, &track(self.codec, first))))
    }

    fn open_cluster(&mut self, time: u64) -> io::Result<()> {
        if let Some(segment) = self.segment.filter(|_| self.cues.len() < MAX_CUES) {
            self.cues.push((time, self.position - segment));
        }
        self.put(&open(id::CLUSTER))?;
        self.cluster = Some(Cluster { start: time, content: self.position });
        self.put(&unsigned(id::TIMESTAMP, time))
    }

    fn close_cluster(&mut self) -> io::Result<()> {
        let Some(Cluster { content, .. }) = self.cluster.take() else { return Ok(()) };
        self.patch(content - 8, &size(self.position - content))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn patch(&mut self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.output.seek(SeekFrom::Start(position))?;
        self.output.write_all(bytes)?;
        self.output.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }
}

fn track(codec: Codec, first: &[u8]) -> Vec<u8> {
    let (kind, name) = match codec {
        Codec::Opus => (2, "A_OPUS"),
        Codec::Vp8 => (1, "V_VP8"),
        Codec::Vp9 => (1, "V_VP9"),
        Codec::H264 => (1, "V_MPEG4/ISO/AVC"),
    };
    let mut track = [
        unsigned(id::TRACK_NUMBER, TRACK),
        unsigned(id::TRACK_UID, TRACK),
        unsigned(id::TRACK_TYPE, kind),
        unsigned(id::FLAG_LACING, 0),
        element(id::CODEC_ID, name.as_bytes()),
    ]
    .concat();
    match codec {
        Codec::Opus => track.extend(opus()),
        Codec::H264 => track.extend(element(id::CODEC_PRIVATE, &avc_configuration(first))),
        Codec::Vp8 | Codec::Vp9 => {}
    }
    if let Some((width, height)) = bitstream::picture_size(codec, first) {
        let size = [unsigned(id::PIXEL_WIDTH, width.into()), unsigned(id::PIXEL_HEIGHT, height.into())];
        track.extend(element(id::VIDEO, &size.concat()));
    }
    track
}

fn opus() -> Vec<u8> {
    // What a decoder needs to converge (RFC 7845, section 4.6).
    const PRE_ROLL: u64 = 80_000_000;
    let audio = [element(id::SAMPLING_FREQUENCY, &48_000_f64.to_be_bytes()), unsigned(id::CHANNELS, 2)];
    [
        element(id::CODEC_PRIVATE, &opus_head()),
        unsigned(id::CODEC_DELAY, u64::from(OPUS_PRE_SKIP) * 1_000_000 / 48),
        unsigned(id::SEEK_PRE_ROLL, PRE_ROLL),
        element(id::AUDIO, &audio.concat()),
    ]
    .concat()
}

/// The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1).
fn avc_configuration(keyframe: &[u8]) -> Vec<u8> {
    let sets = |kind, most| -> Vec<&[u8]> {
        let fits = |nal: &&[u8]| h264::kind(nal) == kind && nal.len() <= usize::from(u16::MAX);
        h264::nals(keyframe).filter(fits).take(most).collect()
    };
    let (sps, pps) = (sets(h264::SPS, 31), sets(h264::PPS, 255));
    let profile = sps.first().and_then(|sps| sps.get(1..4)).unwrap_or(&[66, 0, 30]);
    let mut record = vec![1];
    record.extend(profile);
    record.extend([0xff, 0xe0 | sps.len() as u8]);
    let append = |record: &mut Vec<u8>, nal: &[u8]| {
        record.extend((nal.len() as u16).to_be_bytes());
        record.extend(nal);
    };
    sps.iter().for_each(|nal| append(&mut record, nal));
    record.push(pps.len() as u8);
    pps.iter().for_each(|nal| append(&mut record, nal));
    record
}

fn cue(time: u64, position: u64) -> Vec<u8> {
    let positions = [unsigned(id::CUE_TRACK, TRACK), unsigned(id::CUE_CLUSTER_POSITION, position)];
    element(
        id::CUE_POINT,
        &[unsigned(id::CUE_TIME, time), element(id::CUE_TRACK_POSITIONS, &positions.concat())].concat(),
    )
}

/// Where the index is; always as long as the space that was left for it.
fn seek_head(cues: u64) -> Vec<u8> {
    let seek = [element(id::SEEK_ID, &id_bytes(id::CUES)), unsigned(id::SEEK_POSITION, cues)];
    let mut head = element(id::SEEK_HEAD, &element(id::SEEK, &seek.concat()));
    head.extend(void(SEEK_HEAD_LENGTH - head.len()));
    head
}

fn id_bytes(id: u32) -> Vec<u8> {
    id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

/// Always of eight bytes (RFC 8794, section 4).
fn size(content: u64) -> [u8; 8] {
    (1 << 56 | content).to_be_bytes()
}

/// The beginning of an element whose size is patched later.
fn open(id: u32) -> Vec<u8> {
    [&id_bytes(id)[..], &size(UNKNOWN)].concat()
}

fn element(id: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = id_bytes(id);
    let length = content.len() as u64;
    if length < 127 {
        bytes.push(0x80 | length as u8);
    } else {
        bytes.extend(size(length));
    }
    bytes.extend(content);
    bytes
}

fn unsigned(id: u32, value: u64) -> Vec<u8> {
    let zeros = (value.leading_zeros() / 8).min(7) as usize;
    element(id, &value.to_be_bytes()[zeros..])
}

/// An element that readers skip, of this length in all; at least 2.
fn void(length: usize) -> Vec<u8> {
    element(id::VOID, &vec![0; length - 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_patched_fits() {
        for cues in [0, 1 << 16, u64::MAX >> 8] {
            assert_eq!(seek_head(cues).len(), SEEK_HEAD_LENGTH);
        }
        assert_eq!(element(id::DURATION, &1_f64.to_be_bytes()).len(), DURATION_LENGTH);
        assert_eq!(void(DURATION_LENGTH).len(), DURATION_LENGTH);
        assert_eq!(open(id::CLUSTER)[4..], [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        assert_eq!(unsigned(id::TRACK_NUMBER, 0), [0xd7, 0x81, 0]);
        assert_eq!(unsigned(id::TIMESTAMP_SCALE, 1_000_000), [0x2a, 0xd7, 0xb1, 0x83, 0x0f, 0x42, 0x40]);
        assert_eq!(element(id::VOID, &[0; 127])[..9], [0xec, 1, 0, 0, 0, 0, 0, 0, 127]);
    }
}
