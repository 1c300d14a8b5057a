//! `remove`: lets a node go.
//!
//! The leader takes it out of the group; one that leads itself hands over when that is committed. Then, if this folder runs
//! it, its process is ended and it leaves the cluster file. Its data stays where it is.
//!
//! Laws:
//! - nothing is begun that would leave the cluster without a majority of running voters, unless forced;
//! - a node is ended only when it is out: until then the others may need its vote;
//! - the last voter stays.

use std::time::Instant;

use raftdeck_shared::{
    cluster::NodeEntry,
    wire::{self, MemberRole},
};
use serde::Serialize;

use super::{
    args::Remove,
    failure::Failure,
    members::{self, begin, find, name, until},
    out::Out,
    status::View,
    target::Target,
    values::{ms, say_duration},
};
use crate::{
    launch::{
        folder::{Folder, Stopped},
        ready,
    },
    steer::Steer,
};

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Removed {
    node: String,
    id: u64,
    led: bool,
    took_ms: u64,
    stopped: Option<u32>,
    data: Option<String>,
}

/// `raftdeck remove NODE`.
///
/// # Errors
/// It is no member, is needed, or is not out in time.
pub async fn run(target: &Target, args: &Remove, out: Out) -> Result<(), Failure> {
    let told = remove(target, args, |warning| out.note(warning)).await?;
    out.say(&told, || told.words())
}

/// Lets a node go. `warn` is told what a forced removal breaks, before it is begun.
///
/// # Errors
/// It is no member, is needed, or is not out in time.
pub async fn remove(
    target: &Target,
    args: &Remove,
    warn: impl FnOnce(&str) -> Result<(), Failure>,
) -> Result<Removed, Failure> {
    let mut steer = members::steer(target);
    let before = steer.members().await?;
    let in_folder = target.folder.as_ref().and_then(|f| Some((f, f.file().node(&args.node)?.clone())));
    let member = match (find(&before, &args.node), &in_folder) {
        (Ok(member), _) => member,
        // An earlier call was broken off between the change and its end here.
        (Err(_), Some((folder, node))) => {
            return end(folder, node, (node.id.0, node.name.clone()), None, 0).await;
        }
        (Err(why), None) => return Err(Failure::Refused(why)),
    };
    let (id, who) = (member.node, name(member));
    if let Some(warning) = check(target, &before, member).await? {
        if !args.force {
            return Err(Failure::Refused(format!("{warning}; --force removes it all the same")));
        }
        warn(&warning)?;
    }
    let start = Instant::now();
    let stays = |m: &wire::Member| m.node == id && m.role() != MemberRole::Outgoing;
    let is_begun = |members: &wire::MembersReply| !members.members.iter().any(stays);
    begin(&mut steer, args.within, is_begun, async |steer: &mut Steer| steer.remove(id).await).await?;
    until(&mut steer, args.within, |members| {
        let is_out = members.settled && members.members.iter().all(|m| m.node != id);
        let lacking = || format!("{who} is not out after {}; `raftdeck members` tells", say_duration(args.within));
        Ok((!is_out).then(lacking))
    })
    .await?;
    let (led, took_ms) = (id == before.leader, ms(start.elapsed()));
    match &in_folder {
        Some((folder, node)) if node.id.0 == id => end(folder, node, (id, who), Some(led), took_ms).await,
        Some(_) | None => Ok(Removed { node: who, id, led, took_ms, stopped: None, data: None }),
    }
}

/// What the removal would break, in words; nothing if nothing.
async fn check(
    target: &Target,
    members: &wire::MembersReply,
    member: &wire::Member,
) -> Result<Option<String>, Failure> {
    let who = name(member);
    if member.role() != MemberRole::Voter {
        return Ok(None);
    }
    let stay = || members.members.iter().filter(|m| m.role() == MemberRole::Voter && m.node != member.node);
    let (all, view) = (stay().count(), View::gather(target).await);
    if all == 0 {
        return Err(Failure::Refused(format!("{who} is the last voter: it stays")));
    }
    let is_up =
        |m: &&wire::Member| !m.damaged && view.rows.iter().any(|r| r.id() == Some(m.node) && r.status.is_some());
    let (up, needed) = (stay().filter(is_up).count(), all / 2 + 1);
    Ok((up < needed).then(|| {
        format!(
            "without {who} {up} of {all} voters are up and {needed} needed: nobody could be elected, nothing committed"
        )
    }))
}

/// Ends the process of a node that is out, and takes it out of the cluster file.
async fn end(
    folder: &Folder,
    node: &NodeEntry,
    (id, who): (u64, String),
    led: Option<bool>,
    took_ms: u64,
) -> Result<Removed, Failure> {
    ready::adopt(folder, node).await;
    let stopped = match folder.stop(&[node])[..] {
        [Stopped::Ended { pid } | Stopped::Killed { pid }] => Some(pid),
        _ => None,
    };
    folder.close_tab(node);
    folder.change(|file| {
        file.nodes.retain(|n| n.id != node.id);
        // Whoever missed all of this must not take the rest of the file for the cluster as it began.
        file.nodes.iter_mut().for_each(|n| n.joins = true);
        Ok(())
    })?;
    let data = folder.dir().join(&node.name).display().to_string();
    Ok(Removed { node: who, id, led: led.unwrap_or_default(), took_ms, stopped, data: Some(data) })
}

impl Removed {
    /// As a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        let Removed { node, led, took_ms, stopped, data, .. } = self;
        let led = if *led { ", which led," } else { "" };
        let stopped = stopped.map_or_else(String::new, |pid| format!("; pid {pid} stopped"));
        let data = data.as_ref().map_or_else(String::new, |data| format!("; its data stays in {data}"));
        format!("{node}{led} is out after {took_ms} ms{stopped}{data}")
    }
}
