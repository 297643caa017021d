//! A small JSON reader and writer (RFC 8259) that leaves what it need not understand as text.
//!
//! Reading checks the whole text once, notes where the values of the outermost object or array lie, and copies
//! nothing; a value is decoded when it is asked for. So a server relays a payload by its envelope, a client hands a
//! message's payload on untouched, and the browser module stays small: numbers are never converted to floating point.

use std::{borrow::Cow, mem};

use crate::limits::MAX_DEPTH;

/// The text is not JSON, or not of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum JsonError {
    /// Not JSON; the offset is in bytes.
    Syntax(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Valid JSON, but not an object.
    NotAnObject,
    /// Valid JSON, but not an array.
    NotAnArray,
}

impl JsonError {
    /// What `Display` shows, put together without the formatting machinery, which browsers would have to load.
    pub fn message(self) -> String {
        match self {
            Self::Syntax(at) => concat(&["not valid JSON at byte ", &decimal(at)]),
            Self::TooDeep => concat(&["JSON nested deeper than ", &decimal(MAX_DEPTH), " levels"]),
            Self::NotAnObject => "expected a JSON object".to_owned(),
            Self::NotAnArray => "expected a JSON array".to_owned(),
        }
    }
}

/// One JSON value, as text that has been checked, without white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// Checks that the text is one JSON value.
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }

    /// The JSON text.
    pub const fn text(self) -> &'a str {
        self.0
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// The string, if it is one. Lone surrogates become U+FFFD.
    pub fn as_string(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(if find(inner, b'\\').is_some() { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) })
    }

    /// Whether it is a number.
    pub fn is_number(self) -> bool {
        self.0.bytes().next().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit())
    }

    /// The number, if it is a whole one written without fraction or exponent that fits.
    pub fn as_u32(self) -> Option<u32> {
        self.0.parse().ok()
    }

    /// The boolean, if it is one.
    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(self) -> Option<Object<'a>> {
        Object::parse(self.0).ok()
    }

    /// The elements, if it is an array.
    pub fn as_array(self) -> Option<Vec<Value<'a>>> {
        array(self.0).ok()
    }
}

/// A JSON object whose text has been checked; its values stay undecoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object<'a> {
    entries: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Object<'a> {
    /// Reads the text of an object.
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text);
        if scanner.peek() != Some(b'{') {
            scanner.value()?;
            scanner.end()?;
            return Err(JsonError::NotAnObject);
        }
        let mut entries = Vec::new();
        scanner.object(&mut |key, value| entries.push((key.as_string().unwrap_or_default(), value)))?;
        scanner.end()?;
        Ok(Self { entries })
    }

    /// The value of a key; of the last one where a key is repeated, as `JSON.parse` has it.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.entries.iter().rev().find(|(name, _)| name == key).map(|&(_, value)| value)
    }

    /// The string of a key, if it has one.
    pub fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key)?.as_string()
    }

    /// The entries in the order of the text, repeated keys included.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Value<'a>)> {
        self.entries.iter().map(|(key, value)| (key.as_ref(), *value))
    }
}

/// Reads the elements of an array.
pub fn array(text: &str) -> Result<Vec<Value<'_>>, JsonError> {
    let mut scanner = Scanner::new(text);
    if scanner.peek() != Some(b'[') {
        scanner.value()?;
        scanner.end()?;
        return Err(JsonError::NotAnArray);
    }
    let mut elements = Vec::new();
    scanner.array(&mut |value| elements.push(value))?;
    scanner.end()?;
    Ok(elements)
}

/// Walks over JSON text once, checking it.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        let mut scanner = Self { text, at: 0, depth: 0 };
        scanner.skip_space();
        scanner
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn error(&self) -> JsonError {
        JsonError::Syntax(self.at)
    }

    fn slice(&self, start: usize, end: usize) -> Value<'a> {
        Value(part(self.text, start, end))
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes the byte and the white space behind it.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
            self.skip_space();
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.error()) }
    }

    fn end(&self) -> Result<(), JsonError> {
        if self.at == self.text.len() { Ok(()) } else { Err(self.error()) }
    }

    /// One value and the white space behind it.
    fn value(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.at;
        let end = match self.peek().ok_or_else(|| self.error())? {
            b'{' => self.object(&mut |_, _| ())?,
            b'[' => self.array(&mut |_| ())?,
            b'"' => self.string()?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => self.number()?,
        };
        self.skip_space();
        Ok(self.slice(start, end))
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(JsonError::TooDeep) } else { Ok(()) }
    }

    /// An object; returns the offset behind its closing brace.
    fn object(&mut self, each: &mut dyn FnMut(Value<'a>, Value<'a>)) -> Result<usize, JsonError> {
        self.enter()?;
        self.expect(b'{')?;
        if self.peek() != Some(b'}') {
            loop {
                let start = self.at;
                let end = self.string()?;
                self.skip_space();
                self.expect(b':')?;
                let value = self.value()?;
                each(self.slice(start, end), value);
                if !self.take(b',') {
                    break;
                }
            }
        }
        self.leave(b'}')
    }

    /// An array; returns the offset behind its closing bracket.
    fn array(&mut self, each: &mut dyn FnMut(Value<'a>)) -> Result<usize, JsonError> {
        self.enter()?;
        self.expect(b'[')?;
        if self.peek() != Some(b']') {
            loop {
                each(self.value()?);
                if !self.take(b',') {
                    break;
                }
            }
        }
        self.leave(b']')
    }

    fn leave(&mut self, byte: u8) -> Result<usize, JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.error());
        }
        self.depth -= 1;
        self.at += 1;
        let end = self.at;
        self.skip_space();
        Ok(end)
    }

    fn word(&mut self, word: &str) -> Result<usize, JsonError> {
        if !part(self.text, self.at, self.text.len()).starts_with(word) {
            return Err(self.error());
        }
        self.at += word.len();
        Ok(self.at)
    }

    fn string(&mut self) -> Result<usize, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error());
        }
        self.at += 1;
        loop {
            match self.peek().ok_or_else(|| self.error())? {
                b'"' => {
                    self.at += 1;
                    return Ok(self.at);
                }
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                0..=0x1f => return Err(self.error()),
                _ => self.at += 1 + plain(self.text.as_bytes().get(self.at + 1..).unwrap_or_default()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.error());
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.error()),
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.error());
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<usize, JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.at)
    }
}

