//! The keys as they are in force: the table with what the config file changed, and how keys are spelt.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::keys::{Action, Binding, Place, TABLE, When};

/// A key with what is held: `K`, `space`, `ctrl-l`, `f1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    code: KeyCode,
    control: bool,
}

/// Keys with a name.
const NAMED: [(&str, KeyCode); 16] = [
    ("space", KeyCode::Char(' ')),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("shift-tab", KeyCode::BackTab),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("del", KeyCode::Delete),
    ("ins", KeyCode::Insert),
    ("backspace", KeyCode::Backspace),
];

impl Key {
    /// # Errors
    /// In words that name the text.
    pub(crate) fn parse(text: &str) -> Result<Key, String> {
        let (control, name) = text.strip_prefix("ctrl-").map_or((false, text), |rest| (true, rest));
        let function = || name.strip_prefix('f')?.parse().ok().filter(|n| (1..=12).contains(n)).map(KeyCode::F);
        let named = NAMED.iter().find(|(word, _)| *word == name).map(|(_, code)| *code);
        let mut chars = name.chars();
        let single = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_control() && c != ' ' => Some(KeyCode::Char(c)),
            _ => None,
        };
        match named.or_else(function).or(single) {
            Some(code) => Ok(Key { code, control }),
            None => {
                Err(format!("{text:?} is no key: write a character, ctrl-x, f1, space, enter, esc, tab, up, pgdn, .."))
            }
        }
    }

    /// As a terminal tells that it was pressed.
    pub(crate) fn event(self) -> KeyEvent {
        KeyEvent::new(self.code, if self.control { KeyModifiers::CONTROL } else { KeyModifiers::NONE })
    }

    fn of(event: &KeyEvent) -> Option<Key> {
        // Shift is part of the character itself; some terminals report it besides. Alt is ours nowhere.
        let held = event.modifiers.difference(KeyModifiers::SHIFT);
        let control = held == KeyModifiers::CONTROL;
        (control || held.is_empty()).then_some(Key { code: event.code, control })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.control {
            f.write_str("ctrl-")?;
        }
        match (NAMED.iter().find(|(_, code)| *code == self.code), self.code) {
            (Some((name, _)), _) => f.write_str(name),
            (None, KeyCode::Char(c)) => write!(f, "{c}"),
            (None, KeyCode::F(n)) => write!(f, "f{n}"),
            (None, other) => write!(f, "{other:?}"),
        }
    }
}

/// A row and the keys that are its own now.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) binding: &'static Binding,
    pub(crate) keys: Vec<Key>,
}

impl Row {
    /// The first key in words; nothing for a row that was given none.
    pub(crate) fn label(&self) -> String {
        self.keys.first().map(Key::to_string).unwrap_or_default()
    }

    /// All keys in words.
    pub(crate) fn labels(&self) -> String {
        self.keys.iter().map(Key::to_string).collect::<Vec<_>>().join(" ")
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Keymap {
    rows: Vec<Row>,
}

impl Default for Keymap {
    fn default() -> Keymap {
        let keys = |binding: &Binding| binding.keys.iter().map(|k| Key::parse(k).expect("the table spells keys right"));
        Keymap { rows: TABLE.iter().map(|binding| Row { binding, keys: keys(binding).collect() }).collect() }
    }
}

impl Keymap {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.binding.name == name)
    }

    /// The row that a key stands for here, whether or not it may be used now.
    pub(crate) fn find(&self, event: &KeyEvent, place: Place) -> Option<&Row> {
        self.of(event).find(|row| row.binding.when.holds(place))
    }

    /// The rows that a key stands for, here or elsewhere.
    pub(crate) fn of(&self, event: &KeyEvent) -> impl Iterator<Item = &Row> {
        let key = Key::of(event);
        self.rows.iter().filter(move |row| key.is_some_and(|key| row.keys.contains(&key)))
    }

    /// Where a row works, for somebody who is elsewhere.
    pub(crate) fn elsewhere(&self, name: &str, when: When, place: Place) -> String {
        let key = |name: &str| self.named(name).map(Row::label).unwrap_or_default();
        match when {
            When::Cursor(view) if view == place.view => {
                format!("{name} works beside the nodes: {} ends the zoom", key("zoom"))
            }
            When::In(view) | When::Cursor(view) => {
                format!("{name} works in the {} view: {}", view.name(), key(view.name()))
            }
            When::Pane(pane) => format!("{name} works in the pane {}", pane.title()),
            When::Always => format!("{name} works everywhere"),
        }
    }

