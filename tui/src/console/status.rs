//! What a node says about itself, with types and with its texts made safe.
//!
//! The generated message stops here: the rest of the console knows `NodeId`, `Term` and `Index`, and text that can be
//! drawn. A number that makes no sense on the wire (an unknown role, a node 0) becomes the most careful reading of it.

use raftdeck_shared::{
    faults,
    ids::{Index, NodeId, Term},
    wire::{self, ObservationKind as Kind},
};
use serde::{Deserialize, Serialize};

use super::{tail::Tail, text::clean};

/// Most log cells kept of one node: more than the widest grid draws.
const TAIL_MAX: usize = 4096;

/// Heard longer ago than this is slow on a link of the leader, which speaks to everyone several times a second. Two
/// followers have nothing to say to each other until an election.
pub(crate) const SLOW_MS: u64 = 1000;

/// Most members, peers or faults believed of one message.
const LIST_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Link {
    Up,
    Down,
    Cut,
    Unknown,
}

/// A peer as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) matched: Index,
    pub(crate) heard_ms: Option<u64>,
    pub(crate) link: Link,
}

/// Jobs by state, over all queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Jobs {
    pub(crate) scheduled: u64,
    pub(crate) available: u64,
    pub(crate) running: u64,
    pub(crate) retryable: u64,
    pub(crate) completed: u64,
    pub(crate) cancelled: u64,
    pub(crate) discarded: u64,
}

impl Jobs {
    /// Not running yet, or not yet again.
    pub(crate) fn waiting(&self) -> u64 {
        self.available.saturating_add(self.scheduled).saturating_add(self.retryable)
    }

    /// Over for good, one way or another.
    pub(crate) fn ended(&self) -> u64 {
        self.completed.saturating_add(self.cancelled).saturating_add(self.discarded)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FaultKind {
    Kill,
    Cut(NodeId),
    /// Any other: which peer it is towards, what it is, and what it has done, in the words that all tools use.
    Other {
        peer: Option<NodeId>,
        words: String,
        effect: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) id: u64,
    pub(crate) kind: FaultKind,
    pub(crate) left_ms: u64,
    /// Messages that it has eaten so far.
    #[serde(default)]
    pub(crate) dropped: u64,
}

/// A queue and the jobs in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) jobs: Jobs,
    /// Nobody is given a job of it.
    #[serde(default)]
    pub(crate) paused: bool,
}

/// A node that another one knows, and where clients reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) api: String,
}

/// One node's word about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) cluster_id: String,
    pub(crate) boot_id: String,
    pub(crate) pid: u32,
    pub(crate) at_ms: u64,
    /// The newest of the node's observations that it knows of. 0: it does not say.
    #[serde(default)]
    pub(crate) seq: u64,
    pub(crate) faults_enabled: bool,
    pub(crate) role: Role,
    pub(crate) term: Term,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) leader: Option<NodeId>,
    pub(crate) last: Index,
    pub(crate) commit: Index,
    pub(crate) applied: Index,
    pub(crate) state_hash: u64,
    pub(crate) voters: Vec<NodeId>,
    /// Who belongs to the cluster, with a vote or without. Empty: it does not say.
    #[serde(default)]
    pub(crate) members: Vec<NodeId>,
    pub(crate) heard_ms: u64,
    pub(crate) election_left_ms: u64,
    pub(crate) election_timeout_ms: u64,
    pub(crate) peers: Vec<Peer>,
    pub(crate) tail: Tail,
    pub(crate) jobs: Jobs,
    pub(crate) queues: Vec<Queue>,
    pub(crate) executing: u64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) known: Vec<Known>,
}

