//! Tests of a field's value (Skydive API §3.4).

use std::fmt;
use std::net::Ipv4Addr;

use super::error::Fault;
use super::field::{Field, Scalar};

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
    Between(i64, i64),
    Ne(Literal),
    Nee(Literal),
    Regex(Pattern),
    Ipv4Range(Network),
}

/// An anchored regular expression.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    regex: regex::Regex,
}

/// An IPv4 prefix.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Network {
    text: String,
    address: u32,
    mask: u32,
}

impl Predicate {
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
            Self::Between(low, high) => int(&|n| *low <= n && n < *high),
            Self::Ne(Literal::Bool(truth)) | Self::Nee(Literal::Bool(truth)) => {
                any(&|value| Literal::Bool(!truth).equals(value))
            }
            Self::Ne(literal) => field.is_some() && !any(&|value| literal.equals(value)),
            Self::Nee(literal) => !any(&|value| literal.equals(value)),
            Self::Regex(pattern) => {
                any(&|value| matches!(value, Scalar::Text(text) if pattern.regex.is_match(text)))
            }
            Self::Ipv4Range(network) => {
                any(&|value| matches!(value, Scalar::Text(text) if network.holds(text)))
            }
        }
    }
}

impl Literal {
    fn equals(&self, value: Scalar<'_>) -> bool {
        match (self, value) {
            (Self::Text(text), Scalar::Text(value)) => text == value,
            (Self::Text(text), Scalar::Port(port)) => text.parse() == Ok(port),
            (Self::Text(_), _) => false,
            (Self::Int(n), value) => value.as_int() == Some(*n),
            (Self::Float(f), Scalar::Float(value)) => *f == value,
            (Self::Float(_), _) => false,
            (Self::Bool(truth), Scalar::Bool(value)) => *truth == value,
            (Self::Bool(truth), Scalar::Text(value)) => value.parse() == Ok(*truth),
            (Self::Bool(_), _) => false,
        }
    }
}

impl Pattern {
    pub(super) fn new(text: String) -> Result<Self, Fault> {
        if text.starts_with('^') || (text.ends_with('$') && !text.ends_with("\\$")) {
            return Err("Regex are anchored by default, ^ and $ don't have to be provided".into());
        }
        let compile = |text: &str| {
            let mut builder = regex::RegexBuilder::new(text);
            builder.size_limit(REGEX_BYTES).build()
        };
        // On its own first, so that it cannot close the group around it.
        let regex =
            compile(&text).and_then(|_| compile(&format!("^(?:{text})$"))).map_err(|error| {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                Fault::Argument(format!("Invalid REGEX `{text}`: {reason}").into())
            })?;
        Ok(Self { text, regex })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Network {
    pub(super) fn new(text: String) -> Result<Self, Fault> {
        let prefix = || {
            let (address, length) = text.split_once('/')?;
            let length: u32 = length.parse().ok().filter(|length| *length <= 32)?;
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            Some((address.parse::<Ipv4Addr>().ok()?.to_bits() & mask, mask))
        };
        match prefix() {
            Some((address, mask)) => Ok(Self { text, address, mask }),
            None => Err(Fault::Argument(format!("invalid CIDR address: {text}").into())),
        }
    }

    /// Whether an address, or one with its prefix length, lies inside.
    fn holds(&self, text: &str) -> bool {
        let address = text.split_once('/').map_or(text, |(address, _)| address);
        address
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.to_bits() & self.mask == self.address)
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
            Self::Between(low, high) => write!(out, "Between({low}, {high})"),
            Self::Ne(literal) => write!(out, "Ne({literal})"),
            Self::Nee(literal) => write!(out, "Nee({literal})"),
            Self::Regex(pattern) => write!(out, "Regex('{}')", pattern.text),
            Self::Ipv4Range(network) => write!(out, "Ipv4Range('{}')", network.text),
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

/// Memory a compiled expression may take.
const REGEX_BYTES: usize = 1 << 20;

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
    fn an_expression_is_anchored_as_a_whole() {
        let pattern = Predicate::Regex(Pattern::new("a|bc".into()).unwrap());
        assert!(admits(&pattern, json!("bc")));
        assert!(!admits(&pattern, json!("ab")));
        assert!(!admits(&pattern, json!("xbc")));
    }

    #[test]
    fn an_expression_must_be_small_and_valid() {
        assert!(Pattern::new("^a".into()).is_err());
        assert!(Pattern::new("a$".into()).is_err());
        assert!(Pattern::new("(".into()).is_err());
        assert!(Pattern::new("a)|(b".into()).is_err());
        assert!(Pattern::new("((a{100}){100}){100}".into()).is_err());
    }

    #[test]
    fn prefixes_of_all_lengths_hold() {
        let range = |text: &str| Predicate::Ipv4Range(Network::new(text.into()).unwrap());
        assert!(admits(&range("0.0.0.0/0"), json!("255.0.0.1")));
        assert!(admits(&range("10.0.0.7/32"), json!("10.0.0.7/24")));
        assert!(!admits(&range("10.0.0.7/32"), json!("10.0.0.6")));
        assert!(!admits(&range("0.0.0.0/0"), json!("fe80::1")));
        for bad in ["10.0.0.1", "10.0.0.1/33", "10.0.0/8", "::1/64", ""] {
            assert!(Network::new(bad.into()).is_err(), "{bad}");
        }
    }
}
