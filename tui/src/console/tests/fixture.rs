//! A five-node cluster in the states that matter, as its nodes would tell it.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use raftdeck_shared::{ids::NodeId, wire};

use crate::console::{
    model::Model,
    msg::{Body, Cmd, Msg, NodeMsg, Slot, Time},
    status::Status,
    theme::{Skin, Theme, UNICODE},
    update::update,
    world::Fact,
};

/// 12:04:31 UTC of some day.
pub(super) const UNIX_MS: u64 = 20_000 * 86_400_000 + 43_471_200;

/// The log of the leader: index and term of its last entries.
const LOG: [(u64, u64, u64); 3] = [(1, 1832, 5), (1833, 1839, 6), (1840, 1843, 7)];

/// A console that is driven by hand, with time in its hand.
pub(super) struct Desk {
    pub(super) model: Model,
    pub(super) run_ms: u64,
}

impl Desk {
    pub(super) fn new(nodes: u64) -> Desk {
        let mut model = Model::new("demo-5".into(), Skin::new(Theme::Dark, UNICODE));
        for id in 1..=nodes {
            let api = format!("127.0.0.1:{}", 7100 + id);
            model.tell(Fact::Member { id: Some(NodeId(id)), name: format!("n{id}"), api });
        }
        model.handlers = ["count", "echo", "fail", "sleep"].map(String::from).into();
        Desk { model, run_ms: 0 }
    }

    /// All five nodes live and well.
    pub(super) fn whole() -> Desk {
        let mut desk = Desk::new(5);
        for id in 1..=5 {
            desk.snapshot(status(id));
        }
        desk
    }

    pub(super) fn at(&self) -> Time {
        Time { run_ms: self.run_ms, unix_ms: UNIX_MS + self.run_ms }
    }

    pub(super) fn tell(&mut self, body: Body) -> Vec<Cmd> {
        let at = self.at();
        update(&mut self.model, Msg { at, body })
    }

    pub(super) fn node(&mut self, id: u64, news: NodeMsg) {
        self.tell(Body::Node(Slot(id as usize - 1), news));
    }

    pub(super) fn snapshot(&mut self, raw: wire::NodeStatus) {
        self.node(raw.node, NodeMsg::Snapshot(Arc::new(Status::from_wire(raw))));
    }

    pub(super) fn status(&mut self, raw: wire::NodeStatus) {
        self.node(raw.node, NodeMsg::Status(Arc::new(Status::from_wire(raw))));
    }

    pub(super) fn lose(&mut self, id: u64) {
        let at_run_ms = self.run_ms + 2100;
        self.node(id, NodeMsg::Retrying { at_run_ms, why: "connection refused".into() });
    }

    pub(super) fn observe(&mut self, o: wire::Observation) {
        self.node(o.node, NodeMsg::Observed(Arc::new(o)));
    }

