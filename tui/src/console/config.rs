//! The config file: `$XDG_CONFIG_HOME/raftdeck/console.toml` (or `~/.config/..`), or the one that `--config` names.
//!
//! ```toml
//! theme = "light"        # dark, light, colour-blind, mono
//! ascii = true           # ASCII marks only
//! mouse = false          # the wheel scrolls
//! read_only = true       # no key changes the cluster
//! [keys]                 # names are those of `raftdeck keys`
//! kill = ["f9"]
//! submit = []            # none
//! [colors]               # dim, focus, good, warn, bad, you
//! warn = "#d78700"       # or a name, or a number of the 256
//! ```
//!
//! Law: a mistake costs one message that names its line; what is wrong is left out, all else holds, and the console opens.

use std::{
    env, fs, io,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use ratatui::style::Color;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

use super::{
    keymap::{Key, Keymap},
    theme::{ROLES, Theme},
};

/// Largest file that is read.
const BYTES_MAX: u64 = 64 << 10;

/// As the file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    theme: Option<Spanned<String>>,
    ascii: bool,
    mouse: bool,
    read_only: bool,
    keys: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
    colors: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// What the file says, as far as it is right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) theme: Option<Theme>,
    pub(crate) ascii: bool,
    pub(crate) mouse: bool,
    pub(crate) read_only: bool,
    pub(crate) keys: Keymap,
    pub(crate) colors: [Option<Color>; ROLES.len()],
    /// What is wrong with it, with file and line.
    pub(crate) mistakes: Vec<String>,
}

/// Where the file is unless it is named.
pub(crate) fn usual_place() -> Option<PathBuf> {
    let home = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = home("XDG_CONFIG_HOME").or_else(|| Some(home("HOME")?.join(".config")))?;
    Some(base.join("raftdeck").join("console.toml"))
}

/// Reads the file that was named, or the usual one if it is there.
pub(crate) fn read(named: Option<&Path>) -> Config {
    let Some(path) = named.map(Path::to_owned).or_else(usual_place) else { return Config::default() };
    match load(&path) {
        Ok(text) => parse(&text, &path.display().to_string()),
        Err(e) if named.is_none() && e.kind() == io::ErrorKind::NotFound => Config::default(),
        Err(e) => Config { mistakes: vec![format!("{}: {e}", path.display())], ..Config::default() },
    }
}

fn load(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > BYTES_MAX {
        return Err(io::Error::other(format!("larger than {BYTES_MAX} bytes")));
    }
    fs::read_to_string(path)
}

fn parse(text: &str, name: &str) -> Config {
    let line =
        |span: &Range<usize>| 1 + text.as_bytes()[..span.start.min(text.len())].iter().filter(|b| **b == b'\n').count();
    let mut config = Config::default();
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(e) => {
            let at = e.span().map_or(String::new(), |span| format!(":{}", line(&span)));
            config.mistakes.push(format!("{name}{at}: {}", e.message()));
            return config;
        }
    };
    let mut wrong = |span: Range<usize>, why: String| config.mistakes.push(format!("{name}:{}: {why}", line(&span)));
    if let Some(theme) = &file.theme {
        match Theme::parse(theme.get_ref()) {
            Ok(theme) => config.theme = Some(theme),
            Err(why) => wrong(theme.span(), why),
        }
    }
    (config.ascii, config.mouse, config.read_only) = (file.ascii, file.mouse, file.read_only);
    // First all rows lose their keys, then each gets its own: so two rows can swap theirs.
    let known: Vec<_> = file.keys.iter().filter(|(name, _)| config.keys.named(name.get_ref()).is_some()).collect();
    for (name, _) in &known {
        let _ = config.keys.set(name.get_ref(), Vec::new());
    }
    for (action, keys) in &file.keys {
        let parsed: Result<Vec<Key>, (Range<usize>, String)> =
            keys.iter().map(|key| Key::parse(key.get_ref()).map_err(|why| (key.span(), why))).collect();
        let set = parsed.and_then(|keys| config.keys.set(action.get_ref(), keys).map_err(|why| (action.span(), why)));
        if let Err((span, why)) = set {
            wrong(span, why);
            config.keys.reset(action.get_ref());
        }
    }
    for (role, colour) in &file.colors {
        match (ROLES.iter().position(|r| r == role.get_ref()), Color::from_str(colour.get_ref())) {
            (None, _) => wrong(role.span(), format!("{:?} is no role: {}", role.get_ref(), ROLES.join(", "))),
            (Some(_), Err(_)) => wrong(colour.span(), format!("{:?} is no colour", colour.get_ref())),
            (Some(at), Ok(colour)) => config.colors[at] = Some(colour),
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_holds_and_each_mistake_has_its_line() {
        let text = "theme = \"darkish\"\nascii = true\n[keys]\nkill = [\"f9\"]\nheal = [\"q\"]\nfly = [\"f\"]\nsort = [\"hyper-o\"]\n\
                    [colors]\nwarn = \"#d78700\"\nbad = \"rot\"\nsky = \"blue\"\n";
        let config = parse(text, "c.toml");
        assert_eq!((config.theme, config.ascii), (None, true));
        assert_eq!(config.keys.named("kill").unwrap().label(), "f9");
        assert_eq!(config.keys.named("heal").unwrap().label(), "H", "a wrong key leaves the old one");
        assert_eq!(config.colors[3], Some(Color::Rgb(0xd7, 0x87, 0x00)));
        let mut lines: Vec<&str> = config.mistakes.iter().map(|m| m.split(": ").next().unwrap()).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["c.toml:1", "c.toml:10", "c.toml:11", "c.toml:5", "c.toml:6", "c.toml:7"]);
    }

    #[test]
    fn keys_can_be_swapped() {
        let config = parse("[keys]\ncut = [\"r\"]\nrestart = [\"x\"]\n", "c.toml");
        assert!(config.mistakes.is_empty(), "{:?}", config.mistakes);
        assert_eq!(config.keys.named("cut").unwrap().label(), "r");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        for (text, said) in [
            ("theme = \n", "c.toml:1: "),
            ("thme = \"dark\"\n", "c.toml:1: unknown field `thme`"),
            ("ascii = 1\n", "c.toml:1: invalid type"),
        ] {
            let config = parse(text, "c.toml");
            assert!(config.mistakes[0].starts_with(said), "{:?}", config.mistakes);
        }
        assert!(read(Some(Path::new("/nowhere/c.toml"))).mistakes[0].starts_with("/nowhere/c.toml: "));
    }
}
