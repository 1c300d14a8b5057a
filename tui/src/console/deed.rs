//! Acts in words of the command line: read by its parser, checked against what is known of the cluster, and told with
//! what they would do to the quorum, or to the jobs (`chore.rs`).
//!
//! Laws:
//! - what the question shows as "same as" is what was read, word for word;
//! - what some node would refuse, or nobody can be asked for, is not asked about: one line says why;
//! - a fault counts for what it can do at its worst: a way that loses everything is cut, a disk that stands still for an
//!   election timeout is a node that is gone.

use std::collections::{BTreeMap, BTreeSet};

use clap::Parser as _;
use raftdeck_shared::{
    cluster::check_name,
    faults::{self, WHOLE_PPM},
    ids::NodeId,
    wire::{self, fault_spec::Fault},
};

use super::{
    acts::{self, Effect},
    chore,
    hands::Steering,
    model::{Act, Model},
    msg::{Cmd, Slot},
    picture::Picture,
    quorum::{Nodes, Reach},
    text::span_ms,
    theme::Tone,
    world::{Fact, Node},
};
use crate::cli::{
    args::{Call, Place, Verb},
    failure::usage_line,
    sides::Sides,
    values::ms,
};

/// Of a cluster whose nodes have not said theirs.
const ELECTION_TIMEOUT_MS: u64 = 1_000;

/// Something to be done, as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    words: Vec<String>,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Faults, each at the node that is to have it.
    Strike {
        faults: Vec<(Slot, Fault)>,
        ttl_ms: u64,
    },
    /// At each node, the faults that are to end; none: all.
    Heal(BTreeMap<Slot, Vec<u64>>),
    Steer(Steering),
    Retry(Vec<u64>),
    Queue {
        queue: String,
        paused: bool,
    },
}

/// Whether these are the first words of something that can be done here.
pub(crate) fn knows(name: &str) -> bool {
    matches!(
        name,
        "cut"
            | "link"
            | "disk"
            | "pause-node"
            | "clock"
            | "heal"
            | "transfer"
            | "add"
            | "remove"
            | "retry"
            | "pause"
            | "resume"
    )
}

/// Asks about what was said; what takes nothing away is done at once.
///
/// # Errors
/// Why it cannot be done, in one line.
pub(crate) fn say(model: &mut Model, words: Vec<String>) -> Result<Vec<Cmd>, String> {
    let deed = Deed { what: read(model, &words)?, words };
    match deed.what {
        What::Heal(_) => {
            model.same_as = deed.same_as(false);
            Ok(deed.start(model))
        }
        What::Strike { .. } | What::Steer(_) | What::Retry(_) | What::Queue { .. } => {
            acts::ask(model, Act::Said(deed));
            Ok(Vec::new())
        }
    }
}

/// Whether the command line would take these words.
pub(crate) fn is_whole(words: &[String]) -> bool {
    Call::try_parse_from(std::iter::once("raftdeck").chain(words.iter().map(String::as_str))).is_ok()
}

