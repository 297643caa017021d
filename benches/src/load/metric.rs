//! What is measured under load, and what it may be.

use super::attack::Attack;
use crate::metric::{About, Measured, cost, rate};

/// How much the memory may grow, in percent.
pub(super) const GROWTH: f64 = 10.0;

/// What goes on beside the honest pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Nothing.
    Alone,
    /// The crowd is there, and comes and goes.
    Crowded,
    /// The crowd is there, and somebody attacks.
    Attacked(Attack),
    /// The attackers have left.
    After,
    /// The server ends.
    Drained,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Typical,
    Slow,
    Longest,
    Cpu,
    Memory,
    PerConnection,
    Growth,
    Churn,
    Ended,
    Spread,
    Peak,
    Done,
    Rate,
}

/// One number of one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Metric(pub(super) Phase, pub(super) What);

const WHATS: [What; 13] = [
    What::Typical,
    What::Slow,
    What::Longest,
    What::Cpu,
    What::Memory,
    What::PerConnection,
    What::Growth,
    What::Churn,
    What::Ended,
    What::Spread,
    What::Peak,
    What::Done,
    What::Rate,
];
const PHASES: usize = Attack::ALL.len() + 4;

impl Measured for Metric {
    const ALL: &'static [Self] = &{
        let mut all = [Self(Phase::Alone, What::Typical); PHASES * WHATS.len()];
        let mut at = 0;
        while at < all.len() {
            let number = at / WHATS.len();
            let phase = match number {
                0 => Phase::Alone,
                1 => Phase::Crowded,
                _ if number == PHASES - 2 => Phase::After,
                _ if number == PHASES - 1 => Phase::Drained,
                _ => Phase::Attacked(Attack::ALL[number - 2]),
            };
            all[at] = Self(phase, WHATS[at % WHATS.len()]);
            at += 1;
        }
        all
    };

    fn about(self) -> About {
        let Self(phase, what) = self;
        let key = |what: &str| format!("{}_{what}", phase.key());
        match what {
            What::Typical => cost(key("p50_ms"), format!("{}: round trip, median", phase.title()), "ms", 2),
            What::Slow => cost(key("p99_ms"), "  slowest of a hundred", "ms", 2),
            What::Longest => cost(key("longest_ms"), "  slowest of all", "ms", 1),
            What::Cpu => cost(key("cpu_cores"), "  cores that the server keeps busy", "", 2),
            What::Memory => cost(key("memory_mb"), "  memory of the server at the end", "MB", 1),
            What::PerConnection => cost(key("memory_per_connection_kb"), "  of it for each connection", "KB", 1),
            What::Growth => cost(key("growth_percent"), "  growth", "%", 1).within(GROWTH),
            What::Churn => rate(key("churn_per_second"), "  connections that came, and as many that went"),
            What::Ended => cost(key("ended_s"), format!("{}: until it has ended", phase.title()), "s", 1),
            What::Spread => cost(key("spread_s"), "  from the first who is sent away to the last", "s", 1),
            What::Peak => cost(key("peak_mb"), "  memory of the server at most", "MB", 1),
            What::Done => About { more: true, ..cost(key("done"), format!("  {}", phase.done()), "", 0) },
            What::Rate => rate(key("done_per_second"), "    a second"),
        }
    }

    fn hint(self) -> Option<&'static str> {
        None
    }
}

impl Phase {
    fn key(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Crowded => "crowded",
            Self::Attacked(attack) => attack.key(),
            Self::After => "after",
            Self::Drained => "drained",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Alone => "honest pairs alone",
            Self::Crowded => "with the crowd",
            Self::Attacked(attack) => attack.title(),
            Self::After => "after the attacks",
            Self::Drained => "the server is asked to end",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Attacked(attack) => attack.done(),
            Self::Drained => "connections that were sent away",
            Self::Alone | Self::Crowded | Self::After => "done",
        }
    }
}
