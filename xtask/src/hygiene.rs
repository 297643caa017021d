//! What every file of the repository has to keep: its length, and silence about the machine it was written on.

use std::{env, fs, path::Path};

use anyhow::Result;

use crate::{
    package::bindgen_version,
    process::{capture, command},
    project::Project,
};

const MOST_LINES: usize = 600;
const CODE: &[&str] = &["rs", "ts", "mts", "js", "mjs", "cjs", "py", "sh", "html", "css"];

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Addresses of package registries; written in two parts so that this file does not name them.
const REGISTRIES: &[(&str, &str)] = &[
    ("registry.", "npmjs"),
    ("deb.", "debian.org"),
    ("security.", "debian.org"),
    ("pypi.org/", "simple"),
    ("files.", "pythonhosted"),
    ("static.", "crates.io"),
    ("index.", "crates.io"),
    ("static.", "rust-lang"),
];

/// Every finding as a line.
pub fn check(project: &Project) -> Result<Vec<String>> {
    let listed = capture(
        command("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&project.root),
    )?;
    let mut findings = Vec::new();
    let machine = Machine::read(&project.root);
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        // A file that git knows may be deleted, and one that is no text has no lines.
        if let Ok(text) = fs::read_to_string(project.root.join(name)) {
            findings.extend(check_file(name, &text, &machine));
        }
    }
    if let Err(error) = bindgen_version(&fs::read_to_string(project.root.join("Cargo.lock"))?) {
        findings.push(format!("{error:#}"));
    }
    Ok(findings)
}

/// Paths of the machine that runs this.
struct Machine(Vec<String>);

impl Machine {
    fn read(root: &Path) -> Self {
        let checkout = (root.components().count() > 2).then(|| root.display().to_string());
        let home = env::var("HOME").ok().filter(|home| home.len() > 1).map(|home| format!("{home}/."));
        Self(checkout.into_iter().chain(home).collect())
    }
}

fn check_file(name: &str, text: &str, machine: &Machine) -> Vec<String> {
    let mut findings = Vec::new();
    let base = Path::new(name).file_name().unwrap_or_default();
    let extension = Path::new(name).extension().unwrap_or_default();
    let lines = text.lines().count();
    let long = LONG_FILES.iter().any(|(allowed, _)| *allowed == name);
    if CODE.iter().any(|code| extension == *code) && lines > MOST_LINES && !long {
        findings.push(format!(
            "{name}: {lines} lines are more than {MOST_LINES}: cut it, or give the reason in LONG_FILES"
        ));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let mut find = |what: &str| findings.push(format!("{name}:{number}: {what}"));
        if base != "Cargo.lock" && REGISTRIES.iter().any(|(first, second)| line.contains(&format!("{first}{second}"))) {
            find("names the address of a package registry");
        }
        if machine.0.iter().any(|path| line.contains(path.as_str())) || names_a_home(line) {
            find("names a path of somebody's machine");
        }
        if base == "package-lock.json" && line.trim_start().starts_with("\"resolved\": \"http") {
            find("holds the address from which a package came; install with npm's omit-lockfile-registry-resolved");
        }
    }
    findings
}

/// Whether a line has a path into a home folder, which is not a part of a web address.
fn names_a_home(line: &str) -> bool {
    ["root", "home", "Users"].iter().any(|folder| {
        line.match_indices(&format!("/{folder}/")).any(|(at, found)| {
            let before = line[..at].chars().next_back();
            let after = line[at + found.len()..].chars().next();
            before.is_none_or(|character| !character.is_alphanumeric() && !"/.-_}*)".contains(character))
                && after.is_some_and(char::is_alphanumeric)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        check_file(name, text, &Machine(vec!["/somewhere/checkout".into()]))
    }

    #[test]
    fn long_files_are_found() {
        let text = "\n".repeat(MOST_LINES + 1);
        assert_eq!(found("a.rs", &text).len(), 1);
        assert_eq!(found("Cargo.lock", &text), [""; 0]);
        assert_eq!(found("a.rs", &text[1..]), [""; 0]);
    }

    #[test]
    fn registries_and_machine_paths_are_found_with_their_line() {
        let registry = format!("\nhttps://{}{}/x", "static.", "crates.io");
        assert!(found("a.md", &registry)[0].starts_with("a.md:2: "));
        assert_eq!(found("Cargo.lock", &registry), [""; 0]);
        assert_eq!(found("a.sh", "cd /somewhere/checkout/crates").len(), 1);
        assert_eq!(found("a.sh", &format!("cat {}root/x", '/')).len(), 1);
        assert_eq!(found("a.md", &format!("see https://host{}home/page", '/')), [""; 0]);
    }

    #[test]
    fn addresses_in_a_lock_file_are_found() {
        assert_eq!(found("e2e/package-lock.json", "  \"resolved\": \"https://a/b.tgz\",").len(), 1);
        assert_eq!(found("e2e/package-lock.json", "  \"resolved\": \"../packages/rtc-cafe-client\","), [""; 0]);
    }
}