fn read(model: &Model, words: &[String]) -> Result<What, String> {
    let call = Call::try_parse_from(std::iter::once("raftdeck").chain(words.iter().map(String::as_str)));
    let call = call.map_err(|error| usage_line(&error))?;
    if call.place != Place::default() {
        return Err("it is done to the cluster of this console: leave out where that is".into());
    }
    let strike = |faults, ttl| struck(model, faults, ms(ttl));
    match call.verb {
        Some(Verb::Cut { sides, one_way, ttl }) => strike(cut(model, &sides, one_way)?, ttl.ttl),
        Some(Verb::Link(args)) => {
            let ((a, far), (b, near)) = (known(model, &args.a)?, known(model, &args.b)?);
            if a == b {
                return Err(format!("{} has no link to itself", args.a));
            }
            let back = (!args.one_way).then(|| (b, args.towards(far.0)));
            strike(std::iter::once((a, args.towards(near.0))).chain(back).collect(), args.ttl.ttl)
        }
        Some(Verb::Disk(args)) => strike(vec![(known(model, &args.node)?.0, args.fault())], args.ttl.ttl),
        Some(Verb::PauseNode { node, ttl }) => {
            strike(vec![(known(model, &node)?.0, Fault::Pause(wire::PauseFault {}))], ttl.ttl)
        }
        Some(Verb::Clock { node, offset, ttl }) => {
            let fault = Fault::Clock(wire::ClockFault { offset_ms: offset });
            strike(vec![(known(model, &node)?.0, fault)], ttl.ttl)
        }
        Some(Verb::Heal { what }) => heal(model, &what),
        Some(Verb::Transfer { node }) => transfer(model, node),
        Some(Verb::Add(args)) => {
            check_name("node name", &args.node)?;
            let called = model.live.called(&args.node).and_then(|slot| model.live.node(slot)?.id);
            // A learner that is there may be asked in again: for its vote.
            if called.is_some_and(|id| Picture::of(&model.live).reach.voters.contains(&id)) {
                return Err(format!("{} is a member already", args.node));
            }
            if args.api.is_none() && !model.can_restart {
                return Err("this console does not own the processes: start the node, and give its peer and api".into());
            }
            Ok(What::Steer(Steering::Add(args)))
        }
        Some(Verb::Remove(args)) => {
            let (_, id) = known(model, &args.node)?;
            let reach = Picture::of(&model.live).reach;
            if reach.voters == Nodes::from([id]) {
                return Err(format!("{} is the last voter: it stays", args.node));
            }
            Ok(What::Steer(Steering::Remove(args)))
        }
        Some(Verb::Retry { ids }) => Ok(What::Retry(ids)),
        Some(Verb::Pause { queue }) => Ok(What::Queue { queue, paused: true }),
        Some(Verb::Resume { queue }) => Ok(What::Queue { queue, paused: false }),
        Some(_) | None => Err(format!("{:?} is not done from here", words.join(" "))),
    }
}

/// A node by what people call it, with its number.
fn known(model: &Model, name: &str) -> Result<(Slot, NodeId), String> {
    let names = || model.live.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(" ");
    let slot = model.live.called(name).ok_or_else(|| format!("no node {name:?}: there is {}", names()))?;
    let id = model.live.node(slot).and_then(|n| n.id);
    Ok((slot, id.ok_or_else(|| format!("the number of {name} is not known yet"))?))
}

/// As the command line sets it: at both ends of each link that crosses, as far as they can be reached; a one-way cut at the
/// end where messages leave.
fn cut(model: &Model, sides: &[String], one_way: bool) -> Result<Vec<(Slot, Fault)>, String> {
    let all: Vec<u64> = model.live.nodes.iter().filter_map(|n| Some(n.id?.0)).collect();
    let sides = Sides::parse(sides, &all, &mut |name| known(model, name).map(|(_, id)| id.0))?;
    if one_way && sides.sides.len() > 2 {
        return Err(format!("a one-way cut is from one side to another, not between {} sides", sides.sides.len()));
    }
    let live = |id: u64| model.live.slots().find(|(_, n)| n.id == Some(NodeId(id)) && n.live()).map(|(slot, _)| slot);
    let mut faults = Vec::new();
    for (a, b) in sides.links() {
        let before = faults.len();
        if one_way {
            faults.extend(live(a).map(|slot| (slot, Fault::OneWayCut(wire::OneWayCutFault { peer: b }))));
        } else {
            let end = |at, peer| live(at).map(|slot| (slot, Fault::Cut(wire::CutFault { peer })));
            faults.extend(end(a, b).into_iter().chain(end(b, a)));
        }
        if faults.len() == before {
            let name = |id| model.live.name(NodeId(id));
            let ends = if one_way { name(a) } else { format!("{} nor {}", name(a), name(b)) };
            return Err(format!("the console does not reach {ends}: nothing can be cut there"));
        }
    }
    Ok(faults)
}

