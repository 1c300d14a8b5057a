//! A large snapshot to a node that joins, over a link that is cut in the middle of it, twice.
//!
//! A transfer must be a matter between two nodes. It goes on where it was, whatever becomes of the link; and it is never in
//! the way of what keeps a leader in office, however much of it there is. So everybody is watched, from the first chunk until
//! the learner has applied what its leader has.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use raftdeck::ask;
use raftdeck_shared::wire::{self, NewJob, Role, fault_spec::Fault};

use crate::{
    WITHIN,
    cluster::{Cluster, Said, wait_for},
};

/// Long enough that a machine with other work does not elect in between; the logs are so short that who joins gets a
/// snapshot.
const SETTINGS: &str = "[timing]\nelection_min_ms = 1000\nelection_max_ms = 1500\n[log]\nkeep_entries = 4\nkeep_bytes = \
                        1048576\n[handlers.later]\nexternal = true\n";
const ELECTION_MIN: Duration = Duration::from_millis(1000);

/// Jobs of one bulk, each with a payload of this size.
const BULK_JOBS: u64 = 4;
const PAYLOAD_BYTES: usize = 1 << 20;

/// A transfer is long: it may take this long between two cuts.
const TRANSFER_WITHIN: Duration = Duration::from_secs(300);

/// Who might join: a snapshot that was faster than the second cut proves nothing, and the next one gets another.
const LEARNERS: std::ops::RangeInclusive<u64> = 4..=8;

/// Watches a cluster while a learner gets a snapshot.
struct Watch<'a> {
    cluster: &'a Cluster,
    leader: wire::NodeStatus,
    learner: u64,
    /// When each voter was looked at last, and how long it had not heard the leader then.
    heard: BTreeMap<u64, (Instant, Duration)>,
    seen: Seen,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    /// Of the whole.
    bytes: u64,
    /// The highest offset that was asked for.
    stored: u64,
    /// The file that comes in, and how long it was.
    inode: Option<u64>,
    on_disk: u64,
    /// How much the learner had on its disk when the link was healed, and the first offset that the leader was asked for then.
    resumed: Vec<(u64, u64)>,
    /// The longest that a voter said it had heard nothing, ...
    silent: Duration,
    /// ... and the longest that this may have been between two looks.
    silent_at_most: Duration,
    looks: u64,
}

/// How it stands.
#[derive(Debug, PartialEq, Eq)]
enum Stand {
    /// No byte has been asked for yet.
    Before,
    /// So much was asked for.
    During(u64),
    /// The learner has applied what its leader has.
    Done,
}

impl Watch<'_> {
    fn api(&self) -> String {
        self.cluster.file.nodes.iter().find(|n| n.id.0 == self.leader.node).unwrap().api.to_string()
    }

    fn data(&self, file: &str) -> PathBuf {
        self.cluster.path(&format!("n{}", self.learner)).join(file)
    }

    /// Looks at everybody: nobody campaigns, no term changes, and what is stored never falls.
    async fn look(&mut self) -> Stand {
        let mut leader = None;
        for node in &self.cluster.file.nodes {
            let status = ask::status(&node.api.to_string(), WITHIN).await.unwrap();
            let office = (self.leader.term, self.leader.node);
            assert_eq!((status.term, status.leader), office, "{} elected", status.name);
            if status.node == self.leader.node {
                leader = Some(status);
                continue;
            }
            assert_eq!(status.role(), Role::Follower, "{} campaigns", status.name);
            let (now, silent) = (Instant::now(), Duration::from_millis(status.heard_ms));
            let before = self.heard.insert(status.node, (now, silent));
            let at_most = before.map_or(silent, |(at, silent)| silent + (now - at));
            self.seen.silent = self.seen.silent.max(silent);
            self.seen.silent_at_most = self.seen.silent_at_most.max(at_most);
        }
        self.seen.looks += 1;
        let leader = leader.unwrap();
        assert_eq!(leader.role(), Role::Leader);
        self.look_at_file();
        let applied = self.look_at_learner(&leader).await;
        let peer = leader.peers.iter().find(|p| p.node == self.learner);
        match peer.and_then(|p| p.snapshot).filter(|s| s.bytes > 0) {
            Some(wire::SnapshotProgress { stored, bytes }) => {
                assert!(stored >= self.seen.stored, "{} bytes were stored, now {stored}", self.seen.stored);
                (self.seen.stored, self.seen.bytes) = (stored, bytes);
                Stand::During(stored)
            }
            None if applied.is_some_and(|applied| applied >= leader.applied) => Stand::Done,
            // Put in place, and the log goes on after it.
            None if self.seen.bytes > 0 => Stand::During(self.seen.bytes),
            None => Stand::Before,
        }
    }

    /// It knows no other term, no other leader, and asks for no votes: what it has applied.
    async fn look_at_learner(&self, leader: &wire::NodeStatus) -> Option<u64> {
        let address = leader.known.iter().find(|known| known.node == self.learner)?;
        let status = ask::status(&address.api, WITHIN).await.ok()?; // It may be about to start.
        assert!([0, leader.term].contains(&status.term), "the learner is in term {}", status.term);
        assert!([0, leader.node].contains(&status.leader), "the learner follows {}", status.leader);
        assert_eq!(status.role(), Role::Follower, "the learner campaigns");
        Some(status.applied)
    }

    /// One file, which only grows.
    fn look_at_file(&mut self) {
        let Ok(file) = fs::metadata(self.data("incoming.db")) else { return };
        assert_eq!(*self.seen.inode.get_or_insert(file.ino()), file.ino(), "the snapshot was begun anew");
        assert!(file.len() >= self.seen.on_disk, "{} bytes were on disk, now {}", self.seen.on_disk, file.len());
        self.seen.on_disk = file.len();
    }

    /// Looks until it stands so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Seen, &Stand) -> bool) -> Stand {
        let until = Instant::now() + TRANSFER_WITHIN;
        loop {
            let stand = self.look().await;
            if stand == Stand::Done || is_so(&self.seen, &stand) {
                return stand;
            }
            assert!(Instant::now() < until, "waited {TRANSFER_WITHIN:?} for {what}: {stand:?}, {:?}", self.seen);
        }
    }

    /// Cuts the link once the learner has so many of four parts, until what was on its way has come or is lost, and for longer
    /// than an election takes; then heals it. False if all of it was there before.
    async fn cut_at(&mut self, part: u64) -> bool {
        let is_there = |seen: &Seen, stand: &Stand| matches!(stand, Stand::During(b) if *b >= part * seen.bytes / 4);
        self.until("a part of the snapshot", is_there).await;
        let api = self.api();
        let spec = Some(wire::FaultSpec { fault: Some(Fault::Cut(wire::CutFault { peer: self.learner })) });
        let cut = wire::InjectFaultRequest { spec, ..Default::default() };
        ask::admin(&api).unwrap().inject_fault(cut).await.unwrap();
        let since = Instant::now();
        let mut stand = self.look().await;
        while since.elapsed() < 2 * ELECTION_MIN {
            stand = self.look().await;
        }
        let (on_disk, asked) = (self.seen.on_disk, self.seen.stored);
        ask::admin(&api).unwrap().heal_faults(wire::HealFaultsRequest::default()).await.unwrap();
        if !matches!(stand, Stand::During(stored) if stored < self.seen.bytes && on_disk < self.seen.bytes) {
            return false;
        }
        self.until("more of the snapshot", |seen, _| seen.stored > asked).await;
        self.seen.resumed.push((on_disk, self.seen.stored));
        true
    }
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
    words.take(PAYLOAD_BYTES / 8).flatten().collect()
}

