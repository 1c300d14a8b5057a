//! One message in, the model changed, commands out. No clock, no network, no terminal.

use std::{collections::BTreeSet, sync::Arc};

use crossterm::event::{KeyEvent, KeyEventKind};
use raftdeck_shared::ids::Index;

use super::{
    acts, browse, dialog,
    events::Reading,
    field::Field,
    filter::Filter,
    form,
    keymap::{self, Row},
    keys::{Action, Binding, NODE, Way, When},
    members,
    model::{Dialog, Model, Pane, Source, View},
    msg::{Body, Cmd, Msg, NodeMsg, Slot},
    palette::{self, Palette},
    past,
    picture::Picture,
    run::{self, Stop},
    text::span_ms,
    theme::{Theme, Tone},
    world::Fact,
    yank,
};

/// Lines of a page, and half the log entries of one.
const PAGE: isize = 10;

/// Takes one message.
pub(crate) fn update(model: &mut Model, msg: Msg) -> Vec<Cmd> {
    // Messages are stamped by their senders: one may overtake another by a hair, and time must not run back.
    model.now = if msg.at.run_ms >= model.now.run_ms { msg.at } else { model.now };
    if matches!(model.source, Source::Cluster) {
        model.live.pass(model.now);
    }
    if model.toast.as_ref().is_some_and(|t| t.until_run_ms <= model.now.run_ms) {
        model.toast = None;
    }
    if model.toast.is_none() && !model.to_say.is_empty() {
        let next = model.to_say.remove(0);
        model.say(Tone::Bad, next);
    }
    past::pass(model);
    match msg.body {
        // Nobody sees what they would be about.
        Body::Wheel(_) | Body::Paste(_) if model.is_cramped() => Vec::new(),
        Body::Key(event) => key(model, &event),
        Body::Wheel(by) if model.dialog.is_none() => {
            vertical(model, by);
            Vec::new()
        }
        Body::Paste(text) => {
            dialog::paste(model, &text);
            Vec::new()
        }
        Body::Tick => browse::ask(model),
        Body::Wheel(_) => Vec::new(),
        Body::Resize(columns, rows) => {
            model.resized(columns, rows);
            Vec::new()
        }
        Body::Jobs(Ok(page)) => {
            if model.live.jobs.as_ref() != Some(&page) {
                model.tell(Fact::Jobs(page));
            }
            Vec::new()
        }
        Body::Job(Ok(job)) => {
            if model.live.job.as_ref() != Some(&job) {
                model.tell(Fact::Job(job));
            }
            Vec::new()
        }
        Body::Jobs(Err(why)) | Body::Job(Err(why)) => {
            model.say(Tone::Bad, why);
            Vec::new()
        }
        Body::Log(slot, read) => {
            browse::read(model, slot, read);
            Vec::new()
        }
        Body::Node(slot, news) => node(model, slot, news),
        Body::Stretch(stretch) => {
            run::take(model, *stretch);
            Vec::new()
        }
        Body::Told(outcome) => {
            match outcome {
                Ok(text) => model.say(Tone::Good, text),
                Err(text) => model.say(Tone::Bad, text),
            }
            Vec::new()
        }
        Body::Done(act, outcome) => {
            let what = model.pending.remove(&act.0).unwrap_or_default();
            match outcome {
                Ok(text) => model.say(Tone::Good, format!("{what}: {text}")),
                Err(text) => {
                    model.tell(Fact::Own(Tone::Bad, format!("{what} failed: {text}")));
                    model.say(Tone::Bad, format!("{what} failed: {text}"));
                }
            }
            Vec::new()
        }
    }
}

/// News of a node, which may name members that nobody had told of.
fn node(model: &mut Model, slot: Slot, news: NodeMsg) -> Vec<Cmd> {
    if model.live.node(slot).is_none() {
        return Vec::new();
    }
    let status = match &news {
        NodeMsg::Snapshot(status) | NodeMsg::Status(status) => Some(Arc::clone(status)),
        NodeMsg::Connecting
        | NodeMsg::Observed(_)
        | NodeMsg::Dropped(_)
        | NodeMsg::Silent { .. }
        | NodeMsg::Heard
        | NodeMsg::Retrying { .. } => None,
    };
    model.tell(Fact::Node(slot, news));
    status.map_or_else(Vec::new, |status| members::learn(model, slot, &status))
}

fn key(model: &mut Model, event: &KeyEvent) -> Vec<Cmd> {
    if event.kind == KeyEventKind::Release {
        return Vec::new();
    }
    if let Some(action) = keymap::always(event) {
        return act(model, action);
    }
    if model.is_cramped() {
        let row = model.keys.find(event, model.place());
        return row.filter(|row| row.binding.action == Action::Quit).map_or_else(Vec::new, |_| vec![Cmd::Quit]);
    }
    if model.dialog.is_some() {
        return dialog::key(model, event);
    }
    let place = model.place();
    if let Some(row) = model.keys.find(event, place) {
        return act(model, row.binding.action);
    }
    // Of two that it stands for, the one that is nearer.
    let far = |row: &&Row| !row.binding.when.meets(When::In(place.view));
    if let Some(binding) = model.keys.of(event).min_by_key(far).map(|row| row.binding) {
        is_elsewhere(model, binding.name, binding.when);
    }
    Vec::new()
}

