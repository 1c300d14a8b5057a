//! Memory and tables: what is written, and what a restored machine accepts.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    Changes, KeyEntry, Meta, Name, Outcome, QueueCounts, Recent, RestoreError, Restored, SessionEntry, Settlement,
};

/// The tables as the node has them: rows by key, jobs as bytes.
#[derive(Clone, Default)]
pub(super) struct Tables {
    pub(super) applied: u64,
    pub(super) meta: Option<Meta>,
    pub(super) jobs: BTreeMap<JobId, Vec<u8>>,
    pub(super) queues: BTreeMap<String, QueueCounts>,
    pub(super) keys: BTreeMap<String, KeyEntry>,
    pub(super) sessions: BTreeMap<SessionId, SessionEntry>,
    pub(super) paused: BTreeSet<Name>,
    pub(super) recent: BTreeMap<u64, Recent>,
}

impl Tables {
    pub(super) fn write(&mut self, changes: &Changes) {
        self.applied = changes.applied;
        self.meta = Some(changes.meta);
        self.jobs.extend(changes.jobs.iter().map(|job| (job.id, job.encode())));
        self.queues.extend(changes.queues.iter().cloned());
        for key in &changes.keys_removed {
            self.keys.remove(key);
        }
        self.keys.extend(changes.keys_set.iter().cloned());
        for session in &changes.sessions_removed {
            self.sessions.remove(session);
        }
        self.sessions.extend(changes.sessions_set.iter().cloned());
        for queue in &changes.paused_removed {
            self.paused.remove(queue);
        }
        self.paused.extend(changes.paused_set.iter().cloned());
        self.recent.extend(changes.recent.iter().map(|recent| (recent.finish_seq, *recent)));
        self.recent.retain(|&seq, _| seq >= changes.recent_floor);
    }

    pub(super) fn all_jobs(&self) -> impl Iterator<Item = Job> {
        self.jobs.values().map(|bytes| Job::decode(bytes).expect("written by encode"))
    }

    pub(super) fn read(&self) -> Restored {
        Restored {
            applied: self.applied,
            meta: self.meta.expect("written"),
            jobs: self.all_jobs().filter(|job| !job.state.is_final()).collect(),
            queues: self.queues.clone().into_iter().collect(),
            keys: self.keys.clone().into_iter().collect(),
            sessions: self.sessions.clone().into_iter().collect(),
            paused: self.paused.iter().cloned().collect(),
            recent: self.recent.values().copied().collect(),
        }
    }
}

/// A machine with one job of each kind behind it, and its tables.
fn lived_in() -> (Machine, Tables) {
    let mut desk = Desk::new();
    let done = desk.running(keyed("k"));
    desk.ack(done, "out").unwrap();
    desk.running(job());
    let session = desk.open_session();
    desk.call(session, 1, Op::Cancel { job: JobId(1) });
    desk.pause("mail", true).unwrap();
    desk.submit(NewJob { delay_ms: 9, payload: Bytes::from_static(b"in"), ..job() });
    let mut tables = Tables::default();
    tables.write(&desk.machine.take_changes());
    (desk.machine, tables)
}

#[test]
fn a_job_that_comes_and_goes_between_two_takes_is_one_row() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    desk.ack(lease, "").unwrap();
    let changes = desk.machine.take_changes();
    assert_eq!(changes.jobs.len(), 1);
    assert_eq!((changes.jobs[0].state, changes.applied), (JobState::Completed, 3));
    assert_eq!(desk.machine.take_changes().jobs, []);
}

#[test]
fn a_finished_job_is_in_memory_until_it_is_remembered() {
    let mut desk = Desk::new();
    let (done, running) = (desk.running(job()), desk.running(job()));
    desk.ack(done, "").unwrap();
    let changes = desk.machine.take_changes();
    assert_eq!(desk.state(done.job), JobState::Completed);
    desk.machine.remembered(&changes);
    assert!(desk.machine.job(done.job).is_none());
    assert_eq!(desk.state(running.job), JobState::Running);
}

#[test]
fn the_hash_does_not_depend_on_what_was_let_go() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    desk.ack(lease, "").unwrap();
    let hash = desk.machine.state_hash();
    desk.write_all();
    assert_eq!(desk.machine.state_hash(), hash);
}

#[test]
fn a_restored_machine_is_the_one_that_was_written() {
    let (machine, tables) = lived_in();
    let restored = Machine::restore(tables.read()).unwrap();
    assert_eq!(restored.state_hash(), machine.state_hash());
    assert_eq!(restored.applied(), machine.applied());
    assert!(restored.queues().eq(machine.queues()));
    assert_eq!(restored.live_payload_bytes(), 2);
    assert!(restored.paused_queues().eq(["mail"]));
}

