//! Where things are, and marks that say which work is already done.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::process::{capture, cargo};

/// The checkout and its build folder.
#[derive(Debug)]
pub struct Project {
    pub root: PathBuf,
    pub target: PathBuf,
}

impl Project {
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies outside of the project")?;
        let metadata = capture(cargo(root).args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
        let target = metadata["target_directory"].as_str().context("cargo does not say where it builds")?;
        Ok(Self { root: root.to_owned(), target: target.into() })
    }

    /// The npm package.
    pub fn client(&self) -> PathBuf {
        self.root.join("packages/rtc-cafe-client")
    }

    /// The tests in browsers.
    pub fn e2e(&self) -> PathBuf {
        self.root.join("e2e")
    }

    /// A mark for work of this checkout, in the build folder.
    pub fn mark(&self, name: &str) -> Mark {
        Mark {
            file: self.target.join("xtask").join(name),
            state: Fingerprint::new().text(&self.root.to_string_lossy()),
        }
    }
}

/// What some work depends on, as one number.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(DefaultHasher);

impl Fingerprint {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(mut self, text: &str) -> Self {
        text.hash(&mut self.0);
        self
    }

    /// Takes in a file, or every file of a folder except in the named folders.
    pub fn path(mut self, path: &Path, except: &[&str]) -> Result<Self> {
        let mut files = files_below(path, except)?;
        files.sort();
        for file in files {
            file.hash(&mut self.0);
            fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?.hash(&mut self.0);
        }
        Ok(self)
    }
}

/// A file that remembers the state in which some work was done.
#[derive(Debug)]
pub struct Mark {
    file: PathBuf,
    state: Fingerprint,
}

impl Mark {
    pub fn in_file(file: PathBuf) -> Self {
        Self { file, state: Fingerprint::new() }
    }

    pub fn text(self, text: &str) -> Self {
        Self { state: self.state.text(text), ..self }
    }

    pub fn path(self, path: &Path, except: &[&str]) -> Result<Self> {
        Ok(Self { state: self.state.path(path, except)?, file: self.file })
    }

    /// Whether the work was done in this very state.
    pub fn is_set(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|text| text == self.content())
    }

    pub fn set(&self) -> Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&self.file, self.content()).with_context(|| format!("cannot write {}", self.file.display()))
    }

    fn content(&self) -> String {
        format!("{:016x}\n", self.state.0.finish())
    }
}

/// The files at and below a path, without those in folders of the given names.
pub fn files_below(path: &Path, except: &[&str]) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let entry = entry?;
        if !except.iter().any(|name| entry.file_name() == *name) {
            files.append(&mut files_below(&entry.path(), except)?);
        }
    }
    Ok(files)
}

/// The version of a package in the text of a `Cargo.lock`.
pub fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let entry = lock.split("[[package]]").find(|entry| {
        entry.lines().any(|line| line.strip_prefix("name = ").is_some_and(|name| name.trim_matches('"') == package))
    })?;
    entry.lines().find_map(|line| Some(line.strip_prefix("version = ")?.trim_matches('"')))
}
