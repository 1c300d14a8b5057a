//! Three real processes: a node that was away for too long, or whose disk lost something, is brought up by its leader.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use raftdeck_shared::{
    client::{Client, channel},
    cluster::{ClusterFile, ExecutorSettings, LogSettings, NodeEntry, Timing},
    ids::NodeId,
    wire::{self, NodeStatus, admin_client::AdminClient, fault_spec::Fault},
};
use tempfile::TempDir;
use tonic::transport::Channel;

const WITHIN: Duration = Duration::from_secs(30);

/// Ends with its test.
struct Process(Child);

impl Process {
    /// As a crash does.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // It may have ended.
        let _ = self.0.wait();
    }
}

struct Cluster {
    home: TempDir,
    file: ClusterFile,
    nodes: Vec<Option<Process>>,
}

impl Cluster {
    /// Starts three nodes that keep next to nothing of their log. Free ports are only known to have been free: if another
    /// has taken one in between, others are tried.
    async fn start() -> Cluster {
        loop {
            let mut cluster = Cluster::of_free_ports();
            for node in 0..3 {
                cluster.up(node);
            }
            let until = Instant::now() + WITHIN;
            while Instant::now() < until {
                let ended = |n: &mut Option<Process>| n.as_mut().is_none_or(|p| p.0.try_wait().unwrap().is_some());
                if cluster.nodes.iter_mut().any(ended) {
                    break;
                }
                if cluster.leader().await.is_some() {
                    return cluster;
                }
            }
        }
    }

    fn of_free_ports() -> Cluster {
        let home = tempfile::tempdir().unwrap();
        let sockets: Vec<_> = (0..6).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<SocketAddr> = sockets.iter().map(|s| s.local_addr().unwrap()).collect();
        let node = |i: usize| NodeEntry {
            id: NodeId(i as u64 + 1),
            name: format!("n{}", i + 1),
            api: ports[2 * i],
            peer: ports[2 * i + 1],
            joins: false,
        };
        let file = ClusterFile {
            cluster_id: "refill".into(),
            enable_faults: true,
            allow_remote: false,
            // Long enough that a machine with other work does not elect in between.
            timing: Timing { election_min_ms: 1000, election_max_ms: 1500, ..Default::default() },
            log: LogSettings { keep_entries: 4, keep_bytes: 1 << 20 },
            executor: ExecutorSettings { concurrency: 0, ..Default::default() },
            nodes: (0..3).map(node).collect(),
            handlers: [].into(),
        };
        fs::write(home.path().join("cluster.toml"), file.to_toml()).unwrap();
        Cluster { home, file, nodes: vec![None, None, None] }
    }

    fn data(&self, node: usize) -> PathBuf {
        self.home.path().join(&self.file.nodes[node].name)
    }

    fn log_of(&self, node: usize) -> String {
        fs::read_to_string(self.home.path().join(format!("{}.log", self.file.nodes[node].name))).unwrap()
    }

    fn up(&mut self, node: usize) {
        let name = &self.file.nodes[node].name;
        let child = Command::new(env!("CARGO_BIN_EXE_raftdeck-node"))
            .args(["--node", name, "--cluster"])
            .arg(self.home.path().join("cluster.toml"))
            .arg("--data")
            .arg(self.data(node))
            .arg("--log-file")
            .arg(self.home.path().join(format!("{name}.log")))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.nodes[node] = Some(Process(child));
    }

    fn kill(&mut self, node: usize) {
        self.nodes[node].take().unwrap().kill();
    }

    fn admin(&self, node: usize) -> AdminClient<Channel> {
        AdminClient::new(channel(&self.file.nodes[node].api.to_string()).unwrap())
    }

    fn client(&self) -> Client {
        Client::new(self.file.nodes.iter().map(|n| n.api.to_string())).unwrap()
    }

    async fn status(&self, node: usize) -> Option<NodeStatus> {
        self.admin(node).status(wire::StatusRequest {}).await.ok().map(|reply| reply.into_inner())
    }

    async fn leader(&self) -> Option<usize> {
        for node in (0..3).filter(|n| self.nodes[*n].is_some()) {
            if self.status(node).await.is_some_and(|s| s.role() == wire::Role::Leader) {
                return Some(node);
            }
        }
        None
    }

