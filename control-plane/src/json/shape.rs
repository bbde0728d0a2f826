//! What a JSON text is, before it is read: how deep, and how much memory its values would take.

use serde_json::Value;

/// Learned from brackets, commas and colons alone. A text that is no JSON has a shape too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How deep brackets are nested.
    pub(crate) depth: usize,
    /// Bytes that the text and its values take together in memory, about, and hardly ever more.
    pub(crate) weight: usize,
}

impl Shape {
    /// Looks at each byte once.
    pub(crate) fn of(json: &[u8]) -> Self {
        let (mut deep, mut shape) = (0_usize, Self { depth: 0, weight: json.len() });
        let mut bytes = json.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'[' | b'{' => {
                    deep += 1;
                    shape.depth = shape.depth.max(deep);
                    shape.weight += VALUE;
                    if *byte == b'{' && bytes.as_slice().first() != Some(&b'}') {
                        shape.weight += OBJECT;
                    }
                }
                b']' | b'}' => deep = deep.saturating_sub(1),
                b',' => shape.weight += VALUE,
                b':' => shape.weight += MEMBER,
                b'"' => {
                    while let Some(byte) = bytes.next() {
                        match byte {
                            b'"' => break,
                            b'\\' => drop(bytes.next()),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        shape
    }
}

/// A value in a list, which has twice the room that it needs at most.
const VALUE: usize = 2 * size_of::<Value>();

/// The first node of the B-tree that is an object, which has room for eleven members.
const OBJECT: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 24;

/// The text of a name, and a place in the nodes that follow, which are half full at least.
const MEMBER: usize = 32 + OBJECT / 6 - VALUE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_are_no_depth() {
        for (json, expected) in [
            ("", 0),
            ("[]", 1),
            ("{\"a\": [{}]}", 3),
            ("[[], [], []]", 2),
            (r#"["[[[", "\"[[", {"[": "\\"}]"#, 2),
            ("]]][", 1),
            (r#"[""#, 1),
            (r#"["\"#, 1),
        ] {
            assert_eq!(Shape::of(json.as_bytes()).depth, expected, "{json}");
        }
    }

    #[test]
    fn small_values_weigh_much() {
        for (unit, times) in [("0", 20), ("[]", 20), ("{}", 20), (r#"{"":0}"#, 90), (r#""""#, 15)] {
            let json = format!("[{}0]", format!("{unit},").repeat(1000));
            assert!(Shape::of(json.as_bytes()).weight > times * json.len(), "{unit}");
        }
        let text = format!("[\"{}\"]", "{[:,".repeat(1000));
        assert_eq!(Shape::of(text.as_bytes()).weight, text.len() + VALUE);
    }
}
