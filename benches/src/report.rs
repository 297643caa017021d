//! Says where we stand, and what the distance is made of.

use std::{env, fmt::Write, fs, io::IsTerminal, thread, time::Duration};

use serde_json::{Map, Value, json};

use crate::metric::{Measured, Samples};

/// From this ratio on, what is not over its budget is explained too.
const FAR: f64 = 1.25;

/// Most characters in a line of text.
const WIDTH: usize = 100;

/// What ours is compared with.
pub(crate) struct Other<'a, M> {
    pub(crate) name: &'static str,
    /// In the JSON.
    pub(crate) key: &'static str,
    pub(crate) samples: &'a Samples<M>,
}

/// What a benchmark has measured.
pub(crate) struct Report<'a, M> {
    pub(crate) title: &'static str,
    /// How it was measured.
    pub(crate) conditions: String,
    /// How often.
    pub(crate) rounds: usize,
    pub(crate) ours: &'a Samples<M>,
    /// The first one is the floor.
    pub(crate) others: Vec<Other<'a, M>>,
    /// What there is to know of the table, under it.
    pub(crate) notes: String,
}

/// A line of the table.
struct Row<M> {
    metric: M,
    ours: f64,
    others: Vec<f64>,
}

impl<M: Measured> Row<M> {
    /// How many times what another costs; for rates, how many times as fast the other is.
    fn ratio(&self, other: f64) -> f64 {
        if self.metric.about().more { other / self.ours } else { self.ours / other }
    }

    /// The ratio to the floor.
    fn distance(&self) -> f64 {
        self.others.first().map_or(f64::NAN, |&floor| self.ratio(floor))
    }

    /// How many times the budget is used.
    fn used(&self) -> Option<f64> {
        self.metric.about().budget.map(|budget| self.ours / budget)
    }

    fn is_over(&self) -> bool {
        self.used().is_some_and(|used| used > 1.0)
    }

    /// The title, ours, each other with its ratio, the budget, the verdict.
    fn cells(&self) -> Vec<String> {
        let about = self.metric.about();
        let number = |value: f64| match value.is_nan() {
            true => String::new(),
            false => format!("{}{}{}", grouped(value, about.digits), about.space(), about.unit),
        };
        let ratio = |other: f64| match self.ratio(other) {
            ratio if ratio.is_nan() => String::new(),
            ratio => format!("{ratio:.2}"),
        };
        let verdict = match self.used() {
            None => String::new(),
            Some(used) if used <= 1.0 => String::from("within"),
            Some(used) => format!("{used:.2} times over"),
        };
        let mut cells = vec![about.title.clone(), number(self.ours)];
        cells.extend(self.others.iter().flat_map(|&other| [number(other), ratio(other)]));
        cells.extend([about.budget.map(number).unwrap_or_default(), verdict]);
        cells
    }
}

impl<M: Measured> Report<'_, M> {
    /// What was measured.
    fn rows(&self) -> Vec<Row<M>> {
        let samples = || self.others.iter().map(|other| other.samples).chain([self.ours]);
        let measured = M::ALL.iter().copied().filter(|&metric| samples().any(|samples| !samples.of(metric).is_empty()));
        let row = |metric| Row {
            metric,
            ours: self.ours.median(metric),
            others: self.others.iter().map(|other| other.samples.median(metric)).collect(),
        };
        measured.map(row).collect()
    }

    pub(crate) fn print(&self, json: bool, took: Duration) {
        match json {
            true => println!("{:#}", self.json()),
            false => print!("{}", self.table(took)),
        }
    }

    /// The table for people, in colour where it is a terminal that shows it.
    fn table(&self, took: Duration) -> String {
        let rows = self.rows();
        let paint = Paint::of_stdout();
        let mut out = String::from("\n");
        self.heading(&mut out, took, paint);
        self.body(&mut out, &rows, paint);
        out.push('\n');
        for line in self.notes.lines() {
            wrap(&mut out, line);
        }
        distance(&mut out, &rows, paint);
        out
    }

    fn heading(&self, out: &mut String, took: Duration, paint: Paint) {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let rounds = if self.rounds == 1 { String::from("1 round") } else { format!("median of {}", self.rounds) };
        let _ = writeln!(out, "{}", paint.bold(self.title));
        let _ = writeln!(out, "{}, {rounds}, {cores} cores, {} s", self.conditions, took.as_secs());
        if let Some(load) = load().filter(|&load| load > cores as f64) {
            let busy = format!(
                "The machine does other things meanwhile (load {load:.1}): times and rates suffer; believe CPU and memory."
            );
            let _ = writeln!(out, "{}", paint.yellow(&busy));
        }
        out.push('\n');
    }

    fn body(&self, out: &mut String, rows: &[Row<M>], paint: Paint) {
        let mut head = vec!["", "ours"];
        head.extend(self.others.iter().flat_map(|other| [other.name, "ratio"]));
        head.extend(["budget", "verdict"]);
        let head: Vec<_> = head.into_iter().map(String::from).collect();
        let cells: Vec<_> = rows.iter().map(Row::cells).collect();
        let mut widths = vec![0; head.len()];
        for line in cells.iter().chain([&head]) {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let line = |cells: &[String], paint_verdict: &dyn Fn(&str) -> String| {
            let [title, numbers @ .., verdict] = cells else { return String::new() };
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

    /// The table for programs, with the values of every round.
    fn json(&self) -> Value {
        let entry = |row: Row<M>| {
            let about = row.metric.about();
            let mut value = json!({
                "unit": about.unit,
                "ours": row.ours,
                "ratio": row.distance(),
                "budget": about.budget,
                "within": row.used().map(|used| used <= 1.0),
                "rounds": { "ours": self.ours.of(row.metric) },
            });
            for (number, (other, &median)) in self.others.iter().zip(&row.others).enumerate() {
                value[other.key] = json!(median);
                value["rounds"][other.key] = json!(other.samples.of(row.metric));
                if number > 0 {
                    value[format!("{}_ratio", other.key)] = json!(row.ratio(median));
                }
            }
            (about.key, value)
        };
        Value::Object(self.rows().into_iter().map(entry).collect::<Map<_, _>>())
    }
}

fn distance<M: Measured>(out: &mut String, rows: &[Row<M>], paint: Paint) {
    let far: Vec<_> = rows.iter().filter(|row| row.is_over() || row.distance() > FAR).collect();
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

/// How many processes have wanted to run in the last minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// A number with commas between its thousands.
pub(crate) fn grouped(value: f64, digits: usize) -> String {
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
    use crate::metric::Metric;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.0, 0), "1,234,567");
        assert_eq!(grouped(999.0, 0), "999");
        assert_eq!(grouped(1234.5, 1), "1,234.5");
        assert_eq!(grouped(0.204, 3), "0.204");
    }

    #[test]
    fn what_is_over_says_how_far() {
        let row = |ours| Row { metric: Metric::RelayCpu, ours, others: vec![0.1] };
        assert_eq!(row(0.3).cells()[3..], ["3.00", "0.200 s", "1.50 times over"]);
        assert_eq!(row(0.2).cells()[5], "within");
        let rate = Row { metric: Metric::Relayed, ours: 1000.0, others: vec![2000.0] };
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
        let others = vec![Other { name: "bare relay", key: "relay", samples: &samples }];
        let (conditions, notes) = (String::new(), String::new());
        let json = Report { title: "", conditions, rounds: 1, ours: &samples, others, notes }.json();
        assert_eq!(json["memory_kb"]["relay"], 9.0);
        assert_eq!(json.as_object().map(Map::len), Some(1));
        assert_eq!(json["memory_kb"]["within"], true);
    }
}
