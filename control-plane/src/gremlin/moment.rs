//! The parameters of `At` (Skydive API §3.10): a point in time, and how long before it.

use super::error::Fault;
use super::parameter::{Parameter, given};
use super::predicate::Literal;

/// Refuses parameters that `At` does not take.
pub(super) fn check(parameters: Vec<Parameter>) -> Result<Vec<Parameter>, Fault> {
    let (at, span) = match parameters.as_slice() {
        [] => return Err("At least one parameter must be provided to 'Context'".into()),
        [at] => (at, None),
        [at, span] => (at, Some(span)),
        _ => return Err("At most two parameters must be provided to 'Context'".into()),
    };
    match at {
        Parameter::Now | Parameter::Literal(Literal::Int(_)) => {}
        Parameter::Literal(Literal::Text(text)) if is_duration(text) || is_rfc1123(text) => {}
        Parameter::Literal(Literal::Text(_)) => {
            return Err("Time must be in RFC1123 or in Go Duration format".into());
        }
        _ => return Err("Key 'Context' must be either an integer or a string".into()),
    }
    match span {
        None | Some(Parameter::Forever | Parameter::Literal(Literal::Int(_))) => {}
        Some(Parameter::Literal(Literal::Text(text))) if is_duration(text) => {}
        Some(other) => {
            return Err(Fault::Rule {
                rule: "Duration must be in Go Duration format, in seconds or FOREVER",
                given: given(std::slice::from_ref(other)),
            });
        }
    }
    Ok(parameters)
}

/// Go's form: an optional sign, then decimal numbers each with a unit, as `-1h30m`; or `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let (number, unit) = split_at(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, next) = split_at(unit, |c| c.is_ascii_digit() || c == '.');
        if number.parse::<f64>().is_err() || !UNITS.contains(&unit) {
            return false;
        }
        rest = next;
        parts += 1;
    }
    parts > 0
}

/// `Mon, 02 Jan 2006 15:04:05 MST`.
fn is_rfc1123(text: &str) -> bool {
    let parts: Vec<&str> = text.split(' ').collect();
    let [weekday, day, month, year, time, zone] = parts.as_slice() else {
        return false;
    };
    let number = |text: &str, digits: usize, range: std::ops::RangeInclusive<u32>| {
        let written = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        written && text.parse().is_ok_and(|n| range.contains(&n))
    };
    let clock: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = clock.as_slice() else {
        return false;
    };
    WEEKDAYS.contains(weekday)
        && number(day, 2, 1..=31)
        && MONTHS.contains(month)
        && number(year, 4, 0..=9999)
        && number(hour, 2, 0..=23)
        && number(minute, 2, 0..=59)
        && number(second, 2, 0..=59)
        && (3..=5).contains(&zone.len())
        && zone.bytes().all(|b| b.is_ascii_uppercase())
}

fn split_at(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
const WEEKDAYS: [&str; 7] = ["Mon,", "Tue,", "Wed,", "Thu,", "Fri,", "Sat,", "Sun,"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for good in ["-1m", "1h30m", "+1.5s", "-500ms", ".5s", "0", "3µs"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "-", "1", "m", "1d", "1m-", "1..s", "yesterday"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }

    #[test]
    fn dates_are_rfc_1123() {
        for good in ["Mon, 02 Jan 2006 15:04:05 MST", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert!(is_rfc1123(good), "{good}");
        }
        for bad in [
            "",
            "Mon, 02 Jan 2006 15:04:05",
            "Mon, 32 Jan 2006 15:04:05 GMT",
            "Mon, 02 Jan 2006 25:04:05 GMT",
            "Mon, 02 Foo 2006 15:04:05 GMT",
            "2006-01-02T15:04:05Z",
        ] {
            assert!(!is_rfc1123(bad), "{bad}");
        }
    }
}
