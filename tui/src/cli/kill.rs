//! `kill`: a process ends in the middle of whatever it does.
//!
//! Law: it says "killed" only after it has seen it: the node is asked again, and must be gone or another boot.

use std::time::{Duration, Instant};

use raftdeck_shared::wire::{self, fault_spec::Fault};
use serde::Serialize;

use super::{
    args::Place,
    failure::Failure,
    faults::LABEL,
    out::Out,
    status::View,
    target::{self, Target},
};
use crate::ask;

/// A killed process is gone within this time, or it was not killed.
const GONE_WITHIN: Duration = Duration::from_secs(3);

/// The pause between two looks whether it is gone.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Serialize)]
struct Killed {
    node: String,
    killed: bool,
    pid: Option<u32>,
}

/// `raftdeck kill NODE`: the node aborts itself.
///
/// # Errors
/// It cannot be reached, refuses, or goes on.
pub async fn run(target: &Target, node: &str, out: Out) -> Result<(), Failure> {
    let view = View::gather(target).await;
    let row = view.row(node)?;
    let name = row.name();
    let api = &row.member.api;
    let before = row.status.as_ref().ok_or_else(|| format!("{name} is not reachable at {api}"))?;
    kill_at(api, before).await.map_err(|why| format!("{name}: {why}"))?;
    out.say(&Killed { node: name.clone(), killed: true, pid: Some(before.pid) }, || format!("{name} killed"))
}

/// Kills the process that gave this status, and sees that it is gone.
///
/// # Errors
/// It refuses or goes on.
pub async fn kill_at(api: &str, before: &wire::NodeStatus) -> Result<(), String> {
    let ttl = Duration::ZERO;
    if let Err(status) = ask::inject(api, Fault::Kill(wire::KillFault {}), ttl, LABEL).await
        && ask::refused(&status)
    {
        return Err(ask::why(&status));
    }
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        match ask::status(api, ask::STATUS_WITHIN).await {
            Ok(now) if now.boot_id != before.boot_id => return Ok(()),
            // Silence is not death: a stopped process does not answer either.
            Err(status) if status.code() != tonic::Code::DeadlineExceeded => return Ok(()),
            Ok(_) | Err(_) if Instant::now() > deadline => {
                return Err(format!("pid {} has not ended {} ms after the kill", before.pid, GONE_WITHIN.as_millis()));
            }
            Ok(_) | Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// `raftdeck kill NODE --hard`: SIGKILL from outside.
///
/// # Errors
/// It is no running node of the folder.
pub fn hard(place: &Place, node: &str, out: Out) -> Result<(), Failure> {
    let folder = target::folder(place, "kill --hard")?;
    let pid = folder.kill(node)?;
    out.say(&Killed { node: node.to_owned(), killed: true, pid: Some(pid) }, || format!("{node} killed (pid {pid})"))
}
