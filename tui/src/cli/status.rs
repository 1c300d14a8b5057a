//! `status`: the cluster as its nodes tell it, and who leads.
//!
//! All nodes are asked at once; what comes back are as many views of the cluster as there are nodes, taken at slightly
//! different times, and some may be wrong: a leader cut off from the others believes in itself for a while.
//! The law that [`View::leader_id`] keeps: a leader is the one of the **highest term**, and only if a **majority agrees**.
//! Otherwise there is none, whatever a single node says about itself.

use futures_util::future::join_all;
use raftdeck_shared::{
    ids::NodeId,
    wire::{self, LinkState, NodeStatus, Role},
};
use serde::Serialize;

use super::{
    failure::Failure,
    out::{Narrow, Out, table_within},
    queues::{self, Queue},
    target::{Member, Target},
};
use crate::{ask, narrate, plain::plain};

/// One node and what it said; nothing if it did not answer.
#[derive(Clone, Debug)]
pub struct Row {
    /// As the caller knows it.
    pub member: Member,
    /// As it says itself.
    pub status: Option<NodeStatus>,
}

/// What all nodes said.
#[derive(Clone, Debug)]
pub struct View {
    /// In the order of the cluster file.
    pub rows: Vec<Row>,
}

impl Row {
    /// Its name: by the file, else its own word, else its address.
    #[must_use]
    pub fn name(&self) -> String {
        let own = self.status.as_ref().map(|status| plain(&status.name)).filter(|name| !name.is_empty());
        self.member.name.clone().or(own).unwrap_or_else(|| self.member.api.clone())
    }

    /// Its number, if anyone knows it.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.member.id.or_else(|| self.status.as_ref().map(|status| status.node))
    }
}

impl View {
    /// Asks every node, all at the same time; then those that the others name as members beside them.
    pub async fn gather(target: &Target) -> View {
        let mut view = View { rows: ask_all(&target.members).await };
        let later = view.later_members();
        view.rows.extend(ask_all(&later).await);
        view
    }

    /// Members by the newest word of the nodes that are not among those that were asked.
    fn later_members(&self) -> Vec<Member> {
        let newest = self.statuses().filter(|s| !s.voters.is_empty()).max_by_key(|s| (s.term, s.commit));
        let Some((status, membership)) = newest.and_then(|s| Some((s, s.membership.as_ref()?))) else {
            return Vec::new();
        };
        let is_member = |node: u64| {
            let wire::Membership { voters, outgoing, learners, .. } = membership;
            voters.contains(&node) || outgoing.contains(&node) || learners.iter().any(|l| l.node == node)
        };
        let asked = |known: &wire::MemberAddress| {
            self.rows.iter().any(|row| row.id() == Some(known.node) || row.member.api == known.api)
        };
        let later = status.known.iter().filter(|known| is_member(known.node) && !asked(known));
        later.map(Member::of_address).collect()
    }

    /// Fails if nobody answered.
    ///
    /// # Errors
    /// Names what was tried.
    pub fn reached(self) -> Result<View, Failure> {
        if self.statuses().next().is_some() {
            return Ok(self);
        }
        let tried: Vec<&str> = self.rows.iter().map(|row| row.member.api.as_str()).collect();
        Err(Failure::Refused(format!("no node reachable: tried {}", tried.join(", "))))
    }

    /// The row of the node of this name, or of this number.
    ///
    /// # Errors
    /// No node has it.
    pub fn row(&self, name: &str) -> Result<&Row, Failure> {
        let number: Option<u64> = name.parse().ok();
        let named = self.rows.iter().find(|row| row.name() == name);
        let row = named.or_else(|| self.rows.iter().find(|row| number.is_some() && row.id() == number));
        row.ok_or_else(|| {
            let known: Vec<String> = self.rows.iter().map(Row::name).collect();
            Failure::Refused(format!("no node {name:?}: the cluster has {}", known.join(", ")))
        })
    }