/// Does what was called by name, unless it is about a cursor that is not on the screen.
pub(crate) fn here(model: &mut Model, binding: &Binding) -> Vec<Cmd> {
    if matches!(binding.when, When::Cursor(_)) && !binding.when.holds(model.place()) {
        is_elsewhere(model, binding.name, binding.when);
        return Vec::new();
    }
    act(model, binding.action)
}

/// Says where that would work.
fn is_elsewhere(model: &mut Model, name: &str, when: When) {
    let said = model.keys.elsewhere(name, when, model.place());
    model.say(Tone::Warn, said);
}

/// Does what a key or a command stands for.
pub(crate) fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    let row = model.keys.rows().find(|row| row.binding.action == action);
    if let Some((label, binding)) = row.map(|row| (row.label(), row.binding)).filter(|(_, b)| b.danger) {
        if model.read_only {
            model.say(Tone::Warn, format!("read-only: {label} is off ({})", binding.help));
            return Vec::new();
        }
        if palette::must_be_live(model, binding.name) {
            return Vec::new();
        }
    }
    match action {
        Action::Quit => return vec![Cmd::Quit],
        Action::Suspend => return vec![Cmd::Suspend],
        Action::Repaint => return vec![Cmd::Repaint],
        Action::Dump => return vec![Cmd::Dump],
        Action::Record => return record(model),
        Action::Copy => return yank::copy(model),
        Action::Mouse => return mouse(model),
        Action::Heal => return acts::heal(model),
        Action::Upkeep(what) => return acts::upkeep(model, what),
        Action::Kill => acts::ask_kill(model),
        Action::Cut => acts::ask_cut(model),
        Action::Form(sheet) => form::open(model, sheet),
        Action::Remove => return acts::said_of_node(model, "remove"),
        Action::Transfer => return acts::said_of_node(model, "transfer"),
        Action::HealOne => return acts::heal_one(model),
        Action::Help => model.dialog = Some(Dialog::Palette(Palette::help())),
        Action::Palette => model.dialog = Some(Dialog::Palette(Palette::default())),
        Action::Filter => {
            let text = model.filters.get(&model.view).map_or("", |f| &f.text);
            model.dialog = Some(Dialog::Filter(Field::new(text)));
        }
        Action::CancelJobs => acts::ask_cancel(model),
        Action::RetryJobs => return acts::retry(model),
        Action::PauseQueue => return acts::pause(model),
        Action::Go(view) => return browse::go(model, view),
        Action::Open => return browse::open(model),
        Action::NextNode => return browse::next_node(model),
        Action::NextFound => browse::found(model, Way::On),
        Action::PreviousFound => browse::found(model, Way::Back),
        Action::Hide(group) => {
            if !model.browse.hidden.remove(&group) {
                model.browse.hidden.insert(group);
            }
        }
        Action::Mark if model.view == View::Jobs => browse::mark(model),
        Action::Mark if NODE.holds(model.place()) => mark(model),
        Action::Mark => is_elsewhere(model, "mark", NODE),
        Action::Back => back(model),
        Action::Up => vertical(model, -1),
        Action::Down => vertical(model, 1),
        Action::PageUp => page(model, -PAGE),
        Action::PageDown => page(model, PAGE),
        Action::Left => sideways(model, -1),
        Action::Right => sideways(model, 1),
        Action::Oldest => edge(model, false),
        Action::Newest => edge(model, true),
        Action::Every => {
            model.every = !model.every;
            model.reading = Reading::Follow;
        }
        Action::NextPane => turn(model, 1),
        Action::PreviousPane => turn(model, Pane::ALL.len() - 1),
        Action::Zoom => model.zoom = !model.zoom,
        Action::Sort if model.view == View::Jobs => model.browse.jobs_by = model.browse.jobs_by.next(),
        Action::Reverse if model.view == View::Jobs => model.browse.jobs_reversed = !model.browse.jobs_reversed,
        Action::Sort => {
            model.order = model.order.next();
            let by = model.order.by.name();
            model.say(Tone::Plain, format!("nodes by {by}"));
        }
        Action::Reverse => model.order.reversed = !model.order.reversed,
        Action::Pause => past::pause(model),
        Action::Live => past::end(model),
        Action::Step(way) => past::step(model, way),
        Action::Event(way) => past::jump(model, way, if model.every { Stop::Observation } else { Stop::Event }),
        Action::Jump(way) => past::jump(model, way, Stop::Turn),
        Action::Slower => past::speed(model, Way::Back),
        Action::Faster => past::speed(model, Way::On),
        Action::Theme => {
            let at = Theme::ALL.iter().position(|theme| *theme == model.skin.theme).unwrap_or_default();
            model.skin.theme = Theme::ALL[(at + 1) % Theme::ALL.len()];
            model.say(Tone::Plain, format!("theme {}", model.skin.theme.name()));
        }
    }
    Vec::new()
}

