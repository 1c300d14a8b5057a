//! Random histories. Three things are fed the same log: the reference model, a machine that never writes anything, and a
//! machine that is written to tables now and then, lets go of what is written, and is sometimes killed, restored from its
//! tables and fed the rest of the log again. All three must say the same at every step.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    model::{Model, Row},
    tables::Tables,
    *,
};
use crate::{Changes, Meta, Name, QueueCounts, codec};

/// Small enough for every bound to be met often.
const BOUNDS: Bounds = Bounds {
    keys_max: 2,
    key_ttl_ms: 20_000,
    sessions_max: 3,
    session_ttl_ms: 10_000,
    session_bytes_max: 24,
    paused_max: 2,
    recent_max: 4,
    claim_bytes_max: 8,
    tick_moves_max: 3,
};

/// One entry of the log to be, and what happens to the second machine after it.
#[derive(Clone, Debug)]
struct Step {
    passes_ms: u64,
    /// The stamp is this much behind, as that of a new leader with a slow clock.
    behind_ms: u64,
    act: Act,
    /// In a session: one of those that were opened, counted back from the latest, and this far from its last number.
    call: Option<(usize, u64)>,
    /// What else was asked in that moment: it joins the entry if it may.
    beside: Vec<(Act, Option<(usize, u64)>)>,
    then: Then,
}

#[derive(Clone, Debug)]
enum Act {
    Submit(Vec<NewJob>),
    Claim {
        queues: Vec<Name>,
        handlers: Vec<Name>,
        max_jobs: u32,
        lease_ms: u64,
    },
    Heartbeat {
        picks: Vec<Pick>,
        lease_ms: u64,
    },
    Ack(Vec<(Pick, bool)>),
    Fail(Vec<(Pick, Option<u64>, bool)>),
    Cancel(u64),
    Retry(u64),
    Pause(&'static str, bool),
    Tick,
    Open,
    /// A call of a session again, counted back from the latest: a second try, or a message that was late.
    Again(usize),
    Nothing,
}

/// A lease to be shown: one that was given, counted back from the latest; perhaps under a token that was never given.
#[derive(Clone, Copy, Debug)]
struct Pick {
    back: usize,
    forged: bool,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    GoOn,
    Take,
    Remember,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let passes_ms = prop_oneof![8 => Just(0), 8 => 0..50_u64, 4 => 0..3000_u64, 1 => 0..90_000_u64];
    let then =
        prop_oneof![5 => Just(Then::GoOn), 2 => Just(Then::Take), 2 => Just(Then::Remember), 1 => Just(Then::Crash)];
    let behind_ms = prop_oneof![9 => Just(0), 1 => 0..2000_u64];
    let call = || option::weighted(0.5, (0..4_usize, 0..4_u64));
    let beside = prop_oneof![2 => Just(Vec::new()), 1 => vec((act(), call()), 1..4)];
    let step = (passes_ms, behind_ms, act(), call(), beside, then);
    let step = step.prop_map(|(passes_ms, behind_ms, act, call, beside, then)| Step {
        passes_ms,
        behind_ms,
        act,
        call,
        beside,
        then,
    });
    vec(step, 1..60)
}

fn act() -> impl Strategy<Value = Act> {
    let words = |words: &'static [&'static str]| vec(select(words).prop_map(Name::from), 0..3);
    let lease_ms = || prop_oneof![Just(0_u64), 1..2000_u64];
    let picks = || (0..6_usize, prop::bool::weighted(0.1)).prop_map(|(back, forged)| Pick { back, forged });
    let claim = (words(&["a", "b", "none"]), words(&["f", "g", "none"]), 0..4_u32, lease_ms())
        .prop_map(|(queues, handlers, max_jobs, lease_ms)| Act::Claim { queues, handlers, max_jobs, lease_ms });
    let pause = (select(vec!["a", "b", "none"]), any::<bool>());
    let pause = pause.prop_map(|(queue, paused)| Act::Pause(queue, paused));
    let wait_ms = || option::of(prop_oneof![Just(0_u64), 1..3000_u64]);
    prop_oneof![
        5 => vec(new_job(), 0..4).prop_map(Act::Submit),
        6 => claim,
        2 => (vec(picks(), 0..3), lease_ms()).prop_map(|(picks, lease_ms)| Act::Heartbeat { picks, lease_ms }),
        4 => vec((picks(), prop::bool::weighted(0.2)), 0..3).prop_map(Act::Ack),
        4 => vec((picks(), wait_ms(), prop::bool::weighted(0.2)), 0..3).prop_map(Act::Fail),
        2 => (0..12_u64).prop_map(Act::Cancel),
        3 => (0..12_u64).prop_map(Act::Retry),
        3 => pause,
        5 => Just(Act::Tick),
        3 => Just(Act::Open),
        6 => (0..6_usize).prop_map(Act::Again),
        1 => Just(Act::Nothing),
    ]
}

