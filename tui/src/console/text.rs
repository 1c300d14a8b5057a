//! Text in cells: what fits where, and short words for numbers.
//!
//! Text of others passes [`clean`] before it is kept: what steers a terminal is gone ([`plain`]), and what takes no cell
//! as well, because it would shift every cell behind it.
//!
//! Law: what [`clean`] returns holds only characters that take one or two cells, and at most [`CHARS_MAX`] of them.

use ratatui::text::Span;

use crate::plain::plain;

/// Longest text kept of any one field.
pub(crate) const CHARS_MAX: usize = 400;

/// Text of others, safe to draw.
pub(crate) fn clean(text: &str) -> String {
    plain(text).chars().filter(|c| cells(*c) > 0).take(CHARS_MAX).collect()
}

/// Cells that one character takes on the screen; 0 for what is never drawn.
fn cells(c: char) -> usize {
    // Nearly everything.
    if matches!(c, ' '..='~') {
        return 1;
    }
    if c.is_control() {
        return 0;
    }
    Span::raw(c.encode_utf8(&mut [0; 4]) as &str).width()
}

/// Cells that a text takes.
pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text in exactly `cells` cells: padded, or cut with a final `~`.
pub(crate) fn fit(text: &str, cells: usize, right: bool) -> String {
    let wide = width(text);
    if wide <= cells {
        let pad = " ".repeat(cells - wide);
        return if right { pad + text } else { format!("{text}{pad}") };
    }
    let mut cut = String::new();
    for c in text.chars() {
        if width(&cut) + self::cells(c) + 1 > cells {
            break;
        }
        cut.push(c);
    }
    if cells > 0 {
        cut.push('~');
    }
    let short = cells - width(&cut).min(cells);
    cut + &" ".repeat(short)
}

/// The text in lines of at most `cells` cells, broken between words.
pub(crate) fn wrap(text: &str, cells: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) <= cells {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The order of names as people have it: n2 before n10.
pub(crate) fn natural(name: &str) -> impl Ord + use<> {
    let head = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (head.to_owned(), name.len(), name.to_owned())
}

/// A count as people read it: `42`, `9120`, `12k`, `3.4M`.
pub(crate) fn count(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{}k", n / 1000),
        1_000_000.. => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
    }
}

/// A length of time in at most five cells: `12ms`, `1.3s`, `42s`, `7m`, `3h`.
pub(crate) fn span_ms(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..10_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        10_000..120_000 => format!("{}s", ms / 1000),
        120_000..7_200_000 => format!("{}m", ms / 60_000),
        7_200_000.. => format!("{}h", ms / 3_600_000),
    }
}

/// A unix time as `04:31.118`: minute, second, millisecond. Hours would cost room and say little.
pub(crate) fn minute_ms(unix_ms: u64) -> String {
    let ms = unix_ms % 3_600_000;
    format!("{:02}:{:02}.{:03}", ms / 60_000, ms / 1000 % 60, ms % 1000)
}

/// A unix time as `12:04:31` UTC.
pub(crate) fn clock(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A unix time as `12:04:31.118` UTC.
pub(crate) fn clock_ms(unix_ms: u64) -> String {
    format!("{}.{:03}", clock(unix_ms), unix_ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_text_cannot_steer_the_terminal() {
        let hostile = "ok\u{1b}[2J\u{7}\u{9b}31m\u{200b}\u{202e}evil\u{fe0f}\u{301}\nnext\tcol\u{ad}";
        assert_eq!(clean(hostile), "ok[2J31mevil next col");
        assert_eq!(clean(&"x".repeat(5000)).len(), CHARS_MAX);
    }

    #[test]
    fn fit_fills_its_cells_exactly() {
        assert_eq!(fit("n1", 4, false), "n1  ");
        assert_eq!(fit("n1", 4, true), "  n1");
        assert_eq!(fit("follower", 5, false), "foll~");
        assert_eq!(width(&fit("日本語", 4, false)), 4);
        assert_eq!(fit("abc", 0, false), "");
    }

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let mut names = ["n10", "n2", "west-3", "n1", "east-12", "east-9"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["east-9", "east-12", "n1", "n2", "n10", "west-3"]);
    }

    #[test]
    fn spans_are_short() {
        for (ms, said) in [(0, "0ms"), (999, "999ms"), (1340, "1.3s"), (42_000, "42s"), (130_000, "2m")] {
            assert_eq!(span_ms(ms), said);
        }
        assert!(span_ms(999_999_999).len() <= 5);
    }
}
