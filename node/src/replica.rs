//! A replica: one group's consensus core and its job state machine, under one owner.
//!
//! Like the core, it is a plain value. [`Replica::handle`] takes what came since the last time and says what is to be
//! done: write this, send that, answer these, apply is done already. The task around it ([`crate::driver`]) and the
//! simulator drive the same struct; nothing else touches core or machine, and there are no locks.
//!
//! Laws:
//! - a message that vouches for the disk leaves only when the write it depends on is durable;
//! - a caller is answered when its entry is applied, and told *not done* only when another leader's entry stands at its
//!   place. Otherwise it waits: its own deadline ends that, with "unknown outcome";
//! - time enters by the leader's stamp alone, which never falls;
//! - the tables are only ever given a state that the log on this disk can reproduce.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raftdeck_jobs::{
    Call, CancelOutcome, Changes, Command, Machine, Name, NewJob, Op, PauseOutcome, Reply, RetryOutcome, SessionCall,
};
use raftdeck_raft::{
    Chunk, Config, Entry, EntryKind, Envelope, GroupId, Index, LogStart, NodeId, Observed, ProposeError, Raft, Restart,
    RoleKind, SnapshotId, SnapshotMeta, SnapshotTask, Term, Write, WriteSeq,
};
use thiserror::Error;

use crate::{
    compaction::Retention,
    mutants::{self, Mutant},
    parking::Parking,
    steering::{Change, Steering},
};

/// Jobs that are not finished, all of them in memory; above, submits are refused.
pub const LIVE_JOBS_MAX: usize = 2_000_000;

/// Their payloads.
pub const LIVE_BYTES_MAX: u64 = 4 << 30;

/// Names a caller who waits for an answer. Who comes later has a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// A tick of the clock.
    Tick,
    /// A message of a peer.
    Message(Envelope),
    /// Somebody wants something done; as a call of a session, once.
    Request(Ticket, Op, Option<SessionCall>),
    /// As a request; but a claim that gets nothing waits for a job, so many ticks.
    Wait(Ticket, Op, Option<SessionCall>, u64),
    /// Nobody waits for these answers any more.
    Gone(Vec<Ticket>),
    /// This write, and all before it, is durable.
    Persisted(WriteSeq),
    /// What was on its way to this peer is lost.
    LinkLost(NodeId),
    /// As above, and the peer's host says that its process is gone.
    PeerGone(NodeId),
    /// This process stood still for longer than an election takes.
    Slept,
    /// Somebody wants to read what is true now: from which applied index on may it be answered?
    Read(Ticket),
    /// Somebody wants another node to lead.
    Transfer(Ticket, NodeId),
    /// Somebody wants another membership.
    Change(Ticket, Change),
    /// The tables have everything up to here on disk.
    Remembered(Index),
    /// Somebody wants the log to be as short as it can be, and a snapshot at hand.
    Compact(Ticket),
    /// A snapshot was made of the tables, as of this index: its size and checksum. None: it could not be made.
    SnapshotTaken(Option<(Index, u64, u128)>),
    /// A snapshot is not what it was when it was made, or cannot be read.
    SnapshotLost(SnapshotId),
    /// A chunk was read, for a follower.
    ChunkRead(NodeId, Chunk),
    /// So much of a snapshot is stored.
    ChunkStored(SnapshotId, u64),
    /// A snapshot is in place, and this is the machine it holds.
    SnapshotInstalled(SnapshotMeta, Box<Machine>),
    /// A snapshot was not what it should be.
    SnapshotRefused(SnapshotId),
}

/// A request that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// By which entry; for a call that had been done before, by the entry that did it.
    pub index: Index,
    /// What the machine answered.
    pub reply: Reply,
}

