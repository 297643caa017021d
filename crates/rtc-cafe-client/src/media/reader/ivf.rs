//! VP8 and VP9 in IVF, the container of libvpx.

use std::io::{Read, Seek, SeekFrom};

use bytes::Bytes;

use super::{ReadError, Sample, Source, is_end};
use crate::media::{Codec, MAX_FRAME, bitstream};

const HEADER: usize = 32;
/// How long the last frame shows, if there is no other to tell by: a thirtieth of a second.
const DEFAULT_DURATION: u64 = 3_000;

pub(super) struct Ivf<R> {
    input: R,
    codec: Codec,
    header_length: u64,
    /// Units of time in so many seconds.
    units: u32,
    seconds: u32,
    first: Option<u64>,
    last: u64,
    duration: u64,
}

impl<R: Read + Seek> Ivf<R> {
    pub(super) fn new(mut input: R) -> Result<Self, ReadError> {
        let mut header = [0; HEADER];
        input.read_exact(&mut header).map_err(|_| ReadError::Damaged("the IVF header is not whole"))?;
        let codec = match &header[8..12] {
            b"VP80" => Codec::Vp8,
            b"VP90" => Codec::Vp9,
            other => return Err(ReadError::Unsupported(other.escape_ascii().to_string())),
        };
        let header_length = u64::from(u16::from_le_bytes([header[6], header[7]]));
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (units, seconds) = (number(16), number(20));
        if header_length < HEADER as u64 || units == 0 || seconds == 0 {
            return Err(ReadError::Damaged("the IVF header makes no sense"));
        }
        input.seek(SeekFrom::Start(header_length))?;
        Ok(Self { input, codec, header_length, units, seconds, first: None, last: 0, duration: DEFAULT_DURATION })
    }

    pub(super) const fn codec(&self) -> Codec {
        self.codec
    }

    fn place(&mut self, time: u64) -> u64 {
        let first = *self.first.get_or_insert(time);
        let rate = u128::from(self.codec.clock_rate()) * u128::from(self.seconds);
        let ticks = u128::from(time.saturating_sub(first)) * rate / u128::from(self.units);
        let at = u64::try_from(ticks).unwrap_or(u64::MAX);
        if at > self.last {
            self.duration = at - self.last;
        }
        self.last = at;
        at
    }
}

impl<R: Read + Seek> Source for Ivf<R> {
    fn next(&mut self) -> Result<Option<Sample>, ReadError> {
        loop {
            let mut header = [0; 12];
            match self.input.read_exact(&mut header) {
                Err(error) if is_end(&error) => return Ok(None),
                result => result?,
            }
            let [s0, s1, s2, s3, time @ ..] = header;
            let size = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
            if size > MAX_FRAME {
                return Err(ReadError::FrameTooLarge);
            }
            let mut data = Vec::new();
            (&mut self.input).take(size as u64).read_to_end(&mut data)?;
            if data.len() < size {
                return Ok(None);
            }
            if size > 0 {
                let at = self.place(u64::from_le_bytes(time));
                let keyframe = bitstream::is_keyframe(self.codec, &data);
                return Ok(Some(Sample { data: Bytes::from(data), at, duration: self.duration, keyframe }));
            }
        }
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.last = 0;
        self.input.seek(SeekFrom::Start(self.header_length))?;
        Ok(())
    }
}
