//! The cluster file: one TOML file that serves every node, the command line and the console.
//!
//! ```toml
//! cluster_id = "demo-5"
//! enable_faults = true
//!
//! [[nodes]]
//! id = 1                       # never reused; the name is for people
//! name = "n1"                  # "n<id>" unless given
//! api = "127.0.0.1:7101"       # clients, workers, console
//! peer = "127.0.0.1:7201"      # other nodes only
//!
//! [log]
//! keep_entries = 10000         # a node that lags by more is sent the tables instead
//!
//! [handlers.count]
//! command = ["wc", "-w"]       # argv, never a shell; the payload comes on stdin
//! timeout_ms = 60000
//!
//! [handlers.report]
//! external = true              # run by workers of your own, not by the nodes
//! ```
//!
//! Laws: node ids and names are unique, no address is used twice, addresses are loopback unless `allow_remote = true`
//! says otherwise, a handler has either a command or `external`, and an unknown key is an error (a misspelt limit that
//! is silently ignored is worse than a refusal). Each error names the file and the line.

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// Handlers that every node has without a line in the cluster file.
pub const BUILT_IN_HANDLERS: [&str; 3] = ["echo", "fail", "sleep"];

/// Members of one cluster: more would only make every write slower.
pub const NODES_MAX: usize = 63;

/// A parsed and checked cluster file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// Nodes and data directories of another cluster are refused by this name.
    pub cluster_id: String,
    /// Faults may be injected over the api. Off unless said.
    #[serde(default)]
    pub enable_faults: bool,
    /// Listeners may bind to addresses that other machines can reach. Off unless said: there is no authentication yet.
    #[serde(default)]
    pub allow_remote: bool,
    /// Clocks of the consensus.
    #[serde(default)]
    pub timing: Timing,
    /// How much of the log each node keeps.
    #[serde(default)]
    pub log: LogSettings,
    /// Of the executor that each node runs.
    #[serde(default)]
    pub executor: ExecutorSettings,
    /// The members.
    pub nodes: Vec<NodeEntry>,
    /// What jobs may ask for, by name.
    #[serde(default)]
    pub handlers: BTreeMap<String, Handler>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawNode")]
pub struct NodeEntry {
    /// The number that logs and messages carry.
    pub id: NodeId,
    /// The name that people use.
    pub name: String,
    /// Listener for clients, workers and the console.
    pub api: SocketAddr,
    /// Listener for the other nodes.
    pub peer: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    id: u64,
    name: Option<String>,
    api: SocketAddr,
    peer: SocketAddr,
}

impl TryFrom<RawNode> for NodeEntry {
    type Error = String;

    fn try_from(raw: RawNode) -> Result<Self, String> {
        if raw.id == 0 {
            return Err("node id 0: ids start at 1".into());
        }
        let name = raw.name.unwrap_or_else(|| format!("n{}", raw.id));
        check_name("node name", &name)?;
        Ok(NodeEntry { id: NodeId(raw.id), name, api: raw.api, peer: raw.peer })
    }
}

/// Clocks of the consensus, in milliseconds of each node's own monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// Resolution of the two others.
    pub tick_ms: u64,
    /// A leader says this often that it is there.
    pub heartbeat_ms: u64,
    /// A follower that hears no leader for a time drawn from here on ...
    pub election_min_ms: u64,
    /// ... to here asks for votes.
    pub election_max_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { tick_ms: 10, heartbeat_ms: 50, election_min_ms: 300, election_max_ms: 600 }
    }
}

/// How much of the log each node keeps behind what its tables have: a node that was away for less is brought up entry by
/// entry, one that was away for longer gets the tables as a file. The log is cut when it holds twice as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// So many entries ...
    pub keep_entries: u64,
    /// ... or bytes, whichever is less.
    pub keep_bytes: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { keep_entries: 10_000, keep_bytes: 64 << 20 }
    }
}

/// Settings of the executor that each node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutorSettings {
    /// Jobs that one node runs at a time; 0 runs none.
    pub concurrency: u32,
    /// A node that dies gives its jobs back after this long; it renews at a third of it.
    pub lease_ms: u64,
    /// Output kept of one execution: its last bytes, as the job's result or in its error.
    pub output_bytes_max: usize,
}

impl Default for ExecutorSettings {
    fn default() -> Self {
        ExecutorSettings { concurrency: 4, lease_ms: 10_000, output_bytes_max: 16 * 1024 }
    }
}

/// What a job may name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawHandler")]
pub struct Handler {
    /// Program and arguments. Empty for an external handler.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Claimed by workers outside the nodes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Of one execution, unless the job says less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHandler {
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    external: bool,
    timeout_ms: Option<u64>,
}

impl TryFrom<RawHandler> for Handler {
    type Error = &'static str;

