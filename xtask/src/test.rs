//! Runs every check of the project as named steps, and adds up what they found.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    counts::Counts,
    hygiene, package,
    process::{self, Transcript, cargo, command, say, seconds, tail, tee},
    project::Project,
    purity,
    setup::{self, Part, npm},
    toolchain::{self, TARGET},
};

/// One part of the tests.
struct Step {
    name: &'static str,
    about: &'static str,
    needs: &'static [Part],
    /// Whether the npm package must have been built before; the binary contains it.
    after_package: bool,
    run: fn(&Project) -> Result<Report>,
}

/// The quick ones come first.
const STEPS: &[Step] = &[
    Step { name: "fmt", about: "the sources are formatted", needs: &[], after_package: false, run: fmt },
    Step {
        name: "purity",
        about: "core and hub do no input, output, clock or chance",
        needs: &[],
        after_package: false,
        run: purity_step,
    },
    Step {
        name: "hygiene",
        about: "short files, no addresses, no paths of a machine",
        needs: &[],
        after_package: false,
        run: hygiene_step,
    },
    Step {
        name: "package",
        about: "WebAssembly and the npm package build",
        needs: setup::BUILD,
        after_package: false,
        run: package_step,
    },
    Step {
        name: "clippy",
        about: "no warnings, in every combination that ships",
        needs: setup::BUILD,
        after_package: true,
        run: clippy,
    },
    Step {
        name: "cargo",
        about: "tests of the crates, the simulator included",
        needs: setup::CRATES,
        after_package: true,
        run: cargo_tests,
    },
    Step {
        name: "doc",
        about: "documentation builds and its examples run",
        needs: setup::BUILD,
        after_package: true,
        run: doc,
    },
    Step {
        name: "npm",
        about: "types, unit tests, bundlers and size of the npm package",
        needs: setup::BUILD,
        after_package: true,
        run: npm_tests,
    },
    Step {
        name: "e2e",
        about: "Chromium and Firefox, real servers, third-party clients",
        needs: setup::BROWSER,
        after_package: true,
        run: e2e,
    },
    Step {
        name: "network",
        about: "peers in network namespaces whose network or server fails",
        needs: setup::NETWORK,
        after_package: true,
        run: network,
    },
    Step {
        name: "deny",
        about: "licences and sources of the dependencies",
        needs: setup::DENY,
        after_package: false,
        run: deny,
    },
    Step { name: "fuzz", about: "the fuzz targets build", needs: &[], after_package: false, run: fuzz },
];

/// What a step found.
#[derive(Debug, Default)]
struct Report {
    counts: Counts,
    /// Shown again at the end when the step failed.
    output: Vec<String>,
    /// Why it was skipped, or another short remark.
    note: String,
}

impl Report {
    fn skipped(why: &str) -> Self {
        Self { counts: Counts::SKIPPED, note: format!("skipped: {why}"), ..Self::default() }
    }

    /// One check, which fails when it found something.
    fn of_findings(findings: Vec<String>) -> Self {
        for finding in &findings {
            println!("{finding}");
        }
        let counts = if findings.is_empty() { Counts::PASSED } else { Counts::FAILED };
        Self { counts, output: findings, note: String::new() }
    }

    /// One check, which is a program.
    fn of_check(command: &mut Command) -> Result<Self> {
        let Transcript { succeeded, lines } = tee(command)?;
        Ok(Self { counts: if succeeded { Counts::PASSED } else { Counts::FAILED }, output: lines, note: String::new() })
    }

    /// A test runner, which says itself how many tests it ran.
    fn of_tests(command: &mut Command) -> Result<Self> {
        let Transcript { succeeded, lines } = tee(command)?;
        let mut counts = Counts::read(&lines);
        // It may have failed before it ran anything.
        if !succeeded && counts.failed == 0 {
            counts.failed = 1;
        }
        Ok(Self { counts, output: lines, note: String::new() })
    }

    /// A runner that ran nothing has proved nothing.
    fn at_least_one(mut self) -> Self {
        if self.counts.total() == 0 {
            self.counts = Counts::FAILED;
            self.note = "no test ran".into();
        }
        self
    }

    fn and(mut self, other: Self) -> Self {
        self.counts += other.counts;
        self.output.extend(other.output);
        if self.note.is_empty() {
            self.note = other.note;
        } else if !other.note.is_empty() {
            self.note = format!("{}; {}", self.note, other.note);
        }
        self
    }
}

