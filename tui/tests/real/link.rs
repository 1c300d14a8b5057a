//! A large snapshot to a node that joins, over a link that is cut in the middle of it, twice.
//!
//! A transfer must be a matter between two nodes. It goes on where it was, whatever becomes of the link; and it is never in
//! the way of what keeps a leader in office, however much of it there is.

use std::time::{Duration, Instant};

use raftdeck::ask;
use raftdeck_shared::wire::{self, NewJob, fault_spec::Fault};

use crate::{
    WITHIN,
    cluster::{Cluster, Said, wait_for},
};

/// Long enough that a machine with other work does not elect in between; the logs are so short that who joins gets a
/// snapshot.
const SETTINGS: &str = "[timing]\nelection_min_ms = 1000\nelection_max_ms = 1500\n[log]\nkeep_entries = 4\nkeep_bytes = \
                        1048576\n[handlers.later]\nexternal = true\n";
const ELECTION_MIN_MS: u64 = 1000;

/// One bulk.
const BULK_BYTES: usize = 4 << 20;

/// A transfer is long: it may take this long between two cuts.
const TRANSFER_WITHIN: Duration = Duration::from_secs(300);

/// What was seen of the cluster while a snapshot was on its way.
#[derive(Default)]
struct Seen {
    /// How much the learner had when its link was cut, and the first that it had more, bytes.
    resumed: Vec<(u64, u64)>,
    bytes: u64,
    stored: u64,
    /// The longest silence of the leader that a voter saw.
    heard_ms_max: u64,
    /// The longest that a status took.
    status_max: Duration,
    took: Duration,
}

impl Seen {
    /// Looks at everybody: nobody campaigns, and what is stored never falls. How much the learner has, if it gets a snapshot.
    async fn look(&mut self, cluster: &Cluster, leader: &wire::NodeStatus, learner: u64) -> Option<u64> {
        for node in &cluster.file.nodes {
            let asked = Instant::now();
            let status = ask::status(&node.api.to_string(), WITHIN).await.unwrap();
            self.status_max = self.status_max.max(asked.elapsed());
            assert_eq!((status.term, status.leader), (leader.term, leader.node), "{} elected", status.name);
            self.heard_ms_max = self.heard_ms_max.max(status.heard_ms);
        }
        self.look_at_leader(cluster, leader, learner).await
    }

    async fn look_at_leader(&mut self, cluster: &Cluster, leader: &wire::NodeStatus, learner: u64) -> Option<u64> {
        let status = ask::status(&api(cluster, leader), WITHIN).await.unwrap();
        let peer = status.peers.iter().find(|p| p.node == learner)?;
        let progress = peer.snapshot.filter(|s| s.bytes > 0)?;
        assert!(progress.stored >= self.stored, "{} bytes were stored, now {}", self.stored, progress.stored);
        (self.stored, self.bytes) = (progress.stored, progress.bytes);
        Some(progress.stored)
    }

    /// Cuts the link once the learner has `part` of four parts, until both ends know it; then heals it.
    async fn cut_at(&mut self, part: u64, cluster: &Cluster, leader: &wire::NodeStatus, learner: u64) -> bool {
        let until = Instant::now() + TRANSFER_WITHIN;
        while self.look_at_leader(cluster, leader, learner).await.is_none_or(|s| s == 0 || s < part * self.bytes / 4) {
            if self.bytes > 0 && self.look_at_leader(cluster, leader, learner).await.is_none() {
                return false; // It was faster.
            }
            assert!(Instant::now() < until, "no snapshot is sent");
        }
        let api = api(cluster, leader);
        let spec = Some(wire::FaultSpec { fault: Some(Fault::Cut(wire::CutFault { peer: learner })) });
        let cut = wire::InjectFaultRequest { spec, ..Default::default() };
        ask::admin(&api).unwrap().inject_fault(cut).await.unwrap();
        let mut last = 0;
        // Longer than an election takes: what was on its way has come or is lost, and the learner hears nobody.
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(2 * ELECTION_MIN_MS) {
            match self.look(cluster, leader, learner).await {
                Some(stored) => last = stored,
                None => return false,
            }
        }
        ask::admin(&api).unwrap().heal_faults(wire::HealFaultsRequest::default()).await.unwrap();
        let until = Instant::now() + TRANSFER_WITHIN;
        while self.stored <= last {
            if self.look(cluster, leader, learner).await.is_none() {
                break; // All the rest of it came at once.
            }
            assert!(Instant::now() < until, "nothing comes after {last} bytes");
        }
        self.resumed.push((last, self.stored));
        true
    }
}

