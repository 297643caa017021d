//! The project's tasks: `cargo xtask run`, `test`, `simulate`, `build`, `setup` and `bench`.
#![expect(unreachable_pub, reason = "a program has no public surface; `pub` marks what a module offers to the others")]

mod counts;
mod debian;
mod hygiene;
mod package;
mod process;
mod project;
mod purity;
mod serve;
mod setup;
mod test;
mod toolchain;

use std::{env, ffi::OsString, process::ExitCode};

use anyhow::{Result, bail};

use crate::{process::say, project::Project};

const HELP: &str = "\
The tasks of RTCCafe. They need Rust and Node.js, get everything else that is missing, and say what they do.

  cargo xtask run [-- OPTION...]    build everything and serve it on http://127.0.0.1:8080/;
                                    options go to `rtc-cafe serve`: cargo xtask run -- --listen 127.0.0.1:9000
  cargo xtask test [STEP...]        run every test, or the named steps
  cargo xtask test --list           show the steps
  cargo xtask simulate [SCENARIO...]
                                    the long run of the simulator, 10,000 seeds of each scenario: which fail, and how
                                    to replay them; `cargo xtask simulate --help` tells more
  cargo xtask build                 build what `run` serves: target/release/rtc-cafe
                                    and packages/rtc-cafe-client/dist/
  cargo xtask setup                 only get what is missing: Rust's WebAssembly target, npm packages,
                                    Chromium, Firefox, FFmpeg, coturn, iproute2, a Python environment, cargo-deny
  cargo xtask bench [NAME...]       measure: cargo xtask bench signaller, native, connect or load

What is used when it is there:
  CHROMIUM, FIREFOX     the browsers for the tests in browsers
  CHROMIUM_SHELL        Chromium's headless shell, in which the tests take half the time
  RUSTUP_AUTO_INSTALL   with 0, rustup is not asked to download the WebAssembly target;
                        on Debian it is then built from Debian's packages
  XDG_CACHE_HOME        where that is kept (else ~/.cache), in a folder rtc-cafe
  CI, NO_COLOR          plain lines, no colours
";

fn main() -> ExitCode {
    match task(env::args_os().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Does what the arguments say; false when it was done and the result is bad.
fn task(mut arguments: Vec<OsString>) -> Result<bool> {
    let name = if arguments.is_empty() { OsString::new() } else { arguments.remove(0) };
    let wants_help = arguments.first().is_some_and(|first| first == "--help" || first == "-h");
    let name = if wants_help && name != "simulate" { "help".into() } else { name.to_string_lossy().into_owned() };
    match name.as_str() {
        "" | "help" | "--help" | "-h" => print!("{HELP}"),
        "run" => serve::serve(&Project::find()?, rest(&arguments))?,
        "bench" => serve::bench(&Project::find()?, rest(&arguments))?,
        "test" if arguments.first().is_some_and(|first| first == "--list") => test::list(),
        "test" => {
            let steps: Vec<_> = arguments.iter().map(|step| step.to_string_lossy().into_owned()).collect();
            return test::test(&Project::find()?, &steps);
        }
        "simulate" => return serve::simulate(&Project::find()?, rest(&arguments)),
        "build" | "setup" if !arguments.is_empty() => bail!("`{name}` takes no arguments"),
        "build" => drop(serve::build(&Project::find()?)?),
        "setup" => {
            let parts = [setup::BUILD, setup::CRATES, setup::BROWSER, setup::NETWORK, setup::DENY].concat();
            setup::ensure_all(&Project::find()?, parts)?;
            say("everything is there");
        }
        other => bail!("there is no task `{other}`; `cargo xtask --help` shows them"),
    }
    Ok(true)
}

/// What goes to another program, with or without `--` before it.
fn rest(arguments: &[OsString]) -> &[OsString] {
    match arguments {
        [first, rest @ ..] if first == "--" => rest,
        all => all,
    }
}
