//! The laws of sessions one by one. The machine as a whole, with sessions and without, is in `random.rs`.

use super::*;
use crate::limits;

fn submit() -> Op {
    Op::Submit { jobs: vec![job()] }
}

fn claim(max_jobs: u32) -> Op {
    Op::Claim { worker: "w".into(), queues: vec![], handlers: vec!["h".into()], max_jobs, lease_ms: 30_000 }
}

fn expired(session: SessionId) -> Reply {
    Reply::SessionRefused(SessionRefusal::Expired { session })
}

fn repeated(index: u64, reply: Reply) -> Reply {
    Reply::Repeated { index, reply: Box::new(reply) }
}

#[test]
fn a_call_that_comes_again_is_answered_again_and_changes_no_job() {
    let mut desk = Desk::new();
    let session = desk.open_session();
    assert_eq!(session, SessionId(1));
    let first = desk.call(session, 1, submit());
    let Reply::Submitted(Ok(jobs)) = &first else { panic!("{first:?}") };
    assert_eq!((jobs[0].id, jobs[0].index), (JobId(1), 2));
    for _ in 0..3 {
        assert_eq!(desk.call(session, 1, submit()), repeated(2, first.clone()));
    }
    assert_eq!(desk.machine.live_count(), 1);
    assert!(matches!(desk.call(session, 2, submit()), Reply::Submitted(Ok(_))));
    assert_eq!(desk.machine.live_count(), 2);
}

#[test]
fn a_refusal_is_an_answer_and_comes_again_though_it_would_not_be_refused_now() {
    let mut desk = Desk::new();
    let session = desk.open_session();
    let cancel = || Op::Cancel { job: JobId(1) };
    let refused = Reply::Cancelled(Err(CancelRefusal::UnknownJob { job: JobId(1) }));
    assert_eq!(desk.call(session, 1, cancel()), refused);
    desk.submit(job());
    assert_eq!(desk.call(session, 1, cancel()), repeated(2, refused));
    assert_eq!(desk.state(JobId(1)), JobState::Available);
}

#[test]
fn sessions_do_not_know_of_each_other() {
    let mut desk = Desk::new();
    let (a, b) = (desk.open_session(), desk.open_session());
    desk.call(a, 1, submit());
    assert!(matches!(desk.call(b, 1, submit()), Reply::Submitted(Ok(_))));
    assert_eq!(desk.machine.live_count(), 2);
}

#[test]
fn a_number_below_the_last_is_refused_and_so_is_another_request_under_the_last() {
    let mut desk = Desk::new();
    let session = desk.open_session();
    // Numbers may be left out: a client that gave a call up goes on with the next.
    desk.call(session, 5, submit());
    let overtaken = desk.call(session, 4, submit());
    assert_eq!(overtaken, Reply::SessionRefused(SessionRefusal::Overtaken { session, seq: 4, last: 5 }));
    let reused = desk.call(session, 5, Op::Cancel { job: JobId(1) });
    assert_eq!(reused, Reply::SessionRefused(SessionRefusal::Reused { session, seq: 5 }));
    assert_eq!(desk.machine.live_count(), 1);
    assert_eq!(desk.state(JobId(1)), JobState::Available);
}

#[test]
fn a_claim_again_gives_the_jobs_that_are_still_leased_by_it() {
    let mut desk = Desk::new();
    let session = desk.open_session();
    for payload in ["a", "b", "c"] {
        desk.submit(NewJob { payload: payload.into(), timeout_ms: Some(99_000), ..job() });
    }
    let first = desk.call(session, 1, claim(2));
    let Reply::Claimed(given) = &first else { panic!("{first:?}") };
    assert_eq!(given.iter().map(|job| &job.payload[..]).collect::<Vec<_>>(), [b"a", b"b"]);
    let index = desk.machine.applied();
    assert_eq!(desk.wait(10).call(session, 1, claim(2)), repeated(index, first.clone()));
    assert_eq!(desk.state(JobId(3)), JobState::Available, "the third was not touched");
    // The first is given back; whoever has it next, has it under another token.
    desk.fail_with(Lease { job: given[0].id, token: given[0].token }, Some(0), false).unwrap();
    desk.tick();
    desk.claim_from(&[], &["h"], 3);
    assert_eq!(desk.call(session, 1, claim(2)), repeated(index, Reply::Claimed(vec![given[1].clone()])));
}

