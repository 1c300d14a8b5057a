//! `:` and `?`: every action by name, found by a few letters; and the few commands that take a word.
//!
//! Both are the same list. `?` shows the keys, with the marks below; typing narrows either, Enter runs what is chosen. A
//! text with a space in it is a command in the words of the command line: `kill n3`, `job 17`, `at 12:04:21`.
//!
//! Law: Enter runs what was named (in full, or by its beginning) or what was gone to with the arrows. A row that only has
//! the letters of a word that is no command is shown, and not run: it may be one that changes the cluster.

use crossterm::event::{KeyCode, KeyEvent};

use super::{
    browse, deed,
    field::Field,
    fuzzy,
    hands::Upkeep,
    keymap::Row,
    keys::{Action, Way},
    model::{Dialog, Model, Source, View},
    msg::{Cmd, Slot},
    order::Order,
    past,
    run::{Goal, Stop},
    theme::{Theme, Tone},
    update,
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Palette {
    pub(crate) field: Field,
    pub(crate) at: usize,
    /// A row was gone to, since the text was changed last.
    gone_to: bool,
    /// Opened by `?`: with the marks.
    pub(crate) help: bool,
}

/// Commands with a word behind them, as the command line has them, and what the word is.
pub(crate) const WITH_WORD: [(&str, &str); 22] = [
    ("kill", "NODE"),
    ("cut", "NODE,.. or NODE,.. / NODE,.. [--one-way] [--for 30s]"),
    ("link", "NODE NODE --delay 50ms --loss 10%"),
    ("disk", "NODE --stall 200ms"),
    ("pause-node", "NODE"),
    ("clock", "NODE --offset 5s"),
    ("heal", "NODE or NODE:NUMBER"),
    ("transfer", "NODE"),
    ("add", "NODE"),
    ("remove", "NODE"),
    ("restart", "NODE"),
    ("retry", "ID..: try these jobs again"),
    ("pause", "QUEUE: nobody is given a job of it"),
    ("resume", "QUEUE: its jobs are given out again"),
    ("node", "NODE: the cursor to it"),
    ("log", "NODE: its log"),
    ("job", "ID: that job"),
    ("at", "HH:MM:SS[.mmm]: to that time, UTC; in a simulation since its start"),
    ("until", "election, leader, commit, fault, violation, event, end, or 12.5s: on to there"),
    ("sort", "listed, name, role, term, last, lag, fault"),
    ("theme", "dark, light, colour-blind, mono"),
    ("filter", "WORDS"),
];

/// The rows that fit what is typed, best first; in the order of the table while nothing is. Those that cannot be used now
/// are left out.
pub(crate) fn rows<'a>(model: &'a Model, palette: &Palette) -> Vec<&'a Row> {
    let typed = palette.field.text();
    let usable = model.keys.rows().filter(|row| !(row.binding.danger && model.read_only));
    let mut found: Vec<(i32, &Row)> = usable
        .filter_map(|row| {
            let by_name = fuzzy::score(&typed, row.binding.name).map(|score| score + 1000);
            by_name.or_else(|| fuzzy::score(&typed, row.binding.help)).map(|score| (score, row))
        })
        .collect();
    if !typed.trim().is_empty() {
        found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    }
    found.into_iter().map(|(_, row)| row).collect()
}

impl Palette {
    /// As `?` opens it.
    pub(crate) fn help() -> Palette {
        Palette { help: true, ..Palette::default() }
    }

    fn go(&mut self, to: usize) {
        (self.at, self.gone_to) = (to, true);
    }
}

/// The row that stands out: what Enter would run, and nothing else.
pub(crate) fn highlighted(model: &Model, palette: &Palette) -> Option<usize> {
    let row = meant(model, palette).ok().flatten()?;
    rows(model, palette).iter().position(|shown| shown.binding.name == row.binding.name)
}

/// The name that is completed to: of the best row, else of a command that wants a word.
fn best(model: &Model, palette: &Palette) -> Option<&'static str> {
    let typed = palette.field.text().trim().to_lowercase();
    let with_word = || WITH_WORD.into_iter().map(|(name, _)| name).find(|name| name.starts_with(&typed));
    let rows = rows(model, palette);
    let row = rows.get(palette.at).map(|row| row.binding.name);
    let begins = row.filter(|name| palette.gone_to || name.starts_with(&typed));
    begins.or_else(with_word).or(row)
}

