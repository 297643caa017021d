//! Builds everything, serves it, measures it, or simulates it.

use std::{ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    package,
    process::{cargo, command, run, say},
    project::Project,
    setup::{self, Part},
};

/// The npm package and the binary that serves it.
pub fn build(project: &Project) -> Result<PathBuf> {
    package::package(project)?;
    run(cargo(&project.root).args(["build", "--release", "-p", "rtc-cafe"]))?;
    let binary = project.target.join("release").join(format!("rtc-cafe{}", std::env::consts::EXE_SUFFIX));
    say(format!("built {} and {}", binary.display(), project.client().join("dist").display()));
    Ok(binary)
}

/// Builds, and becomes the server.
pub fn serve(project: &Project, arguments: &[OsString]) -> Result<()> {
    let binary = build(project)?;
    become_program(command(binary).arg("serve").args(arguments))
}

/// Measures; which benchmarks there are, the benchmark program itself knows.
pub fn bench(project: &Project, arguments: &[OsString]) -> Result<()> {
    let mut bench = cargo(&project.root);
    bench.args(["run", "--release", "-p", "rtc-cafe-bench", "--"]).args(arguments);
    let name = arguments.iter().find(|argument| !argument.to_string_lossy().starts_with('-'));
    if name.is_none_or(|name| name == "native" || name == "connect")
        && let Err(error) = give_browser(&mut bench, project)
    {
        say(format!("Chromium will not be measured: {error:#}"));
    }
    run(&mut bench)
}

/// Runs many seeds of the simulator, which knows itself what can be run; whether all is well.
pub fn simulate(project: &Project, arguments: &[OsString]) -> Result<bool> {
    let mut simulate = cargo(&project.root);
    simulate.args(["run", "--quiet", "--release", "-p", "rtc-cafe-sim", "--"]).args(arguments);
    say("building the simulator, if it has changed");
    Ok(simulate.status().context("cannot start cargo")?.success())
}

/// What pages need that are measured: the client that the server hands out, and a browser.
fn give_browser(bench: &mut Command, project: &Project) -> Result<()> {
    package::package(project)?;
    setup::ensure_all(project, [Part::TestPackages])?;
    setup::give_browsers(bench, &[&setup::CHROMIUM])
}

/// So that signals and the exit status are the server's own.
#[cfg(unix)]
fn become_program(program: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(program.exec().into())
}

#[cfg(not(unix))]
fn become_program(program: &mut Command) -> Result<()> {
    run(program)
}
