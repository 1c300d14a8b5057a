//! What the nodes have said, and what follows from it: the part of the console that has a past.
//!
//! A world is changed by facts ([`Fact`]), each at its time, and by nothing else. So it can be had again as of any moment
//! by taking the facts up to there, which is how the console goes back in time and how a recording is replayed. What the
//! operator looks at, and how, is no part of it (that is `model`).
//!
//! A node that is gone keeps its last word, marked with its age: the console never forgets what was true because it can
//! no longer ask.

use std::{collections::BTreeSet, sync::Arc};

use raftdeck_shared::{
    ids::{Index, NodeId, Term},
    wire::{self, ObservationKind as Kind},
};
use raftdeck_sim::Cue;

use super::{
    checks::Checks,
    cue,
    events::{Events, Line, Stamp},
    filter::Filter,
    jobs::{Job, Page},
    lost::{self, Losses},
    msg::{NodeMsg, Slot, Time},
    outage::Outages,
    pace::Pace,
    picture::{Picture, leader_and_jobs},
    reign::{Change, Reign},
    status::{FaultKind, Role, Status},
    story::Told,
    tape::Tape,
    text::span_ms,
    theme::Tone,
    trace::Trace,
    votes::Votes,
};

/// Most nodes shown: those of the cluster file, and those that came later.
pub(crate) const NODES_MAX: usize = 256;

/// Most entries of one append that are drawn before the node says itself what its log is.
const APPENDED_MAX: u64 = 256;