fn new_job() -> impl Strategy<Value = NewJob> {
    let backoff = prop_oneof![
        Just(Backoff::Polynomial),
        Just(Backoff::Fixed { delay_ms: 0 }),
        (1..2000_u64).prop_map(|delay_ms| Backoff::Fixed { delay_ms }),
    ];
    let place = (select(vec!["a", "b"]), select(vec!["f", "g"]), 0..3_u8, 0..7_usize);
    let time = (option::weighted(0.2, 0..5000_u64), prop_oneof![3 => Just(0), 1 => 0..500_u64]);
    let tries = (0..4_u32, option::weighted(0.3, 1..2500_u64), backoff);
    let key = option::weighted(0.4, select(vec!["k", "l", "m", "n"]));
    (place, time, tries, key).prop_map(|(place, (run_at_ms, delay_ms), (max_attempts, timeout_ms, backoff), key)| {
        let (queue, handler, priority, size) = place;
        let job = NewJob {
            queue: queue.into(),
            handler: handler.into(),
            priority,
            payload: vec![7; size].into(),
            run_at_ms,
            delay_ms,
            max_attempts,
            timeout_ms,
            backoff,
            idempotency_key: key.map(String::from),
        };
        // Most submits under one key are the same request, or duplicates would hardly ever be met.
        if key.is_some() && size > 1 { NewJob { idempotency_key: job.idempotency_key, ..keyed("") } } else { job }
    })
}