/// What Enter means: the row that was gone to, the one that is named in full, or one that begins so, if it is the only one
/// or the chosen one. Nothing typed means nothing.
///
/// # Errors
/// What is typed is no command, or not all of one.
fn meant<'a>(model: &'a Model, palette: &Palette) -> Result<Option<&'a Row>, String> {
    let typed = palette.field.text().trim().to_lowercase();
    let chosen = rows(model, palette).get(palette.at).copied();
    if palette.gone_to {
        return Ok(chosen);
    }
    if typed.is_empty() {
        return Ok(None);
    }
    let name = if typed == "exit" { "quit" } else { &typed };
    if let Some(row) = model.keys.named(name) {
        return Ok(Some(row));
    }
    if let Some((name, word)) = WITH_WORD.into_iter().find(|(with, _)| *with == name) {
        return Err(format!("{name} wants a word: {word}"));
    }
    let begins = |row: &&Row| row.binding.name.starts_with(name);
    let (mut so, unknown) = (model.keys.rows().filter(begins), || format!("no such command: {typed}"));
    let only = so.next().filter(|_| so.next().is_none());
    chosen.filter(begins).or(only).ok_or_else(unknown).map(Some)
}

/// Gives a key to the list.
pub(crate) fn key(model: &mut Model, mut palette: Palette, key: &KeyEvent) -> Vec<Cmd> {
    match key.code {
        KeyCode::Enter => {
            let typed = palette.field.text();
            return match typed.trim().split_once(' ') {
                Some((name, word)) => command(model, name, word.trim()),
                None => match meant(model, &palette) {
                    Ok(Some(row)) => {
                        let binding = row.binding;
                        update::here(model, binding)
                    }
                    Ok(None) => Vec::new(),
                    Err(why) => {
                        model.say(Tone::Warn, why);
                        Vec::new()
                    }
                },
            };
        }
        KeyCode::Up => palette.go(highlighted(model, &palette).map_or(0, |at| at.saturating_sub(1))),
        // The first step goes to the first row, if none stands out yet.
        KeyCode::Down => palette.go(highlighted(model, &palette).map_or(0, |at| at + 1)),
        KeyCode::PageUp => palette.go(palette.at.saturating_sub(10)),
        KeyCode::PageDown => palette.go(palette.at + 10),
        KeyCode::Tab => {
            if let Some(name) = best(model, &palette) {
                palette.field = Field::new(&format!("{name} "));
                (palette.at, palette.gone_to) = (0, false);
            }
        }
        _ => {
            if palette.field.key(key) {
                (palette.at, palette.gone_to) = (0, false);
            }
        }
    }
    palette.at = palette.at.min(rows(model, &palette).len().saturating_sub(1));
    model.dialog = Some(Dialog::Palette(palette));
    Vec::new()
}

/// Runs a command with its word.
fn command(model: &mut Model, name: &str, word: &str) -> Vec<Cmd> {
    // `pause` alone is a pause of the screen; with a word it is that of a queue.
    let danger = deed::knows(name) || model.keys.named(name).is_some_and(|row| row.binding.danger);
    if danger && model.read_only {
        model.say(Tone::Warn, format!("read-only: {name} is off"));
        return Vec::new();
    }
    match run(model, name, word) {
        Ok(cmds) => cmds,
        Err(why) => {
            model.say(Tone::Warn, why);
            Vec::new()
        }
    }
}

