//! Records frames to media files that players open.

mod ivf;
mod matroska;
mod ogg;
mod timeline;

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Seek, Write},
    path::Path,
    time::Duration,
};

use self::timeline::Timeline;
use super::{Codec, Frame, bitstream, h264};

/// Why something can't be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The operating system refused.
    #[error("cannot write the recording: {0}")]
    Io(#[from] io::Error),
    /// The name of the file does not tell what to make of it.
    #[error("cannot tell a container from the name of the file: end it in .{}", .0.extension())]
    UnknownExtension(Codec),
    /// The container has no place for it.
    #[error("{codec} does not fit into .{extension}: end the name of the file in .{}", .codec.extension())]
    Mismatch {
        /// What is to be recorded.
        codec: Codec,
        /// What the name ends in.
        extension: String,
    },
}

/// Records one track to a file.
///
/// What is written can be played even if the program is killed; what is missing then is up to a second at the end, and
/// the duration in the header. Dropping the recorder finishes the file, but hides errors.
///
/// Video begins with the first keyframe, which is of use to players: what comes before is left out. Time begins with
/// the first frame that is written, whatever its timestamp is.
pub struct Recorder {
    codec: Codec,
    container: Container<BufWriter<File>>,
    timeline: Timeline,
    frames: u64,
    /// Whether a frame has come that a player can begin with.
    started: bool,
    flushed: u64,
    finished: bool,
}

enum Container<W: Write + Seek> {
    Ogg(ogg::Ogg<W>),
    Ivf(ivf::Ivf<W>),
    Matroska(matroska::Matroska<W>),
    /// H.264 as it is.
    ByteStream(W),
}

impl Recorder {
    /// Creates a file, or makes an existing one empty.
    ///
    /// The container is told by the extension: `.ogg` or `.opus` for Opus; `.ivf` for VP8 and VP9; `.h264` or `.264`
    /// for H.264, which keeps no times; `.webm` for Opus, VP8 and VP9; `.mkv` for all.
    /// [`Codec::extension`] is a good choice.
    pub fn create(path: impl AsRef<Path>, codec: Codec) -> Result<Self, RecordError> {
        let path = path.as_ref();
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let kind = Kind::of(codec, extension.as_deref().unwrap_or_default())?;
        let file = BufWriter::new(File::create(path)?);
        let container = match kind {
            Kind::Ogg => Container::Ogg(ogg::Ogg::new(file)?),
            Kind::Ivf => Container::Ivf(ivf::Ivf::new(file, codec)),
            Kind::Webm => Container::Matroska(matroska::Matroska::new(file, codec, "webm")),
            Kind::Matroska => Container::Matroska(matroska::Matroska::new(file, codec, "matroska")),
            Kind::ByteStream => Container::ByteStream(file),
        };
        let timeline = Timeline::new(codec);
        Ok(Self { codec, container, timeline, frames: 0, started: false, flushed: 0, finished: false })
    }

    /// Writes a frame, which follows those before. Blocks as writing a file does.
    pub fn write(&mut self, frame: &Frame) -> Result<(), RecordError> {
        if frame.data.is_empty() || !self.starts(frame) {
            return Ok(());
        }
        let duration = if self.codec == Codec::Opus {
            // What is malformed plays for no time, and no player wants it.
            let Some(duration) = bitstream::opus_duration(&frame.data) else { return Ok(()) };
            Some(u64::from(duration))
        } else {
            None
        };
        let at = self.timeline.place(frame.timestamp, duration);
        match &mut self.container {
            Container::Ogg(ogg) => ogg.write(&frame.data, at)?,
            Container::Ivf(ivf) => ivf.write(&frame.data, at)?,
            Container::Matroska(matroska) => matroska.write(frame, at)?,
            Container::ByteStream(file) => file.write_all(&frame.data)?,
        }
        self.frames += 1;
        if at - self.flushed >= u64::from(self.codec.clock_rate()) {
            self.flushed = at;
            self.flush()?;
        }
        Ok(())
    }

