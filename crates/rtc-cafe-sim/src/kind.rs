//! The kinds of scenarios by their names, and how many seeds of one are run.

use std::{
    any::Any,
    num::NonZero,
    ops::Range,
    panic,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::{Scenario, World};

/// After so many seeds that fail the others would tell nothing new.
const MOST_FAILURES: usize = 10;

/// A kind of scenario, of which every seed is another one.
#[derive(Debug)]
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// How much longer it takes than the others: where they run so many seeds it runs one.
    pub one_in: u64,
    /// What [`Kind::run`] counts.
    pub counts: &'static str,
    run: fn(Scenario) -> World,
    count: fn(&World) -> usize,
}

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many were run.
    pub runs: u64,
    /// The sum of what was counted at the end of each.
    pub counted: usize,
    /// Those that failed, at most about ten, in their order, and what was wrong.
    pub failed: Vec<(u64, String)>,
}

const fn talk(name: &'static str, about: &'static str, run: fn(Scenario) -> World) -> Kind {
    Kind { name, about, one_in: 1, counts: "messages", run, count: World::delivered }
}

/// All kinds.
pub const KINDS: [Kind; 7] = [
    talk("calm", "all come at the same moment, and somebody leaves", Scenario::run_calm),
    talk("troubled", "connections to the server break, it restarts, machines die", Scenario::run_troubled),
    talk("broken", "the network breaks in every way, machines move and sleep", Scenario::run_broken),
    talk("walled", "between some only a relay leads, until walls go away", Scenario::run_walled),
    talk("slow", "applications read slower than others send", Scenario::run_slow),
    Kind {
        name: "tracks",
        about: "tracks are offered, requested and given up, all at once",
        one_in: 1,
        counts: "tracks",
        run: Scenario::run_tracks,
        count: World::flowing,
    },
    Kind {
        one_in: 50,
        ..talk("stampede", "the server of 40 goes and comes back, again and again", Scenario::run_stampede)
    },
];

impl Kind {
    /// The one that is called so.
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// Runs one seed; returns how many messages have come, or tracks flow, in the end.
    ///
    /// # Panics
    /// If something happens that must not.
    pub fn run(&self, seed: u64) -> usize {
        (self.count)(&(self.run)(Scenario::new(seed)))
    }

    /// The seeds of this kind in place of those that others run.
    pub const fn seeds(&self, of_others: &Range<u64>) -> Range<u64> {
        of_others.start.div_ceil(self.one_in)..of_others.end.div_ceil(self.one_in)
    }

    /// Runs these seeds on all processors, and goes on when one fails. After each it says how many are done.
    pub fn run_seeds(&self, seeds: Range<u64>, done: &(dyn Fn(u64) + Sync)) -> Outcome {
        let next = AtomicU64::new(seeds.start);
        let outcome = Mutex::new(Outcome::default());
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
                scope.spawn(|| self.work(&next, seeds.end, &outcome, done));
            }
        });
        let mut outcome = outcome.into_inner().expect(NO_PANIC);
        outcome.failed.sort_unstable();
        outcome
    }

    fn work(&self, next: &AtomicU64, end: u64, outcome: &Mutex<Outcome>, done: &(dyn Fn(u64) + Sync)) {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || outcome.lock().expect(NO_PANIC).failed.len() >= MOST_FAILURES {
                return;
            }
            let result = panic::catch_unwind(|| self.run(seed));
            let mut outcome = outcome.lock().expect(NO_PANIC);
            match result {
                Ok(count) => outcome.counted += count,
                Err(panic) => outcome.failed.push((seed, message(&*panic))),
            }
            outcome.runs += 1;
            done(outcome.runs);
        }
    }
}

const NO_PANIC: &str = "what may panic is run without the lock";

/// What a panic has said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_that_fail_are_told_and_the_others_are_run_all_the_same() {
        let fails_at = |world: &World| {
            assert!(![3, 11].contains(&world.now()), "at {}", world.now());
            1
        };
        let passes_time = |scenario: Scenario| {
            let mut world = World::new(0);
            world.run_until(scenario.seed());
            world
        };
        let kind = Kind { name: "", about: "", one_in: 1, counts: "", run: passes_time, count: fails_at };
        let Outcome { runs, counted, failed } = kind.run_seeds(0..20, &|_| {});
        assert_eq!((runs, counted), (20, 18));
        assert_eq!(failed, [(3, "at 3".to_owned()), (11, "at 11".to_owned())]);
    }

    #[test]
    fn what_takes_longer_runs_fewer_seeds_and_none_twice() {
        let stampede = Kind::named("stampede").expect("it is one of them");
        assert_eq!(stampede.seeds(&(0..1000)), 0..20);
        assert_eq!(stampede.seeds(&(1000..1020)), 20..21);
        assert_eq!(stampede.seeds(&(1020..2000)), 21..40);
        assert_eq!(KINDS[0].seeds(&(7..8)), 7..8);
    }
}
