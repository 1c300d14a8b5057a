//! The cluster: events in the order of virtual time.
//!
//! An event is a tick, a message that arrives, or a disk that is done. [`Cluster::step`] takes the next one, lets the
//! replica handle it, and puts what follows from it back into the queue. Faults are not events but the state of network,
//! disks and clocks at that time. Everything that happens is appended to a list that the caller drains. Who wants to see it
//! as it happens looks on (`watch`).
//!
//! Here are the events and what there is; beside it, what is asked (`ask`), a node's start and end (`life`), its rounds
//! (`round`), its disk (`writes`), and what goes wrong (`faults`).

mod ask;
mod faults;
mod life;
mod round;
pub(crate) mod watch;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::RangeInclusive,
};

use raftdeck_jobs::JobId;
use raftdeck_node::{
    compaction::Retention,
    replica::{Applied, Input, Refused, Replica, Ticket},
    steering::Change,
};
use raftdeck_raft::{Envelope, Index, NodeId, Observed, RoleKind, SnapshotTask, StorageId, Term, Write};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    checks::Checks,
    disk::Disk,
    network::{Network, Weather},
    vfs::Drive,
    violation::Violation,
};

use self::watch::Watch;

const TICK_US: u64 = 10_000;
const REMEMBER_EVERY_US: u64 = 100_000;

/// Where virtual time starts, unix milliseconds: any time will do.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A cluster to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes, all voters.
    pub nodes: u64,
    /// Where chance starts.
    pub seed: u64,
    /// How messages fare.
    pub weather: Weather,
    /// Time of a disk write, microseconds.
    pub disk_us: RangeInclusive<u64>,
    /// Entries in one append: few of them bring out what batches hide.
    pub batch_entries_max: usize,
    /// A node handles what arrives within this time in one round, microseconds: a busy one does.
    pub round_us: u64,
    /// Whether the members are bound to their directories from the start. Else the first leader has to do it.
    pub bound: bool,
    /// How much of the log is kept.
    pub retention: Retention,
    /// Part of the writes that remove entries in which the node crashes.
    pub crash_truncating: f64,
    /// Part of the snapshots that rot after they were made.
    pub rot_snapshots: f64,
}

impl Options {
    /// A calm cluster: half a millisecond on the way, a fifth on the disk.
    #[must_use]
    pub fn calm(nodes: u64, seed: u64) -> Options {
        Options {
            nodes,
            seed,
            weather: Weather::calm(),
            disk_us: 200..=200,
            batch_entries_max: 1024,
            round_us: 0,
            bound: true,
            retention: Retention::default(),
            crash_truncating: 0.0,
            rot_snapshots: 0.0,
        }
    }
}

/// What a client asks for beside commands.
#[derive(Clone, Debug)]
pub enum Steer {
    /// Read what is true now.
    Read,
    /// Hand leadership over.
    Transfer(NodeId),
    /// Change the membership.
    Change(Change),
    /// Cut the log.
    Compact,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A node observed something in its core.
    Observed(NodeId, Observed),
    /// An entry did something to jobs on this node.
    Jobs(NodeId, Term, Index, String),
    /// A client got an answer; none if its node crashed.
    Answered(Ticket, Option<Result<Applied, Refused>>),
    /// The same, for what is not a command.
    Steered(Ticket, Option<Result<Index, Refused>>),
    /// A node ended because its disk failed.
    DiskFailed(NodeId, String),
}

#[derive(Clone, Debug)]
enum Event {
    Tick(NodeId),
    Arrive(Box<Envelope>),
    LinkLost { at: NodeId, peer: NodeId },
    Reset { at: NodeId, peer: NodeId },
    DiskDone(NodeId),
    Snapshot(NodeId, Box<SnapshotTask>),
}