impl Status {
    pub(crate) fn from_wire(raw: wire::NodeStatus) -> Status {
        let cells = raw.log_tail.iter().rev().take(TAIL_MAX).map(|c| (Index(c.index), Term(c.term)));
        Status {
            id: NodeId(raw.node),
            name: name_or_number(&raw.name, raw.node),
            cluster_id: clean(&raw.cluster_id),
            role: role(raw.role()),
            jobs: sum(&raw.queues),
            queues: raw.queues.iter().take(LIST_MAX).map(queue).collect(),
            known: raw.known.iter().take(LIST_MAX).map(known).collect(),
            pid: raw.pid,
            at_ms: raw.at_ms,
            seq: raw.observation_seq,
            faults_enabled: raw.faults_enabled,
            term: Term(raw.term),
            voted_for: some_node(raw.voted_for),
            leader: some_node(raw.leader),
            last: Index(raw.last),
            commit: Index(raw.commit),
            applied: Index(raw.applied),
            state_hash: raw.state_hash,
            members: raw.membership.as_ref().map(members).unwrap_or_default(),
            voters: raw.voters.iter().take(LIST_MAX).map(|id| NodeId(*id)).collect(),
            heard_ms: raw.heard_ms,
            election_left_ms: raw.election_left_ms,
            election_timeout_ms: raw.election_timeout_ms,
            peers: raw.peers.iter().take(LIST_MAX).map(peer).collect(),
            tail: Tail::of(cells.collect()),
            executing: raw.executing,
            faults: raw.faults.iter().take(LIST_MAX).map(fault).collect(),
            boot_id: raw.boot_id,
        }
    }

    /// As safe to draw as one that came over the wire.
    pub(crate) fn cleaned(mut self) -> Status {
        self.name = name_or_number(&self.name, self.id.0);
        self.cluster_id = clean(&self.cluster_id);
        self.voters.truncate(LIST_MAX);
        self.members.truncate(LIST_MAX);
        self.peers.truncate(LIST_MAX);
        self.queues.truncate(LIST_MAX);
        self.faults.truncate(LIST_MAX);
        self.known.truncate(LIST_MAX);
        self.queues.iter_mut().for_each(|queue| queue.name = clean(&queue.name));
        for known in &mut self.known {
            known.name = name_or_number(&known.name, known.id.0);
            known.api = clean(&known.api);
        }
        self
    }

    /// It says what was said before, but for when, and how long ago others were heard, if that is not too long.
    pub(crate) fn has_only_aged(&self, before: &Status) -> bool {
        if (self.commit, self.last, self.term, self.role) != (before.commit, before.last, before.term, before.role) {
            return false;
        }
        let soon = |ms: Option<u64>| ms.is_some_and(|ms| ms <= SLOW_MS);
        let aged = |p: &Peer, of: &Peer| {
            (p.id, p.matched, p.link, soon(p.heard_ms)) == (of.id, of.matched, of.link, soon(of.heard_ms))
        };
        let peers = self.peers.len() == before.peers.len()
            && self.peers.iter().zip(&before.peers).all(|(peer, of)| aged(peer, of));
        // Each time a leader is heard, a new timeout is drawn.
        let aged = Status {
            at_ms: self.at_ms,
            seq: self.seq,
            heard_ms: self.heard_ms,
            election_left_ms: self.election_left_ms,
            election_timeout_ms: self.election_timeout_ms,
            peers: self.peers.clone(),
            ..before.clone()
        };
        peers && *self == aged
    }

    /// Takes what the node has observed since it said this; `entries` are those that it has appended.
    pub(crate) fn observe(&mut self, o: &wire::Observation, entries: &[(Index, Term)]) {
        let term = Term(o.term);
        match o.kind() {
            Kind::Role => {
                (self.role, self.term) = (role(o.role()), term);
                match self.role {
                    Role::Leader => self.leader = Some(self.id),
                    Role::Candidate => (self.leader, self.voted_for) = (None, Some(self.id)),
                    Role::PreCandidate | Role::Follower => {}
                }
            }
            // Whatever it was, it is nothing in the new term until it says so.
            Kind::Term => {
                (self.role, self.term, self.leader, self.voted_for) = (Role::Follower, term, None, None);
            }
            Kind::Leader => self.leader = some_node(o.peer),
            Kind::VoteCast if o.granted && !o.pre => self.voted_for = some_node(o.peer),
            Kind::Committed => self.commit = self.commit.max(Index(o.index)),
            Kind::Appended => {
                self.last = Index(o.last_index);
                entries.iter().for_each(|(index, term)| self.tail.append(*index, *term));
            }
            Kind::Truncated => {
                self.last = Index(o.index.saturating_sub(1));
                self.tail.cut(Index(o.index));
            }
            Kind::Unspecified
            | Kind::VoteCast
            | Kind::VoteReceived
            | Kind::Progress
            | Kind::Link
            | Kind::Job
            | Kind::Fault
            | Kind::Node
            | Kind::Membership
            | Kind::Transfer
            | Kind::Snapshot
            | Kind::Damage => {}
        }
        if self.seq > 0 {
            self.seq = o.seq;
        }
    }

