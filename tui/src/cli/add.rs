//! `add`: takes a node in.
//!
//! A node of a folder is written into the cluster file (as one that joins), started, and asked in; one that runs elsewhere
//! is only asked in. It is a learner first, and the leader makes it a voter when it has caught up: the verb waits for that.
//!
//! Laws: what fails before the node was asked in leaves nothing behind; what fails later leaves it running, says so, and
//! the same call goes on from there.

use std::time::{Duration, Instant};

use raftdeck_shared::{
    cluster::{NodeEntry, check_name},
    ids::NodeId,
    wire::{self, MemberRole, Role},
};
use serde::Serialize;

use super::{
    args::{self, Add},
    failure::Failure,
    members::{self, begin, name, role, until},
    out::Out,
    status::View,
    target::{self, Target},
    values::{ms, say_duration},
};
use crate::{
    ask,
    launch::{
        folder::{Folder, Started},
        ports, ready,
    },
    plain::plain,
    steer::{Steer, SteerError},
};

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Added {
    node: String,
    id: u64,
    role: &'static str,
    api: String,
    peer: String,
    pid: Option<u32>,
    took_ms: u64,
}

/// `raftdeck add NODE`.
///
/// # Errors
/// It cannot be started, is refused, or is not what it is to be in time.
pub async fn run(place: &args::Place, args: &Add, out: Out) -> Result<(), Failure> {
    check_name("node name", &args.node).map_err(Failure::Usage)?;
    let target = match args.api {
        Some(_) => Target::find(place)?,
        None => Target::of_folder(&target::folder(place, "add without --peer and --api")?),
    };
    let told = add(&target, args).await?;
    out.say(&told, || told.words())
}

/// Takes a node in: one that runs at the addresses that were named, else one of the target's folder.
///
/// # Errors
/// It cannot be started, is refused, or is not what it is to be in time.
pub async fn add(target: &Target, args: &Add) -> Result<Added, Failure> {
    match (&args.peer, &args.api, &target.folder) {
        (Some(peer), Some(api), _) => elsewhere(target, args, peer, api).await,
        (_, _, Some(folder)) => here(folder, args).await,
        (_, _, None) => {
            let why = "no folder here runs this cluster: start the node, and name its --peer and --api";
            Err(Failure::Usage(why.into()))
        }
    }
}

/// A node that runs already.
async fn elsewhere(target: &Target, args: &Add, peer: &str, api: &str) -> Result<Added, Failure> {
    let mut steer = members::steer(target);
    let members = steer.members().await?;
    let status = ask::status(api, ask::STATUS_WITHIN).await;
    let status = status.map_err(|why| format!("no node answers at {api} ({}): start it first", ask::why(&why)))?;
    let said = plain(&status.name);
    if said != args.node && status.node.to_string() != args.node {
        return Err(Failure::Refused(format!("{said} answers at {api}, not {}", args.node)));
    }
    let known = View::gather(target).await.cluster_id();
    if let Some(cluster_id) = known.filter(|id| *id != status.cluster_id) {
        let other = plain(&status.cluster_id);
        return Err(Failure::Refused(format!("{said} belongs to cluster {other}, not to cluster {cluster_id}")));
    }
    let is_member = members.members.iter().any(|m| m.node == status.node);
    if !is_member && status.role() == Role::Leader {
        let why = "leads a cluster of its own: its cluster file must say `joins = true` for it";
        return Err(Failure::Refused(format!("{said} {why}")));
    }
    let request = wire::AddMemberRequest {
        node: status.node,
        name: said,
        peer: peer.to_owned(),
        api: api.to_owned(),
        learner_only: args.learner,
    };
    let start = Instant::now();
    ask_in(&mut steer, &members, request.clone(), args.within).await?;
    joined(&mut steer, args, request, None, start).await
}

/// A node of this folder.
async fn here(folder: &Folder, args: &Add) -> Result<Added, Failure> {
    let mut steer = members::steer(&Target::of_folder(folder));
    let members = steer.members().await?;
    let known = folder.file().node(&args.node);
    let is_new = known.is_none();
    if let Some(node) = known.filter(|n| !n.joins && members.members.iter().all(|m| m.node != n.id.0)) {
        let why = "was a member before and is none any more: choose another name";
        return Err(Failure::Refused(format!("{} {why}", node.name)));
    }
    let (folder, node) = match known {
        Some(node) => (folder.clone(), node.clone()),
        None => write_down(folder, &args.node, &members)?,
    };
    let request = wire::AddMemberRequest {
        node: node.id.0,
        name: node.name.clone(),
        peer: node.peer.to_string(),
        api: node.api.to_string(),
        learner_only: args.learner,
    };
    let undo = || undo(&folder, &node);
    let started = match start(&folder, &node).await {
        Err(why) if is_new => {
            undo();
            return Err(Failure::Refused(why));
        }
        started => started?,
    };
    let start = Instant::now();
    match ask_in(&mut steer, &members, request.clone(), args.within).await {
        Err(error @ (SteerError::Refused(_) | SteerError::NotDone(_))) if is_new => {
            undo();
            return Err(error.into());
        }
        asked => asked?,
    }
    joined(&mut steer, args, request, Some((&folder, &node, &started)), start).await
}

