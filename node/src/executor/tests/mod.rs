//! The executor against a cluster that says what a test tells it to, over the real wire.

mod fake;

use std::time::Duration;

use raftdeck_shared::{
    cluster::{ExecutorSettings, Handler},
    wire,
};
use tokio::time::Instant;
use tonic::Code;

use self::fake::{Bench, Life, Renewing, Seen, Settling};

/// Says that it is up, starts a grandchild, and waits; dead when both are.
const FAMILY: &str = r#"exec 9>"$1"; echo up >&9; sleep 60 & wait"#;
/// The same, deaf to TERM.
const STUBBORN_FAMILY: &str = r#"trap "" TERM; exec 9>"$1"; echo up >&9; sleep 60 & wait"#;

fn command(argv: &[&str]) -> Handler {
    Handler { command: argv.iter().map(|&word| word.to_owned()).collect(), ..Handler::default() }
}

fn shell(script: &str) -> Handler {
    command(&["sh", "-c", script])
}

fn family(script: &str, life: &Life) -> Handler {
    command(&["sh", "-c", script, "sh", life.path()])
}

fn settings(concurrency: u32, lease_ms: u64) -> ExecutorSettings {
    ExecutorSettings { concurrency, lease_ms, ..ExecutorSettings::default() }
}

fn result(seen: Seen) -> String {
    match seen {
        Seen::Ack(ack) => String::from_utf8(ack.result.into()).unwrap(),
        other => panic!("not an ack: {other:?}"),
    }
}

fn failure(seen: Seen) -> wire::Failure {
    match seen {
        Seen::Fail(failure) => failure,
        other => panic!("not a failure: {other:?}"),
    }
}

async fn run_one(handler: Handler, payload: &[u8]) -> Seen {
    let mut bench = Bench::start([("it", handler)], settings(1, 10_000)).await;
    bench.give("it", payload, |_| {});
    bench.settled().await
}

#[tokio::test]
async fn built_in_handlers_do_what_they_are_called() {
    let mut bench = Bench::start([], settings(1, 10_000)).await;
    bench.give("echo", b"hello", |_| {});
    assert_eq!(result(bench.settled().await), "hello");
    bench.give("sleep", b"3", |_| {});
    assert_eq!(result(bench.settled().await), "slept 3 ms");
    bench.give("fail", b"no luck", |_| {});
    let failed = failure(bench.settled().await);
    assert_eq!((failed.error.as_str(), failed.non_retryable, failed.retry_after_ms), ("no luck", false, None));
    bench.give("sleep", b"long", |_| {});
    let failed = failure(bench.settled().await);
    assert_eq!(failed.error, "sleep takes a number of milliseconds, not \"long\"");
    assert!(failed.non_retryable);
    bench.give("sleep", b"60000", |job| job.timeout_ms = 20);
    assert_eq!(failure(bench.settled().await).error, "timed out after 20 ms");
}

#[tokio::test]
async fn only_what_this_node_can_run_is_claimed() {
    let external = Handler { external: true, ..Handler::default() };
    let mut bench = Bench::start([("count", command(&["wc"])), ("elsewhere", external)], settings(3, 10_000)).await;
    let claim = bench.claim().await;
    assert_eq!(claim.handlers, ["echo", "fail", "sleep", "count"]);
    assert_eq!((claim.worker.as_str(), claim.max_jobs, claim.lease_ms), ("n1", 3, 10_000));
}

#[tokio::test]
async fn a_program_gets_its_payload_and_a_clean_environment() {
    let script = r#"env | cut -d= -f1 | grep -vx -e PWD -e SHLVL -e _ -e OLDPWD | sort | tr '\n' ' '
        echo "$JOB_ID $ATTEMPT $QUEUE $FENCE_TOKEN $DEADLINE"; ls | wc -l; cat; : > litter; pwd"#;
    let mut bench = Bench::start([("it", shell(script))], settings(1, 10_000)).await;
    let job = bench.give("it", b"the payload\n", |job| job.queue = "mail".into());
    let text = result(bench.settled().await);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let values = format!("{} 1 mail {} {}", job.id, job.token, job.deadline_ms);
    assert_eq!(lines[0], format!("ATTEMPT DEADLINE FENCE_TOKEN JOB_ID LANG PATH QUEUE {values}"));
    assert_eq!(lines[1..3], ["0", "the payload"], "{text}");
    assert!(lines[3].contains(&format!("/work/job-{}-", job.id)), "{text}");
    // Removed before the job was settled.
    assert!(!std::path::Path::new(lines[3]).exists());
}

#[tokio::test]
async fn a_payload_beyond_any_pipe_comes_through_and_output_keeps_its_end() {
    let payload: Vec<u8> = (0..100_000).flat_map(|n| format!("{n:09}\n").into_bytes()).collect();
    let text = result(run_one(command(&["cat"]), &payload).await);
    assert_eq!(text.len(), ExecutorSettings::default().output_bytes_max);
    assert!(text.ends_with("000099998\n000099999\n"), "{text}");
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(first, format!("[{} bytes dropped]", payload.len() - rest.len()));
}

