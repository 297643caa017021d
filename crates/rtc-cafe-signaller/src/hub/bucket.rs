//! A token bucket that needs no timer.

use std::time::Duration;

/// How much a connection may still send: kept as the time at which the bucket is full again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes tokens, or none if there are too few.
    pub(super) fn take(&mut self, now: Duration, tokens: u32, per_second: u32, burst: u32) -> bool {
        let refill = |tokens: u32| Duration::from_secs(u64::from(tokens)) / per_second.max(1);
        let full_at = self.full_at.max(now) + refill(tokens);
        let enough = full_at.saturating_sub(now) <= refill(burst);
        if enough {
            self.full_at = full_at;
        }
        enough
    }

    /// Takes tokens for what cannot be refused; what is owed is at most another burst.
    pub(super) fn charge(&mut self, now: Duration, tokens: u32, per_second: u32, burst: u32) {
        let refill = |tokens: u32| Duration::from_secs(u64::from(tokens)) / per_second.max(1);
        self.full_at = (self.full_at.max(now) + refill(tokens)).min(now + 2 * refill(burst));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::default();
        let start = Duration::from_secs(7);
        assert_eq!((0..20).filter(|_| bucket.take(start, 1, 2, 10)).count(), 10);
        let later = start + Duration::from_secs(3);
        assert_eq!((0..20).filter(|_| bucket.take(later, 1, 2, 10)).count(), 6);
        let much_later = start + Duration::from_secs(300);
        assert_eq!((0..20).filter(|_| bucket.take(much_later, 1, 2, 10)).count(), 10);
    }
}
