//! The cluster: events in the order of virtual time.
//!
//! An event is a tick, a message that arrives, or a disk that is done. [`Cluster::step`] takes the next one, lets the
//! replica handle it, and puts what follows from it back into the queue. Faults are not events but the state of network
//! and disks at that time. Everything that happens is appended to a list that the caller drains.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use raftdeck_jobs::{JobId, Op, Reply};
use raftdeck_node::replica::{Applied, Effects, Event as ReplicaEvent, Input, Refused, Replica, Ticket};
use raftdeck_raft::{Config, Envelope, GroupId, Index, NodeId, Observation, Observed, RoleKind, Write};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    checks::{Checks, Violation, logs_match},
    disk::Disk,
    vfs::Drive,
};

const TICK_US: u64 = 10_000;
const REMEMBER_EVERY_US: u64 = 100_000;

/// Where virtual time starts, unix milliseconds: any time will do.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// How messages fare.
#[derive(Clone, Debug)]
pub struct Network {
    /// Time on the way, microseconds.
    pub delay_us: RangeInclusive<u64>,
    /// Part of the messages that is lost.
    pub loss: f64,
    /// Part that arrives twice.
    pub duplicate: f64,
}

/// A cluster to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes, all voters.
    pub nodes: u64,
    /// Where chance starts.
    pub seed: u64,
    /// How messages fare.
    pub network: Network,
    /// Time of a disk write, microseconds.
    pub disk_us: RangeInclusive<u64>,
    /// Entries in one append: few of them bring out what batches hide.
    pub batch_entries_max: usize,
    /// A node handles what arrives within this time in one round, microseconds: a busy one does.
    pub round_us: u64,
}

impl Options {
    /// A calm cluster: half a millisecond on the way, a fifth on the disk.
    #[must_use]
    pub fn calm(nodes: u64, seed: u64) -> Options {
        let network = Network { delay_us: 500..=500, loss: 0.0, duplicate: 0.0 };
        Options { nodes, seed, network, disk_us: 200..=200, batch_entries_max: 1024, round_us: 0 }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A node observed something in its core.
    Observed(NodeId, Observed),
    /// An entry did something to jobs on this node.
    Jobs(NodeId, Index, String),
    /// A client got an answer; none if its node crashed.
    Answered(Ticket, Option<Result<Applied, Refused>>),
}

#[derive(Clone, Debug)]
enum Event {
    Tick(NodeId),
    Arrive(Envelope),
    LinkLost { at: NodeId, peer: NodeId },
    DiskDone(NodeId),
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
}

#[derive(Debug)]
struct Node {
    disk: Disk,
    disk_held: bool,
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
    /// From whom to whom nothing passes.
    cut: BTreeSet<(NodeId, NodeId)>,
    checks: Checks,
    last_ticket: u64,
    acknowledged: BTreeSet<JobId>,
    happenings: Vec<(u64, Happening)>,
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
            cut: BTreeSet::new(),
            checks: Checks::default(),
            last_ticket: 0,
            acknowledged: BTreeSet::new(),
            happenings: Vec::new(),
            options,
        };
        for id in (1..=cluster.options.nodes).map(NodeId) {
            cluster
                .nodes
                .insert(id, Node { disk: Disk::new(id, cluster.options.seed), disk_held: false, life: 0, up: None });
        }
        for id in cluster.ids() {
            cluster.start(id)?;
        }
        Ok(cluster)
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// A law was broken.
    pub fn step(&mut self) -> Result<(), Violation> {
        let Some(((at, _), (life, event))) = self.queue.pop_first() else { return Ok(()) };
        self.now_us = at;
        let (node, input) = match event {
            Event::Tick(node) => (node, Input::Tick),
            Event::LinkLost { at, peer } => (at, Input::LinkLost(peer)),
            Event::Arrive(envelope) => {
                if self.cut.contains(&(envelope.from, envelope.to)) || !self.is_up(envelope.to) {
                    return Ok(());
                }
                let to = envelope.to;
                let mut round = vec![Input::Message(envelope)];
                round.extend(self.take_arrivals(to).into_iter().map(Input::Message));
                return self.handle(to, round);
            }
            Event::DiskDone(node) => return self.disk_done(node, life),
        };
        if self.nodes[&node].life != life || !self.is_up(node) {
            return Ok(());
        }
        let is_tick = matches!(input, Input::Tick);
        self.handle(node, vec![input])?;
        if is_tick {
            self.schedule(TICK_US, node, Event::Tick(node));
            self.remember(node)?;
        }
        Ok(())
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
        self.check_logs()
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// All nodes.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Whether a node is up.
    #[must_use]
    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.up.is_some())
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