/// The three that must agree, and what the checks remember.
struct Bench {
    model: Model,
    steady: Machine,
    restarted: Machine,
    tables: Tables,
    taken: Vec<Changes>,
    stamp_ms: u64,
    log: Vec<Option<(Command, Vec<Reply>)>>,
    leases: Vec<Lease>,
    /// The sessions that were opened, and the number last used in each.
    sessions: Vec<SessionCall>,
    finals: BTreeMap<JobId, Job>,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            model: Model::new(BOUNDS),
            steady: Machine::with_bounds(BOUNDS),
            restarted: Machine::with_bounds(BOUNDS),
            tables: Tables::default(),
            taken: Vec::new(),
            stamp_ms: 0,
            log: Vec::new(),
            leases: Vec::new(),
            sessions: Vec::new(),
            finals: BTreeMap::new(),
        };
        bench.take();
        bench.remember();
        bench
    }

    fn step(&mut self, step: Step) {
        self.stamp_ms += step.passes_ms;
        let index = self.log.len() as u64 + 1;
        match self.command(step.act, step.call, self.stamp_ms.saturating_sub(step.behind_ms)) {
            Some(mut command) => {
                for (act, call) in step.beside {
                    let further = self.command(act, call, command.stamp_ms).map(|further| further.calls);
                    let joins = |call: &Call| command.takes(&call.op);
                    command.calls.extend(further.filter(|calls| calls.iter().all(joins)).into_iter().flatten());
                }
                self.apply(index, command);
            }
            None => {
                self.steady.apply_nothing(index);
                self.restarted.apply_nothing(index);
                self.log.push(None);
            }
        }
        match step.then {
            Then::GoOn => {}
            Then::Take => self.take(),
            Then::Remember => self.remember(),
            Then::Crash => self.crash(),
        }
        self.check();
    }

    fn command(&mut self, act: Act, call: Option<(usize, u64)>, stamp_ms: u64) -> Option<Command> {
        if let Act::Again(back) = act {
            let calls = self.log.iter().rev().flatten().flat_map(|(command, _)| command.calls.iter().rev());
            let Call { op, session } = calls.filter(|call| call.session.is_some()).nth(back)?.clone();
            return Some(Command::of(stamp_ms, op, session));
        }
        let op = self.op(act)?;
        let session = call.map(|(back, further)| {
            let place = self.sessions.len().checked_sub(back + 1);
            let mut never = SessionCall { session: SessionId(0), seq: 1 };
            let call = place.map_or(&mut never, |place| &mut self.sessions[place]);
            // Mostly the next number; sometimes the last one with another request, or one that skips some.
            call.seq += [1, 1, 0, 3][further as usize];
            *call
        });
        Some(Command::of(stamp_ms, op, session))
    }

    fn op(&self, act: Act) -> Option<Op> {
        Some(match act {
            Act::Submit(jobs) => Op::Submit { jobs },
            Act::Claim { queues, handlers, max_jobs, lease_ms } => {
                Op::Claim { worker: "w".into(), queues, handlers, max_jobs, lease_ms }
            }
            Act::Heartbeat { picks, lease_ms } => {
                Op::Heartbeat { leases: picks.into_iter().map(|pick| self.pick(pick)).collect(), lease_ms }
            }
            Act::Ack(acks) => {
                let ack = |(pick, other)| {
                    let Lease { job, token } = self.pick(pick);
                    Ack { job, token, result: Bytes::from_static(if other { b"other" } else { b"out" }) }
                };
                Op::Ack { acks: acks.into_iter().map(ack).collect() }
            }
            Act::Fail(failures) => {
                let failure = |(pick, retry_after_ms, non_retryable)| {
                    let Lease { job, token } = self.pick(pick);
                    Failure { job, token, error: "boom".into(), retry_after_ms, non_retryable }
                };
                Op::Fail { failures: failures.into_iter().map(failure).collect() }
            }
            Act::Cancel(job) => Op::Cancel { job: JobId(job) },
            Act::Retry(job) => Op::Retry { job: JobId(job) },
            Act::Pause(queue, paused) => Op::PauseQueue { queue: queue.into(), paused },
            Act::Tick => Op::Tick,
            Act::Open => Op::OpenSession,
            Act::Again(_) | Act::Nothing => return None,
        })
    }

    fn pick(&self, pick: Pick) -> Lease {
        let place = self.leases.len().checked_sub(pick.back + 1);
        let mut lease = place.map_or(Lease { job: JobId(3), token: LeaseToken(0) }, |place| self.leases[place]);
        lease.token.0 += u64::from(pick.forged);
        lease
    }

    fn apply(&mut self, index: u64, command: Command) {
        if let Some(call) = command.calls[0].session {
            let is_new = self.model.is_new(call);
            assert_eq!((self.steady.is_new_call(call), self.restarted.is_new_call(call)), (is_new, is_new), "{call:?}");
        }
        let expected = self.model.apply(index, &command);
        assert_eq!(self.steady.apply(index, &command), expected, "the machine against the model, entry {index}");
        assert_eq!(self.restarted.apply(index, &command), expected, "the restarted machine, entry {index}");
        for reply in &expected {
            if let Reply::SessionOpened { session } = reply {
                self.sessions.push(SessionCall { session: *session, seq: 0 });
            }
            let claimed = if let Reply::Claimed(jobs) = reply { &jobs[..] } else { &[] };
            for job in claimed {
                let earlier = self.leases.iter().filter(|lease| lease.job == job.id);
                assert!(earlier.map(|lease| lease.token).all(|token| token < job.token), "tokens grow");
                self.leases.push(Lease { job: job.id, token: job.token });
            }
        }
        self.log.push(Some((command, expected)));
    }

    fn take(&mut self) {
        self.taken.push(self.restarted.take_changes());
    }

    /// What was taken becomes durable.
    fn remember(&mut self) {
        for changes in self.taken.drain(..) {
            self.tables.write(&changes);
            self.restarted.remembered(&changes);
        }
    }

    /// The process ends; what was taken but not written is lost. A new one reads the tables and the rest of the log.
    fn crash(&mut self) {
        self.taken.clear();
        self.restarted = Machine::restore_with_bounds(self.tables.read(), BOUNDS).expect("tables of a machine");
        for (index, entry) in self.log.iter().enumerate().skip(self.tables.applied as usize) {
            let index = index as u64 + 1;
            match entry {
                Some((command, replies)) => {
                    assert_eq!(self.restarted.apply(index, command), *replies, "replay of {index}");
                }
                None => self.restarted.apply_nothing(index),
            }
        }
    }

    fn check(&mut self) {
        let (steady, restarted) = (&self.steady, &self.restarted);
        assert_eq!(restarted.applied(), self.log.len() as u64);
        assert_eq!(restarted.state_hash(), steady.state_hash(), "one hash");
        assert!(restarted.live().eq(steady.live()), "one live set");
        assert!(restarted.queues().eq(steady.queues()), "one count");

        let rows = &self.model.jobs;
        assert_eq!(steady.next_due_ms(), rows.iter().filter_map(Row::due_ms).min());
        let mut paused = self.model.paused.clone();
        let (queues, handlers) = ([Name::from("a")], [Name::from("f")]);
        let fits = |row: &Row| row.fits(&queues, &handlers, &paused);
        assert_eq!(steady.claimable(&queues, &handlers), rows.iter().any(fits));
        let goes = |row: &&Row| row.state == JobState::Available && !paused.contains(&row.new.queue);
        assert_eq!(steady.claimable_count(), rows.iter().filter(goes).count() as u64);
        paused.sort();
        assert!(steady.paused_queues().eq(paused.iter()), "the same queues are paused");
        let mut counts: BTreeMap<&str, QueueCounts> = BTreeMap::new();
        for row in rows {
            *counts.entry(&row.new.queue).or_default().get_mut(row.state) += 1;
            check_job(self.steady.job(row.id).expect("the steady machine lets nothing go"), row);
        }
        assert!(steady.queues().eq(counts.iter().map(|(queue, counts)| (*queue, counts))), "counters equal a recount");
        let live: Vec<_> = rows.iter().filter(|row| !row.state.is_final()).collect();
        assert_eq!(steady.live_count(), live.len());
        assert_eq!(steady.live_payload_bytes(), live.iter().map(|row| row.new.payload.len() as u64).sum::<u64>());

        for (id, job) in &self.finals {
            assert_eq!(steady.job(*id), Some(job), "final states absorb");
        }
        let finals = rows.iter().filter(|row| row.state.is_final());
        self.finals = finals.map(|row| (row.id, steady.job(row.id).expect("as above").clone())).collect();
    }

    /// Of all entries of one call, at most one was done, and all that repeat it say what it said.
    fn check_calls(&self) {
        let mut done: BTreeMap<(SessionId, u64), (u64, &Reply)> = BTreeMap::new();
        let entries = (1..).zip(&self.log).filter_map(|(index, entry)| Some((index, entry.as_ref()?)));
        let calls = entries.flat_map(|(index, (command, replies))| {
            command.calls.iter().zip(replies).map(move |(call, reply)| (index, call, reply))
        });
        for (index, call, reply) in calls {
            let Some(SessionCall { session, seq }) = &call.session else { continue };
            match reply {
                Reply::SessionRefused(_) => {}
                Reply::Claimed(jobs) if jobs.is_empty() => {}
                Reply::Repeated { index, reply } => match (done[&(*session, *seq)], &**reply) {
                    ((first, Reply::Claimed(given)), Reply::Claimed(again)) => {
                        assert_eq!(first, *index);
                        assert!(again.iter().all(|job| given.iter().any(|g| (g.id, g.token) == (job.id, job.token))));
                    }
                    (first, reply) => assert_eq!(first, (*index, reply)),
                },
                first => {
                    let earlier = done.insert((*session, *seq), (index, first));
                    assert_eq!(earlier, None, "call {seq} of session {session} was done twice");
                }
            }
        }
    }

    /// Everything written: the tables alone come to the hash of the machine.
    fn check_tables(&mut self) {
        self.take();
        self.remember();
        let meta = self.tables.meta.expect("written");
        assert_eq!(meta.state_hash, self.steady.state_hash());
        assert_eq!(hash_from_scratch(&self.tables, meta), meta.state_hash);
        assert_eq!(self.tables.jobs.len(), self.model.jobs.len());
        for job in self.tables.all_jobs() {
            assert_eq!(self.steady.job(job.id), Some(&job), "the row is the record");
            assert_eq!(self.restarted.job(job.id).is_some(), !job.state.is_final(), "memory follows the live set");
        }
    }
}

