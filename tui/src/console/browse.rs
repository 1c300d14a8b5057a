//! Moving in the views that are lists, and what Enter means in each.
//!
//! A list that grows at its end follows the newest until somebody moves up; then it stays where it is, and what comes later
//! is counted. `G` follows again.

use std::collections::{BTreeMap, BTreeSet};

use raftdeck_shared::ids::NodeId;

use super::{
    chore,
    events::{self, Stamp},
    filter::{Fields, Takes},
    jobs,
    keys::{Hidden, Way},
    lost::{Lost, What},
    model::{Model, View},
    msg::{Cmd, NEVER, Slot, Time},
    past,
    picture::Picture,
    status::{FaultKind, Queue},
    theme::Tone,
    trace::Row,
    world::World,
};

/// How often what is looked at is asked for again.
const ASK_EVERY_MS: u64 = 1_000;

/// How the lists are looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Browse {
    /// Row of a view, counted from its top; of the elections and incidents from the newest.
    rows: BTreeMap<View, usize>,
    /// Of the lanes: the row that is held; none follows.
    pub(crate) message: Option<Stamp>,
    pub(crate) hidden: BTreeSet<Hidden>,
    pub(crate) jobs_by: jobs::By,
    pub(crate) jobs_reversed: bool,
    pub(crate) jobs_marked: BTreeSet<u64>,
    /// The job that is shown whole.
    pub(crate) job: u64,
    pub(crate) log: LogText,
    asked_run_ms: Option<u64>,
}

/// The end of a node's log file, as it was read last.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogText {
    pub(crate) of: Option<Slot>,
    pub(crate) lines: Vec<String>,
    /// Why there is none.
    pub(crate) why: String,
    /// The last line shown; none follows. While it is held nothing is read.
    pub(crate) held: Option<usize>,
}

impl Browse {
    pub(crate) fn row(&self, view: View) -> usize {
        self.rows.get(&view).copied().unwrap_or_default()
    }
}

/// What a filter may ask of a message.
const MESSAGE_FIELDS: Fields =
    &[("node", Takes::Text), ("term", Takes::Number), ("kind", Takes::Kind), ("index", Takes::Number)];

/// What a filter may ask of the rows of a view. A line of a log has nothing but its text.
pub(crate) fn fields(view: View) -> Fields {
    match view {
        View::Cluster => events::FIELDS,
        View::Messages => MESSAGE_FIELDS,
        View::Jobs => jobs::FIELDS,
        View::Election | View::Queues | View::Log | View::Faults | View::Job => &[],
    }
}

/// The rows of the lanes as they are wanted now.
pub(crate) fn messages(model: &Model) -> Vec<Row<'_>> {
    let world = model.shown();
    let hidden = &model.browse.hidden;
    let lost = world.losses.rows().filter(|lost| !hidden.contains(&lost.group())).map(|lost| Row::Lost(lost));
    let mut rows: Vec<Row<'_>> = world.trace.rows(hidden).into_iter().map(Row::Heard).chain(lost).collect();
    rows.sort_by_key(|row| row.stamp());
    if let Some(filter) = model.filter() {
        let name = |id| world.name(id);
        rows.retain(|row| match row {
            Row::Heard(o) => filter.wants(&super::story::words(o, &name), |field| match field {
                "node" => Some(world.name(NodeId(o.node))),
                "term" => Some(o.term.to_string()),
                "kind" => Some(o.kind().as_str_name().to_owned()),
                "index" => Some(o.index.to_string()),
                _ => None,
            }),
            Row::Lost(lost) => filter.wants(&lost.sentence(&name), |field| match field {
                "node" => Some(world.name(lost.from)),
                "kind" => Some("lost".to_owned()),
                _ => None,
            }),
        });
    }
    rows
}

/// The queues, as the leader tells of them.
pub(crate) fn queues(model: &Model) -> Vec<Queue> {
    let world = model.shown();
    let leader = Picture::of(world).leader.and_then(|slot| world.node(slot)?.word());
    let best = leader.or_else(|| world.nodes.iter().filter_map(|n| n.word()).max_by_key(|s| s.applied));
    best.map(|s| s.queues.clone()).unwrap_or_default()
}

/// A fault in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) what: String,
    pub(crate) left_ms: u64,
    /// `NODE:NUMBER`, as the command line calls it: of both ends, if a link is cut at both.
    pub(crate) ids: Vec<String>,
}

