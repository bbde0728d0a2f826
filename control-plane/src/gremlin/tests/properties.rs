//! What holds for every text.

use proptest::prelude::*;

use super::super::{Limits, Query, QueryError};
use super::{ask, hosts};

fn parse(text: &str) -> Result<Query, QueryError> {
    super::super::parse(text, &Limits::default())
}

/// Words of the language put together at random; about half of the texts are queries.
fn texts() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "'Name'",
        "\"eth0\"",
        "7",
        "1.5",
        "99999999999999999999",
        "true",
        "Within('a', 2.5)",
        "Without()",
        "Lt(3)",
        "Inside(1, 2)",
        "Ne(false)",
        "Regex('a|b.*')",
        "Ipv4Range('10.0.0.0/8')",
        "DESC",
        "ASC",
        "NOW",
        "FOREVER",
        "Metadata('a', Gt(1))",
        "'-1m'",
        "'10.0.0.1'",
        "(",
        "Outside(1, 2)",
        "Ipv6Range('fe80::/10')",
        "beside",
    ]);
    let name = prop::sample::select(vec![
        "V",
        "E",
        "Has",
        "HasKey",
        "HasNot",
        "HasEither",
        "Out",
        "InE",
        "BothV",
        "Dedup",
        "Count",
        "Limit",
        "Range",
        "Sort",
        "Values",
        "ValueMap",
        "Keys",
        "Sum",
        "As",
        "Select",
        "At",
        "ShortestPathTo",
        "SubGraph",
        "Descendants",
        "Neighbors",
        "NextHop",
        "Flows",
        "Nodes",
        "Hops",
        "Metrics",
        "Aggregates",
        "Group",
        "MoreThan",
        "RawPackets",
        "BPF",
        "Sockets",
        "Workflow",
        "Foo",
    ]);
    let step = (name, prop::collection::vec(value, 0..4))
        .prop_map(|(name, values)| format!("{name}({})", values.join(", ")));
    prop::collection::vec(step, 0..4).prop_map(|steps| {
        let steps: String = steps.iter().map(|step| format!(".{step}")).collect();
        format!("G{steps}")
    })
}

proptest! {
    #[test]
    fn printed_queries_parse_to_the_same(text in texts()) {
        if let Ok(query) = parse(&text) {
            let printed = query.to_string();
            prop_assert_eq!(parse(&printed), Ok(query), "{}", printed);
        }
    }

    #[test]
    fn queries_answer_or_say_why(text in texts()) {
        if let Ok(answer) = ask(&hosts(), &text) {
            prop_assert!(serde_json::to_string(&answer).is_ok());
        }
    }

    #[test]
    fn any_text_parses_or_says_where(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.position()));
        }
    }

    #[test]
    fn any_text_of_the_alphabet_parses_or_says_where(text in "[GVHas().,'\"0-9 ]{0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.position()));
        }
    }
}
