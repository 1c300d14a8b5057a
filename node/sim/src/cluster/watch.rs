//! Looking on: a simulated cluster tells of itself what real nodes tell a console, in the same words.
//!
//! After each event in which something happened, whoever watches gets a [`Scene`]: what nodes observed, and then what each
//! of them says of itself now, made by the node's own functions. Ten times a second every node says it, as a real one does.
//! Time is simulated, and begins at 0.
//!
//! Laws:
//! - to look changes nothing: no chance is drawn and no event is made, so a run that is watched is, event for event, the run
//!   that nobody watches;
//! - what is told is in the order of cause: observations of one millisecond are counted, over all nodes;
//! - who looks on may be slower than the simulation: it waits. One who has seen enough ends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::ControlFlow,
    panic::resume_unwind,
    sync::Arc,
};

use raftdeck_node::{observe::to_wire, replica::Event, status::replica_status};
use raftdeck_raft::{Envelope, GroupId, NodeId};
use raftdeck_shared::wire;

use super::{Cluster, Happening, Node, TICK_US};
use crate::{cue::Cue, network::Traffic, words};

/// How often every node says how it is, whether or not something happened there.
const ROUND_US: u64 = 100_000;

/// Between two things that are told of one millisecond there is room for so many that whoever looks on notices by itself.
const BETWEEN: u32 = 16;

/// Name of a simulated cluster.
const CLUSTER: &str = "sim";

/// Who looks on: takes each scene, and says whether it wants another.
pub type Sink = Arc<dyn Fn(Scene) -> ControlFlow<()> + Send + Sync>;

/// What the panic that ends an unwatched simulation carries.
pub(crate) struct Unwatched;

/// What there was to tell at one time; all before it has been told.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Simulated microseconds.
    pub at_us: u64,
    /// In order.
    pub news: Vec<News>,
}

/// One thing to tell.
#[derive(Clone, Debug)]
pub enum News {
    /// There is a node that there was not before.
    Joined(NodeId),
    /// A node is up, for the first time or again: its first word.
    Up(Word),
    /// How a node is now.
    Word(Word),
    /// A node is down, and why.
    Down(NodeId, String),
    /// A node observed something.
    Observed(Box<wire::Observation>),
    /// A line of the scenario is carried out; or a fault of the seed strikes.
    Line(String, Cue),
    /// What a client was told.
    Told(String),
}

/// A node's word about itself, and what is wrong with it that it does not know of.
#[derive(Clone, Debug)]
pub struct Word {
    /// As a real node would say it.
    pub status: Box<wire::NodeStatus>,
    /// Towards which peer, if any, and what.
    pub plights: Vec<(Option<NodeId>, String)>,
}

/// See the module.
pub(super) struct Watch {
    sink: Sink,
    /// Whether what clients are told is told here, too.
    clients: bool,
    /// Each node's life, none while it is down.
    lives: BTreeMap<NodeId, Option<u64>>,
    /// Observations of each node, so far.
    seqs: BTreeMap<NodeId, u64>,
    /// When a node heard another last.
    heard_us: BTreeMap<(NodeId, NodeId), u64>,
    /// Why a node is about to be down.
    ends: BTreeMap<NodeId, String>,
    /// The millisecond of what was told last, and its place in it.
    order: (u64, u32),
    /// So many of the cluster's happenings have been seen.
    seen: usize,
    round_at_us: u64,
    told_at_us: u64,
    news: Vec<News>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("told_at_us", &self.told_at_us).finish_non_exhaustive()
    }
}

impl Cluster {
    /// From now on somebody looks on, who is first told what it is about. `clients`: what clients are told is told there, too.
    pub(crate) fn watch(&mut self, sink: Sink, clients: bool, about: impl IntoIterator<Item = String>) {
        let news: Vec<News> = about.into_iter().map(|line| News::Line(line, Cue::Comment)).collect();
        self.watch = Some(Watch {
            sink,
            clients,
            lives: BTreeMap::new(),
            seqs: BTreeMap::new(),
            heard_us: BTreeMap::new(),
            ends: BTreeMap::new(),
            order: (0, BETWEEN * u32::try_from(news.len()).unwrap_or(u32::MAX / BETWEEN)),
            seen: 0,
            round_at_us: 0,
            told_at_us: 0,
            news,
        });
        self.look();
    }

