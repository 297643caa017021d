//! Makes what peers send safe to show: nothing that controls a terminal, hides, or reorders its surroundings.

use unicode_width::UnicodeWidthChar;

/// Longest name that is shown, in characters.
pub(crate) const MAX_NAME: usize = 32;
/// Longest text that is shown, in characters.
const MAX_TEXT: usize = 2000;
/// More marks on one letter than any script needs cover the lines around it.
const MAX_MARKS: usize = 4;

/// Whether a character is invisible, reorders others, or controls a terminal. The joiner of emoji is not among them.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}'
            | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}')
}

/// One line of text, such as a name, or nothing when there is nothing to see in it.
pub(crate) fn clean_line(text: &str, max: usize) -> String {
    let words: Vec<_> = text.split_whitespace().take(max).collect();
    let line: String = without_piles(words.join(" ").chars().take(max * 8).filter(|c| !is_unseen(*c)));
    shorten(line.trim(), max, "")
}

/// A text of several lines, or nothing when there is nothing to see in it.
pub(crate) fn clean_text(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', "    ");
    let kept = text.chars().take(MAX_TEXT * 4).filter(|c| *c == '\n' || !is_unseen(*c));
    let mut lines: Vec<&str> = Vec::new();
    let kept = without_piles(kept);
    for line in kept.lines().map(str::trim_end) {
        // No more than one empty line, and none at the beginning.
        if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
            lines.push(line);
        }
    }
    shorten(lines.join("\n").trim_end(), MAX_TEXT, "…")
}

fn without_piles(characters: impl Iterator<Item = char>) -> String {
    let mut marks = 0;
    let kept = characters.filter(|c| {
        let is_mark = *c != '\n' && *c != '\u{200d}' && c.width() == Some(0);
        marks = if is_mark { marks + 1 } else { 0 };
        marks <= MAX_MARKS
    });
    kept.collect()
}

fn shorten(text: &str, max: usize, ellipsis: &str) -> String {
    let seen = text.chars().any(|c| !c.is_whitespace() && c.width() != Some(0));
    match text.char_indices().nth(max) {
        _ if !seen => String::new(),
        Some((end, _)) => format!("{}{ellipsis}", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_controls_the_terminal() {
        let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31mred\u{202e}\r\n\u{8}x\u{0}";
        assert_eq!(clean_line(hostile, 32), "]0;title[2J31mred x");
        assert_eq!(clean_text(hostile), "]0;title[2J31mred\nx");
        assert!(hostile.chars().filter(|c| is_unseen(*c)).count() >= 8);
    }

    #[test]
    fn lines_are_short_and_seen() {
        assert_eq!(clean_line("  Ana \t Maria ", 32), "Ana Maria");
        assert_eq!(clean_line("abcdef", 3), "abc");
        assert_eq!(clean_line("\u{200b}\u{2800} \u{301}", 32), "");
        assert_eq!(clean_line("👩\u{200d}🚀", 32), "👩\u{200d}🚀");
        let piled = format!("e{}", "\u{301}".repeat(50));
        assert_eq!(clean_line(&piled, 32).chars().count(), 5);
    }

    #[test]
    fn texts_keep_their_lines() {
        assert_eq!(clean_text("\n\n a\r\n\r\n\r\n\r\nb\tc \n\n"), " a\n\nb    c");
        assert_eq!(clean_text(" \n\u{200b}\n"), "");
        assert_eq!(clean_text(&"x".repeat(3000)).chars().count(), MAX_TEXT + 1);
    }
}
