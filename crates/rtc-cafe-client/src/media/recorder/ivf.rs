//! VP8 and VP9 in IVF, the container of libvpx.

use std::io::{self, Seek, SeekFrom, Write};

use crate::media::{Codec, bitstream};

/// Where the header says how long it plays.
const LENGTH_AT: u64 = 24;

pub(super) struct Ivf<W> {
    output: W,
    codec: Codec,
    has_header: bool,
}

impl<W: Write + Seek> Ivf<W> {
    pub(super) const fn new(output: W, codec: Codec) -> Self {
        Self { output, codec, has_header: false }
    }

    pub(super) fn write(&mut self, data: &[u8], at: u64) -> io::Result<()> {
        if !std::mem::replace(&mut self.has_header, true) {
            self.write_header(data)?;
        }
        let size = u32::try_from(data.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.output.write_all(&size.to_le_bytes())?;
        self.output.write_all(&at.to_le_bytes())?;
        self.output.write_all(data)
    }

    fn write_header(&mut self, keyframe: &[u8]) -> io::Result<()> {
        let (width, height) = bitstream::picture_size(self.codec, keyframe).unwrap_or_default();
        let mut header = [0; 32];
        header[..8].copy_from_slice(b"DKIF\0\0\x20\0");
        header[8..12].copy_from_slice(if self.codec == Codec::Vp8 { b"VP80" } else { b"VP90" });
        header[12..14].copy_from_slice(&(width as u16).to_le_bytes());
        header[14..16].copy_from_slice(&(height as u16).to_le_bytes());
        header[16..20].copy_from_slice(&self.codec.clock_rate().to_le_bytes());
        header[20] = 1;
        self.output.write_all(&header)
    }

    /// Says how long it plays, as FFmpeg does; to libvpx it is the number of frames, which it does not read.
    pub(super) fn finish(&mut self, end: u64) -> io::Result<()> {
        if !self.has_header {
            return Ok(());
        }
        self.output.seek(SeekFrom::Start(LENGTH_AT))?;
        self.output.write_all(&u32::try_from(end).unwrap_or(0).to_le_bytes())?;
        self.output.seek(SeekFrom::End(0))?;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
