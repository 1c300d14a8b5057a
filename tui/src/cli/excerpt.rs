//! What a job was given, or has brought, as a verb shows it: to a person the beginning, to a program all of it.
//!
//! A payload is up to a mebibyte of whatever somebody sent. Shown whole it would push everything else off the screen, and
//! raw it could steer the terminal; so a person gets the first lines with their control characters escaped, and is told how
//! much is missing and how to get it. JSON knows text only: bytes that are no text stand there in base64, under a name of
//! their own, so that nobody takes the one for the other.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::plain::escaped;

/// Lines that are shown.
const LINES_MAX: usize = 10;

/// Bytes that are shown: seven lines of a narrow terminal, or four times as many if each of them has to be escaped.
const BYTES_MAX: usize = 512;

/// The beginning, each line after the first indented by so many cells; `all` is the call that gives the whole.
#[must_use]
pub fn excerpt(bytes: &[u8], indent: usize, all: &str) -> String {
    let mut end = bytes.len();
    if end > BYTES_MAX {
        // Not within a character, which is at most four bytes: what is left of it would look like damage.
        let begins = |at: &usize| bytes[*at] & 0b1100_0000 != 0b1000_0000;
        end = (BYTES_MAX - 3..=BYTES_MAX).rev().find(begins).unwrap_or(BYTES_MAX);
    }
    if let Some((at, _)) = bytes[..end].iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(LINES_MAX - 1) {
        end = at + 1;
    }
    let shown = &bytes[..end];
    let mut lines: Vec<String> =
        shown.strip_suffix(b"\n").unwrap_or(shown).split(|byte| *byte == b'\n').map(escaped).collect();
    if end < bytes.len() {
        let (left, whole) = (bytes.len() - end, bytes.len());
        lines.push(format!("... {left} of {whole} bytes are left out; all of it: {all} > FILE"));
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// As it stands in JSON: the text; else nothing, and the bytes in base64.
#[must_use]
pub fn in_json(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_one_is_whole_and_a_long_one_says_what_is_missing() {
        assert_eq!(excerpt(b"", 2, "x"), "");
        assert_eq!(excerpt(b"one\ntwo\n", 2, "x"), "one\n  two");
        let ten = "l\n".repeat(10);
        assert_eq!(excerpt(ten.as_bytes(), 0, "x").lines().count(), 10);
        let eleven = excerpt((ten + "é").as_bytes(), 0, "x");
        assert_eq!(eleven.lines().last(), Some("... 2 of 22 bytes are left out; all of it: x > FILE"));
        assert_eq!(excerpt(&[b'a'; BYTES_MAX], 0, "x"), "a".repeat(BYTES_MAX));
        // The character that does not fit is not cut in two.
        let cut = excerpt(("a".repeat(BYTES_MAX - 1) + "é").as_bytes(), 0, "x");
        assert_eq!(cut, "a".repeat(BYTES_MAX - 1) + "\n... 2 of 513 bytes are left out; all of it: x > FILE");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_well() {
        let rest = excerpt(&[0x80; 2 * BYTES_MAX], 0, "x");
        let left = "... 512 of 1024 bytes are left out; all of it: x > FILE";
        assert_eq!(rest, [r"\x80".repeat(BYTES_MAX), left.to_owned()].join("\n"));
        assert_eq!(in_json(b"\xff\x00"), (None, Some("/wA=".to_owned())));
    }
}
