//! Gets a compiler for `wasm32-unknown-unknown`: the one that is there, rustup's, or one made from Debian's packages.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    debian::{self, PrivateLists},
    process::{self, capture, command, quiet, say},
    project::Project,
};

pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian keeps recent compilers: first the suites that usually have the current release.
const SUITES: [&[(&str, &str)]; 2] = [
    &[("debian", "trixie-backports"), ("debian-security", "bookworm-security")],
    &[("debian", "testing"), ("debian", "unstable")],
];

/// A tool chain that can compile for the browser.
#[derive(Debug)]
pub struct WasmToolchain {
    /// Its programs, when they are not those of the ordinary search path.
    programs: Option<PathBuf>,
}

impl WasmToolchain {
    /// `cargo` with this tool chain, started in the workspace's root.
    pub fn cargo(&self, root: &Path) -> Command {
        let mut cargo = process::cargo(root);
        if let Some(programs) = &self.programs {
            let path = env::var_os("PATH").unwrap_or_default();
            let paths = std::iter::once(programs.clone()).chain(env::split_paths(&path));
            cargo.env("PATH", env::join_paths(paths).unwrap_or(path)).env("RUSTC", programs.join("rustc"));
        }
        cargo
    }

    /// Whether the tool chain brings its own clippy for the target.
    pub fn has_clippy(&self) -> bool {
        self.programs.as_ref().is_none_or(|programs| programs.join("cargo-clippy").exists())
    }
}

/// The compiler on the search path.
struct Host {
    sysroot: PathBuf,
    release: String,
    triple: String,
}

impl Host {
    fn read(root: &Path) -> Result<Self> {
        let sysroot = capture(command("rustc").args(["--print", "sysroot"]).current_dir(root))?;
        let version = capture(command("rustc").arg("-vV").current_dir(root))?;
        let field = |name: &str| {
            version.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned).context("rustc -vV is unclear")
        };
        Ok(Self { sysroot: sysroot.trim().into(), release: field("release: ")?, triple: field("host: ")? })
    }
}

/// Finds a tool chain or makes one.
pub fn ensure(project: &Project) -> Result<WasmToolchain> {
    let toolchain = find_or_make(&project.root)?;
    forget_other_std(project, &toolchain)?;
    Ok(toolchain)
}

/// Removes what was compiled against another build of the standard library.
///
/// Cargo tells compilers apart by their version alone; with a tool chain made anew, or rustup's in place of ours, it
/// would use what cannot be linked any more.
fn forget_other_std(project: &Project, toolchain: &WasmToolchain) -> Result<()> {
    let rustc = toolchain.programs.as_ref().map_or("rustc".into(), |programs| programs.join("rustc"));
    let mut print = command(rustc);
    print.args(["--print", "target-libdir", "--target", TARGET]).current_dir(&project.root);
    let libraries = PathBuf::from(capture(&mut print)?.trim());
    let mut mark = project.mark("standard-library");
    let mut files: Vec<_> = fs::read_dir(&libraries)?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files {
        let about = file.metadata()?;
        mark = mark.text(&format!("{} {} {:?}", file.path().display(), about.len(), about.modified()?));
    }
    let compiled = project.target.join(TARGET);
    if !mark.is_set() && compiled.exists() {
        say("the WebAssembly tool chain is another one than before: compiling for it anew");
        fs::remove_dir_all(compiled)?;
    }
    mark.set()
}

fn find_or_make(root: &Path) -> Result<WasmToolchain> {
    let host = Host::read(root)?;
    if has_target(&host.sysroot) {
        return Ok(WasmToolchain { programs: None });
    }
    let cache = cache_folder()?.join("wasm").join(&host.release);
    for made in ["source", "web"] {
        // A folder gets its name when it is complete.
        let programs = cache.join(made).join("bin");
        if programs.exists() {
            return Ok(WasmToolchain { programs: Some(programs) });
        }
    }
    if rustup_may_download() {
        say(format!("Rust's {TARGET} target is missing: asking rustup for it"));
        match process::run(command("rustup").args(["target", "add", TARGET]).current_dir(root)) {
            Ok(()) if has_target(&host.sysroot) => return Ok(WasmToolchain { programs: None }),
            Ok(()) => say("rustup added it to another tool chain than the one in use"),
            Err(error) => say(format!("rustup could not add it: {error:#}")),
        }
    }
    from_debian(&host, &cache)
}

fn has_target(sysroot: &Path) -> bool {
    fs::read_dir(target_libraries(sysroot)).is_ok_and(|files| {
        files.flatten().any(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.starts_with("libcore-") && name.ends_with(".rlib")
        })
    })
}

fn target_libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

fn rustup_may_download() -> bool {
    env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0")
        && process::works(command("rustup").arg("--version"))
}

/// The folder for what is worth keeping between checkouts.
pub fn cache_folder() -> Result<PathBuf> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("XDG_CACHE_HOME")
        .or_else(|| Some(named("HOME")?.join(".cache")))
        .map(|folder| folder.join("rtc-cafe"))
        .context("neither XDG_CACHE_HOME nor HOME says where to keep the WebAssembly tool chain")
}

fn from_debian(host: &Host, cache: &Path) -> Result<WasmToolchain> {
    let advice = format!("Rust's {TARGET} target is missing: install it (rustup target add {TARGET}) and run again");
    if host.sysroot == Path::new("/usr") {
        debian::install("Rust's WebAssembly target", &["libstd-rust-dev-wasm32"]).context(advice)?;
        return Ok(WasmToolchain { programs: None });
    }
    ensure!(debian::is_debian(), advice);
    say(format!("Rust's {TARGET} target is missing: building it from Debian's packages, about a minute"));
    let work = Workshop::open(cache)?;
    for (name, make) in [("source", from_source as fn(&Host, &Path) -> Result<PathBuf>), ("web", from_web)] {
        match make(host, &work.0) {
            Ok(made) => {
                let finished = cache.join(name);
                if finished.exists() {
                    fs::remove_dir_all(&finished)?;
                }
                fs::rename(made, &finished)?;
                say(format!("the WebAssembly tool chain is in {}", finished.display()));
                return Ok(WasmToolchain { programs: Some(finished.join("bin")) });
            }
            Err(error) => say(format!("by {name}: {error:#}")),
        }
    }
    bail!(advice)
}

