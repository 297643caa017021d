//! How many tests passed, as the test runners say it.

use std::{iter::Sum, ops::AddAssign};

/// Results of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
}

impl Counts {
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    pub const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// Adds up every summary in the output of cargo test, cargo nextest and node's test runner.
    pub fn read(lines: &[String]) -> Self {
        lines.iter().filter_map(|line| Self::read_line(&without_colours(line))).sum()
    }

    pub fn total(self) -> u32 {
        self.passed + self.failed + self.skipped
    }

    fn read_line(line: &str) -> Option<Self> {
        let line = line.trim();
        if let Some(list) = line.strip_prefix("test result:") {
            // cargo test: `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out`
            let list = list.split_once(". ")?.1;
            return Some(list.split(';').filter_map(Self::number_first).sum());
        }
        if line.starts_with("Summary [") {
            // nextest: `Summary [   0.013s] 4 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 0 skipped`
            let list = line.split_once(" run: ")?.1;
            return Some(list.split(',').filter_map(Self::number_first).sum());
        }
        // node: `# pass 3` or `ℹ pass 3`
        let mut words = line.split_whitespace();
        if !matches!(words.next()?, "#" | "ℹ") {
            return None;
        }
        let (word, number) = (words.next()?, words.next()?.parse().ok()?);
        if words.next().is_some() { None } else { Self::of(word, number) }
    }

    fn number_first(part: &str) -> Option<Self> {
        let (number, word) = part.trim().split_once(' ')?;
        Self::of(word.split(" (").next()?, number.parse().ok()?)
    }

    fn of(word: &str, number: u32) -> Option<Self> {
        let none = Self::default();
        match word {
            "passed" | "pass" => Some(Self { passed: number, ..none }),
            "failed" | "fail" | "cancelled" | "timed out" | "exec failed" => Some(Self { failed: number, ..none }),
            "skipped" | "ignored" | "todo" => Some(Self { skipped: number, ..none }),
            _ => None,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, counts| {
            sum += counts;
            sum
        })
    }
}

fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character == '\x1b' {
            rest.find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Counts {
        Counts::read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn cargo_test_prints_one_result_for_each_binary() {
        let text = "running 4 tests\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s\n\
            test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        assert_eq!(read(text), Counts { passed: 13, failed: 2, skipped: 1 });
    }

    #[test]
    fn nextest_prints_a_summary_with_colours() {
        let text = "     \x1b[31;1mSummary\x1b[0m [   1.1s] \x1b[1m6\x1b[0m tests run: \x1b[1m3\x1b[0m passed (1 slow), \
            1 failed, 1 timed out, 1 exec failed, 2 skipped";
        assert_eq!(read(text), Counts { passed: 3, failed: 3, skipped: 2 });
        assert_eq!(read("Summary [ 0.1s] 1 test run: 1 passed, 0 skipped"), Counts { passed: 1, ..Counts::default() });
    }

    #[test]
    fn node_prints_a_line_for_each_number() {
        let text =
            "# tests 7\n# suites 1\n# pass 3\n# fail 1\n# cancelled 1\n# skipped 1\n# todo 1\n# duration_ms 61.2";
        assert_eq!(read(text), Counts { passed: 3, failed: 2, skipped: 2 });
        assert_eq!(read("ℹ pass 3\nℹ fail 0\n"), Counts { passed: 3, ..Counts::default() });
    }

    #[test]
    fn what_a_test_prints_is_not_counted() {
        assert_eq!(read("3 passed\n# pass 3 gates to get in\npass 4\n# passing by"), Counts::default());
    }
}