    /// Which cluster this is, by the first node that says so.
    #[must_use]
    pub fn cluster_id(&self) -> Option<String> {
        self.statuses().next().map(|status| plain(&status.cluster_id))
    }

    /// The name of a node by its number.
    #[must_use]
    pub fn name_of(&self, id: u64) -> String {
        let row = self.rows.iter().find(|row| row.id() == Some(id));
        row.map_or_else(|| NodeId(id).to_string(), Row::name)
    }

    /// The numbers of all voting members: by the newest view of them, else all that are listed.
    #[must_use]
    pub fn voters(&self) -> Vec<u64> {
        let newest = self.statuses().filter(|status| !status.voters.is_empty()).max_by_key(|status| status.term);
        match newest {
            Some(status) => status.voters.clone(),
            None => self.rows.iter().filter_map(Row::id).collect(),
        }
    }

    /// How many voters make a majority.
    #[must_use]
    pub fn needed(&self) -> usize {
        majority(self.voters().len().max(1))
    }

    /// Who leads: in the highest term that has a leader, and agreed on by a majority (of the nodes asked, if those were
    /// fewer than all). One that was asked must say so itself: the followers of a dead leader believe in it for a while.
    #[must_use]
    pub fn leader_id(&self) -> Option<u64> {
        let newest = self.statuses().filter(|status| status.leader != 0).max_by_key(|status| status.term)?;
        let (term, leader) = (newest.term, newest.leader);
        let agree = self.statuses().filter(|status| status.term == term && status.leader == leader).count();
        let leads = |status: &NodeStatus| status.term == term && status.role == i32::from(Role::Leader);
        let asked = self.rows.iter().find(|row| row.id() == Some(leader));
        let itself = asked.is_none_or(|row| row.status.as_ref().is_some_and(leads));
        (itself && agree >= self.needed().min(majority(self.rows.len()))).then_some(leader)
    }

    /// What the leader says, if it was asked.
    #[must_use]
    pub fn leader(&self) -> Option<&NodeStatus> {
        let leader = self.leader_id()?;
        self.statuses().find(|status| status.node == leader)
    }

    /// Whether a voter runs: it answered, or, if it was not asked, somebody who answered has an open link to it.
    fn is_up(&self, voter: u64) -> bool {
        let linked = |status: &NodeStatus| {
            status.peers.iter().any(|peer| peer.node == voter && peer.link == i32::from(LinkState::Up))
        };
        match self.rows.iter().find(|row| row.id() == Some(voter)) {
            Some(row) => row.status.is_some(),
            None => self.statuses().any(linked),
        }
    }

    fn statuses(&self) -> impl Iterator<Item = &NodeStatus> {
        self.rows.iter().filter_map(|row| row.status.as_ref())
    }

    fn report(&self) -> Report {
        let voters = self.voters();
        let leader = self.leader();
        let up = voters.iter().filter(|voter| self.is_up(**voter)).count();
        Report {
            nodes: self.rows.iter().map(|row| self.node(row)).collect(),
            leader: self.leader_id().map(|id| self.name_of(id)),
            term: leader.or_else(|| self.statuses().max_by_key(|s| s.term)).map_or(0, |status| status.term),
            quorum: Quorum { needed: self.needed(), up, ok: up >= self.needed() },
            queues: self.queues(),
        }
    }

    /// The queues as the leader says, else whoever has applied most.
    pub(super) fn queues(&self) -> Vec<Queue> {
        let newest = self.leader().or_else(|| self.statuses().max_by_key(|status| status.applied));
        newest.map_or_else(Vec::new, |status| status.queues.iter().map(Queue::of).collect())
    }

