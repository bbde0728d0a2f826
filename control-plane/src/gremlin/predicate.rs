//! Tests of a field's value (Skydive API §3.4).

use std::fmt;
use std::ops::Deref;

use super::field::{Field, Scalar};
use super::network::Network;
use super::pattern::Pattern;
use super::text::Text;

/// A key and what its value must be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) key: String,
    pub(super) predicate: Predicate,
}

/// A plain value in a query.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(Word),
    Int(i64),
    /// Never a whole number that fits an `i64`.
    Float(f64),
    Bool(bool),
}

/// A text in a query, and what it is kept as: that is found out once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    text: String,
    kept: Text,
}

/// What a value must be. A field of several values matches when any of them does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Predicate {
    Equal(Literal),
    Within(Vec<Literal>),
    Without(Vec<Literal>),
    Lt(i64),
    Lte(i64),
    Gt(i64),
    Gte(i64),
    Inside(i64, i64),
    /// Less than the one or more than the other; Skydive has the predicate but no word for it.
    Outside(i64, i64),
    Between(i64, i64),
    Ne(Literal),
    Nee(Literal),
    Regex(Pattern),
    Ipv4Range(Network),
    /// Not in Skydive.
    Ipv6Range(Network),
}

impl Predicate {
    /// Whether it is about as fast as comparing two values.
    pub(super) fn is_brief(&self) -> bool {
        match self {
            Self::Within(list) | Self::Without(list) => list.len() <= BRIEF,
            Self::Regex(_) => false,
            _ => true,
        }
    }

    /// Whether a field admits; `None` is a missing one.
    pub(super) fn admits(&self, field: Option<&Field<'_>>) -> bool {
        match self {
            Self::Equal(literal) => any(field, |value| literal.equals(value)),
            Self::Within(list) => any(field, |value| list.iter().any(|item| item.equals(value))),
            Self::Without(list) => !any(field, |value| list.iter().any(|item| item.equals(value))),
            Self::Lt(bound) => int(field, |n| n < *bound),
            Self::Lte(bound) => int(field, |n| n <= *bound),
            Self::Gt(bound) => int(field, |n| n > *bound),
            Self::Gte(bound) => int(field, |n| n >= *bound),
            Self::Inside(low, high) => int(field, |n| *low < n && n < *high),
            Self::Outside(low, high) => int(field, |n| n < *low || *high < n),
            Self::Between(low, high) => int(field, |n| *low <= n && n < *high),
            Self::Ne(Literal::Bool(truth)) | Self::Nee(Literal::Bool(truth)) => {
                any(field, |value| Literal::Bool(!truth).equals(value))
            }
            Self::Ne(literal) => field.is_some() && !any(field, |value| literal.equals(value)),
            Self::Nee(literal) => !any(field, |value| literal.equals(value)),
            Self::Regex(pattern) => {
                any(field, |value| value.as_text().is_some_and(|text| pattern.admits(&text)))
            }
            Self::Ipv4Range(network) | Self::Ipv6Range(network) => {
                any(field, |value| match value {
                    Scalar::Ip(ip) => network.contains(ip),
                    value => value.as_text().is_some_and(|text| network.holds(&text)),
                })
            }
        }
    }
}