/// Why a request has no answer. It was certainly not done, but for [`Refused::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Ask the leader.
    #[error("this node is not the leader")]
    NotLeader {
        /// If it is known.
        leader: Option<NodeId>,
    },
    /// This leader does not hear a majority: another may lead by now.
    #[error("this leader does not hear a majority of the nodes")]
    NoMajority,
    /// Too much waits for a majority.
    #[error("more than {limit_bytes} bytes of entries wait to be committed")]
    Overloaded {
        /// The limit.
        limit_bytes: usize,
    },
    /// Too many jobs are not finished.
    #[error(
        "{live} jobs with {bytes} bytes of payload are not finished; the limits are {LIVE_JOBS_MAX} and {LIVE_BYTES_MAX}"
    )]
    Full {
        /// So many there are.
        live: usize,
        /// Their payloads.
        bytes: u64,
    },
    /// A newer leader put another entry in its place.
    #[error("another leader took over before this was committed")]
    Superseded,
    /// Leadership is being handed over; soon another leads.
    #[error("leadership is being handed over to {target}")]
    Transferring {
        /// To whom.
        target: NodeId,
    },
    /// Nobody can say whether it is done: this node lost its office before it was committed.
    #[error("this node lost its office before the request was committed: whether it is done is not known")]
    Unknown,
    /// Something else must end first: a moment later it may be done.
    #[error("{0}")]
    AskAgain(String),
    /// It makes no sense as things are, or it was tried and failed.
    #[error("{0}")]
    NotNow(String),
}

/// What happened, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// In the core.
    Core(Observed),
    /// To jobs: an entry was applied.
    Jobs {
        /// The term in which it was applied.
        term: Term,
        /// The entry.
        index: Index,
        /// What it did, in words.
        what: String,
    },
}

/// What is to be done.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// To be made durable, then reported as [`Input::Persisted`].
    pub write: Option<Write>,
    /// May leave now.
    pub send: Vec<Envelope>,
    /// Answers.
    pub replies: Vec<(Ticket, Result<Applied, Refused>)>,
    /// Answers to reads, transfers, changes and compactions: the index they are as of.
    pub steered: Vec<(Ticket, Result<Index, Refused>)>,
    /// To be done with snapshots, in order.
    pub snapshots: Vec<SnapshotTask>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// A claim that got nothing may get something now.
    pub work: bool,
}

/// Calls that share an entry, at most; and the bytes after which it takes no more. An entry is sent and stored whole.
const COMMAND_CALLS_MAX: usize = 256;
const COMMAND_FULL_BYTES: usize = 64 << 10;

/// An entry to be.
#[derive(Clone, Debug)]
struct Proposal {
    command: Command,
    weight_bytes: usize,
    /// Who waits for which call.
    tickets: Vec<Option<Ticket>>,
    promises: Vec<Promise>,
}

impl Proposal {
    /// A call that came while the others waited joins them, if they have room and it may.
    fn add(&mut self, Call { op, session }: Call, ticket: Option<Ticket>) {
        self.weight_bytes += op.weight_bytes();
        self.promises.extend(Promise::of(&op, session));
        self.command.calls.push(Call { op, session });
        self.tickets.push(ticket);
    }

    fn takes(&self, op: &Op) -> bool {
        let is_full = self.tickets.len() >= COMMAND_CALLS_MAX || self.weight_bytes >= COMMAND_FULL_BYTES;
        !is_full && self.command.takes(op)
    }

    /// New jobs that a worker can have at once.
    fn jobs_for_now(&self) -> impl Iterator<Item = &NewJob> {
        let submitted = self.command.calls.iter().flat_map(|call| match &call.op {
            Op::Submit { jobs } => &jobs[..],
            Op::Claim { .. }
            | Op::Heartbeat { .. }
            | Op::Ack { .. }
            | Op::Fail { .. }
            | Op::Cancel { .. }
            | Op::Retry { .. }
            | Op::PauseQueue { .. }
            | Op::Tick
            | Op::OpenSession => &[],
        });
        submitted.filter(|job| job.delay_ms == 0 && job.run_at_ms.is_none())
    }

    fn is_tick(&self) -> bool {
        self.command.calls.iter().any(|call| call.op == Op::Tick)
    }
}

/// What a claim under way may take.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Promise {
    queues: Vec<Name>,
    handlers: Vec<Name>,
    max_jobs: u64,
    session: Option<SessionCall>,
}