    pub(super) fn press(&mut self, code: KeyCode) -> Vec<Cmd> {
        self.tell(Body::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    pub(super) fn keys(&mut self, keys: &str) -> Vec<Cmd> {
        keys.chars().flat_map(|c| self.press(KeyCode::Char(c))).collect()
    }
}

/// Node `id` in a whole cluster: n2 leads term 7.
pub(super) fn status(id: u64) -> wire::NodeStatus {
    let leads = id == 2;
    let last = match id {
        1 | 2 => 1843,
        _ => 1841,
    };
    wire::NodeStatus {
        node: id,
        name: format!("n{id}"),
        cluster_id: "demo-5".into(),
        boot_id: format!("boot-{id}"),
        pid: 5190 + id as u32,
        at_ms: UNIX_MS,
        uptime_ms: 90_000,
        faults_enabled: true,
        group: 1,
        role: if leads { wire::Role::Leader } else { wire::Role::Follower }.into(),
        term: 7,
        voted_for: 2,
        leader: 2,
        first: 1,
        last,
        durable: last,
        commit: 1841,
        applied: 1841,
        state_hash: 0x9f2c_11aa_0042_7731,
        voters: (1..=5).collect(),
        heard_ms: if leads { 0 } else { 10 + id },
        election_left_ms: if leads { 0 } else { 100 * id },
        election_timeout_ms: if leads { 0 } else { 520 },
        peers: (1..=5).filter(|p| *p != id).map(|p| peer(p, leads)).collect(),
        log_tail: log(last, 7),
        queues: vec![wire::QueueStatus {
            name: "default".into(),
            available: 42,
            running: 8,
            completed: 9_120,
            ..Default::default()
        }],
        executing: if leads { 2 } else { 1 },
        live_jobs: 50,
        ..Default::default()
    }
}

fn peer(id: u64, of_leader: bool) -> wire::PeerStatus {
    let matched = if id == 1 { 1843 } else { 1841 };
    wire::PeerStatus {
        node: id,
        match_index: if of_leader { matched } else { 0 },
        next_index: if of_leader { matched + 1 } else { 0 },
        heard_ms: Some(3 * id),
        link: wire::LinkState::Up.into(),
        ..Default::default()
    }
}

/// The leader's log up to `last`, leaving out entries of later terms than `term`.
pub(super) fn log(last: u64, term: u64) -> Vec<wire::LogCell> {
    let cells = (last.saturating_sub(63)..=last).map(|index| {
        let of = LOG.iter().find(|(from, to, _)| (*from..=*to).contains(&index)).map_or(7, |l| l.2);
        wire::LogCell { index, term: of.min(term) }
    });
    cells.collect()
}

/// The link of a status to a peer in another state.
pub(super) fn set_link(raw: &mut wire::NodeStatus, to: u64, link: wire::LinkState) {
    for peer in raw.peers.iter_mut().filter(|p| p.node == to) {
        peer.link = link.into();
        peer.heard_ms = Some(9_800);
    }
}

/// n4, once leader of term 6, is cut from all others and still believes; n5 is killed.
pub(super) fn split() -> Desk {
    let mut desk = Desk::whole();
    desk.run_ms = 9_800;
    for id in [1, 2, 3] {
        let mut raw = status(id);
        set_link(&mut raw, 4, wire::LinkState::Cut);
        set_link(&mut raw, 5, wire::LinkState::Down);
        raw.faults = vec![cut(id, 4)];
        desk.status(raw);
    }
    let mut stale = status(4);
    stale.role = wire::Role::Leader.into();
    stale.term = 6;
    stale.voted_for = 4;
    stale.last = 1841;
    stale.commit = 1838;
    stale.applied = 1838;
    stale.boot_id = "boot-4b".into();
    stale.log_tail = log(1841, 6);
    for peer in [1, 2, 3, 5] {
        set_link(&mut stale, peer, wire::LinkState::Cut);
        stale.faults.push(cut(10 + peer, peer));
    }
    desk.snapshot(stale);
    desk.lose(5);
    desk.run_ms = 11_300;
    desk.tell(Body::Tick);
    desk
}

fn cut(id: u64, peer: u64) -> wire::Fault {
    let fault = Some(wire::fault_spec::Fault::Cut(wire::CutFault { peer }));
    wire::Fault {
        id,
        spec: Some(wire::FaultSpec { fault }),
        left_ms: 54_000,
        label: "console".into(),
        ..Default::default()
    }
}

/// An election as its observations, in the order in which the streams brought them.
pub(super) fn election() -> Vec<wire::Observation> {
    let base = UNIX_MS - 5_000;
    let o = |seq, node, at, logical, kind: wire::ObservationKind| wire::Observation {
        seq,
        boot_id: format!("boot-{node}"),
        at_ms: base + at,
        logical,
        node,
        term: 7,
        kind: kind.into(),
        group: 1,
        ..Default::default()
    };
    use wire::ObservationKind as K;
    vec![
        wire::Observation { peer: 2, granted: true, ..o(1, 1, 402, 1, K::VoteCast) },
        wire::Observation {
            role: wire::Role::Candidate.into(),
            cause: "heard no leader for 287 ms".into(),
            ..o(1, 2, 402, 0, K::Role)
        },
        wire::Observation {
            peer: 2,
            cause: "its log ends at 1839/T6, mine at 1841/T6".into(),
            ..o(1, 4, 403, 0, K::VoteCast)
        },
        wire::Observation { peer: 2, granted: true, ..o(1, 3, 403, 0, K::VoteCast) },
        wire::Observation {
            role: wire::Role::Leader.into(),
            cause: "votes of n1 n2 n3".into(),
            ..o(2, 2, 404, 0, K::Role)
        },
        wire::Observation { index: 1840, ..o(3, 2, 410, 0, K::Committed) },
        wire::Observation { index: 1841, ..o(4, 2, 510, 0, K::Committed) },
        wire::Observation { job: 312, cause: "completed".into(), ..o(5, 2, 510, 1, K::Job) },
        wire::Observation { index: 1841, last_index: 1841, ..o(2, 3, 509, 0, K::Appended) },
    ]
}

/// Jobs as the leader lists them.
pub(super) fn jobs() -> wire::ListReply {
    let states = [
        wire::JobState::Running,
        wire::JobState::Available,
        wire::JobState::Completed,
        wire::JobState::Discarded,
        wire::JobState::Retryable,
    ];
    let job = |id: u64| {
        let state = states[id as usize % states.len()];
        let failed = matches!(state, wire::JobState::Discarded | wire::JobState::Retryable);
        wire::Job {
            id,
            queue: if id.is_multiple_of(3) { "mail" } else { "default" }.into(),
            handler: "count".into(),
            priority: 5,
            state: state.into(),
            attempt: 1 + (id % 4) as u32,
            max_attempts: 25,
            submitted_at_ms: UNIX_MS - 1_000 + id,
            submit_index: 1_800 + id,
            worker: if state == wire::JobState::Running { "n1".into() } else { String::new() },
            error: if failed { "exit code 1: no such file".into() } else { String::new() },
            ..Default::default()
        }
    };
    wire::ListReply { jobs: (301..=312).rev().map(job).collect(), applied: 1841, more: true }
}

/// One of them, whole.
pub(super) fn job() -> wire::Job {
    let step = |at, index, attempt, what: &str, note: &str| wire::JobEvent {
        at_ms: UNIX_MS - 5_000 + at,
        index,
        attempt,
        what: what.into(),
        note: note.into(),
    };
    wire::Job {
        payload: "how many words are these".into(),
        result: "5".into(),
        state: wire::JobState::Completed.into(),
        completed_token: Some(1_840),
        history: vec![
            step(0, 1_812, 0, "submitted", ""),
            step(12, 1_815, 1, "claimed", "by n4"),
            step(2_040, 1_830, 1, "lease expired", "n4 was not heard"),
            step(2_900, 1_835, 2, "claimed", "by n1"),
            step(3_010, 1_840, 2, "completed", "by n1"),
        ],
        ..jobs().jobs[0].clone()
    }
}
