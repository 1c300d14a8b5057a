//! The rows of the transition table that need no fence: submit, time, claim order, cancel, keys.

use super::*;

#[test]
fn ids_are_sequential_from_one_and_the_index_is_that_of_the_entry() {
    let mut desk = Desk::new();
    desk.machine.apply_nothing(1);
    let made = desk.try_submit(vec![job(), job()]).unwrap();
    let first = Submitted { id: JobId(1), state: JobState::Available, index: 2, duplicate: false };
    assert_eq!(made, [first, Submitted { id: JobId(2), ..first }]);
    assert_eq!(desk.submit(job()).id, JobId(3));
}

#[test]
#[should_panic(expected = "entry 1 is next, not 2")]
fn an_entry_out_of_order_is_an_assertion() {
    Machine::new().apply(2, &Command::of(0, Op::Tick, None));
}

#[test]
fn time_never_goes_back() {
    let mut desk = Desk::new();
    desk.tick();
    desk.stamp_ms = 400;
    desk.tick();
    assert_eq!(desk.machine.now_ms(), 1000);
}

#[test]
fn a_delayed_job_is_scheduled_until_a_tick_at_its_time() {
    let mut desk = Desk::new();
    let made = desk.submit(NewJob { delay_ms: 500, ..job() });
    assert_eq!(made.state, JobState::Scheduled);
    assert_eq!(desk.machine.next_due_ms(), Some(1500));
    assert!(!desk.machine.claimable(&[], &["h".into()]));
    assert_eq!(desk.wait(499).tick(), 0);
    assert_eq!(desk.wait(1).tick(), 1);
    assert_eq!(desk.state(made.id), JobState::Available);
    assert!(desk.machine.claimable(&[], &["h".into()]));
    assert_eq!(desk.machine.next_due_ms(), None);
}

#[test]
fn a_run_at_time_that_has_passed_is_now() {
    let mut desk = Desk::new();
    let earlier = desk.submit(job());
    let pushy = desk.submit(NewJob { run_at_ms: Some(1), ..job() });
    assert_eq!(pushy.state, JobState::Available);
    assert_eq!(desk.claim().job, earlier.id);
}

#[test]
fn the_claim_order_is_priority_then_time_then_id() {
    let mut desk = Desk::new();
    let late = desk.submit(NewJob { delay_ms: 200, queue: "b".into(), ..job() });
    let early = desk.submit(NewJob { delay_ms: 100, ..job() });
    let first = desk.submit(NewJob { priority: 0, delay_ms: 300, ..job() });
    let last = desk.submit(NewJob { priority: 9, ..job() });
    let again = desk.submit(NewJob { delay_ms: 200, ..job() });
    desk.wait(1000).tick();
    let order: Vec<_> = desk.claim_from(&[], &["h", "h"], 10).into_iter().map(|job| job.id).collect();
    assert_eq!(order, [first, early, late, again, last].map(|made| made.id));
}

#[test]
fn a_claim_takes_only_from_its_queues_and_for_its_handlers() {
    let mut desk = Desk::new();
    for (queue, handler) in [("a", "h"), ("a", "g"), ("b", "h"), ("c", "f")] {
        desk.submit(NewJob { queue: queue.into(), handler: handler.into(), ..job() });
    }
    let ids = |jobs: Vec<ClaimedJob>| jobs.into_iter().map(|job| job.id.0).collect::<Vec<_>>();
    assert_eq!(ids(desk.claim_from(&[], &[], 10)), []);
    assert_eq!(ids(desk.claim_from(&["b", "c", "b"], &["h"], 10)), [3]);
    assert_eq!(ids(desk.claim_from(&["a"], &["g", "f"], 10)), [2]);
    assert_eq!(ids(desk.claim_from(&[], &["h", "f"], 10)), [1, 4]);
}

#[test]
fn a_claim_gives_attempt_token_deadline_and_payload() {
    let mut desk = Desk::new();
    desk.submit(NewJob { payload: Bytes::from_static(b"in"), timeout_ms: Some(9), max_attempts: 3, ..job() });
    let claimed = desk.claim_from(&[], &["h"], 1).remove(0);
    let expected = ClaimedJob {
        id: JobId(1),
        token: LeaseToken(2),
        attempt: 1,
        max_attempts: 3,
        deadline_ms: 31_000,
        timeout_ms: Some(9),
        queue: "default".into(),
        handler: "h".into(),
        payload: Bytes::from_static(b"in"),
    };
    assert_eq!(claimed, expected);
    assert_eq!(desk.claim_from(&[], &["h"], 1), []);
}

#[test]
fn a_waiting_job_is_cancelled_at_once() {
    let mut desk = Desk::new();
    let scheduled = desk.submit(NewJob { delay_ms: 10, ..job() }).id;
    let available = desk.submit(job()).id;
    assert_eq!(desk.cancel(available), Ok(CancelOutcome::Cancelled));
    assert_eq!(desk.cancel(scheduled), Ok(CancelOutcome::Cancelled));
    let retryable = desk.running(job());
    desk.fail(retryable).unwrap();
    assert_eq!(desk.cancel(retryable.job), Ok(CancelOutcome::Cancelled));
    assert_eq!(desk.machine.next_due_ms(), None);
    assert_eq!(desk.claim_from(&[], &["h"], 1), []);
    let over = CancelOutcome::AlreadyFinished { state: Some(JobState::Cancelled) };
    assert_eq!(desk.cancel(available), Ok(over));
    assert_eq!(desk.cancel(JobId(99)), Err(CancelRefusal::UnknownJob { job: JobId(99) }));
    assert_eq!(desk.cancel(JobId(0)).unwrap_err().to_string(), "there is no job 0");
}

