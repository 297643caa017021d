//! Writes the JavaScript glue and the types for a compiled WebAssembly module: `bindgen MODULE.wasm OUT_DIR`.

use std::env;

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::{Bindgen, EncodeInto};

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let input = arguments.next().context("the module to read is missing")?;
    let output = arguments.next().context("the folder to write into is missing")?;
    Bindgen::new()
        .input_path(&input)
        .web(true)?
        .typescript(true)
        // The TypeScript above passes the bytes itself; a default URL would only confuse bundlers.
        .omit_default_module_path(true)
        // Every browser with WebRTC's data channels as we use them has it.
        .encode_into(EncodeInto::Always)
        .generate(&output)
}
