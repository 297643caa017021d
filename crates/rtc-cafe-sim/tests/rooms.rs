//! Rooms under random trouble: a thousand seeds in every run, and a few of large ones. `SEED=n` replays one; `SEEDS=n` runs
//! more.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Instant;

use rtc_cafe_core::RoomId;
use rtc_cafe_sim::{Kind, Outcome, Scenario, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a kind of scenario for every seed, or the one that is to be replayed.
fn run_seeds(name: &str) {
    let kind = Kind::named(name).unwrap();
    if let Some(seed) = number("SEED") {
        kind.run(seed);
        return;
    }
    let seeds = kind.seeds(&(0..number("SEEDS").unwrap_or(1000)));
    let Outcome { runs, counted, failed } = kind.run_seeds(seeds, &|_| {});
    for (seed, why) in &failed {
        eprintln!("seed {seed}: {why}; replay it with cargo xtask simulate {name} --seed {seed}");
    }
    let failed: Vec<_> = failed.iter().map(|(seed, _)| seed).collect();
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
    assert!(counted > 0, "there are no {}", kind.counts);
    println!("{name}: {runs} scenarios, {counted} {}", kind.counts);
}

#[test]
fn calm() {
    run_seeds("calm");
}

#[test]
fn troubled() {
    run_seeds("troubled");
}

#[test]
fn broken() {
    run_seeds("broken");
}

#[test]
fn walled() {
    run_seeds("walled");
}

#[test]
fn slow() {
    run_seeds("slow");
}

#[test]
fn tracks() {
    run_seeds("tracks");
}

/// Forty in two rooms, whose server stops and comes back.
#[test]
fn stampede() {
    run_seeds("stampede");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || Scenario::new(7).run_troubled().delivered();
    assert_eq!(run(), run());
}

#[test]
fn a_room_of_a_hundred_settles() {
    let begun = Instant::now();
    let mut world = World::new(1);
    for _ in 0..100 {
        let node = world.add_node();
        world.join(node, RoomId::named("hall").unwrap());
    }
    world.run_until(10_000);
    assert!(world.is_complete(), "100 clients are not all connected after 10 s of virtual time");
    world.assert_settled();
    println!("a room of 100 settled in {:?} of real time", begun.elapsed());
}