fn api(cluster: &Cluster, node: &wire::NodeStatus) -> String {
    cluster.file.nodes.iter().find(|n| n.id.0 == node.node).unwrap().api.to_string()
}

/// Bytes that no file system and no page of a table makes smaller.
fn noise(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    });
    words.take((1 << 20) / 8).flatten().collect()
}

async fn a_learner_joins_over_a_link_that_is_cut_twice(bytes: usize) {
    let mut cluster = Cluster::start(3, SETTINGS);
    let client = cluster.client(None);
    for bulk in 0..bytes.div_ceil(BULK_BYTES) as u64 {
        let job = |i| NewJob { handler: "later".into(), payload: noise(4 * bulk + i + 1).into(), ..Default::default() };
        client.submit_bulk((0..4).map(job).collect(), TRANSFER_WITHIN).await.unwrap();
    }
    let leader = cluster.wait_for_leader().await;
    wait_for("a log without its beginning", TRANSFER_WITHIN, || async {
        cluster.leader().await.filter(|l| l.first > 1)
    })
    .await;

    let mut seen = Seen::default();
    let started = Instant::now();
    let mut command = cluster.command(&["add", "n4", "--learner", "--json"]);
    let added = tokio::task::spawn_blocking(move || Said::of(&command.output().unwrap()));
    let cut = [seen.cut_at(1, &cluster, &leader, 4).await, seen.cut_at(2, &cluster, &leader, 4).await];
    while !added.is_finished() {
        let _ = seen.look(&cluster, &leader, 4).await;
    }
    assert_eq!(added.await.unwrap().json()["role"], "learner");
    seen.took = started.elapsed();
    cluster.reload();
    let statuses = cluster.wait_until_equal().await;
    assert!(statuses.iter().all(|s| (s.term, s.leader) == (leader.term, leader.node)));
    let n4 = statuses.iter().find(|s| s.name == "n4").unwrap();
    assert!(n4.first > 1 && n4.live_jobs >= (bytes >> 20) as u64, "{n4:?}");
    println!(
        "{} bytes, cut and resumed at {:?}, {:?} in all, heard within {} ms, a status within {:?}, term {} all the time",
        seen.bytes, seen.resumed, seen.took, seen.heard_ms_max, seen.status_max, leader.term
    );
    assert_eq!(cut, [true, true], "the link was not cut in the middle");
    assert!(seen.resumed.iter().all(|(cut, _)| *cut > 0));
    assert!(seen.heard_ms_max < ELECTION_MIN_MS, "a voter heard nothing for {} ms", seen.heard_ms_max);
    for name in ["n1", "n2", "n3", "n4"] {
        let log = std::fs::read_to_string(cluster.path(name).join("node.log")).unwrap_or_default();
        log.lines().filter(|l| l.contains("snapshot")).for_each(|l| println!("{name}: {l}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_on_where_it_was_cut_and_nobody_campaigns() {
    a_learner_joins_over_a_link_that_is_cut_twice(32 << 20).await;
}

/// In release: `cargo test --release -p raftdeck --test real -- --ignored --nocapture large`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes in a debug build"]
async fn a_large_snapshot_goes_on_where_it_was_cut_and_nobody_campaigns() {
    a_learner_joins_over_a_link_that_is_cut_twice(256 << 20).await;
}
