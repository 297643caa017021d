//! Writes the seeds into the corpus of `cargo fuzz`, and the tokens as a dictionary beside them.

use std::{fs, io, path::Path};

use rtc_cafe_fuzz_bodies::TARGETS;
use rtc_cafe_fuzz_seeds::TOKENS;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("corpus");
    for target in TARGETS {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in target.seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    let hex = |token: &str| token.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let dictionary: String = TOKENS.iter().map(|token| format!("\"{}\"\n", hex(token))).collect();
    fs::write(corpus.join("tokens.dict"), dictionary)
}
