//! Says where we stand, and what the distance is made of.

use std::{env, fmt::Write, fs, io::IsTerminal, thread, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    metric::{Metric, Samples},
    signaller::Options,
};

/// From this ratio on, what is not over its budget is explained too.
const FAR: f64 = 1.25;

/// Most characters in a line of text.
const WIDTH: usize = 100;

/// A metric of both servers.
struct Row {
    metric: Metric,
    ours: f64,
    relay: f64,
}

impl Row {
    /// What was measured.
    fn all(ours: &Samples, relay: &Samples) -> Vec<Self> {
        let measured = Metric::ALL.into_iter().filter(|&metric| !ours.of(metric).is_empty());
        measured.map(|metric| Self { metric, ours: ours.median(metric), relay: relay.median(metric) }).collect()
    }

    /// How many times what the relay costs; for rates, how many times as fast the relay is.
    fn ratio(&self) -> f64 {
        if self.metric.about().more { self.relay / self.ours } else { self.ours / self.relay }
    }

    /// How many times the budget is used.
    fn used(&self) -> Option<f64> {
        self.metric.about().budget.map(|budget| self.ours / budget)
    }

    fn is_over(&self) -> bool {
        self.used().is_some_and(|used| used > 1.0)
    }

    fn cells(&self) -> [String; 6] {
        let about = self.metric.about();
        let number = |value: f64| format!("{}{}{}", grouped(value, about.digits), about.space(), about.unit);
        let verdict = match self.used() {
            None => String::new(),
            Some(used) if used <= 1.0 => String::from("within"),
            Some(used) => format!("{used:.2} times over"),
        };
        let title = about.title.to_owned();
        let budget = about.budget.map(number).unwrap_or_default();
        [title, number(self.ours), number(self.relay), format!("{:.2}", self.ratio()), budget, verdict]
    }
}

/// The table for people, in colour where it is a terminal that shows it.
pub(crate) fn table(ours: &Samples, relay: &Samples, options: &Options, took: Duration) -> String {
    let rows = Row::all(ours, relay);
    let paint = Paint::of_stdout();
    let mut out = String::from("\n");
    heading(&mut out, options, took, paint);
    body(&mut out, &rows, paint);
    out.push_str(
        "\nRatio: what ours costs in terms of the bare relay; for rates, how many times as fast the relay is.\n",
    );
    distance(&mut out, &rows, paint);
    out
}

fn heading(out: &mut String, options: &Options, took: Duration, paint: Paint) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let rounds = if options.rounds == 1 { String::from("1 round") } else { format!("median of {}", options.rounds) };
    let title = paint.bold("The signaller beside a bare websocket relay");
    let connections = grouped(options.connections as f64, 0);
    let _ = writeln!(out, "{title}");
    let _ = writeln!(out, "{connections} connections, {rounds}, {cores} cores, loopback, {} s", took.as_secs());
    if let Some(load) = load().filter(|&load| load > cores as f64) {
        let busy = format!(
            "The machine does other things meanwhile (load {load:.1}): times and rates suffer; believe CPU and memory."
        );
        let _ = writeln!(out, "{}", paint.yellow(&busy));
    }
    out.push('\n');
}

fn body(out: &mut String, rows: &[Row], paint: Paint) {
    let head = ["", "ours", "bare relay", "ratio", "budget", "verdict"].map(String::from);
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let mut widths = [0; 6];
    for line in cells.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |[title, numbers @ .., verdict]: &[String; 6], paint_verdict: &dyn Fn(&str) -> String| {
        let mut line = format!("{title:0$}", widths[0]);
        for (number, width) in numbers.iter().zip(&widths[1..]) {
            let _ = write!(line, "   {number:>width$}");
        }
        if !verdict.is_empty() {
            let _ = write!(line, "   {}", paint_verdict(verdict));
        }
        line.trim_end().to_owned()
    };
    let _ = writeln!(out, "{}", paint.bold(&line(&head, &str::to_owned)));
    for (row, cells) in rows.iter().zip(&cells) {
        let colour = |text: &str| if row.is_over() { paint.red(text) } else { paint.green(text) };
        let _ = writeln!(out, "{}", line(cells, &colour));
    }
}

fn distance(out: &mut String, rows: &[Row], paint: Paint) {
    let far: Vec<_> = rows.iter().filter(|row| row.is_over() || row.ratio() > FAR).collect();
    let hints = far.iter().filter_map(|row| Some((row, row.metric.hint()?)));
    for (number, (row, hint)) in hints.enumerate() {
        if number == 0 {
            let _ = writeln!(out, "\n{}", paint.bold("Where the distance is, and how it could be closed"));
        }
        wrap(out, &format!("* {}: {hint}", row.metric.about().title.trim()));
    }
}

/// Writes the text in lines that fit a terminal.
fn wrap(out: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split(' ') {
        let needed = word.chars().count() + 1;
        if width > 0 && width + needed > WIDTH {
            out.push_str("\n ");
            width = 1;
        }
        if width > 0 {
            out.push(' ');
        }
        out.push_str(word);
        width += needed;
    }
    out.push('\n');
}

/// The table for programs, with the values of every round.
pub(crate) fn json(ours: &Samples, relay: &Samples) -> Value {
    let entry = |row: Row| {
        let about = row.metric.about();
        let value = json!({
            "unit": about.unit,
            "ours": row.ours,
            "relay": row.relay,
            "ratio": row.ratio(),
            "budget": about.budget,
            "within": row.used().map(|used| used <= 1.0),
            "rounds": { "ours": ours.of(row.metric), "relay": relay.of(row.metric) },
        });
        (about.key.to_owned(), value)
    };
    Value::Object(Row::all(ours, relay).into_iter().map(entry).collect::<Map<_, _>>())
}

/// How many processes have wanted to run in the last minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// A number with commas between its thousands.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

/// Colours for terminals; see no-color.org.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn of_stdout() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(!unwanted && std::io::stdout().is_terminal())
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    fn red(self, text: &str) -> String {
        self.code("31", text)
    }

    fn green(self, text: &str) -> String {
        self.code("32", text)
    }

    fn yellow(self, text: &str) -> String {
        self.code("33", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.0, 0), "1,234,567");
        assert_eq!(grouped(999.0, 0), "999");
        assert_eq!(grouped(1234.5, 1), "1,234.5");
        assert_eq!(grouped(0.204, 3), "0.204");
    }

    #[test]
    fn what_is_over_says_how_far() {
        let row = |ours| Row { metric: Metric::RelayCpu, ours, relay: 0.1 };
        let [.., ratio, budget, verdict] = row(0.3).cells();
        assert_eq!((&*ratio, &*budget, &*verdict), ("3.00", "0.200 s", "1.50 times over"));
        assert_eq!(row(0.2).cells()[5], "within");
        let rate = Row { metric: Metric::Relayed, ours: 1000.0, relay: 2000.0 };
        assert_eq!(rate.cells()[1..4], ["1,000/s", "2,000/s", "2.00"]);
    }

    #[test]
    fn text_is_wrapped() {
        let mut out = String::new();
        wrap(&mut out, "word ".repeat(50).trim_end());
        assert!(out.lines().count() == 3 && out.lines().all(|line| line.len() <= WIDTH), "{out}");
        assert!(out.ends_with("word\n") && out.contains("\n  word"));
    }

    #[test]
    fn only_what_was_measured_is_shown() {
        let mut samples = Samples::default();
        samples.add(Metric::Memory, 9.0);
        let json = json(&samples, &samples);
        assert_eq!(json.as_object().map(Map::len), Some(1));
        assert_eq!(json["memory_kb"]["within"], true);
    }
}
