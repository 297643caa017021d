//! Opus in Ogg (RFC 7845).

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use ogg::{OggReadError, PacketReader};

use super::{ReadError, Sample, Source, is_end};
use crate::media::bitstream;

/// Bytes to read for the next packet, at most. Other streams and pictures of covers count as well.
const MAX_EFFORT: u64 = 16 << 20;
/// Streams in a file, at most.
const MAX_STREAMS: usize = 64;

pub(super) struct Ogg<R: Read + Seek> {
    packets: PacketReader<Bounded<R>>,
    /// The stream that we read.
    serial: u32,
    streams: usize,
    at: u64,
}

impl<R: Read + Seek> Ogg<R> {
    pub(super) fn new(input: R) -> Result<Self, ReadError> {
        let packets = PacketReader::new(Bounded { input, left: MAX_EFFORT });
        let mut ogg = Self { packets, serial: 0, streams: 0, at: 0 };
        ogg.find_stream()?;
        Ok(ogg)
    }

    /// All streams begin before any goes on (RFC 3533, section 6).
    fn find_stream(&mut self) -> Result<(), ReadError> {
        let mut other = String::from("no stream");
        while let Some(packet) = self.packet()? {
            if !packet.first_in_stream() {
                break;
            }
            if let Some(head) = packet.data.strip_prefix(b"OpusHead") {
                // Streams of several channels are in several parts, which RTP has no place for.
                if head.get(10).is_none_or(|family| *family != 0) {
                    return Err(ReadError::Unsupported("Opus of more than two channels".into()));
                }
                self.serial = packet.stream_serial();
                return Ok(());
            }
            let name: &[u8] = packet.data.get(..8).unwrap_or(&packet.data);
            other = name.escape_ascii().to_string();
        }
        Err(ReadError::Unsupported(format!("Ogg without Opus ({other})")))
    }

    fn packet(&mut self) -> Result<Option<ogg::Packet>, ReadError> {
        let packet = match self.packets.read_packet() {
            Ok(packet) => packet,
            Err(OggReadError::ReadError(error)) if is_end(&error) => None,
            Err(OggReadError::ReadError(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(ReadError::FrameTooLarge);
            }
            Err(OggReadError::ReadError(error)) => return Err(error.into()),
            Err(_) => return Err(ReadError::Damaged("an Ogg page makes no sense")),
        };
        if packet.as_ref().is_some_and(ogg::Packet::first_in_stream) {
            self.streams += 1;
            if self.streams > MAX_STREAMS {
                return Err(ReadError::Damaged("there are too many Ogg streams"));
            }
        }
        Ok(packet)
    }
}

impl<R: Read + Seek> Source for Ogg<R> {
    fn next(&mut self) -> Result<Option<Sample>, ReadError> {
        self.packets.get_mut().left = MAX_EFFORT;
        while let Some(packet) = self.packet()? {
            // Files can be put one behind the other (RFC 7845, section 3).
            if packet.first_in_stream() && packet.data.starts_with(b"OpusHead") {
                self.serial = packet.stream_serial();
            } else if packet.stream_serial() == self.serial && !packet.data.starts_with(b"OpusTags") {
                // What is malformed plays for no time.
                let Some(duration) = bitstream::opus_duration(&packet.data) else { continue };
                let at = self.at;
                self.at += u64::from(duration);
                let data = Bytes::from(packet.data);
                return Ok(Some(Sample { data, at, duration: duration.into(), keyframe: true }));
            }
        }
        Ok(None)
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.packets.seek_bytes(SeekFrom::Start(0)).map_err(ReadError::Io)?;
        self.packets.delete_unread_packets();
        self.packets.get_mut().left = MAX_EFFORT;
        self.streams = 0;
        self.at = 0;
        self.find_stream()
    }
}

/// Refuses to read on for ever, since a packet of Ogg may be of any size.
struct Bounded<R> {
    input: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}