    /// Completes the file. Without a single frame, it stays one that no player opens.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.complete()
    }

    /// How many frames were written.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// How long it plays.
    pub fn duration(&self) -> Duration {
        let rate = u64::from(self.codec.clock_rate());
        let ticks = self.timeline.end();
        Duration::new(ticks / rate, (ticks % rate * 1_000_000_000 / rate) as u32)
    }

    /// Whether a player can begin with this frame, or has before.
    fn starts(&mut self, frame: &Frame) -> bool {
        if !self.started {
            let has_size = || bitstream::picture_size(self.codec, &frame.data).is_some();
            self.started = self.codec == Codec::Opus || frame.keyframe && has_size();
        }
        self.started
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.container {
            Container::Ogg(ogg) => ogg.flush(),
            Container::Ivf(ivf) => ivf.flush(),
            Container::Matroska(matroska) => matroska.flush(),
            Container::ByteStream(file) => file.flush(),
        }
    }

    fn complete(&mut self) -> Result<(), RecordError> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        let end = self.timeline.end();
        match &mut self.container {
            Container::Ogg(ogg) => ogg.finish()?,
            Container::Ivf(ivf) => ivf.finish(end)?,
            Container::Matroska(matroska) => matroska.finish(end)?,
            Container::ByteStream(_) => {}
        }
        Ok(self.flush()?)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.complete();
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("codec", &self.codec).field("frames", &self.frames).finish_non_exhaustive()
    }
}

/// What a file is made of.
enum Kind {
    Ogg,
    Ivf,
    Webm,
    Matroska,
    ByteStream,
}

impl Kind {
    fn of(codec: Codec, extension: &str) -> Result<Self, RecordError> {
        let (kind, fits) = match extension {
            "ogg" | "opus" => (Self::Ogg, codec == Codec::Opus),
            "ivf" => (Self::Ivf, matches!(codec, Codec::Vp8 | Codec::Vp9)),
            "webm" => (Self::Webm, codec != Codec::H264),
            "mkv" => (Self::Matroska, true),
            "h264" | "264" => (Self::ByteStream, codec == Codec::H264),
            _ => return Err(RecordError::UnknownExtension(codec)),
        };
        if fits { Ok(kind) } else { Err(RecordError::Mismatch { codec, extension: extension.into() }) }
    }
}

/// What decoders of Opus must know first (RFC 7845, section 5.1), the same in Ogg and Matroska.
fn opus_head() -> [u8; 19] {
    let mut head = *b"OpusHead\x01\x02\0\0\0\0\0\0\0\0\0";
    head[10..12].copy_from_slice(&OPUS_PRE_SKIP.to_le_bytes());
    head[12..16].copy_from_slice(&48_000_u32.to_le_bytes());
    head
}

/// Samples that an encoder looks ahead, which are not to be played: what libopus has, as packets do not say.
const OPUS_PRE_SKIP: u16 = 312;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        let create = |name: &str, codec| Recorder::create(folder.path().join(name), codec);
        let error = create("call.webm", Codec::H264).unwrap_err();
        assert_eq!(error.to_string(), "H.264 does not fit into .webm: end the name of the file in .mkv");
        let error = create("call", Codec::Vp8).unwrap_err();
        assert_eq!(error.to_string(), "cannot tell a container from the name of the file: end it in .webm");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is created then");
        for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264] {
            create(&format!("CALL.{}", codec.extension().to_uppercase()), codec).unwrap().finish().unwrap();
            create("call.mkv", codec).unwrap().finish().unwrap();
        }
    }

    #[test]
    fn video_begins_with_a_keyframe() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.ivf");
        let mut recorder = Recorder::create(&path, Codec::Vp8).unwrap();
        let key = vec![0x10, 2, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0];
        for (timestamp, data, keyframe) in
            [(0, vec![0x11, 0], false), (3_000, key, true), (6_000, vec![0x11, 1], false)]
        {
            recorder.write(&Frame { data: data.into(), timestamp, keyframe }).unwrap();
        }
        assert_eq!(
            (recorder.frames(), recorder.duration()),
            (2, Duration::from_micros(66_666) + Duration::from_nanos(666))
        );
        drop(recorder);
        let file = std::fs::read(path).unwrap();
        assert_eq!(file.len(), 32 + 12 + 10 + 12 + 2);
        assert_eq!(file[12..16], [0x40, 1, 0xf0, 0]);
        assert_eq!(file[24..28], 6_000_u32.to_le_bytes());
    }
}
