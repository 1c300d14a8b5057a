//! Durations and times as people write them.
//!
//! Times are UTC everywhere in the command line: the nodes of one cluster may stand in several zones, and a log that is
//! compared with another one must not depend on who reads it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raftdeck_shared::faults::{CLOCK_OFFSET_MAX, DELAY_MAX, WHOLE_PPM};

const DAY_MS: u64 = 86_400_000;

/// `500ms`, `5s`, `2m`, `1h`, `7d`; fractions (`1.5s`) too.
///
/// # Errors
/// In words that name the value.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is not a duration: write 500ms, 5s, 2m, 1h or 7d");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS,
        _ => return Err(refuse()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || number.ends_with('.') || fraction.len() > 9 || fraction.contains('.') {
        return Err(refuse());
    }
    let whole: u64 = whole.parse().map_err(|_| refuse())?;
    let fraction_ms = if fraction.is_empty() {
        0
    } else {
        let part: u64 = fraction.parse().map_err(|_| refuse())?;
        u64::try_from(u128::from(part) * u128::from(unit_ms) / 10_u128.pow(fraction.len() as u32)).unwrap_or(0)
    };
    let ms = whole.checked_mul(unit_ms).and_then(|ms| ms.checked_add(fraction_ms)).ok_or_else(refuse)?;
    Ok(Duration::from_millis(ms))
}

/// `120x40`: columns and rows of a screen, each at most 500.
///
/// # Errors
/// In words that name the value.
pub fn size(text: &str) -> Result<(u16, u16), String> {
    let parse = |part: &str| part.parse().ok().filter(|n| (1..=500).contains(n));
    let parts = text.split_once('x').and_then(|(columns, rows)| Some((parse(columns)?, parse(rows)?)));
    parts.ok_or_else(|| format!("{text:?} is no size: write 120x40, at most 500x500"))
}

/// A duration of at most 10 s, in milliseconds.
///
/// # Errors
/// In words that name the value.
pub fn short_ms(text: &str) -> Result<u32, String> {
    let time = duration(text)?;
    match u32::try_from(time.as_millis()) {
        Ok(ms) if ms > 0 && time <= DELAY_MAX => Ok(ms),
        _ => Err(format!("it takes 1ms to {}, not {text}", say_duration(DELAY_MAX))),
    }
}

/// A duration with a sign, in milliseconds: by how much a clock is off.
///
/// # Errors
/// In words that name the value.
pub fn offset_ms(text: &str) -> Result<i64, String> {
    let (behind, amount) = match text.strip_prefix('-') {
        Some(amount) => (true, amount),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let time = duration(amount).map_err(|_| format!("{text:?} is not an offset: write 30s or -30s"))?;
    match i64::try_from(time.as_millis()) {
        Ok(ms) if ms > 0 && time <= CLOCK_OFFSET_MAX => Ok(if behind { -ms } else { ms }),
        _ => Err(format!("a clock is off by 1ms to {}, not {text}", say_duration(CLOCK_OFFSET_MAX))),
    }
}

/// `10%`, `0.5%`: in parts of a million.
///
/// # Errors
/// In words that name the value.
pub fn percent_ppm(text: &str) -> Result<u32, String> {
    let refuse = || format!("{text:?} is not a part: write 10% or 0.5%, more than 0% and at most 100%");
    let number = text.strip_suffix('%').ok_or_else(refuse)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
        return Err(refuse());
    }
    let whole: u32 = whole.parse().map_err(|_| refuse())?;
    let fraction: u32 = format!("{fraction:0<4}").parse().map_err(|_| refuse())?;
    let ppm = whole.checked_mul(10_000).and_then(|ppm| ppm.checked_add(fraction));
    ppm.filter(|ppm| (1..=WHOLE_PPM).contains(ppm)).ok_or_else(refuse)
}

/// A duration as `duration` reads it, in its largest whole unit.
#[must_use]
pub fn say_duration(duration: Duration) -> String {
    let ms = ms(duration);
    for (unit, unit_ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms > 0 && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

/// `1 node`, `2 nodes`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Whole milliseconds; a time beyond 580 million years stays there.
#[must_use]
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Now, by this machine's clock, in unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms)
}

/// A moment: RFC 3339 (`2026-01-31T12:00:00Z`, `..T12:00:00.5+02:00`) or unix milliseconds.
///
/// # Errors
/// In words that name the value.
pub fn moment_ms(text: &str) -> Result<u64, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| format!("{text} is too large for unix milliseconds"));
    }
    rfc3339_ms(text).ok_or_else(|| {
        format!("{text:?} is not a time: write 2026-01-31T12:00:00Z, 2026-01-31T12:00:00+02:00 or unix milliseconds")
    })
}

