//! Mints sids and secrets that nobody can guess.

use std::fmt;

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A cryptographically secure generator; two of the same seed mint the same names.
pub(crate) struct Mint(ChaCha20Rng);

impl Mint {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// A text of as many characters of base64url, six bits of randomness each.
    pub(crate) fn text<const LENGTH: usize>(&mut self) -> Box<str> {
        let mut bytes = [0; LENGTH];
        self.0.fill_bytes(&mut bytes);
        bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mint")
    }
}
