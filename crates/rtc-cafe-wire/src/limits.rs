//! Bounds on everything that crosses the network.

/// Longest Socket.IO payload that a server takes, in bytes (the original's `maxPayload`).
pub const MAX_PAYLOAD: usize = 1_000_000;
/// Longest room id, in bytes of its JSON text.
pub const MAX_ROOM_ID: usize = 256;
/// Longest session id or permanent id, in bytes.
pub const MAX_ID: usize = 128;
/// Longest name of a signal, in bytes.
pub const MAX_EVENT_NAME: usize = 64;
/// Longest session description, in bytes.
pub const MAX_SDP: usize = 256 * 1024;
/// Longest ICE candidate line, in bytes.
pub const MAX_CANDIDATE: usize = 2048;
/// Deepest nesting of JSON that is read.
pub const MAX_DEPTH: usize = 64;

/// Longest frame on a data channel, in bytes: what every WebRTC stack takes (RFC 8841 section 6.1).
pub const MAX_FRAME: usize = 65_536;
/// Longest header of a peer frame, in bytes.
pub const MAX_HEADER: usize = 16_384;
/// Longest body of a frame, in bytes, so that a frame stays below [`MAX_FRAME`]; what is longer goes in parts.
pub const MAX_PART: usize = MAX_FRAME - MAX_HEADER;
/// Longest description of a track, in bytes of its JSON.
pub const MAX_DESCRIPTION: usize = 16 * 1024;
/// Peers that one frame names at most, so that their names fit into a header.
pub const MAX_PEERS: usize = 60;
/// How many others may pass on a step of a handshake.
pub const MAX_HOPS: u32 = 2;
/// Tracks that a client offers at most.
pub const MAX_TRACKS: usize = 64;
/// Longest message to a peer, in bytes of its JSON text.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;
