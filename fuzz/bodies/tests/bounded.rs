//! The bodies of the fuzz targets without a fuzzer: seeds, mutations of them, and all that ever broke something.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use rtc_cafe_fuzz_bodies::{TARGETS, TOKENS, Target};

/// Longest input that mutations make.
const MAX_INPUT: usize = 8192;
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

/// A small generator (SplitMix64): the same mutations in every run.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }

    /// Where a line begins.
    fn line(&mut self, input: &[u8]) -> usize {
        let from = self.below(input.len() + 1);
        input[..from].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    }
}

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = rng.below(input.len() + 1);
    match rng.below(9) {
        0 if at < input.len() => input[at] ^= 1 << rng.below(8),
        1 if at < input.len() => input[at] = b"0123456789\"\\{}[],:-+.eE\n\t $"[rng.below(27)],
        2 => drop(input.drain(rng.range(input.len()))),
        3 => {
            let copy = input[rng.range(input.len())].to_vec();
            input.splice(at..at, copy);
        }
        4 => drop(input.splice(at..at, TOKENS[rng.below(TOKENS.len())].bytes())),
        5 => {
            let token = TOKENS[rng.below(TOKENS.len())].bytes();
            input.splice(rng.range(input.len()), token);
        }
        6 => {
            let copy = other[rng.range(other.len())].to_vec();
            input.splice(at..at, copy);
        }
        // Lines are steps of a script: one of another input is put between two of this one, or two are swapped.
        7 => {
            let start = rng.line(other);
            let end = other[start..].iter().position(|byte| *byte == b'\n').map_or(other.len(), |at| start + at + 1);
            let at = rng.line(input);
            input.splice(at..at, other[start..end].iter().copied());
        }
        _ => {
            let at = rng.line(input);
            input.rotate_left(at);
        }
    }
    input.truncate(MAX_INPUT);
}

fn bounded(name: &str, executions: usize) {
    let target = target(name);
    let mut pool: Vec<Vec<u8>> = target.seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    pool.iter().for_each(|seed| run(target, seed));
    let mut rng = Rng(0xcafe);
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
fn engine() {
    bounded("engine", 20_000);
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
