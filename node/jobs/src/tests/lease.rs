//! Leases: the fence, the ends of an attempt, and repeats.

use super::*;
use crate::Standing;

const AGAIN: bool = true;

fn settled(state: JobState, repeated: bool) -> Result<Settled, LeaseRefusal> {
    Ok(Settled { state, repeated })
}

#[test]
fn an_ack_completes_the_job_with_its_result() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    assert_eq!(desk.ack(lease, "out"), settled(JobState::Completed, false));
    let job = desk.job(lease.job);
    assert_eq!((job.result.as_ref(), job.completed_token()), (b"out".as_ref(), Some(lease.token)));
    assert_eq!((job.finished_at_ms, job.finish_seq), (Some(1000), Some(1)));
    assert_eq!(desk.story(lease.job), ["submitted", "claimed", "completed"]);
    assert_eq!(desk.machine.live_count(), 0);
}

#[test]
fn a_wrong_token_is_stale_and_changes_nothing() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    let hash = desk.machine.state_hash();
    let wrong = Lease { token: LeaseToken(41), ..lease };
    let words = "stale lease: job 1 is leased under token 2, not 41";
    assert_eq!(desk.ack(wrong, "").unwrap_err().to_string(), words);
    assert_eq!(desk.fail(wrong).unwrap_err().to_string(), words);
    assert_eq!(desk.heartbeat(wrong).unwrap_err().to_string(), words);
    assert_eq!(desk.machine.state_hash(), hash);
    let unknown = Lease { job: JobId(7), ..lease };
    assert_eq!(desk.ack(unknown, ""), Err(LeaseRefusal::UnknownJob { job: JobId(7) }));
}

#[test]
fn a_finished_job_says_so_in_words() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    desk.ack(lease, "").unwrap();
    assert_eq!(desk.heartbeat(lease).unwrap_err().to_string(), "stale lease: job 1 is completed");
}

#[test]
fn the_worker_that_lost_its_lease_cannot_ack_the_next_attempt() {
    let mut desk = Desk::new();
    let old = desk.running(job());
    desk.wait(30_000).tick();
    assert_eq!(desk.ack(old, "").unwrap_err().to_string(), "stale lease: job 1 is retryable");
    desk.wait(5000).tick();
    let new = desk.claim();
    assert!(new.token > old.token);
    let standing = Standing::Leased(new.token);
    let refusal = Err(LeaseRefusal::StaleLease { job: old.job, token: old.token, standing });
    assert_eq!(desk.ack(old, ""), refusal);
    assert_eq!(desk.ack(new, ""), settled(JobState::Completed, false));
}

#[test]
fn an_exact_repeat_of_an_ack_gets_the_same_answer() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    desk.ack(lease, "out").unwrap();
    let hash = desk.machine.state_hash();
    assert_eq!(desk.ack(lease, "out"), settled(JobState::Completed, AGAIN));
    desk.write_all();
    assert!(desk.machine.job(lease.job).is_none(), "let go");
    assert_eq!(desk.ack(lease, "out"), settled(JobState::Completed, AGAIN));
    assert_eq!(desk.machine.state_hash(), hash);
}

#[test]
fn another_word_on_a_settled_lease_is_no_repeat() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    desk.ack(lease, "out").unwrap();
    let words = "stale lease: job 1 became completed by another answer under the same token";
    assert_eq!(desk.ack(lease, "else").unwrap_err().to_string(), words);
    assert_eq!(desk.fail(lease).unwrap_err().to_string(), words);
}

#[test]
fn an_exact_repeat_of_a_fail_gets_the_same_answer_even_after_the_next_claim() {
    let mut desk = Desk::new();
    let old = desk.running(job());
    assert_eq!(desk.fail(old), settled(JobState::Retryable, false));
    assert_eq!(desk.fail(old), settled(JobState::Retryable, AGAIN));
    assert_eq!(desk.job(old.job).attempt, 1);
    desk.wait(5000).tick();
    let new = desk.claim();
    assert_eq!(desk.fail(old), settled(JobState::Retryable, AGAIN));
    assert_eq!(desk.state(old.job), JobState::Running);
    desk.ack(new, "").unwrap();
    assert_eq!(desk.fail(old).unwrap_err().to_string(), "stale lease: job 1 is completed");
}

#[test]
fn a_heartbeat_moves_the_deadline_and_leaves_the_history_alone() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    assert_eq!(desk.machine.next_due_ms(), Some(31_000));
    let renewed = desk.wait(20_000).heartbeat(lease);
    assert_eq!(renewed, Ok(Renewed { deadline_ms: 51_000, cancel_requested: false }));
    assert_eq!(desk.machine.next_due_ms(), Some(51_000));
    assert_eq!(desk.wait(29_999).tick(), 0);
    assert_eq!(desk.wait(1).tick(), 1);
    assert_eq!(desk.story(lease.job), ["submitted", "claimed", "lease_expired"]);
}

#[test]
fn only_a_tick_ends_a_lease() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    assert_eq!(desk.wait(90_000).ack(lease, ""), settled(JobState::Completed, false));
}

