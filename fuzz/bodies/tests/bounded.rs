//! The bodies of the fuzz targets without a fuzzer: seeds, mutations of them, and all that ever broke something.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use rtc_cafe_fuzz_bodies::{TARGETS, Target};
use rtc_cafe_fuzz_seeds::{Rng, mutate};

/// Inputs that are mutated further, besides the seeds.
const POOL: usize = 64;

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("it is in the list")
}

/// Runs a body; an input that breaks it is printed, ready to be kept as a regression.
fn run(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.body)(input))) {
        eprintln!("{} breaks with:\n{}\n", target.name, input.escape_ascii());
        resume_unwind(panic);
    }
}

fn bounded(name: &str, executions: usize) {
    let target = target(name);
    let mut pool: Vec<Vec<u8>> = target.seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    pool.iter().for_each(|seed| run(target, seed));
    let mut rng = Rng::new(0xcafe);
    for _ in 0..executions {
        let mut input = pool[rng.below(pool.len())].clone();
        let other = pool[rng.below(pool.len())].clone();
        for _ in 0..=rng.below(5) {
            mutate(&mut input, &other, &mut rng);
        }
        run(target, &input);
        // Some go on, so that mutations pile up; the seeds stay.
        if rng.below(8) == 0 {
            if pool.len() < target.seeds.len() + POOL {
                pool.push(input);
            } else {
                let at = target.seeds.len() + rng.below(POOL);
                pool[at] = input;
            }
        }
    }
}

#[test]
fn json() {
    bounded("json", 100_000);
}

#[test]
fn room() {
    bounded("room", 100_000);
}

#[test]
fn signal() {
    bounded("signal", 50_000);
}

#[test]
fn frame() {
    bounded("frame", 100_000);
}

#[test]
fn client() {
    bounded("client", 60_000);
}

#[test]
fn hub() {
    bounded("hub", 60_000);
}

#[test]
fn nodes() {
    bounded("nodes", 40_000);
}

#[test]
fn engine() {
    bounded("engine", 20_000);
}

#[test]
fn turn() {
    bounded("turn", 4_000);
}

/// `regressions/TARGET/` keeps the inputs that broke a body once.
#[test]
fn what_was_broken_stays_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for target in TARGETS {
        let Ok(files) = fs::read_dir(folder.join(target.name)) else { continue };
        for file in files {
            let path = file.expect("the folder can be read").path();
            run(target, &fs::read(path).expect("the file can be read"));
        }
    }
}
