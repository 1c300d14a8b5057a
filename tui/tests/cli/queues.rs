//! Retry, pause and resume, against a node that answers as a test tells it to.

use raftdeck_shared::wire::{Job, JobEvent, JobState, NewJob, QueueStatus, RetryReply};

use crate::{call_at, error, fake::Fake, ok};

fn retried(state: JobState, changed: bool, refused: &str) -> RetryReply {
    RetryReply { state: state.into(), index: 60, changed, refused: refused.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_is_tried_now_and_one_that_runs_or_is_done_is_left_alone() {
    let fake = Fake::start(|script| script.retried = retried(JobState::Available, true, "")).await;
    let answer = |reply| fake.script.lock().unwrap().retried = reply;
    assert_eq!(call_at(&fake, &["retry", "7"]).await, ok("job 7 is available now"));
    let json = r#"{"id":7,"state":"available","index":60,"retry_of":null}"#;
    assert_eq!(call_at(&fake, &["retry", "7", "--json"]).await, ok(json));
    answer(retried(JobState::Available, false, ""));
    assert_eq!(call_at(&fake, &["retry", "7"]).await, ok("job 7 was available already"));
    answer(retried(JobState::Running, false, "job 7 is running under token 9: it is tried already"));
    let running = "job 7 is running under token 9: it is tried already";
    assert_eq!(call_at(&fake, &["retry", "7"]).await, error(1, running));
    answer(retried(JobState::Completed, false, "job 7 is completed"));
    assert_eq!(call_at(&fake, &["retry", "7"]).await, error(1, "job 7 is completed: there is nothing to retry"));
    assert!(fake.script.lock().unwrap().submitted.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_job_that_was_given_up_is_submitted_again_once() {
    let step = |index| JobEvent { index, ..JobEvent::default() };
    let fake = Fake::start(|script| {
        script.retried = retried(JobState::Discarded, false, "job 7 is discarded");
        script.states = vec![JobState::Discarded];
        script.payload = "hello".into();
        script.job = Job {
            queue: "mail".into(),
            handler: "send".into(),
            priority: 2,
            timeout_ms: Some(9_000),
            retry_delay_ms: Some(500),
            history: vec![step(42), step(57)],
            ..Job::default()
        };
    })
    .await;
    let again = "job 7 was discarded; its work is submitted again as job 17";
    assert_eq!(call_at(&fake, &["retry", "7"]).await, ok(again));
    let before = "job 7 was discarded; its work was submitted again before, as job 17, which is discarded";
    assert_eq!(call_at(&fake, &["retry", "7"]).await, ok(before));
    let json = r#"{"id":17,"state":"discarded","index":42,"retry_of":7}"#;
    assert_eq!(call_at(&fake, &["retry", "7", "--json"]).await, ok(json), "as it is, not as it was then");
    let work = NewJob {
        handler: "send".into(),
        queue: "mail".into(),
        payload: "hello".into(),
        priority: Some(2),
        max_attempts: Some(25),
        timeout_ms: Some(9_000),
        retry_delay_ms: Some(500),
        idempotency_key: "retry:7:57".into(),
        ..NewJob::default()
    };
    assert_eq!(fake.script.lock().unwrap().submitted, [work]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_all_are_tried_and_those_that_are_refused_are_one_line() {
    let fake = Fake::start(|script| script.retried = retried(JobState::Completed, false, "job 7 is completed")).await;
    let line = "job 7 is completed: there is nothing to retry; job 7 is completed: there is nothing to retry";
    assert_eq!(call_at(&fake, &["retry", "7", "8"]).await, error(1, line));
    assert_eq!(fake.script.lock().unwrap().asked, ["retry 7", "retry 8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_paused_resumed_and_listed() {
    let fake = Fake::start(|script| {
        let mail = QueueStatus { name: "mail".into(), available: 12, paused: true, ..QueueStatus::default() };
        script.status.queues = vec![QueueStatus { name: "a".into(), running: 1, ..QueueStatus::default() }, mail];
    })
    .await;
    let paused = "queue mail is paused: its jobs wait until it is resumed";
    assert_eq!(call_at(&fake, &["pause", "mail"]).await, ok(paused));
    assert_eq!(call_at(&fake, &["pause", "mail"]).await, ok("queue mail was paused already"));
    let json = r#"{"queue":"mail","paused":false,"changed":true,"index":61}"#;
    assert_eq!(call_at(&fake, &["resume", "mail", "--json"]).await, ok(json));
    assert_eq!(call_at(&fake, &["resume", "mail"]).await, ok("queue mail was not paused"));
    assert_eq!(fake.script.lock().unwrap().asked, ["pause mail", "pause mail", "resume mail", "resume mail"]);
    let list = "\
QUEUE  AVAILABLE  RUNNING  SCHEDULED  RETRYABLE  COMPLETED  CANCELLED  DISCARDED  PAUSED
a              0        1          0          0          0          0          0  -
mail          12        0          0          0          0          0          0  yes";
    assert_eq!(call_at(&fake, &["queues"]).await, ok(list));
    let json = concat!(
        r#"{"queues":[{"name":"a","available":0,"running":1,"scheduled":0,"retryable":0,"completed":0,"cancelled":0,"#,
        r#""discarded":0,"paused":false},{"name":"mail","available":12,"running":0,"scheduled":0,"retryable":0,"#,
        r#""completed":0,"cancelled":0,"discarded":0,"paused":true}]}"#,
    );
    assert_eq!(call_at(&fake, &["queues", "--json"]).await, ok(json));
}