#[test]
fn an_expired_lease_is_a_spent_attempt() {
    let mut desk = Desk::new();
    let lease = desk.running(NewJob { max_attempts: 1, ..job() });
    desk.wait(30_000).tick();
    assert_eq!(desk.state(lease.job), JobState::Discarded);
    assert_eq!(desk.job(lease.job).completed_token(), None);
    assert_eq!(desk.job(lease.job).error.as_deref(), Some("lease expired: worker w1 fell silent"));
    assert_eq!(desk.story(lease.job), ["submitted", "claimed", "lease_expired", "discarded"]);
}

#[test]
fn an_attempt_that_takes_too_long_ends_although_its_worker_is_alive() {
    let mut desk = Desk::new();
    let lease = desk.running(NewJob { timeout_ms: Some(40_000), ..job() });
    desk.wait(20_000).heartbeat(lease).unwrap();
    assert_eq!(desk.machine.next_due_ms(), Some(41_000));
    desk.wait(20_000).tick();
    assert_eq!(desk.state(lease.job), JobState::Retryable);
    assert_eq!(desk.job(lease.job).error.as_deref(), Some("timed out: attempt 1 took over 40000 ms"));
    assert!(desk.ack(lease, "").is_err());
    assert_eq!(desk.story(lease.job), ["submitted", "claimed", "timed_out"]);
}

#[test]
fn of_timeout_and_expiry_the_first_is_the_reason_and_the_timeout_if_they_meet() {
    for (timeout_ms, reason) in [(29_999, "timed_out"), (30_000, "timed_out"), (30_001, "lease_expired")] {
        let mut desk = Desk::new();
        let lease = desk.running(NewJob { timeout_ms: Some(timeout_ms), ..job() });
        desk.wait(90_000).tick();
        assert_eq!(desk.story(lease.job), ["submitted", "claimed", reason]);
    }
}

#[test]
fn a_fail_waits_for_the_backoff_then_is_available_again() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    assert_eq!(desk.fail(lease), settled(JobState::Retryable, false));
    assert_eq!(desk.machine.next_due_ms(), Some(6000));
    desk.wait(5000).tick();
    assert_eq!(desk.state(lease.job), JobState::Available);
    assert_eq!(desk.claim_from(&[], &["h"], 1)[0].attempt, 2);
    assert_eq!(desk.story(lease.job), ["submitted", "claimed", "failed", "available", "claimed"]);
}

#[test]
fn the_worker_may_say_when_to_retry() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    desk.fail_with(lease, Some(77), false).unwrap();
    assert_eq!(desk.machine.next_due_ms(), Some(1077));
}

#[test]
fn a_fail_without_attempts_left_discards_as_exhausted() {
    let mut desk = Desk::new();
    let lease = desk.running(NewJob { max_attempts: 1, ..job() });
    assert_eq!(desk.fail_with(lease, Some(1), false), settled(JobState::Discarded, false));
    assert_eq!(desk.job(lease.job).history.last().unwrap().note, "exhausted");
    assert_eq!(desk.job(lease.job).error.as_deref(), Some("boom"));
    assert_eq!(desk.job(lease.job).completed_token(), Some(lease.token));
}

#[test]
fn a_non_retryable_fail_discards_at_once() {
    let mut desk = Desk::new();
    let lease = desk.running(job());
    assert_eq!(desk.fail_with(lease, None, true), settled(JobState::Discarded, false));
    assert_eq!(desk.job(lease.job).history.last().unwrap().note, "non_retryable");
}

#[test]
fn the_polynomial_backoff_is_n4_plus_15_seconds_give_or_take_a_tenth_and_at_most_a_day() {
    let delay_ms = |job, attempt| crate::retry::delay_ms(Backoff::Polynomial, JobId(job), attempt);
    for attempt in 1..=17 {
        let mean_ms = (u64::from(attempt).pow(4) + 15) * 1000;
        let delays: Vec<_> = (1..=200).map(|job| delay_ms(job, attempt)).collect();
        assert!(delays.iter().all(|delay| delay.abs_diff(mean_ms) <= mean_ms / 10));
        let spread = delays.iter().max().unwrap() - delays.iter().min().unwrap();
        assert!(spread > mean_ms / 10, "jobs that failed together come back apart: attempt {attempt}, {spread} ms");
    }
    for attempt in [18, 25, 1000, u32::MAX] {
        assert_eq!(delay_ms(1, attempt), 86_400_000);
    }
    assert_eq!(delay_ms(3, 2), delay_ms(3, 2));
}

#[test]
fn the_words_of_one_batch_are_heard_one_after_the_other() {
    let mut desk = Desk::new();
    let Lease { job, token } = desk.running(job());
    let ack = Ack { job, token, result: Bytes::new() };
    let reply = desk.apply(Op::Ack { acks: vec![ack.clone(), ack] });
    assert_eq!(reply, Reply::Acked(vec![settled(JobState::Completed, false), settled(JobState::Completed, AGAIN)]));
}
