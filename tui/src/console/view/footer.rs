//! The two last lines: what the console has to say, and the keys that work here and now.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{put, span};
use crate::console::{
    browse,
    filter::Filter,
    keymap::Row,
    keys::{Action, NODE, Place},
    model::{Dialog, Model, Source, View},
    text::{fit, width},
    theme::Tone,
};

/// Cells beside the views in which the beginning of a line still says something.
const SCRIPT_MIN: usize = 16;

/// The toast; without one, what is under way; without that, the views.
pub(super) fn toast(model: &Model, area: Rect, buf: &mut Buffer) {
    let (tone, text) = match (&model.toast, model.pending.values().next_back(), model.goal()) {
        (_, _, Some(goal)) => (Tone::You, format!("runs {} ...  {}", goal.words(), model.shown().script)),
        (Some(toast), _, None) => (toast.tone, toast.text.clone()),
        (None, Some(what), None) => (Tone::Dim, format!("{what} ...")),
        (None, None, None) => return views(model, area, buf),
    };
    put(buf, area, 0, &Line::from(span(&model.skin, tone, format!(" {text}"))));
}

fn views(model: &Model, area: Rect, buf: &mut Buffer) {
    let mut line = Vec::new();
    for view in View::ALL {
        let here = view == model.view || (view, model.view) == (View::Jobs, View::Job);
        let key = model.keys.named(view.name()).map(Row::label).unwrap_or_default();
        line.push(span(&model.skin, Tone::Key, format!(" {key}")));
        line.push(span(&model.skin, if here { Tone::Cursor } else { Tone::Dim }, format!(" {} ", view.name())));
    }
    let script = &model.shown().script;
    let used = Line::from(line.clone()).width();
    // The line of the scenario that is being carried out, where there is room for it.
    if !script.is_empty() && usize::from(area.width) > used + SCRIPT_MIN {
        let room = usize::from(area.width) - used - 4;
        line.push(span(&model.skin, Tone::You, format!("  > {}", fit(script, room, false).trim_end())));
    }
    put(buf, area, 0, &Line::from(line));
}

/// The keys. Where not all have room, the last three (command, help, quit) stay.
pub(super) fn keys(model: &Model, area: Rect, buf: &mut Buffer) {
    if let Some(Dialog::Filter(field)) = &model.dialog {
        let (before, after) = field.halves();
        let say = |tone, text: String| span(&model.skin, tone, text);
        let (tone, hint) = match Filter::new(&field.text(), browse::fields(model.view)) {
            Ok(_) => (Tone::Dim, "words !words node:n2 term>6   enter: keep   esc: none".into()),
            Err(why) => (Tone::Warn, why),
        };
        let line = vec![
            say(Tone::Key, " /".into()),
            Span::raw(before),
            say(Tone::Cursor, after.chars().next().map_or(" ".into(), String::from)),
            Span::raw(after.chars().skip(1).collect::<String>()),
            say(tone, format!("   {hint}")),
        ];
        put(buf, area, 0, &Line::from(line));
        return;
    }
    let usable = model.keys.rows().filter(|row| row.binding.when.holds(model.place()));
    let usable = usable.filter(|row| useful(row.binding.action, model.place()));
    let usable = usable.filter(|row| !row.keys.is_empty() && (!row.binding.danger || !model.read_only));
    let mut rows: Vec<(String, &str)> = match model.past {
        Some(_) => time(model),
        None => usable.filter_map(|row| Some((row.label(), row.binding.footer?))).collect(),
    };
    let wide = |rows: &[(String, &str)], gap: usize| -> usize {
        rows.iter().map(|(label, word)| width(label) + word.len() + 1 + gap).sum()
    };
    let marked = marked(model);
    let room = usize::from(area.width).saturating_sub(width(&marked));
    let gap = if wide(&rows, 2) <= room { 2 } else { 1 };
    while rows.len() > 3 && wide(&rows, gap) > room {
        rows.remove(rows.len() - 4);
    }
    let spans = rows.into_iter().flat_map(|(label, word)| {
        [Span::raw(" "), span(&model.skin, Tone::Key, label), Span::raw(format!(" {word}{}", " ".repeat(gap - 1)))]
    });
    let said = [span(&model.skin, Tone::You, marked)];
    put(buf, area, 0, &Line::from(said.into_iter().chain(spans).collect::<Vec<_>>()));
}

/// How many are marked for what is done next.
fn marked(model: &Model) -> String {
    let count = match model.view {
        View::Jobs | View::Job => model.browse.jobs_marked.len(),
        View::Cluster | View::Messages | View::Election | View::Queues | View::Log | View::Faults => model.marked.len(),
    };
    if count == 0 { String::new() } else { format!(" {count} marked ") }
}

/// Some keys work everywhere, and mean something in some views only.
fn useful(action: Action, place: Place) -> bool {
    let view = place.view;
    match action {
        Action::Mark => NODE.holds(place) || view == View::Jobs,
        Action::Open => !matches!(view, View::Election | View::Log | View::Job),
        Action::Filter => matches!(view, View::Cluster | View::Messages | View::Jobs | View::Log),
        _ => true,
    }
}

/// While the past is shown, the keys that move through it.
fn time(model: &Model) -> Vec<(String, &'static str)> {
    let label = |name: &str| model.keys.named(name).map(Row::label).unwrap_or_default();
    let two = |a: &str, b: &str| format!("{} {}", label(a), label(b));
    let play = if model.playing() { "pause" } else { "play" };
    let play = if model.goal().is_some() { "stop" } else { play };
    let end = match &model.source {
        Source::Cluster => "live",
        Source::Recording => "end",
        Source::Simulation(run) if run.ending().is_none() && model.shown().now.run_ms >= run.upto_ms() => "run on",
        Source::Simulation(_) => "newest",
    };
    vec![
        (label("pause"), play),
        (two("step-back", "step-on"), "100ms"),
        (two("event-back", "event-on"), "event"),
        (two("jump-back", "jump-on"), "fault"),
        (two("slower", "faster"), "speed"),
        (label("live"), end),
        (label("palette"), "command"),
        (label("help"), "help"),
        (label("quit"), "quit"),
    ]
}
