//! Tokens to steps (Skydive API §3.2).

use super::error::{Fault, QueryError};
use super::lexer::{Kind, Lexer, Token};
use super::limits::{Exhausted, Limits};
use super::parameter::{self, Parameter};
use super::predicate::Literal;
use super::step::Step;
use super::{Placed, Query};

/// Parses the text of a query. What can be known to be wrong without a graph is refused here.
pub fn parse(text: &str, limits: &Limits) -> Result<Query, QueryError> {
    if text.len() > limits.text {
        let column = text.bytes().take(limits.text).filter(|byte| byte & 0xc0 != 0x80).count();
        return Err(Fault::from(Exhausted::Text(limits.text)).at(column.max(1)));
    }
    Parser { lexer: Lexer::new(text), limits }.query()
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    limits: &'t Limits,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query, QueryError> {
        let first = self.lexer.token();
        if !first.is("G") {
            return Err(found(first, 'G'));
        }
        let mut steps = Vec::new();
        loop {
            let dot = self.lexer.token();
            match dot.kind {
                Kind::End => return Ok(Query { steps }),
                Kind::Dot if steps.len() == self.limits.steps => {
                    let fault = Fault::from(Exhausted::Steps(self.limits.steps));
                    return Err(fault.at(self.lexer.token().column));
                }
                Kind::Dot => steps.push(self.step()?),
                _ => return Err(found(dot, '.')),
            }
        }
    }

    fn step(&mut self) -> Result<Placed, QueryError> {
        let name = self.lexer.token();
        let column = name.column;
        if name.is("G") {
            let step = Step::Graph;
            return Ok(Placed { step, column });
        }
        let open = self.lexer.token();
        if open.kind != Kind::Open {
            return Err(Fault::LeftParenthesis(open.text.into()).at(open.column));
        }
        let parameters = self.parameters(NESTING)?;
        let word = if name.kind == Kind::Word { name.text } else { "" };
        let step = match Step::new(&word.to_ascii_uppercase(), parameters) {
            Ok(Some(step)) => step,
            Ok(None) => return Err(Fault::Step(name.text.into()).at(column)),
            Err(fault) => return Err(fault.at(column)),
        };
        Ok(Placed { step, column })
    }

    /// What stands between the parentheses; the left one has been read. Commas mean nothing.
    fn parameters(&mut self, nesting: usize) -> Result<Vec<Parameter>, QueryError> {
        let mut parameters = Vec::new();
        loop {
            let token = self.lexer.token();
            match token.kind {
                Kind::Comma => {}
                Kind::Close => return Ok(parameters),
                Kind::End => return Err(Fault::RightParenthesis.at(token.column)),
                Kind::Text => parameters.push(Parameter::Literal(Literal::Text(token.text.into()))),
                Kind::Number => parameters.push(Parameter::Literal(number(token)?)),
                Kind::Word => parameters.push(self.word(token, nesting)?),
                Kind::Open | Kind::Dot | Kind::Illegal => return Err(unexpected(token)),
            }
        }
    }

    fn word(&mut self, token: Token<'_>, nesting: usize) -> Result<Parameter, QueryError> {
        let word = token.text.to_ascii_uppercase();
        if let Some(parameter) = Parameter::keyword(&word) {
            return Ok(parameter);
        }
        if !parameter::PREDICATES.contains(&word.as_str()) || nesting == 0 {
            return Err(unexpected(token));
        }
        let open = self.lexer.token();
        if open.kind != Kind::Open {
            return Err(Fault::LeftParenthesis(open.text.into()).at(open.column));
        }
        let inner = self.parameters(nesting - 1)?;
        parameter::predicate(&word, inner, self.limits).map_err(|fault| fault.at(token.column))
    }
}

/// An integer when it is one and fits, a float otherwise. Whole floats are integers.
fn number(token: Token<'_>) -> Result<Literal, QueryError> {
    if let Ok(int) = token.text.parse() {
        return Ok(Literal::Int(int));
    }
    match token.text.parse::<f64>() {
        Ok(float) if float.fract() == 0.0 && float < WHOLE => Ok(Literal::Int(float as i64)),
        Ok(float) if float.is_finite() => Ok(Literal::Float(float)),
        _ => Err(Fault::Number(token.text.into()).at(token.column)),
    }
}

fn found(token: Token<'_>, expected: char) -> QueryError {
    let got = token.text.into();
    Fault::Found { got, expected }.at(token.column)
}

fn unexpected(token: Token<'_>) -> QueryError {
    Fault::Parameter(token.text.into()).at(token.column)
}

/// Parentheses inside those of a step: a predicate, or `Metadata` with predicates in it.
const NESTING: usize = 2;
/// 2^63: floats below it fit an `i64`.
const WHOLE: f64 = 9_223_372_036_854_775_808.0;
