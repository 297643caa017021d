//! Notices that this machine has slept: its clocks have not gone on alike, or the driver was not run for a while.

use std::time::{Duration, Instant, SystemTime};

use super::Driver;

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(5);
/// So much is no mere delay.
const SLEPT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Clock {
    instant: Instant,
    system: SystemTime,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { instant: Instant::now(), system: SystemTime::now() }
    }

    /// When to call [`Self::has_slept`].
    pub(super) fn deadline(&self) -> Instant {
        self.instant + EVERY
    }

    /// Whether this machine has slept since the last call. That is in vain before the deadline.
    pub(super) fn has_slept(&mut self, now: Instant, system: SystemTime) -> bool {
        if now < self.deadline() {
            return false;
        }
        let passed = now.duration_since(self.instant);
        // A clock that is set back tells nothing.
        let on_the_wall = system.duration_since(self.system).unwrap_or_default();
        *self = Self { instant: now, system };
        passed.max(on_the_wall) > EVERY + SLEPT
    }
}

impl Driver {
    /// Sees to what this machine has slept through.
    pub(super) fn look_at_clock(&mut self, now: Instant) {
        if self.clock.has_slept(now, SystemTime::now()) {
            tracing::info!("this machine has slept");
            self.signalling.retry_now();
            self.endpoint.look_now();
            self.shared.with(|state, time| state.core.handle_wake(time));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leap_is_sleep() {
        let mut clock = Clock::new();
        let (mut now, mut system) = (clock.instant, clock.system);
        let mut passes = |instant: u64, wall: i64| {
            now += Duration::from_secs(instant);
            let step = Duration::from_secs(wall.unsigned_abs());
            system = if wall < 0 { system - step } else { system + step };
            clock.has_slept(now, system)
        };
        assert!(!passes(1, 1000), "it is looked at every 5 seconds");
        assert!(passes(4, 4), "what was suspended");
        assert!(!passes(5, 5));
        assert!(!passes(7, 7));
        assert!(!passes(5, -100), "a clock that is set back");
        assert!(passes(11, 11), "what was stopped");
    }
}