    /// The same, but what observations tell as they told it since.
    pub(crate) fn with_what_was_observed(&self, since: &Status) -> Status {
        Status {
            seq: since.seq,
            role: since.role,
            term: since.term,
            voted_for: since.voted_for,
            leader: since.leader,
            last: since.last,
            commit: since.commit,
            tail: since.tail.clone(),
            ..self.clone()
        }
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<&Peer> {
        self.peers.iter().find(|p| p.id == id)
    }
}

fn role(raw: wire::Role) -> Role {
    match raw {
        wire::Role::Leader => Role::Leader,
        wire::Role::Candidate => Role::Candidate,
        wire::Role::PreCandidate => Role::PreCandidate,
        wire::Role::Follower | wire::Role::Unspecified => Role::Follower,
    }
}

fn name_or_number(name: &str, id: u64) -> String {
    let name: String = clean(name).chars().take(12).collect();
    if name.is_empty() { format!("n{id}") } else { name }
}

fn members(raw: &wire::Membership) -> Vec<NodeId> {
    let voters = raw.voters.iter().chain(&raw.outgoing).copied();
    voters.chain(raw.learners.iter().map(|l| l.node)).take(LIST_MAX).map(NodeId).collect()
}

fn some_node(id: u64) -> Option<NodeId> {
    (id != 0).then_some(NodeId(id))
}

fn peer(raw: &wire::PeerStatus) -> Peer {
    Peer {
        id: NodeId(raw.node),
        matched: Index(raw.match_index),
        heard_ms: raw.heard_ms,
        link: match raw.link() {
            wire::LinkState::Up => Link::Up,
            wire::LinkState::Down => Link::Down,
            wire::LinkState::Cut => Link::Cut,
            wire::LinkState::Unspecified => Link::Unknown,
        },
    }
}

fn fault(raw: &wire::Fault) -> Fault {
    let kind = match raw.spec.as_ref().and_then(|s| s.fault.as_ref()) {
        Some(wire::fault_spec::Fault::Kill(_)) => FaultKind::Kill,
        Some(wire::fault_spec::Fault::Cut(cut)) => FaultKind::Cut(NodeId(cut.peer)),
        Some(other) => FaultKind::Other {
            peer: faults::peer(other).map(NodeId),
            words: faults::words(other),
            effect: faults::effect(other, &raw.effect.unwrap_or_default()),
        },
        // Of a newer node.
        None => FaultKind::Other { peer: None, words: format!("fault {}", raw.id), effect: String::new() },
    };
    Fault { id: raw.id, kind, left_ms: raw.left_ms, dropped: raw.effect.map_or(0, |done| done.dropped) }
}

fn known(raw: &wire::MemberAddress) -> Known {
    Known { id: NodeId(raw.node), name: name_or_number(&raw.name, raw.node), api: clean(&raw.api) }
}

fn queue(raw: &wire::QueueStatus) -> Queue {
    let jobs = Jobs {
        scheduled: raw.scheduled,
        available: raw.available,
        running: raw.running,
        retryable: raw.retryable,
        completed: raw.completed,
        cancelled: raw.cancelled,
        discarded: raw.discarded,
    };
    Queue { name: clean(&raw.name), jobs, paused: raw.paused }
}

fn sum(queues: &[wire::QueueStatus]) -> Jobs {
    queues.iter().fold(Jobs::default(), |all, q| Jobs {
        scheduled: all.scheduled.saturating_add(q.scheduled),
        available: all.available.saturating_add(q.available),
        running: all.running.saturating_add(q.running),
        retryable: all.retryable.saturating_add(q.retryable),
        completed: all.completed.saturating_add(q.completed),
        cancelled: all.cancelled.saturating_add(q.cancelled),
        discarded: all.discarded.saturating_add(q.discarded),
    })
}