/// A node that is up.
#[derive(Debug)]
struct Up {
    replica: Replica,
    /// Writes that gather while one is under way.
    gathered: Vec<Write>,
    under_way: Vec<Write>,
    /// The write under way is done as far as time goes, but the disk is held.
    stuck: bool,
    remembered: Index,
    remembered_at: u64,
    tickets: BTreeSet<Ticket>,
    steering: BTreeSet<Ticket>,
    /// Requests that gather for the next round.
    asked: Vec<Input>,
    /// What came while it stood still; none while it goes.
    paused: Option<Vec<Input>>,
    paused_at: u64,
}

/// A node's clock, as far as it differs from the world's.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Length of its ticks, of the world's in percent.
    tick_percent: u64,
    /// Its wall clock is ahead by so much.
    ahead_ms: i64,
}

#[derive(Debug)]
struct Node {
    disk: Disk,
    disk_held: bool,
    clock: Clock,
    /// It began with the others, and not by joining them: in this directory.
    founded: Option<StorageId>,
    /// Snapshot tasks under way.
    tasks: VecDeque<SnapshotTask>,
    is_installing: bool,
    /// Counts its starts: events of an earlier life mean nothing.
    life: u64,
    up: Option<Up>,
}

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    rng: StdRng,
    now_us: u64,
    /// By time, then by order of their making. With the life of the node they are for.
    queue: BTreeMap<(u64, u64), (u64, Event)>,
    made: u64,
    nodes: BTreeMap<NodeId, Node>,
    network: Network,
    checks: Checks,
    last_ticket: u64,
    acknowledged: BTreeSet<JobId>,
    happenings: Vec<(u64, Happening)>,
    events: u64,
    /// Whose disk was damaged last, and what was committed then.
    hurt: Option<NodeId>,
    hurt_at: Index,
    rotten: Option<NodeId>,
    snapshots_lost: u64,
    /// Who looks on.
    watch: Option<Watch>,
}

impl Cluster {
    /// Starts all nodes.
    ///
    /// # Errors
    /// A node does not start.
    pub fn new(options: Options) -> Result<Cluster, Violation> {
        let mut cluster = Cluster {
            rng: StdRng::seed_from_u64(options.seed),
            now_us: 0,
            queue: BTreeMap::new(),
            made: 0,
            nodes: BTreeMap::new(),
            network: Network::new(options.weather.clone()),
            checks: Checks::default(),
            last_ticket: 0,
            acknowledged: BTreeSet::new(),
            happenings: Vec::new(),
            events: 0,
            hurt: None,
            hurt_at: Index(0),
            rotten: None,
            snapshots_lost: 0,
            watch: None,
            options,
        };
        for id in (1..=cluster.options.nodes).map(NodeId) {
            let node = cluster.add_node(id);
            let first = node.disk.start().map_err(|e| Violation::Storage { node: id, error: e.to_string() })?;
            node.founded = Some(first.storage);
        }
        for id in cluster.ids() {
            cluster.start(id)?;
        }
        Ok(cluster)
    }

