//! The state of a node as one message, for the console and the command line.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use raftdeck_jobs::{Machine, QueueCounts};
use raftdeck_raft::{Index, NodeId, PeerView, Sending};
use raftdeck_shared::{cluster::ClusterFile, wire};

use crate::{
    faults::Faults,
    handle::{Handle, RequestError},
    observe::{Observer, role_to_wire, wall_ms},
    replica::Replica,
    transport::{AddressBook, Links, member},
};

/// Log entries at its end whose terms a status tells.
const TAIL_MAX: u64 = 96;

/// Everything that a status is made of.
#[derive(Debug)]
pub struct NodeView {
    /// The cluster.
    pub cluster: Arc<ClusterFile>,
    /// This node.
    pub node: NodeId,
    /// Of its data directory.
    pub storage_id: String,
    /// When the process began.
    pub started: Instant,
    /// Its observations.
    pub observer: Arc<Observer>,
    /// Where nodes are.
    pub book: Arc<AddressBook>,
    /// Its links.
    pub links: Arc<Links>,
    /// Its faults.
    pub faults: Arc<Faults>,
    /// Jobs that its executor runs.
    pub executing: Arc<AtomicU64>,
    /// Its replica.
    pub handle: Handle,
}

impl NodeView {
    /// The node as it is now.
    ///
    /// # Errors
    /// The node stops.
    pub async fn status(&self) -> Result<wire::NodeStatus, RequestError> {
        let tick_ms = self.cluster.timing.tick_ms;
        let observed = self.observer.newest();
        // What it has observed is asked for in the same moment: a reader must know which observations this goes beyond.
        let look = move |replica: &Replica, remembered| {
            let status = replica_status(replica, remembered, tick_ms);
            wire::NodeStatus { observation_seq: *observed.borrow(), ..status }
        };
        let mut status = self.handle.look(look).await?;
        status.node = self.node.0;
        status.name = self.book.name_of(self.node);
        status.cluster_id.clone_from(&self.cluster.cluster_id);
        status.boot_id = self.observer.boot_id().to_owned();
        status.storage_id.clone_from(&self.storage_id);
        status.pid = std::process::id();
        status.version = env!("CARGO_PKG_VERSION").to_owned();
        status.at_ms = wall_ms();
        status.uptime_ms = millis(self.started.elapsed());
        status.faults_enabled = self.faults.enabled();
        status.faults = self.faults.active();
        status.ended_faults = self.faults.ended();
        status.executing = self.executing.load(Ordering::Relaxed);
        status.known = self.book.known();
        for peer in &mut status.peers {
            let (link, heard) = self.links.view(NodeId(peer.node));
            peer.link = link.into();
            peer.heard_ms = heard.map(millis);
        }
        Ok(status)
    }
}

/// How much of a snapshot of so many bytes a follower has.
pub(crate) fn snapshot_progress(view: &PeerView, bytes: u64) -> Option<wire::SnapshotProgress> {
    view.snapshot_offset.map(|stored| wire::SnapshotProgress { stored, bytes })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a replica says of itself; the rest is known to the process around it. Its core counts in ticks of `tick_ms`.
#[must_use]
pub fn replica_status(replica: &Replica, remembered: Index, tick_ms: u64) -> wire::NodeStatus {
    let (raft, machine) = (replica.raft(), replica.machine());
    let log = raft.log();
    let (last, _) = log.last();
    let first_told = Index((last.0 + 1).saturating_sub(TAIL_MAX).max(1));
    let (left, timeout) = raft.election_clock().unwrap_or_default();
    let mut peers: Vec<wire::PeerStatus> = raft
        .membership()
        .members()
        .into_iter()
        .filter(|n| *n != raft.id())
        .map(|n| wire::PeerStatus { node: n.0, ..Default::default() })
        .collect();
    for (node, view) in raft.followers() {
        for peer in peers.iter_mut().filter(|p| p.node == node.0) {
            peer.match_index = view.matched.0;
            peer.next_index = view.next.0;
            peer.probing = view.sending == Sending::Probing;
            peer.damaged = view.damaged;
            peer.snapshot = snapshot_progress(&view, raft.snapshot().map_or(0, |s| s.bytes));
            peer.in_flight = u32::try_from(view.in_flight).unwrap_or(u32::MAX);
        }
    }
    wire::NodeStatus {
        group: replica.group().0,
        role: role_to_wire(raft.role()).into(),
        term: raft.term().0,
        voted_for: raft.voted_for().map_or(0, |n| n.0),
        leader: raft.leader().map_or(0, |n| n.0),
        first: log.start().index.next().0,
        last: last.0,
        durable: log.durable().0,
        commit: raft.commit().0,
        applied: machine.applied(),
        state_hash: machine.state_hash(),
        voters: raft.membership().voters.union(&raft.membership().outgoing).map(|n| n.0).collect(),
        membership: Some(member::to_wire(raft.membership())),
        damaged: raft.is_damaged(),
        heard_ms: raft.leaderless_ticks() * tick_ms,
        election_left_ms: left * tick_ms,
        election_timeout_ms: u64::from(timeout) * tick_ms,
        peers,
        log_tail: log
            .range(first_told, last)
            .iter()
            .map(|e| wire::LogCell { index: e.index.0, term: e.term.0 })
            .collect(),
        queues: queues(machine),
        live_jobs: machine.live_count() as u64,
        remembered: remembered.0,
        ..Default::default()
    }
}

/// Every queue that had a job or is paused, by name.
fn queues(machine: &Machine) -> Vec<wire::QueueStatus> {
    let mut queues: BTreeMap<&str, QueueCounts> =
        machine.paused_queues().map(|name| (name, Default::default())).collect();
    queues.extend(machine.queues().map(|(name, counts)| (name, *counts)));
    let queue = |(name, counts): (&str, QueueCounts)| wire::QueueStatus {
        name: name.to_owned(),
        scheduled: counts.scheduled,
        available: counts.available,
        running: counts.running,
        retryable: counts.retryable,
        completed: counts.completed,
        cancelled: counts.cancelled,
        discarded: counts.discarded,
        paused: machine.is_paused(name),
    };
    queues.into_iter().map(queue).collect()
}