/// Prints what `test` can run.
pub fn list() {
    for step in STEPS {
        println!("{:8}  {}", step.name, step.about);
    }
}

/// Runs the named steps, or all; whether all of them passed.
pub fn test(project: &Project, names: &[String]) -> Result<bool> {
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        bail!("there is no step `{unknown}`; `cargo xtask test --list` shows them");
    }
    let named = |step: &Step| names.is_empty() || names.iter().any(|name| name == step.name);
    let needs_package = STEPS.iter().any(|step| named(step) && step.after_package);
    let steps: Vec<_> = STEPS.iter().filter(|step| named(step) || (needs_package && step.name == "package")).collect();
    setup::ensure_all(project, steps.iter().flat_map(|step| step.needs.iter().copied()))?;
    let start = Instant::now();
    let results: Vec<_> = steps.iter().map(|step| run(project, step)).collect();
    Ok(summarise(&results, start.elapsed()))
}

struct Outcome {
    name: &'static str,
    report: Report,
    took: Duration,
}

fn run(project: &Project, step: &Step) -> Outcome {
    say(format!("── {}: {}", step.name, step.about));
    let start = Instant::now();
    let report = (step.run)(project).unwrap_or_else(|error| {
        let message = format!("{error:#}");
        println!("{message}");
        Report { counts: Counts::FAILED, output: vec![message], note: String::new() }
    });
    let took = start.elapsed();
    say(format!("── {}: {} in {}", step.name, verdict(&report), seconds(took)));
    Outcome { name: step.name, report, took }
}

fn verdict(report: &Report) -> &'static str {
    match report.counts {
        Counts { failed: 1.., .. } => "FAILED",
        Counts { passed: 0, skipped: 1.., .. } => "skipped",
        _ => "ok",
    }
}

fn summarise(outcomes: &[Outcome], took: Duration) -> bool {
    for outcome in outcomes.iter().filter(|outcome| outcome.report.counts.failed > 0) {
        println!("\n── {} failed; the end of its output:\n{}", outcome.name, tail(&outcome.report.output));
    }
    println!("\n{:8}  {:8} {:>7} {:>7} {:>7}  {:>13}", "step", "result", "passed", "failed", "skipped", "time");
    for Outcome { name, report, took } in outcomes {
        let Counts { passed, failed, skipped } = report.counts;
        let row = format!(
            "{name:8}  {:8} {passed:>7} {failed:>7} {skipped:>7}  {:>13}  {}",
            verdict(report),
            seconds(*took),
            report.note
        );
        println!("{}", row.trim_end());
    }
    let total: Counts = outcomes.iter().map(|outcome| outcome.report.counts).sum();
    println!("{:44}  {:>13}\n", "", seconds(took));
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    total.failed == 0
}

fn fmt(project: &Project) -> Result<Report> {
    Report::of_check(cargo(&project.root).args(["fmt", "--all", "--check"]))
}

fn purity_step(project: &Project) -> Result<Report> {
    Ok(Report::of_findings(purity::check(project)?))
}

fn hygiene_step(project: &Project) -> Result<Report> {
    if !process::works(command("git").args(["rev-parse", "--git-dir"]).current_dir(&project.root)) {
        return Ok(Report::skipped("this is not a git checkout"));
    }
    Ok(Report::of_findings(hygiene::check(project)?))
}

fn package_step(project: &Project) -> Result<Report> {
    package::package(project)?;
    Ok(Report { counts: Counts::PASSED, ..Report::default() })
}

fn clippy(project: &Project) -> Result<Report> {
    const STRICT: [&str; 3] = ["--", "-D", "warnings"];
    let root = &project.root;
    let toolchain = toolchain::ensure(project)?;
    let workspace = Report::of_check(cargo(root).args(["clippy", "--workspace", "--all-targets"]).args(STRICT))?;
    let hub = ["clippy", "-p", "rtc-cafe-signaller", "--no-default-features"];
    let hub = Report::of_check(cargo(root).args(hub).args(STRICT))?;
    let web = if toolchain.has_clippy() {
        let web = ["clippy", "-p", "rtc-cafe-web", "--target", TARGET];
        Report::of_check(toolchain.cargo(root).args(web).args(STRICT))?
    } else {
        Report::skipped("the WebAssembly tool chain has no clippy")
    };
    Ok(workspace.and(hub).and(web))
}

