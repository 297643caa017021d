//! Gets everything that is missing before something can be built or tested, and says so.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    debian,
    process::{self, capture, cargo, command, quiet, say},
    project::{Mark, Project},
    toolchain,
};

const CARGO_DENY: &str = "0.20.2";
const OLDEST_NODE: u32 = 20;

/// Something that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    WasmTarget,
    ClientPackages,
    WasmOpt,
    TestPackages,
    Chromium,
    Firefox,
    Coturn,
    Python,
    CargoDeny,
    Ffmpeg,
    Iproute,
    Nftables,
    Redis,
}

/// A browser for the tests.
#[derive(Debug)]
pub struct Browser {
    name: &'static str,
    /// The environment variable with its path, which goes before all else.
    pub variable: &'static str,
    programs: &'static [&'static str],
    packages: &'static [&'static str],
}

pub const CHROMIUM: Browser = Browser {
    name: "Chromium",
    variable: "CHROMIUM",
    programs: &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
    packages: &["chromium"],
};
/// Chromium without what a person sees of it, in which a page takes a tenth of the processor time.
pub const CHROMIUM_SHELL: Browser = Browser {
    name: "Chromium's headless shell",
    variable: "CHROMIUM_SHELL",
    // What Debian has on the search path is a script, and killing it would leave the browser.
    programs: &["/usr/lib/chromium/chromium-headless-shell", "chrome-headless-shell"],
    // Both are of one version.
    packages: &["chromium", "chromium-headless-shell"],
};
pub const FIREFOX: Browser =
    Browser { name: "Firefox", variable: "FIREFOX", programs: &["firefox-esr", "firefox"], packages: &["firefox-esr"] };

/// What a build needs.
pub const BUILD: &[Part] = &[Part::WasmTarget, Part::ClientPackages, Part::WasmOpt];
/// What the tests in browsers need beyond that.
pub const BROWSER: &[Part] =
    &[Part::TestPackages, Part::Chromium, Part::Firefox, Part::Python, Part::Ffmpeg, Part::Redis];
/// What the tests in networks of their own need.
pub const NETWORK: &[Part] =
    &[Part::TestPackages, Part::Chromium, Part::Python, Part::Iproute, Part::Nftables, Part::Coturn];
/// What the tests of the crates need beyond that: a maker and judge of media files, and a TURN server.
pub const CRATES: &[Part] = &[Part::Ffmpeg, Part::Coturn];
/// What the check of the dependencies needs.
pub const DENY: &[Part] = &[Part::CargoDeny];

/// Makes sure of each part; fast when they are there.
pub fn ensure_all(project: &Project, parts: impl IntoIterator<Item = Part>) -> Result<()> {
    for part in parts {
        match part {
            Part::WasmTarget => drop(toolchain::ensure(project)?),
            Part::ClientPackages => npm_packages(&project.client())?,
            Part::WasmOpt => drop(wasm_opt(project)?),
            Part::TestPackages => npm_packages(&project.e2e())?,
            Part::Chromium => {
                chromium_shell();
                CHROMIUM.ensure()?;
            }
            Part::Firefox => drop(FIREFOX.ensure()?),
            Part::Coturn => coturn()?,
            Part::Python => drop(python(project)?),
            Part::CargoDeny => drop(cargo_deny(project)?),
            Part::Ffmpeg => ffmpeg()?,
            Part::Iproute => iproute()?,
            Part::Nftables => nftables(),
            Part::Redis => redis(),
        }
    }
    Ok(())
}

/// `npm` in a folder.
pub fn npm(folder: &Path) -> Command {
    let mut npm = command(if cfg!(windows) { "npm.cmd" } else { "npm" });
    npm.current_dir(folder);
    npm
}

