//! A whole group as one value, and everything that can happen to it next.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use stateright::{Model, Property};

use super::{
    bounds::{Bounds, Prelude, Reached, Times, storage},
    host::{Disk, Host},
    laws::{History, Law},
};
use crate::{Body, Envelope, Index, NodeId, RoleKind, StorageId};

/// A value that many states share, hashed once.
pub(super) struct Shared<T>(Arc<(u64, T)>);

impl<T: Hash> Shared<T> {
    fn new(value: T) -> Shared<T> {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Shared(Arc::new((hasher.finish(), value)))
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.1.fmt(f)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.0.hash(state);
    }
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A message arrives. A copy of it may stay on its way.
    Deliver {
        envelope: Shared<Envelope>,
        copy: bool,
    },
    Lose(Shared<Envelope>),
    /// A request for votes arrives at one who has not heard its leader for the shortest election timeout.
    DeliverLate(Shared<Envelope>),
    /// A write is done.
    Complete(NodeId),
    /// Election clock of a node runs out; a leader has heard nobody for too long.
    TimeOut(NodeId),
    /// A leader's clock ticks once.
    Heartbeat(NodeId),
    /// What was in memory is gone; the node starts again.
    Crash(NodeId),
    /// The same, and the disk has lost everything after an index, and knows it.
    Damage(NodeId, Index),
    /// The same, with a new, empty disk.
    Wipe(NodeId),
    BreakLink(NodeId, NodeId),
    Propose(NodeId),
    Change(NodeId),
    Transfer(NodeId, NodeId),
    Read(NodeId),
}

/// The state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    hosts: Vec<Shared<Host>>,
    /// On their way: link by link, and on each link in the order they were sent. What never arrives is lost.
    network: Vec<Shared<Envelope>>,
    times: Times,
    history: Shared<History>,
    pub(super) broken: Option<Law>,
}

impl World {
    fn host(&self, node: NodeId) -> &Host {
        &self.hosts[place(node)]
    }

    fn ids(&self) -> impl Iterator<Item = NodeId> {
        (1..=self.hosts.len() as u64).map(NodeId)
    }

    fn leaders(&self) -> impl Iterator<Item = NodeId> {
        self.hosts.iter().filter(|h| h.raft.role() == RoleKind::Leader).map(|h| h.raft.id())
    }

    /// A message is not on its way any more.
    fn without(&self, envelope: &Shared<Envelope>) -> World {
        let mut world = self.clone();
        let at = world.network.iter().position(|e| e == envelope);
        world.network.remove(at.expect("only what is on its way arrives"));
        world
    }

    /// The first message on each link.
    fn heads(&self) -> impl Iterator<Item = &Shared<Envelope>> {
        let links = self.network.chunk_by(|one, other| (one.from, one.to) == (other.from, other.to));
        links.map(|link| &link[0])
    }

    /// Puts messages on their way. The same one twice in a row says no more than once.
    fn post(&mut self, sent: Vec<Envelope>) {
        for envelope in sent {
            let envelope = Shared::new(envelope);
            let end = self.network.partition_point(|e| (e.from, e.to) <= (envelope.from, envelope.to));
            if end == 0 || self.network[end - 1] != envelope {
                self.network.insert(end, envelope);
            }
        }
    }

    /// Answers that nobody will listen to any more: the receiver's term, on its disk, is a later one.
    fn forget_stale(&mut self) {
        let hosts = &self.hosts;
        self.network.retain(|envelope| {
            let Some(host) = hosts.get(place(envelope.to)) else { return false };
            let known = host.disk.hard.term;
            match envelope.body {
                Body::Vote { pre: true, asked, .. } => asked > known || envelope.term > known,
                Body::Vote { pre: false, asked, .. } => asked >= known || envelope.term > known,
                Body::Appended { .. } | Body::Rejected(_) | Body::HeartbeatReply { .. } | Body::TimeoutNow => {
                    envelope.term >= known
                }
                Body::SnapshotWanted { .. } => envelope.term >= known,
                Body::RequestVote { .. }
                | Body::Append(_)
                | Body::Heartbeat { .. }
                | Body::SnapshotOffer(_)
                | Body::SnapshotChunk(_) => true,
            }
        });
    }
}

