//! Steering: who the members are, who joins, who leaves, who leads, how long the log is.
//!
//! Every call ends by its deadline. What was begun goes on by itself afterwards: a learner is promoted, a joint membership
//! is left, whoever asked and whatever became of it.

use std::{future::Future, time::Duration};

use raftdeck_raft::{Index, Membership, NodeId, PeerView, RoleKind};
use raftdeck_shared::{
    cluster::{check_address, check_name},
    wire::{self, MemberRole},
};
use tokio::time::timeout;
use tonic::Status;

use super::refusal::refused;
use crate::{
    handle::{RequestError, Steer},
    replica::{Refused, Replica},
    status::{NodeView, snapshot_progress},
    steering::Change,
    transport::{Links, member::address_bytes},
};

/// A call that was not answered by then has an unknown outcome.
const STEER_MAX: Duration = Duration::from_secs(5);

/// As for jobs.
const READ_MAX: Duration = Duration::from_millis(1500);

/// Ends by a deadline: with the answer, a refusal, or "nobody can say".
async fn by<T>(
    view: &NodeView,
    within: Duration,
    answer: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, Status> {
    match timeout(within, answer).await {
        Ok(answered) => answered.map_err(|error| refused(&view.book, view.node, &error)),
        Err(_) => Err(Status::unknown(format!("no majority has it after {} ms", within.as_millis()))),
    }
}

/// Who belongs to the group now.
pub(super) async fn members(view: &NodeView) -> Result<wire::MembersReply, Status> {
    let reply = by(view, READ_MAX, async {
        view.handle.steer(Steer::Read).await?;
        let seen = view.handle.look(|replica, _| Seen::of(replica)).await?;
        seen.map_err(RequestError::Refused)
    });
    Ok(reply.await?.to_wire(view))
}

/// A node is to join.
pub(super) async fn add(view: &NodeView, request: wire::AddMemberRequest) -> Result<wire::ChangeReply, Status> {
    let wire::AddMemberRequest { node, name, peer, api, learner_only } = request;
    if node == 0 {
        return Err(Status::invalid_argument("node id 0: ids start at 1"));
    }
    let checked = check_name("node name", &name).and_then(|()| check_address(&peer)).and_then(|()| check_address(&api));
    checked.map_err(Status::invalid_argument)?;
    if peer == api {
        return Err(Status::invalid_argument(format!("address {peer} is used twice")));
    }
    // Only the leader knows for sure who is a member; another node names it below.
    let leads = view.handle.pulse().borrow().leads;
    for known in view.book.members().iter().filter(|known| leads && known.node != node) {
        if known.name == name {
            return Err(Status::invalid_argument(format!("node name {name:?} is that of node id {}", known.node)));
        }
        if let Some(taken) = [&peer, &api].into_iter().find(|address| [&known.peer, &known.api].contains(address)) {
            return Err(Status::invalid_argument(format!("address {taken} is that of {}", known.name)));
        }
    }
    let address = address_bytes(&wire::MemberAddress { node, name, peer, api });
    change(view, Change::Add { node: NodeId(node), address, promote: !learner_only }).await
}

/// A node is to leave.
pub(super) async fn remove(view: &NodeView, request: wire::RemoveMemberRequest) -> Result<wire::ChangeReply, Status> {
    change(view, Change::Remove { node: NodeId(request.node) }).await
}

async fn change(view: &NodeView, change: Change) -> Result<wire::ChangeReply, Status> {
    let index = by(view, STEER_MAX, view.handle.steer(Steer::Change(change))).await?;
    Ok(wire::ChangeReply { index: index.0 })
}

/// Another node is to lead.
pub(super) async fn transfer(
    view: &NodeView,
    request: wire::TransferLeadershipRequest,
) -> Result<wire::TransferLeadershipReply, Status> {
    let term = by(view, STEER_MAX, async {
        view.handle.steer(Steer::Transfer(NodeId(request.node))).await?;
        view.handle.look(|replica, _| replica.raft().term()).await
    });
    Ok(wire::TransferLeadershipReply { term: term.await?.0 })
}

/// This node's log is to be as short as it can be.
pub(super) async fn snapshot(view: &NodeView) -> Result<wire::SnapshotReply, Status> {
    let start = || view.handle.look(|replica, _| replica.raft().log().start().index);
    let (before, now) = by(view, STEER_MAX, async {
        let before = start().await?;
        match view.handle.steer(Steer::Compact).await {
            // It is as short as it can be.
            Err(RequestError::Refused(Refused::NotNow(_))) | Ok(_) => {}
            Err(error) => return Err(error),
        }
        Ok((before, start().await?))
    })
    .await?;
    Ok(wire::SnapshotReply { first: now.next().0, cut: now.0 - before.0 })
}

/// What the replica of a leader knows about members.
struct Seen {
    applied: u64,
    term: u64,
    leader: NodeId,
    last: Index,
    changed_at: Index,
    settled: bool,
    membership: Membership,
    followers: Vec<(NodeId, PeerView)>,
    snapshot_bytes: u64,
}

impl Seen {
    fn of(replica: &Replica) -> Result<Seen, Refused> {
        let raft = replica.raft();
        if raft.role() != RoleKind::Leader {
            return Err(Refused::NotLeader { leader: raft.leader() });
        }
        let (log, membership) = (raft.log(), raft.membership().clone());
        Ok(Seen {
            applied: replica.machine().applied(),
            term: raft.term().0,
            leader: raft.id(),
            last: log.last().0,
            changed_at: log.membership_index(),
            settled: log.membership_index() <= raft.commit() && !membership.is_joint(),
            membership,
            followers: raft.followers().collect(),
            snapshot_bytes: raft.snapshot().map_or(0, |s| s.bytes),
        })
    }

    fn to_wire(&self, view: &NodeView) -> wire::MembersReply {
        let members = self.membership.members().into_iter().map(|node| self.member(node, view, &view.links)).collect();
        wire::MembersReply {
            index: self.applied,
            term: self.term,
            leader: self.leader.0,
            changed_at: self.changed_at.0,
            settled: self.settled,
            last: self.last.0,
            members,
        }
    }

    fn member(&self, node: NodeId, view: &NodeView, links: &Links) -> wire::Member {
        let Membership { voters, learners, storages, .. } = &self.membership;
        let learner = learners.get(&node);
        let role = match learner {
            _ if voters.contains(&node) => MemberRole::Voter,
            // It may be a learner already, for the time after.
            _ if self.membership.is_voter(node) => MemberRole::Outgoing,
            _ => MemberRole::Learner,
        };
        let storage = storages.get(&node).copied().or_else(|| learner?.storage);
        let address = view.book.find(node).unwrap_or_default();
        let is_own = node == self.leader;
        let progress = self.followers.iter().find(|(n, _)| *n == node).map(|(_, p)| p);
        wire::Member {
            node: node.0,
            name: if address.name.is_empty() { node.to_string() } else { address.name },
            peer: address.peer,
            api: address.api,
            role: role.into(),
            promote: learner.is_some_and(|l| l.promote),
            storage_id: storage.map(|s| s.to_string()).unwrap_or_default(),
            match_index: if is_own { self.last.0 } else { progress.map_or(0, |p| p.matched.0) },
            heard_ms: if is_own { Some(0) } else { links.view(node).1.map(|ago| ago.as_millis() as u64) },
            damaged: progress.is_some_and(|p| p.damaged),
            snapshot: progress.and_then(|p| snapshot_progress(p, self.snapshot_bytes)),
        }
    }
}
