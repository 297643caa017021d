//! The names of sessions, clients and rooms.

use std::{borrow::Borrow, fmt};

use crate::{
    fields::Fields,
    json::{self, Value},
    limits::{MAX_ID, MAX_ROOM_ID},
};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes a text that is not empty and at most [`MAX_ID`] bytes long.
            pub fn new(text: impl Into<String>) -> Option<Self> {
                let text = text.into();
                (1..=MAX_ID).contains(&text.len()).then_some(Self(text))
            }

            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub(crate) fn read(value: Option<Value<'_>>) -> Option<Self> {
                Self::new(value?.as_string()?)
            }

            /// Reads it from a field that is needed; where that is missing it is none, and of no use.
            pub(crate) fn need(fields: &mut Fields<'_>, key: &'static str) -> Self {
                Self(fields.id(key))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// The id of a signalling session, minted by the server; a new connection gets a new one.
    Sid
}

text_id! {
    /// The id that a client keeps for its whole life.
    PermanentId
}

text_id! {
    /// The id of a media track, unique among those of its owner: that of the `MediaStreamTrack` in browsers.
    TrackId
}

/// A room: a non-empty string or a number. The room `5` and the room `"5"` are two; `5` and `5.0` are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(String);

/// The value cannot name a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum RoomIdError {
    /// Neither a string nor a number.
    WrongType,
    /// The empty string.
    Empty,
    /// Longer than [`MAX_ROOM_ID`] bytes of JSON, or a number with more digits than that.
    TooLong,
}

impl RoomIdError {
    /// What `Display` shows, put together without the formatting machinery, which browsers would have to load.
    pub fn message(self) -> String {
        match self {
            Self::WrongType => "a room id must be a non-empty string or a number".to_owned(),
            Self::Empty => "a room id must not be empty".to_owned(),
            Self::TooLong => {
                json::concat(&["a room id must not be longer than ", &json::decimal(MAX_ROOM_ID), " bytes"])
            }
        }
    }
}

impl RoomId {
    /// The room with a name.
    pub fn named(name: &str) -> Result<Self, RoomIdError> {
        Self::checked(name, json::string(name))
    }

    /// The room with a number.
    pub fn numbered(number: i64) -> Self {
        Self(number.to_string())
    }

    /// Reads a room id from its JSON; numbers are brought to one form.
    pub fn from_json(value: Value<'_>) -> Result<Self, RoomIdError> {
        if let Some(name) = value.as_string() {
            return Self::named(&name);
        }
        if !value.is_number() {
            return Err(RoomIdError::WrongType);
        }
        plain_number(value.text()).map(Self).ok_or(RoomIdError::TooLong)
    }

    /// Reads it from the field `room`, which is needed; where that is missing it is none, and of no use.
    pub(crate) fn need(fields: &mut Fields<'_>) -> Self {
        let room = fields.get("room").and_then(|room| Self::from_json(room).ok());
        fields.need("room", room).unwrap_or_else(|| Self(String::new()))
    }

    fn checked(name: &str, json: String) -> Result<Self, RoomIdError> {
        if name.is_empty() {
            Err(RoomIdError::Empty)
        } else if json.len() > MAX_ROOM_ID {
            Err(RoomIdError::TooLong)
        } else {
            Ok(Self(json))
        }
    }

    /// The id as JSON: a string with its quotes, or a number.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for RoomId {
    type Error = RoomIdError;

    fn try_from(name: &str) -> Result<Self, RoomIdError> {
        Self::named(name)
    }
}

impl TryFrom<String> for RoomId {
    type Error = RoomIdError;

    fn try_from(name: String) -> Result<Self, RoomIdError> {
        Self::named(&name)
    }
}

impl From<i64> for RoomId {
    fn from(number: i64) -> Self {
        Self::numbered(number)
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A JSON number without exponent and without needless zeros, so that `5`, `5.0` and `50e-1` are one room.
fn plain_number(text: &str) -> Option<String> {
    let mut digits = Vec::new();
    // Where the decimal point stands, counted from the first significant digit.
    let mut point: i32 = 0;
    let mut whole = true;
    let mut exponent = "0";
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'-' => {}
            b'.' => whole = false,
            b'e' | b'E' => {
                exponent = text.get(at + 1..)?;
                break;
            }
            b'0' if digits.is_empty() => point -= i32::from(!whole),
            digit => {
                digits.push(digit);
                point += i32::from(whole);
            }
        }
    }
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    if digits.is_empty() {
        return Some(String::from("0"));
    }
    let (minus, exponent) = exponent.strip_prefix('-').map_or((false, exponent), |rest| (true, rest));
    let exponent = i32::try_from(exponent.parse::<u32>().ok()?).ok()?;
    let point = point.checked_add(if minus { -exponent } else { exponent })?;
    if point.unsigned_abs() as usize > MAX_ROOM_ID || digits.len() > MAX_ROOM_ID {
        return None;
    }
    let mut plain = String::new();
    if text.starts_with('-') {
        plain.push('-');
    }
    for at in point.min(1) - 1..point.max(digits.len() as i32) {
        if at == point {
            plain.push('.');
        }
        let digit = usize::try_from(at).ok().and_then(|at| digits.get(at));
        plain.push(char::from(*digit.unwrap_or(&b'0')));
    }
    (plain.len() <= MAX_ROOM_ID).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> String {
        RoomId::from_json(Value::parse(text).unwrap()).unwrap().as_json().to_owned()
    }

    #[test]
    fn equal_numbers_are_one_room() {
        for text in ["5", "5.0", "5.000", "50e-1", "0.5e1", "0.05E+2"] {
            assert_eq!(number(text), "5");
        }
        assert_eq!(number("-0"), "0");
        assert_eq!(number("0e9"), "0");
        assert_eq!(number("-12.50"), "-12.5");
        assert_eq!(number("1e21"), "1000000000000000000000");
        assert_eq!(number("25e-4"), "0.0025");
    }

    #[test]
    fn a_number_and_its_text_are_two_rooms() {
        assert_ne!(RoomId::numbered(5), RoomId::named("5").unwrap());
    }

    #[test]
    fn what_cannot_name_a_room() {
        let error = |text: &str| RoomId::from_json(Value::parse(text).unwrap()).unwrap_err();
        assert_eq!(error("\"\""), RoomIdError::Empty);
        for text in ["null", "true", "false", "[]", "{}"] {
            assert_eq!(error(text), RoomIdError::WrongType);
        }
        assert_eq!(error("1e999999999999"), RoomIdError::TooLong);
        assert_eq!(error("1e400"), RoomIdError::TooLong);
        assert_eq!(error(&format!("\"{}\"", "x".repeat(MAX_ROOM_ID))), RoomIdError::TooLong);
    }
}