impl Promise {
    fn of(op: &Op, session: Option<SessionCall>) -> Option<Promise> {
        match op {
            Op::Claim { queues, handlers, max_jobs, .. } => Some(Promise {
                queues: queues.clone(),
                handlers: handlers.clone(),
                max_jobs: (*max_jobs).into(),
                session,
            }),
            Op::Submit { .. }
            | Op::Heartbeat { .. }
            | Op::Ack { .. }
            | Op::Fail { .. }
            | Op::Cancel { .. }
            | Op::Retry { .. }
            | Op::PauseQueue { .. }
            | Op::Tick
            | Op::OpenSession => None,
        }
    }
}

/// Messages that wait for the disk.
#[derive(Clone, Debug)]
struct Held {
    after: WriteSeq,
    messages: Vec<Envelope>,
}

/// A caller that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) ticket: Ticket,
    pub(crate) since_tick: u64,
}

/// Those who wait for the calls of an entry.
#[derive(Clone, Debug)]
struct Callers {
    /// In the order of its calls.
    tickets: Vec<Option<Ticket>>,
    since_tick: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Replica {
    group: GroupId,
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    /// Callers that wait for their entry to be applied. A place may have several: of a leader that lost its office and the
    /// end of its log, and came back.
    waiting: BTreeMap<(Index, Term), Callers>,
    held: VecDeque<Held>,
    durable: WriteSeq,
    /// The newest stamp this leader gave.
    stamp_ms: u64,
    /// A tick entry of this leader that is not applied yet.
    tick_under_way: Option<Index>,
    /// What claims under way may take, by their entries.
    promised: BTreeMap<Index, Vec<Promise>>,
    ticks: u64,
    /// Who lost its office leaves its callers in the dark no longer than this.
    unknown_after_ticks: u64,
    pub(crate) steering: Steering,
    pub(crate) parking: Parking,
    pub(crate) retention: Retention,
}

impl Replica {
    /// A replica as it starts: what is on the disk, and a machine at or before the log's end.
    #[must_use]
    pub fn new(group: GroupId, config: Config, found: Restart, machine: Machine, retention: Retention) -> Replica {
        assert_eq!(found.applied, Index(machine.applied()), "core and machine start at different places");
        let unknown_after_ticks = 4 * u64::from(config.election_ticks_max);
        Replica {
            group,
            raft: Raft::new(config, found),
            machine,
            waiting: BTreeMap::new(),
            held: VecDeque::new(),
            durable: WriteSeq(0),
            stamp_ms: 0,
            tick_under_way: None,
            promised: BTreeMap::new(),
            ticks: 0,
            unknown_after_ticks,
            steering: Steering::default(),
            parking: Parking::default(),
            retention,
        }
    }