/// The faults in force. A link that is cut at both ends is told once.
pub(crate) fn faults(world: &World) -> Vec<InForce> {
    let mut links: BTreeMap<(NodeId, NodeId), usize> = BTreeMap::new();
    let mut told: Vec<InForce> = Vec::new();
    for node in world.nodes.iter().filter(|n| n.live()) {
        let Some((status, at)) = &node.status else { continue };
        for fault in &status.faults {
            let left_ms = match fault.left_ms {
                NEVER => NEVER,
                left_ms => left_ms.saturating_sub(world.now.run_ms.saturating_sub(at.run_ms)),
            };
            let id = format!("{}:{}", node.name, fault.id);
            let what = match &fault.kind {
                FaultKind::Cut(peer) => {
                    let link = (status.id.min(*peer), status.id.max(*peer));
                    if let Some(there) = links.get(&link) {
                        told[*there].ids.push(id);
                        continue;
                    }
                    links.insert(link, told.len());
                    format!("link {} - {} is cut", node.name, world.name(*peer))
                }
                FaultKind::Kill => format!("{} is being killed", node.name),
                FaultKind::Other { peer, words, effect } => {
                    let towards = peer.map(|peer| format!(" -> {}", world.name(peer))).unwrap_or_default();
                    let effect = if effect.is_empty() { String::new() } else { format!(" ({effect})") };
                    format!("{}{towards}: {words}{effect}", node.name)
                }
            };
            told.push(InForce { what, left_ms, ids: vec![id] });
        }
    }
    told
}

/// The jobs that are listed now.
pub(crate) fn jobs(model: &Model) -> Vec<&jobs::Job> {
    let browse = &model.browse;
    let page = model.shown().jobs.as_deref();
    page.map(|page| jobs::listed(page, model.filter(), browse.jobs_by, browse.jobs_reversed)).unwrap_or_default()
}

/// The job on which the cursor is drawn: the last one, where the list has become shorter than it was.
pub(crate) fn job_under_cursor(model: &Model) -> Option<&jobs::Job> {
    let jobs = jobs(model);
    let at = model.browse.row(View::Jobs).min(jobs.len().checked_sub(1)?);
    jobs.get(at).copied()
}

/// Moves up or down by rows.
pub(crate) fn vertical(model: &mut Model, by: isize) {
    let view = model.view;
    let count = match view {
        View::Cluster => return,
        View::Messages => return message(model, by),
        View::Log => return log(model, by),
        View::Election => model.shown().votes.elections().len(),
        View::Jobs => jobs(model).len(),
        View::Queues => queues(model).len(),
        View::Faults => faults(model.shown()).len() + model.shown().outages.newest().count(),
        View::Job => 4 + model.shown().job.as_ref().map_or(0, |job| job.history.len()),
    };
    let last = count.saturating_sub(1);
    let row = model.browse.row(view).min(last).saturating_add_signed(by).min(last);
    model.browse.rows.insert(view, row);
}

fn message(model: &mut Model, by: isize) {
    let rows = messages(model);
    let Some(last) = rows.len().checked_sub(1) else { return };
    let at = match model.browse.message {
        None => last,
        Some(held) => rows.partition_point(|row| row.stamp() <= held).saturating_sub(1),
    };
    let to = at.saturating_add_signed(by).min(last);
    let held = (to < last || by < 0).then(|| rows[to].stamp());
    model.browse.message = held;
}

fn log(model: &mut Model, by: isize) {
    let Some(last) = model.browse.log.lines.len().checked_sub(1) else { return };
    let to = model.browse.log.held.unwrap_or(last).saturating_add_signed(by).min(last);
    model.browse.log.held = (to < last).then_some(to);
}

/// To the next line of the log that has what is searched for.
pub(crate) fn found(model: &mut Model, way: Way) {
    let Some(filter) = model.filter().cloned() else {
        model.say(Tone::Warn, "nothing is searched for: / asks");
        return;
    };
    let log = &model.browse.log;
    let hits = |at: &usize| filter.wants(&log.lines[*at], |_| None);
    let at = log.held.unwrap_or(log.lines.len().saturating_sub(1));
    let next = match way {
        Way::Back => (0..at.min(log.lines.len())).rev().find(hits),
        Way::On => (at + 1..log.lines.len()).find(hits),
    };
    match next {
        Some(at) => model.browse.log.held = Some(at),
        None => model.say(Tone::Warn, format!("{:?} is not found in this direction", filter.text)),
    }
}

