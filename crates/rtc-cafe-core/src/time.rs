//! The time as the core is told it.

use std::{ops::Add, time::Duration};

/// A moment, in milliseconds since a moment that the driver chose; it never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The moment so many milliseconds after the beginning.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the beginning.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    // Out of line it is smaller: docs/decisions/004-browser-backend.md.
    #[inline(never)]
    fn add(self, duration: Duration) -> Self {
        // `Duration::as_millis` has 128 bits, whose arithmetic the browser would have to load.
        let millis = duration.as_secs().saturating_mul(1000).saturating_add(u64::from(duration.subsec_millis()));
        Self(self.0.saturating_add(millis))
    }
}
