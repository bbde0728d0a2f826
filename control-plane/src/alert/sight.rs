//! What an alert sees: whether there is anything, and whether it is news (Skydive API §2.4).

use bytes::Bytes;
use serde_json::Value;
use sonde_proto::time::Timestamp;

use super::message::{fingerprint, message};
use crate::gremlin::Answer;

/// What an alert sees.
#[derive(Debug)]
pub(super) enum Sight {
    /// Nothing.
    Nothing,
    /// What it told before.
    Known,
    /// News, and their message if it is not too large.
    News(u64, Option<Bytes>),
}

impl Sight {
    /// What the answer is to the alert `uuid`, which told `told` last.
    pub(super) fn of(answer: &Answer, uuid: &str, at: Timestamp, told: Option<u64>) -> Self {
        if answer.is_empty() {
            return Self::Nothing;
        }
        match fingerprint(answer) {
            news if told == Some(news) => Self::Known,
            news => Self::News(news, message(uuid, at, answer)),
        }
    }
}

/// What a script gives, as an answer: what JavaScript takes for false is none, and so is an empty
/// list or object.
pub(super) fn answer(value: Value) -> Answer {
    let is_nothing = match &value {
        Value::Null => true,
        Value::Bool(is_true) => !is_true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    };
    match value {
        _ if is_nothing => Answer::Value(Value::Null),
        Value::Array(items) => Answer::Values(items),
        value => Answer::Value(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_false_or_empty_is_nothing() {
        for nothing in
            [json!(null), json!(false), json!(0), json!(0.0), json!(""), json!([]), json!({})]
        {
            assert!(answer(nothing.clone()).is_empty(), "{nothing}");
        }
        for something in [json!(true), json!(-1), json!("0"), json!([0]), json!({"a": null})] {
            let answer = answer(something.clone());
            assert!(!answer.is_empty(), "{something}");
            assert_eq!(serde_json::to_value(&answer).unwrap(), something);
        }
    }
}
