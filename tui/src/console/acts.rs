//! What the operator can do to the cluster, with its effect said first.
//!
//! An act that takes something away is a value ([`Act`]) before it is a command: the dialog shows what it would do to the
//! quorum, worked out from the cluster as it is *at this moment*, and only a confirmed act becomes a command.
//!
//! Law: an act after which no majority can talk is never one key press; its name has to be typed.

use std::collections::BTreeSet;

use raftdeck_shared::ids::NodeId;

use super::{
    browse,
    model::{Act, Button, Confirm, Dialog, Model, View},
    msg::{Cmd, Slot},
    picture::Picture,
    quorum::{Nodes, Reach},
    text::span_ms,
    theme::Tone,
    world::Fact,
};
use crate::cli::values::count;

/// How long a cut may be asked to last; the node itself ends it.
pub(crate) const CUT_TTLS_MS: [u64; 6] = [15_000, 30_000, 60_000, 120_000, 300_000, 600_000];

/// The choice that is offered first.
const CUT_TTL_FIRST: usize = 2;

/// What an act would do, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) question: String,
    pub(crate) now: String,
    pub(crate) after: String,
    pub(crate) note: String,
    pub(crate) quorum_lost: bool,
    /// The leader would lose its process or its majority.
    pub(crate) hits_leader: bool,
    /// To be typed when the quorum is lost.
    pub(crate) phrase: String,
    pub(crate) same_as: String,
}

impl Act {
    pub(crate) fn effect(&self, model: &Model) -> Effect {
        let picture = Picture::of(&model.live);
        let leader = picture.leader.and_then(|slot| model.live.node(slot)?.id);
        match self {
            Act::Kill(slot) => {
                let name = name(model, *slot);
                let id = model.live.node(*slot).and_then(|n| n.id);
                let after = id.map_or_else(|| picture.reach.clone(), |id| picture.reach.without(id));
                let hits_leader = leader.is_some() && leader == id;
                Effect {
                    question: format!("Kill {name}? Its process aborts at once, with no clean-up."),
                    hits_leader,
                    note: note(hits_leader, &after, &format!("restart {name}"), model),
                    phrase: format!("kill {name}"),
                    same_as: format!("raftdeck kill {name}"),
                    ..effect(model, &picture.reach, &after)
                }
            }
            Act::Cut { side, ttl } => {
                let (side, rest) = sides(model, side);
                let after = picture.reach.split(&side, &rest);
                let hits_leader = leader.is_some_and(|l| after.of(l).len() < after.majority());
                let names = model.live.names(&side, ",");
                let lasts = span_ms(CUT_TTLS_MS[*ttl]);
                Effect {
                    question: format!("Cut {} from {}?", model.live.names(&side, " "), model.live.names(&rest, " ")),
                    hits_leader,
                    note: note(hits_leader, &after, "heal the cut", model),
                    phrase: format!("cut {names}"),
                    same_as: format!(
                        "raftdeck cut {names} / {} --for {}s",
                        model.live.names(&rest, ","),
                        CUT_TTLS_MS[*ttl] / 1000
                    ),
                    ..effect(model, &picture.reach, &after)
                }
                .lasting(&lasts)
            }
            Act::Cancel(ids) => {
                let page = model.live.jobs.as_deref();
                let running =
                    page.map_or(0, |p| p.jobs.iter().filter(|j| ids.contains(&j.id) && j.state == "running").count());
                let jobs = count(ids.len(), "job");
                let first = ids.first().copied().unwrap_or_default();
                Effect {
                    question: format!("Cancel {jobs}?"),
                    now: format!("{jobs} marked, {running} running"),
                    after: "they end as cancelled and are not run again; this cannot be undone".into(),
                    note: "A running one ends when its worker hears of it; one that has ended stays as it is.".into(),
                    same_as: format!("raftdeck cancel {first}"),
                    quorum_lost: false,
                    ..effect(model, &picture.reach, &picture.reach)
                }
            }
        }
    }

