//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// The waits between attempts: doubled with each, up to a longest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BackoffConfig {
    /// The first wait. Default: 250 milliseconds.
    pub(crate) first: Duration,
    /// The longest wait. Default: 2 seconds.
    pub(crate) max: Duration,
    /// By which part of itself a wait is shortened or prolonged at random, from 0 to 1. Default: 0.5.
    pub(crate) jitter: f64,
}

impl Default for BackoffConfig {
    /// Shorter than socket.io-client's defaults, as those of the client in browsers: a room notices less.
    fn default() -> Self {
        Self { first: Duration::from_millis(250), max: Duration::from_secs(2), jitter: 0.5 }
    }
}

/// Tells the waits of one client.
///
/// Unlike socket.io-client it varies the longest wait as well: all clients of a server that comes back after a minute
/// would otherwise come at once.
#[derive(Debug)]
pub(super) struct Backoff {
    config: BackoffConfig,
    attempts: u32,
    random: u64,
}

impl Backoff {
    pub(super) const fn new(config: BackoffConfig, seed: u64) -> Self {
        Self { config, attempts: 0, random: seed }
    }

    /// The connection is there: the next wait is the first one again.
    pub(super) const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The wait before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let BackoffConfig { first, max, jitter } = self.config;
        let factor = 1u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let wait = first.saturating_mul(factor).min(max);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
        let shortest = wait.mul_f64(1.0 - jitter);
        let longest = wait.mul_f64(1.0 + jitter).min(max);
        shortest + longest.saturating_sub(shortest).mul_f64(self.draw())
    }

    /// A number from 0 to 1 by SplitMix64 (Steele, Lea and Flood).
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        f64::from((z >> 32) as u32) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const CONFIG: BackoffConfig = BackoffConfig { first: SECOND, max: Duration::from_secs(5), jitter: 0.5 };

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(BackoffConfig { jitter: 0.0, ..CONFIG }, 1);
        let waits: Vec<_> = (0..40).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(waits[..5], [1, 2, 4, 5, 5]);
        assert!(waits[5..].iter().all(|&wait| wait == 5));
        backoff.reset();
        assert_eq!(backoff.next(), SECOND);
    }

    #[test]
    fn waits_vary_within_their_bounds_even_the_longest() {
        let mut backoff = Backoff::new(CONFIG, 7);
        let waits: Vec<_> = (0..200).map(|_| backoff.next()).collect();
        for (wait, (low, high)) in waits.iter().zip([(0.5, 1.5), (1.0, 3.0), (2.0, 5.0)]) {
            assert!((SECOND.mul_f64(low)..=SECOND.mul_f64(high)).contains(wait), "{wait:?}");
        }
        let (least, most) = (waits[3..].iter().min().unwrap(), waits[3..].iter().max().unwrap());
        assert!(*least >= SECOND.mul_f64(2.5) && *least < SECOND * 3, "{least:?}");
        assert!(*most <= SECOND * 5 && *most > SECOND.mul_f64(4.5), "{most:?}");
        let again: Vec<_> = (0..200).scan(Backoff::new(CONFIG, 7), |b, _| Some(b.next())).collect();
        assert_eq!(waits, again, "the same seed gives the same waits");
    }

    #[test]
    fn nonsense_is_bounded() {
        for jitter in [f64::NAN, f64::INFINITY, -3.0, 9.0] {
            let config = BackoffConfig { first: Duration::MAX, max: SECOND, jitter };
            assert!(Backoff::new(config, 0).next() <= SECOND);
        }
    }
}