#[test]
fn altered_tables_are_refused() {
    let (_, tables) = lived_in();
    let refusal = |alter: fn(&mut Restored)| {
        let mut rows = tables.read();
        alter(&mut rows);
        Machine::restore(rows).expect_err("refused")
    };
    assert!(matches!(refusal(|rows| rows.jobs[0].attempt += 1), RestoreError::Hash { .. }));
    assert!(matches!(refusal(|rows| rows.keys.clear()), RestoreError::Hash { .. }));
    assert!(matches!(refusal(|rows| rows.sessions.clear()), RestoreError::Hash { .. }));
    assert!(matches!(refusal(|rows| rows.sessions[0].1.active_ms += 1), RestoreError::Hash { .. }));
    assert!(matches!(refusal(|rows| rows.sessions[0].1.last.as_mut().unwrap().seq += 1), RestoreError::Hash { .. }));
    assert!(matches!(refusal(|rows| rows.paused.clear()), RestoreError::Hash { .. }));
    assert!(matches!(refusal(|rows| rows.paused.push("other".into())), RestoreError::Hash { .. }));
    let cut = refusal(|rows| rows.sessions[0].1.last.as_mut().unwrap().reply.truncate(1));
    assert!(matches!(cut, RestoreError::Session { .. }), "{cut}");
    assert!(matches!(refusal(|rows| rows.meta.now_ms += 1), RestoreError::Hash { .. }));
    assert!(matches!(refusal(|rows| rows.jobs[0].id = JobId(99)), RestoreError::BeyondNext { .. }));
    assert!(matches!(refusal(|rows| rows.jobs[0].state = JobState::Completed), RestoreError::NotLive { .. }));
    assert_eq!(refusal(|rows| rows.recent.clear()), RestoreError::Recent { needed: 1, found: 0 });
    assert_eq!(refusal(|rows| rows.queues[0].1.completed = 0), RestoreError::Finished { counted: 0, finished: 1 });
    let words = "queue \"default\" counts 1 scheduled jobs, the tables hold 0";
    assert_eq!(refusal(|rows| drop(rows.jobs.pop())).to_string(), words);
}

const SETTLED: Settlement =
    Settlement { token: LeaseToken(1), outcome: Outcome::Ack, digest: 0, state: JobState::Completed };

#[test]
fn the_digest_covers_every_field() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    let job = desk.job(lease.job).clone();
    let edits: [fn(&mut Job); 22] = [
        |job| job.id.0 += 1,
        |job| job.queue.push('x'),
        |job| job.handler.push('x'),
        |job| job.priority += 1,
        |job| job.payload_digest += 1,
        |job| job.state = JobState::Available,
        |job| job.attempt += 1,
        |job| job.max_attempts += 1,
        |job| job.run_at_ms += 1,
        |job| job.submitted_at_ms += 1,
        |job| job.submit_index += 1,
        |job| job.timeout_ms = Some(1),
        |job| job.backoff = Backoff::Polynomial,
        |job| job.lease.as_mut().unwrap().deadline_ms += 1,
        |job| job.cancel_requested = true,
        |job| job.result = Bytes::from_static(b"x"),
        |job| job.error = Some(String::new()),
        |job| job.settled = Some(SETTLED),
        |job| job.finished_at_ms = Some(1),
        |job| job.finish_seq = Some(1),
        |job| job.history[0].note.push('x'),
        |job| job.history_dropped += 1,
    ];
    let mut digests = std::collections::BTreeSet::from([job.digest()]);
    for (n, edit) in edits.into_iter().enumerate() {
        let mut edited = job.clone();
        edit(&mut edited);
        assert!(digests.insert(edited.digest()), "edit {n} does not show");
    }
}

#[test]
fn an_altered_payload_is_refused() {
    let mut desk = Desk::new();
    let id = desk.submit(NewJob { payload: Bytes::from_static(b"precious"), ..job() }).id;
    let mut bytes = desk.job(id).encode();
    assert_eq!(Job::decode(&bytes).as_ref(), Ok(desk.job(id)));
    let place = bytes.windows(8).position(|window| window == b"precious").unwrap();
    bytes[place] ^= 1;
    assert_eq!(Job::decode(&bytes), Err(crate::DecodeError::PayloadDigest { job: id }));
}
