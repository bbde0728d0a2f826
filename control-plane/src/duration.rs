//! Durations as Go writes them: `500ms`, `5s`, `1h2m`.

use std::time::Duration;

/// Reads a duration of Go's `time.ParseDuration`. Negative ones and ones beyond 584 years are
/// refused: nothing here can wait for them.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("invalid duration {text:?}, expected e.g. 500ms, 5s or 1h2m");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(number);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        nanos = unit_nanos(unit)
            .and_then(|unit| times(number, unit))
            .and_then(|piece| nanos.checked_add(piece))
            .ok_or_else(invalid)?;
        rest = tail;
    }
    Ok(Duration::from_nanos(nanos))
}

const fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit.as_bytes() {
        b"ns" => 1,
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits, at most one point) of `unit` nanoseconds, rounded down.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digits beyond the ninth are below a nanosecond of an hour's thousandth; Go drops them too.
    let digits = fraction.get(..fraction.len().min(9))?;
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    let fraction: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let part = u64::try_from(fraction * u128::from(unit) / scale).ok()?;
    whole.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("1h2m", 3_720_000),
            ("1.5s", 1_500),
            (".5m", 30_000),
            ("+2s", 2_000),
            ("1000us", 1),
            ("1000\u{b5}s", 1),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in
            ["", "+", "5", "s", "-1s", "1.2.3s", ".s", "1d", "5s ", "1e3s", "99999999999h", "é"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_duration("soon").unwrap_err(),
            "invalid duration \"soon\", expected e.g. 500ms, 5s or 1h2m"
        );
    }
}
