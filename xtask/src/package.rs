//! Builds the npm package: Rust to WebAssembly, its JavaScript glue, the optimised module, then the TypeScript.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::{
    process::{capture, cargo, command, run, say},
    project::{Project, locked_version},
    setup::{self, npm},
    toolchain::{self, TARGET},
};

const MODULE: &str = "rtc_cafe_web_bg.wasm";
/// Flattened once, so that the passes for size see all of an expression. Nothing is inlined that is called twice: gzip
/// finds the calls alike. The first kilobyte of memory is the far end of the stack, so no object lies there.
const OPTIMISE: [&str; 12] = [
    "--flatten",
    "--rereloop",
    "-Oz",
    "-Oz",
    "--converge",
    "--skip-pass=local-cse",
    "--low-memory-unused",
    "--strip-producers",
    "--strip-target-features",
    "--always-inline-max-function-size=0",
    "--flexible-inline-max-function-size=0",
    "--one-caller-inline-max-function-size=0",
];

/// Everything up to `packages/rtc-cafe-client/dist/`.
pub fn package(project: &Project) -> Result<()> {
    setup::ensure_all(project, setup::BUILD.iter().copied())?;
    webassembly(project)?;
    typescript(project)
}

/// `crates/rtc-cafe-web` becomes `packages/rtc-cafe-client/build/`.
fn webassembly(project: &Project) -> Result<()> {
    let toolchain = toolchain::ensure(project)?;
    run(toolchain.cargo(&project.root).args(["build", "-p", "rtc-cafe-web", "--profile", "wasm", "--target", TARGET]))?;
    let compiled = project.target.join(TARGET).join("wasm/rtc_cafe_web.wasm");
    let version = bindgen_version(&fs::read_to_string(project.root.join("Cargo.lock"))?)?;
    let optimiser = setup::wasm_opt(project)?;
    let optimiser_version = capture(command(&optimiser).arg("--version"))?;
    let build = project.client().join("build");
    let mark = project
        .mark("webassembly")
        .text(&version)
        .text(&optimiser_version)
        .text(&OPTIMISE.join(" "))
        .path(&project.root.join("xtask/src/bin/bindgen.rs"), &[])?
        .path(&compiled, &[])?;
    if mark.is_set() && build.join(MODULE).exists() {
        return Ok(());
    }
    // Work in a folder aside, so that an interrupted build leaves nothing half done for the TypeScript to find.
    let aside = project.target.join("xtask/bindgen");
    let mut bindgen = cargo(&project.root);
    bindgen.args(["run", "-p", "xtask", "--features", "bindgen", "--bin", "bindgen", "--"]);
    run(bindgen.arg(&compiled).arg(&aside))?;
    let before = fs::metadata(aside.join(MODULE))?.len();
    run(command(&optimiser).args(OPTIMISE).arg(aside.join(MODULE)).arg("-o").arg(aside.join("optimised.wasm")))?;
    fs::rename(aside.join("optimised.wasm"), aside.join(MODULE))?;
    let after = fs::metadata(aside.join(MODULE))?.len();
    if build.exists() {
        fs::remove_dir_all(&build)?;
    }
    fs::create_dir_all(&build)?;
    for file in fs::read_dir(&aside)? {
        let file = file?;
        fs::copy(file.path(), build.join(file.file_name()))?;
    }
    say(format!("the WebAssembly module has {after} bytes, {before} before wasm-opt"));
    mark.set()
}

/// The TypeScript around it becomes `packages/rtc-cafe-client/dist/`.
fn typescript(project: &Project) -> Result<()> {
    let client = project.client();
    // The package's own build writes into build/ too, so of that folder only the module and its glue count.
    let mut mark = project.mark("typescript").path(&client, &["node_modules", "dist", "build"])?;
    for part in [MODULE, "rtc_cafe_web.js", "rtc_cafe_web.d.ts"] {
        mark = mark.path(&client.join("build").join(part), &[])?;
    }
    if mark.is_set() && client.join("dist").exists() {
        return Ok(());
    }
    run(npm(&client).args(["run", "build"]))?;
    mark.set()
}

/// The version that the glue's generator and the crate in the module share.
pub fn bindgen_version(lock: &str) -> Result<String> {
    let version = |package| locked_version(lock, package).with_context(|| format!("Cargo.lock has no {package}"));
    let (library, generator) = (version("wasm-bindgen")?, version("wasm-bindgen-cli-support")?);
    ensure!(
        library == generator,
        "wasm-bindgen is {library} in Cargo.lock and wasm-bindgen-cli-support is {generator}: \
         write =\"{library}\" into xtask/Cargo.toml"
    );
    Ok(library.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(library: &str, generator: &str) -> String {
        format!(
            "[[package]]\nname = \"wasm-bindgen\"\nversion = \"{library}\"\n\n\
             [[package]]\nname = \"wasm-bindgen-cli-support\"\nversion = \"{generator}\"\n"
        )
    }

    #[test]
    fn one_version_of_wasm_bindgen_is_accepted() {
        assert_eq!(bindgen_version(&lock("0.2.130", "0.2.130")).unwrap(), "0.2.130");
    }

    #[test]
    fn two_versions_of_wasm_bindgen_are_refused_by_name() {
        let error = bindgen_version(&lock("0.2.131", "0.2.130")).unwrap_err().to_string();
        assert!(
            error.contains("0.2.131") && error.contains("0.2.130") && error.contains("xtask/Cargo.toml"),
            "{error}"
        );
    }
}
