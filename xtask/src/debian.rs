//! Debian's packages: installs them as root, or unpacks them into a private folder without touching the system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{self, capture, command, quiet, say};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Whether packages of Debian can be read here.
pub fn is_debian() -> bool {
    has_apt() && Path::new(KEYRING).exists()
}

fn has_apt() -> bool {
    process::works(command("apt-get").arg("--version"))
}

/// Installs packages, or says which line a person with more rights should type.
pub fn install(what: &str, packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let is_root = capture(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !has_apt() {
        bail!("{what} is missing: install it by your system's means (on Debian: apt-get install {list}) and run again");
    }
    if !is_root {
        bail!("{what} is missing: install it (sudo apt-get install {list}) and run again");
    }
    quiet("package lists", apt_get().arg("update"))?;
    quiet(&format!("installing {what}"), apt_get().args(["install", "-y", "--no-install-recommends"]).args(packages))
        .with_context(|| format!("{what} is missing: install it (apt-get install {list}) and run again"))
}

fn apt_get() -> Command {
    let mut apt = command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
    apt
}

/// Package lists of suites that the system itself does not use, kept in a folder of our own.
pub struct PrivateLists {
    configuration: PathBuf,
    downloads: PathBuf,
}

impl PrivateLists {
    /// Reads the lists of the given suites (each an archive such as `debian` and a suite) from the mirror that the
    /// system's own apt uses.
    pub fn read(folder: &Path, suites: &[(&str, &str)]) -> Result<Self> {
        let downloads = folder.join("downloads");
        for part in ["lists/partial", "cache/archives/partial", "downloads"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let mirror = mirror()?;
        let sources: String = suites
            .iter()
            .map(|(archive, suite)| format!("deb [signed-by={KEYRING}] {mirror}/{archive} {suite} main\n"))
            .collect();
        fs::write(folder.join("sources.list"), sources)?;
        let at = |name: &str| folder.join(name).display().to_string();
        let configuration = folder.join("apt.conf");
        let settings = format!(
            "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/dev/null\";\nDir::State::lists \"{}\";\n\
             Dir::Cache \"{}\";\nAPT::Sandbox::User \"root\";\n",
            at("sources.list"),
            at("lists"),
            at("cache"),
        );
        fs::write(&configuration, settings)?;
        let lists = Self { configuration, downloads };
        // A mirror without one of the suites is no reason to give up; the package may be in another.
        if let Err(error) = quiet("package lists", lists.apt("apt-get").arg("update")) {
            say(format!("{error:#}; going on with the lists that could be read"));
        }
        Ok(lists)
    }

    /// The version of one of these packages that starts with `prefix`, as `package=version`.
    pub fn find(&self, packages: &[&str], prefix: &str) -> Result<Option<String>> {
        let table = capture(self.apt("apt-cache").arg("madison").args(packages))?;
        Ok(table.lines().find_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let (package, version) = (columns.next()?, columns.next()?);
            version.starts_with(prefix).then(|| format!("{package}={version}"))
        }))
    }

    /// The first package that this one depends on by a name that starts with `prefix`.
    pub fn dependency(&self, package: &str, prefix: &str) -> Result<Option<String>> {
        let table = capture(self.apt("apt-cache").args(["depends", package]))?;
        Ok(table
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned))
    }

    /// Downloads packages and returns their files.
    pub fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        fs::remove_dir_all(&self.downloads)?;
        fs::create_dir_all(&self.downloads)?;
        quiet("downloading", self.apt("apt-get").arg("download").args(packages).current_dir(&self.downloads))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.downloads)? {
            files.push(entry?.path());
        }
        ensure!(files.len() >= packages.len(), "apt-get did not download all of {}", packages.join(", "));
        Ok(files)
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = command(program);
        apt.arg("-q").env("APT_CONFIG", &self.configuration);
        apt
    }
}

/// Unpacks the files of a package that match a pattern, without `depth` leading folders.
pub fn unpack_matching(package: &Path, pattern: &str, depth: usize, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let mut archive = command("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let files = archive.stdout.take().context("dpkg-deb has no output")?;
    // `tar` unpacks into its working folder; `-C` would depend on the order of its arguments.
    let unpacked = command("tar")
        .args(["-x", "-f", "-", "--wildcards", pattern, &format!("--strip-components={depth}")])
        .current_dir(into)
        .stdin(files)
        .status()?;
    ensure!(archive.wait()?.success() && unpacked.success(), "cannot unpack {}", package.display());
    Ok(())
}

/// Unpacks a whole package.
pub fn unpack(package: &Path, into: &Path) -> Result<()> {
    capture(command("dpkg").arg("-x").arg(package).arg(into)).map(drop)
}

fn mirror() -> Result<String> {
    let targets =
        capture(command("apt-get").args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]))?;
    targets
        .lines()
        .map(|address| address.trim_end_matches('/'))
        .find_map(|address| address.strip_suffix("/debian"))
        .map(str::to_owned)
        .context("apt knows no Debian mirror")
}
