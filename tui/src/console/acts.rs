//! What the operator can do to the cluster, with its effect said first.
//!
//! An act that takes something away is a value ([`Act`]) before it is a command: the dialog shows what it would do to the
//! quorum, worked out from the cluster as it is *at this moment*, and only a confirmed act becomes a command.
//!
//! Law: an act after which no majority can talk is never one key press; its name has to be typed.

use std::collections::BTreeSet;

use raftdeck_shared::{
    ids::NodeId,
    wire::{self, fault_spec::Fault},
};

use super::{
    browse, chore, deed,
    hands::Upkeep,
    model::{Act, Button, Confirm, Dialog, Model, View},
    msg::{Cmd, Slot},
    picture::Picture,
    quorum::{Nodes, Reach},
    text::span_ms,
    theme::Tone,
    world::{Fact, Node},
};
use crate::cli::values::count;

/// How long a cut may be asked to last; the node itself ends it.
pub(crate) const CUT_TTLS_MS: [u64; 6] = [15_000, 30_000, 60_000, 120_000, 300_000, 600_000];

/// The choice that is offered first.
const CUT_TTL_FIRST: usize = 2;

/// What an act would do, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// What takes it back.
    pub(crate) undo: String,
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
                    undo: "restart it (r)".into(),
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
                    undo: format!("heal it (H); ends by itself after {lasts}"),
                    same_as: format!(
                        "raftdeck cut {names} / {} --for {}s",
                        model.live.names(&rest, ","),
                        CUT_TTLS_MS[*ttl] / 1000
                    ),
                    ..effect(model, &picture.reach, &after)
                }
            }
            Act::Said(deed) => deed.effect(model),
            Act::Cancel(ids) => {
                let page = model.live.jobs.as_deref();
                let running =
                    page.map_or(0, |p| p.jobs.iter().filter(|j| ids.contains(&j.id) && j.state == "running").count());
                let jobs = count(ids.len(), "job");
                let first = ids.first().copied().unwrap_or_default();
                Effect {
                    question: format!("Cancel {jobs}?"),
                    now: format!("{jobs} marked, {running} running"),
                    after: "they end as cancelled and are not run again".into(),
                    note: "A running one ends when its worker hears of it; one that has ended stays as it is.".into(),
                    undo: "none".into(),
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
                let faults: Vec<(Slot, Fault)> = model
                    .live
                    .slots()
                    .filter(|(_, n)| n.live())
                    .filter_map(|(slot, n)| Some((slot, n.id?)))
                    .flat_map(|(slot, id)| {
                        let far = if a.contains(&id) { &b } else { &a };
                        let cut = |peer: &NodeId| (slot, Fault::Cut(wire::CutFault { peer: peer.0 }));
                        far.iter().map(cut).collect::<Vec<_>>()
                    })
                    .collect();
                let act = model.begin(format!("cut {said_a} from {said_b}"));
                model.marked.clear(); // They were marked for this.
                vec![Cmd::Strike { act, faults, ttl_ms: CUT_TTLS_MS[*ttl] }]
            }
            Act::Said(deed) => deed.start(model),
            Act::Cancel(ids) => {
                let act = model.begin(format!("cancel {}", count(ids.len(), "job")));
                model.browse.jobs_marked.clear();
                vec![Cmd::CancelJobs { act, ids: ids.clone() }]
            }
        }
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
        Some(_) => match takes_faults(model, slot) {
            Ok(()) => ask(model, Act::Kill(slot)),
            Err(why) => model.say(Tone::Warn, why),
        },
    }
}

/// Opens the dialog for cutting the marked nodes, or the one under the cursor, from all others.
pub(crate) fn ask_cut(model: &mut Model) {
    let side = if model.marked.is_empty() { BTreeSet::from([Slot(model.cursor)]) } else { model.marked.clone() };
    let (a, b) = sides(model, &side);
    if a.is_empty() || b.is_empty() {
        model.say(Tone::Warn, "a cut needs two sides: mark some nodes with space, not all");
    } else if let Some(why) = no_faults(model) {
        model.say(Tone::Warn, why);
    } else {
        ask(model, Act::Cut { side, ttl: CUT_TTL_FIRST });
    }
}

/// Why no node takes a fault; nothing if one does.
pub(super) fn no_faults(model: &Model) -> Option<&'static str> {
    let words: Vec<_> = model.live.nodes.iter().filter(|n| n.live()).filter_map(Node::word).collect();
    match words.iter().any(|s| s.faults_enabled) {
        true => None,
        false if words.is_empty() => Some("nothing can be broken from here: no node can be reached"),
        false => Some("the nodes refuse faults: they were started without --enable-faults"),
    }
}

/// Whether a node would take a fault.
///
/// # Errors
/// Why not, in one line.
pub(super) fn takes_faults(model: &Model, slot: Slot) -> Result<(), String> {
    match model.live.node(slot) {
        Some(node) if !node.live() => Err(format!("the console does not reach {}: it takes no fault", node.name)),
        Some(node) if node.word().is_some_and(|s| !s.faults_enabled) => {
            Err(format!("{} refuses faults: it was started without --enable-faults", node.name))
        }
        Some(_) | None => Ok(()),
    }
}

/// Opens the dialog for cancelling the marked jobs, or the one under the cursor.
pub(crate) fn ask_cancel(model: &mut Model) {
    let ids = chosen_jobs(model);
    if ids.is_empty() {
        model.say(Tone::Warn, "there is no job to cancel");
    } else {
        ask(model, Act::Cancel(ids));
    }
}

