//! Reads the fields of an object one after the other, and remembers the first one that is missing.

use crate::{
    json::{Object, Value},
    limits::MAX_ID,
};

/// The fields of what has come. Whoever reads from it makes something of what is there, and asks afterwards whether
/// something was missing: so nothing has to be given up in the middle, of which the browser would have to load the code.
pub(crate) struct Fields<'a> {
    object: Object<'a>,
    missing: Option<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(object: Object<'a>) -> Self {
        Self { object, missing: None }
    }

    /// The first field that was needed and is absent or of the wrong type.
    pub(crate) const fn missing(&self) -> Option<&'static str> {
        self.missing
    }

    /// Notes that the field is missing if there is no value.
    pub(crate) fn need<T>(&mut self, key: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.missing.get_or_insert(key);
        }
        value
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.object.get(key)
    }

    /// A text of at most so many bytes.
    pub(crate) fn text(&self, key: &str, max: usize) -> Option<String> {
        self.object.string(key).filter(|text| text.len() <= max).map(Into::into)
    }

    /// The text of an id that is needed: neither empty nor long.
    pub(crate) fn id(&mut self, key: &'static str) -> String {
        let text = self.text(key, MAX_ID).filter(|text| !text.is_empty());
        self.need(key, text).unwrap_or_default()
    }

    /// A number that is needed.
    pub(crate) fn number(&mut self, key: &'static str) -> u32 {
        let number = self.get(key).and_then(Value::as_u32);
        self.need(key, number).unwrap_or_default()
    }

    pub(crate) fn number_or_zero(&self, key: &str) -> u32 {
        self.get(key).and_then(Value::as_u32).unwrap_or_default()
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or_default()
    }
}
