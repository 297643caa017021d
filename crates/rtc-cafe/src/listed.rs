//! Options whose variables may be empty, which is as good as none, or hold a list.

use std::{path::PathBuf, str::FromStr};

use clap::builder::{OsStringValueParser, TypedValueParser};

/// An element of a list; `None` where nothing stands, as in an empty variable or behind the last comma.
pub(crate) type Listed<T> = Option<T>;

/// Reads an element.
pub(crate) fn listed<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Listed<T>, String> {
    let text = text.trim();
    (!text.is_empty()).then(|| parse(text)).transpose()
}

/// Reads a number.
pub(crate) fn number<T: FromStr<Err: ToString>>(text: &str) -> Result<Listed<T>, String> {
    listed(text, |text| text.parse().map_err(|error: T::Err| error.to_string()))
}

/// Reads a path, which may be empty.
pub(crate) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
