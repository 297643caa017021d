//! Opus in Ogg (RFC 7845).

use std::io::{self, Write};

use ogg::{PacketWriteEndInfo, PacketWriter};

use super::opus_head;
use crate::media::bitstream;

/// Of the only stream.
const SERIAL: u32 = 1;
/// A page holds at least so many samples, a second; it is written when it is whole.
const PAGE: u64 = 48_000;
/// The most that one packet may last, 120 ms.
const LONGEST: u64 = 5_760;

pub(super) struct Ogg<W: Write> {
    packets: PacketWriter<'static, W>,
    /// Held back, as the last one of all must say so.
    last: Option<Vec<u8>>,
    /// Samples in all packets, and in those of whole pages.
    end: u64,
    page: u64,
}

impl<W: Write> Ogg<W> {
    pub(super) fn new(output: W) -> io::Result<Self> {
        let mut packets = PacketWriter::new(output);
        packets.write_packet(opus_head().to_vec(), SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        let vendor = b"RTCCafe";
        let mut tags = b"OpusTags".to_vec();
        tags.extend((vendor.len() as u32).to_le_bytes());
        tags.extend(vendor);
        tags.extend(0_u32.to_le_bytes());
        packets.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self { packets, last: None, end: 0, page: 0 })
    }

    pub(super) fn write(&mut self, packet: &[u8], at: u64) -> io::Result<()> {
        self.fill(packet[0], at)?;
        self.push(packet.to_vec())
    }

    /// The position of a page is the number of samples before its end, so that what was lost or never sent needs packets
    /// as well: empty ones, which a decoder conceals (RFC 7845, section 4.1).
    fn fill(&mut self, toc: u8, at: u64) -> io::Result<()> {
        let frame = u64::from(bitstream::opus_frame_size(toc));
        // In code 3 a packet has a number of frames, here of no bytes each (RFC 6716, section 3.2.5).
        let most = LONGEST / frame;
        let mut missing = at.saturating_sub(self.end) / frame;
        while missing > 0 {
            let frames = missing.min(most);
            self.push(vec![toc | 3, frames as u8])?;
            missing -= frames;
        }
        Ok(())
    }

    fn push(&mut self, packet: Vec<u8>) -> io::Result<()> {
        self.write_last(false)?;
        self.end += u64::from(bitstream::opus_duration(&packet).unwrap_or_default());
        self.last = Some(packet);
        Ok(())
    }

    fn write_last(&mut self, is_end: bool) -> io::Result<()> {
        let Some(packet) = self.last.take() else { return Ok(()) };
        let info = if is_end {
            PacketWriteEndInfo::EndStream
        } else if self.end - self.page >= PAGE {
            self.page = self.end;
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
        self.packets.write_packet(packet, SERIAL, info, self.end)
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.write_last(true)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.packets.inner_mut().flush()
    }
}