#[tokio::test]
async fn an_echo_that_is_too_long_keeps_its_end_as_a_program_would() {
    let payload: Vec<u8> = (0..10_000).flat_map(|n| format!("{n:09}\n").into_bytes()).collect();
    let mut bench = Bench::start([("it", command(&["cat"]))], settings(1, 10_000)).await;
    bench.give("echo", &payload, |_| {});
    let echoed = result(bench.settled().await);
    bench.give("it", &payload, |_| {});
    assert_eq!(echoed.len(), ExecutorSettings::default().output_bytes_max);
    assert_eq!(echoed, result(bench.settled().await));
}

#[tokio::test]
async fn a_program_need_not_read_its_payload() {
    assert_eq!(result(run_one(shell("echo fine"), &[b'x'; 1 << 20]).await), "fine\n");
}

#[tokio::test]
async fn an_end_that_is_no_success_is_told_in_one_line() {
    for (script, error, retry) in [
        ("echo first >&2; echo 'no such user' >&2; exit 3", "exit 3: no such user", true),
        ("exit 75", "exit 75", true),
        ("exit 99", "exit 99", true),
        ("echo bad order >&2; exit 100", "exit 100: bad order", false),
        ("exit 109", "exit 109", false),
        ("exit 110", "exit 110", true),
        ("kill -9 $$", "killed by signal 9", true),
    ] {
        let failed = failure(run_one(shell(script), b"").await);
        assert_eq!((failed.error.as_str(), !failed.non_retryable), (error, retry), "{script}");
    }
    let failed = failure(run_one(command(&["no-such-program", "x"]), b"").await);
    assert_eq!(failed.error, "program \"no-such-program\": No such file or directory (os error 2)");
    assert!(!failed.non_retryable, "another node may have it");
}

#[tokio::test]
async fn a_timeout_ends_the_whole_family() {
    for script in [FAMILY, STUBBORN_FAMILY] {
        let mut life = Life::new();
        let handler = Handler { timeout_ms: Some(400), ..family(script, &life) };
        let mut bench = Bench::start([("it", handler)], settings(1, 10_000)).await;
        bench.give("it", b"", |job| job.timeout_ms = 60_000);
        life.began().await;
        let failed = failure(bench.settled().await);
        assert_eq!((failed.error.as_str(), failed.non_retryable), ("timed out after 400 ms", false));
        life.ended().await;
    }
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let mut life = Life::new();
    let script = r#"exec 9>"$1"; echo up >&9; sleep 60 & echo done"#;
    let mut bench = Bench::start([("it", family(script, &life))], settings(1, 10_000)).await;
    bench.give("it", b"", |_| {});
    assert_eq!(result(bench.settled().await), "done\n");
    life.ended().await;
}