    /// Jobs whose submit was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> &BTreeSet<JobId> {
        &self.acknowledged
    }

    /// What happened since the last call, with its time.
    pub fn take_happenings(&mut self) -> Vec<(u64, Happening)> {
        std::mem::take(&mut self.happenings)
    }

    /// A client asks a node; the answer is a happening.
    ///
    /// # Errors
    /// A law was broken.
    pub fn request(&mut self, node: NodeId, op: Op) -> Result<Ticket, Violation> {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        match self.nodes.get_mut(&node).and_then(|n| n.up.as_mut()) {
            None => self.happenings.push((self.now_us, Happening::Answered(ticket, None))),
            Some(up) => {
                up.tickets.insert(ticket);
                self.handle(node, vec![Input::Request(ticket, op)])?;
            }
        }
        Ok(ticket)
    }

    /// Nothing passes from one node to another any more.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Nothing passes between two nodes any more.
    pub fn cut(&mut self, one: NodeId, other: NodeId) {
        self.cut.extend([(one, other), (other, one)]);
    }

    /// Everything passes again.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// How messages fare from now on.
    pub fn set_network(&mut self, network: Network) {
        self.options.network = network;
    }

    /// A node is gone at once, with all that it had not written.
    pub fn crash(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(up) = node.up.take() else { return };
        // A held disk has not begun with it.
        node.disk.crash(if node.disk_held { &[] } else { &up.under_way });
        let lost = up.tickets.into_iter().map(|ticket| (self.now_us, Happening::Answered(ticket, None)));
        self.happenings.extend(lost);
        for at in self.ids() {
            self.schedule(1_000, at, Event::LinkLost { at, peer: id });
        }
    }

    /// A node starts with what its disk has.
    ///
    /// # Errors
    /// Its disk is not what was written to it.
    pub fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        if self.is_up(id) {
            return Ok(());
        }
        let voters: BTreeSet<NodeId> = self.ids().into_iter().collect();
        let batch_entries_max = self.options.batch_entries_max;
        let config = Config { batch_entries_max, ..Config::new(id, voters, self.rng.random()) };
        let node = self.nodes.get_mut(&id).expect("only members are started");
        let (found, machine) = node.disk.start().map_err(|e| Violation::Storage { node: id, error: e.to_string() })?;
        let remembered = Index(machine.applied());
        node.life += 1;
        let replica = Replica::new(GroupId::FIRST, config, found.hard, found.entries, machine);
        self.checks.started(id, &replica)?;
        node.up = Some(Up {
            replica,
            gathered: Vec::new(),
            under_way: Vec::new(),
            stuck: false,
            remembered,
            remembered_at: self.now_us,
            tickets: BTreeSet::new(),
        });
        // Its peers connect to it anew.
        for at in self.ids().into_iter().filter(|at| *at != id) {
            self.schedule(1_000, at, Event::LinkLost { at, peer: id });
        }
        // Nodes do not tick at the same instant: nothing in the world does.
        self.schedule(TICK_US + id.0 * 100, id, Event::Tick(id));
        Ok(())
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
            Some((_, Event::Arrive(envelope))) => Some(envelope),
            Some(_) | None => None,
        });
        let cut = &self.cut;
        arrived.filter(|envelope| !cut.contains(&(envelope.from, envelope.to))).collect()
    }

    fn handle(&mut self, id: NodeId, inputs: Vec<Input>) -> Result<(), Violation> {
        let wall_ms = EPOCH_MS + self.now_us / 1000;
        let Some(up) = self.nodes.get_mut(&id).and_then(|n| n.up.as_mut()) else { return Ok(()) };
        let Effects { write, send, replies, events, work: _ } = up.replica.handle(wall_ms, inputs);
        up.gathered.extend(write);
        for (ticket, _) in &replies {
            up.tickets.remove(ticket);
        }
        self.checks.look(id, &up.replica)?;
        for event in events {
            let happening = match event {
                ReplicaEvent::Core(observed) => {
                    if let Observation::Became { role: RoleKind::Leader, .. } = observed.what {
                        self.checks.leads(id, &up.replica)?;
                    }
                    Happening::Observed(id, observed)
                }
                ReplicaEvent::Jobs { index, what, .. } => Happening::Jobs(id, index, what),
            };
            self.happenings.push((self.now_us, happening));
        }
        for (ticket, reply) in replies {
            self.check_reply(&reply)?;
            self.happenings.push((self.now_us, Happening::Answered(ticket, Some(reply))));
        }
        for envelope in send {
            self.post(&envelope);
        }
        self.start_write(id);
        Ok(())
    }

    fn check_reply(&mut self, reply: &Result<Applied, Refused>) -> Result<(), Violation> {
        let Ok(Applied { index, reply }) = reply else { return Ok(()) };
        if let Reply::Claimed(jobs) = reply
            && jobs.is_empty()
        {
            return Ok(()); // May have been answered without an entry.
        }
        self.checks.acknowledged(*index, self.nodes.values().map(|n| &n.disk))?;
        if let Reply::Submitted(Ok(jobs)) = reply {
            self.acknowledged.extend(jobs.iter().map(|j| j.id));
        }
        Ok(())
    }

    fn post(&mut self, envelope: &Envelope) {
        self.checks.sent(envelope);
        let Network { delay_us, loss, duplicate } = self.options.network.clone();
        let copies = match (self.rng.random_bool(loss), self.rng.random_bool(duplicate)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        for _ in 0..copies {
            let delay = self.rng.random_range(delay_us.clone());
            self.schedule(delay, envelope.to, Event::Arrive(envelope.clone()));
        }
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
        let writes = std::mem::take(&mut up.under_way);
        let seq = node.disk.write(&writes).map_err(|e| Violation::Storage { node: id, error: e.to_string() })?;
        self.handle(id, vec![Input::Persisted(seq)])
    }

    fn remember(&mut self, id: NodeId) -> Result<(), Violation> {
        let now = self.now_us;
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let Some(up) = node.up.as_mut().filter(|up| now - up.remembered_at >= REMEMBER_EVERY_US) else { return Ok(()) };
        up.remembered_at = now;
        if let Some(changes) = up.replica.take_changes(up.remembered) {
            node.disk.remember(&changes).map_err(|e| Violation::Storage { node: id, error: e.to_string() })?;
            up.replica.remembered(&changes);
            up.remembered = Index(changes.applied);
        }
        Ok(())
    }

    /// Log matching between all nodes that are up.
    fn check_logs(&self) -> Result<(), Violation> {
        let up: Vec<(NodeId, &Replica)> =
            self.ids().into_iter().filter_map(|id| Some((id, self.replica(id)?))).collect();
        for (place, one) in up.iter().enumerate() {
            for other in &up[place + 1..] {
                logs_match(*one, *other)?;
            }
        }
        Ok(())
    }
}