/// Something that changes the world.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// A node to watch, at this address. Slots are given in this order.
    Member {
        id: Option<NodeId>,
        name: String,
        api: String,
    },
    /// It is reached at another address now.
    Moved {
        slot: Slot,
        api: String,
    },
    Node(Slot, NodeMsg),
    /// The newest jobs, as the leader listed them.
    Jobs(Arc<Page>),
    /// One of them, whole.
    Job(Arc<Job>),
    /// Done by the operator, or noticed by this console.
    Own(Tone, String),
    /// A line of a scenario that is carried out, or a fault that a seed has drawn.
    Script {
        text: String,
        cue: Cue,
    },
    /// A law was broken, as a simulation saw that knows more than its nodes tell.
    Broken(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conn {
    Connecting,
    Live,
    /// The connection is open, but nothing comes over it: the process stands still, or what is between.
    Silent {
        since_run_ms: u64,
    },
    Retrying {
        at_run_ms: u64,
        why: String,
    },
    /// It answers, but as a member of another cluster.
    Foreign(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// From the cluster file, or from its first word.
    pub(crate) id: Option<NodeId>,
    pub(crate) name: String,
    pub(crate) api: String,
    pub(crate) conn: Conn,
    /// It could not be reached since it was last live, or ever.
    pub(crate) failed: bool,
    /// Its last word, with what it observed since, and when it came.
    pub(crate) status: Option<(Arc<Status>, Time)>,
    /// A word that knows of observations which have not come yet: until they do, it would show more than the events.
    ahead: Option<(Arc<Status>, Time)>,
    /// Newest observation taken, of the boot in `status`.
    pub(crate) seen_seq: u64,
    /// When that was, by the node's hybrid clock.
    seen_at_ms: u64,
    /// It has told of a new process, which has not said yet how it is: so the past has it, where it began before it was heard.
    reborn: bool,
    /// Observations of it that never came.
    pub(crate) dropped: u64,
}

impl Node {
    /// A node nothing is known of yet but its address.
    pub(crate) fn new(id: Option<NodeId>, name: String, api: String) -> Node {
        Node {
            id,
            name,
            api,
            conn: Conn::Connecting,
            failed: false,
            status: None,
            ahead: None,
            seen_seq: 0,
            seen_at_ms: 0,
            reborn: false,
            dropped: 0,
        }
    }

    /// Its last word is what is.
    pub(crate) fn live(&self) -> bool {
        self.conn == Conn::Live
    }

    /// Its stream is open.
    pub(crate) fn connected(&self) -> bool {
        matches!(self.conn, Conn::Live | Conn::Silent { .. })
    }

    pub(crate) fn word(&self) -> Option<&Status> {
        self.status.as_ref().map(|(status, _)| &**status)
    }

    /// How old its last word is. Nothing for a live node: what it said is what is.
    pub(crate) fn age_ms(&self, now: Time) -> u64 {
        match (&self.conn, &self.status) {
            (Conn::Live, _) | (_, None) => 0,
            (Conn::Silent { since_run_ms }, _) => now.run_ms.saturating_sub(*since_run_ms),
            (_, Some((_, at))) => now.run_ms.saturating_sub(at.run_ms),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) now: Time,
    /// Empty until the first node has said it.
    pub(crate) cluster_id: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) events: Events,
    pub(crate) checks: Checks,
    pub(crate) votes: Votes,
    pub(crate) reign: Reign,
    pub(crate) pace: Pace,
    pub(crate) tape: Tape,
    pub(crate) trace: Trace,
    pub(crate) losses: Losses,
    pub(crate) outages: Outages,
    pub(crate) jobs: Option<Arc<Page>>,
    pub(crate) job: Option<Arc<Job>>,
    /// The line of the scenario that is being carried out.
    pub(crate) script: String,
    /// Unix time of the fact that is being taken: what this console notices about it is told at that time.
    told_at_ms: u64,
}

impl World {
    pub(crate) fn new(cluster_id: String) -> World {
        World { cluster_id, ..World::default() }
    }

    /// Of a simulation that is to begin.
    pub(crate) fn simulated() -> World {
        World { tape: Tape::fine(), ..World::default() }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (Slot, &Node)> {
        self.nodes.iter().enumerate().map(|(at, node)| (Slot(at), node))
    }

    pub(crate) fn node(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(slot.0)
    }

    pub(crate) fn by_id(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|n| n.id == Some(id))
    }

    /// A node's name; its number where the name is not known.
    pub(crate) fn name(&self, id: NodeId) -> String {
        self.by_id(id).map_or_else(|| id.to_string(), |n| n.name.clone())
    }

    pub(crate) fn names<'a>(&self, ids: impl IntoIterator<Item = &'a NodeId>, between: &str) -> String {
        ids.into_iter().map(|id| self.name(*id)).collect::<Vec<_>>().join(between)
    }

    /// What happened, in words, oldest first: the story or every observation, as far as a filter wants it.
    pub(crate) fn wanted(&self, every: bool, filter: Option<&Filter>) -> Vec<Line> {
        self.events.wanted(every, filter, &|id| self.name(id))
    }

    /// A node by what people call it: its name or its number.
    pub(crate) fn called(&self, word: &str) -> Option<Slot> {
        let fits = |n: &Node| n.name == word || n.id.is_some_and(|id| id.0.to_string() == word);
        self.slots().find(|(_, n)| fits(n)).map(|(slot, _)| slot)
    }

    pub(crate) fn live(&self) -> usize {
        self.nodes.iter().filter(|n| n.live()).count()
    }

    /// Whether it left the cluster: it is silent, and the newest word of those who are heard does not have it any more.
    pub(crate) fn gone(&self, node: &Node) -> bool {
        let words = self.nodes.iter().filter(|n| n.live()).filter_map(Node::word).filter(|s| !s.members.is_empty());
        let newest = words.max_by_key(|s| s.commit);
        !node.live() && newest.zip(node.id).is_some_and(|(s, id)| !s.members.contains(&id))
    }

    /// Those that belong to the cluster, as far as is known.
    pub(crate) fn members(&self) -> usize {
        self.nodes.iter().filter(|n| !self.gone(n)).count()
    }

    /// Faults in force, as their nodes tell: links cut, whether at one end or at both, and all else.
    pub(crate) fn faults(&self) -> (usize, usize) {
        let mut links = BTreeSet::new();
        let mut others = 0;
        for status in self.nodes.iter().filter(|n| n.live()).filter_map(Node::word) {
            for fault in &status.faults {
                match fault.kind {
                    FaultKind::Cut(peer) => drop(links.insert((status.id.min(peer), status.id.max(peer)))),
                    FaultKind::Kill | FaultKind::Other { .. } => others += 1,
                }
            }
        }
        (links.len(), others)
    }

    /// The newest index any node has.
    pub(crate) fn last_index(&self) -> Index {
        self.nodes.iter().filter_map(Node::word).map(|s| s.last).max().unwrap_or_default()
    }

    /// The oldest index that any node shows.
    pub(crate) fn first_index(&self) -> Index {
        self.nodes.iter().filter_map(|n| n.word()?.tail.first()).min().unwrap_or(Index(1))
    }

    /// Something changes without news, and is looked at closely: how long there is no leader, an answer that does not come.
    pub(crate) fn ages(&self) -> bool {
        self.reign.lost.is_some() || self.losses.waits()
    }

    /// Something changes without news by the second: a countdown, how long a node was not heard, a rate that falls.
    pub(crate) fn ages_slowly(&self) -> bool {
        self.faults() != (0, 0) || self.live() < self.members() || self.pace.jobs_per_s(self.now.run_ms) > Some(0)
    }

    /// Time goes on. Facts are stamped by their senders: one may overtake another by a hair, and time must not run back.
    pub(crate) fn pass(&mut self, now: Time) {
        if now.run_ms >= self.now.run_ms {
            self.now = now;
        }
        if self.losses.waits() {
            let mut losses = std::mem::take(&mut self.losses);
            losses.pass(self.now.run_ms, &|node| self.silence(node));
            self.losses = losses;
        }
    }

    /// Why a node says nothing; none if it is only this console that does not hear it.
    fn silence(&self, id: NodeId) -> Option<String> {
        let seen = self.by_id(id).is_some_and(Node::live);
        let down = || !Picture::of(self).up(id);
        if seen { Some("nobody saw why".into()) } else { down().then(|| format!("{} is down", self.name(id))) }
    }

    /// Takes one fact.
    pub(crate) fn take(&mut self, at: Time, fact: &Fact) {
        self.pass(at);
        self.told_at_ms = at.unix_ms;
        match fact {
            Fact::Member { id, name, api } => {
                if self.nodes.len() < NODES_MAX {
                    self.nodes.push(Node::new(*id, name.clone(), api.clone()));
                }
            }
            Fact::Moved { slot, api } => {
                if let Some(node) = self.nodes.get_mut(slot.0) {
                    node.api.clone_from(api);
                }
            }
            Fact::Node(slot, news) => {
                if self.nodes.get(slot.0).is_some() {
                    self.news(*slot, news);
                    // Who leads does not depend on what comes by the thousand a second.
                    let may_lead = |o: &wire::Observation| matches!(o.kind(), Kind::Role | Kind::Term);
                    if !matches!(news, NodeMsg::Observed(o) if !may_lead(o)) {
                        self.leadership();
                    }
                }
            }
            Fact::Jobs(page) => self.jobs = Some(Arc::clone(page)),
            Fact::Job(job) => self.job = Some(Arc::clone(job)),
            Fact::Own(tone, text) => {
                if *tone == Tone::You && Outages::may_begin(text) {
                    self.outages.began(self.now.unix_ms, text.clone());
                } else if *tone == Tone::Bad && text.starts_with("submit") {
                    self.outages.refused();
                }
                if let (Tone::You, Some(mark)) = (tone, Tape::of_act(text)) {
                    self.tape.mark(self.now.run_ms, mark);
                }
                self.own(*tone, text.clone());
            }
            Fact::Script { text, cue } => self.script(text, *cue),
            Fact::Broken(evidence) => {
                self.checks.told(evidence.clone());
                self.tape.mark(self.now.run_ms, '!');
                self.own(Tone::Bad, format!("BROKEN: {evidence}"));
            }
        }
    }

    fn script(&mut self, text: &str, cue: Cue) {
        if cue.is_fault() {
            self.outages.began(self.now.unix_ms, text.to_owned());
        }
        if let Some(mark) = cue::mark(cue) {
            self.tape.mark(self.now.run_ms, mark);
        }
        let line = match cue {
            Cue::Comment => text.to_owned(),
            Cue::Life | Cue::Kill | Cue::Break | Cue::Mend | Cue::Start | Cue::Proof => format!("> {text}"),
        };
        if cue != Cue::Comment {
            text.clone_into(&mut self.script);
        }
        self.own(cue::tone(cue), line);
    }

    fn own(&mut self, tone: Tone, text: String) {
        self.events.own(self.told_at_ms, tone, text);
    }

    fn news(&mut self, slot: Slot, news: &NodeMsg) {
        if let NodeMsg::Snapshot(status) | NodeMsg::Status(status) = news
            && status.role == Role::Leader
            && status.cluster_id == self.cluster_id
        {
            self.trace.leads(status.term, status.id);
        }
        match news {
            NodeMsg::Connecting => self.nodes[slot.0].conn = Conn::Connecting,
            NodeMsg::Retrying { at_run_ms, why } => {
                let was_live = self.nodes[slot.0].connected();
                self.nodes[slot.0].conn = Conn::Retrying { at_run_ms: *at_run_ms, why: why.clone() };
                self.nodes[slot.0].failed = true;
                if was_live && self.gone(&self.nodes[slot.0]) {
                    self.own(Tone::Plain, format!("console: {} has left the cluster", self.nodes[slot.0].name));
                } else if was_live {
                    self.tape.mark(self.now.run_ms, '!');
                    self.outages.began(self.now.unix_ms, format!("{} lost", self.nodes[slot.0].name));
                    self.own(Tone::Bad, format!("console: lost {}: {why}", self.nodes[slot.0].name));
                }
            }
            NodeMsg::Silent { since_run_ms } => {
                if self.nodes[slot.0].live() {
                    self.nodes[slot.0].conn = Conn::Silent { since_run_ms: *since_run_ms };
                }
            }
            NodeMsg::Heard => {
                if self.nodes[slot.0].connected() {
                    self.nodes[slot.0].conn = Conn::Live;
                }
            }
            NodeMsg::Snapshot(status) => self.snapshot(slot, status),
            NodeMsg::Status(status) => {
                let word = (Arc::clone(status), self.now);
                let node = &mut self.nodes[slot.0];
                if !node.connected() {
                    return;
                }
                node.conn = Conn::Live;
                let due = if node.seen_seq > 0 && status.seq > node.seen_seq {
                    // At most one waits: what it waits for may have been lost.
                    node.ahead.replace(word)
                } else {
                    node.ahead = None;
                    Some(word)
                };
                self.believe(slot, due);
            }
            NodeMsg::Dropped(count) => {
                let due = self.nodes[slot.0].ahead.take();
                self.believe(slot, due);
                let node = &mut self.nodes[slot.0];
                node.dropped = node.dropped.saturating_add(*count);
                let text = format!("-- {count} events of {} not received --", node.name);
                self.own(Tone::Warn, text);
            }
            NodeMsg::Observed(o) => self.observed(slot, o),
        }
    }

    /// Takes a node's word about itself. What it observed after that has been told already, and stays.
    fn believe(&mut self, slot: Slot, word: Option<(Arc<Status>, Time)>) {
        let Some((status, came)) = word else { return };
        self.checks.status(&status);
        let node = &mut self.nodes[slot.0];
        self.losses.counted(node.word(), &status);
        let newer = |word: &&Status| match status.seq {
            0 => node.seen_at_ms >= status.at_ms,
            seq => word.seq > seq,
        };
        let since = node.word().filter(newer);
        let word = since.map_or_else(|| Arc::clone(&status), |since| Arc::new(status.with_what_was_observed(since)));
        node.status = Some((word, came));
    }

    fn snapshot(&mut self, slot: Slot, status: &Arc<Status>) {
        if self.cluster_id.is_empty() {
            self.cluster_id.clone_from(&status.cluster_id);
        }
        if self.cluster_id != status.cluster_id {
            self.nodes[slot.0].conn = Conn::Foreign(status.cluster_id.clone());
            return;
        }
        self.checks.status(status);
        let now = self.now;
        let node = &mut self.nodes[slot.0];
        let known = node.word().is_some();
        let rebooted = node.word().is_some_and(|before| before.boot_id != status.boot_id);
        let was_live = node.connected();
        node.id = Some(status.id);
        node.name.clone_from(&status.name);
        node.conn = Conn::Live;
        node.failed = false;
        node.ahead = None;
        let begun = std::mem::take(&mut node.reborn);
        if rebooted && !begun {
            node.seen_seq = 0;
        } else if !known {
            // Only what comes after it was asked for.
            node.seen_seq = node.seen_seq.max(status.seq);
        }
        node.status = Some((Arc::clone(status), now));
        if known && !was_live {
            let said = if rebooted { "is back, as a new process" } else { "is back" };
            let text = format!("console: {} {said}", node.name);
            self.own(Tone::Good, text);
        }
    }

    fn observed(&mut self, slot: Slot, o: &Arc<wire::Observation>) {
        let node = &mut self.nodes[slot.0];
        // A resumed stream may repeat; the sequence is without gaps, so what is not newer has been taken.
        if o.seq <= node.seen_seq {
            if o.seq != 1 || o.at_ms <= node.seen_at_ms {
                return;
            }
            node.reborn = true;
        }
        (node.seen_seq, node.seen_at_ms) = (o.seq, o.at_ms);
        // Of its own term: one that led before and now follows may not have said so yet.
        let by_leader = node.word().is_some_and(|s| s.role == Role::Leader && s.term == Term(o.term));
        if o.kind() == Kind::Role && o.role() == wire::Role::Leader {
            let name = self.name(NodeId(o.node));
            self.checks.leader(Term(o.term), NodeId(o.node), &name);
            self.reign.elected(Term(o.term), NodeId(o.node), o.at_ms);
        }
        let stamp = Stamp::of(o);
        self.votes.observed(o, stamp);
        self.tape.observed(self.now.run_ms, o);
        self.trace.observed(o);
        self.lost(o);
        if o.kind() == Kind::Link && !o.granted {
            self.reign.link_lost(NodeId(o.node), NodeId(o.peer), o.at_ms);
        }
        match o.kind() {
            Kind::Committed if by_leader => self.outages.committed(o.at_ms, Term(o.term)),
            Kind::Fault if o.cause != "healed" && o.cause != "ran out" => {
                self.outages.began(o.at_ms, format!("fault on {}", self.name(NodeId(o.node))));
            }
            _ => {}
        }
        self.events.insert(stamp, Told::of(o, by_leader));
        self.changed_by(slot, o);
    }

    /// What a node observed is part of what it says of itself from then on: the table and the log show the moment of the newest
    /// event, not that of the last status before it.
    fn changed_by(&mut self, slot: Slot, o: &wire::Observation) {
        let entries = if o.kind() == Kind::Appended { self.appended(o) } else { Vec::new() };
        let node = &mut self.nodes[slot.0];
        if let Some((status, _)) = &mut node.status {
            let is_known = if status.seq > 0 { o.seq <= status.seq } else { o.at_ms < status.at_ms };
            if !is_known && !node.reborn {
                Arc::make_mut(status).observe(o, &entries);
            }
        }
        if let Some(due) = node.ahead.take_if(|(status, _)| status.seq <= o.seq) {
            self.believe(slot, Some(due));
        }
    }

    /// The entries that a node has appended. Their terms are those in the log of the leader that sent them, or its own.
    fn appended(&self, o: &wire::Observation) -> Vec<(Index, Term)> {
        let term = Term(o.term);
        let mut words = self.nodes.iter().filter_map(Node::word);
        let sender = words.find(|s| s.role == Role::Leader && s.term == term && s.id != NodeId(o.node));
        let of = |index| sender.and_then(|leader| leader.tail.term_at(index)).unwrap_or(term);
        let from = o.index.max(o.last_index.saturating_sub(APPENDED_MAX));
        (from..=o.last_index).map(|index| (Index(index), of(Index(index)))).collect()
    }

    /// Notices what is asked, and what is answered.
    fn lost(&mut self, o: &Arc<wire::Observation>) {
        let asks = matches!(o.role(), wire::Role::Candidate | wire::Role::PreCandidate);
        match o.kind() {
            Kind::Role if asks => {}
            Kind::VoteCast => {}
            _ => return,
        }
        let mut losses = std::mem::take(&mut self.losses);
        let voters = &Picture::of(self).reach.voters - &self.trace.voted(o);
        let word = |id| self.by_id(id).and_then(Node::word);
        losses.observed(o, self.now.run_ms, &voters, &|from, to| lost::on_the_way(word(from), word(to)));
        self.losses = losses;
    }

    /// Notices when the cluster loses its leader and when it has one again.
    fn leadership(&mut self) {
        let (leader, jobs) = leader_and_jobs(self);
        let ended = jobs.map(|jobs| jobs.ended());
        if let Some(ended) = ended {
            self.pace.add(self.now.run_ms, ended);
        }
        let leader = leader.and_then(|slot| self.nodes.get(slot.0)?.word());
        let term = leader.map(|s| s.term);
        self.tape.pass(self.now.run_ms, term, ended);
        if term.is_some() && self.live() >= self.members() && self.faults() == (0, 0) {
            self.outages.whole(self.now.unix_ms);
        }
        let words = self.nodes.iter().filter(|n| n.live()).filter_map(Node::word);
        if let Some(Change { leader, term, without_ms }) = self.reign.look(leader, words, self.now) {
            let gap = span_ms(without_ms);
            self.outages.led(term, without_ms);
            self.own(
                Tone::Good,
                format!("console: {} leads {term}; the cluster had no leader for {gap}", self.name(leader)),
            );
        }
    }
}
