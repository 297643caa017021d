//! Reads lines of bounded length.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// What it says.
    Bytes(Vec<u8>),
    /// Longer than allowed; it was skipped.
    TooLong,
}

/// Reads lines, and keeps at most one of them.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    max: usize,
    line: Vec<u8>,
    too_long: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// `max`: bytes of the longest line.
    pub(crate) const fn new(input: R, max: usize) -> Self {
        Self { input, max, line: Vec::new(), too_long: false }
    }

    /// The next line; `None` at the end. Cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let buffer = self.input.fill_buf().await?;
            if buffer.is_empty() {
                let ended = !self.line.is_empty() || self.too_long;
                return Ok(ended.then(|| self.take()));
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            if self.too_long || self.line.len() + part.len() > self.max {
                self.too_long = true;
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> Line {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return Line::TooLong;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Line::Bytes(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded() {
        let text = "ab\n\ncd\r\nabcdef\nabcde\n0123456789".as_bytes();
        let mut lines = Lines::new(tokio::io::BufReader::with_capacity(4, text), 5);
        let bytes = |text: &str| Some(Line::Bytes(text.as_bytes().to_vec()));
        for expected in
            [bytes("ab"), bytes(""), bytes("cd"), Some(Line::TooLong), bytes("abcde"), Some(Line::TooLong), None, None]
        {
            assert_eq!(lines.next().await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn the_last_line_needs_no_end() {
        let mut lines = Lines::new("a\nb".as_bytes(), 5);
        assert_eq!(lines.next().await.unwrap(), Some(Line::Bytes(b"a".to_vec())));
        assert_eq!(lines.next().await.unwrap(), Some(Line::Bytes(b"b".to_vec())));
        assert_eq!(lines.next().await.unwrap(), None);
    }
}
