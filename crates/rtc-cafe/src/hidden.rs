//! Values of options that are shown nowhere.

use std::{fmt, ops::Deref};

/// A secret, or something with one in it.
#[derive(Clone)]
pub(crate) struct Hidden(String);

impl From<String> for Hidden {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl Deref for Hidden {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::serve::Options;

    #[derive(Debug, Parser)]
    struct Serve {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn options_do_not_show_secrets() {
        let options = Serve::parse_from([
            "serve",
            "--turn-secret=north",
            "--ice-secret=north",
            "--ice-server=turn:ana:north@turn.example.org",
            "--admin-token=north",
            "--redis=redis://:north@10.0.0.5",
            "--jwt-secret=north",
            "--validate-url=https://ana:north@example.org",
        ]);
        let shown = format!("{options:?} {options:#?}");
        assert!(shown.contains("turn.example.org") && !shown.contains("north"), "{shown}");
    }
}
