//! The keys: one table that feeds dispatch, the footer, the help page and the read-only filter.
//!
//! Arrows move (and Ctrl-N, Ctrl-P); the vi letters do not, on purpose: `k` kills and `h` heals here, and a key that
//! destroys must not lie beside one that moves. No Alt, and none of the keys that tmux, screen or the terminal's own flow
//! control take (Ctrl-A, Ctrl-B, Ctrl-S, Ctrl-Q).

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::Pane;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Kill,
    Cut,
    Heal,
    Restart,
    Submit,
    Mark,
    Unmark,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Oldest,
    Newest,
    Every,
    NextPane,
    PreviousPane,
    Focus(Pane),
    Zoom,
    Repaint,
    Suspend,
    Help,
    Quit,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Binding {
    keys: &'static [(KeyCode, KeyModifiers)],
    /// The keys in words.
    pub(crate) label: &'static str,
    pub(crate) action: Action,
    pub(crate) help: &'static str,
    /// One word for the footer; rows without one are in the help only.
    pub(crate) footer: Option<&'static str>,
    /// Only while this pane is focused.
    pub(crate) when: Option<Pane>,
    /// Takes something away or changes the cluster: gone in read-only mode.
    pub(crate) danger: bool,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

const fn row(
    keys: &'static [(KeyCode, KeyModifiers)],
    label: &'static str,
    action: Action,
    help: &'static str,
) -> Binding {
    Binding { keys, label, action, help, footer: None, when: None, danger: false }
}

impl Binding {
    const fn footer(mut self, word: &'static str) -> Binding {
        self.footer = Some(word);
        self
    }

    const fn danger(mut self) -> Binding {
        self.danger = true;
        self
    }

    const fn when(mut self, pane: Pane) -> Binding {
        self.when = Some(pane);
        self
    }
}

/// All keys. The first row that fits is taken.
pub(crate) const TABLE: &[Binding] = &[
    row(&[(KeyCode::Char('k'), NONE)], "k", Action::Kill, "kill the node under the cursor").footer("kill").danger(),
    row(&[(KeyCode::Char('x'), NONE)], "x", Action::Cut, "cut the marked nodes (or this one) from the others")
        .footer("cut")
        .danger(),
    row(&[(KeyCode::Char('h'), NONE)], "h", Action::Heal, "heal all faults on all nodes").footer("heal").danger(),
    row(&[(KeyCode::Char('r'), NONE)], "r", Action::Restart, "restart the node under the cursor")
        .footer("restart")
        .danger(),
    row(&[(KeyCode::Char('s'), NONE)], "s", Action::Submit, "submit a job").footer("submit").danger(),
    row(&[(KeyCode::Char(' '), NONE)], "space", Action::Mark, "mark the node: one side of a cut").footer("mark"),
    row(&[(KeyCode::Esc, NONE)], "esc", Action::Unmark, "close, unmark all, back to the newest"),
    row(
        &[(KeyCode::Up, NONE), (KeyCode::Char('p'), CONTROL)],
        "up",
        Action::Up,
        "node above; in Events: scroll back (also Ctrl-P)",
    ),
    row(
        &[(KeyCode::Down, NONE), (KeyCode::Char('n'), CONTROL)],
        "down",
        Action::Down,
        "node below; in Events: scroll on (also Ctrl-N)",
    ),
    row(&[(KeyCode::Left, NONE)], "left", Action::Left, "older log entries"),
    row(&[(KeyCode::Right, NONE)], "right", Action::Right, "newer log entries"),
    row(&[(KeyCode::PageUp, NONE)], "pgup", Action::PageUp, "ten lines, or twenty entries, back"),
    row(&[(KeyCode::PageDown, NONE)], "pgdn", Action::PageDown, "ten lines, or twenty entries, on"),
    row(&[(KeyCode::Home, NONE), (KeyCode::Char('g'), NONE)], "g", Action::Oldest, "to the oldest (also Home)"),
    row(
        &[(KeyCode::End, NONE), (KeyCode::Char('G'), NONE)],
        "G",
        Action::Newest,
        "to the newest, and follow it (also End)",
    ),
    row(&[(KeyCode::Char('e'), NONE)], "e", Action::Every, "Events: the story, or every observation")
        .footer("every")
        .when(Pane::Events),
    row(&[(KeyCode::Tab, NONE)], "tab", Action::NextPane, "next pane").footer("pane"),
    row(&[(KeyCode::BackTab, NONE)], "shift-tab", Action::PreviousPane, "previous pane"),
    row(&[(KeyCode::Char('1'), NONE)], "1", Action::Focus(Pane::Nodes), "Nodes"),
    row(&[(KeyCode::Char('2'), NONE)], "2", Action::Focus(Pane::Logs), "Logs"),
    row(&[(KeyCode::Char('3'), NONE)], "3", Action::Focus(Pane::Links), "Links"),
    row(&[(KeyCode::Char('4'), NONE)], "4", Action::Focus(Pane::Events), "Events"),
    row(
        &[(KeyCode::Char('z'), NONE), (KeyCode::Enter, NONE)],
        "z",
        Action::Zoom,
        "the focused pane alone, and back (also Enter)",
    )
    .footer("zoom"),
    row(&[(KeyCode::Char('l'), CONTROL)], "ctrl-l", Action::Repaint, "paint the screen anew"),
    row(&[(KeyCode::Char('z'), CONTROL)], "ctrl-z", Action::Suspend, "back to the shell; fg returns"),
    row(&[(KeyCode::Char('?'), NONE)], "?", Action::Help, "these keys").footer("help"),
    row(&[(KeyCode::Char('q'), NONE), (KeyCode::Char('c'), CONTROL)], "q", Action::Quit, "quit (also Ctrl-C)")
        .footer("quit"),
];

/// The row a key stands for, whether or not it may be used now.
pub(crate) fn find(key: &KeyEvent, focus: Pane) -> Option<&'static Binding> {
    // Shift is part of the character itself; some terminals report it besides.
    let modifiers = key.modifiers.difference(KeyModifiers::SHIFT);
    TABLE
        .iter()
        .filter(|row| row.when.is_none_or(|pane| pane == focus))
        .find(|row| row.keys.iter().any(|(code, m)| *code == key.code && *m == modifiers))
}

/// True for the two keys that work in every state: Ctrl-C and Ctrl-Z.
pub(crate) fn always(key: &KeyEvent) -> bool {
    matches!(key.code, KeyCode::Char('c' | 'z')) && key.modifiers.contains(KeyModifiers::CONTROL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things() {
        for (at, row) in TABLE.iter().enumerate() {
            for other in &TABLE[at + 1..] {
                let apart = matches!((row.when, other.when), (Some(a), Some(b)) if a != b);
                for key in row.keys {
                    assert!(apart || !other.keys.contains(key), "{} and {} share {key:?}", row.label, other.label);
                }
            }
        }
    }

    #[test]
    fn all_that_changes_the_cluster_is_dangerous() {
        for row in TABLE {
            let changes =
                matches!(row.action, Action::Kill | Action::Cut | Action::Heal | Action::Restart | Action::Submit);
            assert_eq!(row.danger, changes, "{}", row.label);
        }
    }

    #[test]
    fn shift_does_not_hide_a_letter() {
        let key = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(find(&key, Pane::Nodes).map(|b| b.action), Some(Action::Newest));
        let control = KeyEvent::new(KeyCode::Char('k'), KeyModifiers::CONTROL);
        assert!(find(&control, Pane::Nodes).is_none(), "Ctrl-K must not kill");
    }
}
