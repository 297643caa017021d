//! Connections to the signalling server: ordered and reliable while they last, like TCP.

use rtc_cafe_signaller::hub::SocketId;

/// One connection of a node to the server.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// Tells it from the node's earlier connections.
    pub(crate) number: u64,
    pub(crate) socket: SocketId,
    /// When the last thing sent to the server arrives there; nothing overtakes it.
    pub(crate) upstream: u64,
}
