//! What is logged to standard error, and how.
//!
//! Each level has its readers. `error`: an operator has to do something. `warn`: an operator should have a look. `info`: what
//! the program is up to, a few lines an hour. `debug`: a line for whatever happens to a connection. `trace`: a line for every
//! event, with its name and size. What is in events is never logged, nor anything by which one could act as somebody else.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// A JSON object for each line, for programs.
    Json,
}

/// Reads the name of a form; an empty one is as good as none.
pub(crate) fn format(text: &str) -> Result<Format, String> {
    match text.trim() {
        "" | "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("it is `text` or `json`".to_owned()),
    }
}

/// Logs what the filter lets through; without one, what `RUST_LOG` does, or this.
pub(crate) fn start(filter: Option<String>, default: &str, format: Format) -> anyhow::Result<()> {
    let filter = [filter, std::env::var(EnvFilter::DEFAULT_ENV).ok()].into_iter().flatten();
    let filter = filter.into_iter().find(|filter| !filter.trim().is_empty()).unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&filter).map_err(|error| anyhow::anyhow!("the log filter {filter:?}: {error}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        Format::Text => {
            // As the conventions want it, and no escape sequences in files and journals.
            let colours =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            log.with_ansi(colours).init();
        }
        Format::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    Ok(())
}
