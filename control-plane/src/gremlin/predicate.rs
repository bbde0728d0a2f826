//! Tests of a field's value (Skydive API §3.4).

use std::fmt;

use super::field::{Field, Scalar};
use super::network::Network;
use super::pattern::Pattern;

/// A key and what its value must be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) key: String,
    pub(super) predicate: Predicate,
}

/// A plain value in a query.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Int(i64),
    /// Never a whole number that fits an `i64`.
    Float(f64),
    Bool(bool),
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
        let any = |test: &dyn Fn(Scalar<'_>) -> bool| field.is_some_and(|f| f.any(test));
        let int = |test: &dyn Fn(i64) -> bool| any(&|value| value.as_int().is_some_and(test));
        match self {
            Self::Equal(literal) => any(&|value| literal.equals(value)),
            Self::Within(list) => any(&|value| list.iter().any(|item| item.equals(value))),
            Self::Without(list) => !any(&|value| list.iter().any(|item| item.equals(value))),
            Self::Lt(bound) => int(&|n| n < *bound),
            Self::Lte(bound) => int(&|n| n <= *bound),
            Self::Gt(bound) => int(&|n| n > *bound),
            Self::Gte(bound) => int(&|n| n >= *bound),
            Self::Inside(low, high) => int(&|n| *low < n && n < *high),
            Self::Outside(low, high) => int(&|n| n < *low || *high < n),
            Self::Between(low, high) => int(&|n| *low <= n && n < *high),
            Self::Ne(Literal::Bool(truth)) | Self::Nee(Literal::Bool(truth)) => {
                any(&|value| Literal::Bool(!truth).equals(value))
            }
            Self::Ne(literal) => field.is_some() && !any(&|value| literal.equals(value)),
            Self::Nee(literal) => !any(&|value| literal.equals(value)),
            Self::Regex(pattern) => {
                any(&|value| value.as_text().is_some_and(|text| pattern.admits(text)))
            }
            Self::Ipv4Range(network) | Self::Ipv6Range(network) => {
                any(&|value| value.as_text().is_some_and(|text| network.holds(text)))
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
            (Self::Text(text), Scalar::Port(port)) => text.parse() == Ok(port),
            (Self::Text(text), value) => value.as_text() == Some(text),
            (Self::Int(n), value) => value.as_int() == Some(*n),
            (Self::Float(f), Scalar::Float(value)) => *f == value,
            (Self::Float(_), _) => false,
            (Self::Bool(truth), Scalar::Bool(value)) => *truth == value,
            (Self::Bool(truth), value) => value.as_text().map(str::parse) == Some(Ok(*truth)),
        }
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
