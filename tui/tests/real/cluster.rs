//! A cluster of real processes, started and stopped through the command line, as its users do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use raftdeck_shared::{
    client::{Client, channel},
    cluster::ClusterFile,
    wire::{self, jobs_client::JobsClient},
};
use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::Channel;

/// Stops its nodes when it goes out of scope.
pub(crate) struct Cluster {
    dir: TempDir,
    pub(crate) file: ClusterFile,
}

/// What one call said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// The node's program lies beside this crate's own. `cargo test --workspace` builds both.
pub(crate) fn node_program() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_raftdeck")).with_file_name("raftdeck-node");
    assert!(path.exists(), "{} is not built: cargo build --workspace", path.display());
    path
}

impl Cluster {
    /// Starts so many nodes with these handlers (TOML) and short leases, and waits for their leader.
    pub(crate) fn start(nodes: usize, handlers: &str) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let mut text = String::from("cluster_id = \"test\"\nenable_faults = true\n[executor]\nlease_ms = 1500\n");
        for (place, (api, peer)) in raftdeck::launch::ports::free(nodes).unwrap().into_iter().enumerate() {
            text += &format!("[[nodes]]\nid = {}\napi = \"{api}\"\npeer = \"{peer}\"\n", place + 1);
        }
        text += handlers;
        let path = dir.path().join("cluster.toml");
        fs::write(&path, text).unwrap();
        let cluster = Cluster { file: ClusterFile::load(&path).unwrap(), dir };
        cluster.up();
        cluster
    }

    /// Starts what does not run, and waits for a leader.
    pub(crate) fn up(&self) {
        let said = self.call(&["up", "--bg"]);
        assert_eq!(said.code, 0, "{said:?}");
    }

    /// Calls the command line.
    pub(crate) fn call(&self, arguments: &[&str]) -> Said {
        Said::of(&self.command(arguments).output().unwrap())
    }

    /// A call of the command line.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftdeck"));
        command.args(arguments).arg("--dir").arg(self.dir.path()).env("RAFTDECK_NODE", node_program());
        command.env_remove("TMUX").env_remove("RAFTDECK_CLUSTER").env_remove("RAFTDECK_CONNECT").stdin(Stdio::null());
        command
    }

    /// Reads the cluster file again: nodes were added or removed.
    pub(crate) fn reload(&mut self) {
        self.file = ClusterFile::load(&self.path("cluster.toml")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A client of all nodes, or of one.
    pub(crate) fn client(&self, only: Option<&str>) -> Client {
        let nodes = self.file.nodes.iter().filter(|n| only.is_none_or(|name| n.name == name));
        Client::new(nodes.map(|n| n.api.to_string())).unwrap()
    }

    /// To one node alone: a [`Client`] that learns who leads would go there.
    pub(crate) fn jobs(&self, name: &str) -> JobsClient<Channel> {
        JobsClient::new(channel(&self.file.node(name).unwrap().api.to_string()).unwrap())
    }

    /// The state of every node that answers.
    pub(crate) async fn statuses(&self) -> Vec<wire::NodeStatus> {
        let mut statuses = Vec::new();
        for node in &self.file.nodes {
            if let Ok(status) = raftdeck::ask::status(&node.api.to_string(), Duration::from_secs(1)).await {
                statuses.push(status);
            }
        }
        statuses
    }

    /// The leader of the highest term.
    pub(crate) async fn leader(&self) -> Option<wire::NodeStatus> {
        let leaders = self.statuses().await.into_iter().filter(|s| s.role() == wire::Role::Leader);
        leaders.max_by_key(|s| s.term)
    }

    /// The leader, once there is one.
    pub(crate) async fn wait_for_leader(&self) -> wire::NodeStatus {
        wait_for("a leader", Duration::from_secs(20), || self.leader()).await
    }

    /// All nodes with one log, one commit index and one state.
    pub(crate) async fn wait_until_equal(&self) -> Vec<wire::NodeStatus> {
        let all = self.file.nodes.len();
        wait_for("equal logs and states", Duration::from_secs(20), || async {
            let statuses = self.statuses().await;
            let key = |s: &wire::NodeStatus| (s.term, s.last, s.commit, s.applied, s.state_hash, s.log_tail.clone());
            let equal = statuses.len() == all && statuses.iter().all(|s| key(s) == key(&statuses[0]));
            (equal && statuses[0].last == statuses[0].commit).then_some(statuses)
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.call(&["down"]);
    }
}

/// SIGKILL, to all of them in one breath.
pub(crate) fn kill_9(pids: impl IntoIterator<Item = u32>) {
    for pid in pids {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn wait_for<T, F: Future<Output = Option<T>>>(what: &str, within: Duration, ask: impl Fn() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < within, "waited {within:?} for {what}");
        tokio::task::yield_now().await;
    }
}