fn record(model: &mut Model) -> Vec<Cmd> {
    if matches!(model.source, Source::Recording) {
        model.say(Tone::Warn, "this is a recording already");
        return Vec::new();
    }
    let on = model.recording.is_none();
    if !on {
        model.recording = None;
    }
    vec![Cmd::Record(on)]
}

fn mouse(model: &mut Model) -> Vec<Cmd> {
    model.mouse = !model.mouse;
    let said =
        if model.mouse { "the wheel scrolls; hold shift to select text" } else { "the mouse is the terminal's again" };
    model.say(Tone::Plain, said);
    vec![Cmd::Mouse(model.mouse)]
}

/// How far back it goes, in words.
pub(crate) fn kept(model: &Model) -> String {
    match model.film.span() {
        Some((first, last)) => {
            let clock = |t: super::msg::Time| super::text::clock(t.unix_ms);
            format!("{} to {} ({})", clock(first), clock(last), span_ms(last.run_ms - first.run_ms.min(last.run_ms)))
        }
        None => "nothing yet".into(),
    }
}

/// Gives the view a filter; an empty one takes it away.
///
/// # Errors
/// It is none, in one line; the one before stays in force.
pub(crate) fn set_filter(model: &mut Model, text: &str) -> Result<(), String> {
    let filter = Filter::new(text, browse::fields(model.view))?;
    model.filters.insert(model.view, filter);
    model.reading = Reading::Follow;
    Ok(())
}

fn mark(model: &mut Model) {
    let slot = Slot(model.cursor);
    if !model.marked.remove(&slot) && model.shown().node(slot).is_some() {
        model.marked.insert(slot);
    }
}

fn back(model: &mut Model) {
    model.marked = BTreeSet::new();
    model.zoom = false;
    model.toast = None;
    model.reading = Reading::Follow;
    model.log_held = None;
    model.filters.remove(&model.view);
    browse::back(model);
}

fn turn(model: &mut Model, by: usize) {
    let at = Pane::ALL.iter().position(|p| *p == model.focus).unwrap_or_default();
    model.focus = Pane::ALL[(at + by) % Pane::ALL.len()];
}

fn vertical(model: &mut Model, by: isize) {
    if model.view != View::Cluster {
        browse::vertical(model, by);
        return;
    }
    match model.focus {
        Pane::Events => scroll(model, by),
        Pane::Nodes | Pane::Logs | Pane::Links => {
            let rows = model.order.of(model.shown(), &Picture::of(model.shown()));
            let at = rows.iter().position(|slot| slot.0 == model.cursor).unwrap_or_default();
            let to = at.saturating_add_signed(by).min(rows.len().saturating_sub(1));
            model.cursor = rows.get(to).map_or(0, |slot| slot.0);
        }
    }
}

fn scroll(model: &mut Model, by: isize) {
    let lines = model.shown().wanted(model.every, model.filter());
    model.reading = model.reading.scrolled(&lines, by);
}

fn page(model: &mut Model, by: isize) {
    match model.focus {
        Pane::Logs if model.view == View::Cluster => horizontal(model, 2 * by as i64),
        Pane::Nodes | Pane::Logs | Pane::Links | Pane::Events => vertical(model, by),
    }
}

/// Left and right: through the log; elsewhere through time, once it is paused.
fn sideways(model: &mut Model, by: i64) {
    if model.past.is_some() && (model.view, model.focus) != (View::Cluster, Pane::Logs) {
        past::step(model, if by < 0 { Way::Back } else { Way::On });
    } else if model.view == View::Cluster {
        horizontal(model, by);
    }
}

fn edge(model: &mut Model, newest: bool) {
    if model.view != View::Cluster {
        browse::edge(model, newest);
        return;
    }
    match (model.focus, newest) {
        (Pane::Events, true) => model.reading = Reading::Follow,
        (Pane::Events, false) => scroll(model, isize::MIN),
        (Pane::Logs, true) => model.log_held = None,
        (Pane::Logs, false) => horizontal(model, i64::MIN),
        (Pane::Nodes | Pane::Links, true) => vertical(model, isize::MAX),
        (Pane::Nodes | Pane::Links, false) => vertical(model, isize::MIN),
    }
}

/// Moves the newest index shown. At the newest there is, the log is followed again.
fn horizontal(model: &mut Model, by: i64) {
    let (first, last) = (model.shown().first_index().0, model.shown().last_index().0);
    let from = model.log_held.map_or(last, |held| held.0);
    let to = from.saturating_add_signed(by).max(first.min(last));
    model.log_held = (to < last).then_some(Index(to));
}
