//! Mutations without a fuzzer: the same for the same seed.

use crate::TOKENS;

/// Longest input that mutations make.
const MAX_INPUT: usize = 8192;

/// A small generator (SplitMix64): the same mutations in every run.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose numbers depend on the seed alone.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below the bound; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
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

/// Changes the input in one place; parts of the other one may get in. It stays below 8 KiB.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
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