    /// Takes all inputs, then says what is to be done for all of them together.
    ///
    /// `now_ms` is this node's wall clock; it matters only on a leader, and only until it is stamped into an entry.
    pub fn handle(&mut self, now_ms: u64, inputs: impl IntoIterator<Item = Input>) -> Effects {
        let mut effects = Effects::default();
        let mut proposals = Vec::new();
        for input in inputs {
            match input {
                Input::Tick => {
                    self.ticks += 1;
                    self.raft.tick();
                    self.give_up_waiting(&mut effects);
                    self.expire_parked(&mut effects);
                    if self.time_matters(now_ms, &proposals) {
                        self.join(&mut proposals, now_ms, None, Op::Tick, None);
                    }
                }
                Input::Message(envelope) => self.raft.receive(envelope),
                Input::Persisted(seq) => {
                    self.durable = self.durable.max(seq);
                    self.raft.persisted(seq);
                }
                Input::LinkLost(peer) => self.raft.link_lost(peer),
                Input::PeerGone(peer) => self.raft.peer_gone(peer),
                Input::Slept => self.raft.slept(),
                Input::Read(ticket) => self.read(ticket, &mut effects),
                Input::Transfer(ticket, target) => self.transfer(ticket, target, &mut effects),
                Input::Change(ticket, change) => self.change(ticket, change, &mut effects),
                Input::Remembered(index) => self.remembered_up_to(index),
                Input::Compact(ticket) => self.compact_now(ticket, &mut effects),
                Input::SnapshotTaken(taken) => self.snapshot_taken(taken),
                Input::SnapshotLost(id) => self.raft.snapshot_lost(id),
                Input::ChunkRead(to, chunk) => self.raft.chunk_read(to, chunk),
                Input::ChunkStored(id, bytes) => self.raft.chunk_stored(id, bytes),
                Input::SnapshotInstalled(meta, machine) => self.snapshot_installed(meta, *machine, &mut effects),
                Input::SnapshotRefused(id) => self.raft.snapshot_refused(id),
                Input::Request(ticket, op, call) => match self.answer_without_log(&op, call, &proposals) {
                    Some(reply) => effects.replies.push((ticket, reply)),
                    None => self.join(&mut proposals, now_ms, Some(ticket), op, call),
                },
                Input::Wait(ticket, op, call, ticks) => {
                    if let Some(first) = call.and_then(|call| self.unpark(call)) {
                        effects.replies.push((first, Err(Refused::Unknown)));
                    }
                    match self.answer_without_log(&op, call, &proposals) {
                        Some(Ok(_)) if ticks > 0 => self.park(ticket, op, call, ticks),
                        Some(reply) => effects.replies.push((ticket, reply)),
                        None => {
                            self.may_park(ticket, &op, call, ticks);
                            self.join(&mut proposals, now_ms, Some(ticket), op, call);
                        }
                    }
                }
                Input::Gone(tickets) => self.gone(&tickets),
            }
        }
        let submitted = proposals.iter().flat_map(Proposal::jobs_for_now);
        let submitted: Vec<&NewJob> = submitted.filter(|job| !self.machine.is_paused(&job.queue)).collect();
        for (ticket, op, call) in self.take_parked(&submitted) {
            self.join(&mut proposals, now_ms, Some(ticket), op, call);
        }
        self.propose(proposals, &mut effects);
        self.carry_out(&mut effects);
        effects
    }

    /// What needs no entry: a claim that would get nothing (it would change nothing on any node), a submit for which there
    /// is no room, and anything asked of a leader that is most likely alone: a worker that is told "nothing to do" by a
    /// deposed leader would ask it again for ever.
    fn answer_without_log(
        &self,
        op: &Op,
        call: Option<SessionCall>,
        proposals: &[Proposal],
    ) -> Option<Result<Applied, Refused>> {
        if self.raft.role() != RoleKind::Leader {
            return None;
        }
        if !self.raft.in_touch() {
            return Some(Err(Refused::NoMajority));
        }
        if call.is_some_and(|call| !self.machine.is_new_call(call)) {
            return None; // It has an answer already, and the log will give it.
        }
        match op {
            Op::Claim { .. } if call.is_some_and(|call| self.may_be_under_way(call, proposals)) => None,
            Op::Claim { queues, handlers, .. } => {
                let nothing = Applied { index: Index(self.machine.applied()), reply: Reply::Claimed(Vec::new()) };
                (self.all_promised(queues, handlers, proposals) || !self.machine.claimable(queues, handlers))
                    .then_some(Ok(nothing))
            }
            Op::Submit { .. } => {
                let (live, bytes) = (self.machine.live_count(), self.machine.live_payload_bytes());
                (live >= LIVE_JOBS_MAX || bytes >= LIVE_BYTES_MAX).then_some(Err(Refused::Full { live, bytes }))
            }
            Op::Heartbeat { .. }
            | Op::Ack { .. }
            | Op::Fail { .. }
            | Op::Cancel { .. }
            | Op::Retry { .. }
            | Op::PauseQueue { .. }
            | Op::Tick
            | Op::OpenSession => None,
        }
    }

    /// Whether this very claim may stand in the log, not applied yet: it may get jobs there, and must not be told by
    /// another way that there are none. Of its own term a leader knows all claims; of earlier ones, only that they are
    /// applied once an entry of its own is.
    fn may_be_under_way(&self, call: SessionCall, proposals: &[Proposal]) -> bool {
        let mut under_way = self.promises_under_way(proposals);
        self.raft.log().term_at(Index(self.machine.applied())) != Some(self.raft.term())
            || under_way.any(|p| p.session == Some(call))
    }

    fn promises_under_way<'a>(&'a self, proposals: &'a [Proposal]) -> impl Iterator<Item = &'a Promise> {
        self.promised.values().flatten().chain(proposals.iter().flat_map(|p| &p.promises))
    }