/// Writes a new node into the cluster file, with an id and ports that nobody has.
fn write_down(folder: &Folder, wanted: &str, members: &wire::MembersReply) -> Result<(Folder, NodeEntry), String> {
    if folder.was_used(wanted) {
        let dir = folder.dir().join(wanted);
        return Err(format!("{wanted} was a node of this cluster before ({}): choose another name", dir.display()));
    }
    let (api, peer) = ports::free(1)?[0];
    let mut written = None;
    let folder = folder.change(|file| {
        let ids: Vec<u64> = file.nodes.iter().map(|n| n.id.0).chain(members.members.iter().map(|m| m.node)).collect();
        let own_number = wanted.strip_prefix('n').and_then(|n| n.parse().ok());
        let next = 1 + ids.iter().max().copied().unwrap_or_default();
        let id = own_number.filter(|id| *id > 0 && !ids.contains(id)).unwrap_or(next);
        let node = NodeEntry { id: NodeId(id), name: wanted.to_owned(), api, peer, joins: true };
        file.nodes.push(node.clone());
        written = Some(node);
        Ok(())
    })?;
    Ok((folder, written.expect("the change was made")))
}

/// The node as if it never was: it was never asked in.
fn undo(folder: &Folder, node: &NodeEntry) {
    let _ = folder.stop(&[node]);
    folder.close_tab(node);
    folder.forget(node);
    let _ = folder.change(|file| {
        file.nodes.retain(|n| n.id != node.id);
        Ok(())
    });
}

/// Starts the node unless it runs, and waits until it answers.
async fn start(folder: &Folder, node: &NodeEntry) -> Result<Option<Started>, String> {
    ready::adopt(folder, node).await;
    if folder.process(node).is_some() {
        return Ok(None);
    }
    let started = folder.start(node, &folder.place_of_others())?;
    ready::one(folder, node, started.clone()).await?;
    Ok(Some(started))
}

/// Asks the leader to take the node in, unless it is in already.
async fn ask_in(
    steer: &mut Steer,
    members: &wire::MembersReply,
    request: wire::AddMemberRequest,
    within: Duration,
) -> Result<(), SteerError> {
    if let Some(member) = members.members.iter().find(|m| m.node == request.node) {
        let (name, is, only) = (name(member), role(member), request.learner_only);
        return match (member.role(), member.promote) {
            (MemberRole::Learner, promote) if promote != only => Ok(()),
            (MemberRole::Learner, _) => Err(SteerError::Refused(format!(
                "{name} is a learner that {}: remove it first",
                if only { "will get a vote" } else { "gets no vote" }
            ))),
            (_, _) => Err(SteerError::Refused(format!("{name} is a member already, {is}"))),
        };
    }
    let is_in = |members: &wire::MembersReply| members.members.iter().any(|m| m.node == request.node);
    begin(steer, within, is_in, async |steer: &mut Steer| steer.add(request.clone()).await).await
}

/// Waits until the node is what it is to be.
async fn joined(
    steer: &mut Steer,
    args: &Add,
    request: wire::AddMemberRequest,
    own: Option<(&Folder, &NodeEntry, &Option<Started>)>,
    start: Instant,
) -> Result<Added, Failure> {
    let wire::AddMemberRequest { node: id, name, peer, api, learner_only } = request;
    let goal = if learner_only { "learner" } else { "voter" };
    let within: Duration = args.within;
    let members = until(steer, within, |members| {
        if let Some((folder, node, Some(started))) = own
            && !started.process.is_alive()
        {
            return Err(Failure::Refused(folder.why_ended(node, started)));
        }
        let Some(member) = members.members.iter().find(|m| m.node == id) else {
            return Ok(Some(format!("{name} is no member after {}: ask again", say_duration(within))));
        };
        let is_there = match member.role() {
            MemberRole::Voter => members.settled,
            MemberRole::Learner => learner_only && !member.storage_id.is_empty(),
            MemberRole::Outgoing | MemberRole::Unspecified => false,
        };
        Ok((!is_there).then(|| {
            let (has, of) = (member.match_index, members.last);
            let after = say_duration(within);
            format!("{name} is no {goal} after {after}: its log is at {has} of {of}; it goes on by itself")
        }))
    });
    let members = members.await?;
    let member = members.members.iter().find(|m| m.node == id);
    let pid = own.and_then(|(folder, node, _)| folder.process(node)).map(|process| process.pid);
    let role = member.map_or(goal, role);
    Ok(Added { node: name, id, role, api, peer, pid, took_ms: ms(start.elapsed()) })
}

impl Added {
    /// As a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        let Added { node, role, api, peer, pid, took_ms, .. } = self;
        let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
        format!("{node} is a {role}, {took_ms} ms after it was asked in: api {api}, peer {peer}{pid}")
    }
}
