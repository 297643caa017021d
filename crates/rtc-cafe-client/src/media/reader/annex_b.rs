//! H.264 as a byte stream (annex B): finds its access units, and counts them, for it has no times.

use std::io::{Read, Seek};

use bytes::{Buf, Bytes, BytesMut};

use super::{DEFAULT_FRAME_RATE, ReadError, Sample, Source};
use crate::media::{Codec, MAX_FRAME, h264};

const CHUNK: usize = 64 << 10;
/// Parameter sets to remember, at most.
const MAX_PARAMETERS: usize = 64 << 10;

pub(super) struct AnnexB<R> {
    input: R,
    buffer: BytesMut,
    /// How much of the buffer has no start code.
    scanned: usize,
    /// Whether the buffer begins behind a start code.
    in_nal: bool,
    at_end: bool,
    /// The first NAL unit of the next access unit.
    pending: Option<Bytes>,
    /// The last parameter sets, with start codes.
    parameters: BytesMut,
    /// Of the stream, or what was given, or the default.
    frame_rate: (u32, u32),
    frames: u64,
}

impl<R: Read + Seek> AnnexB<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            buffer: BytesMut::new(),
            scanned: 0,
            in_nal: false,
            at_end: false,
            pending: None,
            parameters: BytesMut::new(),
            frame_rate: DEFAULT_FRAME_RATE,
            frames: 0,
        }
    }

    fn next_nal(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            let end = h264::find_start_code(&self.buffer[self.scanned..]).map(|at| self.scanned + at);
            if end.is_none() && !self.at_end {
                if self.buffer.len() > MAX_FRAME {
                    return Err(ReadError::FrameTooLarge);
                }
                // A start code may have begun.
                self.scanned = self.buffer.len().saturating_sub(2);
                self.fill()?;
                continue;
            }
            let mut nal = self.buffer.split_to(end.unwrap_or(self.buffer.len()));
            self.buffer.advance(3.min(self.buffer.len()));
            self.scanned = 0;
            nal.truncate(h264::without_trailing_zeros(&nal).len());
            let in_nal = std::mem::replace(&mut self.in_nal, true);
            if in_nal && !nal.is_empty() {
                return Ok(Some(nal.freeze()));
            }
            if end.is_none() {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> Result<(), ReadError> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let read = self.input.read(&mut self.buffer[filled..]);
        self.buffer.truncate(filled + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(0) => self.at_end = true,
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        Ok(())
    }

    /// Learns the frame rate, and the parameter sets of an access unit that has any.
    fn learn(&mut self, unit: &[u8]) {
        let is_parameter = |nal: &&[u8]| matches!(h264::kind(nal), h264::SPS | h264::PPS);
        let mut fresh = false;
        for nal in h264::nals(unit).filter(is_parameter) {
            if h264::kind(nal) == h264::SPS {
                let frame_rate = h264::Sps::parse(nal).and_then(|sps| sps.frame_rate);
                if let Some(frame_rate) = frame_rate.filter(|_| self.frames == 0) {
                    self.frame_rate = frame_rate;
                }
                if !std::mem::replace(&mut fresh, true) {
                    self.parameters.clear();
                }
            }
            if self.parameters.len() + nal.len() < MAX_PARAMETERS {
                append(&mut self.parameters, nal);
            }
        }
    }

    /// So that a keyframe can be the first one that a peer gets, it has the parameter sets even if the file does not
    /// repeat them.
    fn complete(&mut self, unit: BytesMut) -> BytesMut {
        let has = |kind| h264::nals(&unit).any(|nal| h264::kind(nal) == kind);
        if has(h264::SPS) || !has(h264::IDR) || self.parameters.is_empty() {
            return unit;
        }
        let mut complete = self.parameters.clone();
        complete.extend_from_slice(&unit);
        complete
    }
}

impl<R: Read + Seek> Source for AnnexB<R> {
    fn next(&mut self) -> Result<Option<Sample>, ReadError> {
        let mut unit = BytesMut::new();
        let (mut has_picture, mut keyframe) = (false, false);
        loop {
            let nal = match self.pending.take() {
                Some(nal) => Some(nal),
                None => self.next_nal()?,
            };
            let Some(nal) = nal else { break };
            if has_picture && h264::starts_access_unit(&nal) {
                self.pending = Some(nal);
                break;
            }
            if h264::is_bidirectional(&nal) {
                return Err(ReadError::BidirectionalFrames);
            }
            has_picture |= h264::is_slice(&nal);
            keyframe |= h264::kind(&nal) == h264::IDR;
            if !matches!(h264::kind(&nal), h264::DELIMITER | h264::FILLER) {
                append(&mut unit, &nal);
            }
            if unit.len() > MAX_FRAME {
                return Err(ReadError::FrameTooLarge);
            }
        }
        if !has_picture {
            return Ok(None);
        }
        self.learn(&unit);
        let data = self.complete(unit).freeze();
        let (frames, seconds) = self.frame_rate;
        let rate = u128::from(Codec::H264.clock_rate()) * u128::from(seconds);
        let time = |count: u64| (u128::from(count) * rate / u128::from(frames)) as u64;
        let (at, end) = (time(self.frames), time(self.frames + 1));
        self.frames += 1;
        Ok(Some(Sample { data, at, duration: end - at, keyframe }))
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.input.rewind()?;
        self.buffer.clear();
        self.scanned = 0;
        self.in_nal = false;
        self.at_end = false;
        self.pending = None;
        self.frames = 0;
        Ok(())
    }

    fn set_frame_rate(&mut self, frames: u32, seconds: u32) {
        self.frame_rate = (frames, seconds);
    }
}

fn append(unit: &mut BytesMut, nal: &[u8]) {
    unit.extend_from_slice(&h264::START_CODE);
    unit.extend_from_slice(nal);
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const PARAMETERS: [u8; 9] = [0, 0, 1, 0x67, 1, 0, 0, 1, 0x68];
    const PARAMETERS_AS_READ: [u8; 11] = [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68];

    #[test]
    fn finds_pictures_of_several_slices_and_repeats_parameters() {
        let mut data = vec![0, 0, 0, 1, 0x09, 0xf0];
        data.extend(PARAMETERS);
        data.extend([0, 0, 1, 0x65, 0xb8, 0, 0, 0, 1, 0x65, 0x20]);
        data.extend([0, 0, 1, 0x41, 0xe0, 0, 0, 1, 0x0c, 0xff, 0, 0, 1, 0x65, 0xb8]);
        let mut reader = AnnexB::new(Cursor::new(data));
        for _ in 0..2 {
            let frames: Vec<_> = std::iter::from_fn(|| reader.next().unwrap()).collect();
            let first = [&PARAMETERS_AS_READ[..], &[0, 0, 0, 1, 0x65, 0xb8, 0, 0, 0, 1, 0x65, 0x20]].concat();
            assert_eq!(frames.len(), 3);
            assert_eq!((&frames[0].data[..], frames[0].at, frames[0].keyframe), (&first[..], 0, true));
            assert_eq!((&frames[1].data[..], frames[1].at), (&[0, 0, 0, 1, 0x41, 0xe0][..], 3_000));
            let last = [&PARAMETERS_AS_READ[..], &[0, 0, 0, 1, 0x65, 0xb8]].concat();
            assert_eq!((&frames[2].data[..], frames[2].at), (&last[..], 6_000));
            reader.rewind().unwrap();
        }
    }

    #[test]
    fn finds_start_codes_across_reads() {
        struct Drip(Cursor<Vec<u8>>);
        impl Read for Drip {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.0.read(&mut buffer[..1])
            }
        }
        impl Seek for Drip {
            fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
                self.0.seek(to)
            }
        }
        let data = [&PARAMETERS[..], &[0, 0, 0, 1, 0x65, 0xb8], &[0, 0, 0, 1, 0x41, 0xe0]].concat();
        let mut reader = AnnexB::new(Drip(Cursor::new(data)));
        assert_eq!(std::iter::from_fn(|| reader.next().unwrap()).count(), 2);
    }

    #[test]
    fn refuses_what_peers_cannot_show() {
        let mut reader = AnnexB::new(Cursor::new(vec![0, 0, 1, 0x41, 0b1010_0000]));
        assert!(matches!(reader.next(), Err(ReadError::BidirectionalFrames)));
        let mut reader = AnnexB::new(Cursor::new([&[0, 0, 1, 0x41], &vec![7; MAX_FRAME + CHUNK][..]].concat()));
        assert!(matches!(reader.next(), Err(ReadError::FrameTooLarge)));
    }
}
