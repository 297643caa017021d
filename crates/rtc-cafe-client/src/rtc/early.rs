//! The beginning of a handshake that has overtaken the answer.
//!
//! The answer goes over the server. Who has written it has a path as soon as its checks come through, and begins with
//! DTLS; that is often sooner than the answer arrives. str0m does not take it then, and DTLS tries again only after a
//! second.

use std::{net::SocketAddr, time::Instant};

use str0m::Rtc;

use super::input;

/// A flight of a handshake has no more datagrams.
const MOST: usize = 8;
/// The largest of them.
const MOST_BYTES: usize = 1500;

/// Local and remote address, and the content.
type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

/// Datagrams of DTLS that wait until they are taken.
#[derive(Debug, Default)]
pub(super) struct Early(Vec<Datagram>);

impl Early {
    pub(super) fn keep(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8]) {
        // RFC 7983 section 7: the first byte tells DTLS from others.
        let is_dtls = data.first().is_some_and(|first| (20..64).contains(first));
        if is_dtls && data.len() <= MOST_BYTES && self.0.len() < MOST {
            self.0.push((local, remote, data.to_vec()));
        }
    }

    /// The first one, if it is accepted by now.
    pub(super) fn take(&mut self, rtc: &Rtc, now: Instant) -> Option<Datagram> {
        let (local, remote, data) = self.0.first()?;
        rtc.accepts(&input(*local, *remote, data, now)?).then(|| self.0.remove(0))
    }
}