    /// Whether claims of the same kind that are under way may take every available job: one more would most likely get
    /// nothing, and every idle worker of the cluster asks when a single job comes. It is told to ask again when those are
    /// applied.
    fn all_promised(&self, queues: &[Name], handlers: &[Name], proposals: &[Proposal]) -> bool {
        let same = self.promises_under_way(proposals).filter(|p| p.queues == queues && p.handlers == handlers);
        let promised: u64 = same.map(|p| p.max_jobs).sum();
        promised > 0 && promised >= self.machine.claimable_count()
    }

    /// Claimable jobs that no claim under way may take.
    pub(crate) fn unpromised(&self) -> u64 {
        self.machine.claimable_count().saturating_sub(self.promised.values().flatten().map(|p| p.max_jobs).sum())
    }

    pub(crate) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Whether there is a job for which time has come, and no entry under way that says so.
    fn time_matters(&self, now_ms: u64, proposals: &[Proposal]) -> bool {
        self.raft.role() == RoleKind::Leader
            && self.tick_under_way.is_none()
            && !proposals.iter().any(Proposal::is_tick)
            && self.machine.next_due_ms().is_some_and(|due_ms| due_ms <= now_ms.max(self.machine.now_ms()))
    }

    /// Adds a call to what is to be proposed: to the entry of those before it, or in one of its own.
    fn join(
        &mut self,
        proposals: &mut Vec<Proposal>,
        now_ms: u64,
        ticket: Option<Ticket>,
        op: Op,
        session: Option<SessionCall>,
    ) {
        if proposals.last().is_none_or(|last| !last.takes(&op)) {
            self.stamp_ms = self.stamp_ms.max(now_ms).max(self.machine.now_ms());
            let command = Command { stamp_ms: self.stamp_ms, calls: Vec::new() };
            proposals.push(Proposal { command, weight_bytes: 0, tickets: Vec::new(), promises: Vec::new() });
        }
        proposals.last_mut().expect("there is one now").add(Call { op, session }, ticket);
    }

    fn propose(&mut self, proposals: Vec<Proposal>, effects: &mut Effects) {
        if proposals.is_empty() {
            return;
        }
        let refused = match self.raft.propose(proposals.iter().map(|p| p.command.encode()).collect()) {
            Ok((term, first)) => {
                for (index, proposal) in (first.0..).map(Index).zip(proposals) {
                    if proposal.is_tick() {
                        self.tick_under_way = Some(index);
                    }
                    let Proposal { tickets, promises, .. } = proposal;
                    if tickets.iter().any(Option::is_some) {
                        self.waiting.insert((index, term), Callers { tickets, since_tick: self.ticks });
                    }
                    if !promises.is_empty() {
                        self.promised.insert(index, promises);
                    }
                }
                return;
            }
            Err(ProposeError::NotLeader { leader }) => Refused::NotLeader { leader },
            Err(ProposeError::TooManyUncommitted { limit_bytes }) => Refused::Overloaded { limit_bytes },
            Err(ProposeError::Transferring { target }) => Refused::Transferring { target },
        };
        self.refuse(proposals.into_iter().flat_map(|p| p.tickets), &refused, effects);
    }

    /// These callers get no answer from the machine.
    fn refuse(&mut self, tickets: impl IntoIterator<Item = Option<Ticket>>, why: &Refused, effects: &mut Effects) {
        for ticket in tickets.into_iter().flatten() {
            self.parking.ended(ticket);
            effects.replies.push((ticket, Err(why.clone())));
        }
    }

    /// Takes the core's output: applies, and releases messages that waited for the disk.
    fn carry_out(&mut self, effects: &mut Effects) {
        let output = self.raft.take_output();
        effects.write = output.write;
        effects.send = output.send_now;
        effects.snapshots = output.snapshots;
        effects.events = output.observations.into_iter().map(Event::Core).collect();
        if !output.send_durable.is_empty() {
            self.held.push_back(Held { after: output.after, messages: output.send_durable });
        }
        while let Some(ready) =
            self.held.pop_front_if(|held| held.after <= self.durable || mutants::on(Mutant::SendsBeforeDisk))
        {
            effects.send.extend(ready.messages);
        }
        for entry in output.committed {
            self.apply(&entry, effects);
        }
        self.steer(output.reads, output.transferred, effects);
        if self.raft.role() != RoleKind::Leader {
            self.tick_under_way = None;
            self.promised.clear();
        }
    }