/// Asks to try the marked jobs again, or the one under the cursor.
pub(crate) fn retry(model: &mut Model) -> Vec<Cmd> {
    let ids = chosen_jobs(model);
    if ids.is_empty() {
        model.say(Tone::Warn, "there is no job to retry");
        return Vec::new();
    }
    said(model, std::iter::once("retry".to_owned()).chain(ids.iter().map(u64::to_string)).collect())
}

/// Asks to pause the queue under the cursor, or to resume it.
pub(crate) fn pause(model: &mut Model) -> Vec<Cmd> {
    let Some(queue) = chore::queue_under_cursor(model) else {
        model.say(Tone::Warn, "the cursor is on no queue");
        return Vec::new();
    };
    said(model, vec![if queue.paused { "resume" } else { "pause" }.to_owned(), queue.name])
}

fn chosen_jobs(model: &Model) -> Vec<u64> {
    let under = browse::job_under_cursor(model).map(|job| job.id);
    match model.browse.jobs_marked.is_empty() {
        true => under.into_iter().collect(),
        false => model.browse.jobs_marked.iter().copied().collect(),
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
    model.same_as = "raftdeck heal".into();
    vec![Cmd::Heal { act, at: slots.into_iter().map(|slot| (slot, Vec::new())).collect() }]
}

/// Asks to do to the node under the cursor what this verb says.
pub(crate) fn said_of_node(model: &mut Model, verb: &str) -> Vec<Cmd> {
    let name = name(model, Slot(model.cursor));
    said(model, vec![verb.to_owned(), name])
}

/// Heals the fault under the cursor of the faults view, at both ends if it is a cut link.
pub(crate) fn heal_one(model: &mut Model) -> Vec<Cmd> {
    let faults = browse::faults(&model.live);
    let Some(chosen) = faults.get(model.browse.row(View::Faults)) else {
        model.say(Tone::Warn, "the cursor is on no fault in force");
        return Vec::new();
    };
    let words = std::iter::once("heal".to_owned()).chain(chosen.ids.iter().cloned()).collect();
    said(model, words)
}

/// As it would be said in the palette.
fn said(model: &mut Model, words: Vec<String>) -> Vec<Cmd> {
    deed::say(model, words).unwrap_or_else(|why| {
        model.say(Tone::Warn, why);
        Vec::new()
    })
}

/// Does what is done to the node under the cursor where its process runs, if this console can.
pub(crate) fn upkeep(model: &mut Model, what: Upkeep) -> Vec<Cmd> {
    let Some(node) = model.live.nodes.get(model.cursor) else { return Vec::new() };
    let verb = match what {
        Upkeep::Restart => "restart",
        Upkeep::ShowTab => "show the tab of",
        Upkeep::CloseTab => "close the tab of",
    };
    let refusal = match what {
        _ if !model.can_restart => {
            Some(format!("{verb}: this console was connected by address and does not own the processes"))
        }
        Upkeep::Restart | Upkeep::CloseTab if node.live() => {
            Some(format!("{verb}: {0} is running; kill {0} first", node.name))
        }
        Upkeep::Restart | Upkeep::CloseTab | Upkeep::ShowTab => None,
    };
    let refusal =
        refusal.or_else(|| node.id.is_none().then(|| format!("{verb}: the id of {} is not known yet", node.api)));
    match (node.id, refusal) {
        (Some(node), None) => {
            let name = model.live.name(node);
            if what == Upkeep::Restart {
                own(model, format!("YOU restart {name}"));
            }
            let act = model.begin(format!("{verb} {name}"));
            vec![Cmd::Upkeep { act, node, what }]
        }
        (_, Some(words)) => {
            model.say(Tone::Warn, words);
            Vec::new()
        }
        (None, None) => Vec::new(),
    }
}

pub(super) fn ask(model: &mut Model, act: Act) {
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

/// What is said of every act: the quorum, now and then.
pub(super) fn effect(model: &Model, now: &Reach, after: &Reach) -> Effect {
    let name = |id| model.live.name(id);
    Effect {
        question: String::new(),
        now: outlook(&name, now),
        after: outlook(&name, after),
        note: String::new(),
        quorum_lost: !after.has_quorum(),
        hits_leader: false,
        phrase: String::new(),
        undo: String::new(),
        same_as: String::new(),
    }
}

/// One line: who can talk, is it enough, who stands apart.
pub(super) fn outlook(name: &dyn Fn(NodeId) -> String, reach: &Reach) -> String {
    let names = |nodes: &Nodes| nodes.iter().map(|id| name(*id)).collect::<Vec<_>>().join(" ");
    let best = reach.strongest();
    let mut line = format!("{{{}}} can talk: {} of {}", names(&best), best.len(), reach.voters.len());
    line.push_str(if reach.has_quorum() { ", quorum kept" } else { ", NO QUORUM" });
    let apart: Vec<String> =
        reach.sides().iter().filter(|s| s.is_disjoint(&best)).map(|s| format!("{{{}}}", names(s))).collect();
    if !apart.is_empty() {
        line.push_str(&format!("; apart {}", apart.join(" ")));
    }
    let down: Nodes = reach.voters.difference(&reach.up).copied().collect();
    if !down.is_empty() {
        line.push_str(&format!("; down {}", names(&down)));
    }
    line
}

pub(super) fn note(hits_leader: bool, after: &Reach, undo: &str, model: &Model) -> String {
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