    fn try_from(raw: RawHandler) -> Result<Self, Self::Error> {
        match (raw.command.first().map(String::as_str), raw.external) {
            (Some(""), _) => Err("the command's program is empty"),
            (Some(_), true) => Err("a handler has either a command or external = true, not both"),
            (None, false) => Err("a handler needs command = [\"PROGRAM\", \"ARG\", ..] or external = true"),
            (Some(_), false) | (None, true) if raw.timeout_ms == Some(0) => Err("timeout_ms = 0 would kill at once"),
            (Some(_), false) | (None, true) => {
                Ok(Handler { command: raw.command, external: raw.external, timeout_ms: raw.timeout_ms })
            }
        }
    }
}

/// Why a cluster file is not taken, in one line: `FILE:LINE: what is wrong`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFileError {
    /// The file as it was named.
    pub path: PathBuf,
    /// The line, from 1; none when the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ClusterFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.message),
            None => write!(f, "{}: {}", self.path.display(), self.message),
        }
    }
}

impl std::error::Error for ClusterFileError {}

/// A file that holds nothing but `[handlers.NAME]` tables, as `up --handlers FILE` takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HandlersFile {
    handlers: BTreeMap<String, Handler>,
}

impl ClusterFile {
    /// Reads and checks a cluster file.
    ///
    /// # Errors
    /// One line with file, line and reason.
    pub fn load(path: &Path) -> Result<ClusterFile, ClusterFileError> {
        let text = read(path)?;
        let file: ClusterFile = parse(path, &text)?;
        file.check().map_err(|(needle, message)| ClusterFileError {
            path: path.to_owned(),
            line: line_of(&text, &needle),
            message,
        })?;
        Ok(file)
    }

    /// Reads the handlers of a file of `[handlers.NAME]` tables.
    ///
    /// # Errors
    /// One line with file, line and reason.
    pub fn load_handlers(path: &Path) -> Result<BTreeMap<String, Handler>, ClusterFileError> {
        let text = read(path)?;
        let file: HandlersFile = parse(path, &text)?;
        for name in file.handlers.keys() {
            check_handler_name(name).map_err(|message| ClusterFileError {
                path: path.to_owned(),
                line: line_of(&text, name),
                message,
            })?;
        }
        Ok(file.handlers)
    }

