//! What stands between the parentheses of a step, before the step makes sense of it.

use std::fmt;

use super::error::Fault;
use super::limits::Limits;
use super::network::Network;
use super::pattern::Pattern;
use super::predicate::{Commas, Condition, Literal, Predicate};

/// One parameter of a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parameter {
    Literal(Literal),
    Ascending,
    Descending,
    Forever,
    Now,
    Metadata(Vec<Condition>),
    Predicate(Predicate),
}

/// The words that take parameters of their own.
pub(super) const PREDICATES: [&str; 15] = [
    "METADATA",
    "WITHIN",
    "WITHOUT",
    "LT",
    "LTE",
    "GT",
    "GTE",
    "INSIDE",
    "OUTSIDE",
    "BETWEEN",
    "NE",
    "NEE",
    "REGEX",
    "IPV4RANGE",
    "IPV6RANGE",
];

impl Parameter {
    /// The words that stand for themselves.
    pub(super) fn keyword(word: &str) -> Option<Self> {
        match word {
            "TRUE" => Some(Self::Literal(Literal::Bool(true))),
            "FALSE" => Some(Self::Literal(Literal::Bool(false))),
            "ASC" => Some(Self::Ascending),
            "DESC" => Some(Self::Descending),
            "FOREVER" => Some(Self::Forever),
            "NOW" => Some(Self::Now),
            _ => None,
        }
    }

    /// The text it is.
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Literal(Literal::Text(text)) => Some(text.into()),
            _ => None,
        }
    }

    /// The integer it is.
    pub(super) fn int(&self) -> Option<i64> {
        match self {
            Self::Literal(Literal::Int(n)) => Some(*n),
            _ => None,
        }
    }
}

/// Makes one of [`PREDICATES`] of its parameters.
pub(super) fn predicate(
    word: &str,
    inner: Vec<Parameter>,
    limits: &Limits,
) -> Result<Parameter, Fault> {
    let predicate = match word {
        "METADATA" => return Ok(Parameter::Metadata(conditions(inner)?)),
        "WITHIN" => Predicate::Within(literals("WITHIN", inner)?),
        "WITHOUT" => Predicate::Without(literals("WITHOUT", inner)?),
        "LT" => Predicate::Lt(bound("LT", "LT values should be of int64 type", inner)?),
        "LTE" => Predicate::Lte(bound("LTE", "LTE values should be of int64 type", inner)?),
        "GT" => Predicate::Gt(bound("GT", "GT values should be of int64 type", inner)?),
        "GTE" => Predicate::Gte(bound("GTE", "GTE values should be of int64 type", inner)?),
        "INSIDE" => {
            let (low, high) = bounds("INSIDE", "Inside values should be of int64 type", inner)?;
            Predicate::Inside(low, high)
        }
        "OUTSIDE" => {
            let (low, high) = bounds("OUTSIDE", "Outside values should be of int64 type", inner)?;
            Predicate::Outside(low, high)
        }
        "BETWEEN" => {
            let (low, high) = bounds("BETWEEN", "Between values should be of int64 type", inner)?;
            Predicate::Between(low, high)
        }
        "NE" => Predicate::Ne(literal("NE", one("NE", inner)?)?),
        "NEE" => Predicate::Nee(literal("NEE", one("NEE", inner)?)?),
        "REGEX" => {
            let given = one("REGEX", inner)?;
            let printed = given.to_string();
            let text = given.text().ok_or_else(|| {
                let rule = "REGEX predicate expects a string as parameter, got";
                Fault::Argument(format!("{rule}: {printed}").into())
            })?;
            Predicate::Regex(Pattern::new(text, limits.regex)?)
        }
        "IPV4RANGE" => {
            let text =
                one("IPV4RANGE", inner)?.text().ok_or("Ipv4Range value has to be a string")?;
            Predicate::Ipv4Range(Network::v4(text)?)
        }
        _ => {
            let text =
                one("IPV6RANGE", inner)?.text().ok_or("Ipv6Range value has to be a string")?;
            Predicate::Ipv6Range(Network::v6(text)?)
        }
    };
    Ok(Parameter::Predicate(predicate))
}

/// Pairs of key and value; there may be none.
pub(super) fn conditions(parameters: Vec<Parameter>) -> Result<Vec<Condition>, Fault> {
    if !parameters.len().is_multiple_of(2) {
        return Err("params should be a list of key,value".into());
    }
    let mut conditions = Vec::with_capacity(parameters.len() / 2);
    let mut parameters = parameters.into_iter();
    while let (Some(key), Some(value)) = (parameters.next(), parameters.next()) {
        let key = key.text().ok_or("keys should be of string type")?;
        let predicate = match value {
            Parameter::Literal(literal) => Predicate::Equal(literal),
            Parameter::Predicate(predicate) => predicate,
            other => {
                return Err(Fault::Argument(
                    format!("'{key}' cannot be compared with {other}").into(),
                ));
            }
        };
        conditions.push(Condition { key, predicate });
    }
    Ok(conditions)
}

/// As Skydive prints a list of parameters in its errors.
pub(super) fn given(parameters: &[Parameter]) -> String {
    let texts: Vec<String> = parameters
        .iter()
        .map(|parameter| match parameter {
            Parameter::Literal(Literal::Text(text)) => text.to_string(),
            other => other.to_string(),
        })
        .collect();
    format!("[{}]", texts.join(" "))
}

fn literals(predicate: &'static str, inner: Vec<Parameter>) -> Result<Vec<Literal>, Fault> {
    inner.into_iter().map(|parameter| literal(predicate, parameter)).collect()
}

fn literal(predicate: &'static str, parameter: Parameter) -> Result<Literal, Fault> {
    match parameter {
        Parameter::Literal(literal) => Ok(literal),
        other => {
            Err(Fault::Argument(format!("{predicate} expects plain values, got: {other}").into()))
        }
    }
}

fn bound(
    predicate: &'static str,
    not_int: &'static str,
    inner: Vec<Parameter>,
) -> Result<i64, Fault> {
    one(predicate, inner)?.int().ok_or(not_int.into())
}

fn bounds(
    predicate: &'static str,
    not_int: &'static str,
    inner: Vec<Parameter>,
) -> Result<(i64, i64), Fault> {
    let [low, high] = inner.as_slice() else {
        let given = given(&inner);
        let count = "Two parameters";
        return Err(Fault::Arity { count, predicate, given });
    };
    low.int().zip(high.int()).ok_or(not_int.into())
}

fn one(predicate: &'static str, mut inner: Vec<Parameter>) -> Result<Parameter, Fault> {
    match (inner.pop(), inner.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            inner.extend(last);
            Err(Fault::Arity { count: "One parameter", predicate, given: given(&inner) })
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(out),
            Self::Ascending => out.write_str("ASC"),
            Self::Descending => out.write_str("DESC"),
            Self::Forever => out.write_str("FOREVER"),
            Self::Now => out.write_str("NOW"),
            Self::Metadata(conditions) => write!(out, "Metadata({})", Commas(conditions)),
            Self::Predicate(predicate) => predicate.fmt(out),
        }
    }
}
