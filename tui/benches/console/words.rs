//! What busy nodes say: statuses and observations, of nodes that were never there.

use std::sync::Arc;

use raftdeck_shared::wire::{
    self, ObservationKind as Kind,
    observe_event::Event::{self, Snapshot, Status},
};

/// Statuses of each node in a second, as a busy one sends them.
pub(crate) const STATUSES_PER_S: u64 = 10;

/// One node of so many: number 1 leads.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    id: u64,
    /// Where each node is reached, in the order of their numbers.
    apis: Arc<[String]>,
    seq: u64,
    index: u64,
    boot_id: String,
}

impl Speaker {
    /// One for each address.
    pub(crate) fn all(apis: Vec<String>) -> Vec<Speaker> {
        let apis: Arc<[String]> = apis.into();
        (1..=apis.len() as u64).map(|id| Speaker::new(id, Arc::clone(&apis))).collect()
    }

    fn new(id: u64, apis: Arc<[String]>) -> Speaker {
        Speaker { id, apis, seq: 0, index: 1_000, boot_id: format!("2b7c91d0-0000-4000-8000-{id:012}") }
    }

    /// Its first word.
    pub(crate) fn snapshot(&self, at_ms: u64) -> Event {
        Snapshot(self.status(at_ms))
    }

    /// What it says of itself now.
    pub(crate) fn news(&self, at_ms: u64) -> Event {
        Status(self.status(at_ms))
    }

    /// The next thing that happens to it: the leader commits and jobs change, the others append and commit.
    pub(crate) fn happens(&mut self, at_ms: u64) -> wire::Observation {
        self.seq += 1;
        self.index += u64::from(self.seq.is_multiple_of(2));
        let o = wire::Observation {
            seq: self.seq,
            boot_id: self.boot_id.clone(),
            at_ms,
            logical: (self.seq % 5) as u32,
            node: self.id,
            group: 1,
            term: 7,
            ..Default::default()
        };
        match (self.id, self.seq % 2) {
            (_, 0) => wire::Observation { kind: Kind::Committed.into(), index: self.index, ..o },
            (1, _) => wire::Observation { kind: Kind::Job.into(), job: self.seq, cause: "completed".into(), ..o },
            (_, _) => wire::Observation {
                kind: Kind::Appended.into(),
                index: self.index,
                last_index: self.index,
                message_id: self.seq,
                ..o
            },
        }
    }

    fn status(&self, at_ms: u64) -> wire::NodeStatus {
        let leads = self.id == 1;
        let all = 1..=self.apis.len() as u64;
        let others = all.clone().filter(|peer| *peer != self.id);
        let name = |id: u64| format!("n{id}");
        wire::NodeStatus {
            node: self.id,
            name: name(self.id),
            cluster_id: "bench".into(),
            boot_id: self.boot_id.clone(),
            pid: 1_000,
            at_ms,
            faults_enabled: true,
            group: 1,
            role: if leads { wire::Role::Leader } else { wire::Role::Follower }.into(),
            term: 7,
            voted_for: 1,
            leader: 1,
            first: 1,
            last: self.index,
            durable: self.index,
            commit: self.index,
            applied: self.index,
            state_hash: self.index,
            voters: all.clone().collect(),
            heard_ms: if leads { 0 } else { at_ms % 10 },
            election_left_ms: if leads { 0 } else { 150 + at_ms % 100 },
            election_timeout_ms: if leads { 0 } else { 260 },
            peers: others
                .map(|node| wire::PeerStatus {
                    node,
                    match_index: if leads { self.index } else { 0 },
                    next_index: if leads { self.index + 1 } else { 0 },
                    heard_ms: Some(at_ms % 10),
                    link: wire::LinkState::Up.into(),
                    ..Default::default()
                })
                .collect(),
            log_tail: (self.index - 95..=self.index).map(|index| wire::LogCell { index, term: 7 }).collect(),
            queues: vec![wire::QueueStatus {
                name: "default".into(),
                available: 40 + self.seq % 9,
                running: 8,
                completed: self.index,
                ..Default::default()
            }],
            live_jobs: 50,
            executing: 3,
            observation_seq: self.seq,
            known: all
                .zip(self.apis.iter())
                .map(|(node, api)| wire::MemberAddress { node, name: name(node), peer: api.clone(), api: api.clone() })
                .collect(),
            ..Default::default()
        }
    }
}
