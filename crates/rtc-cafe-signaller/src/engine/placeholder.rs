//! Checks that the placeholders of an event fit its attachments.

use serde_json::Value;

/// Whether every placeholder in the JSON names one of so many attachments: Socket.IO clients end their connection over others.
pub(super) fn fit(payload: &str, attachments: usize) -> bool {
    serde_json::from_str(payload).is_ok_and(|value| fits(&value, attachments))
}

fn fits(value: &Value, attachments: usize) -> bool {
    match value {
        Value::Object(object) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
            object.get("num").and_then(Value::as_u64).is_some_and(|num| num < attachments as u64)
        }
        Value::Object(object) => object.values().all(|value| fits(value, attachments)),
        Value::Array(array) => array.iter().all(|value| fits(value, attachments)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn only_attachments_that_exist() {
        assert!(fit(r#"{"a":[{"_placeholder":true,"num":0}],"b":{"_placeholder":false,"num":9}}"#, 1));
        for bad in
            [r#"{"a":{"_placeholder":true,"num":1}}"#, r#"{"_placeholder":true,"num":-1}"#, r#"{"_placeholder":true}"#]
        {
            assert!(!fit(bad, 1), "{bad}");
        }
    }
}