fn run(model: &mut Model, name: &str, word: &str) -> Result<Vec<Cmd>, String> {
    match name {
        "kill" => {
            model.cursor = node(model, word)?.0;
            Ok(update::act(model, Action::Kill))
        }
        "restart" => {
            model.cursor = node(model, word)?.0;
            Ok(update::act(model, Action::Upkeep(Upkeep::Restart)))
        }
        "node" => {
            model.cursor = node(model, word)?.0;
            Ok(Vec::new())
        }
        "log" => {
            model.cursor = node(model, word)?.0;
            Ok(browse::go(model, View::Log))
        }
        "job" => match word.parse() {
            Ok(id) => Ok(browse::job(model, id)),
            Err(_) => Err(format!("{word:?} is no id of a job")),
        },
        "cut" if !word.contains('/') && !word.contains("--") => {
            let names = word.split([',', ' ']).filter(|n| !n.is_empty());
            model.marked = names.map(|name| node(model, name)).collect::<Result<_, _>>()?;
            Ok(update::act(model, Action::Cut))
        }
        "at" => {
            let of_day = of_day_ms(word).ok_or_else(|| format!("{word:?} is no time: write 12:04:21 or 12:04:21.4"))?;
            if matches!(model.source, Source::Simulation(_)) {
                past::hold(model);
                past::to(model, of_day);
                return Ok(Vec::new());
            }
            let at = model.film.run_ms_of_day(of_day);
            past::to(model, at.ok_or_else(|| format!("{word} is not in what is kept here: {}", update::kept(model)))?);
            Ok(Vec::new())
        }
        "until" => until(model, word).map(|()| Vec::new()),
        "sort" if model.view != View::Cluster => Err("the order of this list is changed by o and O".into()),
        "sort" => Order::named(word).map(|order| {
            model.order = order;
            Vec::new()
        }),
        "theme" => Theme::parse(word).map(|theme| {
            model.skin.theme = theme;
            vec![Cmd::Repaint]
        }),
        "filter" => update::set_filter(model, word).map(|()| Vec::new()),
        _ if deed::knows(name) => {
            if must_be_live(model, name) {
                return Ok(Vec::new());
            }
            let words = std::iter::once(name).chain(word.split_whitespace());
            deed::say(model, words.map(str::to_owned).collect())
        }
        _ => Err(format!("{name:?} takes no word; those that do: {}", WITH_WORD.map(|(name, _)| name).join(", "))),
    }
}

/// On to the next of what is named; a simulation runs until there is one.
fn until(model: &mut Model, word: &str) -> Result<(), String> {
    if let Some(stop) = Stop::NAMED.into_iter().find(|stop| stop.name() == word) {
        past::jump(model, Way::On, stop);
        return Ok(());
    }
    let end = word == "end";
    let Source::Simulation(run) = &mut model.source else {
        let known = Stop::NAMED.map(Stop::name).join(", ");
        return Err(format!("{word:?} is nothing to go on to: there is {known}"));
    };
    if end {
        run.go_on(Goal::End);
        return Ok(());
    }
    let seconds: Option<f64> = word.strip_suffix('s').unwrap_or(word).parse().ok();
    let ms = seconds.filter(|s| (0.0..1e7).contains(s)).map(|s| (s * 1000.0).round() as u64);
    let known =
        || format!("{word:?} is nothing to go on to: there is {}, end, 12.5s", Stop::NAMED.map(Stop::name).join(", "));
    let ms = ms.ok_or_else(known)?;
    past::hold(model);
    past::to(model, ms);
    Ok(())
}

fn node(model: &Model, word: &str) -> Result<Slot, String> {
    let known = || model.live.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(" ");
    model.live.called(word).ok_or_else(|| format!("no node {word:?}: there is {}", known()))
}

/// `12:04:21.4` as milliseconds since midnight.
fn of_day_ms(text: &str) -> Option<u64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<u64> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = parts[..] else { return None };
    let digits = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    let ms = fraction.parse::<u64>().ok().filter(|_| digits)? * 10_u64.pow(3 - fraction.len() as u32);
    (hours < 24 && minutes < 60 && seconds < 60).then(|| ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms)
}

/// Asked by an act while the past is shown: it is the present that would be changed.
pub(crate) fn must_be_live(model: &mut Model, name: &str) -> bool {
    let why = match &model.source {
        Source::Recording => "this is a recording, nothing can be done to it",
        Source::Simulation(run) => run.of.hands_off(),
        Source::Cluster if model.past.is_some() => "you look at the past; L goes back to now, then again",
        Source::Cluster => return false,
    };
    let said = format!("{name}: {why}");
    model.say(Tone::Warn, said);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_read() {
        assert_eq!(of_day_ms("12:04:21.4"), Some(43_461_400));
        assert_eq!(of_day_ms("00:00:01"), Some(1000));
        for text in ["", "12", "24:00:00", "1:2:3.4567", "1:60:0", "a:b:c", "1:2:3."] {
            assert_eq!(of_day_ms(text), None, "{text:?}");
        }
    }
}
