//! What a misspelt word was meant to be.

use strsim::damerau_levenshtein;

/// The nearest of `words`, unless more than a third of it would have to change.
pub(super) fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = words.into_iter().filter_map(|other| {
        let distance = damerau_levenshtein(word, other);
        let most = word.len().max(other.len()) / 3;
        (distance <= most.max(1)).then_some((distance, other))
    });
    near.min().map(|(_, other)| other)
}

/// The end of an error: `; did you mean ...?`, or nothing when nothing is near.
pub(super) fn did_you_mean<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, words).map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

/// serde's message of an unknown field or variant, which lists those there are, with what was meant.
pub(super) fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let suggestion = match quoted.next() {
        Some(word) if message.starts_with("unknown ") => did_you_mean(word, quoted),
        _ => String::new(),
    };
    format!("{message}{suggestion}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_meant() {
        let words = ["update", "expire", "hold", "max_flows"];
        for (word, meant) in [
            ("updaet", Some("update")),
            ("exspire", Some("expire")),
            ("maxflows", Some("max_flows")),
            ("hld", Some("hold")),
            ("store", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), meant, "{word}");
        }
    }

    #[test]
    fn messages_end_with_what_was_meant() {
        for (message, end) in [
            ("unknown field `udp_`, expected `tcp` or `udp`", "; did you mean `udp`?"),
            ("unknown field `ftp`, expected one of `aa`, `bb`, `cc`", "`cc`"),
            ("unknown field `x`, there are no fields", "no fields"),
            ("invalid type: string \"updaet`update`\", expected u64", "expected u64"),
        ] {
            let found = with_suggestion(message);
            assert!(found.starts_with(message) && found.ends_with(end), "{found}");
        }
    }
}