/// Faults that every node concerned would take.
fn struck(model: &Model, faults: Vec<(Slot, Fault)>, ttl_ms: u64) -> Result<What, String> {
    for (slot, fault) in &faults {
        faults::check(fault)?;
        acts::takes_faults(model, *slot)?;
    }
    Ok(What::Strike { faults, ttl_ms })
}

fn heal(model: &Model, what: &[String]) -> Result<What, String> {
    let mut at: BTreeMap<Slot, Vec<u64>> = BTreeMap::new();
    let (mut whole, mut reached) = (Vec::new(), model.live.slots().filter(|(_, n)| n.live()).map(|(slot, _)| slot));
    for word in what {
        let id = word.rsplit_once(':').and_then(|(node, id)| Some((model.live.called(node)?, id.parse().ok()?)));
        match id {
            Some((slot, id)) => at.entry(slot).or_default().push(id),
            None => whole.push(known(model, word)?.0),
        }
    }
    at.extend(whole.into_iter().map(|slot| (slot, Vec::new())));
    if what.is_empty() {
        at.extend(reached.by_ref().map(|slot| (slot, Vec::new())));
    }
    if let Some(node) = at.keys().filter_map(|slot| model.live.node(*slot)).find(|n| !n.live()) {
        return Err(format!("the console does not reach {}: nothing can be healed there", node.name));
    }
    if at.is_empty() {
        return Err("nothing to heal: no node can be reached".into());
    }
    Ok(What::Heal(at))
}

fn transfer(model: &Model, node: String) -> Result<What, String> {
    let (slot, id) = known(model, &node)?;
    let picture = Picture::of(&model.live);
    if picture.leader == Some(slot) {
        return Err(format!("{node} leads already"));
    }
    if !picture.reach.voters.contains(&id) {
        return Err(format!("{node} has no vote: only a voter can lead"));
    }
    Ok(What::Steer(Steering::Transfer(node)))
}

impl Deed {
    pub(crate) fn effect(&self, model: &Model) -> Effect {
        let picture = Picture::of(&model.live);
        let before = &picture.reach;
        let leader = picture.leader.and_then(|slot| model.live.node(slot)?.id);
        match &self.what {
            What::Strike { faults, ttl_ms } => {
                let mut after = before.clone();
                for (slot, fault) in faults {
                    if let Some(id) = model.live.node(*slot).and_then(|n| n.id) {
                        worst(&mut after, id, fault, timeout_ms(model));
                    }
                }
                let hits_leader = leader.is_some_and(|l| after.of(l).len() < after.majority());
                let ends = faults.iter().any(|(_, fault)| ends_process(fault));
                let undo = if ends { "restart it (r)" } else { "heal it (H)" };
                let lasts = if ends { String::new() } else { format!("; ends by itself after {}", span_ms(*ttl_ms)) };
                Effect {
                    question: question(model, faults),
                    hits_leader,
                    note: match (after.has_quorum(), hits_leader) {
                        (true, false) => pace(model, before, leader, faults),
                        (false, _) if !ends && before.has_quorum() => format!("No job is accepted until you {undo}."),
                        (true, true) | (false, _) => acts::note(hits_leader, &after, undo, model),
                    },
                    undo: format!("{undo}{lasts}"),
                    ..self.outcome(model, before, &after)
                }
            }
            What::Heal(_) => self.outcome(model, before, before),
            What::Retry(ids) => Effect { same_as: self.same_as(false), ..chore::retry(model, ids) },
            What::Queue { queue, paused } => {
                Effect { same_as: self.same_as(false), ..chore::pause(model, queue, *paused) }
            }
            What::Steer(Steering::Transfer(node)) => Effect {
                question: format!("Hand leadership over to {node}?"),
                hits_leader: true,
                note: "For a moment nobody leads: what is submitted then waits, nothing is lost.".into(),
                undo: leader.map_or_else(String::new, |l| format!("transfer {}", model.live.name(l))),
                ..self.outcome(model, before, before)
            },
            What::Steer(Steering::Add(args)) => {
                let mut after = before.clone();
                let id = model.live.nodes.iter().filter_map(|n| n.id).max().map_or(NodeId(1), |id| NodeId(id.0 + 1));
                if !args.learner {
                    after.voters.insert(id);
                    after.up.insert(id);
                }
                let name = |node: NodeId| if node == id { args.node.clone() } else { model.live.name(node) };
                let vote = match args.learner {
                    true => "It gets the log and no vote.".to_owned(),
                    false => format!("It gets its vote when it has caught up; then {} are needed.", after.majority()),
                };
                Effect {
                    question: format!("Take {} in?", args.node),
                    after: acts::outlook(&name, &after),
                    note: vote,
                    undo: format!("remove {}", args.node),
                    ..self.outcome(model, before, &after)
                }
            }
            What::Steer(Steering::Remove(args)) => {
                let id = model.live.called(&args.node).and_then(|slot| model.live.node(slot)?.id);
                let mut after = before.clone();
                if let Some(id) = id {
                    after.voters.remove(&id);
                    after.up.remove(&id);
                }
                let hits_leader = leader.is_some() && leader == id;
                let stops = if model.can_restart { " Its process ends, its data stays." } else { "" };
                Effect {
                    question: format!("Let {} go?{stops}", args.node),
                    hits_leader,
                    note: match after.has_quorum() {
                        true if hits_leader => "It leads: it hands over when its removal is committed.".into(),
                        true => "The leader keeps its majority: work goes on.".into(),
                        false => "Those that stay and run are no majority: no job is accepted any more.".into(),
                    },
                    undo: "none: its name is not given again; `add` takes a new node in".into(),
                    ..self.outcome(model, before, &after)
                }
            }
        }
    }

