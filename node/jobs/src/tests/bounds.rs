//! What the machine forgets, how much one entry may do, and that no content of an entry makes it panic.

use super::*;
use crate::{Name, Standing};

#[test]
fn beyond_the_last_finished_jobs_an_answer_is_finished_long_ago() {
    let mut desk = Desk::with_bounds(|bounds| bounds.recent_max = 2);
    let leases: Vec<_> = (0..3).map(|_| desk.running(job())).collect();
    for &lease in &leases {
        desk.ack(lease, "").unwrap();
    }
    assert!(desk.machine.job(leases[0].job).is_some(), "still in memory, but no reply may depend on that");
    let Lease { job, token } = leases[0];
    let standing = Standing::FinishedLongAgo;
    assert_eq!(desk.ack(leases[0], ""), Err(LeaseRefusal::StaleLease { job, token, standing }));
    assert_eq!(desk.cancel(job), Ok(CancelOutcome::AlreadyFinished { state: None }));
    assert!(desk.ack(leases[1], "").unwrap().repeated);
}

#[test]
fn a_claim_stops_before_its_reply_is_too_large_but_gives_one_job() {
    let mut desk = Desk::with_bounds(|bounds| bounds.claim_bytes_max = 10);
    for size in [11, 6, 4, 1] {
        desk.submit(NewJob { payload: vec![0; size].into(), ..job() });
    }
    let mut sizes = || desk.claim_from(&[], &["h"], 9).iter().map(|job| job.payload.len()).collect::<Vec<_>>();
    assert_eq!([sizes(), sizes(), sizes(), sizes()], [vec![11], vec![6, 4], vec![1], vec![]]);
}

#[test]
fn a_tick_moves_so_many_and_leaves_the_rest_due() {
    let mut desk = Desk::with_bounds(|bounds| bounds.tick_moves_max = 2);
    for _ in 0..3 {
        desk.submit(NewJob { delay_ms: 5, ..job() });
    }
    assert_eq!(desk.wait(5).tick(), 2);
    assert_eq!(desk.machine.next_due_ms(), Some(1005));
    assert_eq!(desk.tick(), 1);
    assert_eq!(desk.tick(), 0);
}

#[test]
fn numbers_at_their_ends_do_not_overflow() {
    let mut desk = Desk::new();
    desk.stamp_ms = u64::MAX - 1;
    let extreme = NewJob {
        priority: u8::MAX,
        delay_ms: u64::MAX,
        run_at_ms: Some(u64::MAX),
        max_attempts: u32::MAX,
        timeout_ms: Some(u64::MAX),
        ..job()
    };
    desk.submit(extreme.clone());
    desk.submit(NewJob { max_attempts: 0, delay_ms: 0, run_at_ms: None, ..extreme });
    let op = Op::Claim {
        worker: Name::default(),
        queues: vec![Name::default(); 3],
        handlers: vec!["h".into(), Name::default()],
        max_jobs: u32::MAX,
        lease_ms: u64::MAX,
    };
    assert_eq!(desk.apply(op), Reply::Claimed(vec![]));
    let lease = desk.claim();
    assert_eq!(desk.fail_with(lease, Some(u64::MAX), false).unwrap().state, JobState::Discarded);
    desk.stamp_ms = u64::MAX;
    assert_eq!(desk.tick(), 1);
    assert_eq!(desk.claim().job, JobId(1));
    assert_eq!(desk.tick(), 2, "the lease that cannot be longer has ended, and so has the wait after it");
}

#[test]
fn a_zero_backoff_ends_in_available_within_one_tick() {
    let mut desk = Desk::new();
    let lease = desk.running(NewJob { backoff: Backoff::Fixed { delay_ms: 0 }, ..job() });
    assert_eq!(desk.wait(30_000).tick(), 2);
    assert_eq!(desk.state(lease.job), JobState::Available);
}
