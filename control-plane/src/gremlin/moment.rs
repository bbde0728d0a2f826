//! The parameters of `At` (Skydive API §3.10): a point in time, and how long before it.

use sonde_proto::time::Timestamp;

use super::error::Fault;
use super::parameter::{Parameter, given};
use super::predicate::Literal;
use crate::graph::Span;

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
        Parameter::Literal(Literal::Text(text))
            if duration(text).or_else(|| rfc1123(text)).is_some() => {}
        Parameter::Literal(Literal::Text(_)) => {
            return Err("Time must be in RFC1123 or in Go Duration format".into());
        }
        _ => return Err("Key 'Context' must be either an integer or a string".into()),
    }
    match span {
        None | Some(Parameter::Forever | Parameter::Literal(Literal::Int(_))) => {}
        Some(Parameter::Literal(Literal::Text(text))) if duration(text).is_some() => {}
        Some(other) => {
            return Err(Fault::Rule {
                rule: "Duration must be in Go Duration format, in seconds or FOREVER",
                given: given(std::slice::from_ref(other)),
            });
        }
    }
    Ok(parameters)
}

/// The span that checked parameters ask for.
pub(super) fn span(parameters: &[Parameter], now: Timestamp) -> Span {
    let now = now.millis();
    let to = match parameters.first() {
        Some(Parameter::Literal(Literal::Int(n))) if *n <= i64::from(i32::MAX) => n * 1000,
        Some(Parameter::Literal(Literal::Int(n))) => *n,
        Some(Parameter::Literal(Literal::Text(text))) => match duration(text) {
            Some(distance) => now.saturating_add(distance),
            None => rfc1123(text).unwrap_or(now),
        },
        _ => now,
    };
    let from = match parameters.get(1) {
        Some(Parameter::Literal(Literal::Int(n))) => to.saturating_sub(n.saturating_mul(1000)),
        Some(Parameter::Literal(Literal::Text(text))) => {
            to.saturating_sub(duration(text).unwrap_or(0).saturating_abs())
        }
        Some(_) => i64::MIN,
        None => to,
    };
    Span { from, to }
}

/// Milliseconds in Go's form: an optional sign, then decimal numbers each with a unit, as
/// `-1h30m`; or `0`.
fn duration(text: &str) -> Option<i64> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    let mut nanos = 0.0;
    let mut parts = 0;
    while !rest.is_empty() {
        let (number, unit) = split_at(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, next) = split_at(unit, |c| c.is_ascii_digit() || c == '.');
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos += number.parse::<f64>().ok()? * scale;
        rest = next;
        parts += 1;
    }
    let millis = (nanos / 1e6) as i64;
    (parts > 0).then_some(if text.starts_with('-') { -millis } else { millis })
}

/// Milliseconds since the epoch of `Mon, 02 Jan 2006 15:04:05 MST`. As in Go, a zone other than
/// the local one is a name without a meaning: the time is taken for UTC.
fn rfc1123(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split(' ').collect();
    let [weekday, day, month, year, time, zone] = parts.as_slice() else {
        return None;
    };
    let number = |text: &str, digits: usize, range: std::ops::RangeInclusive<i64>| {
        let written = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n| written && range.contains(n))
    };
    let clock: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = clock.as_slice() else {
        return None;
    };
    let named = WEEKDAYS.contains(weekday)
        && (3..=5).contains(&zone.len())
        && zone.bytes().all(|b| b.is_ascii_uppercase());
    let month = MONTHS.iter().position(|name| name == month).filter(|_| named)?;
    let days = days(number(year, 4, 0..=9999)?, month as i64 + 1, number(day, 2, 1..=31)?);
    let hours = days * 24 + number(hour, 2, 0..=23)?;
    let minutes = hours * 60 + number(minute, 2, 0..=59)?;
    Some((minutes * 60 + number(second, 2, 0..=59)?) * 1000)
}

/// Days since the epoch of a date; months count from 1. Years begin in March, so that the day that
/// is not in every year is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_TO_EPOCH
}

fn split_at(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

/// Nanoseconds of each.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];
/// From 1 March of year 0 to 1 January 1970.
const DAYS_TO_EPOCH: i64 = 719_468;
const WEEKDAYS: [&str; 7] = ["Mon,", "Tue,", "Wed,", "Thu,", "Fri,", "Sat,", "Sun,"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for good in ["-1m", "1h30m", "+1.5s", "-500ms", ".5s", "0", "3µs"] {
            assert!(duration(good).is_some(), "{good}");
        }
        for bad in ["", "-", "1", "m", "1d", "1m-", "1..s", "yesterday"] {
            assert!(duration(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn dates_are_rfc_1123() {
        for good in ["Mon, 02 Jan 2006 15:04:05 MST", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert!(rfc1123(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "Mon, 02 Jan 2006 15:04:05",
            "Mon, 32 Jan 2006 15:04:05 GMT",
            "Mon, 02 Jan 2006 25:04:05 GMT",
            "Mon, 02 Foo 2006 15:04:05 GMT",
            "2006-01-02T15:04:05Z",
        ] {
            assert!(rfc1123(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn times_are_milliseconds() {
        for (text, expected) in
            [("-1m", -60_000), ("1h30m", 5_400_000), ("+1.5s", 1500), ("-500ms", -500), ("0", 0)]
        {
            assert_eq!(duration(text), Some(expected), "{text}");
        }
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777_000),
            ("Tue, 29 Feb 2000 23:59:59 MST", 951_868_799_000),
            ("Wed, 01 Mar 2000 00:00:00 MST", 951_868_800_000),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1000),
        ] {
            assert_eq!(rfc1123(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_span_ends_at_the_time() {
        let int = |n| Parameter::Literal(Literal::Int(n));
        let text = |text: &str| Parameter::Literal(Literal::Text(text.into()));
        for (parameters, from, to) in [
            (vec![Parameter::Now], 5_000_000, 5_000_000),
            (vec![int(2_147_483_647)], 2_147_483_647_000, 2_147_483_647_000),
            (vec![int(2_147_483_648)], 2_147_483_648, 2_147_483_648),
            (vec![text("-1m")], 4_940_000, 4_940_000),
            (vec![text("-1m"), int(40)], 4_900_000, 4_940_000),
            (vec![Parameter::Now, text("1m30s")], 4_910_000, 5_000_000),
            (vec![Parameter::Now, text("-10s")], 4_990_000, 5_000_000),
            (vec![Parameter::Now, int(i64::MAX)], 5_000_000 - i64::MAX, 5_000_000),
            (vec![int(100), Parameter::Forever], i64::MIN, 100_000),
        ] {
            let found = span(&parameters, Timestamp::from_millis(5_000_000));
            assert_eq!(found, Span { from, to }, "{parameters:?}");
        }
    }
}
