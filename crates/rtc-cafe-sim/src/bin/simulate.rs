//! Runs many seeds of scenarios, says how far it is, and in the end which of them fail and how to replay them.

use std::{
    env,
    fmt::Write as _,
    io::{self, IsTerminal},
    ops::Range,
    panic,
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use rtc_cafe_sim::{KINDS, Kind, Outcome};

const HELP: &str = "\
Runs rooms of many clients and their server in virtual time, where everything random comes from a seed, and checks what
must hold: who is told of whom, and that each message comes once or is reported.

  cargo xtask simulate [SCENARIO...] [--seeds NUMBER | --seeds FIRST..END]
                                    run so many seeds of the named scenarios, or of all [default: 10000, in some minutes]
  cargo xtask simulate SCENARIO --seed NUMBER
                                    run one seed, to see it fail; with TRACE=1 it prints every step

  cargo xtask simulate                                 the long run, before a release or after a change of the core
  cargo xtask simulate broken --seeds 10000..50000     other seeds of one scenario
  TRACE=1 cargo xtask simulate broken --seed 4711      one that was said to fail

The tests run the first 1000 seeds of each (`cargo test -p rtc-cafe-sim`). A seed is the same run again only as long as the
code is the same.

Scenarios:
";
const SEEDS: Range<u64> = 0..10_000;

/// What is to be run.
#[derive(Debug, PartialEq)]
enum Task {
    Help,
    Many(Vec<&'static str>, Range<u64>),
    One(&'static str, u64),
}

fn main() -> ExitCode {
    match parse(env::args().skip(1)) {
        Ok(Task::Help) => print!("{}", help()),
        Ok(Task::One(name, seed)) => {
            let kind = named(name);
            println!("{name}, seed {seed}: all is well, with {} {}", kind.run(seed), kind.counts);
        }
        Ok(Task::Many(names, seeds)) => {
            // What a panic has to say comes in the end.
            panic::set_hook(Box::new(|_| {}));
            let failures = names.iter().filter(|name| !run(named(name), &seeds)).count();
            if failures > 0 {
                return ExitCode::FAILURE;
            }
        }
        Err(error) => {
            eprintln!("error: {error}; `cargo xtask simulate --help` tells more");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn named(name: &str) -> &'static Kind {
    Kind::named(name).expect("the name was looked at")
}

fn help() -> String {
    KINDS.iter().fold(HELP.to_owned(), |mut help, Kind { name, about, one_in, .. }| {
        let fewer = if *one_in > 1 { format!("; one for {one_in} seeds") } else { String::new() };
        let _ = writeln!(help, "  {name:9} {about}{fewer}");
        help
    })
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Task, String> {
    let (mut names, mut seeds, mut seed) = (Vec::new(), None, None);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` wants a number"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(Task::Help),
            "--seeds" => seeds = Some(range(&value()?)?),
            "--seed" => seed = Some(number(&value()?)?),
            option if option.starts_with('-') => return Err(format!("there is no option `{option}`")),
            name => names.push(Kind::named(name).ok_or_else(|| format!("there is no scenario `{name}`"))?.name),
        }
    }
    match (seed, &names[..]) {
        (Some(_), _) if seeds.is_some() => Err("it is either `--seed` or `--seeds`".into()),
        (Some(seed), [name]) => Ok(Task::One(name, seed)),
        (Some(_), _) => Err("`--seed` wants one scenario".into()),
        (None, []) => Ok(Task::Many(KINDS.iter().map(|kind| kind.name).collect(), seeds.unwrap_or(SEEDS))),
        (None, _) => Ok(Task::Many(names, seeds.unwrap_or(SEEDS))),
    }
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let range = match text.split_once("..") {
        Some((first, end)) => number(first)?..number(end)?,
        None => 0..number(text)?,
    };
    if range.is_empty() { Err(format!("there are no seeds in `{text}`")) } else { Ok(range) }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

/// Runs the seeds of one kind; whether none of them fails.
fn run(kind: &Kind, seeds: &Range<u64>) -> bool {
    let seeds = kind.seeds(seeds);
    let progress = Progress::new(kind.name, seeds.end - seeds.start);
    let Outcome { runs, counted, failed } = kind.run_seeds(seeds, &|runs| progress.tell(runs));
    progress.end();
    let took = progress.start.elapsed().as_secs_f64();
    let verdict = match failed.len() {
        0 if runs == 0 => "FAILED: none of these seeds is one of this scenario".to_owned(),
        0 if counted == 0 => "FAILED: nothing has come".to_owned(),
        0 => "ok".to_owned(),
        count => format!("{count} FAILED"),
    };
    println!("{:9} {runs:>7} seeds in {took:>6.1} s, {counted:>9} {:8}  {verdict}", kind.name, kind.counts);
    for (seed, why) in &failed {
        println!("  seed {seed}: {why}\n    TRACE=1 cargo xtask simulate {} --seed {seed}", kind.name);
    }
    failed.is_empty() && counted > 0
}

/// Says how far it is: now and then, or all the time in a line of its own, if somebody watches.
struct Progress {
    name: &'static str,
    total: u64,
    start: Instant,
    next: Mutex<Instant>,
    watched: bool,
}

impl Progress {
    fn new(name: &'static str, total: u64) -> Self {
        let (start, watched) = (Instant::now(), io::stderr().is_terminal());
        let progress = Self { name, total, start, next: Mutex::new(start), watched };
        *progress.next.lock().expect("nobody has it") += progress.pause();
        progress
    }

    const fn pause(&self) -> Duration {
        if self.watched { Duration::from_millis(200) } else { Duration::from_secs(20) }
    }

    fn tell(&self, runs: u64) {
        let now = Instant::now();
        let mut next = self.next.lock().expect("nothing panics with it");
        if now < *next {
            return;
        }
        *next = now + self.pause();
        let (begin, end) = if self.watched { ("\r\x1b[K", "") } else { ("", "\n") };
        eprint!("{begin}{:9} {runs:>7} of {} seeds{end}", self.name, self.total);
    }

    fn end(&self) {
        if self.watched {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, String> {
        super::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_understood() {
        let all: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(parse(""), Ok(Task::Many(all, 0..10_000)));
        assert_eq!(parse("calm slow --seeds 5"), Ok(Task::Many(vec!["calm", "slow"], 0..5)));
        assert_eq!(parse("--seeds 7..9 calm"), Ok(Task::Many(vec!["calm"], 7..9)));
        assert_eq!(parse("--seed 4711 broken"), Ok(Task::One("broken", 4711)));
        assert_eq!(parse("calm --help"), Ok(Task::Help));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("stormy", "no scenario `stormy`"),
            ("--trace", "no option `--trace`"),
            ("--seeds", "`--seeds` wants a number"),
            ("--seeds many", "`many` is no number"),
            ("--seeds 9..9", "no seeds in `9..9`"),
            ("--seed 1", "one scenario"),
            ("calm --seed 1 --seeds 2", "either"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn the_help_names_every_scenario() {
        let help = help();
        assert!(KINDS.iter().all(|kind| help.contains(&format!("  {} ", kind.name))), "{help}");
    }
}
