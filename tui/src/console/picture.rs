//! The cluster as one picture, drawn from what all nodes say: who leads, who only thinks so, who reaches whom.
//!
//! Nobody has this view: a node knows itself and its links. The console puts the words side by side.
//!
//! Laws:
//! - a node that the console cannot reach still counts as up while another node hears it: it is the console's connection
//!   that is broken, not the cluster's;
//! - a link counts as broken when either end says so;
//! - a leader is *stale* when a higher term is known, or when it cannot reach a majority.

use std::collections::BTreeSet;

use raftdeck_shared::ids::{Index, NodeId, Term};

use super::{
    msg::Slot,
    quorum::{Nodes, Reach},
    status::{Jobs, Link, Role, Status},
    world::{Node, World},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    pub(crate) reach: Reach,
    /// The leader that can commit.
    pub(crate) leader: Option<Slot>,
    pub(crate) stale: BTreeSet<Slot>,
    /// The highest term any live node is in; when none is live, that any was in.
    pub(crate) term: Term,
    /// Of the leader; without one, of the node that has applied most.
    pub(crate) jobs: Jobs,
    pub(crate) commit: Index,
}

impl Picture {
    pub(crate) fn of(world: &World) -> Picture {
        let live = || world.slots().filter(|(_, n)| n.live()).filter_map(|(slot, n)| Some((slot, n.word()?)));
        let reach = reach(world);
        let term = live().map(|(_, s)| s.term).max().unwrap_or_default();
        let known = || world.nodes.iter().filter_map(Node::word).map(|s| s.term).max();
        let claims = || live().filter(|(_, s)| s.role == Role::Leader);
        let holds = |s: &Status| s.term >= term && reach.of(s.id).len() >= reach.majority();
        let leader = claims().find(|(_, s)| holds(s)).map(|(slot, _)| slot);
        let stale = claims().filter(|(_, s)| !holds(s)).map(|(slot, _)| slot).collect();
        let best = leader
            .and_then(|slot| world.node(slot)?.word())
            .or_else(|| world.nodes.iter().filter_map(Node::word).max_by_key(|s| s.applied));
        Picture {
            jobs: best.map(|s| s.jobs).unwrap_or_default(),
            commit: world.nodes.iter().filter_map(Node::word).map(|s| s.commit).max().unwrap_or_default(),
            reach,
            leader,
            stale,
            term: if live().next().is_some() { term } else { known().unwrap_or_default() },
        }
    }

    pub(crate) fn up(&self, id: NodeId) -> bool {
        self.reach.up.contains(&id)
    }
}

/// Who leads and what becomes of the jobs, as in [`Picture::of`], without all the rest: it is asked for with every word of
/// every node. No jobs: nobody has said a word yet.
pub(crate) fn leader_and_jobs(world: &World) -> (Option<Slot>, Option<Jobs>) {
    let live = || world.slots().filter(|(_, n)| n.live()).filter_map(|(slot, n)| Some((slot, n.word()?)));
    let term = live().map(|(_, s)| s.term).max().unwrap_or_default();
    let mut claims = live().filter(|(_, s)| s.role == Role::Leader && s.term >= term).peekable();
    let voters = if claims.peek().is_some() { voters(world) } else { Nodes::new() };
    let leader = claims.find(|(_, s)| reaches(world, &voters, s.id) > voters.len() / 2).map(|(slot, _)| slot);
    let best = leader
        .and_then(|slot| world.node(slot)?.word())
        .or_else(|| world.nodes.iter().filter_map(Node::word).max_by_key(|s| s.applied));
    (leader, best.map(|s| s.jobs))
}

/// How many voters a live node has a direct link to, with itself: as [`Reach::of`] counts them.
fn reaches(world: &World, voters: &Nodes, of: NodeId) -> usize {
    let live = || world.nodes.iter().filter(|n| n.live()).filter_map(Node::word);
    let says = |s: &Status, of: NodeId, is: fn(Link) -> bool| s.peers.iter().any(|p| p.id == of && is(p.link));
    let broken = |link| matches!(link, Link::Down | Link::Cut);
    let breaks = |at: NodeId, to: NodeId| live().any(|s| s.id == at && says(s, to, broken));
    let up = |id: NodeId| live().any(|s| s.id == id) || live().any(|s| says(s, id, |link| link == Link::Up));
    let reached = |voter: NodeId| voter == of || (up(voter) && !breaks(of, voter) && !breaks(voter, of));
    voters.iter().filter(|voter| reached(**voter)).count()
}

/// Who votes, as far as anyone knows.
fn voters(world: &World) -> Nodes {
    let newest = world.nodes.iter().filter_map(Node::word).filter(|s| !s.voters.is_empty()).max_by_key(|s| s.commit);
    match newest {
        Some(status) => status.voters.iter().copied().collect(),
        None => world.nodes.iter().filter_map(|n| n.id).collect(),
    }
}

fn reach(world: &World) -> Reach {
    let mut reach = Reach { voters: voters(world), ..Reach::default() };
    for node in world.nodes.iter().filter(|n| n.live()) {
        let Some(status) = node.word() else { continue };
        reach.up.insert(status.id);
        for peer in &status.peers {
            match peer.link {
                Link::Up => {
                    reach.up.insert(peer.id);
                }
                Link::Down | Link::Cut => reach.cut(status.id, peer.id),
                Link::Unknown => {}
            }
        }
    }
    reach
}
