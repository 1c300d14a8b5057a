//! The compiled program, called as an operator or a script calls it: exit codes, one line of error, exact JSON.

mod fake;
mod faults;
mod queues;
mod steer;
mod up;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use fake::{Fake, Script};
use raftdeck_shared::wire::{JobState, Observation, ObservationKind, fault_spec::Fault};

/// A call in an empty folder, without any cluster in the environment.
pub(crate) fn raftdeck(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftdeck"));
    command.args(arguments).env_remove("RAFTDECK_CLUSTER").env_remove("RAFTDECK_CONNECT").env_remove("TMUX");
    for variable in ["ZELLIJ", "WEZTERM_PANE", "KITTY_WINDOW_ID"] {
        command.env_remove(variable);
    }
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

/// Exit code, stdout and stderr.
pub(crate) fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

pub(crate) fn call(arguments: &[&str]) -> (i32, String, String) {
    said(&raftdeck(arguments).output().unwrap())
}

/// A call to a fake node, off the async threads.
async fn call_at(fake: &Fake, arguments: &[&str]) -> (i32, String, String) {
    let mut command = raftdeck(arguments);
    command.env("RAFTDECK_CONNECT", fake.api.to_string());
    tokio::task::spawn_blocking(move || said(&command.output().unwrap())).await.unwrap()
}

fn ok(stdout: &str) -> (i32, String, String) {
    (0, format!("{stdout}\n"), String::new())
}

fn error(code: i32, line: &str) -> (i32, String, String) {
    (code, String::new(), format!("error: {line}\n"))
}

#[test]
fn a_call_that_is_not_understood_is_one_line_and_exit_code_2() {
    for (arguments, line) in [
        (&["sumbit"][..], "unrecognized subcommand 'sumbit' tip: a similar subcommand exists: 'submit'"),
        (&["submit"], "the following required arguments were not provided: <HANDLER>"),
        (&["cut"], "the following required arguments were not provided: <NODE,..[ / NODE,..]>..."),
        (
            &["submit", "echo", "--quue", "q"],
            "unexpected argument '--quue' found tip: a similar argument exists: '--queue'",
        ),
        (
            &["submit", "echo", "--delay", "5"],
            "invalid value '5' for '--delay <DURATION>': \"5\" is not a duration: write 500ms, 5s, 2m, 1h or 7d",
        ),
        (&["submit", "echo", "--priority", "10"], "invalid value '10' for '--priority <PRIORITY>': 10 is not in 0..=9"),
        (
            &["cut", "n1", "--for", "11m"],
            "invalid value '11m' for '--for <DURATION>': a fault lasts 1ms to 10m, not 11m",
        ),
        (
            &["link", "n1", "n2"],
            "the following required arguments were not provided: <--delay <DURATION>|--jitter <DURATION>|\
             --loss <PERCENT>|--duplicate <PERCENT>|--reorder <PERCENT>>",
        ),
        (
            &["link", "n1", "n2", "--delay", "11s"],
            "invalid value '11s' for '--delay <DURATION>': it takes 1ms to 10s, not 11s",
        ),
        (
            &["link", "n1", "n2", "--loss", "101%"],
            "invalid value '101%' for '--loss <PERCENT>': \"101%\" is not a part: write 10% or 0.5%, more than 0% and at \
             most 100%",
        ),
        (
            &["disk", "n1"],
            "the following required arguments were not provided: <--stall <DURATION>|--full|--fail-fsync>",
        ),
        (&["disk", "n1", "--full", "--fail-fsync"], "the argument '--full' cannot be used with '--fail-fsync'"),
        (
            &["disk", "n1", "--stall", "11m"],
            "invalid value '11m' for '--stall <DURATION>': a fault lasts 1ms to 10m, not 11m",
        ),
        (
            &["clock", "n1", "--offset", "-1h"],
            "invalid value '-1h' for '--offset <[-]DURATION>': a clock is off by 1ms to 10m, not -1h",
        ),
        (&["pause-node"], "the following required arguments were not provided: <NODE>"),
        (
            &["jobs", "--state", "done"],
            "invalid value 'done' for '--state <STATE>': \"done\" is not a job state; the states are scheduled, \
             available, running, retryable, completed, cancelled, discarded",
        ),
        (&["add"], "the following required arguments were not provided: <NODE>"),
        (&["add", "n 4"], "node name \"n 4\": 1 to 64 of a-z A-Z 0-9 . _ -"),
        (&["add", "n4", "--peer", "h:1"], "the following required arguments were not provided: --api <HOST:PORT>"),
        (
            &["add", "n4", "--peer", "h", "--api", "h:1"],
            "invalid value 'h' for '--peer <HOST:PORT>': \"h\" is not HOST:PORT",
        ),
        (
            &["add", "n4", "--connect", "h:1"],
            "`add without --peer and --api` works on nodes of this machine: name their folder by --dir, not by --cluster \
             or --connect",
        ),
        (&["remove"], "the following required arguments were not provided: <NODE>"),
        (
            &["remove", "n1", "--within", "1"],
            "invalid value '1' for '--within <DURATION>': \"1\" is not a duration: \
             write 500ms, 5s, 2m, 1h or 7d",
        ),
        (&["transfer"], "the following required arguments were not provided: <NODE>"),
        (&["retry"], "the following required arguments were not provided: <ID>..."),
        (&["retry", "x"], "invalid value 'x' for '<ID>...': invalid digit found in string"),
        (&["pause"], "the following required arguments were not provided: <QUEUE>"),
        (&["resume"], "the following required arguments were not provided: <QUEUE>"),
        (&["queues", "mail"], "unexpected argument 'mail' found"),
        (&["snapshot"], "the following required arguments were not provided: <NODE>"),
        (&["members", "n1"], "unexpected argument 'n1' found"),
        (&["bench", "--clients", "1001"], "invalid value '1001' for '--clients <N,..>': 1001 is not in 1..=1000"),
        (&["bench", "--grow", "nodes", "--points", "64"], "--points 64: nodes is not in 1..=63"),
        (&["bench", "--depth", "3"], "--depth is of w3, which is not among the workloads"),
        (
            &["sim", "--seed", "1", "--seeds", "1..2"],
            "the argument '--seed <SEED>' cannot be used with '--seeds <A..B>'",
        ),
        (&["sim", "--nodes", "51"], "invalid value '51' for '--nodes <NODES>': 51 is not in 1..=50"),
        (&["up", "--nodes", "64"], "invalid value '64' for '--nodes <N>': 64 is not in 1..=63"),
        (&["status", "--connect", "nowhere"], "--connect: \"nowhere\" is not HOST:PORT"),
        (
            &["down", "--connect", "h:1"],
            "`down` works on nodes of this machine: name their folder by --dir, not by --cluster or --connect",
        ),
    ] {
        assert_eq!(call(arguments), error(2, line), "{arguments:?}");
        assert_eq!(call(&[arguments, &["--json"]].concat()), error(2, line), "{arguments:?} --json");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let (code, stdout, stderr) = call(&["--help"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for verb in [
        "demo",
        "bench",
        "up",
        "down",
        "restart",
        "logs",
        "status",
        "submit",
        "jobs",
        "cancel",
        "retry",
        "pause",
        "resume",
        "queues",
        "kill",
        "cut",
        "link",
        "disk",
        "pause-node",
        "clock",
        "faults",
        "heal",
        "members",
    ] {
        assert!(stdout.contains(&format!("  {verb} ")), "{verb} in {stdout}");
    }
    assert_eq!(call(&["--version"]).0, 0);
}

#[test]
fn a_simulation_without_a_terminal_is_told_in_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.scn");
    std::fs::write(&file, "cluster 1\nexpect no leader\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(call(&["sim", file, "--seed", "3"]), ok("cluster 1\nexpect no leader"));
    assert_eq!(call(&["sim", file, "--json"]), ok("[\"cluster 1\",\"expect no leader\"]"));
    let (code, stdout, stderr) = call(&["sim", "--seed", "3", "--seconds", "1", "--nodes", "3"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("1 seeds, ") && stdout.ends_with("no law was broken\n"), "{stdout}");
}

#[test]
fn without_a_cluster_the_error_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let output = raftdeck(&["status"]).current_dir(dir.path()).output().unwrap();
    let line = "no cluster: .raftdeck/cluster.toml does not exist; start one with `raftdeck up`, or name one by --cluster \
                or --connect";
    assert_eq!(said(&output), error(1, line));
}

/// Refused by every node is a definite answer: nobody waits for it to become another.
#[test]
fn a_cluster_that_is_down_is_told_at_once_with_what_was_tried() {
    let line = "no node reachable: tried 127.0.0.1:1, 127.0.0.1:2";
    for verb in [
        &["status"][..],
        &["heal"],
        &["watch", "--plain"],
        &["cut", "n1"],
        &["jobs"],
        &["job", "1"],
        &["cancel", "1"],
        &["submit", "echo"],
        &["submit", "echo", "--wait"],
        &["members"],
        &["transfer", "n1"],
        &["remove", "n1"],
    ] {
        let start = Instant::now();
        assert_eq!(call(&[verb, &["--connect", "127.0.0.1:1,127.0.0.1:2"]].concat()), error(1, line), "{verb:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{verb:?} took {:?}", start.elapsed());
    }
}

/// A node that answers and knows no leader may be amid an election: that is waited for, and said.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_leader_is_told_while_it_lasts() {
    // The client asks again after 40 ms.
    let fake = Fake::start(|script| script.leaderless = 40).await;
    let (code, stdout, stderr) = call_at(&fake, &["job", "17"]).await;
    assert!(code == 0 && stdout.starts_with("job 17 completed: "), "{stdout}{stderr}");
    assert_eq!(stderr, format!("waiting, up to 10 s in all: {}: n1 knows no leader\n", fake.api));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_the_exact_json() {
    let fake = Fake::start(|_| {}).await;
    let expected = format!(
        concat!(
            r#"{{"nodes":[{{"id":"n1","api":"{}","peer":null,"pid":4242,"up":true,"role":"leader","term":3,"#,
            r#""leader":"n1","last":0,"commit":0,"applied":0,"state_hash":"0000000000000000"}}],"leader":"n1","#,
            r#""term":3,"quorum":{{"needed":1,"up":1,"ok":true}},"queues":[]}}"#,
        ),
        fake.api
    );
    assert_eq!(call_at(&fake, &["status", "--json"]).await, ok(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submit_prints_its_id_and_sends_what_was_asked() {
    let fake = Fake::start(|_| {}).await;
    assert_eq!(call_at(&fake, &["submit", "echo", "-7"]).await, ok("17"));
    let all =
        ["submit", "echo", "--json", "--queue", "q", "--priority", "0", "--delay", "5s", "--idempotency-key", "k"];
    let more = ["--max-attempts", "3", "--retry-delay", "1.5s", "--timeout", "2m"];
    let json = r#"{"id":18,"state":"available","index":42}"#;
    assert_eq!(call_at(&fake, &[&all[..], &more].concat()).await, ok(json));
    let sent = fake.script.lock().unwrap().submitted.clone();
    assert_eq!(
        (sent[0].handler.as_str(), sent[0].queue.as_str(), &sent[0].payload[..]),
        ("echo", "default", &b"-7"[..])
    );
    assert_eq!((sent[0].priority, sent[0].max_attempts, sent[0].retry_delay_ms), (Some(5), Some(25), None));
    assert_eq!((sent[1].queue.as_str(), sent[1].priority, sent[1].delay_ms), ("q", Some(0), 5000));
    assert_eq!(
        (sent[1].max_attempts, sent[1].retry_delay_ms, sent[1].timeout_ms),
        (Some(3), Some(1500), Some(120_000))
    );
    assert_eq!(sent[1].idempotency_key, "k");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_comes_from_stdin_up_to_the_limit() {
    let fake = Fake::start(|_| {}).await;
    for (bytes, expected) in [
        (1 << 20, ok("17")),
        ((1 << 20) + 1, error(1, "payload is 1048577 bytes, the limit is 1048576")),
        (3 << 20, error(1, "payload is 3145728 bytes, the limit is 1048576")),
    ] {
        let mut command = raftdeck(&["submit", "echo", "-"]);
        command.env("RAFTDECK_CONNECT", fake.api.to_string()).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(&vec![b'x'; bytes]).unwrap();
            said(&child.wait_with_output().unwrap())
        });
        assert_eq!(output.await.unwrap(), expected);
    }
    assert_eq!(fake.script.lock().unwrap().submitted.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_bulk_and_one_that_is_too_large_stops_all() {
    let fake = Fake::start(|_| {}).await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("b"), "two").unwrap();
    std::fs::write(path("a"), "one").unwrap();
    let folder = dir.path().to_str().unwrap();
    let expected = ok(&format!("17 {}\n18 {}", path("a"), path("b")));
    assert_eq!(call_at(&fake, &["submit", "echo", "--bulk", folder]).await, expected);
    let json = r#"{"id":19,"state":"completed","index":42,"result":"done","attempt":2}"#;
    assert_eq!(call_at(&fake, &["submit", "echo", "--file", &path("b"), "--wait", "--json"]).await, ok(json));
    let sent: Vec<_> = fake.script.lock().unwrap().submitted.iter().map(|job| job.payload.clone()).collect();
    assert_eq!(sent, ["one", "two", "two"]);
    std::fs::write(path("c"), vec![0; (1 << 20) + 1]).unwrap();
    let line = format!("{}: payload is 1048577 bytes, the limit is 1048576", path("c"));
    assert_eq!(call_at(&fake, &["submit", "echo", "--bulk", folder]).await, error(1, &line));
    let key = ["submit", "echo", "--idempotency-key", "k", "--file", &path("a"), "--file", &path("b")];
    assert_eq!(call_at(&fake, &key).await, error(2, "--idempotency-key names one job, and 2 files are 2 jobs"));
    assert_eq!(fake.script.lock().unwrap().submitted.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_the_job_and_fails_unless_it_completed() {
    use JobState::{Available, Completed, Discarded, Running};
    let fake = Fake::start(|script| script.states = vec![Available, Running, Completed]).await;
    let json = r#"{"id":17,"state":"completed","index":42,"result":"done","attempt":2}"#;
    assert_eq!(call_at(&fake, &["submit", "echo", "--wait", "--json"]).await, ok(json));
    fake.script.lock().unwrap().states = vec![Running, Discarded];
    let (code, stdout, stderr) = call_at(&fake, &["submit", "echo", "--wait", "--json"]).await;
    let json = r#"{"id":18,"state":"discarded","index":42,"result":null,"attempt":2}"#;
    assert_eq!((code, stdout.trim_end()), (1, json));
    assert_eq!(stderr, "error: job 18 ended discarded: it broke\n");
    fake.script.lock().unwrap().states = vec![Running];
    let (code, stdout, stderr) = call_at(&fake, &["submit", "echo", "--wait", "--within", "50ms"]).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    // On a busy machine the time may be over before the first look: then it is still what the submit said.
    let line = |state: &str| {
        format!("error: job 19 is still {state} at the end of the wait (--within); it was submitted at index 42\n")
    };
    assert!([line("running"), line("available")].contains(&stderr), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_shown_and_cancelled() {
    let fake = Fake::start(|_| {}).await;
    let listed = concat!(
        r#"{"jobs":[{"id":17,"state":"completed","index":42,"queue":"","handler":"","priority":0,"attempt":2,"#,
        r#""max_attempts":25}],"applied":50,"more":true}"#
    );
    assert_eq!(call_at(&fake, &["jobs", "--json"]).await, ok(listed));
    let none = call_at(&fake, &["jobs", "--state", "running", "--state", "retryable"]).await;
    assert_eq!(none, ok("ID  STATE  QUEUE  HANDLER  PRIORITY  ATTEMPT"));
    let (code, stdout, _) = call_at(&fake, &["job", "17"]).await;
    assert!(code == 0 && stdout.starts_with("job 17 completed: "), "{stdout}");
    assert_eq!(call_at(&fake, &["job", "1001"]).await, error(1, "job 1001: no such job"));
    assert_eq!(call_at(&fake, &["cancel", "17", "--json"]).await, ok(r#"{"id":17,"state":"cancelled","index":60}"#));
}

/// A payload is whatever somebody sent: a screen gets a beginning of it that cannot steer it, a file gets its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_shown_in_part_and_given_whole() {
    let payload: Vec<u8> = [&b"\x1b[2Jone\n\xfftwo\n"[..], &b"x".repeat(1 << 20)].concat();
    let given = payload.clone();
    let fake = Fake::start(|script| script.payload = given.into()).await;
    let (code, stdout, stderr) = call_at(&fake, &["job", "17"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let lines: Vec<&str> = stdout.lines().skip(1).collect();
    assert_eq!(lines[..2], [r"payload  \u{1b}[2Jone", r"         \xfftwo"]);
    assert!(lines[2].trim().bytes().all(|b| b == b'x') && lines[2].len() < 2000, "{}", lines[2]);
    let left = "... 1048077 of 1048589 bytes are left out; all of it: raftdeck job 17 --payload > FILE";
    assert_eq!(lines[3..], [&format!("         {left}"), "output   done"]);
    let mut command = raftdeck(&["job", "17", "--payload"]);
    command.env("RAFTDECK_CONNECT", fake.api.to_string());
    let raw = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!((raw.status.code(), raw.stderr.as_slice(), raw.stdout == payload), (Some(0), &b""[..], true));
    assert_eq!(call_at(&fake, &["job", "17", "--output"]).await, (0, "done".into(), String::new()));
    let (_, json, _) = call_at(&fake, &["job", "17", "--json"]).await;
    assert!(
        json.contains(r#""result":"done""#) && json.contains(r#""payload":null,"payload_base64":"G1syS"#),
        "no text"
    );
    fake.script.lock().unwrap().states = vec![JobState::Running];
    let running = "job 17 is running: it has no output";
    assert_eq!(call_at(&fake, &["job", "17", "--output"]).await, error(1, running));
    let both = "the argument '--payload' cannot be used with '--output'";
    assert_eq!(call_at(&fake, &["job", "17", "--payload", "--output"]).await, error(2, both));
    assert_eq!(call_at(&fake, &["job", "17", "--payload", "--json"]).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_is_done_when_the_node_is_gone() {
    let fake = Fake::start(|script| script.dies = true).await;
    let json = r#"{"node":"n1","killed":true,"pid":4242}"#;
    assert_eq!(call_at(&fake, &["kill", "n1", "--json"]).await, ok(json));
    let lines = format!("no node \"n1\": the cluster has {}", fake.api);
    assert_eq!(call_at(&fake, &["kill", "n1"]).await, error(1, &lines));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_fault_is_told_in_the_words_of_the_node() {
    let fake = Fake::start(|script| script.status.faults_enabled = false).await;
    assert_eq!(call_at(&fake, &["kill", "n1"]).await, error(1, "n1: faults are not enabled on n1"));
    assert_eq!(call_at(&fake, &["kill", "n7"]).await, error(1, "no node \"n7\": the cluster has n1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_set_at_both_ends_and_healed() {
    let member = |id: u64| {
        move |script: &mut Script| {
            (script.status.node, script.status.name) = (id, format!("n{id}"));
            script.status.voters = vec![1, 2, 3];
            script.healed = 2;
        }
    };
    let nodes = [Fake::start(member(1)).await, Fake::start(member(2)).await, Fake::start(member(3)).await];
    let connect = nodes.iter().map(|node| node.api.to_string()).collect::<Vec<_>>().join(",");
    let cut = ["cut", "n1", "/", "n2,n3", "--for", "30s", "--json", "--connect", &connect];
    let effect = concat!(
        r#""n1 reaches 1 of 3 voters, 2 needed: cannot elect a leader or commit","#,
        r#""n2, n3 reaches 2 of 3 voters, 2 needed: keeps the majority""#
    );
    let json = format!(r#"{{"cut":[["n1","n2"],["n1","n3"]],"one_way":false,"for_ms":30000,"effect":[{effect}]}}"#);
    assert_eq!(call_at(&nodes[0], &cut).await, ok(&json));
    let peers = nodes.each_ref().map(|node| {
        let faults = node.script.lock().unwrap().faults.clone();
        let peers = faults.iter().map(|fault| match fault.spec.unwrap().fault {
            Some(Fault::Cut(cut)) if fault.ttl_ms == 30_000 => cut.peer,
            other => panic!("{other:?}"),
        });
        let mut peers: Vec<u64> = peers.collect();
        peers.sort_unstable();
        peers
    });
    assert_eq!(peers, [vec![2, 3], vec![1], vec![1]]);
    let healed = call_at(&nodes[0], &["heal", "n2", "--json", "--connect", &connect]).await;
    assert_eq!(healed, ok(r#"{"healed":[{"node":"n2","faults":2}],"unreachable":[]}"#));
    nodes[2].script.lock().unwrap().status.faults_enabled = false;
    let refused = call_at(&nodes[0], &cut).await;
    assert_eq!(refused, error(1, "n3 takes no faults: it was started without --enable-faults"));
    assert_eq!(nodes[0].script.lock().unwrap().faults.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_narrates_until_its_reader_goes_and_says_nothing_about_it() {
    let observation = |seq: u64| Observation {
        seq,
        boot_id: "first".into(),
        at_ms: 3_723_004,
        node: 1,
        term: 3,
        kind: ObservationKind::Leader.into(),
        peer: 1,
        cause: "elected".into(),
        ..Observation::default()
    };
    let fake = Fake::start(|script| script.observations = (1..=20_000).map(observation).collect()).await;
    let mut command = raftdeck(&["watch", "--plain"]);
    command.env("RAFTDECK_CONNECT", fake.api.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let heard = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        (line, said(&output))
    });
    let (line, (code, _, stderr)) = heard.await.unwrap();
    assert_eq!(line, "01:02:03.004 n1   follows n1 in T3: elected\n");
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn a_replay_without_a_terminal_names_what_is_wrong() {
    let (code, out, err) = call(&["replay", "/nowhere/a.jsonl"]);
    assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
    assert!(err.starts_with("error: /nowhere/a.jsonl: "), "{err}");
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/screens/demo.jsonl");
    let line = "the console needs a terminal; without one, use: raftdeck replay FILE --svg PICTURE";
    assert_eq!(call(&["replay", recording]), error(1, line));
}

#[test]
fn a_moving_picture_begins_at_the_beginning_unless_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/screens/demo.jsonl");
    let draw = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        let words = ["replay", recording, "--svg", file.to_str().unwrap(), "--for", "2s"];
        let (code, _, err) = call(&[&words, more].concat());
        assert_eq!((code, err.as_str()), (0, ""));
        std::fs::read_to_string(file).unwrap()
    };
    let whole = draw("a.svg", &[]);
    assert_eq!(whole, draw("b.svg", &["--at", "0ms"]));
    assert_ne!(whole, draw("c.svg", &["--at", "4s"]));
    let (code, _, err) = call(&["replay", recording, "--for", "2s"]);
    assert_eq!(code, 2, "{err}");
}