fn cargo_tests(project: &Project) -> Result<Report> {
    let mut tests = cargo(&project.root);
    if process::works(cargo(&project.root).args(["nextest", "--version"])) {
        tests.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    } else {
        tests.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"]);
    }
    Ok(Report::of_tests(&mut tests)?.at_least_one())
}

fn doc(project: &Project) -> Result<Report> {
    let mut pages = cargo(&project.root);
    pages.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    let pages = Report::of_check(&mut pages)?;
    Ok(pages.and(Report::of_tests(cargo(&project.root).args(["test", "--workspace", "--doc", "--no-fail-fast"]))?))
}

fn npm_tests(project: &Project) -> Result<Report> {
    Ok(Report::of_tests(npm(&project.client()).arg("test"))?.at_least_one())
}

/// Everything in Chromium, then what is about browsers in Firefox. Uses the debug build, of which the crates' tests have
/// compiled most already.
fn e2e(project: &Project) -> Result<Report> {
    let browsers = [&setup::CHROMIUM, &setup::FIREFOX];
    let in_chromium = npm_script(project, "test", "chromium", &browsers)?;
    Ok(in_chromium.and(npm_script(project, "test:browser", "firefox", &browsers)?))
}

/// Where there is no right to make networks, the tests that need them skip themselves and say why.
fn network(project: &Project) -> Result<Report> {
    npm_script(project, "test:network", "chromium", &[&setup::CHROMIUM])
}

/// Why node skipped a test: `﹣ the title (0.2ms) # the reason`.
fn skip_reason(line: &str) -> Option<&str> {
    let (_, reason) = line.trim_start().strip_prefix('﹣')?.rsplit_once("# ")?;
    Some(reason.trim_end())
}

/// Runs a script of the end-to-end tests with these browsers, of which one is that of the tests that name none.
fn npm_script(project: &Project, script: &str, default: &str, browsers: &[&setup::Browser]) -> Result<Report> {
    // Any test of the binary has cargo build it, with the features of the whole workspace, as the tests of the crates did.
    process::run(cargo(&project.root).args(["test", "--workspace", "--no-run", "--test", "deploy"]))?;
    let binary = project.target.join("debug").join(format!("rtc-cafe{}", std::env::consts::EXE_SUFFIX));
    let mut tests = npm(&project.e2e());
    tests.args(["run", script]).env("BROWSER", default);
    tests.env("RTC_CAFE_BIN", binary).env("RTC_CAFE_PYTHON", setup::python(project)?);
    setup::give_browsers(&mut tests, browsers)?;
    let mut report = Report::of_tests(&mut tests)?.at_least_one();
    let reasons: BTreeSet<_> = report.output.iter().filter_map(|line| skip_reason(line)).collect();
    if !reasons.is_empty() {
        report.note = format!("skipped: {}", reasons.into_iter().collect::<Vec<_>>().join(", "));
    }
    Ok(report)
}

/// The advisories come from the network and change without us, so they are not part of the tests.
fn deny(project: &Project) -> Result<Report> {
    let mut deny = command(setup::cargo_deny(project)?);
    deny.args(["--all-features", "check", "licenses", "bans", "sources"]).current_dir(&project.root);
    Report::of_check(&mut deny)
}

fn fuzz(project: &Project) -> Result<Report> {
    let folder = project.root.join("fuzz");
    if !has_nightly(&folder) || setup::on_path(&["cargo-fuzz"]).is_none() {
        return Ok(Report::skipped("needs a nightly tool chain and cargo-fuzz (cargo install cargo-fuzz)"));
    }
    // Through rustup, since the cargo that runs us belongs to one tool chain.
    Report::of_check(
        command("cargo").args(["+nightly", "fuzz", "build"]).current_dir(&project.root).env_remove("RUSTUP_TOOLCHAIN"),
    )
}

fn has_nightly(folder: &Path) -> bool {
    let mut list = command("rustup");
    list.args(["toolchain", "list"]).stderr(Stdio::null());
    let listed = process::capture(&mut list).unwrap_or_default();
    folder.join("Cargo.toml").exists() && listed.lines().any(|line| line.starts_with("nightly"))
}
