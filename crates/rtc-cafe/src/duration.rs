//! Lengths of time as people write them.

use std::time::Duration;

/// Longer ones are a mistake.
const MOST: Duration = Duration::from_hours(24 * 365);

/// Reads `10s`, `500ms`, `2m`, `1h`, or a number of seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time; write it as `10s`, `500ms` or `2m`");
    let text = text.trim();
    let unit = text.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    let seconds = match unit.trim_start() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    let length = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    if length > MOST { Err(format!("{text:?} is longer than a year")) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, milliseconds) in
            [("10s", 10_000), ("0", 0), ("1.5", 1500), ("500ms", 500), (" 2m ", 120_000), ("1 h", 3_600_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "s", "-1s", "1d", "1e3", "1.2.3s", "ten", "99999999999999999999h", "10000h", "½s"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