    /// The file as text, as `up` writes it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a cluster file has no value that TOML cannot hold")
    }

    /// The node of this name, or of this number.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeEntry> {
        let by_number = name.parse().ok().map(NodeId);
        self.nodes.iter().find(|n| n.name == name).or_else(|| self.nodes.iter().find(|n| Some(n.id) == by_number))
    }

    /// The node of this id.
    #[must_use]
    pub fn by_id(&self, id: NodeId) -> Option<&NodeEntry> {
        self.nodes.iter().find(|n| n.id == id)
    }

    /// The name of a node, or its bare number if the file does not know it.
    #[must_use]
    pub fn name_of(&self, id: NodeId) -> String {
        self.by_id(id).map_or_else(|| id.to_string(), |n| n.name.clone())
    }

    /// Whether a job may name this handler.
    #[must_use]
    pub fn knows_handler(&self, name: &str) -> bool {
        BUILT_IN_HANDLERS.contains(&name) || self.handlers.contains_key(name)
    }

    /// The laws that a type cannot hold. The error carries a text to look for, which finds the line.
    fn check(&self) -> Result<(), (String, String)> {
        let at = |needle: &str, message: String| Err((needle.to_owned(), message));
        if let Err(message) = check_name("cluster_id", &self.cluster_id) {
            return at("cluster_id", message);
        }
        if self.nodes.is_empty() || self.nodes.len() > NODES_MAX {
            return at("nodes", format!("{} nodes: a cluster has 1 to {NODES_MAX}", self.nodes.len()));
        }
        let (mut ids, mut names, mut addresses) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for node in &self.nodes {
            if ids.insert(node.id, ()).is_some() {
                return at(&format!("id = {}", node.id.0), format!("node id {} is used twice", node.id.0));
            }
            if names.insert(&node.name, ()).is_some() {
                return at(&node.name, format!("node name {:?} is used twice", node.name));
            }
            for address in [node.api, node.peer] {
                if addresses.insert(address, ()).is_some() {
                    return at(&address.to_string(), format!("address {address} is used twice"));
                }
                if !self.allow_remote && !address.ip().is_loopback() {
                    let message = format!("address {address} is not loopback; allow_remote = true permits it");
                    return at(&address.to_string(), message);
                }
            }
        }
        let Timing { tick_ms, heartbeat_ms, election_min_ms, election_max_ms } = self.timing;
        if tick_ms == 0 || heartbeat_ms < tick_ms {
            return at("tick_ms", format!("timing: tick {tick_ms} ms must be 1 ms to heartbeat_ms ({heartbeat_ms})"));
        }
        if election_min_ms < 3 * heartbeat_ms || election_max_ms <= election_min_ms {
            let message = format!(
                "timing: election {election_min_ms}..{election_max_ms} ms must start at 3 heartbeats or more ({} ms) and be a range",
                3 * heartbeat_ms
            );
            return at("election_", message);
        }
        if self.log.keep_entries == 0 {
            return at(
                "keep_entries",
                "keep_entries = 0: a follower that lags by one entry would need all the tables".into(),
            );
        }
        if self.log.keep_bytes < 1 << 10 {
            return at("keep_bytes", format!("keep_bytes {}: 1024 or more", self.log.keep_bytes));
        }
        if !(1_000..=3_600_000).contains(&self.executor.lease_ms) {
            return at("lease_ms", format!("lease_ms {}: 1000 to 3600000", self.executor.lease_ms));
        }
        if self.executor.output_bytes_max > raftdeck_jobs::limits::RESULT_BYTES_MAX {
            let limit = raftdeck_jobs::limits::RESULT_BYTES_MAX;
            return at("output_bytes_max", format!("output_bytes_max: the limit is {limit}"));
        }
        for name in self.handlers.keys() {
            if let Err(message) = check_handler_name(name) {
                return at(name, message);
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, ClusterFileError> {
    fs::read_to_string(path).map_err(|e| ClusterFileError { path: path.to_owned(), line: None, message: e.to_string() })
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, ClusterFileError> {
    toml::from_str(text).map_err(|e| ClusterFileError {
        path: path.to_owned(),
        line: e.span().map(|span| line_at(text, span.start)),
        message: e.message().trim().replace('\n', ", "),
    })
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(format!("{what} {name:?}: 1 to 64 of a-z A-Z 0-9 . _ -"));
    }
    Ok(())
}

fn check_handler_name(name: &str) -> Result<(), String> {
    if BUILT_IN_HANDLERS.contains(&name) {
        return Err(format!("handler {name:?} is built in and cannot be replaced"));
    }
    check_name("handler", name)
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count()
}

/// The last line that holds the needle: of two equal values the second is the one that is too many.
fn line_of(text: &str, needle: &str) -> Option<usize> {
    text.lines().enumerate().filter(|(_, line)| line.contains(needle)).map(|(i, _)| i + 1).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
cluster_id = "demo"

[[nodes]]
id = 1
api = "127.0.0.1:7101"
peer = "127.0.0.1:7201"

[[nodes]]
id = 2
name = "two"
api = "127.0.0.1:7102"
peer = "127.0.0.1:7202"

[handlers.count]
command = ["wc", "-w"]
"#;

    fn load(text: &str) -> Result<ClusterFile, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.toml");
        fs::write(&path, text).unwrap();
        ClusterFile::load(&path).map_err(|e| e.to_string().replace(&*dir.path().to_string_lossy(), "DIR"))
    }

    #[test]
    fn a_good_file_is_read_and_written_back_the_same() {
        let file = load(GOOD).unwrap();
        assert_eq!(file.nodes[0].name, "n1");
        assert_eq!(file.node("two").unwrap().id, NodeId(2));
        assert_eq!(file.node("2").unwrap().name, "two");
        assert!(file.knows_handler("count") && file.knows_handler("echo") && !file.knows_handler("nope"));
        assert_eq!(load(&file.to_toml()).unwrap(), file);
    }

    #[test]
    fn each_error_names_the_file_and_the_line() {
        for (from, to, error) in [
            ("id = 2", "id = 1", "DIR/cluster.toml:10: node id 1 is used twice"),
            ("7202", "7101", "DIR/cluster.toml:13: address 127.0.0.1:7101 is used twice"),
            (
                "127.0.0.1:7102",
                "10.1.1.1:1",
                "DIR/cluster.toml:12: address 10.1.1.1:1 is not loopback; allow_remote = true permits it",
            ),
            (
                "name = \"two\"",
                "nmae = \"two\"",
                "DIR/cluster.toml:11: unknown field `nmae`, expected one of `id`, `name`, `api`, `peer`",
            ),
            ("127.0.0.1:7102", "127.0.0.1:x", "DIR/cluster.toml:12: invalid socket address syntax"),
            (
                "handlers.count",
                "handlers.echo",
                "DIR/cluster.toml:15: handler \"echo\" is built in and cannot be replaced",
            ),
            (
                "command = [\"wc\", \"-w\"]",
                "",
                "DIR/cluster.toml:15: a handler needs command = [\"PROGRAM\", \"ARG\", ..] or external = true",
            ),
            (
                "[handlers.count]",
                "[log]\nkeep_entries = 0\n[handlers.count]",
                "DIR/cluster.toml:16: keep_entries = 0: a follower that lags by one entry would need all the tables",
            ),
            (
                "[handlers.count]",
                "[log]\nkeep_bytes = 9\n[handlers.count]",
                "DIR/cluster.toml:16: keep_bytes 9: 1024 or more",
            ),
        ] {
            assert_eq!(load(&GOOD.replace(from, to)).unwrap_err(), error);
        }
        assert!(load("cluster_id = \"x\"\nnodes = [\n").unwrap_err().starts_with("DIR/cluster.toml:2: "));
    }
}