    /// Gives a row other keys.
    ///
    /// # Errors
    /// There is no such row, or a key would mean two things.
    pub(crate) fn set(&mut self, name: &str, keys: Vec<Key>) -> Result<(), String> {
        let at = self.rows.iter().position(|row| row.binding.name == name);
        let at = at.ok_or_else(|| format!("{name:?} is no action: `raftdeck keys` lists them"))?;
        let when = self.rows[at].binding.when;
        let clash = self
            .rows
            .iter()
            .enumerate()
            .filter(|(other, row)| *other != at && row.binding.when.meets(when))
            .find_map(|(_, row)| keys.iter().find(|key| row.keys.contains(key)).map(|key| (key, row.binding.name)));
        if let Some((key, other)) = clash {
            return Err(format!("{key} is the key of {other} already: give {other} another one first"));
        }
        self.rows[at].keys = keys;
        Ok(())
    }

    /// Gives a row the keys of the table again.
    pub(crate) fn reset(&mut self, name: &str) {
        let table = Keymap::default();
        if let (Some(row), Some(first)) = (self.rows.iter_mut().find(|row| row.binding.name == name), table.named(name))
        {
            row.keys.clone_from(&first.keys);
        }
    }

    /// The page of all keys, for the docs.
    pub(crate) fn page(&self) -> String {
        let mut page = String::from("| key | name | does | where |\n|---|---|---|---|\n");
        for Row { binding, .. } in &self.rows {
            let row = self.named(binding.name).map(Row::labels).unwrap_or_default().replace('|', "\\|");
            let place = match binding.when {
                When::Always => "",
                When::In(view) | When::Cursor(view) => view.name(),
                When::Pane(pane) => pane.title(),
            };
            let off = if binding.danger { " (off with `--read-only`)" } else { "" };
            page += &format!("| `{row}` | {} | {}{off} | {place} |\n", binding.name, binding.help);
        }
        page
    }
}

/// The two keys that work in every state, whatever the config says: Ctrl-C and Ctrl-Z.
pub(crate) fn always(key: &KeyEvent) -> Option<Action> {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Action::Quit),
        KeyCode::Char('z') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Action::Suspend),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{
        hands::Upkeep,
        model::{Pane, View},
    };

    const NODES: Place = Place { view: View::Cluster, focus: Pane::Nodes, zoom: false };

    fn press(c: char, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), modifiers)
    }

    #[test]
    fn no_key_means_two_things_and_no_name_two_rows() {
        let map = Keymap::default();
        for (at, row) in map.rows.iter().enumerate() {
            for other in &map.rows[at + 1..] {
                assert_ne!(row.binding.name, other.binding.name);
                let shared = row.keys.iter().find(|key| other.keys.contains(key));
                let meet = row.binding.when.meets(other.binding.when);
                assert!(!meet || shared.is_none(), "{} and {} share {shared:?}", row.binding.name, other.binding.name);
            }
        }
    }

    #[test]
    fn all_that_changes_the_cluster_is_dangerous() {
        use Action as A;
        for row in TABLE {
            let keeps = matches!(row.action, A::Upkeep(what) if what != Upkeep::ShowTab);
            let changes = keeps
                || matches!(
                    row.action,
                    A::Kill
                        | A::Cut
                        | A::Heal
                        | A::HealOne
                        | A::Form(_)
                        | A::CancelJobs
                        | A::RetryJobs
                        | A::PauseQueue
                        | A::Transfer
                        | A::Remove
                );
            assert_eq!(row.danger, changes, "{}", row.name);
        }
    }

    #[test]
    fn keys_are_spelt_both_ways() {
        for text in ["K", "ctrl-l", "space", "f12", "shift-tab", "?", "ctrl-space", "f"] {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "f0", "hyper-x", "ab", "ctrl-", " "] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn shift_does_not_hide_a_letter_and_control_is_another_key() {
        let map = Keymap::default();
        let found = |key: &KeyEvent| map.find(key, NODES).map(|row| row.binding.action);
        assert_eq!(found(&press('G', KeyModifiers::SHIFT)), Some(Action::Newest));
        assert_eq!(found(&press('K', KeyModifiers::SHIFT)), Some(Action::Kill));
        assert_eq!(found(&press('k', KeyModifiers::CONTROL)), None);
        assert_eq!(found(&press('k', KeyModifiers::ALT)), None);
    }

    #[test]
    fn own_keys_take_the_place_and_may_not_clash() {
        let mut map = Keymap::default();
        map.set("kill", vec![Key::parse("f9").unwrap()]).unwrap();
        let f9 = KeyEvent::new(KeyCode::F(9), KeyModifiers::NONE);
        assert_eq!(map.find(&f9, NODES).map(|row| row.binding.action), Some(Action::Kill));
        assert!(map.find(&press('K', KeyModifiers::NONE), NODES).is_none());
        let clash = map.set("heal", vec![Key::parse("q").unwrap()]).unwrap_err();
        assert_eq!(clash, "q is the key of quit already: give quit another one first");
        assert!(map.set("explode", Vec::new()).unwrap_err().starts_with("\"explode\" is no action"));
        map.set("kill", vec![Key::parse("e").unwrap()]).expect_err("e is a key of a pane of this view");
    }
}