    /// Tells a line of what is done to the cluster: it comes before what followed from it, also if that is done already.
    pub(crate) fn announce(&mut self, cue: Cue, line: impl FnOnce() -> String) {
        if let Some(watch) = &mut self.watch {
            watch.news.push(News::Line(line(), cue));
            watch.place(self.now_us);
            watch.tell(self.now_us);
            // What it changes is told as soon as it is done.
            watch.ask_all();
        }
    }

    /// Tells what happened since, if somebody looks on.
    pub(crate) fn look(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            watch.look(self);
            self.watch = Some(watch);
        }
    }

    /// What a node says of itself; none while it is down.
    fn word(&self, id: NodeId, watch: &Watch) -> Option<Word> {
        let node = self.nodes.get(&id)?;
        let up = node.up.as_ref()?;
        let mut status = replica_status(&up.replica, up.remembered, TICK_US / 1000);
        status.node = id.0;
        status.name = id.to_string();
        status.cluster_id = CLUSTER.into();
        status.boot_id = format!("life {}", node.life);
        status.at_ms = self.now_us / 1000;
        status.observation_seq = watch.seqs.get(&id).copied().unwrap_or_default();
        for peer in &mut status.peers {
            let other = NodeId(peer.node);
            let link = if self.network.is_cut(id, other, Traffic::All) {
                wire::LinkState::Cut
            } else if self.is_up(other) {
                wire::LinkState::Up
            } else {
                wire::LinkState::Down
            };
            peer.link = link.into();
            peer.heard_ms = watch.heard_us.get(&(id, other)).map(|at| (self.now_us - at) / 1000);
        }
        let both_ways = |peer: NodeId| self.network.is_cut(peer, id, Traffic::All);
        let (whole, part): (Vec<_>, Vec<_>) =
            self.network.cuts(id).partition(|(to, traffic)| *traffic == Traffic::All && both_ways(*to));
        status.faults = whole.into_iter().map(|(to, _)| cut(id, to)).collect();
        let mut plights = node.plights();
        plights
            .extend(part.into_iter().map(|(to, traffic)| (Some(to), format!("no {} pass", words::traffic(traffic)))));
        let clogs = self.network.clogs(id);
        plights.extend(clogs.map(|(to, traffic)| (Some(to), format!("{} wait on the way", words::traffic(traffic)))));
        Some(Word { status: Box::new(status), plights })
    }
}

impl Node {
    fn plights(&self) -> Vec<(Option<NodeId>, String)> {
        let mut plights = Vec::new();
        if self.up.as_ref().is_some_and(|up| up.paused.is_some()) {
            plights.push("stands still".to_owned());
        }
        if self.disk_held {
            plights.push("its disk finishes no write".into());
        }
        if self.clock.tick_percent != 100 {
            plights.push(format!("its clock runs at {} %", 10_000 / self.clock.tick_percent));
        }
        if self.clock.ahead_ms != 0 {
            plights.push(format!("its clock is {} ms ahead", self.clock.ahead_ms));
        }
        plights.into_iter().map(|words| (None, words)).collect()
    }
}

/// As a node tells of a link that is cut both ways. It has no end: its scenario heals it.
fn cut(at: NodeId, peer: NodeId) -> wire::Fault {
    let fault = Some(wire::fault_spec::Fault::Cut(wire::CutFault { peer: peer.0 }));
    let id = at.min(peer).0 * 100 + at.max(peer).0;
    wire::Fault { id, spec: Some(wire::FaultSpec { fault }), left_ms: u64::MAX, ..Default::default() }
}

