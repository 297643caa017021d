//! Puts the landing page, the samples and the npm package's files into the binary, as far as they are there.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let root = variable("CARGO_MANIFEST_DIR")?.join("../..");
    let mut out = BufWriter::new(File::create(variable("OUT_DIR")?.join("files.rs"))?);
    write_table(&mut out, "SAMPLES", &root.join("samples"))?;
    write_table(&mut out, "ADMIN", &root.join("crates/rtc-cafe/admin"))?;
    write_table(&mut out, "CLIENT", &root.join("packages/rtc-cafe-client/dist"))?;
    out.flush()
}

/// Writes a constant with the name, content and hash of every file of a folder.
fn write_table(out: &mut impl Write, name: &str, folder: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = BTreeMap::new();
    collect(folder, "", &mut files)?;
    writeln!(out, "pub(crate) const {name}: &[File] = &[")?;
    for (name, path) in files {
        let hash = hash(&fs::read(&path)?);
        let path = path.canonicalize()?;
        writeln!(out, "    File {{ name: {name:?}, etag: \"W/\\\"{hash}\\\"\", content: include_bytes!({path:?}) }},")?;
    }
    writeln!(out, "];")
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

fn hash(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