fn place(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).expect("a small number")
}

impl Bounds {
    fn first(&self) -> World {
        let hosts = (1..=self.nodes).map(|n| Host::start(self.config(NodeId(n), storage(NodeId(n))), Disk::default()));
        let hosts = hosts.map(|mut host| {
            host.carry_out(false);
            Shared::new(host)
        });
        let hosts = hosts.collect();
        let history = Shared::new(History::of(self.bootstrap.clone()));
        let mut world = World { hosts, network: Vec::new(), times: Times::default(), history, broken: None };
        match self.prelude {
            Prelude::Nothing => {}
            Prelude::Led => world = self.led(&world),
            Prelude::Divided => {
                world = self.led(&world);
                let alone = self.step(&world, &Action::Propose(NodeId(1))).expect("a leader takes a command");
                world = World { network: Vec::new(), ..alone };
                world = self.step(&world, &Action::TimeOut(NodeId(2))).expect("a node times out");
                let is_vote = |e: &Envelope| matches!(e.body, Body::RequestVote { .. } | Body::Vote { .. });
                world = self.settle(world, |e| is_vote(e) && e.from != NodeId(1) && e.to != NodeId(1));
                assert_eq!(world.host(NodeId(2)).raft.role(), RoleKind::Leader, "the second leader is in office");
            }
        }
        World { network: Vec::new(), times: Times::default(), ..world }
    }

    /// Node 1 in office, and its first entry committed everywhere.
    fn led(&self, world: &World) -> World {
        let asking = self.step(world, &Action::TimeOut(NodeId(1))).expect("a node times out");
        let elected = self.settle(asking, |_| true);
        let telling = self.step(&elected, &Action::Heartbeat(NodeId(1))).expect("a leader's clock ticks");
        let settled = self.settle(telling, |_| true);
        assert!(self.bootstrap.voters.iter().all(|n| settled.host(*n).raft.commit() == Index(1)), "all is committed");
        settled
    }

    /// Until nothing more happens by itself, with the messages that come through.
    fn settle(&self, mut world: World, comes_through: impl Fn(&Envelope) -> bool) -> World {
        loop {
            world.network.retain(|e| comes_through(e));
            let writes = world.ids().filter(|n| !world.host(*n).writes.is_empty()).map(Action::Complete);
            let is_late = |e: &Envelope| world.host(e.to).raft.live_leader(e.from).is_some();
            let arrivals = world.heads().map(|e| match e.body {
                Body::RequestVote { .. } if is_late(e) => Action::DeliverLate(e.clone()),
                _ => Action::Deliver { envelope: e.clone(), copy: false },
            });
            let next: Vec<Action> = writes.chain(arrivals).collect();
            let Some(after) = next.iter().find_map(|action| self.step(&world, action)) else { return world };
            world = after;
        }
    }

    /// Lets one node do something, and carries out what follows from it.
    fn with(&self, world: &World, node: NodeId, act: impl FnOnce(&mut Host, &mut History) -> bool) -> Option<World> {
        let mut host = world.host(node).clone();
        let mut history = History::clone(&world.history);
        let outcome =
            catch_unwind(AssertUnwindSafe(|| act(&mut host, &mut history).then(|| host.carry_out(self.slow_disk))));
        let effects = match outcome {
            Ok(effects) => effects?,
            Err(_) => return Some(World { broken: Some(Law::Assertion), ..world.clone() }),
        };
        let broken = history.observe(&host, &effects);
        let mut next = world.clone();
        if *world.history != history {
            next.history = Shared::new(history);
        }
        let changed = host != *world.host(node);
        if changed {
            next.hosts[place(node)] = Shared::new(host);
        }
        next.post(effects.sent);
        next.forget_stale();
        let compare = || next.history.compare(next.host(node), &next.hosts.iter().map(|h| &**h));
        next.broken = broken.or_else(compare);
        Some(next)
    }

