//! What only real processes can show: SIGKILL, sockets, files, and the programs that jobs run.

mod bad_input;
mod bench;
mod cluster;
mod console;
mod faults;
mod link;
mod members;
mod operator;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cluster::{Cluster, kill_9, wait_for};
use raftdeck_shared::{
    ids::JobId,
    wire::{self, JobState, NewJob, Role, SubmitRequest},
};
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(20);

/// Text files of this repository.
fn text_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.join("node"), root.join("tui"), root.join("shared"), root.join("proto")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("rs" | "md" | "toml" | "proto" | "scn") => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

fn words_of(file: &Path) -> String {
    let output = Command::new("wc").arg("-w").stdin(fs::File::open(file).unwrap()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Every job of `ids`, once all are final.
async fn finished(cluster: &Cluster, ids: &[u64]) -> BTreeMap<u64, wire::Job> {
    let client = cluster.client(None);
    let mut jobs = BTreeMap::new();
    for id in ids {
        let job = wait_for(&format!("job {id} to finish"), Duration::from_secs(60), || async {
            let job = client.get(JobId(*id), 0, WITHIN).await.ok()?.job?;
            matches!(job.state(), JobState::Completed | JobState::Cancelled | JobState::Discarded).then_some(job)
        })
        .await;
        jobs.insert(*id, job);
    }
    jobs
}

/// Real files, a real program, and the leader's process killed twice while it works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_is_counted_right_although_the_leader_is_killed_twice() {
    let cluster = Cluster::start(3, "[handlers.count]\ncommand = [\"sh\", \"-c\", \"sleep 0.05; exec wc -w\"]\n");
    let client = cluster.client(None);
    let files = text_files();
    assert!(files.len() >= 100, "only {} files", files.len());
    let job = |file: &PathBuf| NewJob {
        handler: "count".into(),
        payload: fs::read(file).unwrap().into(),
        retry_delay_ms: Some(100),
        ..Default::default()
    };
    let mut ids = Vec::new();
    for some in files.chunks(50) {
        let jobs = client.submit_bulk(some.iter().map(job).collect(), WITHIN).await.unwrap();
        ids.extend(jobs.iter().map(|j| j.id));
    }
    for _ in 0..2 {
        let leader = cluster.wait_for_leader().await;
        let done = leader.queues[0].completed;
        kill_9([leader.pid]);
        let next = cluster.wait_for_leader().await;
        assert!(next.term > leader.term && next.node != leader.node);
        cluster.up();
        wait_for("some more jobs", WITHIN, || async {
            cluster.leader().await.filter(|l| l.queues[0].completed > done)
        })
        .await;
    }
    let jobs = finished(&cluster, &ids).await;
    for (id, file) in ids.iter().zip(&files) {
        let job = &jobs[id];
        assert_eq!(job.state(), JobState::Completed, "{}: {job:?}", file.display());
        assert_eq!(String::from_utf8_lossy(&job.result).trim(), words_of(file), "{}", file.display());
        let completed = job.history.iter().filter(|event| event.what == "completed").count();
        assert_eq!((completed, job.completed_token.is_some()), (1, true), "{job:?}");
    }
    let statuses = cluster.wait_until_equal().await;
    assert_eq!(statuses[0].queues[0].completed, ids.len() as u64);
}

/// All processes killed in one breath while clients submit: what was acknowledged is there when they are back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_killed_under_load_lose_nothing_that_was_acknowledged() {
    let cluster = Cluster::start(5, "[handlers.later]\nexternal = true\n");
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let (client, acknowledged, stop) = (cluster.client(None), Arc::clone(&acknowledged), Arc::clone(&stop));
            tokio::spawn(async move {
                for i in 0.. {
                    let payload = format!("{n}-{i}");
                    let job = NewJob { handler: "later".into(), payload: payload.clone().into(), ..Default::default() };
                    match client.submit(job, Duration::from_millis(500)).await {
                        Ok(job) => acknowledged.lock().unwrap().push((job.id, payload)),
                        Err(_) if stop.load(Ordering::Relaxed) => return,
                        Err(_) => {}
                    }
                }
            })
        })
        .collect();
    wait_for("some load", WITHIN, || async { (acknowledged.lock().unwrap().len() >= 300).then_some(()) }).await;
    let pids: Vec<u32> = cluster.statuses().await.iter().map(|s| s.pid).collect();
    assert_eq!(pids.len(), 5);
    kill_9(pids);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    cluster.up();
    let client = cluster.client(None);
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    for (id, payload) in &acknowledged {
        let job = client.get(JobId(*id), 0, WITHIN).await.unwrap().job.unwrap();
        assert_eq!((job.state(), job.payload.as_ref()), (JobState::Available, payload.as_bytes()), "job {id}");
    }
    cluster.wait_until_equal().await;
}

/// A leader without its peers: the others go on without it, and what it is told is never acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_acknowledges_nothing_and_the_others_go_on() {
    let cluster = Cluster::start(5, "");
    let old = cluster.wait_for_leader().await;
    let said = cluster.call(&["cut", &old.name, "--for", "60s"]);
    assert_eq!(said.code, 0, "{said:?}");
    let cut_at = Instant::now();
    let new =
        wait_for("another leader", WITHIN, || async { cluster.leader().await.filter(|l| l.term > old.term) }).await;
    assert!(cut_at.elapsed() < Duration::from_millis(1500), "another leader took {:?}", cut_at.elapsed());
    assert_ne!(new.node, old.node);

    let echo = || NewJob { handler: "echo".into(), payload: "x".into(), ..Default::default() };
    let request = SubmitRequest { job: Some(echo()), session: None };
    let by_the_old = timeout(Duration::from_secs(1), cluster.jobs(&old.name).submit(request)).await;
    assert!(!matches!(by_the_old, Ok(Ok(_))), "{by_the_old:?}");
    let job = cluster.client(Some(&new.name)).submit(echo(), WITHIN).await.unwrap();
    assert_eq!(finished(&cluster, &[job.id]).await[&job.id].state(), JobState::Completed);
    let deposed = wait_for("the old leader to step down", WITHIN, || async {
        cluster.statuses().await.into_iter().find(|s| s.node == old.node && s.role() != Role::Leader)
    })
    .await;
    assert_eq!((deposed.leader, deposed.term, deposed.faults.len()), (0, old.term, 4), "it knows of no other");

    let said = cluster.call(&["heal"]);
    assert_eq!(said.code, 0, "{said:?}");
    let healed = cluster.wait_until_equal().await;
    assert!(healed[0].term >= new.term);
    // What the old leader took was never committed: the job of its client does not exist.
    let total: u64 = healed[0].queues.iter().map(|q| q.available + q.running + q.completed + q.retryable).sum();
    assert_eq!(total, 1);
}
