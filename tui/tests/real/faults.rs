//! Every kind of fault on real processes: that it strikes, that its effect is measured, and that nothing is lost by it.

use std::{
    fs,
    time::{Duration, Instant},
};

use raftdeck_shared::{
    ids::JobId,
    wire::{self, JobState, NewJob, Role},
};
use serde_json::Value;

use crate::{
    WITHIN,
    cluster::{Cluster, Said, wait_for},
    members::{Load, check},
};

const LATER: &str = "[handlers.later]\nexternal = true\n";

fn done(said: &Said) {
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
}

fn names(cluster: &Cluster) -> Vec<String> {
    cluster.file.nodes.iter().map(|node| node.name.clone()).collect()
}

/// Calls `link` for each pair of nodes.
fn on_all_links(cluster: &Cluster, weather: &[&str]) {
    let names = names(cluster);
    for (place, a) in names.iter().enumerate() {
        for b in &names[place + 1..] {
            done(&cluster.call(&[&["link", a.as_str(), b.as_str()][..], weather].concat()));
        }
    }
}

/// What `raftdeck faults` lists, of one kind, summed up by a number of its measurement.
fn measured(cluster: &Cluster, kind: &str, number: &str) -> u64 {
    let listed: Value = cluster.call(&["faults", "--json"]).json();
    let faults = listed["faults"].as_array().unwrap().iter().filter(|fault| fault["kind"] == kind);
    faults.map(|fault| fault["measured"][number].as_u64().unwrap()).sum()
}

async fn node(cluster: &Cluster, id: u64) -> Option<wire::NodeStatus> {
    cluster.statuses().await.into_iter().find(|status| status.node == id)
}

async fn another_leader(cluster: &Cluster, old: &wire::NodeStatus) -> wire::NodeStatus {
    let new = wait_for("another leader", WITHIN, || async {
        cluster.leader().await.filter(|leader| leader.term > old.term && leader.node != old.node)
    });
    new.await
}

fn later() -> NewJob {
    NewJob { handler: "later".into(), payload: "x".into(), ..Default::default() }
}

