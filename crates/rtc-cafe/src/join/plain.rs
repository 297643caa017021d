//! A chat without a terminal: lines in are messages, lines out are `NAME: TEXT`, everything else goes to standard error.

use std::io;

use tokio::io::{AsyncWriteExt, BufReader, Stdin, Stdout};

use super::{
    lines::{Line, Lines},
    look,
    people::Note,
};

/// Bytes of the longest line that is sent.
const MAX_LINE: usize = 64 << 10;

/// Standard input and output.
#[derive(Debug)]
pub(crate) struct Plain {
    input: Lines<BufReader<Stdin>>,
    output: Stdout,
}

impl Plain {
    pub(crate) fn new() -> Self {
        Self { input: Lines::new(BufReader::new(tokio::io::stdin()), MAX_LINE), output: tokio::io::stdout() }
    }

    /// The next line of input that says something; `None` at the end. Cancel safe.
    pub(crate) async fn next_line(&mut self) -> Option<String> {
        loop {
            match self.input.next().await.ok()?? {
                Line::Bytes(line) if line.trim_ascii().is_empty() => {}
                Line::Bytes(line) => return Some(String::from_utf8_lossy(&line).into_owned()),
                Line::TooLong => self.tell(&format!("a line of more than {MAX_LINE} bytes was not sent")),
            }
        }
    }

    /// Prints a note; an error when nobody reads any more.
    pub(crate) async fn show(&mut self, note: &Note) -> io::Result<()> {
        match look::plain(note) {
            Ok(said) => {
                self.output.write_all(said.as_bytes()).await?;
                self.output.flush().await
            }
            Err(told) => {
                self.tell(&told);
                Ok(())
            }
        }
    }

    /// Tells something that nobody said.
    pub(crate) fn tell(&self, text: &str) {
        use std::io::Write;
        // Who closed standard error does not want to know.
        let _ = writeln!(io::stderr(), "* {text}");
    }
}
