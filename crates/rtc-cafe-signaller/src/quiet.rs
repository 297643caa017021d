//! Says when something that goes on and on is to be logged again.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So long after it was logged it is logged again.
const QUIET: Duration = Duration::from_secs(60);

/// What is logged once a minute at most, however often it happens: for servers that are in the hands of strangers.
#[derive(Debug, Default)]
pub struct Quiet(Mutex<Option<Instant>>);

impl Quiet {
    /// Whether to log it now; if so, it is quiet for a minute.
    pub fn is_over(&self) -> bool {
        self.is_over_at(Instant::now())
    }

    fn is_over_at(&self, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = told.is_none_or(|told| now.saturating_duration_since(told) > QUIET);
        if over {
            *told = Some(now);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_again_after_a_minute() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        let said = [0, 1, 59, 61, 62, 122].map(|at| quiet.is_over_at(start + Duration::from_secs(at)));
        assert_eq!(said, [true, false, false, true, false, true]);
    }
}
