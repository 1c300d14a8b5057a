//! One message in, the model changed, commands out. No clock, no network, no terminal.

use std::collections::BTreeSet;

use crossterm::event::{KeyEvent, KeyEventKind};
use raftdeck_shared::{
    ids::{Index, NodeId, Term},
    wire,
};

use super::{
    acts, dialog,
    events::{Stamp, View},
    keys::{self, Action},
    model::{Conn, Dialog, Form, Model, Node, Pane},
    msg::{Body, Cmd, Msg, NodeMsg, Slot},
    picture::Picture,
    reign::Change,
    status::{Role, Status},
    story,
    text::span_ms,
    theme::Tone,
};

/// Lines of a page, and half the log entries of one.
const PAGE: isize = 10;

/// Takes one message.
pub(crate) fn update(model: &mut Model, msg: Msg) -> Vec<Cmd> {
    // Messages are stamped by their senders: one may overtake another by a hair, and time must not run back.
    model.now = if msg.at.run_ms >= model.now.run_ms { msg.at } else { model.now };
    if model.toast.as_ref().is_some_and(|t| t.until_run_ms <= model.now.run_ms) {
        model.toast = None;
    }
    match msg.body {
        Body::Key(event) => key(model, &event),
        Body::Paste(text) => {
            dialog::paste(model, &text);
            Vec::new()
        }
        Body::Resize | Body::Tick => Vec::new(),
        Body::Node(slot, news) => {
            node(model, slot, news);
            Vec::new()
        }
        Body::Done(act, outcome) => {
            let what = model.pending.remove(&act.0).unwrap_or_default();
            match outcome {
                Ok(text) => model.say(Tone::Good, format!("{what}: {text}")),
                Err(text) => {
                    model.events.own(model.now.unix_ms, Tone::Bad, format!("{what} failed: {text}"));
                    model.say(Tone::Bad, format!("{what} failed: {text}"));
                }
            }
            Vec::new()
        }
    }
}

fn key(model: &mut Model, event: &KeyEvent) -> Vec<Cmd> {
    if event.kind == KeyEventKind::Release {
        return Vec::new();
    }
    if model.dialog.is_some() && !keys::always(event) {
        return dialog::key(model, event);
    }
    let Some(binding) = keys::find(event, model.focus) else { return Vec::new() };
    if binding.danger && model.read_only {
        model.say(Tone::Warn, format!("read-only: {} is off ({})", binding.label, binding.help));
        return Vec::new();
    }
    act(model, binding.action)
}

fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    match action {
        Action::Quit => return vec![Cmd::Quit],
        Action::Suspend => return vec![Cmd::Suspend],
        Action::Repaint => return vec![Cmd::Repaint],
        Action::Heal => return acts::heal(model),
        Action::Restart => return acts::restart(model),
        Action::Kill => acts::ask_kill(model),
        Action::Cut => acts::ask_cut(model),
        Action::Submit => model.dialog = Some(Dialog::Submit(Form::default())),
        Action::Help => model.dialog = Some(Dialog::Help(0)),
        Action::Mark => {
            let slot = Slot(model.cursor);
            if !model.marked.remove(&slot) && model.node(slot).is_some() {
                model.marked.insert(slot);
            }
        }
        Action::Unmark => {
            model.marked = BTreeSet::new();
            model.zoom = false;
            model.toast = None;
            model.events.view = View::Follow;
            model.log_held = None;
        }
        Action::Up => vertical(model, -1),
        Action::Down => vertical(model, 1),
        Action::PageUp => page(model, -PAGE),
        Action::PageDown => page(model, PAGE),
        Action::Left => horizontal(model, -1),
        Action::Right => horizontal(model, 1),
        Action::Oldest => match model.focus {
            Pane::Events => model.events.scroll(isize::MIN),
            Pane::Logs => horizontal(model, i64::MIN),
            Pane::Nodes | Pane::Links => model.cursor = 0,
        },
        Action::Newest => match model.focus {
            Pane::Events => model.events.view = View::Follow,
            Pane::Logs => model.log_held = None,
            Pane::Nodes | Pane::Links => model.cursor = model.nodes.len().saturating_sub(1),
        },
        Action::Every => {
            model.events.every = !model.events.every;
            model.events.view = View::Follow;
        }
        Action::NextPane => turn(model, 1),
        Action::PreviousPane => turn(model, Pane::ALL.len() - 1),
        Action::Focus(pane) => model.focus = pane,
        Action::Zoom => model.zoom = !model.zoom,
    }
    Vec::new()
}

fn turn(model: &mut Model, by: usize) {
    let at = Pane::ALL.iter().position(|p| *p == model.focus).unwrap_or_default();
    model.focus = Pane::ALL[(at + by) % Pane::ALL.len()];
}

fn vertical(model: &mut Model, by: isize) {
    match model.focus {
        Pane::Events => model.events.scroll(by),
        Pane::Nodes | Pane::Logs | Pane::Links => {
            let last = model.nodes.len().saturating_sub(1);
            model.cursor = model.cursor.saturating_add_signed(by).min(last);
        }
    }
}