    /// The confirmed act: the event that tells of it and the command that does it.
    pub(crate) fn start(&self, model: &mut Model) -> Vec<Cmd> {
        match self {
            Act::Kill(slot) => {
                let name = name(model, *slot);
                let pid = model.live.node(*slot).and_then(|n| n.word()).map_or(0, |s| s.pid);
                own(model, format!("YOU kill {name} (pid {pid})"));
                let act = model.begin(format!("kill {name}"));
                vec![Cmd::Kill { act, slot: *slot }]
            }
            Act::Cut { side, ttl } => {
                let (a, b) = sides(model, side);
                let (said_a, said_b) = (model.live.names(&a, " "), model.live.names(&b, " "));
                own(model, format!("YOU cut {said_a} from {said_b} for {}", span_ms(CUT_TTLS_MS[*ttl])));
                let ends: Vec<(Slot, NodeId)> = model
                    .live
                    .slots()
                    .filter(|(_, n)| n.live())
                    .filter_map(|(slot, n)| Some((slot, n.id?)))
                    .flat_map(|(slot, id)| {
                        let far = if a.contains(&id) { &b } else { &a };
                        far.iter().map(move |peer| (slot, *peer)).collect::<Vec<_>>()
                    })
                    .collect();
                let act = model.begin(format!("cut {said_a} from {said_b}"));
                model.marked.clear(); // They were marked for this.
                vec![Cmd::Cut { act, ends, ttl_ms: CUT_TTLS_MS[*ttl] }]
            }
            Act::Cancel(ids) => {
                let act = model.begin(format!("cancel {}", count(ids.len(), "job")));
                model.browse.jobs_marked.clear();
                vec![Cmd::CancelJobs { act, ids: ids.clone() }]
            }
        }
    }
}

impl Effect {
    fn lasting(mut self, span: &str) -> Effect {
        self.question.push_str(&format!("  Heals itself after {span}."));
        self
    }
}

/// Opens the dialog for killing the node under the cursor.
pub(crate) fn ask_kill(model: &mut Model) {
    let slot = Slot(model.cursor);
    match model.live.node(slot) {
        None => {}
        Some(node) if !node.live() => {
            let text = format!("{} cannot be killed from here: the console does not reach it", node.name);
            model.say(Tone::Warn, text);
        }
        Some(node) if node.word().is_some_and(|s| !s.faults_enabled) => {
            let text = format!("{} refuses faults: it was started without --enable-faults", node.name);
            model.say(Tone::Warn, text);
        }
        Some(_) => ask(model, Act::Kill(slot)),
    }
}

/// Opens the dialog for cutting the marked nodes, or the one under the cursor, from all others.
pub(crate) fn ask_cut(model: &mut Model) {
    let side = if model.marked.is_empty() { BTreeSet::from([Slot(model.cursor)]) } else { model.marked.clone() };
    let (a, b) = sides(model, &side);
    if a.is_empty() || b.is_empty() {
        model.say(Tone::Warn, "a cut needs two sides: mark some nodes with space, not all");
    } else if model.live.live() == 0 {
        model.say(Tone::Warn, "nothing can be cut from here: no node can be reached");
    } else if !model.live.nodes.iter().any(|n| n.live() && n.word().is_some_and(|s| s.faults_enabled)) {
        model.say(Tone::Warn, "the nodes refuse faults: they were started without --enable-faults");
    } else {
        ask(model, Act::Cut { side, ttl: CUT_TTL_FIRST });
    }
}

/// Opens the dialog for cancelling the marked jobs, or the one under the cursor.
pub(crate) fn ask_cancel(model: &mut Model) {
    let under = browse::jobs(model).get(model.browse.row(View::Jobs)).map(|job| job.id);
    let ids: Vec<u64> = match model.browse.jobs_marked.is_empty() {
        true => under.into_iter().collect(),
        false => model.browse.jobs_marked.iter().copied().collect(),
    };
    if ids.is_empty() {
        model.say(Tone::Warn, "there is no job to cancel");
    } else {
        ask(model, Act::Cancel(ids));
    }
}

/// Heals all faults on all nodes that can be reached. Takes nothing away, so it does not ask.
pub(crate) fn heal(model: &mut Model) -> Vec<Cmd> {
    let slots: Vec<Slot> = model.live.slots().filter(|(_, n)| n.live()).map(|(slot, _)| slot).collect();
    if slots.is_empty() {
        model.say(Tone::Warn, "nothing to heal: no node can be reached");
        return Vec::new();
    }
    own(model, "YOU heal all faults".into());
    let act = model.begin("heal all faults".into());
    vec![Cmd::Heal { act, slots }]
}