    fn step(&self, world: &World, action: &Action) -> Option<World> {
        let next = match action {
            Action::Deliver { envelope, copy: false } => {
                self.with(&world.without(envelope), envelope.to, |host, _| {
                    host.raft.receive(Envelope::clone(envelope));
                    true
                })?
            }
            Action::Deliver { envelope, copy: true } => {
                let mut next = self.with(world, envelope.to, |host, _| {
                    host.raft.receive(Envelope::clone(envelope));
                    true
                })?;
                if next.hosts == world.hosts && next.network == world.network {
                    return None;
                }
                next.times.copies += 1;
                next
            }
            Action::Lose(envelope) => {
                let mut next = world.without(envelope);
                next.times.losses += 1;
                next
            }
            Action::DeliverLate(envelope) => self.with(&world.without(envelope), envelope.to, |host, _| {
                host.raft.slept();
                host.raft.receive(Envelope::clone(envelope));
                true
            })?,
            Action::Complete(node) => self.with(world, *node, |host, _| {
                host.complete_write();
                true
            })?,
            Action::TimeOut(node) => {
                let mut next = self.with(world, *node, |host, _| {
                    let ticks = host.raft.election_clock().map_or(3, |(left, _)| left);
                    (0..ticks).for_each(|_| host.raft.tick());
                    true
                })?;
                next.times.timeouts += 1;
                next
            }
            Action::Heartbeat(node) => {
                let mut next = self.with(world, *node, |host, _| {
                    host.raft.tick();
                    true
                })?;
                next.times.heartbeats += 1;
                next
            }
            Action::Crash(node) => {
                let mut next = self.restart(world, *node, world.host(*node).disk.clone(), storage(*node))?;
                next.times.crashes += 1;
                next
            }
            Action::Damage(node, keep) => {
                let mut disk = world.host(*node).disk.clone();
                disk.lose_after(*keep);
                let mut next = self.restart(world, *node, disk, storage(*node))?;
                next.times.damages += 1;
                next
            }
            Action::Wipe(node) => {
                let mut next = self.restart(world, *node, Disk::default(), StorageId(u128::from(node.0 + 100)))?;
                next.times.wipes += 1;
                next
            }
            Action::BreakLink(node, peer) => {
                let mut next = self.with(world, *node, |host, _| {
                    host.raft.link_lost(*peer);
                    true
                })?;
                next.times.broken_links += 1;
                next
            }
            Action::Propose(node) => {
                let mut next = self.with(world, *node, |host, _| {
                    host.raft.propose(vec![Bytes::copy_from_slice(&[world.times.proposals])]).is_ok()
                })?;
                next.times.proposals += 1;
                next
            }
            Action::Change(node) => {
                let to = self.changes[usize::from(world.times.changes)].clone();
                let mut next = self.with(world, *node, |host, _| host.raft.change_membership(to).is_ok())?;
                next.times.changes += 1;
                next
            }
            Action::Transfer(node, target) => {
                let mut next = self.with(world, *node, |host, _| host.raft.transfer(*target).is_ok())?;
                next.times.transfers += 1;
                next
            }
            Action::Read(node) => {
                let mut next = self.with(world, *node, |host, history| {
                    let token = host.raft.read();
                    token.inspect(|token| history.asked(*node, token.0)).is_ok()
                })?;
                next.times.reads += 1;
                next
            }
        };
        Some(next)
    }

    fn restart(&self, world: &World, node: NodeId, disk: Disk, storage: StorageId) -> Option<World> {
        self.with(world, node, |host, history| {
            history.crashed(node);
            *host = Host::start(self.config(node, storage), disk);
            true
        })
    }
}

