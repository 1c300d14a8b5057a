//! Limits of requests, said in words; and what goes into the log comes out of it.

use super::*;
use crate::{DecodeError, Invalid, Name, limits::*, validate_bulk};

fn words(result: Result<(), Invalid>) -> String {
    result.expect_err("refused").to_string()
}

#[test]
fn each_limit_of_a_job_names_the_thing_the_value_and_the_limit() {
    assert_eq!(job().validate(), Ok(()));
    assert_eq!(NewJob { payload: vec![0; PAYLOAD_BYTES_MAX].into(), priority: 9, ..job() }.validate(), Ok(()));
    assert_eq!(NewJob { run_at_ms: Some(RUN_AT_MS_MAX), ..job() }.validate(), Ok(()));
    let cases = [
        (
            NewJob { payload: vec![0; PAYLOAD_BYTES_MAX + 1].into(), ..job() },
            "payload is 1048577 bytes, the limit is 1048576",
        ),
        (NewJob { queue: "a b".into(), ..job() }, "queue name is \"a b\", only a-z A-Z 0-9 . _ - are allowed"),
        (NewJob { handler: Name::default(), ..job() }, "handler name is empty, at least one character is needed"),
        (NewJob { handler: "x".repeat(129).into(), ..job() }, "handler name is 129 bytes, the limit is 128"),
        (NewJob { priority: 10, ..job() }, "priority is 10, the limit is 9"),
        (NewJob { max_attempts: 0, ..job() }, "number of attempts is 0, the limits are 1 to 1000"),
        (NewJob { timeout_ms: Some(0), ..job() }, "execution timeout is 0 ms, the limits are 1 to 86400000"),
        (
            NewJob { delay_ms: 5, run_at_ms: Some(5), ..job() },
            "delay is 5 ms beside a run-at time, only one of the two may be given",
        ),
        (
            NewJob { run_at_ms: Some(RUN_AT_MS_MAX + 1), ..job() },
            "run-at time is 253402300800000 ms, the limit is 253402300799999",
        ),
        (
            NewJob { backoff: Backoff::Fixed { delay_ms: RETRY_MS_MAX + 1 }, ..job() },
            "backoff is 2592000001 ms, the limit is 2592000000",
        ),
        (keyed(""), "idempotency key is empty, at least one character is needed"),
        (keyed("a\nb"), "idempotency key is \"a\\nb\", control characters are not allowed"),
        (keyed(&"k".repeat(257)), "idempotency key is 257 bytes, the limit is 256"),
    ];
    for (job, expected) in cases {
        assert_eq!(words(job.validate()), expected);
    }
}

#[test]
fn a_bulk_has_limits_of_its_own_and_names_the_job() {
    assert_eq!(words(validate_bulk(&[])), "bulk is empty, at least one is needed");
    assert_eq!(words(validate_bulk(&vec![job(); 1001])), "bulk is 1001 jobs, the limit is 1000");
    let wrong = NewJob { priority: 12, ..job() };
    assert_eq!(words(validate_bulk(&[job(), wrong])), "priority is 12 (job 2 of 2), the limit is 9");
    let large = NewJob { payload: vec![0; PAYLOAD_BYTES_MAX].into(), ..job() };
    assert_eq!(validate_bulk(&vec![large.clone(); 4]), Ok(()));
    assert_eq!(words(validate_bulk(&vec![large; 5])), "sum of payloads is 5242880 bytes, the limit is 4194304");
}

#[test]
fn claims_and_words_on_leases_have_limits() {
    let claim = |handlers: &[&str], max_jobs, lease_ms| {
        let handlers = handlers.iter().map(|&handler| handler.into()).collect();
        Op::Claim { worker: "w".into(), queues: vec![], handlers, max_jobs, lease_ms }.validate()
    };
    assert_eq!(claim(&["h"], 1, 30_000), Ok(()));
    assert_eq!(words(claim(&[], 1, 30_000)), "list of handlers is empty, at least one is needed");
    assert_eq!(words(claim(&["h"], 0, 30_000)), "number of jobs to claim is 0, the limits are 1 to 1000");
    assert_eq!(words(claim(&["h"], 1, 999)), "lease is 999 ms, the limits are 1000 to 86400000");
    let (job, token) = (JobId(1), LeaseToken(1));
    let ack = Ack { job, token, result: vec![0; RESULT_BYTES_MAX + 1].into() };
    assert_eq!(words(Op::Ack { acks: vec![ack] }.validate()), "result is 65537 bytes, the limit is 65536");
    let failure = Failure { job, token, error: "e".repeat(4097), retry_after_ms: None, non_retryable: false };
    assert_eq!(words(Op::Fail { failures: vec![failure] }.validate()), "error is 4097 bytes, the limit is 4096");
    let leases = vec![Lease { job, token }; 1001];
    let heartbeat = Op::Heartbeat { leases, lease_ms: 30_000 };
    assert_eq!(words(heartbeat.validate()), "heartbeat is 1001 leases, the limit is 1000");
    let pause = |queue: &str| Op::PauseQueue { queue: queue.into(), paused: true }.validate();
    assert_eq!(pause("mail"), Ok(()));
    assert_eq!(words(pause("a b")), "queue name is \"a b\", only a-z A-Z 0-9 . _ - are allowed");
}