/// The ends of a load: all that was acknowledged is there once, on nodes that are equal.
async fn nothing_is_lost(cluster: &Cluster, load: Load) {
    let (acknowledged, unknown) = load.end().await;
    done(&cluster.call(&["heal"]));
    cluster.wait_until_equal().await;
    check(cluster, acknowledged, unknown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hears_nobody_steps_down_and_another_leads() {
    let cluster = Cluster::start(3, LATER);
    let load = Load::start(&cluster, 2);
    load.some_more(20).await;
    let old = cluster.wait_for_leader().await;
    let others: Vec<String> = names(&cluster).into_iter().filter(|name| *name != old.name).collect();
    done(&cluster.call(&["cut", &others.join(","), "/", &old.name, "--one-way"]));
    another_leader(&cluster, &old).await;
    // Its followers heard it all the while: it went by itself.
    let deposed = wait_for("the old leader to step down", WITHIN, || async {
        node(&cluster, old.node).await.filter(|status| status.role() != Role::Leader)
    });
    let deposed = deposed.await;
    assert!(measured(&cluster, "one-way cut", "dropped") > 0);
    assert!(deposed.faults.is_empty(), "the others have the fault, as it is they that are not heard");
    load.some_more(20).await;
    nothing_is_lost(&cluster, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_on_all_links_slows_each_commit_and_loses_nothing() {
    let cluster = Cluster::start(3, LATER);
    let client = cluster.client(None);
    let mut ids = vec![client.submit(later(), WITHIN).await.unwrap().id];
    on_all_links(&cluster, &["--delay", "50ms", "--jitter", "5ms"]);
    for _ in 0..5 {
        let asked = Instant::now();
        ids.push(client.submit(later(), WITHIN).await.unwrap().id);
        // To a follower and back.
        assert!(asked.elapsed() >= Duration::from_millis(100), "committed after {:?}", asked.elapsed());
    }
    let (delayed, us) = (measured(&cluster, "link", "delayed"), measured(&cluster, "link", "delayed_us"));
    assert!(delayed > 0 && us / delayed >= 50_000, "{delayed} messages, {us} us");
    assert_eq!(measured(&cluster, "link", "dropped"), 0);
    done(&cluster.call(&["heal"]));
    cluster.wait_until_equal().await;
    for id in ids {
        assert_eq!(client.get(JobId(id), 0, WITHIN).await.unwrap().job.unwrap().state(), JobState::Available);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_doubled_and_reordered_messages_lose_nothing() {
    let cluster = Cluster::start(3, LATER);
    let load = Load::start(&cluster, 4);
    on_all_links(&cluster, &["--loss", "10%", "--duplicate", "20%", "--reorder", "20%"]);
    load.some_more(100).await;
    for number in ["dropped", "duplicated", "reordered"] {
        assert!(measured(&cluster, "link", number) > 0, "{number}");
    }
    nothing_is_lost(&cluster, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_of_the_leader_is_measured_and_its_followers_commit_without_it() {
    let cluster = Cluster::start(3, LATER);
    let load = Load::start(&cluster, 2);
    let leader = cluster.wait_for_leader().await;
    done(&cluster.call(&["disk", &leader.name, "--stall", "100ms"]));
    load.some_more(50).await;
    let stalls = wait_for("a stall that is over", WITHIN, || async {
        (measured(&cluster, "disk stall", "longest_stall_ms") >= 100)
            .then(|| measured(&cluster, "disk stall", "stalls"))
    });
    assert!(stalls.await > 0);
    nothing_is_lost(&cluster, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_stands_still_hands_over() {
    let cluster = Cluster::start(3, LATER);
    let load = Load::start(&cluster, 2);
    load.some_more(20).await;
    let old = cluster.wait_for_leader().await;
    done(&cluster.call(&["disk", &old.name, "--stall", "10m"]));
    another_leader(&cluster, &old).await;
    load.some_more(20).await;
    let behind = node(&cluster, old.node).await.unwrap();
    assert!(behind.durable < behind.commit, "its disk still stands: {} of {}", behind.durable, behind.commit);
    nothing_is_lost(&cluster, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_its_node_with_the_cause_and_nothing_is_lost() {
    let cluster = Cluster::start(3, LATER);
    let load = Load::start(&cluster, 2);
    for (verb, cause) in
        [("--full", "database or disk is full (by fault 1)"), ("--fail-fsync", "fsync failed (by fault 1)")]
    {
        let leader = cluster.wait_for_leader().await;
        done(&cluster.call(&["disk", &leader.name, verb]));
        another_leader(&cluster, &leader).await;
        let gone = || async { node(&cluster, leader.node).await.is_none().then_some(()) };
        wait_for("the node to be gone", WITHIN, gone).await;
        let log = cluster.path(&leader.name).join("node.log");
        let log = fs::read_to_string(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        assert!(log.contains(&format!("log.db: {cause}")), "{log}");
        load.some_more(20).await;
        cluster.up();
    }
    nothing_is_lost(&cluster, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_paused_is_replaced_and_comes_back_as_a_follower() {
    let cluster = Cluster::start(3, LATER);
    let load = Load::start(&cluster, 2);
    load.some_more(20).await;
    let old = cluster.wait_for_leader().await;
    // Its end is its own: nobody heals it.
    done(&cluster.call(&["pause-node", &old.name, "--for", "5s"]));
    let new = another_leader(&cluster, &old).await;
    let paused = node(&cluster, old.node).await.expect("it answers while it stands still");
    assert_eq!(
        (paused.role(), paused.term, paused.faults.len()),
        (Role::Leader, old.term, 1),
        "it knows nothing of it"
    );
    load.some_more(20).await;
    let back = wait_for("the paused one to follow", WITHIN, || async {
        node(&cluster, old.node).await.filter(|s| s.role() == Role::Follower && s.term >= new.term && s.leader != 0)
    });
    let back = back.await;
    let ended = &back.ended_faults[0];
    assert_eq!((back.faults.len(), ended.ended.as_str()), (0, "ran out"));
    let stood_ms = ended.effect.unwrap().stalled_ms;
    assert!(stood_ms >= 250, "another was elected meanwhile, but it stood still for {stood_ms} ms");
    nothing_is_lost(&cluster, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ahead_runs_jobs_early() {
    let cluster = Cluster::start(3, "");
    let client = cluster.client(None);
    let job = NewJob { handler: "echo".into(), payload: "x".into(), delay_ms: 240_000, ..Default::default() };
    let job = client.submit(job, WITHIN).await.unwrap();
    let leader = cluster.wait_for_leader().await;
    assert_eq!(client.get(JobId(job.id), 0, WITHIN).await.unwrap().job.unwrap().state(), JobState::Scheduled);
    done(&cluster.call(&["clock", &leader.name, "--offset", "5m"]));
    let ran = || async {
        let job = client.get(JobId(job.id), 0, WITHIN).await.ok()?.job?;
        (job.state() == JobState::Completed).then_some(())
    };
    wait_for("the job to run", WITHIN, ran).await;
    assert!(measured(&cluster, "clock", "stamps") > 0);
}