fn rfc3339_ms(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone_at);
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let month_days = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = *month_days.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if year < 1970 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let offset_ms: i64 = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ms = i64::try_from((hours * 60 + minutes) * 60_000).ok()?;
            if zone.starts_with('-') { -ms } else { ms }
        }
    };
    let month_start: u64 = month_days.iter().take(usize::try_from(month).ok()? - 1).sum();
    let year_start = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum::<u64>();
    let seconds = ((year_start + month_start + day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    (seconds * 1000 + millis).checked_add_signed(-offset_ms)
}

/// Numbers of exactly these widths.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[u64; N]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let fits = |(part, width): (&&str, &usize)| part.len() == *width && part.bytes().all(|b| b.is_ascii_digit());
    if parts.len() != N || !parts.iter().zip(&widths).all(fits) {
        return None;
    }
    let mut all = [0; N];
    for (number, part) in all.iter_mut().zip(parts) {
        *number = part.parse().ok()?;
    }
    Some(all)
}

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// `HH:MM:SS.mmm`, UTC.
#[must_use]
pub fn clock(at_ms: u64) -> String {
    let ms = at_ms % DAY_MS;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_said() {
        for (text, ms) in [("500ms", 500), ("5s", 5_000), ("1.5s", 1_500), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-5s", "5x", "1.s", ".5s", "1.2.3s", "99999999999999999999s", "5S", "1e3s"] {
            let error = duration(text).unwrap_err();
            assert_eq!(error, format!("{text:?} is not a duration: write 500ms, 5s, 2m, 1h or 7d"));
        }
        for text in ["500ms", "90s", "2m", "1h", "0ms"] {
            assert_eq!(say_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn parts_delays_and_offsets_are_read_within_their_limits() {
        for (text, ppm) in [("10%", 100_000), ("0.5%", 5_000), ("100%", 1_000_000), ("0.0001%", 1), ("007%", 70_000)] {
            assert_eq!(percent_ppm(text), Ok(ppm), "{text}");
        }
        for text in ["", "%", "10", "0%", "100.1%", "-1%", "1.%", ".5%", "0.00001%", "1e1%", "99999999999%", "1 %"] {
            let line = format!("{text:?} is not a part: write 10% or 0.5%, more than 0% and at most 100%");
            assert_eq!(percent_ppm(text), Err(line));
        }
        assert_eq!((short_ms("1ms"), short_ms("10s")), (Ok(1), Ok(10_000)));
        for text in ["0ms", "10001ms", "1h"] {
            assert_eq!(short_ms(text), Err(format!("it takes 1ms to 10s, not {text}")));
        }
        assert_eq!((offset_ms("30s"), offset_ms("+1ms"), offset_ms("-10m")), (Ok(30_000), Ok(1), Ok(-600_000)));
        for text in ["0s", "-0s", "601s", "-601s"] {
            assert_eq!(offset_ms(text), Err(format!("a clock is off by 1ms to 10m, not {text}")));
        }
        for text in ["", "-", "--1s", "soon"] {
            assert_eq!(offset_ms(text), Err(format!("{text:?} is not an offset: write 30s or -30s")));
        }
    }

    #[test]
    fn moments_are_read() {
        for (text, ms) in [
            ("0", 0),
            ("1767225600000", 1_767_225_600_000),
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("2026-01-01t00:00:00.25z", 1_767_225_600_250),
            ("2026-01-01T02:00:00+02:00", 1_767_225_600_000),
            ("2025-12-31T19:30:00-04:30", 1_767_225_600_000),
            ("2024-02-29T12:34:56.789Z", 1_709_210_096_789),
            ("2000-03-01 00:00:00Z", 951_868_800_000),
        ] {
            assert_eq!(moment_ms(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0200",
            "2026-1-1T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert!(moment_ms(text).unwrap_err().starts_with(&format!("{text:?} is not a time")), "{text}");
        }
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|n| count(n, "node")), ["0 nodes", "1 node", "2 nodes"]);
    }

    #[test]
    fn the_clock_is_utc() {
        assert_eq!(clock(1_709_210_096_789), "12:34:56.789");
    }
}