#[test]
fn a_command_survives_the_log() {
    let (job_id, token) = (JobId(7), LeaseToken(9));
    let ops = [
        Op::Submit { jobs: vec![NewJob { payload: Bytes::from_static(b"\x00in"), ..keyed("k") }, NewJob::default()] },
        Op::Claim { worker: "w".into(), queues: vec!["q".into()], handlers: vec![], max_jobs: 3, lease_ms: 4 },
        Op::Heartbeat { leases: vec![Lease { job: job_id, token }], lease_ms: 5 },
        Op::Ack { acks: vec![Ack { job: job_id, token, result: Bytes::from_static(b"out") }] },
        Op::Fail {
            failures: vec![Failure {
                job: job_id,
                token,
                error: "boom".into(),
                retry_after_ms: Some(1),
                non_retryable: true,
            }],
        },
        Op::Cancel { job: job_id },
        Op::Tick,
        Op::OpenSession,
        Op::Retry { job: job_id },
        Op::PauseQueue { queue: "mail".into(), paused: true },
    ];
    for op in &ops {
        for session in [None, Some(SessionCall { session: SessionId(300), seq: u64::MAX })] {
            let command = Command::of(u64::MAX, op.clone(), session);
            assert_eq!(Command::decode(&command.encode()), Ok(command));
        }
    }
    let calls = ops.map(|op| Call { op, session: Some(SessionCall { session: SessionId(300), seq: 7 }) }).to_vec();
    let together = Command { stamp_ms: 5, calls };
    assert_eq!(Command::decode(&together.encode()), Ok(together));
}

/// Entries of releases to come must stay readable: if this fails, the log format has changed.
#[test]
fn the_log_format_is_what_it_was() {
    let cancel = Op::Cancel { job: JobId(7) };
    assert_eq!(Command::of(300, cancel.clone(), None).encode().as_ref(), [1, 0xac, 2, 5, 7]);
    let session = Some(SessionCall { session: SessionId(4), seq: 3 });
    assert_eq!(Command::of(300, cancel.clone(), session).encode().as_ref(), [2, 0xac, 2, 5, 7, 4, 3]);
    let calls = vec![Call { op: cancel.clone(), session }, Call { op: cancel, session: None }];
    assert_eq!(Command { stamp_ms: 300, calls }.encode().as_ref(), [3, 0xac, 2, 2, 5, 7, 1, 4, 3, 5, 7, 0]);
    let ack = Ack { job: JobId(7), token: LeaseToken(9), result: Bytes::from_static(b"ok") };
    let ack = Command::of(1, Op::Ack { acks: vec![ack] }, None);
    assert_eq!(ack.encode().as_ref(), [1, 1, 3, 1, 7, 9, 2, b'o', b'k']);
    let retry = Command::of(1, Op::Retry { job: JobId(7) }, None);
    assert_eq!(retry.encode().as_ref(), [1, 1, 8, 7]);
    let pause = Command::of(1, Op::PauseQueue { queue: "q".into(), paused: true }, None);
    assert_eq!(pause.encode().as_ref(), [1, 1, 9, 1, b'q', 1]);
}

#[test]
fn bytes_that_are_no_command_are_refused_in_words() {
    let decode = |bytes: &[u8]| Command::decode(&Bytes::copy_from_slice(bytes)).unwrap_err();
    assert_eq!(decode(&[]), DecodeError::Empty);
    assert_eq!(decode(&[4, 0]).to_string(), "format version 4 is unknown, this release reads versions up to 3");
    let job = Job::decode(&[2, 0]).unwrap_err();
    assert_eq!(job.to_string(), "format version 2 is unknown, this release reads versions up to 1");
    assert!(matches!(decode(&[2, 0, 6]), DecodeError::Malformed(_)), "no call");
    assert_eq!(decode(&[1, 0, 6, 99]), DecodeError::Trailing(1));
    assert!(matches!(decode(&[1, 0, 200]), DecodeError::Malformed(_)));
    // A list that claims to be longer than memory.
    assert!(matches!(decode(&[1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), DecodeError::Malformed(_)));
}

#[test]
fn states_are_spelled_as_they_are_read() {
    for state in JobState::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
        assert_eq!(format!("{state:>10}").trim(), state.as_str());
    }
    assert!("done".parse::<JobState>().unwrap_err().to_string().starts_with("\"done\" is not a job state"));
}

/// A token is the index of its claim: were a job set free and claimed again by one command, two leases would have one token.
#[test]
fn no_claim_follows_a_call_of_the_same_command_that_may_set_a_job_free() {
    let claim = Op::Claim { worker: "w".into(), queues: vec![], handlers: vec!["h".into()], max_jobs: 1, lease_ms: 1 };
    let failure = Failure {
        job: JobId(1),
        token: LeaseToken(1),
        error: "boom".into(),
        retry_after_ms: Some(0),
        non_retryable: false,
    };
    let fail = Op::Fail { failures: vec![failure] };
    let submit = Op::Submit { jobs: vec![job()] };
    let mut command = Command::of(1, submit.clone(), None);
    for op in [&claim, &claim, &fail, &submit] {
        assert!(command.takes(op), "{op:?}");
        command.calls.push(Call { op: op.clone(), session: None });
    }
    assert!(!command.takes(&claim), "after a fail");
    for alone in [Op::Tick, Op::OpenSession] {
        assert!(!command.takes(&alone), "{alone:?} joins others");
        let command = Command::of(1, alone, None);
        assert!([&claim, &fail, &submit, &Op::Tick].iter().all(|op| !command.takes(op)), "others join {command:?}");
    }
}