    fn apply(&mut self, entry: &Entry, effects: &mut Effects) {
        let index = entry.index;
        if self.tick_under_way == Some(index) {
            self.tick_under_way = None;
        }
        self.promised.remove(&index);
        let mut answers = match &entry.kind {
            EntryKind::Noop | EntryKind::Membership(_) => {
                self.machine.apply_nothing(index.0);
                Vec::new()
            }
            EntryKind::Command(bytes) => self.apply_command(index, bytes, effects),
        };
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= index) {
            let ((place, term), Callers { tickets, .. }) = first.remove_entry();
            assert_eq!(place, index, "a caller was left behind at {place}");
            if term != entry.term && !mutants::on(Mutant::AnswersOtherTerm) {
                self.refuse(tickets, &Refused::Superseded, effects);
                continue;
            }
            for (ticket, applied) in tickets.into_iter().zip(std::mem::take(&mut answers)) {
                let Some(ticket) = ticket else { continue };
                if !self.parking.goes_on(ticket, &applied.reply, self.ticks) {
                    effects.replies.push((ticket, Ok(applied)));
                }
            }
        }
        self.changed(entry, effects);
    }

    /// What the machine answers to each call of a command.
    fn apply_command(&mut self, index: Index, bytes: &Bytes, effects: &mut Effects) -> Vec<Applied> {
        // A program that cannot read the log must not guess: all nodes would have to guess alike.
        let mut command = Command::decode(bytes)
            .unwrap_or_else(|e| panic!("entry {index} cannot be read ({e}): a newer version wrote it"));
        command.stamp_ms += if mutants::on(Mutant::TimeIsLocal) { self.ticks } else { 0 };
        let replies = self.machine.apply(index.0, &command);
        let mut answers = Vec::with_capacity(replies.len());
        for (Call { op, .. }, reply) in command.calls.iter().zip(replies) {
            effects.work |= !matches!(op, Op::Heartbeat { .. } | Op::OpenSession);
            if let Some(what) = tell(op, &reply) {
                effects.events.push(Event::Jobs { term: self.raft.term(), index, what });
            }
            answers.push(match reply {
                Reply::Repeated { index, reply } => Applied { index: Index(index), reply: *reply },
                reply => Applied { index, reply },
            });
        }
        answers
    }

    /// Who does not lead any more, or leads anew, may never learn what became of the entries of its earlier office: whoever
    /// waits for them is told so. A leader's callers of its own term wait for as long as it leads.
    fn give_up_waiting(&mut self, effects: &mut Effects) {
        let office = (self.raft.role() == RoleKind::Leader).then(|| self.raft.term());
        let (now, limit) = (self.ticks, self.unknown_after_ticks);
        let is_too_long = |since_tick: u64| now - since_tick > limit;
        let given_up =
            self.waiting.extract_if(.., |(_, term), callers| Some(*term) != office && is_too_long(callers.since_tick));
        let tickets: Vec<_> = given_up.flat_map(|(_, callers)| callers.tickets).collect();
        self.refuse(tickets, &Refused::Unknown, effects);
        self.give_up_steering(office, is_too_long, effects);
    }

    pub(crate) fn waiting_since_now(&self, ticket: Ticket) -> Waiting {
        Waiting { ticket, since_tick: self.ticks }
    }

    /// A snapshot takes the place of log and state. What was waited for below it is in it, or is not: nobody can say.
    fn snapshot_installed(&mut self, meta: SnapshotMeta, machine: Machine, effects: &mut Effects) {
        let index = meta.start.index;
        assert_eq!(Index(machine.applied()), index, "a snapshot that holds another state than it says");
        self.raft.snapshot_installed(meta);
        self.machine = machine;
        let passed = self.waiting.extract_if(..=(index, Term(u64::MAX)), |_, _| true);
        let tickets: Vec<_> = passed.flat_map(|(_, callers)| callers.tickets).collect();
        self.refuse(tickets, &Refused::Unknown, effects);
        self.skip_changes(index, effects);
        self.retention.remembered = index;
    }

