//! `transfer` and `snapshot`: what an operator asks of one node, and how it ended.

use std::time::Instant;

use raftdeck_shared::wire::MemberRole;
use serde::Serialize;

use super::{
    failure::Failure,
    members::{self, find, name},
    out::Out,
    status::View,
    target::Target,
    values::ms,
};
use crate::ask;

/// Who leads now.
#[derive(Debug, Serialize)]
pub struct Transferred {
    node: String,
    from: Option<String>,
    term: u64,
    took_ms: u64,
}

#[derive(Debug, Serialize)]
struct Snapshot {
    node: String,
    first: u64,
    cut: u64,
}

impl Transferred {
    /// As a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{} leads in term {}, {} ms after it was asked to", self.node, self.term, self.took_ms)
    }
}

/// `raftdeck transfer NODE`.
///
/// # Errors
/// There is no such voter, or it does not lead in time.
pub async fn run(target: &Target, node: &str, out: Out) -> Result<(), Failure> {
    let told = transfer(target, node).await?;
    out.say(&told, || told.words())
}

/// Hands leadership over.
///
/// # Errors
/// There is no such voter, or it does not lead in time.
pub async fn transfer(target: &Target, node: &str) -> Result<Transferred, Failure> {
    let mut steer = members::steer(target);
    let members = steer.members().await?;
    let member = find(&members, node)?;
    let to = name(member);
    if member.node == members.leader {
        return Err(Failure::Refused(format!("{to} leads already")));
    }
    if member.role() != MemberRole::Voter {
        return Err(Failure::Refused(format!("{to} is a {}: only a voter can lead", members::role(member))));
    }
    let from = members.members.iter().find(|m| m.node == members.leader).map(name);
    let start = Instant::now();
    let reply = steer.transfer(member.node).await?;
    Ok(Transferred { node: to, from, term: reply.term, took_ms: ms(start.elapsed()) })
}

/// `raftdeck snapshot NODE`.
///
/// # Errors
/// The node does not answer.
pub async fn snapshot(target: &Target, node: &str, out: Out) -> Result<(), Failure> {
    let view = View::gather(target).await.reached()?;
    let row = view.row(node)?;
    let (name, api) = (row.name(), &row.member.api);
    if row.status.is_none() {
        return Err(Failure::Refused(format!("{name} is not reachable at {api}")));
    }
    let reply = ask::snapshot(api).await.map_err(|status| format!("{name}: {}", ask::why(&status)))?;
    let told = Snapshot { node: name, first: reply.first, cut: reply.cut };
    out.say(&told, || match told.cut {
        0 => format!("{}: the log begins at {} already", told.node, told.first),
        1 => format!("{}: 1 entry left the log, it begins at {}", told.node, told.first),
        cut => format!("{}: {cut} entries left the log, it begins at {}", told.node, told.first),
    })
}
