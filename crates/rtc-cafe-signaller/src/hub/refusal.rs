//! What is said when something is refused.

use std::borrow::Cow;

use rtc_cafe_wire::json::{self, JsonError, Object, Value};

use crate::ErrorCode;

/// Why an event is refused: a code for programs, a sentence for people.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) reason: Cow<'static, str>,
    pub(super) recipient: Option<Box<str>>,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into(), recipient: None }
    }

    pub(super) fn recipient_not_found(recipient: &str) -> Self {
        Self {
            recipient: Some(recipient.into()),
            ..Self::new(
                ErrorCode::RecipientNotFound,
                "nobody with this sid shares a room with you; join the recipient's room first, \
                 or wait for its acquire-peers: it may have a new sid",
            )
        }
    }
}

/// Reads the event's only argument.
pub(crate) fn argument(payload: &str) -> Result<Value<'_>, Refusal> {
    Value::parse(payload).map_err(|error| refuse_json(error, payload))
}

/// Reads the event's only argument, which must be an object.
pub(super) fn object(payload: &str) -> Result<Object<'_>, Refusal> {
    Object::parse(payload).map_err(|error| refuse_json(error, payload))
}

fn refuse_json(error: JsonError, payload: &str) -> Refusal {
    let number_of_arguments = || json::array(&["[", payload, "]"].concat()).ok().map(|arguments| arguments.len());
    match error {
        JsonError::NotAnObject | JsonError::NotAnArray => {
            Refusal::new(ErrorCode::InvalidPayload, "the argument of this event must be a JSON object")
        }
        JsonError::Syntax(_) if number_of_arguments().is_some() => {
            Refusal::new(ErrorCode::InvalidPayload, "this event takes exactly one argument besides its name")
        }
        JsonError::Syntax(_) | JsonError::TooDeep => {
            Refusal::new(ErrorCode::InvalidJson, format!("the event could not be read: {error}"))
        }
    }
}
