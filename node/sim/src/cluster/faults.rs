//! What goes wrong: with the network, with clocks, with nodes that stand still, and with disks. Faults are state and not
//! events, so each holds until it is taken back.
//!
//! Law: no more is damaged than the group can bear ([`Cluster::may_hurt`]); what is lost beyond that is lost for good, and
//! proves nothing.

use std::collections::BTreeSet;

use raftdeck_node::replica::Input;
use raftdeck_raft::{Config, Envelope, Index, Membership, NodeId, StorageId};
use rand::RngExt as _;

use super::{Clock, Cluster, Event, Node, TICK_US};
use crate::{
    network::{Arrival, Traffic, Weather},
    violation::Violation,
};

impl Cluster {
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
}

fn election_ticks_min() -> u32 {
    Config::new(NodeId(1), StorageId(1), Membership::default(), 0).election_ticks_min
}
