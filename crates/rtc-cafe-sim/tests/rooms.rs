//! Rooms under random trouble: a thousand seeds in every run, and a few of large ones. `SEED=n` replays one; `SEEDS=n` runs
//! more.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{panic, time::Instant};

use rtc_cafe_core::RoomId;
use rtc_cafe_sim::{Scenario, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a scenario for every seed, or for one in so many; returns the sum of what is counted at the end of each.
fn run_seeds(name: &str, one_in: u64, run: fn(Scenario) -> World, count: fn(&World) -> usize) -> usize {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(1000).div_ceil(one_in),
    };
    let mut sum = 0;
    let mut failed = Vec::new();
    for seed in seeds.clone() {
        match panic::catch_unwind(|| count(&run(Scenario::new(seed)))) {
            Ok(count) => sum += count,
            Err(_) => {
                eprintln!(
                    "seed {seed} fails; replay it with SEED={seed} cargo test -p rtc-cafe-sim --test rooms {name}"
                );
                failed.push(seed);
                if failed.len() >= 10 {
                    break;
                }
            }
        }
    }
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
    println!("{name}: {} scenarios, {sum} messages or tracks", seeds.end - seeds.start);
    sum
}

#[test]
fn calm() {
    assert!(run_seeds("calm", 1, Scenario::run_calm, World::delivered) > 0, "nothing was said");
}

#[test]
fn troubled() {
    assert!(run_seeds("troubled", 1, Scenario::run_troubled, World::delivered) > 0, "nothing was said");
}

#[test]
fn broken() {
    assert!(run_seeds("broken", 1, Scenario::run_broken, World::delivered) > 0, "nothing was said");
}

#[test]
fn walled() {
    assert!(run_seeds("walled", 1, Scenario::run_walled, World::delivered) > 0, "nothing was said");
}

#[test]
fn slow() {
    assert!(run_seeds("slow", 1, Scenario::run_slow, World::delivered) > 0, "nothing was said");
}

#[test]
fn tracks() {
    assert!(run_seeds("tracks", 1, Scenario::run_tracks, World::flowing) > 0, "nothing flows");
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

/// Forty in two rooms, whose server stops and comes back.
#[test]
fn stampede() {
    assert!(run_seeds("stampede", 250, Scenario::run_stampede, World::delivered) > 0, "nothing was said");
}
