//! What an operator asks for: a retry now, a pause of a queue, and its end.

use super::*;
use crate::Name;

fn in_queue(queue: &str) -> NewJob {
    NewJob { queue: queue.into(), ..job() }
}

#[test]
fn a_job_that_waits_is_tried_at_once() {
    let mut desk = Desk::new();
    let scheduled = desk.submit(NewJob { delay_ms: 60_000, ..job() }).id;
    let retryable = desk.running(job());
    desk.fail(retryable).unwrap();
    for id in [scheduled, retryable.job] {
        assert_eq!(desk.wait(10).retry(id), Ok(RetryOutcome::Available));
        let now_ms = desk.machine.now_ms();
        assert_eq!((desk.state(id), desk.job(id).run_at_ms), (JobState::Available, now_ms));
        assert_eq!(desk.retry(id), Ok(RetryOutcome::AlreadyAvailable), "as it is");
    }
    assert_eq!(desk.machine.next_due_ms(), None);
    assert_eq!(desk.story(scheduled), ["submitted", "retried"]);
    assert_eq!(desk.story(retryable.job), ["submitted", "claimed", "failed", "retried"]);
    let given: Vec<_> = desk.claim_from(&[], &["h"], 9).into_iter().map(|job| (job.id, job.attempt)).collect();
    assert_eq!(given, [(scheduled, 1), (retryable.job, 2)], "attempts count on");
}

#[test]
fn a_job_whose_time_has_come_keeps_its_place() {
    let mut desk = Desk::new();
    let due = desk.submit(NewJob { delay_ms: 100, ..job() }).id;
    let later = desk.wait(200).submit(job()).id;
    assert_eq!(desk.wait(100).retry(due), Ok(RetryOutcome::Available));
    let order: Vec<_> = desk.claim_from(&[], &["h"], 9).into_iter().map(|job| job.id).collect();
    assert_eq!(order, [due, later]);
}

#[test]
fn a_job_that_runs_or_is_finished_or_was_never_made_is_refused_in_words() {
    let mut desk = Desk::with_bounds(|bounds| bounds.recent_max = 1);
    let lease = desk.running(job());
    let refusal = desk.retry(lease.job).unwrap_err();
    assert_eq!(refusal.to_string(), "job 1 is running under token 2: it is tried already");
    desk.ack(lease, "").unwrap();
    let finished = RetryRefusal::Finished { job: lease.job, state: Some(JobState::Completed) };
    assert_eq!(desk.retry(lease.job), Err(finished));
    assert_eq!(finished.to_string(), "job 1 is completed");
    desk.write_all();
    assert_eq!(desk.retry(lease.job), Err(finished), "no reply depends on what was let go");
    let other = desk.running(job());
    desk.ack(other, "").unwrap();
    assert_eq!(desk.retry(lease.job).unwrap_err().to_string(), "job 1 finished long ago");
    assert_eq!(desk.retry(JobId(9)).unwrap_err().to_string(), "there is no job 9");
}

#[test]
fn nobody_is_given_a_job_of_a_paused_queue_and_all_else_goes_on() {
    let mut desk = Desk::new();
    let any = |desk: &Desk| desk.machine.claimable(&[], &["h".into()]);
    let lease = desk.running(in_queue("mail"));
    assert_eq!(desk.pause("mail", true), Ok(true));
    assert_eq!(desk.pause("mail", true), Ok(false), "it was paused");
    let waits = desk.submit(in_queue("mail")).id;
    let later = desk.submit(NewJob { delay_ms: 5, ..in_queue("mail") }).id;
    assert_eq!(desk.wait(5).tick(), 1);
    assert_eq!((desk.state(waits), desk.state(later)), (JobState::Available, JobState::Available));
    assert!(!any(&desk) && !desk.machine.claimable(&["mail".into()], &["h".into()]));
    assert_eq!(desk.machine.claimable_count(), 0);
    assert_eq!(desk.claim_from(&[], &["h"], 9), []);
    assert_eq!(desk.claim_from(&["mail", "default"], &["h"], 9), []);
    desk.heartbeat(lease).unwrap();
    assert_eq!(desk.ack(lease, "").unwrap().state, JobState::Completed);

    let elsewhere = desk.submit(job()).id;
    assert_eq!(desk.claim_from(&[], &["h"], 9).len(), 1);
    assert_eq!(desk.state(elsewhere), JobState::Running);

    assert_eq!(desk.pause("mail", false), Ok(true));
    assert_eq!(desk.pause("mail", false), Ok(false));
    assert!(any(&desk));
    assert_eq!(desk.machine.claimable_count(), 2);
    let given: Vec<_> = desk.claim_from(&[], &["h"], 9).into_iter().map(|job| job.id).collect();
    assert_eq!(given, [waits, later], "in their order");
}

#[test]
fn a_queue_without_jobs_may_be_paused_and_so_many_queues_may() {
    let mut desk = Desk::with_bounds(|bounds| bounds.paused_max = 2);
    assert_eq!(desk.pause("a", true), Ok(true));
    assert_eq!(desk.pause("b", true), Ok(true));
    let refusal = desk.pause("c", true).unwrap_err();
    assert_eq!(refusal.to_string(), "number of paused queues would be 3, the limit is 2");
    assert_eq!(desk.pause("b", true), Ok(false), "one that is paused is no further one");
    assert_eq!(desk.pause("c", false), Ok(false));
    assert_eq!(desk.pause("a", false), Ok(true));
    assert_eq!(desk.pause("c", true), Ok(true));
    assert!(desk.machine.paused_queues().eq(["b", "c"]));
    assert!(desk.machine.is_paused("c") && !desk.machine.is_paused("a"));
    assert_eq!(desk.machine.queues().count(), 0, "a pause makes no queue");
}

#[test]
fn a_restored_machine_has_the_queues_paused_that_were() {
    let mut desk = Desk::new();
    let mut tables = tables::Tables::default();
    desk.pause("a", true).unwrap();
    desk.pause("b", true).unwrap();
    desk.pause("b", false).unwrap();
    tables.write(&desk.machine.take_changes());
    assert_eq!(tables.paused.iter().collect::<Vec<_>>(), ["a"]);
    let restored = Machine::restore(tables.read()).unwrap();
    assert_eq!(restored.state_hash(), desk.machine.state_hash());
    desk.machine = restored;
    let nothing: (Vec<Name>, Vec<Name>) = Default::default();
    let changes = desk.machine.take_changes();
    assert_eq!((changes.paused_set, changes.paused_removed), nothing, "what was read needs not be written");
    desk.submit(in_queue("a"));
    assert_eq!(desk.claim_from(&[], &["h"], 1), []);
    assert_eq!(desk.pause("a", false), Ok(true));
    tables.write(&desk.machine.take_changes());
    assert!(tables.paused.is_empty());
    assert!(Machine::restore(tables.read()).is_ok());
}

#[test]
fn while_nothing_is_paused_the_hash_is_what_it_was_before_anything_could_be() {
    let mut desk = Desk::new();
    desk.submit(keyed("k"));
    let hash = desk.machine.state_hash();
    desk.pause("a", true).unwrap();
    let paused = desk.machine.state_hash();
    assert_ne!(paused, hash);
    desk.pause("a", false).unwrap();
    assert_eq!(desk.machine.state_hash(), hash);
    desk.pause("b", true).unwrap();
    assert_ne!(desk.machine.state_hash(), paused, "it says which");
}
