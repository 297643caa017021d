//! Tells when to ping, and when a connection is dead.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Times of the heartbeat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

/// Signs of life of one connection, set by whoever handles its packets.
#[derive(Debug)]
pub(super) struct Life {
    pong: AtomicBool,
    start: Instant,
    /// Milliseconds after the start at which the last namespace was left, or [`IN_NAMESPACE`].
    left: AtomicU64,
}

const IN_NAMESPACE: u64 = u64::MAX;

impl Life {
    pub(super) fn new() -> Self {
        Self { pong: AtomicBool::new(false), start: Instant::now(), left: AtomicU64::new(0) }
    }

    /// How long it lasts already.
    pub(super) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn pong(&self) {
        self.pong.store(true, Ordering::Relaxed);
    }

    pub(super) fn in_namespace(&self, is: bool) {
        let left = if is { IN_NAMESPACE } else { u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0) };
        self.left.store(left, Ordering::Relaxed);
    }

    fn left(&self) -> Option<Instant> {
        let left = self.left.load(Ordering::Relaxed);
        (left != IN_NAMESPACE).then(|| self.start + Duration::from_millis(left))
    }
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// No pong came in time.
    Dead,
    /// No namespace was entered in time.
    Late,
}

/// The heartbeat of one connection. A ping goes out every interval, and its pong has the timeout to come back.
#[derive(Debug)]
pub(super) struct Keepalive {
    timing: Timing,
    next: Instant,
    awaiting: bool,
}

impl Keepalive {
    pub(super) fn new(timing: Timing) -> Self {
        Self { timing, next: Instant::now() + timing.ping_interval, awaiting: false }
    }

    /// When to ask [`Self::due`] next.
    pub(super) fn deadline(&self, life: &Life) -> Instant {
        life.left().map_or(self.next, |left| self.next.min(left + self.timing.connect_timeout))
    }

    pub(super) fn due(&mut self, now: Instant, life: &Life) -> Due {
        if life.left().is_some_and(|left| left + self.timing.connect_timeout <= now) {
            return Due::Late;
        }
        if now < self.next {
            return Due::Nothing;
        }
        if !self.awaiting {
            life.pong.store(false, Ordering::Relaxed);
            self.awaiting = true;
            self.next = now + self.timing.ping_timeout;
            return Due::Ping;
        }
        if !life.pong.load(Ordering::Relaxed) {
            return Due::Dead;
        }
        self.awaiting = false;
        self.next = now + self.timing.ping_interval.saturating_sub(self.timing.ping_timeout);
        Due::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life() {
        let second = Duration::from_secs(1);
        let timing = Timing { ping_interval: 25 * second, ping_timeout: 20 * second, connect_timeout: 45 * second };
        let life = Life::new();
        let mut keepalive = Keepalive::new(timing);
        let start = Instant::now();
        assert_eq!(keepalive.due(start + 24 * second, &life), Due::Nothing);
        assert_eq!(keepalive.due(start + 25 * second, &life), Due::Ping);
        life.pong();
        assert_eq!(keepalive.due(start + 46 * second, &life), Due::Late);
        life.in_namespace(true);
        assert_eq!(keepalive.due(start + 46 * second, &life), Due::Nothing);
        assert_eq!(keepalive.due(start + 51 * second, &life), Due::Ping);
        assert_eq!(keepalive.due(start + 71 * second, &life), Due::Dead);
    }
}
