//! Reads media files frame by frame, with the time of each.

mod annex_b;
mod ivf;
mod ogg;

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
};

use bytes::Bytes;

use super::{Codec, Frame, MAX_FRAME, h264};

/// Frames in a second of an H.264 file that does not say.
const DEFAULT_FRAME_RATE: (u32, u32) = (30, 1);

/// Why a media file can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("cannot read the media file: {0}")]
    Io(#[from] io::Error),
    /// It begins like nothing that we know.
    #[error(
        "not a media file that can be read here: supported are Opus in Ogg, VP8 and VP9 in IVF, and H.264 as a byte \
         stream; convert others, as with `ffmpeg -i FILE -an -c:v libvpx out.ivf` or `ffmpeg -i FILE -vn out.opus`"
    )]
    NotMedia,
    /// A container that we know holds something else.
    #[error("the file holds {0}, which cannot be sent: supported are Opus, VP8, VP9 and H.264")]
    Unsupported(String),
    /// It has pictures that need later ones, which peers cannot play.
    #[error("the H.264 has B-frames, which peers cannot play: encode it without, as with `ffmpeg -bf 0`")]
    BidirectionalFrames,
    /// It is not what it claims to be.
    #[error("the media file is damaged: {0}")]
    Damaged(&'static str),
    /// A frame is beyond all measure.
    #[error("the media file is damaged: a frame has more than {MAX_FRAME} bytes")]
    FrameTooLarge,
}

/// Reads the frames of a file, one after another.
///
/// What it is is told by its content: Opus in Ogg (RFC 7845), VP8 or VP9 in IVF, or H.264 as a byte stream (annex B).
/// However long the file is, little of it is in memory. A file that ends within a frame, for its writer was killed,
/// ends before it.
///
/// ```no_run
/// use rtc_cafe_client::media::MediaReader;
///
/// let mut reader = MediaReader::open("talk.opus")?;
/// while let Some(frame) = reader.next_frame()? {
///     println!("{} bytes at {}", frame.data.len(), frame.timestamp);
/// }
/// # Ok::<(), rtc_cafe_client::media::ReadError>(())
/// ```
pub struct MediaReader {
    source: Box<dyn Source + Send>,
    codec: Codec,
    /// Where this round began and ends so far, in units of the codec's clock rate.
    begin: u64,
    end: u64,
}

/// A container.
trait Source {
    fn next(&mut self) -> Result<Option<Sample>, ReadError>;
    fn rewind(&mut self) -> Result<(), ReadError>;
    /// Only H.264 does not know its own.
    fn set_frame_rate(&mut self, _frames: u32, _seconds: u32) {}
}

/// A frame of a container, in units of the codec's clock rate from the beginning.
struct Sample {
    data: Bytes,
    at: u64,
    duration: u64,
    keyframe: bool,
}

impl MediaReader {
    /// Opens a file and looks at its beginning.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        Self::new(BufReader::new(File::open(path)?))
    }

    /// Reads from memory or whatever else; buffer it, for it is read in small pieces.
    pub fn new(input: impl Read + Seek + Send + 'static) -> Result<Self, ReadError> {
        let mut input = input;
        input.rewind()?;
        let mut start = Vec::new();
        (&mut input).take(64).read_to_end(&mut start)?;
        input.rewind()?;
        let (codec, source): (_, Box<dyn Source + Send>) = if start.starts_with(b"OggS") {
            (Codec::Opus, Box::new(ogg::Ogg::new(input)?))
        } else if start.starts_with(b"DKIF") {
            let ivf = ivf::Ivf::new(input)?;
            (ivf.codec(), Box::new(ivf))
        } else if is_byte_stream(&start) {
            (Codec::H264, Box::new(annex_b::AnnexB::new(input)))
        } else {
            return Err(ReadError::NotMedia);
        };
        Ok(Self { source, codec, begin: 0, end: 0 })
    }

    /// How often an H.264 file shows a picture, if it does not say so itself: so many frames in so many seconds.
    /// The default is 30 in one.
    ///
    /// Other files know when to show what; for them, and for 0, nothing happens.
    #[must_use]
    pub fn with_frame_rate(mut self, frames: u32, seconds: u32) -> Self {
        if frames > 0 && seconds > 0 {
            self.source.set_frame_rate(frames, seconds);
        }
        self
    }

    /// How the file is encoded.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The next frame, or none at the end. The first one of all has the timestamp 0.
    ///
    /// After an error, the only thing to do is to [`rewind`](Self::rewind) or to give up.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ReadError> {
        let Some(Sample { data, at, duration, keyframe }) = self.source.next()? else { return Ok(None) };
        let at = self.begin.wrapping_add(at);
        self.end = self.end.max(at.wrapping_add(duration));
        Ok(Some(Frame { data, timestamp: at as u32, keyframe }))
    }

    /// Goes back to the first frame. Timestamps go on from the end of the last one, so that a file plays in a loop.
    pub fn rewind(&mut self) -> Result<(), ReadError> {
        self.begin = self.end;
        self.source.rewind()
    }
}

impl fmt::Debug for MediaReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaReader").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// Whether it starts with a start code and a NAL unit of H.264 that may be first.
fn is_byte_stream(start: &[u8]) -> bool {
    let Some(zeros) = start.iter().position(|byte| *byte != 0) else { return false };
    let (code, nal) = start.split_at((zeros + 1).min(start.len()));
    zeros >= 2
        && code.last() == Some(&1)
        && nal.first().is_some_and(|header| header & 0x80 == 0)
        && matches!(h264::kind(nal), 1 | h264::IDR..=h264::DELIMITER)
}

/// Whether it was the end of the file that ended the reading.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn drain(data: Vec<u8>) -> Result<Vec<Frame>, ReadError> {
        let mut reader = MediaReader::new(Cursor::new(data))?;
        std::iter::from_fn(|| reader.next_frame().transpose()).collect()
    }

    #[test]
    fn says_what_it_can_read() {
        for other in [&b""[..], b"RIFF", b"\0\0\0\x18ftypmp42", b"\0\0\x01\xba", b"\0\0\0\x01\x40\x01", &[0; 80]] {
            let error = drain(other.to_vec()).unwrap_err();
            assert!(matches!(error, ReadError::NotMedia) && error.to_string().contains("Opus in Ogg"));
        }
        assert!(matches!(MediaReader::open("/nowhere"), Err(ReadError::Io(_))));
    }

    proptest! {
        #[test]
        fn hostile_files_do_no_harm(
            start in 0_usize..4,
            rest in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(0x67), Just(0x65), any::<u8>()], 0..400),
        ) {
            let starts = [&b"OggS\0\x02"[..], b"DKIF\0\0\x20\0VP80", b"\0\0\0\x01\x67", b""];
            let _ = drain([starts[start], &rest].concat());
        }
    }
}