async fn a_learner_joins_over_a_link_that_is_cut_twice(payloads: u64) {
    let mut cluster = Cluster::start(3, SETTINGS);
    let client = cluster.client(None);
    for bulk in 0..payloads.div_ceil(BULK_JOBS) {
        let job = |i| NewJob {
            handler: "later".into(),
            payload: noise(BULK_JOBS * bulk + i + 1).into(),
            ..Default::default()
        };
        client.submit_bulk((0..BULK_JOBS).map(job).collect(), TRANSFER_WITHIN).await.unwrap();
    }
    wait_for("a log without its beginning", TRANSFER_WITHIN, || async {
        cluster.leader().await.filter(|l| l.first > 1)
    })
    .await;
    for learner in LEARNERS {
        let leader = cluster.wait_for_leader().await;
        let started = Instant::now();
        let mut command = cluster.command(&["add", &format!("n{learner}"), "--learner", "--json"]);
        let added = tokio::task::spawn_blocking(move || Said::of(&command.output().unwrap()));
        let (heard, seen) = (BTreeMap::new(), Seen::default());
        let mut watch = Watch { cluster: &cluster, leader: leader.clone(), learner, heard, seen };
        let was_cut = watch.cut_at(1).await && watch.cut_at(2).await;
        watch.until("the learner to have all", |_, stand| *stand == Stand::Done).await;
        let (took, tables) = (started.elapsed(), fs::metadata(watch.data("state.db")).unwrap());
        let seen = watch.seen;
        assert_eq!(added.await.unwrap().json()["role"], "learner");
        cluster.reload();
        if !was_cut {
            println!("{} bytes were faster than the cuts: once more", seen.bytes);
            continue;
        }
        println!("{} bytes in {took:?}, term {}: {seen:?}", seen.bytes, leader.term);
        assert_eq!(Some(tables.ino()), seen.inode, "the tables are the file that came in");
        for (on_disk, asked) in &seen.resumed {
            assert!(*on_disk > 0 && asked >= on_disk, "had {on_disk} bytes, and was then sent those from {asked} on");
        }
        assert!(seen.silent_at_most < ELECTION_MIN, "a voter may have heard nothing for {:?}", seen.silent_at_most);
        let statuses = cluster.wait_until_equal().await;
        assert!(statuses.iter().all(|s| (s.term, s.leader) == (leader.term, leader.node)), "{statuses:?}");
        let learner = statuses.iter().find(|s| s.node == learner).unwrap();
        assert!(learner.first > 1 && learner.live_jobs >= payloads, "{learner:?}");
        return;
    }
    panic!("no snapshot was cut twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_on_where_it_was_cut_and_nobody_campaigns() {
    a_learner_joins_over_a_link_that_is_cut_twice(32).await;
}

/// `cargo build --release && cargo test --release -p raftdeck --test real -- --ignored --nocapture link::a_large`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "256 MiB: takes minutes in a debug build"]
async fn a_large_snapshot_goes_on_where_it_was_cut_and_nobody_campaigns() {
    a_learner_joins_over_a_link_that_is_cut_twice(256).await;
}
