//! How a chat looks: notes as lines of text, with colours where they are seen.

use std::{env, io, io::IsTerminal};

use super::people::Note;

/// Colours of names that are told apart on dark and on light ground.
const HUES: [u8; 10] = [31, 33, 37, 61, 64, 125, 130, 133, 160, 166];

/// Whether and how text is decorated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    colours: bool,
}

impl Look {
    /// With colours, if standard output is a terminal that has them and nobody objects (<https://no-color.org>).
    pub(crate) fn detect() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colours: io::stdout().is_terminal() && !unwanted && !dumb }
    }

    /// Text in the background.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What is as it should be.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What is not.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// What somebody is called, in a colour of its own.
    pub(crate) fn name(self, name: &str) -> String {
        let hash = name.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
        let hue = HUES[(hash >> 8) as usize % HUES.len()];
        self.paint(&format!("1;38;5;{hue}"), name)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A note as one or several lines; `time` is that of the clock on the wall.
    pub(crate) fn note(self, note: &Note, time: &str) -> String {
        let (name, rest) = match note {
            Note::Said(name, text) => {
                // Lines of one text stand below each other.
                let indent = format!("\n{}", " ".repeat(time.len() + 2));
                return format!("{}  {}  {}", self.dim(time), self.name(name), text.replace('\n', &indent));
            }
            Note::Arrived(name, how) => (name, format!(" {how}")),
            Note::Left(name) => (name, " left".to_owned()),
            Note::Renamed(before, name) => {
                return format!(
                    "{}  {} {}",
                    self.dim(time),
                    self.dim(&format!("{before} is now called")),
                    self.name(name)
                );
            }
            Note::Offers(name, what) => (name, format!(" offers {what}; `rtc-cafe receive` takes it")),
            Note::Floods(name) => (name, " is sending too much; some of it is not shown".to_owned()),
        };
        format!("{}  {}{}", self.dim(time), self.name(name), self.dim(&rest))
    }
}

/// A note without decoration: what is said, or what is told.
pub(crate) fn plain(note: &Note) -> Result<String, String> {
    match note {
        Note::Said(name, text) => Ok(text.lines().map(|line| format!("{name}: {line}\n")).collect()),
        Note::Arrived(name, how) => Err(format!("{name} {how}")),
        Note::Left(name) => Err(format!("{name} left")),
        Note::Renamed(before, name) => Err(format!("{before} is now called {name}")),
        Note::Offers(name, what) => Err(format!("{name} offers {what}; `rtc-cafe receive` takes it")),
        Note::Floods(name) => Err(format!("{name} is sending too much; some of it is not shown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_lines() {
        let look = Look { colours: false };
        let said = Note::Said("Ana".into(), "one\ntwo".into());
        assert_eq!(look.note(&said, "12:03"), "12:03  Ana  one\n       two");
        assert_eq!(look.note(&Note::Left("Ana".into()), "12:03"), "12:03  Ana left");
        assert_eq!(plain(&said), Ok("Ana: one\nAna: two\n".into()));
        assert_eq!(plain(&Note::Arrived("Ana".into(), "joined")), Err("Ana joined".into()));
        let look = Look { colours: true };
        assert!(look.note(&said, "12:03").starts_with("\u{1b}[2m12:03\u{1b}[0m  \u{1b}[1;38;5;"));
    }
}
