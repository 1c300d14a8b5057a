//! One line of text that can be edited: the fields of the dialogs.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::text;

/// Longest input taken into one field.
const CHARS_MAX: usize = text::CHARS_MAX;

/// A line and where its cursor stands, counted in characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    chars: Vec<char>,
    cursor: usize,
}

impl Field {
    pub(crate) fn new(text: &str) -> Field {
        let chars: Vec<char> = text.chars().collect();
        Field { cursor: chars.len(), chars }
    }

    pub(crate) fn text(&self) -> String {
        self.chars.iter().collect()
    }

    /// The text before the cursor and from the cursor on.
    pub(crate) fn halves(&self) -> (String, String) {
        (self.chars[..self.cursor].iter().collect(), self.chars[self.cursor..].iter().collect())
    }

    pub(crate) fn at_end(&self) -> bool {
        self.cursor == self.chars.len()
    }

    /// Takes pasted text, cleaned as if it had come over the wire.
    pub(crate) fn insert(&mut self, text: &str) {
        for c in text::clean(text).chars().take(CHARS_MAX - self.chars.len().min(CHARS_MAX)) {
            self.chars.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    /// True if the key was one of editing.
    pub(crate) fn key(&mut self, key: &KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('u') if control => {
                self.chars.drain(..self.cursor);
                self.cursor = 0;
            }
            KeyCode::Char('w') if control => {
                while self.cursor > 0 {
                    self.cursor -= 1;
                    self.chars.remove(self.cursor);
                    if self.cursor > 0 && self.chars[self.cursor - 1] == ' ' {
                        break;
                    }
                }
            }
            KeyCode::Char(c) if !control && !key.modifiers.contains(KeyModifiers::ALT) => {
                self.insert(c.encode_utf8(&mut [0; 4]));
            }
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.chars.remove(self.cursor);
            }
            KeyCode::Delete if self.cursor < self.chars.len() => {
                self.chars.remove(self.cursor);
            }
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right if self.cursor < self.chars.len() => self.cursor += 1,
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.chars.len(),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(field: &mut Field, code: KeyCode, modifiers: KeyModifiers) {
        field.key(&KeyEvent::new(code, modifiers));
    }

    #[test]
    fn edits_in_the_middle() {
        let mut field = Field::new("kil n5");
        for _ in 0..3 {
            press(&mut field, KeyCode::Left, KeyModifiers::NONE);
        }
        press(&mut field, KeyCode::Char('l'), KeyModifiers::NONE);
        assert_eq!(field.text(), "kill n5");
        press(&mut field, KeyCode::Char('u'), KeyModifiers::CONTROL);
        assert_eq!(field.halves(), (String::new(), " n5".into()));
    }

    #[test]
    fn a_paste_is_cleaned_and_bounded() {
        let mut field = Field::default();
        field.insert("a\u{1b}]0;x\u{7}b");
        assert_eq!(field.text(), "a]0;xb");
        field.insert(&"y".repeat(10_000));
        assert_eq!(field.text().chars().count(), CHARS_MAX);
    }
}