#[test]
fn a_running_job_is_asked_to_stop_and_its_worker_hears_it() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    assert_eq!(desk.cancel(lease.job), Ok(CancelOutcome::Requested));
    assert_eq!(desk.cancel(lease.job), Ok(CancelOutcome::Requested));
    assert!(desk.heartbeat(lease).unwrap().cancel_requested);
    assert_eq!(desk.fail(lease), Ok(Settled { state: JobState::Cancelled, repeated: false }));
    assert_eq!(desk.story(lease.job), ["submitted", "claimed", "cancel_requested", "failed", "cancelled"]);
}

#[test]
fn an_ack_after_a_requested_cancel_completes() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    desk.cancel(lease.job).unwrap();
    assert_eq!(desk.ack(lease, "done").unwrap().state, JobState::Completed);
    assert!(!desk.job(lease.job).cancel_requested);
}

#[test]
fn an_expiry_after_a_requested_cancel_cancels() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    desk.cancel(lease.job).unwrap();
    desk.wait(30_000).tick();
    assert_eq!(desk.state(lease.job), JobState::Cancelled);
}

#[test]
fn the_same_key_and_request_get_the_first_answer() {
    let mut desk = Desk::new();
    let first = desk.submit(NewJob { delay_ms: 5, ..keyed("k") });
    desk.wait(10).tick();
    let lease = desk.claim();
    desk.ack(lease, "").unwrap();
    desk.write_all();
    let again = desk.submit(NewJob { delay_ms: 5, ..keyed("k") });
    assert_eq!(again, Submitted { duplicate: true, ..first });
    assert_eq!(again.state, JobState::Scheduled);
    assert_eq!(desk.machine.queues().map(|(_, counts)| counts.completed).sum::<u64>(), 1);
}

#[test]
fn the_same_key_with_another_request_is_refused_and_the_bulk_with_it() {
    let mut desk = Desk::new();
    desk.submit(keyed("k"));
    let hash = desk.machine.state_hash();
    let other = NewJob { payload: Bytes::from_static(b"other"), ..keyed("k") };
    let refusal = desk.try_submit(vec![job(), keyed("new"), other]).unwrap_err();
    assert_eq!(refusal, SubmitRefusal::KeyConflict { key: "k".into(), job: JobId(1) });
    assert_eq!(refusal.to_string(), "idempotency key \"k\" was used for job 1 with another request");
    assert_eq!(desk.machine.state_hash(), hash, "nothing changed");
    assert_eq!(desk.submit(keyed("new")).id, JobId(2));
}

#[test]
fn a_bulk_answers_its_duplicates_and_makes_the_rest() {
    let mut desk = Desk::new();
    desk.submit(keyed("k"));
    let made = desk.try_submit(vec![job(), keyed("k"), keyed("l"), keyed("l")]).unwrap();
    let answers: Vec<_> = made.iter().map(|made| (made.id.0, made.index, made.duplicate)).collect();
    assert_eq!(answers, [(2, 2, false), (1, 1, true), (3, 2, false), (3, 2, true)]);
}

#[test]
fn a_bulk_that_contradicts_itself_is_refused() {
    let mut desk = Desk::new();
    let other = NewJob { priority: 1, ..keyed("k") };
    let refusal = desk.try_submit(vec![job(), keyed("k"), job(), other]).unwrap_err();
    assert_eq!(refusal, SubmitRefusal::KeyConflict { key: "k".into(), job: JobId(2) });
    assert_eq!(desk.machine.live_count(), 0);
}

#[test]
fn a_key_is_forgotten_after_its_day() {
    let mut desk = Desk::new();
    let day_ms = crate::limits::KEY_TTL_MS;
    desk.submit(keyed("k"));
    assert!(desk.wait(day_ms - 1).submit(keyed("k")).duplicate);
    assert!(!desk.wait(1).submit(keyed("k")).duplicate);
    assert!(desk.wait(1).submit(keyed("k")).duplicate);
}

#[test]
fn a_duplicate_does_not_make_its_key_younger() {
    let mut desk = Desk::with_bounds(|bounds| bounds.keys_max = 2);
    desk.submit(keyed("a"));
    desk.submit(keyed("b"));
    desk.submit(keyed("a"));
    desk.submit(keyed("c"));
    assert!(desk.submit(keyed("b")).duplicate);
    assert!(!desk.submit(keyed("a")).duplicate, "a was the oldest of three");
}

#[test]
fn the_history_keeps_the_latest_and_counts_the_rest() {
    let mut desk = Desk::new();
    let id = desk.submit(NewJob { max_attempts: 100, ..job() }).id;
    for _ in 0..30 {
        let lease = desk.claim();
        desk.fail_with(lease, Some(0), false).unwrap();
        desk.tick();
    }
    let job = desk.job(id);
    // One submitted, then claimed, failed, available 30 times.
    assert_eq!(job.history.len(), crate::limits::HISTORY_MAX);
    assert_eq!(job.history_dropped as usize, 91 - crate::limits::HISTORY_MAX);
    assert_eq!(job.history.last().unwrap().what, HistoryKind::Available);
}

#[test]
fn a_note_is_cut_between_characters() {
    let mut desk = Desk::new();
    let Lease { job, token } = desk.running(job());
    let failure = Failure { job, token, error: "ä".repeat(200) + "é", retry_after_ms: None, non_retryable: false };
    desk.apply(Op::Fail { failures: vec![Failure { error: format!("x{}", failure.error), ..failure }] });
    let note = &desk.job(job).history.last().unwrap().note;
    assert_eq!(note.len(), crate::limits::NOTE_BYTES_MAX - 1);
    assert!(note.ends_with('ä'));
    assert!(desk.job(job).error.as_ref().unwrap().ends_with('é'), "the record itself keeps all of it");
}
