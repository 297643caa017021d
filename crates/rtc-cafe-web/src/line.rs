//! How values cross the boundary: a line that is an array in JSON, and behind a line feed a body, if there is one.
//!
//! What is long, or is JSON that nobody reads on its way, is the body. It is the shape of the frames between peers.

use rtc_cafe_core::wire::json::{self, Value};

/// What TypeScript says.
pub(crate) struct Call<'a> {
    values: Vec<Value<'a>>,
    pub(crate) body: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        let (line, body) = json::split_line(text);
        Self { values: json::array(line).unwrap_or_default(), body }
    }

    pub(crate) fn value(&self, at: usize) -> Option<Value<'a>> {
        self.values.get(at).copied()
    }

    pub(crate) fn text(&self, at: usize) -> String {
        self.value(at).and_then(Value::as_string).unwrap_or_default().into_owned()
    }

    pub(crate) fn number(&self, at: usize) -> u32 {
        self.value(at).and_then(Value::as_u32).unwrap_or_default()
    }

    pub(crate) fn flag(&self, at: usize) -> bool {
        self.value(at).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The body, or nothing.
    pub(crate) fn body(&self) -> &'a str {
        self.body.unwrap_or_default()
    }
}

/// What TypeScript is told.
pub(crate) struct Line(String);

impl Line {
    /// Begins with these texts.
    pub(crate) fn of(texts: &[&str]) -> Self {
        let mut line = Self(String::new());
        for text in texts {
            line.value(&json::string(text));
        }
        line
    }

    /// Adds a value that is JSON.
    pub(crate) fn value(&mut self, json: &str) -> &mut Self {
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        self.0.push_str(json);
        self
    }

    pub(crate) fn number(&mut self, number: u32) -> &mut Self {
        self.value(&json::decimal(number as usize))
    }

    /// Ends the line.
    pub(crate) fn end(&mut self) -> String {
        self.0.push(']');
        std::mem::take(&mut self.0)
    }

    /// Ends the line, and adds the body.
    pub(crate) fn body(&mut self, body: &str) -> String {
        json::concat(&[&self.end(), "\n", body])
    }
}
