//! How data travels between a client and the server.

/// RFC 8656 section 12.5: the first two bits tell channels from STUN.
pub(crate) fn is_channel_data(data: &[u8]) -> bool {
    data.first().is_some_and(|first| first >> 6 == 1)
}

/// What a client gets of a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FromPeer<'a> {
    /// On a channel, with so many zeros behind it.
    Channel { number: u16, data: &'a [u8], padding: usize },
    /// As an indication.
    Indication(Vec<u8>),
}

impl FromPeer<'_> {
    /// Bytes of the whole message.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::Channel { data, padding, .. } => 4 + data.len() + padding,
            Self::Indication(message) => message.len(),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Indication(message) => message,
            Self::Channel { .. } => {
                let mut out = Vec::with_capacity(self.length());
                self.write(&mut out);
                out
            }
        }
    }

    /// Appends the message.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Channel { number, data, padding } => {
                out.extend_from_slice(&number.to_be_bytes());
                out.extend_from_slice(&(data.len() as u16).to_be_bytes());
                out.extend_from_slice(data);
                out.extend_from_slice(&[0; 3][..*padding]);
            }
            Self::Indication(message) => out.extend_from_slice(message),
        }
    }
}