    fn add_node(&mut self, id: NodeId) -> &mut Node {
        let seed = self.options.seed;
        self.nodes.entry(id).or_insert_with(|| Node {
            disk: Disk::new(id, seed),
            disk_held: false,
            clock: Clock { tick_percent: 100, ahead_ms: 0 },
            founded: None,
            tasks: VecDeque::new(),
            is_installing: false,
            life: 0,
            up: None,
        })
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// A law was broken.
    pub fn step(&mut self) -> Result<(), Violation> {
        let done = self.event();
        if let (Err(_), Some(watch)) = (&done, &mut self.watch) {
            watch.ask_all();
        }
        self.look();
        done
    }

    fn event(&mut self) -> Result<(), Violation> {
        let Some(((at, _), (life, event))) = self.queue.pop_first() else { return Ok(()) };
        self.now_us = at;
        self.events += 1;
        let (node, input) = match event {
            Event::Tick(node) => (node, Input::Tick),
            Event::LinkLost { at, peer } => (at, Input::LinkLost(peer)),
            Event::Reset { at, peer } => (at, Input::PeerGone(peer)),
            Event::Arrive(envelope) => {
                if !self.network.passes(&envelope) || !self.is_up(envelope.to) {
                    return Ok(());
                }
                let to = envelope.to;
                if let Some(watch) = &mut self.watch {
                    watch.heard(&envelope, at);
                }
                let mut round = vec![Input::Message(*envelope)];
                round.extend(self.take_arrivals(to).into_iter().map(Input::Message));
                return self.handle(to, round);
            }
            Event::DiskDone(node) => return self.disk_done(node, life),
            Event::Snapshot(node, task) => return self.snapshot_done(node, life, *task),
        };
        if self.nodes[&node].life != life || !self.is_up(node) {
            return Ok(());
        }
        let is_tick = matches!(input, Input::Tick);
        if is_tick {
            self.schedule(TICK_US * self.nodes[&node].clock.tick_percent / 100, node, Event::Tick(node));
            if self.is_paused(node) {
                return Ok(());
            }
        }
        self.handle(node, vec![input])?;
        if is_tick { self.remember(node) } else { Ok(()) }
    }

    /// Steps until so much time has passed.
    ///
    /// # Errors
    /// A law was broken.
    pub fn run_for(&mut self, us: u64) -> Result<(), Violation> {
        let until = self.now_us + us;
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            self.step()?;
        }
        self.now_us = until;
        self.look();
        if let Some(watch) = &mut self.watch {
            watch.catch_up(until);
        }
        Ok(())
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What happened to messages, by kind.
    #[must_use]
    pub fn message_faults(&self) -> &BTreeMap<&'static str, u64> {
        &self.network.counts
    }

    /// How many snapshots were given up because they were not what they had been.
    #[must_use]
    pub fn snapshots_lost(&self) -> u64 {
        self.snapshots_lost
    }

    /// All nodes, members or not.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Whether a node is up.
    #[must_use]
    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.up.is_some())
    }

    fn is_paused(&self, id: NodeId) -> bool {
        self.nodes.get(&id).and_then(|n| n.up.as_ref()).is_some_and(|up| up.paused.is_some())
    }

    /// A node's replica, if it is up.
    #[must_use]
    pub fn replica(&self, id: NodeId) -> Option<&Replica> {
        self.nodes.get(&id)?.up.as_ref().map(|up| &up.replica)
    }

    /// The drive under a node: for faults at rest while it is down, or planned ones while it is up.
    #[must_use]
    pub fn drive(&self, id: NodeId) -> Option<&Drive> {
        self.nodes.get(&id).map(|node| node.disk.drive())
    }

    /// The leader of the highest term, if it is up.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let leaders = self.ids().into_iter().filter_map(|id| Some((self.replica(id)?.raft(), id)));
        leaders
            .filter(|(raft, _)| raft.role() == RoleKind::Leader)
            .max_by_key(|(raft, _)| raft.term())
            .map(|(_, id)| id)
    }

    /// All that take themselves for leaders.
    #[must_use]
    pub fn leaders(&self) -> Vec<NodeId> {
        let leads = |id: &NodeId| self.replica(*id).is_some_and(|r| r.raft().role() == RoleKind::Leader);
        self.ids().into_iter().filter(leads).collect()
    }

    /// Jobs whose submit was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> &BTreeSet<JobId> {
        &self.acknowledged
    }

    /// The highest index that was ever committed.
    #[must_use]
    pub fn committed(&self) -> Index {
        self.checks.committed()
    }

    /// What happened since the last call, with its time.
    pub fn take_happenings(&mut self) -> Vec<(u64, Happening)> {
        self.look();
        if let Some(watch) = &mut self.watch {
            watch.forget();
        }
        std::mem::take(&mut self.happenings)
    }

    fn happened(&mut self, what: Happening) {
        self.happenings.push((self.now_us, what));
    }

    fn schedule(&mut self, after_us: u64, node: NodeId, event: Event) {
        let life = self.nodes.get(&node).map_or(0, |n| n.life);
        self.made += 1;
        self.queue.insert((self.now_us + after_us, self.made), (life, event));
    }
}
