//! Proves that the protocol core and the hub use no clock, no randomness, no input or output and nothing asynchronous.
//!
//! The sources may name only harmless modules of `std`, and none of the words that stand for time, chance or the
//! outer world; the crates may depend only on crates of which the same is known. Code for tests is not looked at.

use std::{fs, iter::Peekable, path::Path, vec};

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::{
    process::{capture, cargo},
    project::{Project, files_below},
};

/// The sources that must be pure: files and folders.
const SOURCES: &[&str] = &["crates/rtc-cafe-wire/src", "crates/rtc-cafe-core/src", "crates/rtc-cafe-signaller/src/hub"];

/// The crates with the features in which they must be pure.
const CRATES: &[&[&str]] =
    &[&["-p", "rtc-cafe-wire"], &["-p", "rtc-cafe-core"], &["-p", "rtc-cafe-signaller", "--no-default-features"]];

/// What they may depend on; macros, which run in the compiler, are not counted.
const DEPENDENCIES: &[&str] = &[
    "rtc-cafe-wire",
    "rtc-cafe-core",
    "rtc-cafe-signaller",
    "thiserror",
    // Hashes, and what they are made of.
    "sha2",
    "digest",
    "block-buffer",
    "crypto-common",
    "generic-array",
    "typenum",
    "cpufeatures",
    "cfg-if",
    // A generator that only continues the seed it is given, and what it is made of.
    "rand_chacha",
    "rand_core",
    "ppv-lite86",
    "zerocopy",
];

/// Words that a file may use, each with the reason.
const EXCEPTIONS: &[(&str, &[&str], &str)] = &[(
    "crates/rtc-cafe-signaller/src/hub.rs",
    &["HashMap", "DefaultHasher"],
    "a table with a fixed hasher that is only looked up, never walked",
)];

const STD_MODULES: &[&str] = &[
    "any",
    "array",
    "ascii",
    "borrow",
    "boxed",
    "cell",
    "char",
    "clone",
    "cmp",
    "collections",
    "convert",
    "default",
    "error",
    "fmt",
    "hash",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "option",
    "rc",
    "result",
    "slice",
    "str",
    "string",
    "sync",
    "time",
    "vec",
];

const WORDS: &[(&[&str], &str)] = &[
    (&["Instant", "SystemTime", "UNIX_EPOCH"], "time comes in from outside"),
    (&["HashMap", "HashSet", "RandomState", "DefaultHasher"], "their order is random; use ordered maps"),
    (&["rand", "getrandom", "fastrand"], "chance comes from the seed"),
    (&["async", "await", "tokio", "futures", "Future"], "the core is synchronous"),
    (&["print", "println", "eprint", "eprintln", "dbg"], "the core has no output"),
    (&["unsafe", "thread_local"], "the core is plain"),
];

/// A place that is not pure.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    what: String,
    why: &'static str,
}

/// Every finding as a line; none means that everything is pure.
pub fn check(project: &Project) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for source in SOURCES {
        let path = project.root.join(source);
        // A module may be a file, a folder or both.
        let file = path.with_extension("rs");
        for path in [path, file].iter().filter(|path| path.exists()) {
            findings.append(&mut check_files(project, path)?);
        }
    }
    for selection in CRATES {
        let mut tree = cargo(&project.root);
        tree.args(["tree", "-e", "normal,no-proc-macro", "--prefix", "none", "-f", "{p}"]).args(*selection);
        findings.append(&mut foreign_dependencies(selection[1], &capture(&mut tree)?));
    }
    Ok(findings)
}

fn check_files(project: &Project, path: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut files = files_below(path, &["tests", "tests.rs"])?;
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let relative = file.strip_prefix(&project.root).unwrap_or(file);
        let shown = relative.display();
        let mut findings = scan(&fs::read_to_string(file)?).with_context(|| format!("{shown} is not Rust"))?;
        findings.retain(|found| !is_excepted(relative, &found.what));
        lines.extend(findings.iter().map(|found| format!("{shown}:{}: {}: {}", found.line, found.what, found.why)));
    }
    Ok(lines)
}

fn is_excepted(file: &Path, what: &str) -> bool {
    EXCEPTIONS.iter().any(|(name, words, _)| file == Path::new(name) && words.contains(&what))
}

fn foreign_dependencies(name: &str, tree: &str) -> Vec<String> {
    let mut foreign: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|dependency| !DEPENDENCIES.contains(dependency))
        .map(|dependency| {
            format!("{name}: depends on {dependency}, which the list in xtask/src/purity.rs does not allow")
        })
        .collect();
    foreign.sort();
    foreign.dedup();
    foreign
}

fn scan(source: &str) -> Result<Vec<Finding>> {
    let stream: TokenStream = source.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut findings = Vec::new();
    scan_stream(stream, &mut findings);
    findings.sort_by_key(|finding| finding.line);
    Ok(findings)
}

type Tokens = Peekable<vec::IntoIter<TokenTree>>;

fn scan_stream(stream: TokenStream, findings: &mut Vec<Finding>) {
    let mut tokens: Tokens = stream.into_iter().collect::<Vec<_>>().into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if scan_attribute(&mut tokens, findings) {
                    return;
                }
            }
            TokenTree::Group(group) => scan_stream(group.stream(), findings),
            TokenTree::Ident(ident) => {
                let line = ident.span().start().line;
                let word = ident.to_string();
                if word == "std" {
                    scan_std(line, &mut tokens, findings);
                }
                check_word(line, &word, findings);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Looks at an attribute after its `#`, skips the item that it leaves to the tests, and says whether that item is
/// everything around it.
fn scan_attribute(tokens: &mut Tokens, findings: &mut Vec<Finding>) -> bool {
    let inner = tokens.next_if(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '!')).is_some();
    let Some(TokenTree::Group(attribute)) =
        tokens.next_if(|token| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket))
    else {
        return false;
    };
    let text = attribute.stream().to_string().replace(' ', "");
    if text == "cfg(test)" || text == "test" {
        if inner {
            return true;
        }
        skip_item(tokens);
    } else {
        scan_stream(attribute.stream(), findings);
    }
    false
}