impl Literal {
    /// The text it is.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn equals(&self, value: Scalar<'_>) -> bool {
        match (self, value) {
            (Self::Text(word), Scalar::Text(text)) => word.text == text,
            (Self::Text(word), Scalar::Hex(digest)) => word.kept == Text::Hex(digest),
            (Self::Text(word), Scalar::Mac(mac)) => word.kept == Text::Mac(mac),
            (Self::Text(word), Scalar::Ip(ip)) => word.kept == Text::Ip(ip),
            (Self::Text(word), Scalar::Port(port)) => word.parse() == Ok(port),
            (Self::Text(_), Scalar::Int(_) | Scalar::Float(_) | Scalar::Bool(_)) => false,
            (Self::Int(n), value) => value.as_int() == Some(*n),
            (Self::Float(f), Scalar::Float(value)) => *f == value,
            (Self::Float(_), _) => false,
            (Self::Bool(truth), Scalar::Bool(value)) => *truth == value,
            (Self::Bool(truth), value) => {
                value.as_text().is_some_and(|text| text.parse() == Ok(*truth))
            }
        }
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Self { kept: Text::from(text.as_str()), text }
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.text
    }
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(out)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(out, "'{text}'"),
            Self::Int(n) => write!(out, "{n}"),
            Self::Float(f) => write!(out, "{f}"),
            Self::Bool(truth) => write!(out, "{truth}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "'{}', {}", self.key, self.predicate)
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(literal) => literal.fmt(out),
            Self::Within(list) => write!(out, "Within({})", Commas(list)),
            Self::Without(list) => write!(out, "Without({})", Commas(list)),
            Self::Lt(bound) => write!(out, "Lt({bound})"),
            Self::Lte(bound) => write!(out, "Lte({bound})"),
            Self::Gt(bound) => write!(out, "Gt({bound})"),
            Self::Gte(bound) => write!(out, "Gte({bound})"),
            Self::Inside(low, high) => write!(out, "Inside({low}, {high})"),
            Self::Outside(low, high) => write!(out, "Outside({low}, {high})"),
            Self::Between(low, high) => write!(out, "Between({low}, {high})"),
            Self::Ne(literal) => write!(out, "Ne({literal})"),
            Self::Nee(literal) => write!(out, "Nee({literal})"),
            Self::Regex(pattern) => write!(out, "Regex('{pattern}')"),
            Self::Ipv4Range(network) => write!(out, "Ipv4Range('{network}')"),
            Self::Ipv6Range(network) => write!(out, "Ipv6Range('{network}')"),
        }
    }
}

/// Prints a list with commas between.
pub(super) struct Commas<'a, T>(pub(super) &'a [T]);

impl<T: fmt::Display> fmt::Display for Commas<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(out, "{comma}{item}")?;
        }
        Ok(())
    }
}

fn any(field: Option<&Field<'_>>, test: impl Fn(Scalar<'_>) -> bool) -> bool {
    field.is_some_and(|field| field.any(test))
}

fn int(field: Option<&Field<'_>>, test: impl Fn(i64) -> bool) -> bool {
    any(field, |value| value.as_int().is_some_and(&test))
}

/// Values that are compared in no time.
const BRIEF: usize = 8;

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::{Value, json};

    use super::*;

    fn admits(predicate: &Predicate, value: Value) -> bool {
        predicate.admits(Some(&Field::Json(Cow::Owned(value))))
    }

    #[test]
    fn integers_compare_with_what_casts_to_them() {
        let five = Predicate::Equal(Literal::Int(5));
        for value in [json!(5), json!(5.9), json!("5"), json!([1, 5])] {
            assert!(admits(&five, value.clone()), "{value}");
        }
        for value in [json!(6), json!("five"), json!([]), json!({"a": 5})] {
            assert!(!admits(&five, value.clone()), "{value}");
        }
        assert!(admits(&Predicate::Equal(Literal::Int(1)), json!(true)));
    }

    #[test]
    fn text_compares_with_text_only() {
        let five = Predicate::Equal(Literal::Text("5".into()));
        assert!(admits(&five, json!("5")));
        assert!(!admits(&five, json!(5)));
    }

    #[test]
    fn negations_negate_any() {
        let ne = Predicate::Ne(Literal::Int(5));
        assert!(!admits(&ne, json!([4, 5])));
        assert!(admits(&ne, json!([4, 6])));
        assert!(!ne.admits(None));
        assert!(Predicate::Nee(Literal::Int(5)).admits(None));
        assert!(Predicate::Without(vec![Literal::Int(5)]).admits(None));
        assert!(!Predicate::Without(vec![Literal::Int(5)]).admits(Some(&Field::int(5))));
    }

    #[test]
    fn not_true_is_false() {
        for predicate in [Predicate::Ne(Literal::Bool(true)), Predicate::Nee(Literal::Bool(true))] {
            assert!(admits(&predicate, json!(false)));
            assert!(!admits(&predicate, json!(true)));
            assert!(!predicate.admits(None));
        }
    }

    #[test]
    fn outside_is_neither_in_nor_on_the_bounds() {
        let outside = Predicate::Outside(2, 4);
        for (value, expected) in [(1, true), (2, false), (3, false), (4, false), (5, true)] {
            assert_eq!(admits(&outside, json!(value)), expected, "{value}");
        }
        assert!(!outside.admits(None));
    }
}
