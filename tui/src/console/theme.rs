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

/// Which colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// The terminal's own 16 colours, as they are readable on a dark ground.
    #[default]
    Dark,
    /// Darker ones, for a light ground.
    Light,
    /// Blue and orange instead of green and red; after Okabe and Ito.
    ColourBlind,
    /// No colours at all.
    Mono,
}

/// The colours of one theme; what is not here is the terminal's own.
struct Palette {
    dim: Color,
    focus: Color,
    good: Color,
    warn: Color,
    bad: Color,
    you: Color,
    /// Backgrounds that tell neighbouring terms apart, each with a foreground that is readable on it.
    terms: [(Color, Color); 6],
}

const DARK: Palette = Palette {
    dim: Color::DarkGray,
    focus: Color::Cyan,
    good: Color::Green,
    warn: Color::Yellow,
    bad: Color::Red,
    you: Color::Magenta,
    terms: [
        (Color::Cyan, Color::Black),
        (Color::Yellow, Color::Black),
        (Color::Blue, Color::White),
        (Color::Green, Color::Black),
        (Color::Magenta, Color::White),
        (Color::Gray, Color::Black),
    ],
};

const LIGHT: Palette = Palette {
    dim: Color::Indexed(243),
    focus: Color::Indexed(25),
    good: Color::Indexed(28),
    warn: Color::Indexed(130),
    bad: Color::Indexed(160),
    you: Color::Indexed(90),
    terms: [
        (Color::Indexed(153), Color::Black),
        (Color::Indexed(223), Color::Black),
        (Color::Indexed(25), Color::White),
        (Color::Indexed(157), Color::Black),
        (Color::Indexed(90), Color::White),
        (Color::Indexed(250), Color::Black),
    ],
};

const COLOUR_BLIND: Palette = Palette {
    dim: Color::Indexed(244),
    focus: Color::Indexed(74),
    good: Color::Indexed(39),
    warn: Color::Indexed(220),
    bad: Color::Indexed(208),
    you: Color::Indexed(175),
    terms: [
        (Color::Indexed(74), Color::Black),
        (Color::Indexed(227), Color::Black),
        (Color::Indexed(25), Color::White),
        (Color::Indexed(214), Color::Black),
        (Color::Indexed(175), Color::Black),
        (Color::Indexed(36), Color::Black),
    ],
};

/// Roles that the config file may colour, by the names it has for them.
pub(crate) const ROLES: [&str; 6] = ["dim", "focus", "good", "warn", "bad", "you"];

impl Theme {
    /// All of them, in the order in which a key goes through them.
    pub(crate) const ALL: [Theme; 4] = [Theme::Dark, Theme::Light, Theme::ColourBlind, Theme::Mono];

    /// As the command line and the config file call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Theme::Dark => "dark",
            Theme::Light => "light",
            Theme::ColourBlind => "colour-blind",
            Theme::Mono => "mono",
        }
    }

    /// The theme of this name.
    ///
    /// # Errors
    /// In words that name the value.
    pub fn parse(name: &str) -> Result<Theme, String> {
        let found = Theme::ALL.into_iter().find(|theme| theme.name() == name);
        found.ok_or_else(|| format!("{name:?} is no theme: dark, light, colour-blind, mono"))
    }

    /// Mono when `NO_COLOR` says so or the terminal is a dumb one.
    #[must_use]
    pub fn detect() -> Theme {
        let no_color = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|v| v == "dumb");
        if no_color || dumb { Theme::Mono } else { Theme::Dark }
    }

    fn palette(self) -> Option<&'static Palette> {
        match self {
            Theme::Dark => Some(&DARK),
            Theme::Light => Some(&LIGHT),
            Theme::ColourBlind => Some(&COLOUR_BLIND),
            Theme::Mono => None,
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
    /// A sender, and arrows with their shaft.
    pub(crate) shaft: &'static str,
    pub(crate) right: &'static str,
    pub(crate) left: &'static str,
    pub(crate) here: &'static str,
    pub(crate) paused: &'static str,
    pub(crate) rises: [&'static str; 8],
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
    shaft: "─",
    right: "▶",
    left: "◀",
    here: "▲",
    paused: "‖",
    rises: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
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
    shaft: "-",
    right: ">",
    left: "<",
    here: "^",
    paused: "||",
    rises: [".", ".", ":", ":", "|", "|", "#", "#"],
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
    /// Of the config file, in the order of [`ROLES`]; they have no say in the mono theme.
    pub(crate) own: [Option<Color>; ROLES.len()],
}

impl Skin {
    pub(crate) fn new(theme: Theme, glyphs: Glyphs) -> Skin {
        Skin { theme, glyphs, own: [None; ROLES.len()] }
    }

    pub(crate) fn style(&self, tone: Tone) -> Style {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let colours = self.theme.palette();
        let own = |at: usize, of: fn(&Palette) -> Color| colours.map(|palette| self.own[at].unwrap_or(of(palette)));
        let with = |style: Style, colour: Option<Color>| colour.map_or(style, |colour| style.fg(colour));
        match tone {
            Tone::Plain => plain,
            // Laid over cells that have their own colours: a reversed rainbow is not a cursor.
            Tone::Cursor => plain.fg(Color::Reset).bg(Color::Reset).add_modifier(Modifier::REVERSED),
            Tone::Title => bold,
            Tone::Dim => with(plain, own(0, |p| p.dim)),
            Tone::Focus | Tone::Key => with(bold, own(1, |p| p.focus)),
            Tone::Good => with(plain, own(2, |p| p.good)),
            Tone::Warn => with(plain, own(3, |p| p.warn)),
            Tone::Bad => with(bold, own(4, |p| p.bad)),
            Tone::You => with(bold, own(5, |p| p.you)),
            Tone::Term(term) => colours.map_or(plain, |palette| {
                let (back, fore) = palette.terms[(term % 6) as usize];
                plain.bg(back).fg(fore)
            }),
        }
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
    fn every_theme_has_a_name_and_only_those() {
        for theme in Theme::ALL {
            assert_eq!(Theme::parse(theme.name()), Ok(theme));
        }
        assert!(Theme::parse("darkish").unwrap_err().starts_with("\"darkish\" is no theme"));
    }

    #[test]
    fn neighbouring_terms_differ_in_every_theme() {
        for theme in [Theme::Dark, Theme::Light, Theme::ColourBlind] {
            let back = |term| Skin::new(theme, UNICODE).style(Tone::Term(term)).bg;
            for term in 0..12 {
                for next in 1..6 {
                    assert_ne!(back(term), back(term + next), "{theme:?} {term} {next}");
                }
            }
        }
    }

    #[test]
    fn mono_has_no_colours() {
        for tone in [Tone::Plain, Tone::Dim, Tone::Focus, Tone::Bad, Tone::You, Tone::Cursor, Tone::Term(7)] {
            let mut skin = Skin::new(Theme::Mono, UNICODE);
            skin.own = [Some(Color::Red); ROLES.len()];
            let style = skin.style(tone);
            let none = |c: Option<Color>| matches!(c, None | Some(Color::Reset));
            assert!(none(style.fg) && none(style.bg), "{tone:?}");
        }
    }
}
