//! Where received files go: safe names, nothing overwritten, and nothing under its name before it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::protocol::Offer;
use crate::text::clean_line;

/// Longest name of a file, in bytes, with room for what is appended.
const MAX_NAME: usize = 200;
/// Names that mean something else on Windows.
const RESERVED: &[&str] = &["con", "prn", "aux", "nul"];

/// A name without any path in it, which no file system takes for something else.
pub(crate) fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).find(|part| !part.trim().is_empty()).unwrap_or_default();
    let cleaned = clean_line(last, 255).replace(['<', '>', ':', '"', '|', '?', '*'], "_");
    let mut name = cleaned.trim_end_matches(['.', ' ']).trim_start().to_owned();
    if name.starts_with('.') {
        // What is hidden might configure something.
        name.replace_range(..1, "_");
    }
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_port = (stem.starts_with("com") || stem.starts_with("lpt")) && stem.chars().count() == 4;
    if RESERVED.contains(&stem.as_str()) || is_port {
        name.insert(0, '_');
    }
    let name = bounded(&name);
    if name.is_empty() { "received".to_owned() } else { name }
}

/// Shortens the part before the extension.
fn bounded(name: &str) -> String {
    let (stem, extension) = split(name);
    let extension = if extension.len() > 20 { "" } else { extension };
    let mut end = MAX_NAME.saturating_sub(extension.len()).min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &stem[..end])
}

/// A name and its extension with the dot; `.tar.gz` is one.
fn split(name: &str) -> (&str, &str) {
    let dot = name.strip_suffix(".tar.gz").map(str::len).or_else(|| name.rfind('.'));
    name.split_at(dot.filter(|dot| *dot > 0).unwrap_or(name.len()))
}

/// Names to try one after another: `a.txt`, `a (1).txt`, ...
fn numbered(path: &Path) -> impl Iterator<Item = PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (stem, extension) = split(&name);
    let (stem, extension) = (stem.to_owned(), extension.to_owned());
    let others = (1..10_000).map(move |number| path.with_file_name(format!("{stem} ({number}){extension}")));
    std::iter::once(path.to_path_buf()).chain(others)
}