    fn node(&self, row: &Row) -> Node {
        let status = row.status.as_ref();
        Node {
            id: row.name(),
            api: row.member.api.clone(),
            peer: row.member.peer.clone(),
            pid: status.map(|s| s.pid),
            up: status.is_some(),
            role: status.map(|s| narrate::role(s.role)),
            term: status.map(|s| s.term),
            leader: status.filter(|s| s.leader != 0).map(|s| self.name_of(s.leader)),
            last: status.map(|s| s.last),
            commit: status.map(|s| s.commit),
            applied: status.map(|s| s.applied),
            state_hash: status.map(|s| format!("{:016x}", s.state_hash)),
        }
    }
}

async fn ask_all(members: &[Member]) -> Vec<Row> {
    let answers = members.iter().map(|member| async move {
        let status = ask::status(&member.api, ask::STATUS_WITHIN).await.ok();
        Row { member: member.clone(), status }
    });
    join_all(answers).await
}

/// The target with all members that can be found, also those that joined after its file was written.
pub async fn complete(target: Target) -> Target {
    let view = View::gather(&target).await;
    Target { members: view.rows.into_iter().map(|row| row.member).collect(), ..target }
}

fn majority(nodes: usize) -> usize {
    nodes / 2 + 1
}

/// The status as it is printed.
#[derive(Debug, Serialize)]
struct Report {
    nodes: Vec<Node>,
    leader: Option<String>,
    term: u64,
    quorum: Quorum,
    queues: Vec<Queue>,
}

#[derive(Debug, Serialize)]
struct Node {
    id: String,
    api: String,
    peer: Option<String>,
    pid: Option<u32>,
    up: bool,
    role: Option<&'static str>,
    term: Option<u64>,
    leader: Option<String>,
    last: Option<u64>,
    commit: Option<u64>,
    applied: Option<u64>,
    state_hash: Option<String>,
}

#[derive(Debug, Serialize)]
struct Quorum {
    needed: usize,
    up: usize,
    ok: bool,
}

/// The last to go are those by which a cluster is judged: which node, in which role, and how far it has applied.
const NARROW_NODES: Narrow<11> = Narrow {
    heads: ["NODE", "API", "PEER", "PID", "ROLE", "TERM", "LEADER", "LAST", "COMMIT", "APPLIED", "STATE"],
    goes: &[2, 3, 10, 1, 6, 5, 7, 8],
    verb: "status",
};

impl Report {
    fn words(&self, columns: Option<usize>) -> String {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let number = |value: Option<u64>| or_dash(value.map(|n| n.to_string()));
        let rows = self.nodes.iter().map(|node| {
            [
                node.id.clone(),
                node.api.clone(),
                or_dash(node.peer.clone()),
                number(node.pid.map(u64::from)),
                node.role.unwrap_or("down").to_owned(),
                number(node.term),
                or_dash(node.leader.clone()),
                number(node.last),
                number(node.commit),
                number(node.applied),
                or_dash(node.state_hash.clone()),
            ]
        });
        let rows: Vec<[String; 11]> = rows.collect();
        let leader = match &self.leader {
            Some(leader) => format!("leader {leader} in term {}", self.term),
            None => format!("no leader that a majority agrees on, newest term {}", self.term),
        };
        let Quorum { needed, up, ok } = self.quorum;
        let quorum = if ok { "quorum" } else { "NO QUORUM" };
        let mut words = format!(
            "{}\n{leader}; {quorum}: {up} up, {needed} needed",
            table_within(columns, NARROW_NODES.heads, &NARROW_NODES, &rows)
        );
        if !self.queues.is_empty() {
            words += &format!("\n{}", queues::words(&self.queues, columns, NARROW_NODES.verb));
        }
        words
    }
}

/// Prints a view.
///
/// # Errors
/// Stdout does not take it.
pub fn print(view: &View, out: Out) -> Result<(), Failure> {
    let report = view.report();
    out.say(&report, || report.words(out.columns))
}

/// `raftdeck status`.
///
/// # Errors
/// No node answers.
pub async fn run(target: &Target, out: Out) -> Result<(), Failure> {
    print(&View::gather(target).await.reached()?, out)
}

#[cfg(test)]
mod tests;