/// A part of the text between two characters. Unlike an index it brings no panic, whose message would be a tenth of the
/// browser module.
pub(crate) fn part(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).unwrap_or_default()
}

/// The first line of a text, and what is behind its line feed, if there is one.
pub fn split_line(text: &str) -> (&str, Option<&str>) {
    match find(text, b'\n') {
        Some(end) => (part(text, 0, end), Some(part(text, end + 1, text.len()))),
        None => (text, None),
    }
}

/// Where an ASCII character is first. The searches of the standard library bring panics and a table along.
fn find(text: &str, byte: u8) -> Option<usize> {
    text.bytes().position(|other| other == byte)
}

/// How many bytes, in steps of eight, are neither quote nor backslash nor control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES * 0x80;
    // The high bit of a byte is set where the byte is below `n`, and nowhere if there is none such.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGH;
    let is_plain = |word: u64| {
        let (quote, backslash) = (word ^ (ONES * u64::from(b'"')), word ^ (ONES * u64::from(b'\\')));
        below(word, 0x20) | below(quote, 1) | below(backslash, 1) == 0
    };
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().take_while(|word| is_plain(u64::from_le_bytes(**word))).count() * 8
}

/// Undoes the escapes of a string that has been checked.
fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = find(rest, b'\\') {
        out.push_str(part(rest, 0, at));
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or_default();
        rest = part(rest, at + 2, rest.len());
        out.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (c, used) = unicode(rest);
                rest = part(rest, used, rest.len());
                c
            }
            other => other as char,
        });
    }
    out.push_str(rest);
    out
}

/// The character behind `\u`, and how many bytes its digits take, those of a second surrogate included.
fn unicode(rest: &str) -> (char, usize) {
    let unit = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let first = unit(rest).unwrap_or(0xfffd);
    if let Some(c) = char::from_u32(first) {
        return (c, 4);
    }
    let second = rest.get(4..).and_then(|tail| tail.strip_prefix("\\u")).and_then(unit);
    match second {
        Some(low @ 0xdc00..=0xdfff) if first < 0xdc00 => {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10)
        }
        _ => (char::REPLACEMENT_CHARACTER, 4),
    }
}

/// Appends the text as a JSON string.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "\\u00",
            _ => continue,
        };
        out.push_str(part(text, copied, at));
        out.push_str(short);
        if short == "\\u00" {
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        copied = at + 1;
    }
    out.push_str(part(text, copied, text.len()));
    out.push('"');
}

/// The text as a JSON string.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

/// Writes an array of texts.
pub fn list(texts: &mut dyn Iterator<Item = &str>) -> String {
    join(&mut texts.map(string))
}

/// Writes an array of what is JSON already.
pub fn join(elements: &mut dyn Iterator<Item = String>) -> String {
    let mut out = String::from("[");
    for element in elements {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&element);
    }
    out.push(']');
    out
}

/// Writes an object, key by key.
#[derive(Debug)]
pub struct Writer {
    out: String,
    empty: bool,
}

impl Writer {
    /// Begins an object.
    pub fn new() -> Self {
        Self::with_capacity(1)
    }

    /// Begins an object of about so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes);
        out.push('{');
        Self { out, empty: true }
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        push_string(&mut self.out, key);
        self.out.push(':');
    }

    /// Adds a value that is JSON text already.
    pub fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        self.key(key);
        self.out.push_str(json);
        self
    }

    /// Adds a string.
    pub fn string(&mut self, key: &str, text: &str) -> &mut Self {
        self.key(key);
        push_string(&mut self.out, text);
        self
    }

    /// Adds a string, or nothing.
    pub fn optional(&mut self, key: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.string(key, text);
        }
        self
    }

    /// Adds a whole number.
    pub fn number(&mut self, key: &str, number: u32) -> &mut Self {
        self.raw(key, &decimal(number as usize))
    }

    /// Adds `true`, or nothing.
    pub fn flag(&mut self, key: &str, is_set: bool) -> &mut Self {
        if is_set {
            self.raw(key, "true");
        }
        self
    }

    /// Ends the object, and takes its text.
    pub fn finish(&mut self) -> String {
        self.out.push('}');
        mem::take(&mut self.out)
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

/// The texts as one; unlike the method of slices, it has nothing to say about what is longer than the memory.
pub fn concat(texts: &[&str]) -> String {
    let mut whole = String::new();
    for text in texts {
        whole.push_str(text);
    }
    whole
}

/// The number in decimal digits; smaller in WebAssembly than the formatting machinery.
pub fn decimal(mut number: usize) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 10) as u32, 10).unwrap_or('0'));
        number /= 10;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}
