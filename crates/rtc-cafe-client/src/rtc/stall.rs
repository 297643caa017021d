//! Notices that nothing of what was sent is acknowledged, though there is a path.
//!
//! Where datagrams are lost, SCTP sends again after pauses that double with each attempt that nothing comes of (RFC 9260
//! section 6.3.3). str0m has them grow up to a minute; another connection is there sooner.

use std::time::{Duration, Instant};

/// After so long another connection is quicker: the pauses add up to 1, 3, 7, 15, 31 seconds and more.
const STALLED: Duration = Duration::from_secs(8);
/// A deadline that is noticed so much later was slept over.
const OVERSLEPT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Stall {
    /// Bytes that were acknowledged in all.
    acknowledged: usize,
    /// Since when that has not grown, while something waits for it.
    since: Option<Instant>,
}

impl Stall {
    pub(super) const fn new() -> Self {
        Self { acknowledged: 0, since: None }
    }

    /// So many of the bytes that were written are acknowledged by now.
    pub(super) fn see(&mut self, written: usize, acknowledged: usize, now: Instant) {
        let grown = std::mem::replace(&mut self.acknowledged, acknowledged) < acknowledged;
        if acknowledged >= written {
            self.since = None;
        } else if grown || self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// There was no path, or nothing to conclude from it.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        if let Some(since) = &mut self.since {
            *since = now;
        }
    }

    /// When to ask [`Self::is_over`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + STALLED)
    }

    /// Whether it has taken too long. If so, as much time passes until that is said again.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let Some(deadline) = self.deadline().filter(|deadline| now >= *deadline) else { return false };
        self.since = Some(now);
        now <= deadline + OVERSLEPT
    }
}