impl Model for Bounds {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.first()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        let (times, limit) = (&world.times, &self.at_most);
        let timeouts = self.timeouts.get(usize::from(times.timeouts)).map_or(&[][..], |nodes| nodes);
        if times.copies < limit.copies {
            let copies = world.network.iter().map(|e| Action::Deliver { envelope: e.clone(), copy: true });
            actions.extend(copies);
        }
        for envelope in world.heads() {
            actions.push(Action::Deliver { envelope: envelope.clone(), copy: false });
            if times.losses < limit.losses {
                actions.push(Action::Lose(envelope.clone()));
            }
            let asks = matches!(envelope.body, Body::RequestVote { .. });
            if asks && world.host(envelope.to).raft.live_leader(envelope.from).is_some() {
                actions.push(Action::DeliverLate(envelope.clone()));
            }
        }
        for node in world.ids() {
            let host = world.host(node);
            if !host.writes.is_empty() {
                actions.push(Action::Complete(node));
            }
            if timeouts.contains(&node) {
                actions.push(Action::TimeOut(node));
            }
            if self.may_crash.contains(&node) {
                if times.crashes < limit.crashes {
                    actions.push(Action::Crash(node));
                }
                if times.damages < limit.damages {
                    actions.extend(host.disk.entries.iter().map(|e| Action::Damage(node, e.index.prev())));
                }
                if times.wipes < limit.wipes {
                    actions.push(Action::Wipe(node));
                }
            }
        }
        for node in world.leaders() {
            if times.heartbeats < limit.heartbeats {
                actions.push(Action::Heartbeat(node));
            }
            if times.proposals < limit.proposals {
                actions.push(Action::Propose(node));
            }
            if times.changes < limit.changes {
                actions.push(Action::Change(node));
            }
            if times.reads < limit.reads {
                actions.push(Action::Read(node));
            }
            for peer in world.ids().filter(|peer| *peer != node) {
                if times.transfers < limit.transfers {
                    actions.push(Action::Transfer(node, peer));
                }
                if times.broken_links < limit.broken_links {
                    actions.push(Action::BreakLink(node, peer));
                }
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.step(world, &action)
    }

    fn properties(&self) -> Vec<Property<Bounds>> {
        fn holds(world: &World, law: Law) -> bool {
            world.broken != Some(law)
        }
        let mut properties = vec![
            Property::<Bounds>::always("one leader a term", |_, w| holds(w, Law::OneLeader)),
            Property::<Bounds>::always("logs match", |_, w| holds(w, Law::LogMatching)),
            Property::<Bounds>::always("leaders are complete", |_, w| holds(w, Law::LeaderCompleteness)),
            Property::<Bounds>::always("state machines are one", |_, w| holds(w, Law::StateMachine)),
            Property::<Bounds>::always("what is committed stays on a majority", |_, w| holds(w, Law::Lost)),
            Property::<Bounds>::always("one vote a term", |_, w| holds(w, Law::VoteOnce)),
            Property::<Bounds>::always("what is claimed is on disk", |_, w| holds(w, Law::Durable)),
            Property::<Bounds>::always("majorities meet", |_, w| holds(w, Law::Majorities)),
            Property::<Bounds>::always("reads miss nothing", |_, w| holds(w, Law::Read)),
            Property::<Bounds>::always("the core's own assertions", |_, w| holds(w, Law::Assertion)),
        ];
        properties.extend(self.reached.iter().map(|reached| match reached {
            Reached::Leader => Property::<Bounds>::sometimes("a leader", |_, w| w.leaders().next().is_some()),
            Reached::SecondLeader => Property::<Bounds>::sometimes("a second leader", |_, w| w.history.leaders() > 1),
            Reached::Command => Property::<Bounds>::sometimes("a command is committed", |_, w| w.history.has_command()),
            Reached::Change => Property::<Bounds>::sometimes("a change is through", |_, w| w.history.has_changed()),
            Reached::Promotion => Property::<Bounds>::sometimes("a learner votes", |_, w| w.history.has_promoted()),
            Reached::Transfer => Property::<Bounds>::sometimes("a transfer is done", |_, w| w.history.transferred),
            Reached::Read => Property::<Bounds>::sometimes("a read is confirmed", |_, w| w.history.read),
            Reached::Refill => Property::<Bounds>::sometimes("a disk is refilled", |_, w| w.history.refilled),
        }));
        properties
    }
}
