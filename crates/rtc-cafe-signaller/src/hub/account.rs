//! What one connection may still use up, over however many sockets it has one after the other.

use std::time::Duration;

use super::bucket::Bucket;

/// Ended sessions that are remembered of one connection.
const REMEMBERED: u8 = 4;

/// How much a connection may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Events in the long run.
    pub(super) per_second: u32,
    /// Events at once.
    pub(super) burst: u32,
}

/// The allowance of a connection.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) bucket: Bucket,
    /// Where it is another one than that of all.
    pub(super) rate: Option<Rate>,
    remembered: u8,
}

impl Account {
    /// Takes tokens, also those that are not there yet.
    pub(super) fn owe(&mut self, now: Duration, tokens: u32, default: Rate) {
        let Rate { per_second, burst } = self.rate.unwrap_or(default);
        self.bucket.charge(now, tokens, per_second, burst);
    }

    /// Whether one more of its sessions is to be remembered: one connection must not push out those of all others.
    pub(super) const fn remember(&mut self) -> bool {
        let remember = self.remembered < REMEMBERED;
        if remember {
            self.remembered += 1;
        }
        remember
    }
}

/// What a message of so many bytes costs.
pub(super) fn price(bytes: usize) -> u32 {
    1 + u32::try_from(bytes / (16 * 1024)).unwrap_or(u32::MAX - 1)
}

/// What telling so many members costs besides.
pub(super) fn announcing(members: usize) -> u32 {
    u32::try_from(members / 16).unwrap_or(u32::MAX)
}
