//! Members come and go on a cluster of real processes, by command line, while it works and while nodes are killed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use raftdeck_shared::{
    client::ClientError,
    ids::JobId,
    wire::{self, NewJob},
};
use serde_json::Value;

use crate::{
    WITHIN,
    cluster::{Cluster, Said, kill_9, wait_for},
};

/// Clients that submit all the time, and what was acknowledged to them.
pub(crate) struct Load {
    acknowledged: Arc<Mutex<BTreeMap<u64, String>>>,
    /// Submits of which nobody can say what became.
    unknown: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(cluster: &Cluster, clients: usize) -> Load {
        let (acknowledged, unknown, stop): (Arc<Mutex<BTreeMap<_, _>>>, Arc<AtomicU64>, Arc<AtomicBool>) =
            Default::default();
        let clients = (0..clients).map(|n| {
            let client = cluster.client(None);
            let (acknowledged, unknown, stop) = (Arc::clone(&acknowledged), Arc::clone(&unknown), Arc::clone(&stop));
            tokio::spawn(async move {
                for i in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let payload = format!("{n}-{i}");
                    let job = NewJob { handler: "later".into(), payload: payload.clone().into(), ..Default::default() };
                    match client.submit(job, Duration::from_secs(10)).await {
                        Ok(job) => {
                            let twice = acknowledged.lock().unwrap().insert(job.id, payload);
                            assert_eq!(twice, None, "two submits became one job");
                        }
                        Err(ClientError::Unknown(_)) => {
                            unknown.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => panic!("{payload}: {error}"),
                    }
                }
            })
        });
        let clients = clients.collect();
        Load { acknowledged, unknown, stop, clients }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until so many more are acknowledged than now.
    pub(crate) async fn some_more(&self, jobs: usize) {
        let goal = self.count() + jobs;
        wait_for("more acknowledged jobs", WITHIN, || async { (self.count() >= goal).then_some(()) }).await;
    }

    pub(crate) async fn end(self) -> (BTreeMap<u64, String>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        (acknowledged, self.unknown.load(Ordering::Relaxed))
    }
}

fn names(members: &Value) -> Vec<&str> {
    members["members"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect()
}

/// Calls the command line while something else happens, once the change has begun or ended.
async fn call_and<T>(cluster: &Cluster, arguments: &[&str], other: impl Future<Output = T>) -> (Said, T) {
    let mut command = cluster.command(arguments);
    let called = tokio::task::spawn_blocking(move || Said::of(&command.output().unwrap()));
    let other = other.await;
    (called.await.unwrap(), other)
}

/// Every job that was acknowledged is there, once; no other is there but those of which nobody could say.
pub(crate) async fn check(cluster: &Cluster, acknowledged: BTreeMap<u64, String>, unknown: u64) {
    let client = Arc::new(cluster.client(None));
    let (mut ids, mut before) = (Vec::new(), 0);
    loop {
        let page = wire::ListRequest { before_id: before, limit: 1000, ..Default::default() };
        let page = client.list(page, WITHIN).await.unwrap();
        ids.extend(page.jobs.iter().map(|job| job.id));
        before = page.jobs.last().map_or(0, |job| job.id);
        if !page.more {
            break;
        }
    }
    assert!(acknowledged.keys().all(|id| ids.contains(id)));
    let beyond = ids.len() - acknowledged.len();
    assert!(beyond as u64 <= unknown, "{beyond} jobs that nobody submitted, {unknown} submits unknown");
    let acknowledged: Vec<(u64, String)> = acknowledged.into_iter().collect();
    let readers = acknowledged.chunks(acknowledged.len().div_ceil(8)).map(|some| {
        let (client, some) = (Arc::clone(&client), some.to_vec());
        tokio::spawn(async move {
            for (id, payload) in some {
                let job = client.get(JobId(id), 0, WITHIN).await.unwrap().job.unwrap();
                assert_eq!(job.payload.as_ref(), payload.as_bytes(), "job {id}");
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_five_and_three_others_under_load_while_nodes_are_killed() {
    let mut cluster = Cluster::start(3, "[handlers.later]\nexternal = true\n");
    let load = Load::start(&cluster, 8);
    load.some_more(50).await;

    // Three become five. The leader is killed while the first one joins.
    let leader = cluster.wait_for_leader().await;
    let (said, ()) = call_and(&cluster, &["add", "n4", "--json"], async {
        wait_for("the new node to be a member", WITHIN, || async {
            let status = cluster.leader().await?;
            status.membership?.addresses.iter().any(|a| a.name == "n4").then_some(())
        })
        .await;
        kill_9([leader.pid]);
    })
    .await;
    assert_eq!(said.json()["role"], "voter");
    load.some_more(50).await;
    cluster.reload();
    cluster.up();
    // What the second one needs is gone from every log: it gets the state as a file.
    let cuts = ["n1", "n2", "n3", "n4"].map(|name| {
        let cut = cluster.call(&["snapshot", name, "--json"]).json();
        cut["cut"].as_u64().filter(|cut| *cut > 0).unwrap_or_else(|| panic!("{cut}"))
    });
    assert_eq!(cluster.call(&["add", "n5", "--json"]).json()["role"], "voter");
    cluster.reload();
    let n5 = cluster.statuses().await.into_iter().find(|s| s.name == "n5").unwrap();
    assert!(n5.first > *cuts.iter().min().unwrap(), "it has a log from {} on, cuts: {cuts:?}", n5.first);
    assert_eq!(names(&cluster.call(&["members", "--json"]).json()), ["n1", "n2", "n3", "n4", "n5"]);
    let leader = cluster.wait_for_leader().await;
    let to = if leader.name == "n4" { "n5" } else { "n4" };
    assert_eq!(cluster.call(&["transfer", to, "--json"]).json()["node"], to);
    load.some_more(50).await;

    // Five become three. A node that stays is killed while the first one leaves.
    let stays = cluster.statuses().await.into_iter().find(|s| s.name == "n3").unwrap();
    let (said, ()) = call_and(&cluster, &["remove", "n1", "--json"], async { kill_9([stays.pid]) }).await;
    assert_eq!(said.json()["node"], "n1");
    load.some_more(50).await;
    cluster.reload();
    cluster.up();
    // And at its end the leader leaves, one of those that were there from the beginning.
    assert_eq!(cluster.call(&["transfer", "n2", "--json"]).json()["node"], "n2");
    let said = cluster.call(&["remove", "n2", "--json"]).json();
    assert_eq!((said["node"].as_str(), said["led"].as_bool()), (Some("n2"), Some(true)));
    cluster.reload();
    assert!(cluster.file.nodes.iter().all(|n| n.joins), "one that missed it all must not begin a cluster of its own");
    load.some_more(50).await;
    assert_eq!(names(&cluster.call(&["members", "--json"]).json()), ["n3", "n4", "n5"]);

    // Whoever knew the first three only has followed all the way.
    let (acknowledged, unknown) = load.end().await;
    let statuses = cluster.wait_until_equal().await;
    assert_eq!(statuses.len(), 3);
    // And all of it is there after a restart of all.
    assert_eq!(cluster.call(&["down"]).code, 0);
    cluster.up();
    let again = cluster.wait_until_equal().await;
    assert_eq!(again[0].queues, statuses[0].queues);
    check(&cluster, acknowledged, unknown).await;
}

#[test]
fn bad_input_is_one_line_and_changes_nothing() {
    let cluster = Cluster::start(3, "");
    let refused = |arguments: &[&str], code: i32, line: &str| {
        let said = cluster.call(arguments);
        let expected = (code, "", format!("error: {line}\n"));
        assert_eq!((said.code, said.out.as_str(), said.err), expected, "{arguments:?}");
    };
    let before = cluster.call(&["members", "--json"]).json();
    let leader = before["leader"].as_str().unwrap().to_owned();
    refused(&["add", "a b"], 2, "node name \"a b\": 1 to 64 of a-z A-Z 0-9 . _ -");
    refused(&["add", "n1"], 1, "n1 is a member already, voter");
    refused(&["remove", "n9"], 1, "no member \"n9\": the cluster has n1, n2, n3");
    refused(&["transfer", "n9"], 1, "no member \"n9\": the cluster has n1, n2, n3");
    refused(&["transfer", &leader], 1, &format!("{leader} leads already"));
    refused(&["snapshot", "n9"], 1, "no node \"n9\": the cluster has n1, n2, n3");
    let n1 = cluster.file.nodes[0].api.to_string();
    let elsewhere = ["add", "n7", "--peer", "127.0.0.1:1", "--api"];
    refused(&[&elsewhere[..], &[n1.as_str()]].concat(), 1, &format!("n1 answers at {n1}, not n7"));
    let nobody = "no node answers at 127.0.0.1:2 (connection refused): start it first";
    refused(&[&elsewhere[..], &["127.0.0.1:2"]].concat(), 1, nobody);

    // One of three is down: no other may leave.
    let gone = ["n1", "n2", "n3"].into_iter().find(|n| *n != leader).unwrap();
    let other = ["n1", "n2", "n3"].into_iter().find(|n| *n != leader && *n != gone).unwrap();
    assert_eq!(cluster.call(&["kill", gone, "--hard"]).code, 0);
    let line = format!(
        "without {other} 1 of 2 voters are up and 2 needed: nobody could be elected, nothing committed; --force removes \
         it all the same"
    );
    refused(&["remove", other], 1, &line);
    // The one that is down may.
    assert_eq!(cluster.call(&["remove", gone]).code, 0);
    assert_eq!(cluster.call(&["remove", other]).code, 0);
    refused(&["remove", &leader], 1, &format!("{leader} is the last voter: it stays"));
    let folder = cluster.path(gone);
    let folder = folder.canonicalize().unwrap();
    let line = format!("{gone} was a node of this cluster before ({}): choose another name", folder.display());
    refused(&["add", gone], 1, &line);
    assert_eq!(cluster.call(&["members", "--json"]).json()["members"].as_array().unwrap().len(), 1);
}
