//! How things look: roles, not colours.
//!
//! The views name what a cell *means* ([`Tone`]) and which mark it wants ([`Glyphs`]); only this file knows what that
//! looks like. The default theme uses the terminal's own foreground and background and its 16 colours, so it is readable
//! wherever the operator's shell is. A colour only repeats what the text already says.
//!
//! `NO_COLOR` selects the mono theme: bold and reverse only. The terminal library's own way of honouring that
//! variable writes a full reset after each attribute, which would take the highlight away, so it is switched off.

use std::env;

use ratatui::{
    style::{Color, Modifier, Style},
    symbols::border,
};

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Dim,
    Title,
    /// The frame of the pane that has the keys.
    Focus,
    Good,
    Warn,
    Bad,
    /// Done by the operator of this console.
    You,
    /// The row under the cursor.
    Cursor,
    /// A key that can be pressed.
    Key,
    /// Belongs to this term.
    Term(u64),
}

/// Colours or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// The terminal's own colours.
    #[default]
    Colour,
    /// No colours at all.
    Mono,
}

/// Backgrounds that tell neighbouring terms apart, each with a foreground that is readable on it.
const TERM_COLOURS: [(Color, Color); 6] = [
    (Color::Cyan, Color::Black),
    (Color::Yellow, Color::Black),
    (Color::Blue, Color::White),
    (Color::Green, Color::Black),
    (Color::Magenta, Color::White),
    (Color::Gray, Color::Black),
];

impl Theme {
    /// Mono when `NO_COLOR` says so or the terminal is a dumb one.
    #[must_use]
    pub fn detect() -> Theme {
        let no_color = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|v| v == "dumb");
        if no_color || dumb { Theme::Mono } else { Theme::Colour }
    }

    pub(crate) fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        match (self, tone) {
            (_, Tone::Plain) => plain,
            // Laid over cells that have their own colours: a reversed rainbow is not a cursor.
            (_, Tone::Cursor) => plain.fg(Color::Reset).bg(Color::Reset).add_modifier(Modifier::REVERSED),
            (_, Tone::Title) => plain.add_modifier(Modifier::BOLD),
            (Theme::Colour, Tone::Dim) => plain.fg(Color::DarkGray),
            (Theme::Colour, Tone::Focus) => plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            (Theme::Colour, Tone::Good) => plain.fg(Color::Green),
            (Theme::Colour, Tone::Warn) => plain.fg(Color::Yellow),
            (Theme::Colour, Tone::Bad) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Theme::Colour, Tone::You) => plain.fg(Color::Magenta).add_modifier(Modifier::BOLD),
            (Theme::Colour, Tone::Key) => plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            (Theme::Colour, Tone::Term(term)) => {
                let (back, fore) = TERM_COLOURS[(term % 6) as usize];
                plain.bg(back).fg(fore)
            }
            (Theme::Mono, Tone::Dim | Tone::Good | Tone::Warn | Tone::Term(_)) => plain,
            (Theme::Mono, Tone::Focus | Tone::Key | Tone::You | Tone::Bad) => plain.add_modifier(Modifier::BOLD),
        }
    }
}

/// Marks beside the words. Those of [`UNICODE`] take one cell in terminals that do not use East Asian widths; the others
/// take one everywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glyphs {
    pub(crate) leader: &'static str,
    pub(crate) down: &'static str,
    pub(crate) cut: &'static str,
    pub(crate) live: &'static str,
    pub(crate) waiting: &'static str,
    pub(crate) cursor: &'static str,
    pub(crate) marked: &'static str,
    pub(crate) missing: &'static str,
    pub(crate) own: &'static str,
    pub(crate) good: &'static str,
    pub(crate) bad: &'static str,
    pub(crate) bar: &'static str,
    /// Nothing to eight eighths of a cell; the ASCII ones know only none and full.
    pub(crate) eighths: [&'static str; 9],
    pub(crate) border: border::Set<'static>,
}

pub(crate) const UNICODE: Glyphs = Glyphs {
    leader: "★",
    down: "✗",
    cut: "╳",
    live: "●",
    waiting: "○",
    cursor: "▶",
    marked: "■",
    missing: "·",
    own: "·",
    good: "✓",
    bad: "✗",
    bar: "│",
    eighths: ["░", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"],
    border: border::PLAIN,
};

pub(crate) const ASCII: Glyphs = Glyphs {
    leader: "*",
    down: "X",
    cut: "#",
    live: "*",
    waiting: "o",
    cursor: ">",
    marked: "+",
    missing: ".",
    own: ".",
    good: "ok",
    bad: "NO",
    bar: "|",
    eighths: [".", ".", ".", ".", "#", "#", "#", "#", "#"],
    border: border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    },
};

impl Glyphs {
    /// ASCII when asked for, or when the locale draws the marks two cells wide or not at all.
    pub(crate) fn choose(ascii: bool) -> Glyphs {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|k| env::var(k).ok().filter(|v| !v.is_empty()));
        if ascii || locale.is_some_and(|l| locale_needs_ascii(&l)) { ASCII } else { UNICODE }
    }
}

fn locale_needs_ascii(locale: &str) -> bool {
    let lower = locale.to_ascii_lowercase();
    let wide = ["zh", "ja", "ko"].iter().any(|l| lower.starts_with(l));
    let utf8 = lower.contains("utf-8") || lower.contains("utf8");
    wide || !(utf8 || lower == "c" || lower == "posix")
}

/// The look of one console.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skin {
    pub(crate) theme: Theme,
    pub(crate) glyphs: Glyphs,
}

impl Skin {
    pub(crate) fn style(&self, tone: Tone) -> Style {
        self.theme.style(tone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_about_marks() {
        for (locale, ascii) in
            [("en_US.UTF-8", false), ("C.utf8", false), ("C", false), ("ja_JP.UTF-8", true), ("de_DE.ISO-8859-1", true)]
        {
            assert_eq!(locale_needs_ascii(locale), ascii, "{locale}");
        }
    }

    #[test]
    fn mono_has_no_colours() {
        for tone in [Tone::Plain, Tone::Dim, Tone::Focus, Tone::Bad, Tone::You, Tone::Cursor, Tone::Term(7)] {
            let style = Theme::Mono.style(tone);
            let none = |c: Option<Color>| matches!(c, None | Some(Color::Reset));
            assert!(none(style.fg) && none(style.bg), "{tone:?}");
        }
    }
}
