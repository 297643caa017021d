//! What `send` and `receive` show of themselves, on standard error.

use std::{
    io::{self, Write},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rtc_cafe_client::ErrorCode;

use crate::text::clean_line;

const TEMPLATE: &str =
    "{prefix:12!} [{wide_bar}] {percent:>3} % of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left ";
/// Longest error that is shown, in characters.
const MAX_EXCUSE: usize = 200;

/// A bar of so many bytes; nothing is seen of it where there is no terminal.
pub(crate) fn bar(bytes: u64, prefix: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(bytes).with_style(style.progress_chars("=> ")).with_prefix(prefix.to_owned());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Tells something.
pub(crate) fn tell(text: &str) {
    // Who closed standard error does not want to know.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Tells something above bars.
pub(crate) fn note(bars: &MultiProgress, text: &str) {
    bars.suspend(|| tell(text));
}

/// Tells what goes wrong on the way, as far as a user can do something about it.
pub(crate) fn tell_error(code: ErrorCode, message: &str) {
    let message = clean_line(message, MAX_EXCUSE);
    match code {
        ErrorCode::SignallerUnreachable => {
            tell(&format!("The server cannot be reached, and is tried again: {message}"))
        }
        ErrorCode::IceServerFailed | ErrorCode::Kicked | ErrorCode::SignalRefused => tell(&message),
        _ => tracing::debug!(code = code.as_str(), message),
    }
}
