//! Waiting until started nodes answer and agree on a leader.
//!
//! A node that ends while we wait is the usual failure (its port is in use, its data is of another cluster), so every
//! look also sees whether the process still lives, and the error is the node's own.

use std::time::{Duration, Instant};

use raftdeck_shared::{cluster::NodeEntry, wire::NodeStatus};

use super::folder::{Folder, Started};
use crate::{
    ask,
    cli::{
        status::{Row, View},
        target::Target,
    },
};

/// Started nodes answer, and a leader is elected, within this time.
pub const READY_WITHIN: Duration = Duration::from_secs(15);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What answers at the address of a node.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Nothing.
    Silent,
    /// The node itself.
    Node(Box<NodeStatus>),
    /// Something else, in words.
    Stranger(String),
}

/// Asks who answers at the address of a node of this cluster.
pub async fn who(folder: &Folder, node: &NodeEntry) -> Answer {
    let Ok(status) = ask::status(&node.api.to_string(), ask::STATUS_WITHIN).await else {
        return Answer::Silent;
    };
    if status.cluster_id == folder.file().cluster_id && status.node == node.id.0 {
        return Answer::Node(Box::new(status));
    }
    let other = format!("node {} of cluster {:?} (pid {})", status.name, status.cluster_id, status.pid);
    Answer::Stranger(format!("{}: {} is taken by {other}", node.name, node.api))
}

/// Sees that the process of a node is known if the node runs, also if it was started by hand.
pub async fn adopt(folder: &Folder, node: &NodeEntry) {
    if folder.process(node).is_none()
        && let Answer::Node(status) = who(folder, node).await
    {
        folder.adopt(node, status.pid);
    }
}

/// Waits until all nodes of the folder answer and a leader is agreed on. `started` are those that must not end.
///
/// # Errors
/// A node ended, an address is taken, or the time is over.
pub async fn all(folder: &Folder, started: &[(&NodeEntry, Started)]) -> Result<View, String> {
    let target = Target::of_folder(folder);
    until(folder, started, || async {
        let view = View::gather(&target).await;
        // Members that run elsewhere are shown, and not waited for.
        let own = |row: &&Row| folder.file().nodes.iter().any(|node| Some(node.id.0) == row.id());
        let silent = view.rows.iter().filter(own).filter(|row| row.status.is_none());
        let silent = silent.map(Row::name).collect::<Vec<_>>();
        if !silent.is_empty() {
            return Err(format!("{} did not answer", silent.join(", ")));
        }
        if view.leader().is_none() {
            return Err("no leader was elected".to_owned());
        }
        Ok(view)
    })
    .await
}

/// Waits until one started node answers.
///
/// # Errors
/// It ended, its address is taken, or the time is over.
pub async fn one(folder: &Folder, node: &NodeEntry, started: Started) -> Result<NodeStatus, String> {
    let pid = started.process.pid;
    until(folder, &[(node, started)], || async {
        match who(folder, node).await {
            Answer::Node(status) if status.pid == pid => Ok(*status),
            Answer::Node(_) | Answer::Silent | Answer::Stranger(_) => Err(format!("{} did not answer", node.name)),
        }
    })
    .await
}

async fn until<T, Look, Fut>(folder: &Folder, started: &[(&NodeEntry, Started)], look: Look) -> Result<T, String>
where
    Look: Fn() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let lacking = match look().await {
            Ok(found) => return Ok(found),
            Err(lacking) => lacking,
        };
        if let Some((node, ended)) = started.iter().find(|(_, started)| !started.process.is_alive()) {
            return Err(match who(folder, node).await {
                Answer::Stranger(words) => words,
                Answer::Silent | Answer::Node(_) => folder.why_ended(node, ended),
            });
        }
        if Instant::now() > deadline {
            return Err(format!("{lacking} within {} s", READY_WITHIN.as_secs()));
        }
        tokio::time::sleep(LOOK).await;
    }
}