/// What is under the cursor.
pub(crate) fn open(model: &mut Model) -> Vec<Cmd> {
    match model.view {
        View::Cluster => return go(model, View::Log),
        View::Messages => {
            let rows = messages(model);
            let chosen = match model.browse.message {
                Some(held) => rows.iter().rev().find(|row| row.stamp() <= held),
                None => rows.last(),
            };
            let cause = chosen.and_then(|row| match row {
                Row::Heard(o) => model.shown().trace.cause(o),
                Row::Lost(Lost { what: What::Request { asked, .. }, .. }) => Some(asked),
                Row::Lost(_) => None,
            });
            match cause.map(|cause| Stamp::of(cause)) {
                Some(cause) => {
                    model.browse.hidden.clear();
                    model.browse.message = Some(cause);
                }
                None => model.say(Tone::Warn, "its cause was not observed, or it had none"),
            }
        }
        View::Jobs => {
            let id = job_under_cursor(model).map(|job| job.id);
            if let Some(id) = id {
                return job(model, id);
            }
        }
        View::Queues => {
            if let Some(queue) = chore::queue_under_cursor(model) {
                let cmds = go(model, View::Jobs);
                if let Err(why) = super::update::set_filter(model, &format!("queue:{}", queue.name)) {
                    model.say(Tone::Warn, why);
                }
                return cmds;
            }
        }
        View::Faults => {
            let row = model.browse.row(View::Faults).checked_sub(faults(model.shown()).len());
            let at = row.and_then(|row| model.shown().outages.newest().nth(row)).map(|i| i.at_ms);
            let end = model.film.span().map(|(_, last)| last);
            if let (Some(at_ms), Some(Time { run_ms, unix_ms })) = (at, end) {
                past::to(model, run_ms.saturating_sub(unix_ms.saturating_sub(at_ms)));
                model.view = View::Cluster;
            }
        }
        View::Election | View::Job | View::Log => {}
    }
    Vec::new()
}

/// Opens one job.
pub(crate) fn job(model: &mut Model, id: u64) -> Vec<Cmd> {
    model.browse.job = id;
    model.browse.rows.insert(View::Job, 0);
    go(model, View::Job)
}

/// Fills the screen with a view, and asks for what it shows.
pub(crate) fn go(model: &mut Model, view: View) -> Vec<Cmd> {
    let of_jobs = |view| matches!(view, View::Jobs | View::Job);
    if view != model.view {
        model.marked.clear();
    }
    if !of_jobs(view) {
        model.browse.jobs_marked.clear();
    }
    model.view = view;
    model.zoom = false;
    if view == View::Log && model.browse.log.of != Some(Slot(model.cursor)) {
        model.browse.log = LogText { of: Some(Slot(model.cursor)), ..LogText::default() };
    }
    model.browse.asked_run_ms = None;
    ask(model)
}

/// True while the view shows what has to be asked for.
pub(crate) fn asks(model: &Model) -> bool {
    model.past.is_none() && matches!(model.view, View::Jobs | View::Job | View::Log)
}

/// Asks again, if it is time.
pub(crate) fn ask(model: &mut Model) -> Vec<Cmd> {
    let now = model.now.run_ms;
    let soon = model.browse.asked_run_ms.is_some_and(|at| now.saturating_sub(at) < ASK_EVERY_MS);
    if soon || !asks(model) {
        return Vec::new();
    }
    model.browse.asked_run_ms = Some(now);
    match model.view {
        View::Jobs => vec![Cmd::List],
        View::Job => vec![Cmd::Get(model.browse.job)],
        View::Log if model.browse.log.held.is_none() => {
            let slot = Slot(model.cursor);
            match model.live.node(slot).and_then(|n| n.id) {
                Some(id) => vec![Cmd::ReadLog { slot, id }],
                None => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

/// A log was read.
pub(crate) fn read(model: &mut Model, slot: Slot, read: Result<Vec<String>, String>) {
    if model.browse.log.of != Some(slot) || model.browse.log.held.is_some() {
        return;
    }
    (model.browse.log.lines, model.browse.log.why) = match read {
        Ok(lines) => (lines, String::new()),
        Err(why) => (Vec::new(), why),
    };
}

/// To the first row, or the last.
pub(crate) fn edge(model: &mut Model, newest: bool) {
    match (model.view, newest) {
        (View::Messages, true) => model.browse.message = None,
        (View::Log, true) => model.browse.log.held = None,
        (_, true) => vertical(model, isize::MAX),
        (_, false) => vertical(model, isize::MIN),
    }
}

/// Back to the whole list; from one job to all of them.
pub(crate) fn back(model: &mut Model) {
    model.browse.message = None;
    model.browse.log.held = None;
    model.browse.jobs_marked.clear();
    if model.view == View::Job {
        model.view = View::Jobs;
    }
}

/// Marks the job under the cursor, or takes the mark away, and goes on to the next.
pub(crate) fn mark(model: &mut Model) {
    let id = job_under_cursor(model).map(|job| job.id);
    if let Some(id) = id {
        if !model.browse.jobs_marked.remove(&id) {
            model.browse.jobs_marked.insert(id);
        }
        vertical(model, 1);
    }
}

/// The next node of the log view.
pub(crate) fn next_node(model: &mut Model) -> Vec<Cmd> {
    model.cursor = (model.cursor + 1) % model.live.nodes.len().max(1);
    go(model, View::Log)
}