/// The packages of a `package-lock.json`, installed again when it changes.
fn npm_packages(folder: &Path) -> Result<()> {
    let node = capture(command("node").arg("--version")).unwrap_or_default();
    let node = node.trim();
    let major = node.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    ensure!(
        major.is_some_and(|major| major >= OLDEST_NODE),
        "Node.js {OLDEST_NODE} or newer is missing: install it and run again"
    );
    let lock = folder.join("package-lock.json");
    ensure!(lock.exists(), "{} is missing", lock.display());
    let modules = folder.join("node_modules");
    let mark = Mark::in_file(modules.join(".xtask")).text(node).path(&lock, &[])?;
    if mark.is_set() {
        return Ok(());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    quiet(&format!("npm packages of {name}"), npm(folder).args(["ci", "--no-audit", "--no-fund"]))?;
    std::fs::create_dir_all(&modules)?;
    mark.set()
}

/// `wasm-opt`: the one of the npm packages, or the system's.
pub fn wasm_opt(project: &Project) -> Result<PathBuf> {
    let own = project.client().join("node_modules/.bin/wasm-opt");
    if own.exists() {
        return Ok(own);
    }
    if let Some(found) = on_path(&["wasm-opt"]) {
        return Ok(found);
    }
    debian::install("wasm-opt", &["binaryen"])?;
    on_path(&["wasm-opt"]).context("wasm-opt is still missing after its installation")
}

impl Browser {
    /// Its program: what its variable names, an installed one, or Debian's.
    pub fn ensure(&self) -> Result<PathBuf> {
        let Self { name, packages, .. } = *self;
        if let Some(found) = self.find()? {
            return Ok(found);
        }
        debian::install(name, packages)?;
        self.find()?.with_context(|| format!("{name} is still missing after its installation"))
    }

    /// What its variable names, or an installed one.
    fn find(&self) -> Result<Option<PathBuf>> {
        let Self { variable, programs, .. } = *self;
        let given = env::var_os(variable).map(PathBuf::from);
        if let Some(given) = &given {
            ensure!(given.is_file(), "{variable} is set to {}, which does not exist", given.display());
        }
        Ok(given.or_else(|| on_path(programs)))
    }
}

/// Tells a program where browsers are, those that are missing included.
pub fn give_browsers(program: &mut Command, browsers: &[&Browser]) -> Result<()> {
    for browser in browsers {
        program.env(browser.variable, browser.ensure()?);
    }
    if let Some(shell) = chromium_shell() {
        program.env(CHROMIUM_SHELL.variable, shell);
    }
    Ok(())
}

/// The headless shell, unless another Chromium was asked for. Where it cannot be had, Chromium itself does it.
fn chromium_shell() -> Option<PathBuf> {
    if env::var_os(CHROMIUM.variable).is_some() && env::var_os(CHROMIUM_SHELL.variable).is_none() {
        return None;
    }
    CHROMIUM_SHELL.ensure().inspect_err(|error| say(format!("{error:#}; Chromium takes twice as long"))).ok()
}

/// coturn: the TURN server that the native client is tested with.
fn coturn() -> Result<()> {
    if on_path(&["turnserver"]).is_none() {
        debian::install("coturn", &["coturn"])?;
        on_path(&["turnserver"]).context("coturn is still missing after its installation")?;
    }
    Ok(())
}

/// The Python of a virtual environment with the packages of `e2e/requirements.txt`.
pub fn python(project: &Project) -> Result<PathBuf> {
    let folder = project.e2e().join(".venv");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let requirements = project.e2e().join("requirements.txt");
    let mark = Mark::in_file(folder.join(".xtask")).path(&requirements, &[])?;
    if mark.is_set() && process::works(command(&python).arg("--version")) {
        return Ok(python);
    }
    let system = match system_python() {
        Some(found) => found,
        None => {
            debian::install("Python with venv", &["python3-venv"])?;
            system_python().context("Python is still unable to make virtual environments (python3 -m venv)")?
        }
    };
    quiet("Python environment", command(&system).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r"];
    quiet("Python packages", command(&python).args(pip).arg(&requirements))?;
    mark.set()?;
    Ok(python)
}

fn system_python() -> Option<PathBuf> {
    let candidates = ["python3", "/usr/bin/python3", "python"];
    let able = |python: &&str| process::works(command(python).args(["-c", "import ensurepip, venv"]));
    candidates.into_iter().find(able).map(PathBuf::from)
}

/// `cargo-deny`: an installed one, or one of our own in the cache.
pub fn cargo_deny(project: &Project) -> Result<PathBuf> {
    if let Some(found) = on_path(&["cargo-deny"]) {
        return Ok(found);
    }
    let folder = toolchain::cache_folder()?.join("tools").join(format!("cargo-deny-{CARGO_DENY}"));
    let program = folder.join("bin/cargo-deny");
    if program.exists() {
        return Ok(program);
    }
    // A debug build takes half as long and checks as fast as anybody can read.
    let mut install = cargo(&project.root);
    install.args(["install", "--locked", "--debug", "cargo-deny", "--version", CARGO_DENY, "--root"]).arg(&folder);
    quiet("building cargo-deny, a minute or two", &mut install)?;
    if !program.exists() {
        bail!("cargo install did not make {}", program.display());
    }
    Ok(program)
}

/// `ffmpeg` and `ffprobe`: installed ones, or Debian's.
fn ffmpeg() -> Result<()> {
    let is_there = || ["ffmpeg", "ffprobe"].iter().all(|name| on_path(&[name]).is_some());
    if !is_there() {
        debian::install("FFmpeg", &["ffmpeg"])?;
        ensure!(is_there(), "FFmpeg is still missing after its installation");
    }
    Ok(())
}

/// `ip`, which sets up the hosts of networks; only Linux has them.
fn iproute() -> Result<()> {
    if cfg!(target_os = "linux") && on_path(&["ip"]).is_none() {
        debian::install("iproute2", &["iproute2"])?;
        on_path(&["ip"]).context("iproute2 is still missing after its installation")?;
    }
    Ok(())
}

/// `nft`, which makes NATs and firewalls of hosts; only Linux has them. Where it cannot be had, the tests that need it skip
/// themselves.
fn nftables() {
    if cfg!(target_os = "linux")
        && on_path(&["nft"]).is_none()
        && let Err(error) = debian::install("nftables", &["nftables"])
    {
        say(format!("{error:#}; the tests that need it are skipped"));
    }
}

/// `redis-server`, which connects several servers. Where it cannot be had, the tests that need it skip themselves.
fn redis() {
    if on_path(&["redis-server"]).is_none()
        && let Err(error) = debian::install("Redis", &["redis-server"])
    {
        say(format!("{error:#}; the tests that need it are skipped"));
    }
}

/// The first of these programs that the search path has.
pub fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    names.iter().find_map(|name| env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()))
}
