//! The rules that an alert must keep (Skydive API §2.4), and what it asks for.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;
use sonde_proto::alert::Alert;
use sonde_proto::time::Timestamp;

use crate::clock::rfc3339;
use crate::duration::parse_duration;
use crate::gremlin::{self, Limits, Query};
use crate::live::Live;
use crate::resource::{Invalid, Resource, keep};

/// What an alert asks for: its texts parsed.
#[derive(Debug)]
pub struct Watch {
    pub(super) expression: Expression,
    pub(super) trigger: Trigger,
    pub(super) action: Action,
}

/// What an alert looks at.
#[derive(Debug)]
pub(super) enum Expression {
    /// The answer to a query.
    Query(Query),
    /// The value of a JavaScript text. Whether it is one is seen when it runs.
    Script(String),
}

/// When an alert looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// At each change of the graph.
    Graph,
    /// So often.
    Every(Duration),
}

/// Whom an alert tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Subscribers only.
    None,
    /// A server, by POST.
    Webhook(Uri),
    /// A program, on its standard input.
    Script(PathBuf),
}

impl Resource for Alert {
    type Parsed = Watch;
    /// Whether alerts may run programs.
    type Rules = Live<bool>;

    const TABLE: &'static str = "alerts";

    fn uuid(&mut self) -> &mut String {
        &mut self.uuid
    }

    fn parse(&mut self, _: &Live<bool>) -> Result<Watch, Vec<Invalid>> {
        let mut broken = Vec::new();
        let expression = match self.expression.as_str() {
            "" => Err(Invalid::new("Expression", "zero value")),
            text => Ok(expression(text)),
        };
        let expression = keep(&mut broken, expression);
        let action = keep(&mut broken, action(&self.action));
        let trigger = keep(&mut broken, trigger(&self.trigger));
        match (expression, trigger, action) {
            (Some(expression), Some(trigger), Some(action)) => {
                Ok(Watch { expression, trigger, action })
            }
            _ => Err(broken),
        }
    }

    fn refuse(watch: &Watch, scripts: &Live<bool>) -> Result<(), Invalid> {
        match watch.action {
            Action::Script(_) if !*scripts.get() => Err(Invalid::new("Action", NO_PROGRAMS)),
            _ => Ok(()),
        }
    }

    fn stamp(&mut self, before: Option<&Self>, now: Timestamp) {
        self.create_time = match before {
            Some(before) => before.create_time.clone(),
            None => rfc3339(now),
        };
    }
}

/// A query where the text is one. Otherwise it is JavaScript, as in Skydive.
fn expression(text: &str) -> Expression {
    match gremlin::parse(text, &Limits::default()) {
        Ok(query) => Expression::Query(query),
        Err(_) => Expression::Script(text.to_owned()),
    }
}

fn trigger(text: &str) -> Result<Trigger, Invalid> {
    let invalid = |why: &str| Invalid::new("Trigger", why);
    let every = match text {
        "" | "graph" => return Ok(Trigger::Graph),
        text => text.strip_prefix("duration:").ok_or(invalid("regular expression mismatch"))?,
    };
    match parse_duration(every) {
        Ok(every) if every < OFTENEST => {
            Err(invalid(&format!("A valid duration is >= {}ms", OFTENEST.as_millis())))
        }
        Ok(every) => Ok(Trigger::Every(every)),
        Err(why) => Err(invalid(&why)),
    }
}

fn action(text: &str) -> Result<Action, Invalid> {
    let invalid = |why: &str| Invalid::new("Action", why);
    if text.is_empty() {
        return Ok(Action::None);
    }
    if let Some(path) = text.strip_prefix("file://") {
        return match path.starts_with('/') {
            true => Ok(Action::Script(path.into())),
            false => Err(invalid("Not an absolute path, expected file:///...")),
        };
    }
    let uri: Uri = text.parse().map_err(|why| invalid(&format!("Not a valid URL: {why}")))?;
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("http" | "https") if has_host && !has_user => Ok(Action::Webhook(uri)),
        Some("http" | "https") if has_host => Err(invalid("a user in the URL is not supported")),
        _ => Err(invalid("expected http://..., https://..., file://... or nothing")),
    }
}

/// Why no program is told.
pub(super) const NO_PROGRAMS: &str =
    "programs are not run, unless the configuration has [alert] scripts = true";

/// Alerts do not look more often.
const OFTENEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_query_is_a_script() {
        for text in ["G.V().Has('Type', 'veth')", "G.Flows().Count()"] {
            assert!(matches!(expression(text), Expression::Query(_)), "{text}");
        }
        for text in ["Gremlin('G.V()').length > 3", "G.V().Count().then((n) => n > 3)", "G.V("] {
            assert!(matches!(expression(text), Expression::Script(_)), "{text}");
        }
    }

    #[test]
    fn a_trigger_is_the_graph_or_a_duration() {
        let every = |millis| Trigger::Every(Duration::from_millis(millis));
        for (text, expected) in [
            ("", Trigger::Graph),
            ("graph", Trigger::Graph),
            ("duration:+5s", every(5000)),
            ("duration:1m", every(60_000)),
            ("duration:100ms", every(100)),
        ] {
            assert_eq!(trigger(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_action_is_a_place() {
        for (text, expected) in [
            ("", Action::None),
            ("file:///bin/true", Action::Script("/bin/true".into())),
            ("http://h/p?q", Action::Webhook(Uri::from_static("http://h/p?q"))),
            ("https://[::1]:8443", Action::Webhook(Uri::from_static("https://[::1]:8443"))),
        ] {
            assert_eq!(action(text), Ok(expected), "{text}");
        }
    }
}
