//! JSON as Go's encoder writes it, for REST and WebSocket (Skydive API §1); and what is read of it.

mod shape;

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

pub(crate) use shape::Shape;

/// The JSON text of `value`: it is safe inside HTML. An error when a key of a map is no text.
pub(crate) fn text(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    write(&mut text, value)?;
    Ok(text)
}

/// The JSON text of `value`; `None` when it has more than `limit` bytes, or a key of a map is no
/// text.
pub(crate) fn text_within(value: &impl Serialize, limit: usize) -> Option<Vec<u8>> {
    let mut bounded = Bounded { text: Vec::new(), limit };
    write(&mut bounded, value).ok()?;
    Some(bounded.text)
}

/// Appends the JSON text of a value whose maps have texts as keys.
pub(crate) fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    if let Err(error) = write(out, value) {
        unreachable!("a Vec takes all: {error}");
    }
}

/// Appends a text, in quotes.
pub(crate) fn append_text(out: &mut Vec<u8>, text: &str) {
    let plain =
        |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
    // All of it: without a way out the compiler looks at many bytes at once.
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        append(out, &text);
    }
}

fn write(out: impl io::Write, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, HtmlSafe))
}

/// Takes so many bytes and no more.
struct Bounded {
    text: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.text.len() + bytes.len() <= self.limit {
            true => self.text.write(bytes),
            false => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes `<`, `>`, `&`, U+2028 and U+2029 in strings, as `encoding/json` does.
struct HtmlSafe;

impl Formatter for HtmlSafe {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let mut tail = tail.chars();
            if let Some(special) = tail.next() {
                write!(out, "\\u{:04x}", u32::from(special))?;
            }
            rest = tail.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_html_would_read_is_escaped() {
        let text = text(&["a<b>&\u{2028}\"c\u{e9}"]).unwrap();
        assert_eq!(text, r#"["a\u003cb\u003e\u0026\u2028\"cé"]"#.as_bytes());
    }

    #[test]
    fn a_plain_text_is_written_as_any_other() {
        let texts = (0..=0x2029).filter_map(char::from_u32).map(String::from);
        for each in texts.chain(["".into(), "plain text".into()]) {
            let mut out = Vec::new();
            append_text(&mut out, &each);
            assert_eq!(out, text(&each).unwrap(), "{each:?}");
        }
    }
}
