//! The regular expression of `Regex`.

use std::fmt;

use super::error::Fault;

/// A regular expression that admits a text as a whole.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Compiles `text` to at most `bytes` bytes.
    pub(super) fn new(text: String, bytes: usize) -> Result<Self, Fault> {
        if text.starts_with('^') || (text.ends_with('$') && !text.ends_with("\\$")) {
            return Err("Regex are anchored by default, ^ and $ don't have to be provided".into());
        }
        let compile = |text: &str| regex::RegexBuilder::new(text).size_limit(bytes).build();
        // On its own first, so that it cannot close the group around it.
        let regex =
            compile(&text).and_then(|_| compile(&format!("^(?:{text})$"))).map_err(|error| {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                Fault::Argument(format!("Invalid REGEX `{text}`: {reason}").into())
            })?;
        Ok(Self { text, regex })
    }

    pub(super) fn admits(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<Pattern, Fault> {
        Pattern::new(text.into(), 1 << 20)
    }

    #[test]
    fn an_expression_is_anchored_as_a_whole() {
        let pattern = pattern("a|bc").unwrap();
        assert!(pattern.admits("bc"));
        assert!(!pattern.admits("ab"));
        assert!(!pattern.admits("xbc"));
    }

    #[test]
    fn an_expression_must_be_small_and_valid() {
        for bad in ["^a", "a$", "(", "a)|(b", "((a{100}){100}){100}"] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
        assert!(pattern("a\\$").is_ok());
        assert!(Pattern::new("a{100}".into(), 10).is_err());
    }
}
