//! What the hub may be told at construction.

use std::time::Duration;

/// Bounds and contents that the hub works with. The defaults suit a public server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubConfig {
    /// Rooms that one socket may be in. Default: 64.
    pub rooms_per_socket: usize,
    /// Sockets that may be in one room. Default: 1,000.
    pub members_per_room: usize,
    /// Events per second that one connection may send in the long run; a long one counts as several. Default: 500.
    pub events_per_second: u32,
    /// Events that one connection may send at once; entering a full mesh takes about sixteen for every member. Default: 5,000.
    pub burst: u32,
    /// Bytes of the JSON of a client's `id`. Default: 1,024.
    pub id_bytes: usize,
    /// Ended sessions that are remembered to check `prevSid`. Default: 10,000.
    pub remembered_sessions: usize,
    /// How long an ended session is remembered. Default: ten minutes.
    pub remembered_for: Duration,
    /// How often other nodes are told that this one is alive. Default: 10 s.
    pub heartbeat: Duration,
    /// How long after the last sign of life another node, with all its sessions, is gone. Default: 25 s.
    pub lease: Duration,
    /// Other nodes that are dealt with. Default: 256.
    pub nodes: usize,
    /// Bytes that other nodes are told at a time, where they are told everything. Default: 512 KiB.
    pub piece: usize,
    /// Whether what clients leave here is given to those whom they meet: held offers, and answers that come with a join.
    /// Default: yes.
    pub ready_handshakes: bool,
    /// JSON array of `RTCIceServer` for clients of version 1.0. Default: `[]`.
    pub ice_servers: String,
    /// Whether clients are told others in [`Hub::handle_session_request`](super::Hub::handle_session_request). Default: no.
    pub ice_servers_for_each: bool,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            rooms_per_socket: 64,
            members_per_room: 1000,
            events_per_second: 500,
            burst: 5000,
            id_bytes: 1024,
            remembered_sessions: 10_000,
            remembered_for: Duration::from_secs(600),
            heartbeat: Duration::from_secs(10),
            lease: Duration::from_secs(25),
            nodes: 256,
            piece: 512 * 1024,
            ready_handshakes: true,
            ice_servers: String::from("[]"),
            ice_servers_for_each: false,
        }
    }
}
