//! What an operator does to jobs and queues, with real processes: a pause outlives all of them.

use std::time::Duration;

use raftdeck_shared::wire::NodeStatus;
use serde_json::Value;

use crate::cluster::{Cluster, kill_9, wait_for};

const WITHIN: Duration = Duration::from_secs(20);

/// What is said of a queue by `queues --json`.
fn queue(cluster: &Cluster, name: &str) -> Value {
    let told = cluster.call(&["queues", "--json"]).json();
    let queues = told["queues"].as_array().unwrap();
    queues.iter().find(|queue| queue["name"] == name).cloned().unwrap_or_default()
}

async fn state_is(cluster: &Cluster, id: &str, state: &str) {
    wait_for(&format!("job {id} to be {state}"), WITHIN, || async {
        (cluster.call(&["job", id, "--json"]).json()["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_outlives_every_process_and_a_resume_gives_the_jobs_out() {
    let cluster = Cluster::start(3, "");
    assert_eq!(cluster.call(&["pause", "mail", "--json"]).json()["changed"], true);
    for _ in 0..3 {
        cluster.call(&["submit", "echo", "x", "--queue", "mail", "--json"]).json();
    }
    // Every node has an executor that waits for work: what came after has run, what is paused has not.
    let other = cluster.call(&["submit", "echo", "y", "--wait", "--json"]).json();
    assert_eq!((&other["id"], &other["state"]), (&4.into(), &"completed".into()));
    let statuses = cluster.wait_until_equal().await;
    kill_9(statuses.iter().map(|s: &NodeStatus| s.pid));
    wait_for("all to be gone", WITHIN, || async { cluster.statuses().await.is_empty().then_some(()) }).await;
    cluster.up();
    cluster.wait_for_leader().await;
    let before = cluster.call(&["submit", "echo", "z", "--wait", "--json"]).json();
    assert_eq!(before["state"], "completed");
    let paused = queue(&cluster, "mail");
    assert_eq!((&paused["paused"], &paused["available"], &paused["completed"]), (&true.into(), &3.into(), &0.into()));
    assert_eq!(cluster.call(&["resume", "mail", "--json"]).json()["changed"], true);
    for id in ["1", "2", "3"] {
        state_is(&cluster, id, "completed").await;
    }
    assert_eq!(queue(&cluster, "mail")["paused"], false);
    cluster.wait_until_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_of_a_job_that_was_given_up_is_done_again_as_a_new_one() {
    let cluster = Cluster::start(1, "");
    cluster.call(&["submit", "fail", "it broke", "--max-attempts", "1", "--json"]).json();
    state_is(&cluster, "1", "discarded").await;
    let again = cluster.call(&["retry", "1", "--json"]).json();
    assert_eq!((&again["id"], &again["retry_of"]), (&2.into(), &1.into()));
    state_is(&cluster, "2", "discarded").await;
    let once_more = cluster.call(&["retry", "1", "--json"]).json();
    assert_eq!((&once_more["id"], &once_more["state"]), (&2.into(), &"discarded".into()), "the same, however often");
    let job = cluster.call(&["job", "2", "--json"]).json();
    let work = ["handler", "queue", "payload", "max_attempts"].map(|field| job[field].clone());
    assert_eq!(work, ["fail".into(), "default".into(), "it broke".into(), Value::from(1)]);
    let later = cluster.call(&["submit", "echo", "x", "--delay", "1h", "--json"]).json()["id"].to_string();
    assert_eq!(cluster.call(&["retry", &later, "--json"]).json()["state"], "available");
    state_is(&cluster, &later, "completed").await;
    let said = cluster.call(&["retry", &later]);
    let line = format!("error: job {later} is completed: there is nothing to retry\n");
    assert_eq!((said.code, said.err), (1, line));
}