    fn outcome(&self, model: &Model, before: &Reach, after: &Reach) -> Effect {
        let effect = acts::effect(model, before, after);
        let phrase = self.words.iter().take(2).cloned().collect::<Vec<_>>().join(" ");
        Effect { phrase, same_as: self.same_as(effect.quorum_lost), ..effect }
    }

    /// The command line wants to be forced to what breaks the cluster for good.
    fn same_as(&self, quorum_lost: bool) -> String {
        let forced = quorum_lost && matches!(&self.what, What::Steer(Steering::Remove(args)) if !args.force);
        format!("raftdeck {}{}", self.words.join(" "), if forced { " --force" } else { "" })
    }

    /// The confirmed act: the event that tells of it and the command that does it.
    pub(crate) fn start(&self, model: &mut Model) -> Vec<Cmd> {
        let said = self.words.join(" ");
        let lost = self.effect(model).quorum_lost;
        model.tell(Fact::Own(Tone::You, format!("YOU {said}")));
        let act = model.begin(said);
        match &self.what {
            What::Strike { faults, ttl_ms } => {
                model.marked.clear(); // They were marked for this.
                vec![Cmd::Strike { act, faults: faults.clone(), ttl_ms: *ttl_ms }]
            }
            What::Heal(at) => vec![Cmd::Heal { act, at: at.clone() }],
            What::Retry(ids) => {
                model.browse.jobs_marked.clear(); // They were marked for this.
                vec![Cmd::RetryJobs { act, ids: ids.clone() }]
            }
            What::Queue { queue, paused } => vec![Cmd::PauseQueue { act, queue: queue.clone(), paused: *paused }],
            What::Steer(steering) => {
                let mut steering = steering.clone();
                if let Steering::Remove(args) = &mut steering {
                    args.force |= lost;
                }
                vec![Cmd::Steer { act, steering }]
            }
        }
    }
}

/// So long the followers wait for their leader: the longest that one of them has drawn.
fn timeout_ms(model: &Model) -> u64 {
    let drawn = model.live.nodes.iter().filter_map(Node::word).map(|s| s.election_timeout_ms).max();
    drawn.filter(|ms| *ms > 0).unwrap_or(ELECTION_TIMEOUT_MS)
}