impl Watch {
    /// A message reaches a node that is up.
    pub(super) fn heard(&mut self, envelope: &Envelope, at_us: u64) {
        self.heard_us.insert((envelope.to, envelope.from), at_us);
    }

    /// Every node says how it is when somebody looks next.
    pub(super) fn ask_all(&mut self) {
        self.round_at_us = 0;
    }

    /// The happenings were taken away.
    pub(super) fn forget(&mut self) {
        self.seen = 0;
    }

    fn look(&mut self, cluster: &Cluster) {
        for id in cluster.nodes.keys().filter(|id| !self.lives.contains_key(id)) {
            self.news.push(News::Joined(*id));
        }
        let mut moved = BTreeSet::new();
        for (at_us, happening) in &cluster.happenings[self.seen..] {
            self.happened(*at_us, happening, &mut moved);
        }
        self.seen = cluster.happenings.len();
        let round = cluster.now_us >= self.round_at_us;
        if round {
            self.round_at_us = cluster.now_us + ROUND_US;
        }
        for (id, node) in &cluster.nodes {
            let life = node.up.is_some().then_some(node.life);
            let before = self.lives.insert(*id, life).flatten();
            if before.is_some() && before != life {
                let why = self.ends.remove(id).unwrap_or_else(|| "it crashed".into());
                self.news.push(News::Down(*id, why));
            }
            if life.is_some() && before != life {
                self.news.extend(cluster.word(*id, self).map(News::Up));
            } else if life.is_some() && (round || moved.contains(id)) {
                self.news.extend(cluster.word(*id, self).map(News::Word));
            }
        }
        // Time goes on, for those who look on too, when there is nothing to tell.
        if !self.news.is_empty() || cluster.now_us >= self.told_at_us + TICK_US {
            self.tell(cluster.now_us);
        }
    }

    /// Time stands at this for now.
    pub(super) fn catch_up(&mut self, now_us: u64) {
        if now_us > self.told_at_us {
            self.tell(now_us);
        }
    }

    fn tell(&mut self, at_us: u64) {
        self.told_at_us = at_us;
        let scene = Scene { at_us, news: std::mem::take(&mut self.news) };
        if (self.sink)(scene).is_break() {
            // Whatever loop of the simulation this is in, it ends; and no hook is told of it.
            resume_unwind(Box::new(Unwatched));
        }
    }

    fn happened(&mut self, at_us: u64, happening: &Happening, moved: &mut BTreeSet<NodeId>) {
        match happening {
            Happening::Observed(node, observed) => {
                moved.insert(*node);
                self.observed(at_us, *node, Event::Core(*observed));
            }
            Happening::Jobs(node, term, index, what) => {
                moved.insert(*node);
                self.observed(at_us, *node, Event::Jobs { term: *term, index: *index, what: what.clone() });
            }
            Happening::DiskFailed(node, error) => {
                self.ends.insert(*node, format!("its disk failed: {error}"));
            }
            Happening::Answered(..) | Happening::Steered(..) if self.clients => {
                self.news.extend(words::line(happening).map(News::Told));
                self.place(at_us);
            }
            Happening::Answered(..) | Happening::Steered(..) => {}
        }
    }

    /// The place in hybrid time of what is told next.
    fn place(&mut self, at_us: u64) -> (u64, u32) {
        let at_ms = at_us / 1000;
        let (ms, before) = self.order;
        self.order = if ms == at_ms { (ms, before + BETWEEN) } else { (at_ms, 0) };
        self.order
    }

    fn observed(&mut self, at_us: u64, node: NodeId, event: Event) {
        let (at_ms, logical) = self.place(at_us);
        let seq = self.seqs.entry(node).or_default();
        *seq += 1;
        let told = to_wire(GroupId::FIRST, u128::from(TICK_US / 1000), event);
        let seq = *seq;
        self.news.push(News::Observed(Box::new(wire::Observation { seq, node: node.0, at_ms, logical, ..told })));
    }
}