/// A folder for the work, removed afterwards.
struct Workshop(PathBuf);

impl Workshop {
    fn open(cache: &Path) -> Result<Self> {
        let folder = cache.join(format!("work-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            say(format!("{} could not be removed: {error}", self.0.display()));
        }
    }
}

/// The compiler that is there, with a standard library built from Debian's source of exactly its release.
fn from_source(host: &Host, work: &Path) -> Result<PathBuf> {
    let source = work.join("library");
    let toolchain = work.join("source");
    unpack_source(host, work, &source)?;
    fs::create_dir_all(&toolchain)?;
    for part in ["bin", "lib", "libexec"].into_iter().filter(|part| host.sysroot.join(part).exists()) {
        let (from, to) = (host.sysroot.join(part), toolchain.join(part));
        // Hard links cost nothing; another file system needs a copy.
        if !process::works(command("cp").arg("-al").arg(&from).arg(&to)) {
            quiet(
                "copying the compiler",
                command("cp").args(["-a", "--remove-destination"]).arg(&from).arg(&toolchain),
            )?;
        }
    }
    build_std(&toolchain.join("bin/rustc"), &source, &target_libraries(&toolchain), work)?;
    Ok(toolchain)
}

fn unpack_source(host: &Host, work: &Path, into: &Path) -> Result<()> {
    for (number, suites) in SUITES.into_iter().enumerate() {
        let lists = PrivateLists::read(&work.join(format!("apt-{number}")), suites)?;
        // Debian marks a repacked source: 1.95.0+dfsg1-1.
        if let Some(package) = lists.find(&["rust-src", "rust-web-src"], &format!("{}+", host.release))? {
            let files = lists.download(&[package])?;
            return debian::unpack_matching(&files[0], "./usr/src/*/library/*", 5, into);
        }
    }
    bail!("Debian has no source of Rust {}", host.release)
}

/// Debian's own compiler for browsers, unpacked beside the one that is there.
fn from_web(host: &Host, work: &Path) -> Result<PathBuf> {
    let lists = PrivateLists::read(&work.join("apt-web"), &[("debian-security", "bookworm-security")])?;
    let toolchain = work.join("web");
    let usr = toolchain.join("usr");
    let mut packages: Vec<String> = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"].map(str::to_owned).into();
    packages.extend(lists.dependency("libstd-rust-web-dev", "libstd-rust")?);
    let llvm = lists.dependency("rustc-web", "libllvm").and_then(|found| match found {
        Some(name) => Ok(Some(name)),
        None => lists.dependency("libstd-rust-web-dev", "libllvm"),
    })?;
    let llvm = llvm.unwrap_or_else(|| "libllvm22".to_owned());
    packages.push(format!("lld-{}", llvm.trim_start_matches("libllvm")));
    packages.push(llvm);
    for file in lists.download(&packages)? {
        debian::unpack(&file, &toolchain)?;
    }
    let programs = toolchain.join("bin");
    fs::create_dir_all(&programs)?;
    let linker = usr.join("lib/rustlib").join(&host.triple).join("bin");
    fs::create_dir_all(&linker)?;
    let lld = newest_lld(&usr)?;
    // The folder moves when it is done, so what points into it must be relative.
    symlink(&Path::new("../../../..").join(lld), &linker.join("rust-lld"))?;
    let wrapper = "#!/bin/sh\nusr=$(cd \"$(dirname \"$0\")/../usr\" && pwd)\n\
        LD_LIBRARY_PATH=$(echo \"$usr\"/lib/*-linux-gnu) exec \"$usr/bin/rustc\" \"$@\"\n";
    fs::write(programs.join("rustc"), wrapper)?;
    capture(command("chmod").arg("+x").arg(programs.join("rustc")))?;
    build_std(&programs.join("rustc"), &usr.join("lib/rustlib/src/rust/library"), &target_libraries(&usr), work)?;
    Ok(toolchain)
}

fn newest_lld(usr: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(usr.join("lib"))? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with("llvm-") {
            return Ok(Path::new("lib").join(name).join("bin/lld"));
        }
    }
    bail!("Debian's lld is not where it was expected")
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> Result<()> {
    Ok(std::os::unix::fs::symlink(target, link)?)
}

#[cfg(not(unix))]
fn symlink(_target: &Path, _link: &Path) -> Result<()> {
    bail!("Debian's packages need a Unix system")
}

/// Builds the standard library as the distributed one is built: optimised, and with the code that LTO needs.
fn build_std(rustc: &Path, source: &Path, into: &Path, work: &Path) -> Result<()> {
    let built = work.join("std");
    let mut cargo = process::cargo(source);
    cargo
        .args(["build", "--release", "--locked", "--target", TARGET, "--manifest-path", "sysroot/Cargo.toml"])
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &built)
        .env("RUSTFLAGS", "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes");
    for other in ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(other);
    }
    quiet("building the standard library for WebAssembly", &mut cargo)?;
    fs::create_dir_all(into)?;
    for file in fs::read_dir(built.join(TARGET).join("release/deps"))? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libsysroot-") {
            fs::copy(file.path(), into.join(&name))?;
        }
    }
    Ok(())
}
