//! The JSON reader beside `serde_json`: they agree on what is JSON and on what it says.
#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use rtc_cafe_wire::{
    RoomId,
    json::{self, JsonError, Object, Value, Writer},
    peer::Frame,
    signal::ServerSignal,
};

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Text that is nearly JSON.
fn scrambled() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "1",
        "-",
        "0",
        "01",
        ".5",
        "1e5",
        "e",
        "true",
        "nul",
        "null",
        " ",
        "\n",
        "\\",
        "\\u00e9",
        "\\ud800",
        "\"\\n\"",
        "é",
        "\u{1f600}",
        "\u{1}",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

fn agrees(text: &str) {
    let ours = Value::parse(text);
    // serde_json refuses lone surrogates, which JSON.stringify may produce, and numbers beyond f64.
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => assert!(ours.is_ok(), "{text:?} is JSON"),
        Err(error) => {
            let lenient = error.to_string().contains("surrogate")
                || error.to_string().contains("end of hex escape")
                || error.to_string().contains("out of range");
            assert!(ours.is_err() || lenient, "{text:?} is not JSON: {error}");
        }
    }
}

proptest! {
    #[test]
    fn reads_what_others_write(value in any_json()) {
        let compact = value.to_string();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        for text in [&compact, &pretty] {
            prop_assert_eq!(Value::parse(text).unwrap().text(), text.as_str());
        }
        if let Some(map) = value.as_object() {
            let object = Object::parse(&pretty).unwrap();
            prop_assert_eq!(object.entries().count(), map.len());
            for (key, value) in map {
                let read = object.get(key).unwrap();
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(read.text()).unwrap(), value);
                let text = read.as_string();
                prop_assert_eq!(text.as_deref(), value.as_str());
                prop_assert_eq!(read.as_bool(), value.as_bool());
            }
        }
    }

    #[test]
    fn others_read_what_it_writes(key in any::<String>(), text in any::<String>(), number in any::<u32>()) {
        let written = Writer::new().string(&key, &text).number("the number", number).raw("raw", "[1]").finish();
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&read["the number"], &serde_json::json!(number));
        prop_assert_eq!(read[&key].as_str().unwrap_or(&text), text.as_str());
        let ours = Object::parse(&written).unwrap();
        prop_assert_eq!(ours.get("the number").unwrap().as_u32(), Some(number));
    }

    #[test]
    fn agrees_on_what_is_json(text in scrambled()) {
        agrees(&text);
    }

    #[test]
    fn nothing_makes_it_panic(text in any::<String>(), name in "offer|answer|candidate|sid|join|error|acquire-peers") {
        agrees(&text);
        let _ = ServerSignal::decode(&name, &text);
        let _ = Frame::decode(&text);
        let _ = Value::parse(&text).map(RoomId::from_json);
    }

    #[test]
    fn a_room_has_one_name(number in any::<f64>().prop_filter("finite", |n| n.is_finite() && n.abs() < 1e200)) {
        let plain = |text: &str| RoomId::from_json(Value::parse(text).unwrap()).map(|room| room.as_json().to_owned());
        // One printer for both: others choose another shortest form where two are equally near.
        let canonical = plain(&number.to_string());
        prop_assert_eq!(plain(&format!("{number:e}")), canonical.clone());
        if let Ok(canonical) = canonical {
            prop_assert_eq!(canonical.parse::<f64>().unwrap(), number);
            prop_assert_eq!(plain(&canonical), Ok(canonical));
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Value::parse(&nested(64)).is_ok());
    assert_eq!(Value::parse(&nested(65)), Err(JsonError::TooDeep));
    assert_eq!(Value::parse(&"[".repeat(1_000_000)), Err(JsonError::TooDeep));
}

#[test]
fn surrogates() {
    let read = |text| Value::parse(text).unwrap().as_string().unwrap().into_owned();
    assert_eq!(read(r#""\ud83d\ude00""#), "\u{1f600}");
    assert_eq!(read(r#""\ud83d""#), "\u{fffd}");
    assert_eq!(read(r#""\ud83dx""#), "\u{fffd}x");
    assert_eq!(read(r#""\ude00\ud83d\ude00""#), "\u{fffd}\u{1f600}");
    assert_eq!(read(r#""\ud83d\u0041""#), "\u{fffd}A");
}

#[test]
fn the_last_of_repeated_keys_counts() {
    let object = Object::parse(r#"{"a":1,"\u0061":2}"#).unwrap();
    assert_eq!(object.get("a").unwrap().as_u32(), Some(2));
    assert_eq!(json::string("\u{1}\"\\/"), r#""\u0001\"\\/""#);
}
