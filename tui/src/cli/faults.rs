//! `kill`, `cut`, `heal`: faults on purpose.
//!
//! Laws: a verb says "done" only after it has seen it done (a killed node is asked again, and must be gone or another
//! boot); a cut is set at both ends of each link that crosses, and if one node would refuse, nothing is set at all.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use raftdeck_shared::wire::{self, fault_spec::Fault};
use serde::Serialize;

use super::{
    failure::Failure,
    out::Out,
    sides::Sides,
    status::{Row, View},
    target::{self, Target},
    values::{count, ms, say_duration},
};
use crate::{ask, cli::args::Place};

/// What every console shows as the reason of a fault set here.
const LABEL: &str = "raftdeck command line";

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

#[derive(Debug, Serialize)]
struct Cut {
    cut: Vec<[String; 2]>,
    for_ms: u64,
    effect: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Healed {
    healed: Vec<HealedNode>,
    unreachable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HealedNode {
    node: String,
    faults: usize,
}

/// `raftdeck kill NODE`: the node aborts itself.
///
/// # Errors
/// It cannot be reached, refuses, or goes on.
pub async fn kill(target: &Target, node: &str, out: Out) -> Result<(), Failure> {
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
pub fn kill_hard(place: &Place, node: &str, out: Out) -> Result<(), Failure> {
    let folder = target::folder(place, "kill --hard")?;
    let pid = folder.kill(node)?;
    out.say(&Killed { node: node.to_owned(), killed: true, pid: Some(pid) }, || format!("{node} killed (pid {pid})"))
}

/// `raftdeck cut A,B / C,D,E`.
///
/// # Errors
/// A node is unknown or refuses, or a link has no end that can be reached.
pub async fn cut(target: &Target, words: &[String], ttl: Duration, out: Out) -> Result<(), Failure> {
    let view = View::gather(target).await.reached()?;
    let all: Vec<u64> = view.rows.iter().filter_map(Row::id).collect();
    let mut resolve = |name: &str| {
        let row = view.row(name).map_err(|failure| match failure {
            Failure::Refused(message) | Failure::Usage(message) => message,
            Failure::ReaderGone => String::new(),
        })?;
        row.id().ok_or_else(|| format!("{name} is not reachable and no cluster file gives its number"))
    };
    let sides = Sides::parse(words, &all, &mut resolve)?;
    let name = |id: u64| view.name_of(id);
    let up = |id: u64| view.rows.iter().find(|row| row.id() == Some(id) && row.status.is_some());
    for node in sides.sides.iter().flatten() {
        if up(*node).and_then(|row| row.status.as_ref()).is_some_and(|status| !status.faults_enabled) {
            let name = name(*node);
            return Err(Failure::Refused(format!("{name} takes no faults: it was started without --enable-faults")));
        }
    }
    let links = sides.links();
    if let Some((a, b)) = links.iter().find(|(a, b)| up(*a).is_none() && up(*b).is_none()) {
        return Err(Failure::Refused(format!("neither {} nor {} is reachable: nothing was cut", name(*a), name(*b))));
    }
    let ends = links.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
    let orders = ends.filter_map(|(at, peer)| up(at).map(|row| (row, peer)));
    let set = orders.map(|(row, peer)| async move {
        let fault = Fault::Cut(wire::CutFault { peer });
        let set = ask::inject(&row.member.api, fault, ttl, LABEL).await;
        set.map_err(|status| format!("{} did not cut its link to {}: {}", row.name(), name(peer), ask::why(&status)))
    });
    join_all(set).await.into_iter().collect::<Result<Vec<_>, String>>()?;
    let voters_up: Vec<u64> = all.iter().copied().filter(|id| up(*id).is_some()).collect();
    let told = Cut {
        cut: links.iter().map(|(a, b)| [name(*a), name(*b)]).collect(),
        for_ms: ms(ttl),
        effect: sides.effect(&view.voters(), &voters_up, &name),
    };
    out.say(&told, || {
        let head = format!("cut {} for {}; `raftdeck heal` ends it", count(links.len(), "link"), say_duration(ttl));
        std::iter::once(head).chain(told.effect.iter().cloned()).collect::<Vec<_>>().join("\n")
    })
}

/// `raftdeck heal [NODE..]`.
///
/// # Errors
/// A named node, or every node, cannot be reached.
pub async fn heal(target: &Target, nodes: &[String], out: Out) -> Result<(), Failure> {
    let view = View::gather(target).await.reached()?;
    let rows = if nodes.is_empty() {
        view.rows.iter().collect()
    } else {
        nodes.iter().map(|node| view.row(node)).collect::<Result<Vec<_>, _>>()?
    };
    let answers = join_all(rows.iter().map(|row| ask::heal(&row.member.api))).await;
    let mut told = Healed { healed: Vec::new(), unreachable: Vec::new() };
    for (row, answer) in rows.iter().zip(answers) {
        let node = row.name();
        match answer {
            Ok(reply) => told.healed.push(HealedNode { node, faults: reply.healed.len() }),
            Err(status) if ask::refused(&status) => {
                return Err(Failure::Refused(format!("{node}: {}", ask::why(&status))));
            }
            Err(status) if !nodes.is_empty() => {
                return Err(Failure::Refused(format!("{node} is not reachable: {}", ask::why(&status))));
            }
            Err(_) => told.unreachable.push(node),
        }
    }
    out.say(&told, || {
        let lines =
            told.healed.iter().map(|HealedNode { node, faults }| format!("{node}: {} healed", count(*faults, "fault")));
        let gone = told.unreachable.iter().map(|node| format!("{node}: not reachable"));
        lines.chain(gone).collect::<Vec<_>>().join("\n")
    })
}