    async fn until(&self, node: usize, what: &str, is_so: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        let until = Instant::now() + WITHIN;
        let mut last = None;
        while Instant::now() < until {
            last = self.status(node).await;
            if let Some(status) = last.take_if(|s| is_so(s)) {
                return status;
            }
        }
        panic!("n{} is not {what}: {last:?}\n{}", node + 1, self.log_of(node));
    }

    /// Both have applied all that the leader has, and say the same. They are read one after the other, and what was applied
    /// in between is no difference: two states are compared as of one index.
    async fn equal(&self, leader: usize, node: usize) {
        let goal = self.status(leader).await.unwrap().applied;
        let until = Instant::now() + WITHIN;
        loop {
            let there = self.until(leader, "as far as it was", |s| s.applied >= goal).await;
            let here = self.until(node, "as far as its leader", |s| s.applied >= there.applied && !s.damaged).await;
            if here.applied == there.applied {
                assert_eq!(here.state_hash, there.state_hash, "as of {}", here.applied);
                return;
            }
            assert!(Instant::now() < until, "never seen as of one index: {} and {}", here.applied, there.applied);
        }
    }

    /// Payloads that no executor will run.
    async fn submit(&self, count: usize) {
        let client = self.client();
        for _ in 0..count {
            let job = wire::NewJob { handler: "echo".into(), payload: vec![7; 400 << 10].into(), ..Default::default() };
            client.submit(job, WITHIN).await.unwrap();
        }
    }

    async fn cut(&self, from: usize, peer: usize) {
        let fault = Fault::Cut(wire::CutFault { peer: peer as u64 + 1 });
        let spec = Some(wire::FaultSpec { fault: Some(fault) });
        let request = wire::InjectFaultRequest { spec, ..Default::default() };
        self.admin(from).inject_fault(request).await.unwrap();
    }

    async fn heal(&self, node: usize) {
        self.admin(node).heal_faults(wire::HealFaultsRequest::default()).await.unwrap();
    }
}

/// A follower was away for so long that it needs the tables, and the link breaks when it has less than half of the file:
/// what it has.
async fn half_a_snapshot(cluster: &mut Cluster, leader: usize, away: usize) -> fs::Metadata {
    let incoming = cluster.data(away).join("incoming.db");
    let size = || fs::metadata(&incoming).map_or(0, |m| m.len());
    let sent = cluster.data(leader).join("snapshot.db");
    // The whole may be there before the cut is: then another try, with more to send.
    loop {
        let seen = cluster.until(away, "up", |s| s.applied > 0 && s.leader != 0).await.last;
        cluster.kill(away);
        cluster.submit(40).await;
        cluster.until(leader, "without what the other needs", |s| s.first > seen + 1).await;
        cluster.up(away);
        let until = Instant::now() + WITHIN;
        while size() < 2 << 20 && !cluster.log_of(away).contains("the tables are those of a snapshot") {
            assert!(Instant::now() < until, "no snapshot comes: {}", cluster.log_of(leader));
            tokio::task::yield_now().await;
        }
        cluster.cut(leader, away).await;
        if let Ok(half) = fs::metadata(&incoming)
            && half.len() < fs::metadata(&sent).unwrap().len() / 2
        {
            return half;
        }
        cluster.heal(leader).await;
        fs::write(cluster.home.path().join(format!("n{}.log", away + 1)), "").unwrap();
    }
}

