//! What is measured, what it may be, and how to get there.

use std::collections::BTreeMap;

/// The numbers of one benchmark.
pub(crate) trait Measured: Copy + Ord + 'static {
    /// In the order in which they are shown.
    const ALL: &'static [Self];

    fn about(self) -> About;

    /// Where the time or the memory goes, and what would save it.
    fn hint(self) -> Option<&'static str>;
}

/// A number that is measured of the signaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    Memory,
    MemoryUsed,
    Connects,
    JoinMedian,
    JoinSlow,
    JoinLast,
    Joins,
    RelayCpu,
    RelayUser,
    RelayKernel,
    RelayRedis,
    Relayed,
    PacedCpu,
}

/// What there is to know of a metric.
pub(crate) struct About {
    /// In the JSON.
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) digits: usize,
    /// Whether more is better, as of rates.
    pub(crate) more: bool,
    /// What the project allows itself.
    pub(crate) budget: Option<f64>,
}

impl Measured for Metric {
    const ALL: &'static [Self] = &[
        Self::Memory,
        Self::MemoryUsed,
        Self::Connects,
        Self::JoinMedian,
        Self::JoinSlow,
        Self::JoinLast,
        Self::Joins,
        Self::RelayCpu,
        Self::RelayUser,
        Self::RelayKernel,
        Self::RelayRedis,
        Self::Relayed,
        Self::PacedCpu,
    ];

    fn about(self) -> About {
        match self {
            Self::Memory => cost("memory_kb", "memory per idle connection", "KB", 1).within(12.0),
            Self::MemoryUsed => cost("memory_in_room_kb", "  after joining a room of 8", "KB", 1).within(12.0),
            Self::Connects => rate("connections_per_second", "connections opened"),
            Self::JoinMedian => cost("join_p50_ms", "join until the last answer, median", "ms", 3).within(0.25),
            Self::JoinSlow => cost("join_p99_ms", "  slowest of a hundred", "ms", 3),
            Self::JoinLast => cost("join_eighth_p50_ms", "  the eighth member's, median", "ms", 3),
            Self::Joins => rate("joins_per_second", "joins, 16 rooms at a time"),
            Self::RelayCpu => cost("relay_cpu_s", "CPU per 100,000 relayed signals", "s", 3).within(0.20),
            Self::RelayUser => cost("relay_cpu_user_s", "  of it in the program", "s", 3),
            Self::RelayKernel => cost("relay_cpu_kernel_s", "  of it in the kernel", "s", 3),
            Self::RelayRedis => cost("relay_redis_cpu_s", "  beside it, of Redis", "s", 3),
            Self::Relayed => rate("relayed_per_second", "signals relayed"),
            Self::PacedCpu => cost("paced_cpu_s", "CPU per 100,000 at 1,500 a second", "s", 2),
        }
    }

    /// As `perf record`, `strace -fc` and `heaptrack` of the release server show under `--only relay` and
    /// `--only paced`; look again when the server has changed.
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::Memory | Self::MemoryUsed => Some(
                "4 KB of it are the read buffer of the connection; reading into one that all connections of a worker \
                 thread share would save them.",
            ),
            Self::Connects => Some(
                "after the handshake come three exchanges that the relay has not: Engine.IO's opening, CONNECT and \
                 request-sid. A client may send the last two without waiting for the first.",
            ),
            Self::JoinMedian | Self::Joins => Some(
                "an announcement is written once for everybody, but every answer is read, decided and written for \
                 itself, under the one lock of the hub. Reading it before the lock is taken would let cores work side \
                 by side.",
            ),
            Self::RelayCpu => Some(
                "a sixth of it reads and writes JSON, a twelfth waits for the hub's lock, under which that is done; \
                 with one worker thread there is no waiting and it costs 9 % less. Read the event before the lock is \
                 taken, and write the frame once and after it is released: payload, shared payload and frame are three \
                 of the five allocations of a signal.",
            ),
            Self::RelayKernel => Some(
                "one read brings 8 signals, one write carries 20. It is the read buffer of 4 KB that ends a read; one \
                 that grows under load, and shrinks when idle, would save up to half of the reads.",
            ),
            Self::PacedCpu => Some(
                "a signal that comes alone is one read, one write, 0.7 epoll_wait and 0.5 futex calls. The futex \
                 calls wake another worker thread only to write: with one thread it takes a quarter less. Writing \
                 from the task that has read, where nothing waits for the recipient, should save as much.",
            ),
            Self::JoinSlow | Self::JoinLast | Self::RelayUser | Self::RelayRedis | Self::Relayed => None,
        }
    }
}

/// Less of it is better.
pub(crate) fn cost(key: impl Into<String>, title: impl Into<String>, unit: &'static str, digits: usize) -> About {
    About { key: key.into(), title: title.into(), unit, digits, more: false, budget: None }
}

/// More of it is better.
pub(crate) fn rate(key: impl Into<String>, title: impl Into<String>) -> About {
    About { more: true, ..cost(key, title, "/s", 0) }
}

impl About {
    /// What stands between a number and the unit.
    pub(crate) fn space(&self) -> &'static str {
        if self.unit.starts_with('/') { "" } else { " " }
    }

    pub(crate) fn within(self, budget: f64) -> Self {
        Self { budget: Some(budget), ..self }
    }
}

/// Measured values, one for each round.
#[derive(Debug, Clone)]
pub(crate) struct Samples<M = Metric>(BTreeMap<M, Vec<f64>>);

impl<M> Default for Samples<M> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<M: Measured> Samples<M> {
    pub(crate) fn add(&mut self, metric: M, value: f64) {
        self.0.entry(metric).or_default().push(value);
    }

    pub(crate) fn of(&self, metric: M) -> &[f64] {
        self.0.get(&metric).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn median(&self, metric: M) -> f64 {
        percentile(self.of(metric).to_vec(), 0.5)
    }
}

/// The value below which the share of the values lies; not a number if there are none.
pub(crate) fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