fn check_job(job: &Job, row: &Row) {
    assert_eq!((job.state, job.attempt, job.run_at_ms), (row.state, row.attempt, row.run_at_ms), "job {}", job.id);
    assert_eq!((job.cancel_requested, job.finish_seq), (row.cancel_requested, row.finish_seq));
    let lease = job.lease.as_ref().map(|lease| (lease.token, lease.deadline_ms, lease.timeout_at_ms));
    assert_eq!(lease, row.lease.as_ref().map(|lease| (lease.token, lease.deadline_ms, lease.timeout_at_ms)));
    assert_eq!(job.lease.is_some(), job.state == JobState::Running, "a lease is what makes a job running");
    assert_eq!(job.payload, row.new.payload);
}

/// The definition of the state hash, over everything at once.
fn hash_from_scratch(tables: &Tables, meta: Meta) -> u64 {
    let Tables { keys, sessions, paused, .. } = tables;
    let jobs_digest = tables.all_jobs().fold(0_u64, |sum, job| sum.wrapping_add(job.digest()));
    let keys_digest = keys.iter().fold(0_u64, |sum, row| sum.wrapping_add(codec::digest(&row)));
    let answered_digest = sessions.iter().fold(keys_digest, |sum, row| sum.wrapping_add(codec::digest(&row)));
    let tables_digest =
        paused.iter().fold(answered_digest, |sum, queue| sum.wrapping_add(codec::digest(&("paused", queue))));
    codec::digest(&(jobs_digest, tables_digest, meta.next_id, meta.now_ms, meta.finish_seq))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn machine_model_and_restarted_machine_agree(steps in steps()) {
        let mut bench = Bench::new();
        for step in steps {
            bench.step(step);
        }
        bench.check_calls();
        bench.check_tables();
    }

    #[test]
    fn arbitrary_bytes_are_a_command_or_an_error(version in 1..3_u8, bytes in vec(any::<u8>(), 0..64)) {
        let versioned: Bytes = [version].into_iter().chain(bytes).collect();
        if let Ok(command) = Command::decode(&versioned) {
            Machine::new().apply(1, &command);
        }
    }
}