#[test]
fn a_claim_that_got_nothing_may_be_asked_again() {
    let mut desk = Desk::new();
    let session = desk.open_session();
    assert_eq!(desk.call(session, 1, claim(1)), Reply::Claimed(vec![]));
    desk.submit(job());
    let Reply::Claimed(jobs) = desk.call(session, 1, claim(1)) else { panic!() };
    assert_eq!(jobs.len(), 1);
}

#[test]
fn an_idle_session_expires_by_the_time_of_the_log_and_its_calls_are_not_done_again() {
    let mut desk = Desk::with_bounds(|bounds| bounds.session_ttl_ms = 100);
    let session = desk.open_session();
    assert!(matches!(desk.wait(99).call(session, 1, submit()), Reply::Submitted(Ok(_))));
    // A repeat is a sign of life as well.
    assert!(matches!(desk.wait(99).call(session, 1, submit()), Reply::Repeated { .. }));
    assert!(matches!(desk.wait(99).call(session, 1, submit()), Reply::Repeated { .. }));
    assert_eq!(desk.wait(100).call(session, 1, submit()), expired(session));
    assert_eq!(desk.call(session, 2, submit()), expired(session));
    assert_eq!(desk.machine.live_count(), 1);
    let words = SessionRefusal::Expired { session }.to_string();
    assert_eq!(words, "session 1 has expired");
}

#[test]
fn a_session_that_was_never_opened_is_refused() {
    let mut desk = Desk::new();
    assert_eq!(desk.call(SessionId(7), 1, submit()), expired(SessionId(7)));
    assert_eq!(desk.machine.live_count(), 0);
}

#[test]
fn of_too_many_sessions_the_one_that_was_idle_for_longest_goes() {
    let mut desk = Desk::with_bounds(|bounds| bounds.sessions_max = 2);
    let (a, b) = (desk.open_session(), desk.wait(1).open_session());
    desk.wait(1).call(a, 1, submit());
    let c = desk.open_session();
    assert_eq!(desk.call(b, 1, submit()), expired(b));
    for session in [a, c] {
        assert!(matches!(desk.call(session, 2, submit()), Reply::Submitted(Ok(_))));
    }
    // Of equals, the one that was opened first.
    desk.open_session();
    assert_eq!(desk.call(a, 3, submit()), expired(a));
}

#[test]
fn of_too_large_answers_those_of_the_session_that_was_idle_for_longest_go() {
    let mut desk = Desk::with_bounds(|bounds| bounds.session_bytes_max = 200);
    let (a, b) = (desk.open_session(), desk.open_session());
    let bulk = |jobs| Op::Submit { jobs: vec![job(); jobs] };
    desk.call(a, 1, bulk(20));
    desk.wait(1).call(b, 1, bulk(20));
    assert!(matches!(desk.call(b, 1, bulk(20)), Reply::Repeated { .. }));
    desk.wait(1).call(b, 2, bulk(40));
    assert_eq!(desk.call(a, 1, bulk(20)), expired(a));
    assert!(matches!(desk.call(b, 2, bulk(40)), Reply::Repeated { .. }), "a later answer takes the place of the first");
    // An answer that is too large by itself is not kept, nor is its session: its call is never done again.
    desk.call(b, 3, bulk(100));
    let live = desk.machine.live_count();
    assert_eq!(desk.call(b, 3, bulk(100)), expired(b));
    assert_eq!(desk.machine.live_count(), live);
}

#[test]
fn a_restored_machine_goes_on_with_the_sessions_that_were_written() {
    let mut desk = Desk::new();
    let mut tables = tables::Tables::default();
    let session = desk.open_session();
    desk.submit(job());
    let first = desk.call(session, 1, claim(1));
    tables.write(&desk.machine.take_changes());
    desk.machine = Machine::restore(tables.read()).unwrap();
    assert_eq!(desk.machine.take_changes().sessions_set, [], "what was read needs not be written");
    assert_eq!(desk.call(session, 1, claim(1)), repeated(3, first));
    // A session that is gone is gone from the tables as well.
    desk.wait(limits::SESSION_TTL_MS).open_session();
    tables.write(&desk.machine.take_changes());
    assert_eq!(tables.sessions.len(), 1);
    desk.machine = Machine::restore(tables.read()).unwrap();
    assert_eq!(desk.call(session, 1, claim(1)), expired(session));
}

#[test]
fn without_sessions_the_hash_is_what_it_was_before_there_were_any() {
    let mut desk = Desk::new();
    desk.submit(keyed("k"));
    assert_eq!(desk.machine.state_hash(), 0x4998_45cb_9588_f3db);
}
