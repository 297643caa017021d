//! Encoded media: packets and frames, the files they come from and go to. Nothing here decodes, waits or knows a clock.

mod bitstream;
mod depacketize;
#[cfg(test)]
mod ffmpeg_tests;
mod h264;
mod packetize;
mod payload;
mod reader;
mod recorder;
mod reorder;
mod rtp;

use std::fmt;

use bytes::Bytes;
use rtc_cafe_core::TrackKind;

pub use self::{
    depacketize::{Depacketized, Depacketizer},
    packetize::Packetizer,
    reader::{MediaReader, ReadError},
    recorder::{RecordError, Recorder},
    rtp::{RtpError, RtpHeader, Unwrapper},
};

/// The largest frame that we put together or read, in bytes. A second of video seldom has as many.
const MAX_FRAME: usize = 8 << 20;

/// How a track is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Opus (RFC 6716), in RTP by RFC 7587.
    Opus,
    /// VP8 (RFC 6386), in RTP by RFC 7741.
    Vp8,
    /// VP9, in RTP by RFC 9628.
    Vp9,
    /// H.264, in RTP by RFC 6184, packetization mode 1.
    H264,
}

impl Codec {
    /// Whether it is of sound or of pictures.
    pub const fn kind(self) -> TrackKind {
        match self {
            Self::Opus => TrackKind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 => TrackKind::Video,
        }
    }

    /// The extension of the file that a [`Recorder`] makes of it, unless told otherwise: one that keeps the times of
    /// frames, and that browsers and players open.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Opus => "ogg",
            Self::Vp8 | Self::Vp9 => "webm",
            Self::H264 => "mkv",
        }
    }

    /// Units of an RTP timestamp in a second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Vp8 | Self::Vp9 | Self::H264 => 90_000,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opus => "Opus",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H.264",
        })
    }
}

/// One RTP packet (RFC 3550), without what belongs to a single connection: payload type, SSRC and header extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpPacket {
    /// The sequence number, extended beyond its 16 bits so that it does not wrap.
    pub sequence: u64,
    /// The timestamp, in units of the codec's [`clock_rate`](Codec::clock_rate).
    pub timestamp: u32,
    /// The marker bit: the last packet of a video frame.
    pub marker: bool,
    /// The payload, in the codec's RTP payload format.
    pub payload: Bytes,
}

/// One encoded frame: a picture of video, or a packet of audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The encoded data: an Opus packet, a VP8 or VP9 frame, an H.264 access unit in Annex B form.
    pub data: Bytes,
    /// When it is to be shown, in units of the codec's [`clock_rate`](Codec::clock_rate); it wraps.
    pub timestamp: u32,
    /// Whether it can be decoded without earlier ones.
    pub keyframe: bool,
}