/// Starts the node under the cursor again, if this console can.
pub(crate) fn restart(model: &mut Model) -> Vec<Cmd> {
    let Some(node) = model.live.nodes.get(model.cursor) else { return Vec::new() };
    let refusal = match node.id {
        _ if !model.can_restart => {
            Some("restart: this console was connected by address and does not own the processes".into())
        }
        _ if node.live() => Some(format!("restart: {0} is running; kill {0} first", node.name)),
        None => Some(format!("restart: the id of {} is not known yet", node.api)),
        Some(_) => None,
    };
    match (node.id, refusal) {
        (Some(node), None) => {
            let name = model.live.name(node);
            own(model, format!("YOU restart {name}"));
            let act = model.begin(format!("restart {name}"));
            vec![Cmd::Restart { act, node }]
        }
        (_, Some(words)) => {
            model.say(Tone::Warn, words);
            Vec::new()
        }
        (None, None) => Vec::new(),
    }
}

fn ask(model: &mut Model, act: Act) {
    let confirm = Confirm { act, button: Button::Cancel, typed: Default::default() };
    model.dialog = Some(Dialog::Confirm(Box::new(confirm)));
}

fn own(model: &mut Model, text: String) {
    model.tell(Fact::Own(Tone::You, text));
}

fn name(model: &Model, slot: Slot) -> String {
    model.live.node(slot).map(|n| n.name.clone()).unwrap_or_default()
}

/// The two sides of a cut, as far as ids are known.
fn sides(model: &Model, side: &BTreeSet<Slot>) -> (Nodes, Nodes) {
    let picture_voters = Picture::of(&model.live).reach.voters;
    let a: Nodes = side.iter().filter_map(|slot| model.live.node(*slot)?.id).collect();
    let known = model.live.nodes.iter().filter_map(|n| n.id).chain(picture_voters);
    let b = known.filter(|id| !a.contains(id)).collect();
    (a, b)
}

fn effect(model: &Model, now: &Reach, after: &Reach) -> Effect {
    Effect {
        question: String::new(),
        now: outlook(model, now),
        after: outlook(model, after),
        note: String::new(),
        quorum_lost: !after.has_quorum(),
        hits_leader: false,
        phrase: String::new(),
        same_as: String::new(),
    }
}

/// One line: who can talk, is it enough, who stands apart.
fn outlook(model: &Model, reach: &Reach) -> String {
    let best = reach.strongest();
    let mut line = format!("{{{}}} can talk: {} of {}", model.live.names(&best, " "), best.len(), reach.voters.len());
    line.push_str(if reach.has_quorum() { ", quorum kept" } else { ", NO QUORUM" });
    let apart: Vec<String> = reach
        .sides()
        .iter()
        .filter(|s| s.is_disjoint(&best))
        .map(|s| format!("{{{}}}", model.live.names(s, " ")))
        .collect();
    if !apart.is_empty() {
        line.push_str(&format!("; apart {}", apart.join(" ")));
    }
    let down: Nodes = reach.voters.difference(&reach.up).copied().collect();
    if !down.is_empty() {
        line.push_str(&format!("; down {}", model.live.names(&down, " ")));
    }
    line
}

fn note(hits_leader: bool, after: &Reach, undo: &str, model: &Model) -> String {
    let down: Nodes = after.voters.difference(&after.up).copied().collect();
    match (after.has_quorum(), hits_leader) {
        (true, false) => "The leader keeps its majority: work goes on.".into(),
        (true, true) => "This hits the leader: no job is accepted until the others have elected a new one.".into(),
        (false, _) if undo == "heal the cut" && !down.is_empty() => {
            format!("No job is accepted until you {undo} or restart {}.", model.live.names(&down, " "))
        }
        (false, _) if down.len() > 1 && undo != "heal the cut" => {
            format!("No job is accepted until you restart enough of {}.", model.live.names(&down, " "))
        }
        (false, _) => format!("No job is accepted until you {undo}."),
    }
}