/// What a fault at a node can do to who reaches whom.
fn worst(reach: &mut Reach, at: NodeId, fault: &Fault, timeout_ms: u64) {
    match fault {
        Fault::Kill(_) | Fault::Pause(_) | Fault::DiskFull(_) | Fault::FailedFsync(_) => *reach = reach.without(at),
        Fault::DiskStall(stall) if u64::from(stall.write_ms) >= timeout_ms => *reach = reach.without(at),
        Fault::Cut(cut) => reach.cut(at, NodeId(cut.peer)),
        // A leader needs to hear the answers: half a link is none.
        Fault::OneWayCut(cut) => reach.cut(at, NodeId(cut.peer)),
        Fault::Link(link) if link.loss_ppm >= WHOLE_PPM => reach.cut(at, NodeId(link.peer)),
        Fault::Link(_) | Fault::DiskStall(_) | Fault::Clock(_) => {}
    }
}

fn ends_process(fault: &Fault) -> bool {
    match fault {
        Fault::Kill(_) | Fault::DiskFull(_) | Fault::FailedFsync(_) => true,
        Fault::Cut(_)
        | Fault::OneWayCut(_)
        | Fault::Link(_)
        | Fault::Pause(_)
        | Fault::DiskStall(_)
        | Fault::Clock(_) => false,
    }
}

fn question(model: &Model, faults: &[(Slot, Fault)]) -> String {
    let Some((first, fault)) = faults.first() else { return String::new() };
    let name = |slot: &Slot| model.live.node(*slot).map(|n| n.name.clone()).unwrap_or_default();
    let at = name(first);
    let mut froms: Vec<String> = faults.iter().map(|(slot, _)| name(slot)).collect();
    froms.dedup();
    let peers: BTreeSet<u64> = faults.iter().filter_map(|(_, fault)| faults::peer(fault)).collect();
    let tos: Vec<String> = peers.into_iter().map(|peer| model.live.name(NodeId(peer))).collect();
    match fault {
        Fault::OneWayCut(_) => {
            format!("Cut the way from {} to {}? What comes back is still heard.", froms.join(" "), tos.join(" "))
        }
        Fault::Cut(_) => format!("Cut the links between {}?", froms.join(" ")),
        Fault::Link(link) => {
            let arrow = if faults.len() > 1 { "and back" } else { "and not back" };
            format!("From {at} to {}, {arrow}: {}?", model.live.name(NodeId(link.peer)), faults::words(fault))
        }
        Fault::Pause(_) => format!("Let {at} stand still? It takes no message and no request."),
        Fault::DiskStall(stall) => {
            format!("Let each write of {at}'s log wait for {}?", span_ms(stall.write_ms.into()))
        }
        Fault::DiskFull(_) => format!("Let the next write of {at}'s log fail as on a full disk? Its process ends."),
        Fault::FailedFsync(_) => format!("Let the next fsync of {at}'s log fail? Its process ends, the write is lost."),
        Fault::Clock(_) => format!("Set the clock of {at} wrong: {}?", faults::words(fault)),
        Fault::Kill(_) => format!("Kill {at}?"),
    }
}

/// What a fault costs that leaves the leader its majority.
fn pace(model: &Model, before: &Reach, leader: Option<NodeId>, faults: &[(Slot, Fault)]) -> String {
    let id = |slot: &Slot| model.live.node(*slot).and_then(|n| n.id);
    let mut spared = before.clone();
    for (slot, fault) in faults {
        match (id(slot), fault) {
            (Some(at), Fault::Link(link)) => spared.cut(at, NodeId(link.peer)),
            (Some(at), Fault::DiskStall(_)) => spared = spared.without(at),
            (_, Fault::Clock(_)) => return "Only times of jobs are wrong, and only while it leads.".into(),
            (_, _) => return "The leader keeps its majority: work goes on.".into(),
        }
    }
    // A leader's own disk is one of those that a majority needs.
    let by_others = leader.is_some_and(|l| match spared.up.contains(&l) {
        true => spared.of(l).len() >= spared.majority(),
        false => spared.has_quorum(),
    });
    match by_others {
        true => "A majority does without: no commit has to wait for this.".into(),
        false => "Every commit has to wait for this: jobs become slower.".into(),
    }
}