#[tokio::test]
async fn one_that_left_the_group_cannot_hold_up_the_result() {
    let start = Instant::now();
    // Ends only once the other has left.
    let script = r#"mkfifo left; setsid sh -c "echo > left; sleep 4" & read -r _ < left; echo done"#;
    assert_eq!(result(run_one(shell(script), b"").await), "done\n");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_cancelled_job_is_stopped_and_said_to_be() {
    let mut life = Life::new();
    let mut bench = Bench::start([("it", family(FAMILY, &life))], settings(1, 600)).await;
    bench.give("it", b"", |_| {});
    life.began().await;
    bench.renew_with(Renewing::Cancel);
    let failed = failure(bench.settled().await);
    assert_eq!((failed.error.as_str(), failed.non_retryable), ("cancelled", true));
    life.ended().await;
}

#[tokio::test]
async fn a_job_whose_lease_was_lost_is_killed_and_not_settled() {
    let mut life = Life::new();
    let mut bench = Bench::start([("it", family(STUBBORN_FAMILY, &life))], settings(1, 600)).await;
    bench.give("it", b"", |_| {});
    bench.claim().await;
    life.began().await;
    bench.renew_with(Renewing::Refuse);
    life.ended().await;
    assert!(!bench.until_claim().await.iter().any(Seen::is_settlement));
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_stops_its_job_before_the_deadline() {
    let mut life = Life::new();
    let mut bench = Bench::start([("it", family(FAMILY, &life))], settings(1, 2_000)).await;
    bench.renew_with(Renewing::Silence);
    bench.give("it", b"", |_| {});
    bench.claim().await;
    let claimed = Instant::now();
    life.began().await;
    life.ended().await;
    let lived = claimed.elapsed();
    assert!((Duration::from_millis(1_000)..Duration::from_millis(2_000)).contains(&lived), "{lived:?}");
    assert!(!bench.until_claim().await.iter().any(Seen::is_settlement));
}

#[tokio::test]
async fn a_job_whose_lease_is_over_on_arrival_is_not_begun() {
    let mut bench = Bench::start([], settings(1, 10_000)).await;
    bench.give("echo", b"", |job| job.lease_ms = 0);
    bench.claim().await;
    assert!(!bench.until_claim().await.iter().any(Seen::is_settlement));
}

#[tokio::test]
async fn all_leases_are_renewed_together_for_as_long_as_it_takes() {
    let mut bench = Bench::start([], settings(2, 300)).await;
    bench.give_both(("sleep", b"1000"), ("sleep", b"1001"));
    let mut together = 0;
    let mut results = Vec::new();
    while results.len() < 2 {
        match bench.next().await {
            Seen::Heartbeat(request) if request.leases.len() == 2 => together += 1,
            Seen::Heartbeat(_) | Seen::Claim(_) => {}
            settled @ (Seen::Ack(_) | Seen::Fail(_)) => results.push(result(settled)),
        }
    }
    assert_eq!(results, ["slept 1000 ms", "slept 1001 ms"]);
    // Each 100 ms would be ten of them; more than three say that it outlived its lease by them.
    assert!((4..=11).contains(&together), "{together}");
}

#[tokio::test]
async fn nothing_is_claimed_while_there_is_no_room() {
    let mut bench = Bench::start([], settings(2, 10_000)).await;
    bench.give_both(("sleep", b"100"), ("sleep", b"60000"));
    let mut claims = Vec::new();
    loop {
        match bench.next().await {
            Seen::Claim(claim) => claims.push(claim.max_jobs),
            Seen::Heartbeat(_) => {}
            Seen::Ack(_) | Seen::Fail(_) => break,
        }
    }
    assert_eq!(claims, [2]);
    assert_eq!(bench.claim().await.max_jobs, 1);
    assert_eq!(bench.executing(), 1);
}

#[tokio::test]
async fn settling_is_repeated_under_the_same_token_until_it_is_answered() {
    let mut bench = Bench::start([], settings(1, 10_000)).await;
    bench.settle_with([Settling::Error(Code::ResourceExhausted), Settling::Error(Code::Unknown)]);
    let job = bench.give("echo", b"x", |_| {});
    for _ in 0..3 {
        match bench.settled().await {
            Seen::Ack(ack) => assert_eq!(ack.lease, Some(wire::LeaseRef { job: job.id, token: job.token })),
            other => panic!("{other:?}"),
        }
    }
    assert!(!bench.until_claim().await.iter().any(Seen::is_settlement));
    // A refusal is an answer.
    bench.settle_with([Settling::Refuse]);
    bench.give("echo", b"y", |_| {});
    assert_eq!(result(bench.settled().await), "y");
    assert!(!bench.until_claim().await.iter().any(Seen::is_settlement));
}

#[tokio::test]
async fn a_report_out_of_bounds_is_settled_once_as_a_failure_for_good() {
    let mut bench = Bench::start([], settings(1, 10_000)).await;
    bench.settle_with([Settling::Error(Code::InvalidArgument)]);
    let job = bench.give("echo", b"x", |_| {});
    assert_eq!(result(bench.settled().await), "x");
    let failed = failure(bench.settled().await);
    assert_eq!((failed.error.as_str(), failed.non_retryable), ("as told", true));
    assert_eq!(failed.lease, Some(wire::LeaseRef { job: job.id, token: job.token }));
    assert!(!bench.until_claim().await.iter().any(Seen::is_settlement));
    // If not even that is taken, there is nothing left to say.
    bench.settle_with([Settling::Error(Code::InvalidArgument), Settling::Error(Code::InvalidArgument)]);
    bench.give("echo", b"y", |_| {});
    bench.settled().await;
    bench.settled().await;
    assert!(!bench.until_claim().await.iter().any(Seen::is_settlement));
}

#[tokio::test]
async fn settling_ends_with_the_lease() {
    let mut bench = Bench::start([], settings(1, 400)).await;
    bench.settle_with([Settling::Silence]);
    bench.give("echo", b"x", |_| {});
    bench.claim().await;
    let seen = bench.until_claim().await;
    assert_eq!(seen.iter().filter(|seen| seen.is_settlement()).count(), 1);
}

#[tokio::test]
async fn a_node_that_stops_ends_its_programs_and_gives_their_jobs_back() {
    let mut life = Life::new();
    let mut bench = Bench::start([("it", family(STUBBORN_FAMILY, &life))], settings(2, 10_000)).await;
    bench.give_both(("it", b""), ("sleep", b"60000"));
    life.began().await;
    assert_eq!(bench.executing(), 2);
    let start = Instant::now();
    bench.stop();
    for _ in 0..2 {
        let failed = failure(bench.settled().await);
        assert_eq!((failed.error.as_str(), failed.retry_after_ms), ("node is stopping", Some(0)));
        assert!(!failed.non_retryable);
    }
    bench.stopped().await;
    life.ended().await;
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(bench.executing(), 0);
}

#[tokio::test]
async fn a_node_stops_in_time_without_an_answer() {
    let mut bench = Bench::start([], settings(2, 10_000)).await;
    bench.settle_with([Settling::Silence; 10]);
    // One that is being settled, and one that runs.
    bench.give_both(("echo", b""), ("sleep", b"60000"));
    bench.settled().await;
    let start = Instant::now();
    bench.stop();
    bench.stopped().await;
    assert!(start.elapsed() < Duration::from_millis(3_500), "{:?}", start.elapsed());
}