    /// Callers that have no answer yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.waiting.values().map(|callers| callers.tickets.len()).sum::<usize>()
            + self.parking.count()
            + self.steering.unanswered()
    }

    /// What the tables do not have yet, and where a log that leads on from there begins; none while there is nothing, or
    /// while this node's log could not reproduce it.
    pub fn take_changes(&mut self, remembered: Index) -> Option<(Changes, LogStart)> {
        let (applied, log) = (Index(self.machine.applied()), self.raft.log());
        if applied <= remembered || log.durable() < applied {
            return None;
        }
        let term = log.term_at(applied).expect("what is applied and not in the tables is in the log");
        let start = LogStart { index: applied, term, membership: log.membership_at(applied).clone() };
        Some((self.machine.take_changes(), start))
    }

    /// These changes are in the tables.
    pub fn remembered(&mut self, changes: &Changes) {
        self.machine.remembered(changes);
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The core, to look at.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The machine, to look at.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

/// What an entry did to jobs, for people; nothing if it changed nothing worth a line.
fn tell(op: &Op, reply: &Reply) -> Option<String> {
    let named = |ids: Vec<u64>| match ids[..] {
        [] => None,
        [one] => Some(format!("job {one}")),
        [first, .., last] => Some(format!("{} jobs ({first}..{last})", ids.len())),
    };
    match (op, reply) {
        (_, Reply::Submitted(Ok(jobs))) => {
            let new = jobs.iter().filter(|j| !j.duplicate).map(|j| j.id.0).collect();
            named(new).map(|jobs| format!("{jobs} submitted"))
        }
        (_, Reply::Submitted(Err(refusal))) => Some(refusal.to_string()),
        (Op::Claim { worker, .. }, Reply::Claimed(jobs)) => {
            named(jobs.iter().map(|j| j.id.0).collect()).map(|jobs| format!("{jobs} claimed by {worker}"))
        }
        (Op::Ack { acks }, Reply::Acked(settled)) => {
            let done = acks.iter().zip(settled).filter(|(_, s)| s.is_ok_and(|s| !s.repeated));
            named(done.map(|(a, _)| a.job.0).collect()).map(|jobs| format!("{jobs} completed"))
        }
        (Op::Fail { failures }, Reply::Failed(settled)) => {
            let failed = failures.iter().zip(settled).filter(|(_, s)| s.is_ok_and(|s| !s.repeated));
            named(failed.map(|(f, _)| f.job.0).collect()).map(|jobs| format!("{jobs} failed"))
        }
        (Op::Cancel { job }, Reply::Cancelled(Ok(outcome))) => match outcome {
            CancelOutcome::Cancelled => Some(format!("job {job} cancelled")),
            CancelOutcome::Requested => Some(format!("job {job} asked to stop")),
            CancelOutcome::AlreadyFinished { .. } => None,
        },
        (Op::Retry { job }, Reply::Retried(Ok(RetryOutcome::Available))) => Some(format!("job {job} retried now")),
        (Op::PauseQueue { queue, paused }, Reply::QueuePaused(Ok(PauseOutcome { changed: true }))) => {
            Some(format!("queue {queue} {}", if *paused { "paused" } else { "resumed" }))
        }
        (_, Reply::QueuePaused(Err(refusal))) => Some(refusal.to_string()),
        (_, Reply::Retried(_) | Reply::QueuePaused(_)) => None,
        (_, Reply::Ticked { moved }) if *moved > 0 => Some(format!("time moved {moved} jobs on")),
        (_, Reply::SessionRefused(refusal)) => Some(refusal.to_string()),
        (_, Reply::Repeated { .. } | Reply::SessionOpened { .. }) => None,
        (_, Reply::Ticked { .. } | Reply::Heartbeats(_) | Reply::Cancelled(_)) => None,
        (_, Reply::Claimed(_) | Reply::Acked(_) | Reply::Failed(_)) => unreachable!("a reply to another operation"),
    }
}
