//! The cluster: events in the order of virtual time.
//!
//! An event is a tick, a message that arrives, or a disk that is done. [`Cluster::step`] takes the next one, lets the
//! replica handle it, and puts what follows from it back into the queue. Faults are not events but the state of network,
//! disks and clocks at that time. Everything that happens is appended to a list that the caller drains. Who wants to see it
//! as it happens looks on (`watch`).

pub(crate) mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    ops::RangeInclusive,
};

use raftdeck_jobs::{JobId, Op, Reply, SessionCall};
use raftdeck_node::{
    compaction::Retention,
    replica::{Applied, Effects, Event as ReplicaEvent, Input, Refused, Replica, Ticket},
    steering::Change,
    storage::{StorageError, snapshot::SNAPSHOT},
};
use raftdeck_raft::{
    Config, Envelope, GroupId, Index, Membership, NodeId, Observation, Observed, RoleKind, SnapshotTask, StorageId,
    Term, Write,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio_rusqlite::rusqlite::ErrorCode;

use crate::{
    checks::Checks,
    disk::Disk,
    network::{Arrival, Network, Traffic, Weather},
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

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    fn happened(&mut self, what: Happening) {
        self.happenings.push((self.now_us, what));
    }

    /// A client asks a node; the answer is a happening.
    ///
    /// # Errors
    /// A law was broken.
    pub fn request(&mut self, node: NodeId, op: Op) -> Result<Ticket, Violation> {
        self.call(node, op, None)
    }

    /// As [`Cluster::request`]; as a call of a session, if it is given.
    ///
    /// # Errors
    /// A law was broken.
    pub fn call(&mut self, node: NodeId, op: Op, call: Option<SessionCall>) -> Result<Ticket, Violation> {
        self.ask(node, |ticket| Input::Request(ticket, op, call))
    }

    /// As [`Cluster::call`]; a claim waits so many ticks for a job.
    ///
    /// # Errors
    /// A law was broken.
    pub fn wait(&mut self, node: NodeId, op: Op, call: Option<SessionCall>, ticks: u64) -> Result<Ticket, Violation> {
        self.ask(node, |ticket| Input::Wait(ticket, op, call, ticks))
    }

    fn ask(&mut self, node: NodeId, input: impl FnOnce(Ticket) -> Input) -> Result<Ticket, Violation> {
        let ticket = self.next_ticket();
        match self.nodes.get_mut(&node).and_then(|n| n.up.as_mut()) {
            None => self.happened(Happening::Answered(ticket, None)),
            Some(up) => {
                up.tickets.insert(ticket);
                if self.options.round_us > 0 {
                    up.asked.push(input(ticket)); // Whatever it does next, it does this with it.
                } else {
                    self.handle(node, vec![input(ticket)])?;
                }
            }
        }
        Ok(ticket)
    }

    /// A client or an operator asks a node for something else; the answer is a happening.
    ///
    /// # Errors
    /// A law was broken.
    pub fn steer(&mut self, node: NodeId, steer: Steer) -> Result<Ticket, Violation> {
        let ticket = self.next_ticket();
        let input = match steer {
            Steer::Read => {
                self.checks.read_begins(ticket);
                Input::Read(ticket)
            }
            Steer::Transfer(target) => Input::Transfer(ticket, target),
            Steer::Change(change) => Input::Change(ticket, change),
            Steer::Compact => Input::Compact(ticket),
        };
        match self.nodes.get_mut(&node).and_then(|n| n.up.as_mut()) {
            None => self.happened(Happening::Steered(ticket, None)),
            Some(up) => {
                up.steering.insert(ticket);
                self.handle(node, vec![input])?;
            }
        }
        Ok(ticket)
    }

    /// A node that belongs to nobody yet starts, and waits to be added.
    ///
    /// # Errors
    /// It does not start.
    pub fn join(&mut self, id: NodeId) -> Result<(), Violation> {
        self.add_node(id);
        self.start(id)
    }

    /// Messages of a kind do not pass from one node to another any more.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId, traffic: Traffic) {
        self.network.cut(from, to, traffic);
    }

    /// From now on nobody crashes in the middle of a truncation.
    pub fn spare_truncations(&mut self) {
        self.options.crash_truncating = 0.0;
    }

    /// Nothing passes between two nodes any more.
    pub fn cut(&mut self, one: NodeId, other: NodeId) {
        self.network.cut(one, other, Traffic::All);
        self.network.cut(other, one, Traffic::All);
    }

    /// Everything passes again.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// Everything passes again between these nodes.
    pub fn heal_among(&mut self, nodes: &BTreeSet<NodeId>) {
        self.network.heal_among(nodes);
    }

    /// Messages of a kind from one node to another wait on the way from now on, whatever becomes of the two.
    pub fn clog(&mut self, from: NodeId, to: NodeId, traffic: Traffic) {
        self.network.clog(from, to, traffic);
    }

    /// What waited arrives, and nothing waits any more: the messages, in the order in which they were sent.
    pub fn unclog(&mut self, from: NodeId, to: NodeId, arrival: Arrival) -> Vec<Envelope> {
        let waited = self.network.unclog(from, to);
        let arriving: Vec<&Envelope> = match arrival {
            Arrival::Once => waited.iter().collect(),
            Arrival::Twice => waited.iter().chain(&waited).collect(),
            Arrival::Backwards => waited.iter().rev().collect(),
            Arrival::Never => Vec::new(),
        };
        for envelope in arriving {
            let delay_us = self.rng.random_range(self.network.weather.delay_us.clone());
            self.schedule(delay_us, to, Event::Arrive(Box::new(envelope.clone())));
        }
        waited
    }

    /// How messages fare now.
    #[must_use]
    pub fn weather(&self) -> &Weather {
        &self.network.weather
    }

    /// How messages fare from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.network.weather = weather;
    }

    /// From now on a node's ticks are so long, in percent, and its wall clock is ahead by so much.
    pub fn set_clock(&mut self, id: NodeId, tick_percent: u64, ahead_ms: i64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.clock = Clock { tick_percent: tick_percent.max(1), ahead_ms };
        }
    }

    /// A node stands still: what comes waits.
    pub fn pause(&mut self, id: NodeId) {
        let now = self.now_us;
        if let Some(up) = self.nodes.get_mut(&id).and_then(|n| n.up.as_mut()).filter(|up| up.paused.is_none()) {
            up.paused = Some(Vec::new());
            up.paused_at = now;
        }
    }

    /// A node that stood still goes on with all that came meanwhile.
    ///
    /// # Errors
    /// A law was broken.
    pub fn resume(&mut self, id: NodeId) -> Result<(), Violation> {
        let now = self.now_us;
        let Some(up) = self.nodes.get_mut(&id).and_then(|n| n.up.as_mut()) else { return Ok(()) };
        let Some(waited) = up.paused.take() else { return Ok(()) };
        let shortest_us = TICK_US * u64::from(election_ticks_min());
        let slept = (now - up.paused_at >= shortest_us).then_some(Input::Slept);
        self.handle(id, slept.into_iter().chain(waited).collect())
    }

    /// Whether this node's disk may be damaged without more being lost than the group can bear: one disk at a time, when
    /// every node is up and knows the directories of all voters. A second one before the first is whole, or a disk that
    /// nobody knows yet, would be the last copy of something. Rot may be found long after it struck, so once a disk has it,
    /// no other is damaged any more.
    #[must_use]
    pub fn may_hurt(&self, id: NodeId) -> bool {
        let Some(leader) = self.leader().and_then(|leader| self.replica(leader)) else { return false };
        let membership = leader.raft().membership();
        let is_whole = |(node, up): (&NodeId, &Node)| {
            let Some(replica) = up.up.as_ref().map(|up| &up.replica) else { return false };
            let raft = replica.raft();
            let is_bound = |m: &Membership| m.voters.iter().all(|n| m.storages.contains_key(n));
            let is_member = !membership.contains(*node) || membership.admits(*node, raft.storage());
            !raft.is_damaged() && is_member && is_bound(raft.membership())
        };
        let caught_up = |id: &NodeId| self.replica(*id).is_some_and(|r| r.raft().commit() >= self.hurt_at);
        self.nodes.iter().all(is_whole)
            && membership.voters.len() >= 3
            && !membership.is_joint()
            && self.hurt.iter().all(caught_up)
            && self.rotten.is_none_or(|rotten| rotten == id)
            && self.nodes.contains_key(&id)
    }

    /// This node's disk is being damaged: it is whole again when it has all that is committed by now.
    pub fn note_hurt(&mut self, id: NodeId, by_rot: bool) {
        self.hurt = Some(id);
        self.checks.note_hurt(id);
        self.rotten = self.rotten.or(by_rot.then_some(id));
        self.hurt_at = self.committed();
        if let Some(node) = self.nodes.get_mut(&id) {
            node.disk.note_hurt();
        }
    }

    /// Rot that was not met yet is met now. A node that meets it ends: what is promised from here on is promised without.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn find_rot(&mut self) -> Result<(), Violation> {
        let Some(id) = self.rotten else { return Ok(()) };
        self.crash(id); // What it has in its cache would hide it.
        self.start(id)?;
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up.is_some()) else { return Ok(()) };
        if let Err(error) = node.disk.find_rot() {
            self.tables_failed(id, &error);
        }
        self.start(id)
    }

    /// A node is gone at once, with all that it had not written.
    pub fn crash(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(up) = node.up.take() else { return };
        // A held disk has not begun with it.
        node.disk.crash(if node.disk_held { &[] } else { &up.under_way });
        let lost = up.tickets.into_iter().map(|ticket| Happening::Answered(ticket, None));
        let lost = lost.chain(up.steering.into_iter().map(|ticket| Happening::Steered(ticket, None)));
        self.happenings.extend(lost.map(|what| (self.now_us, what)));
        for at in self.ids() {
            self.schedule(1_000, at, Event::LinkLost { at, peer: id });
        }
    }

    /// The connections to a node are reset, as its host does when its process is gone. It may still be there.
    pub fn reset(&mut self, id: NodeId) {
        for at in self.ids().into_iter().filter(|at| *at != id) {
            self.schedule(1_000, at, Event::Reset { at, peer: id });
        }
    }

    /// An entry on the disk of a node that is down is again what it was before it was replaced: the write that replaced it
    /// was lost. False if it never was.
    pub fn age(&mut self, id: NodeId, index: Index) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.up.is_none() && node.disk.age(index))
    }

    /// A node starts with what its disk has.
    ///
    /// # Errors
    /// Its disk is not what was written to it.
    pub fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        if self.is_up(id) {
            return Ok(());
        }
        let seed = self.rng.random();
        let (batch_entries_max, retention) = (self.options.batch_entries_max, self.options.retention);
        let node = self.nodes.get_mut(&id).expect("only nodes that there are can start");
        let started = match node.disk.start() {
            Ok(started) => started,
            // It stays down until there is room.
            Err(error) if node.disk.drive().is_limited() && says_full(&error) => {
                self.happened(Happening::DiskFailed(id, error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(Violation::Storage { node: id, error: error.to_string() }),
        };
        let belongs = node.founded.is_some() && !started.joins;
        node.tasks.clear();
        node.is_installing = false;
        let bootstrap = if belongs { self.bootstrap(started.storage) } else { Membership::default() };
        let node = self.nodes.get_mut(&id).expect("it was here just now");
        let config = Config { batch_entries_max, ..Config::new(id, started.storage, bootstrap, seed) };
        let remembered = started.restart.applied;
        node.life += 1;
        let replica = Replica::new(GroupId::FIRST, config, started.restart, started.machine, retention);
        self.checks.started(id, &replica)?;
        node.up = Some(Up {
            replica,
            gathered: Vec::new(),
            under_way: Vec::new(),
            stuck: false,
            remembered,
            remembered_at: self.now_us,
            tickets: BTreeSet::new(),
            steering: BTreeSet::new(),
            asked: Vec::new(),
            paused: None,
            paused_at: 0,
        });
        self.handle(id, vec![Input::Remembered(remembered)])?;
        // Its peers connect to it anew.
        for at in self.ids().into_iter().filter(|at| *at != id) {
            self.schedule(1_000, at, Event::LinkLost { at, peer: id });
        }
        // Nodes do not tick at the same instant: nothing in the world does.
        self.schedule(TICK_US + id.0 * 100, id, Event::Tick(id));
        Ok(())
    }

    /// Who belongs to the group at first. One that lost all trace of its past begins as at first, too; but it is bound to
    /// nothing that the others know.
    fn bootstrap(&self, storage: StorageId) -> Membership {
        let founders = self.nodes.iter().filter_map(|(id, n)| Some((*id, n.founded?)));
        let storages: BTreeMap<NodeId, StorageId> = founders.collect();
        let unbound = Membership::of(storages.keys().copied());
        let is_first = storages.values().any(|first| *first == storage);
        if self.options.bound && is_first { Membership { storages, ..unbound } } else { unbound }
    }

    /// A disk takes writes but does not finish any.
    pub fn hold_disk(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.disk_held = true;
        }
    }

    /// A disk that was held goes on.
    pub fn release_disk(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.disk_held = false;
        if let Some(up) = node.up.as_mut().filter(|up| up.stuck) {
            up.stuck = false;
            self.schedule(0, id, Event::DiskDone(id));
        }
    }

    /// A node's election clock runs out now.
    ///
    /// # Errors
    /// A law was broken.
    pub fn time_out(&mut self, id: NodeId) -> Result<(), Violation> {
        let left = self.replica(id).and_then(|r| r.raft().election_clock()).map_or(0, |(left, _)| left);
        for _ in 0..left {
            self.handle(id, vec![Input::Tick])?;
        }
        Ok(())
    }

    fn schedule(&mut self, after_us: u64, node: NodeId, event: Event) {
        let life = self.nodes.get(&node).map_or(0, |n| n.life);
        self.made += 1;
        self.queue.insert((self.now_us + after_us, self.made), (life, event));
    }

    /// What else arrives at a node within its round.
    fn take_arrivals(&mut self, to: NodeId) -> Vec<Envelope> {
        if self.options.round_us == 0 {
            return Vec::new();
        }
        let until = (self.now_us + self.options.round_us, u64::MAX);
        let here = |event: &Event| matches!(event, Event::Arrive(envelope) if envelope.to == to);
        let keys: Vec<_> = self.queue.range(..=until).filter(|(_, (_, event))| here(event)).map(|(k, _)| *k).collect();
        let arrived = keys.into_iter().filter_map(|key| match self.queue.remove(&key) {
            Some((_, Event::Arrive(envelope))) => Some(*envelope),
            Some(_) | None => None,
        });
        let network = &self.network;
        arrived.filter(|envelope| network.passes(envelope)).collect()
    }

    /// A round, and at once another one if it gave work to those who wait for it: as the driver does.
    fn handle(&mut self, id: NodeId, inputs: Vec<Input>) -> Result<(), Violation> {
        self.round(id, inputs)?;
        let has_work = self.replica(id).is_some_and(Replica::has_work_for_parked) && !self.is_paused(id);
        if has_work { self.round(id, vec![Input::Gone(Vec::new())]) } else { Ok(()) }
    }

    fn round(&mut self, id: NodeId, inputs: Vec<Input>) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let wall_ms = (EPOCH_MS + self.now_us / 1000).saturating_add_signed(node.clock.ahead_ms);
        let Some(up) = node.up.as_mut() else { return Ok(()) };
        if let Some(waiting) = &mut up.paused {
            waiting.extend(inputs);
            return Ok(());
        }
        let inputs: Vec<Input> = std::mem::take(&mut up.asked).into_iter().chain(inputs).collect();
        let is_asked_to_change = inputs.iter().any(|input| matches!(input, Input::Change(..)));
        let effects = up.replica.handle(wall_ms, inputs);
        let Effects { write, send, replies, steered, snapshots, events, work: _ } = effects;
        up.gathered.extend(write);
        self.checks.look(id, &up.replica)?;
        for event in events {
            let happening = match event {
                ReplicaEvent::Core(observed) => {
                    let Some(up) = self.nodes[&id].up.as_ref() else { return Ok(()) };
                    self.checks.observed(id, &up.replica, &observed)?;
                    self.check_promotion(id, &observed, is_asked_to_change)?;
                    Happening::Observed(id, observed)
                }
                ReplicaEvent::Jobs { term, index, what } => Happening::Jobs(id, term, index, what),
            };
            self.happenings.push((self.now_us, happening));
        }
        for (ticket, reply) in replies {
            if let Some(up) = self.nodes.get_mut(&id).and_then(|n| n.up.as_mut()) {
                up.tickets.remove(&ticket);
            }
            self.check_reply(&reply)?;
            self.happened(Happening::Answered(ticket, Some(reply)));
        }
        for (ticket, answer) in steered {
            if let Some(up) = self.nodes.get_mut(&id).and_then(|n| n.up.as_mut()) {
                up.steering.remove(&ticket);
            }
            self.checks.read_ends(ticket, answer.as_ref().ok().copied())?;
            self.happened(Happening::Steered(ticket, Some(answer)));
        }
        for envelope in send {
            self.post(&envelope)?;
        }
        self.start_write(id);
        let Some(node) = self.nodes.get_mut(&id).filter(|_| !snapshots.is_empty()) else { return Ok(()) };
        let is_idle = node.tasks.is_empty();
        node.tasks.extend(snapshots);
        if is_idle {
            self.start_task(id);
        }
        Ok(())
    }

    fn check_promotion(&self, id: NodeId, observed: &Observed, is_asked_to: bool) -> Result<(), Violation> {
        let Observation::MembershipChanged { index, .. } = observed.what else { return Ok(()) };
        let Some(replica) = self.replica(id).filter(|_| !is_asked_to) else { return Ok(()) };
        self.checks.promoted(id, replica, index, |node, index, term| {
            let is_whole = self.replica(node).is_some_and(|r| !r.raft().is_damaged());
            !is_whole || self.nodes[&node].disk.has(index, term)
        })
    }

    fn check_reply(&mut self, reply: &Result<Applied, Refused>) -> Result<(), Violation> {
        let Ok(Applied { index, reply }) = reply else { return Ok(()) };
        if let Reply::Claimed(jobs) = reply
            && jobs.is_empty()
        {
            return Ok(()); // May have been answered without an entry.
        }
        let nodes = &self.nodes;
        let durable = |index: Index, term: Term| -> BTreeSet<NodeId> {
            nodes.iter().filter(|(_, n)| n.disk.has(index, term)).map(|(id, _)| *id).collect()
        };
        let memberships: Vec<&Membership> =
            nodes.values().filter_map(|n| Some(n.up.as_ref()?.replica.raft().membership())).collect();
        self.checks.acknowledged(*index, durable, &memberships)?;
        if let Reply::Submitted(Ok(jobs)) = reply {
            self.acknowledged.extend(jobs.iter().map(|j| j.id));
        }
        Ok(())
    }

    fn post(&mut self, envelope: &Envelope) -> Result<(), Violation> {
        self.checks.sent(envelope)?;
        if self.network.hold_up(envelope) {
            return Ok(());
        }
        for (delay_us, envelope) in self.network.fate(envelope, &mut self.rng) {
            if self.nodes.contains_key(&envelope.to) {
                self.schedule(delay_us, envelope.to, Event::Arrive(Box::new(envelope)));
            }
        }
        Ok(())
    }

    fn start_write(&mut self, id: NodeId) {
        let Some(up) = self.nodes.get_mut(&id).and_then(|n| n.up.as_mut()) else { return };
        if up.under_way.is_empty() && !up.gathered.is_empty() {
            up.under_way = std::mem::take(&mut up.gathered);
            let time = self.rng.random_range(self.options.disk_us.clone());
            self.schedule(time, id, Event::DiskDone(id));
        }
    }

    fn disk_done(&mut self, id: NodeId, life: u64) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id).filter(|n| n.life == life) else { return Ok(()) };
        let Some(up) = node.up.as_mut() else { return Ok(()) };
        if node.disk_held {
            up.stuck = true;
            return Ok(());
        }
        let p = self.options.crash_truncating;
        if node.disk.truncates(&up.under_way) && self.rng.random_bool(p) {
            self.crash(id);
            return Ok(());
        }
        let writes = std::mem::take(&mut up.under_way);
        match node.disk.write(&writes) {
            Ok(seq) => self.handle(id, vec![Input::Persisted(seq)]),
            Err(error) => {
                self.disk_failed(id, &error);
                Ok(())
            }
        }
    }

    fn remember(&mut self, id: NodeId) -> Result<(), Violation> {
        let now = self.now_us;
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let Some(up) = node.up.as_mut().filter(|up| now - up.remembered_at >= REMEMBER_EVERY_US) else { return Ok(()) };
        up.remembered_at = now;
        if node.is_installing {
            return Ok(());
        }
        let Some((changes, start)) = up.replica.take_changes(up.remembered) else { return Ok(()) };
        if let Err(error) = node.disk.remember(&changes, &start) {
            self.tables_failed(id, &error);
            return Ok(());
        }
        up.replica.remembered(&changes);
        up.remembered = Index(changes.applied);
        self.handle(id, vec![Input::Remembered(Index(changes.applied))])
    }

    /// Rot is found: the tables are given up, and with them, if the log was cut, all that they stood for. It is now that the
    /// disk loses it.
    fn tables_failed(&mut self, id: NodeId, error: &StorageError) {
        if matches!(error, StorageError::Damaged(_)) {
            self.note_hurt(id, true);
        }
        self.disk_failed(id, error);
    }

    /// The process ends with the cause: nothing is known about its disk any more.
    fn disk_failed(&mut self, id: NodeId, error: &StorageError) {
        self.happened(Happening::DiskFailed(id, error.to_string()));
        self.crash(id);
    }

    /// Snapshot tasks are done one after the other, each in its time.
    fn start_task(&mut self, id: NodeId) {
        let time = self.rng.random_range(self.options.disk_us.clone());
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let Some(task) = node.tasks.front().cloned() {
            node.is_installing |= matches!(task, SnapshotTask::Install(_));
            self.schedule(time, id, Event::Snapshot(id, Box::new(task)));
        }
    }

    fn snapshot_done(&mut self, id: NodeId, life: u64, task: SnapshotTask) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id).filter(|n| n.life == life && n.up.is_some()) else { return Ok(()) };
        node.tasks.pop_front();
        node.is_installing = false;
        let answer = match node.disk.snapshot(task) {
            Ok(answer) => answer,
            Err(error) => {
                self.disk_failed(id, &error);
                return Ok(());
            }
        };
        match (&answer, &mut node.up) {
            (Some(Input::SnapshotInstalled(meta, _)), Some(up)) => up.remembered = meta.start.index,
            (Some(Input::SnapshotTaken(Some((_, bytes, _)))), _) => {
                let p = self.options.rot_snapshots;
                // Drawn only where there is rot at all: other runs stay what they are.
                if p > 0.0 && self.rng.random_bool(p) {
                    let byte = usize::try_from(self.rng.random_range(0..*bytes)).expect("a simulated file is short");
                    node.disk.drive().flip(SNAPSHOT, byte, self.rng.random_range(0..8));
                }
            }
            (Some(Input::SnapshotLost(_)), _) => self.snapshots_lost += 1,
            (Some(_) | None, _) => {}
        }
        self.start_task(id);
        self.handle(id, answer.into_iter().collect())
    }

    /// Callers without an answer, on nodes that are up.
    ///
    /// # Errors
    /// There are some.
    pub fn all_answered(&self) -> Result<(), Violation> {
        let unanswered = |(node, n): (&NodeId, &Node)| {
            let up = n.up.as_ref()?;
            let count = up.replica.unanswered() + up.tickets.len() + up.steering.len();
            (count > 0).then_some(Violation::Unanswered { node: *node, count })
        };
        self.nodes.iter().find_map(unanswered).map_or(Ok(()), Err)
    }
}

/// Whether there was no room; any other error of a start is none that a full disk excuses.
fn says_full(error: &StorageError) -> bool {
    match error {
        StorageError::Sqlite { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
        StorageError::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
        StorageError::Damaged(_)
        | StorageError::LogLost(_)
        | StorageError::OtherNode { .. }
        | StorageError::Format { .. }
        | StorageError::InUse(_) => false,
    }
}

fn election_ticks_min() -> u32 {
    Config::new(NodeId(1), StorageId(1), Membership::default(), 0).election_ticks_min
}
