//! `bench` on a cluster of its own: the figures it prints, and that it leaves nothing behind.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use raftdeck::launch::process::Process;
use serde_json::Value;

use crate::cluster::{Said, node_program};

/// A call whose cluster lives in a folder below `dir`.
fn bench(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftdeck"));
    command.arg("bench").args(arguments).arg("--dir").arg(dir).env("RAFTDECK_NODE", node_program());
    command.env_remove("TMUX").env_remove("RAFTDECK_CLUSTER").env_remove("RAFTDECK_CONNECT").stdin(Stdio::null());
    command
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn submits_and_whole_lives_are_measured_and_nothing_is_lost_or_left() {
    let dir = tempfile::tempdir().unwrap();
    let arguments =
        ["--workload", "w1,w3", "--clients", "8", "--payload", "64", "--seconds", "1", "--limits", "--json"];
    let said = Said::of(&bench(dir.path(), &arguments).output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    let reports: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [w1, w3] = &reports[..] else { panic!("{said:?}") };
    assert_eq!(
        (&w1["workload"], &w1["clients"], &w3["workload"], &w3["clients"]),
        (&"w1".into(), &8.into(), &"w3".into(), &64.into())
    );
    for report in [w1, w3] {
        assert_eq!(
            (&report["payload"], &report["nodes"], &report["errors"]),
            (&64.into(), &3.into(), &0.into()),
            "{report}"
        );
        assert_eq!((&report["seconds"], &report["fsync"]), (&1.0.into(), &"majority before every answer".into()));
        let figure = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name}: {report}"));
        assert!(figure("rate") > 0.0 && figure("fsync_us") > 0.0 && figure("round_trip_us") > 0.0, "{report}");
        let latencies = ["p50_us", "p99_us", "p999_us", "max_us"].map(figure);
        assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{report}");
        assert_eq!(report["rates"].as_array().unwrap().len(), 1);
        for name in ["n1", "n2", "n3", "bench"] {
            assert!(
                report["cores"][name].as_f64().is_some() && report["rss_bytes"][name].as_u64() > Some(1 << 20),
                "{report}"
            );
        }
    }
    assert_eq!((&w3["lost"], &w3["done_twice"], &w3["depth"]), (&0.into(), &0.into(), &64.into()));
    assert!(said.err.lines().any(|line| line.starts_with("w1, 8 clients, second 1 of 1: ")), "{said:?}");
    assert!(is_empty(dir.path()));
}

#[test]
fn an_interrupt_ends_the_nodes_and_removes_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut call =
        bench(dir.path(), &["--seconds", "600"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(call.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("w1, 64 clients, second 1 of 600: "));
    let folder = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let node = |name: &str| fs::read_to_string(folder.join(name).join("pid")).unwrap().parse::<Process>().unwrap();
    let nodes = ["n1", "n2", "n3"].map(node);
    assert!(nodes.iter().all(Process::is_alive));
    let pid = rustix::process::Pid::from_child(&call);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(lines.find(|line| line.starts_with("error: ")).unwrap(), "error: bench: interrupted");
    assert_eq!(call.wait().unwrap().code(), Some(1));
    assert!(nodes.iter().all(|node| node.ended_by(Instant::now() + Duration::from_secs(1))));
    assert!(is_empty(dir.path()));
}

#[test]
fn a_running_cluster_is_left_as_it_was_found() {
    let cluster = crate::cluster::Cluster::start(1, "[handlers.load]\nexternal = true\n");
    let api = cluster.file.nodes[0].api.to_string();
    let dir = tempfile::tempdir().unwrap();
    let said = Said::of(&bench(dir.path(), &["--connect", &api, "--seconds", "1"]).output().unwrap());
    let line = "error: there is no handler \"bench\" in the cluster file; it has load, echo, fail, sleep\n";
    assert_eq!((said.code, said.err.as_str()), (1, line));
    let arguments =
        ["--connect", &api, "--seconds", "1", "--handler", "load", "--clients", "4", "--rate", "100", "--json"];
    let report = Said::of(&bench(dir.path(), &arguments).output().unwrap()).json();
    assert_eq!((&report["nodes"], &report["errors"], &report["open_loop_rate"]), (&1.into(), &0.into(), &100.into()));
    assert_eq!(report["cores"].as_object().unwrap().len(), 2, "the node and the bench: {report}");
    let queues = cluster.call(&["status", "--json"]).json()["queues"].clone();
    let sum = |state: &str| queues.as_array().unwrap().iter().map(|queue| queue[state].as_u64().unwrap()).sum::<u64>();
    assert!(sum("completed") > 100, "{queues}");
    assert_eq!((sum("available"), sum("running")), (0, 0), "what it submitted is worked off: {queues}");
}
