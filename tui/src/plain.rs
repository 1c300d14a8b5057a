//! Text of others, made safe to print.
//!
//! A job's error, a fault's label, a node's name: all of it was written by somebody else. An escape sequence in it would
//! steer the operator's terminal, and a character that changes the direction of writing would make the rest of the line
//! say something else. What is harmless stays: accents, joiners, whatever a script needs.

/// One line: white space of any kind becomes a space, what steers a terminal goes.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !hostile(*c)).collect()
}

/// One line of any bytes: what steers a terminal stands there as an escape, and so does what is no text. A backslash stays
/// one, for this is to be read, not to be taken back.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut line = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if hostile(c) {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
        line.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    line
}

/// Steers a terminal, or turns the direction of the text after it.
fn hostile(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_goes_and_what_is_written_stays() {
        assert_eq!(plain("ok\u{1b}[2J\u{7}\u{9b}31m\u{202e}evil\r\nnext\tcol\u{2028}"), "ok[2J31mevil  next col ");
        assert_eq!(escaped(b"a\x1b[2J\t\xe2\x80\xae\xff\\\xc3\xa9"), r"a\u{1b}[2J\t\u{202e}\xff\é");
        assert_eq!(plain("e\u{301} \u{915}\u{94d}\u{200d}\u{937}"), "e\u{301} \u{915}\u{94d}\u{200d}\u{937}");
    }
}