/// An item ends with its block or with a semicolon.
fn skip_item(tokens: &mut Tokens) {
    for token in tokens.by_ref() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(punct) if punct.as_char() == ';' => return,
            _ => {}
        }
    }
}

/// Checks which modules of `std` a path or a list of imports names.
fn scan_std(line: usize, tokens: &mut Tokens, findings: &mut Vec<Finding>) {
    let colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
    if tokens.next_if(colon).is_none() || tokens.next_if(colon).is_none() {
        findings.push(Finding { line, what: "std".into(), why: "name its module, so that it can be checked" });
        return;
    }
    match tokens.peek() {
        Some(TokenTree::Group(list)) => {
            let mut first = true;
            for token in list.stream() {
                match &token {
                    TokenTree::Punct(punct) if punct.as_char() == ',' => first = true,
                    _ if first => {
                        check_module(&token, findings);
                        first = false;
                    }
                    _ => {}
                }
            }
        }
        Some(token) => check_module(token, findings),
        None => {}
    }
}

fn check_module(token: &TokenTree, findings: &mut Vec<Finding>) {
    let name = token.to_string();
    if !STD_MODULES.contains(&name.as_str()) {
        let line = token.span().start().line;
        findings.push(Finding { line, what: format!("std::{name}"), why: "this module is not on the list" });
    }
}

fn check_word(line: usize, word: &str, findings: &mut Vec<Finding>) {
    if let Some((_, why)) = WORDS.iter().find(|(words, _)| words.contains(&word.trim_start_matches("r#"))) {
        findings.push(Finding { line, what: word.to_owned(), why });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<(usize, String)> {
        scan(source).unwrap().into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    #[track_caller]
    fn assert_caught(source: &str, what: &str) {
        let found = found(source);
        assert!(found.iter().any(|(_, word)| word == what), "{source}: {found:?}");
    }

    #[test]
    fn clocks_are_caught() {
        assert_caught("use std::time::Instant;", "Instant");
        assert_caught("use std::{fmt, time::{Duration, SystemTime as Clock}};", "SystemTime");
        assert_caught("fn f() { let now = std::time::Instant::now(); }", "Instant");
    }

    #[test]
    fn chance_is_caught() {
        assert_caught("struct A { map: std::collections::HashMap<u8, u8> }", "HashMap");
        assert_caught("use rand::random;", "rand");
        assert_caught("fn f() { ::getrandom::fill(&mut [0]); }", "getrandom");
    }

    #[test]
    fn the_outer_world_is_caught() {
        assert_caught("use std::net::UdpSocket;", "std::net");
        assert_caught("use std::{fmt, fs};", "std::fs");
        assert_caught("use ::std::{self, env};", "std::self");
        assert_caught("fn f() { std::thread::spawn(|| ()); }", "std::thread");
        assert_caught("fn f() { ::std::process::exit(1) }", "std::process");
        assert_caught("use std::*;", "std::*");
        assert_caught("use std as world;", "std");
        assert_caught("fn f() { println!(\"here\"); }", "println");
        assert_caught("macro_rules! m { () => { std::io::stdin() } }", "std::io");
    }

    #[test]
    fn what_is_asynchronous_is_caught() {
        assert_caught("async fn f() {}", "async");
        assert_caught("use tokio::spawn;", "tokio");
        assert_caught("fn f() -> impl Future<Output = ()> { g() }", "Future");
    }

    #[test]
    fn the_line_is_that_of_the_word() {
        assert_eq!(found("// one\n\nfn f() {\n    dbg!(1);\n}\n"), [(4, "dbg".to_owned())]);
    }

    #[test]
    fn comments_texts_and_harmless_modules_pass() {
        let source = "//! An Instant of std::net.\n/// async\nuse std::{collections::{BTreeMap, VecDeque}, fmt, time::Duration};\n\
            /* tokio */ const A: &str = \"rand println!\"; #[derive(Debug)] struct InstantMessage;";
        assert_eq!(found(source), []);
    }

    #[test]
    fn tests_may_do_what_they_like_and_what_follows_them_may_not() {
        let source = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n#[test]\nfn t() { dbg!(1); }\nuse std::env;\n";
        assert_eq!(found(source), [(7, "std::env".to_owned())]);
        assert_eq!(found("#![cfg(test)]\nuse std::fs;"), []);
        assert_caught("#[cfg(not(test))]\nmod real { use std::fs; }", "std::fs");
        assert_caught("#[cfg(any(test, unix))]\nmod real { use std::fs; }", "std::fs");
    }

    #[test]
    fn an_exception_holds_for_its_file_and_words_only() {
        let hub = Path::new("crates/rtc-cafe-signaller/src/hub.rs");
        assert!(is_excepted(hub, "HashMap"));
        assert!(!is_excepted(hub, "Instant"));
        assert!(!is_excepted(Path::new("crates/rtc-cafe-core/src/client.rs"), "HashMap"));
    }

    #[test]
    fn foreign_dependencies_are_named() {
        let tree =
            "rtc-cafe-core v0.1.0 (/somewhere)\nrtc-cafe-wire v0.1.0 (/somewhere)\nrand v0.9.0\nrand v0.9.0 (*)\n";
        let found = foreign_dependencies("rtc-cafe-core", tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("rtc-cafe-core: depends on rand"), "{found:?}");
    }
}
