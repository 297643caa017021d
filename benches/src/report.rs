//! Says where we stand.

use std::{fmt::Write, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    metric::{Metric, Samples},
    signaller::Options,
};

/// A metric of both servers.
struct Row {
    metric: Metric,
    ours: f64,
    relay: f64,
}

impl Row {
    fn all(ours: &Samples, relay: &Samples) -> Vec<Self> {
        let row = |metric| Self { metric, ours: ours.median(metric), relay: relay.median(metric) };
        Metric::ALL.into_iter().map(row).collect()
    }

    /// How many times what the relay costs; for rates, how many times as fast the relay is.
    fn ratio(&self) -> f64 {
        if self.metric.about().more { self.relay / self.ours } else { self.ours / self.relay }
    }

    /// How many times the budget is used.
    fn used(&self) -> Option<f64> {
        self.metric.about().budget.map(|budget| self.ours / budget)
    }

    fn verdict(&self) -> String {
        match self.used() {
            None => String::new(),
            Some(used) if used <= 1.0 => String::from("within"),
            Some(used) => format!("{used:.2} times over"),
        }
    }
}

pub(crate) fn table(ours: &Samples, relay: &Samples, options: &Options, took: Duration) -> String {
    let mut out = String::new();
    for row in Row::all(ours, relay) {
        let _ = writeln!(
            out,
            "{:40} {:10.3} {:10.3} {:6.2} {}",
            row.metric.about().title,
            row.ours,
            row.relay,
            row.ratio(),
            row.verdict()
        );
    }
    let _ = writeln!(out, "{took:?} {}", options.rounds);
    out
}

pub(crate) fn json(ours: &Samples, relay: &Samples) -> Value {
    let entry = |row: Row| {
        let about = row.metric.about();
        let value = json!({
            "unit": about.unit,
            "ours": row.ours,
            "relay": row.relay,
            "ratio": row.ratio(),
            "budget": about.budget,
            "within": row.used().map(|used| used <= 1.0),
            "rounds": { "ours": ours.of(row.metric), "relay": relay.of(row.metric) },
        });
        (about.key.to_owned(), value)
    };
    Value::Object(Row::all(ours, relay).into_iter().map(entry).collect::<Map<_, _>>())
}
