//! Text to tokens (Skydive API §3.1).

/// Hands out the tokens of a query one by one; after the last one, [`Kind::End`] for ever.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'t> {
    rest: &'t str,
    column: usize,
}

/// A token, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    /// As written; a string without its quotes.
    pub(super) text: &'t str,
    /// Where it starts, in characters, from 1.
    pub(super) column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Text,
    Number,
    Open,
    Close,
    Comma,
    Dot,
    Illegal,
    End,
}

impl<'t> Lexer<'t> {
    /// A NUL ends the text, as it does in Skydive.
    pub(super) fn new(text: &'t str) -> Self {
        Self { rest: text.split('\0').next().unwrap_or_default(), column: 1 }
    }

    pub(super) fn token(&mut self) -> Token<'t> {
        let space = |c: char| matches!(c, ' ' | '\t' | '\n');
        self.take(self.rest.find(|c| !space(c)).unwrap_or(self.rest.len()));
        let column = self.column;
        let Some(first) = self.rest.chars().next() else {
            return Token { kind: Kind::End, text: "", column };
        };
        let (kind, text) = match first {
            '(' => (Kind::Open, self.take(1)),
            ')' => (Kind::Close, self.take(1)),
            ',' => (Kind::Comma, self.take(1)),
            '.' => (Kind::Dot, self.take(1)),
            '\'' | '"' => (Kind::Text, self.string()),
            'a'..='z' | 'A'..='Z' => {
                (Kind::Word, self.take_while(|c| c.is_ascii_alphanumeric() || c == '_'))
            }
            '0'..='9' => self.number(),
            other => (Kind::Illegal, self.take(other.len_utf8())),
        };
        Token { kind, text, column }
    }

    /// A string ends at the next quote of either kind, or with the text; there are no escapes.
    fn string(&mut self) -> &'t str {
        self.take(1);
        let text = self.take_while(|c| !matches!(c, '\'' | '"'));
        self.take(1.min(self.rest.len()));
        text
    }

    /// Digits and dots; with a letter directly behind them they are no number.
    fn number(&mut self) -> (Kind, &'t str) {
        let digit = |c: char| c.is_ascii_digit() || c == '.';
        let end = self.rest.find(|c| !digit(c)).unwrap_or(self.rest.len());
        let letter = self.rest[end..].starts_with(|c: char| c.is_ascii_alphabetic());
        match letter {
            true => (Kind::Illegal, self.take(end + 1)),
            false => (Kind::Number, self.take(end)),
        }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'t str {
        self.take(self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len()))
    }

    /// `bytes` ends at the end of a character.
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.column += taken.chars().count();
        taken
    }
}

impl Token<'_> {
    /// Whether it is that word; case does not matter.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<(Kind, &str, usize)> {
        let mut lexer = Lexer::new(text);
        std::iter::from_fn(|| Some(lexer.token()).filter(|token| token.kind != Kind::End))
            .map(|token| (token.kind, token.text, token.column))
            .collect()
    }

    #[test]
    fn a_query_is_cut_into_tokens_with_columns() {
        let expected = [
            (Kind::Word, "g", 1),
            (Kind::Dot, ".", 2),
            (Kind::Word, "V_1", 3),
            (Kind::Open, "(", 6),
            (Kind::Text, "é", 7),
            (Kind::Comma, ",", 10),
            (Kind::Number, "1.5", 12),
            (Kind::Close, ")", 15),
        ];
        assert_eq!(tokens("g.V_1('é', 1.5)"), expected);
    }

    #[test]
    fn either_quote_closes_a_string() {
        let expected = [(Kind::Text, "it", 1), (Kind::Word, "s", 5), (Kind::Text, "", 6)];
        assert_eq!(tokens("\"it's\""), expected);
    }

    #[test]
    fn a_letter_spoils_a_number() {
        let expected = [(Kind::Illegal, "12a", 1), (Kind::Word, "b", 4)];
        assert_eq!(tokens("12ab"), expected);
    }

    #[test]
    fn carriage_return_is_illegal_and_nul_ends() {
        assert_eq!(tokens("\r\0G"), [(Kind::Illegal, "\r", 1)]);
    }
}