fn page(model: &mut Model, by: isize) {
    match model.focus {
        Pane::Logs => horizontal(model, 2 * by as i64),
        Pane::Nodes | Pane::Links | Pane::Events => vertical(model, by),
    }
}

/// Moves the newest index shown. At the newest there is, the log is followed again.
fn horizontal(model: &mut Model, by: i64) {
    let last = model.last_index().0;
    let first = model.nodes.iter().filter_map(|n| n.word()?.tail.first()).map(|cell| cell.0.0).min().unwrap_or(1);
    let from = model.log_held.map_or(last, |held| held.0);
    let to = from.saturating_add_signed(by).max(first.min(last));
    model.log_held = (to < last).then_some(Index(to));
}

fn node(model: &mut Model, slot: Slot, news: NodeMsg) {
    if model.nodes.get(slot.0).is_none() {
        return;
    }
    match news {
        NodeMsg::Connecting => model.nodes[slot.0].conn = Conn::Connecting,
        NodeMsg::Retrying { at_run_ms, why } => {
            if model.nodes[slot.0].live() {
                let text = format!("console: lost {}: {why}", model.nodes[slot.0].name);
                model.events.own(model.now.unix_ms, Tone::Bad, text);
            }
            model.nodes[slot.0].conn = Conn::Retrying { at_run_ms, why };
            model.nodes[slot.0].failed = true;
        }
        NodeMsg::Snapshot(status) => snapshot(model, slot, *status),
        NodeMsg::Status(status) => {
            if model.nodes[slot.0].live() {
                model.checks.status(&status);
                model.nodes[slot.0].status = Some((*status, model.now));
            }
        }
        NodeMsg::Dropped(count) => {
            let node = &mut model.nodes[slot.0];
            node.dropped = node.dropped.saturating_add(count);
            let text = format!("-- {count} events of {} not received --", node.name);
            model.events.own(model.now.unix_ms, Tone::Warn, text);
        }
        NodeMsg::Observed(o) => observed(model, slot, &o),
    }
    leadership(model);
}

fn snapshot(model: &mut Model, slot: Slot, status: Status) {
    if model.cluster_id.is_empty() {
        model.cluster_id.clone_from(&status.cluster_id);
    }
    if model.cluster_id != status.cluster_id {
        model.nodes[slot.0].conn = Conn::Foreign(status.cluster_id);
        return;
    }
    model.checks.status(&status);
    let now = model.now;
    let node = &mut model.nodes[slot.0];
    let known = node.word().is_some();
    let rebooted = node.word().is_some_and(|before| before.boot_id != status.boot_id);
    let was_live = node.live();
    node.id = Some(status.id);
    node.name.clone_from(&status.name);
    node.conn = Conn::Live;
    node.failed = false;
    if rebooted || !known {
        node.seen_seq = 0;
    }
    node.status = Some((status, now));
    let said = if rebooted { "is back, as a new process" } else { "is back" };
    if known && !was_live {
        let text = format!("console: {} {said}", node.name);
        model.events.own(now.unix_ms, Tone::Good, text);
    }
}

fn observed(model: &mut Model, slot: Slot, o: &wire::Observation) {
    let node = &mut model.nodes[slot.0];
    // A resumed stream may repeat; the sequence is without gaps, so what is not newer has been taken.
    if o.seq <= node.seen_seq {
        return;
    }
    node.seen_seq = o.seq;
    // Of its own term: one that led before and now follows may not have said so yet.
    let by_leader = node.word().is_some_and(|s| s.role == Role::Leader && s.term == Term(o.term));
    if o.kind() == wire::ObservationKind::Role && o.role() == wire::Role::Leader {
        let name = model.name(NodeId(o.node));
        model.checks.leader(Term(o.term), NodeId(o.node), &name);
        model.reign.elected(Term(o.term), NodeId(o.node), o.at_ms);
    }
    let told = story::tell(o, by_leader, &|id| model.name(id));
    let stamp = Stamp { at_ms: o.at_ms, logical: o.logical, node: o.node, seq: o.seq };
    model.votes.observed(o, stamp);
    model.events.insert(stamp, told);
}

/// Notices when the cluster loses its leader and when it has one again.
fn leadership(model: &mut Model) {
    let picture = Picture::of(model);
    model.pace.add(model.now.run_ms, picture.jobs.ended());
    let leader = picture.leader.and_then(|slot| model.nodes.get(slot.0)?.word());
    let words = model.nodes.iter().filter(|n| n.live()).filter_map(Node::word);
    if let Some(Change { leader, term, without_ms }) = model.reign.look(leader, words, model.now) {
        let gap = span_ms(without_ms);
        let text = format!("console: {} leads {term}; the cluster had no leader for {gap}", model.name(leader));
        model.events.own(model.now.unix_ms, Tone::Good, text);
    }
}

impl Node {
    /// A node nothing is known of yet but its address.
    pub(crate) fn new(id: Option<NodeId>, name: String, api: String) -> Node {
        Node { id, name, api, conn: Conn::Connecting, failed: false, status: None, seen_seq: 0, dropped: 0 }
    }
}