/// A follower whose entries are gone gets the tables as a file. The link is cut in the middle of it and the follower
/// crashes, too: it goes on where it was, and nobody's term changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_gets_a_snapshot_over_a_link_that_breaks() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await.unwrap();
    let away = (leader + 1) % 3;
    let half = half_a_snapshot(&mut cluster, leader, away).await;
    let (inode, stored) = (half.ino(), half.len());
    assert!(stored >= 2 << 20);
    let term = cluster.status(leader).await.unwrap().term;
    cluster.kill(away);
    cluster.up(away);
    cluster.until(away, "up", |_| true).await;
    cluster.heal(leader).await;
    cluster.equal(leader, away).await;
    // The file that was half here became the tables: it was never begun anew.
    let state = fs::metadata(cluster.data(away).join("state.db")).unwrap();
    assert_eq!(state.ino(), inode, "{}", cluster.log_of(away));
    assert!(cluster.log_of(away).contains("goes on at byte"), "{}", cluster.log_of(away));
    let status = cluster.status(away).await.unwrap();
    assert_eq!((status.term, cluster.leader().await), (term, Some(leader)));
    assert!(status.first > 1 && !status.damaged);
    println!("{}", cluster.log_of(away).lines().filter(|l| l.contains("snapshot")).collect::<Vec<_>>().join("\n"));
    println!("{}", cluster.log_of(leader).lines().filter(|l| l.contains("snapshot")).collect::<Vec<_>>().join("\n"));
    // It serves jobs from its new tables, takes part, and comes back once more.
    cluster.submit(2).await;
    cluster.equal(leader, away).await;
    cluster.kill(away);
    cluster.up(away);
    cluster.equal(leader, away).await;
    assert!(!cluster.log_of(away).contains("damaged"), "{}", cluster.log_of(away));
}

/// The file that is sent rots in the middle of it: the rest is not sent, another one is made, and the follower gets that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_rots_while_it_is_sent_is_made_anew() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await.unwrap();
    let away = (leader + 1) % 3;
    half_a_snapshot(&mut cluster, leader, away).await;
    let term = cluster.status(leader).await.unwrap().term;
    let lines = |node: usize, what: &str| cluster.log_of(node).lines().filter(|l| l.contains(what)).count();
    let made = lines(leader, "made a snapshot as of");
    // One bit, in the last chunk.
    let file = fs::OpenOptions::new().read(true).write(true).open(cluster.data(leader).join("snapshot.db")).unwrap();
    let (last, mut byte) = (file.metadata().unwrap().len() - 1, [0]);
    file.read_exact_at(&mut byte, last).unwrap();
    file.write_all_at(&[byte[0] ^ 1], last).unwrap();
    cluster.heal(leader).await;
    cluster.equal(leader, away).await;
    let found = (lines(leader, "is not what it was at byte"), lines(leader, "made a snapshot as of"));
    assert_eq!(found, (1, made + 1), "{}", cluster.log_of(leader));
    assert_eq!(lines(away, "is not what it should be"), 0, "what is rotten was sent");
    assert_eq!((cluster.status(away).await.unwrap().term, cluster.leader().await), (term, Some(leader)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_log_is_refilled_and_one_that_lost_its_mark_begins_again() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await.unwrap();
    let hurt = (leader + 1) % 3;
    cluster.submit(3).await;
    cluster.equal(leader, hurt).await;
    let before = cluster.until(leader, "bound", |s| s.membership.as_ref().is_some_and(|m| m.bindings.len() == 3)).await;

    cluster.kill(hurt);
    for file in ["log.db", "log.db-wal", "state.db", "state.db-wal"] {
        let path = cluster.data(hurt).join(file);
        if let Ok(mut bytes) = fs::read(&path) {
            bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::write(path, bytes).unwrap();
        }
    }
    cluster.up(hurt);
    cluster.equal(leader, hurt).await;
    let log = cluster.log_of(hurt);
    assert!(log.contains("damaged: ") && log.contains("waits for a leader to refill it"), "{log}");
    let now = cluster.status(leader).await.unwrap();
    assert_eq!((now.term, now.membership), (before.term, before.membership.clone()), "it is who it was");

    cluster.kill(hurt);
    fs::remove_file(cluster.data(hurt).join("mark")).unwrap();
    cluster.up(hurt);
    let node = hurt as u64 + 1;
    let bound = |s: &NodeStatus| {
        let membership = s.membership.clone().unwrap_or_default();
        let binding = membership.bindings.iter().find(|b| b.node == node).map(|b| b.storage_id.clone());
        membership.voters.contains(&node).then_some(binding).flatten()
    };
    let old = bound(&before).unwrap();
    cluster.until(leader, "taking it in again", |s| bound(s).is_some_and(|id| id != old)).await;
    cluster.equal(leader, hurt).await;
    // It may fall and come back again: it stays who it is now.
    cluster.kill(hurt);
    cluster.up(hurt);
    cluster.equal(leader, hurt).await;
    let now = cluster.status(leader).await.unwrap();
    assert_eq!(now.term, before.term, "nobody campaigned");
}