/// Makes an empty file under the first of the names that is free.
pub(crate) fn reserve(path: &Path) -> io::Result<PathBuf> {
    for path in numbered(path) {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

/// Where a file is to go: into the folder, or under this very name.
pub(crate) fn target(output: Option<&Path>, name: &str) -> PathBuf {
    match output {
        None => PathBuf::from(safe_name(name)),
        Some(output) if output.is_dir() => output.join(safe_name(name)),
        Some(output) => output.to_path_buf(),
    }
}

/// A file that is not whole yet, in `NAME.HASH.part`. It stays when it is dropped, so that it can be completed later.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    hasher: Sha256,
    written: u64,
}

/// Why a received file is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FinishError {
    /// It is not what was offered.
    #[error("what arrived is not what was offered: its SHA-256 is {0}")]
    Mismatch(String),
    /// It cannot be written or named.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Partial {
    /// Opens what there is of a file already, or begins it. Blocks while it reads what there is.
    pub(crate) fn open(target: &Path, offer: &Offer) -> io::Result<Self> {
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (mut file, path) = Self::lock(&target.with_file_name(format!("{name}.{}.part", &offer.sha256[..12])))?;
        if file.metadata()?.len() > offer.size {
            file.set_len(0)?;
        }
        let mut hasher = Sha256::new();
        let written = hash(&mut file, &mut hasher, |_| {})?;
        Ok(Self { file, path, target: target.to_path_buf(), hasher, written })
    }

    /// Another receiver in the same folder may be at the same file.
    fn lock(path: &Path) -> io::Result<(File, PathBuf)> {
        for path in numbered(path) {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => return Ok((file, path)),
                Err(fs::TryLockError::WouldBlock) => {}
                // Some file systems have no locks.
                Err(fs::TryLockError::Error(_)) => return Ok((file, path)),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// How much there is.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Where it is until it is whole.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a part.
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        self.hasher.update(data);
        self.written += data.len() as u64;
        Ok(())
    }

    /// Checks the hash and gives it its name. Blocks until it is on the disk.
    pub(crate) fn finish(self, offer: &Offer) -> Result<PathBuf, FinishError> {
        let hash = hex(&self.hasher.finalize());
        if hash != offer.sha256 {
            fs::remove_file(&self.path)?;
            return Err(FinishError::Mismatch(hash));
        }
        self.file.sync_all()?;
        let target = reserve(&self.target)?;
        if let Err(error) = fs::rename(&self.path, &target) {
            fs::remove_file(&target)?;
            return Err(error.into());
        }
        Ok(target)
    }
}

/// Feeds a file to a hasher, from where it stands, and returns how many bytes there were.
fn hash(file: &mut File, hasher: &mut Sha256, mut progress: impl FnMut(u64)) -> io::Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                total += read as u64;
                progress(total);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The length and the SHA-256 of a file, which is read from its beginning.
pub(crate) fn measure(file: &mut File, progress: impl FnMut(u64)) -> io::Result<(u64, String)> {
    file.rewind()?;
    let mut hasher = Sha256::new();
    let size = hash(file, &mut hasher, progress)?;
    Ok((size, hex(&hasher.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rtc-cafe-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn offer(content: &[u8]) -> Offer {
        let sha256 = hex(&Sha256::digest(content));
        Offer { id: "1".into(), name: "a.txt".into(), size: content.len() as u64, sha256 }
    }

    #[test]
    fn names_are_safe() {
        for (name, safe) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Windows\\win.ini", "win.ini"),
            ("..", "received"),
            ("", "received"),
            ("/", "received"),
            (".bashrc", "_bashrc"),
            ("a\u{202e}fdp.exe\u{0}\n", "afdp.exe"),
            ("nul.txt", "_nul.txt"),
            ("COM1", "_COM1"),
            ("comic.txt", "comic.txt"),
            ("a:b?.txt. ", "a_b_.txt"),
            ("~", "~"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
        let long = safe_name(&format!("{}.tar.gz", "ä".repeat(300)));
        assert!(long.len() <= MAX_NAME && long.ends_with("ä.tar.gz") || long.len() <= MAX_NAME, "{long}");
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = folder("reserve");
        let path = folder.join("a.tar.gz");
        let names: Vec<_> = (0..3).map(|_| reserve(&path).unwrap()).collect();
        let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.tar.gz", "a (1).tar.gz", "a (2).tar.gz"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_whole() {
        let folder = folder("partial");
        let (target, offer) = (folder.join("a.txt"), offer(b"hello"));
        fs::write(&target, "another").unwrap();
        let mut partial = Partial::open(&target, &offer).unwrap();
        partial.write(b"hel").unwrap();
        // Somebody else takes another file.
        assert_ne!(Partial::open(&target, &offer).unwrap().path(), partial.path());
        drop(partial);
        let mut partial = Partial::open(&target, &offer).unwrap();
        assert_eq!(partial.written(), 3);
        partial.write(b"lo").unwrap();
        let path = partial.finish(&offer).unwrap();
        assert_eq!(path, folder.join("a (1).txt"));
        assert_eq!(fs::read(path).unwrap(), b"hello");
        assert_eq!(fs::read(target).unwrap(), b"another");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_wrong_is_not_kept() {
        let folder = folder("mismatch");
        let (target, offer) = (folder.join("a.txt"), offer(b"hello"));
        let mut partial = Partial::open(&target, &offer).unwrap();
        partial.write(b"hullo").unwrap();
        assert!(matches!(partial.finish(&offer), Err(FinishError::Mismatch(_))));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        // A part that is too long is begun anew.
        fs::write(target.with_file_name(format!("a.txt.{}.part", &offer.sha256[..12])), "too long").unwrap();
        assert_eq!(Partial::open(&target, &offer).unwrap().written(), 0);
        fs::remove_dir_all(folder).unwrap();
    }
}
