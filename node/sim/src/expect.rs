//! What a scenario expects, compared with what is.

use std::collections::{BTreeMap, BTreeSet};

use raftdeck_jobs::Reply;
use raftdeck_node::replica::{Applied, Refused, Replica, Ticket};
use raftdeck_raft::{Index, Membership, NodeId};

use crate::{
    cluster::Cluster,
    play::Stop,
    scenario::{Expect, Fate, Place},
};

/// What a client was told; none if its node crashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Command(Option<Result<Applied, Refused>>),
    Steered(Option<Result<Index, Refused>>),
}

impl Answer {
    fn fate(&self) -> Fate {
        match self {
            Answer::Command(Some(Ok(applied))) if is_refusal(&applied.reply) => Fate::Refused,
            Answer::Command(Some(Ok(_))) | Answer::Steered(Some(Ok(_))) => Fate::Done,
            Answer::Command(None | Some(Err(Refused::Unknown)))
            | Answer::Steered(None | Some(Err(Refused::Unknown))) => Fate::Unknown,
            Answer::Command(Some(Err(_))) | Answer::Steered(Some(Err(_))) => Fate::Refused,
        }
    }
}

/// Whether the machine said no.
fn is_refusal(reply: &Reply) -> bool {
    match reply {
        Reply::Submitted(answer) => answer.is_err(),
        Reply::Acked(settled) | Reply::Failed(settled) => settled.iter().any(Result::is_err),
        Reply::Heartbeats(renewed) => renewed.iter().any(Result::is_err),
        Reply::Cancelled(answer) => answer.is_err(),
        Reply::Retried(answer) => answer.is_err(),
        Reply::QueuePaused(answer) => answer.is_err(),
        Reply::SessionRefused(_) => true,
        Reply::Repeated { reply, .. } => is_refusal(reply),
        Reply::Claimed(_) | Reply::Ticked { .. } | Reply::SessionOpened { .. } => false,
    }
}

/// Whether it is so.
pub(crate) fn check(cluster: &Cluster, answers: &BTreeMap<Ticket, Answer>, expect: &Expect) -> Result<(), Stop> {
    let leader = || cluster.leader().map_or("nobody leads".to_owned(), |n| format!("{n} leads"));
    match expect {
        Expect::Leader(node) => so(cluster.leader() == Some(*node), leader),
        Expect::ALeader => so(cluster.leader().is_some(), leader),
        Expect::NoLeader => so(cluster.leader().is_none(), leader),
        Expect::Equal(nodes) => equal(cluster, nodes),
        Expect::Jobs(count) => {
            let up = cluster.ids().into_iter().filter_map(|id| Some((id, cluster.replica(id)?)));
            let mut found = up.map(|(id, replica)| (id, replica.machine().live_count() as u64));
            let other = found.find(|(_, found)| found != count);
            other.map_or(Ok(()), |(id, found)| so(false, || format!("{id} has {found}")))
        }
        Expect::Term(node, term) => {
            let found = replica(cluster, *node)?.raft().term();
            so(found == *term, || format!("it is in {found}"))
        }
        Expect::Place(place, node, index) => {
            let replica = replica(cluster, *node)?;
            let found = match place {
                Place::Last => replica.raft().log().last().0,
                Place::Durable => replica.raft().log().durable(),
                Place::Commit => replica.raft().commit(),
                Place::Applied => Index(replica.machine().applied()),
            };
            so(found == *index, || format!("it is {found}"))
        }
        Expect::Members(node, voters) => {
            let found = membership(cluster, *node)?;
            let is_so = !found.is_joint() && found.voters == voters.iter().copied().collect::<BTreeSet<_>>();
            so(is_so, || crate::words::membership(found))
        }
        Expect::Learners(node, learners) => {
            let found = membership(cluster, *node)?;
            let is_so = found.learners.keys().copied().collect::<BTreeSet<_>>() == learners.iter().copied().collect();
            so(is_so, || crate::words::membership(found))
        }
        Expect::Joint(node) => {
            let found = membership(cluster, *node)?;
            so(found.is_joint(), || crate::words::membership(found))
        }
        Expect::Client(client, fate) => {
            let found = answers.get(&Ticket(*client)).map_or(Fate::Waiting, Answer::fate);
            so(found == *fate, || format!("it is {}", format!("{found:?}").to_lowercase()))
        }
        Expect::SameAnswer(client, other) => {
            let [one, two] = [client, other].map(|c| answers.get(&Ticket(*c)));
            so(one.is_some() && one == two, || "they have different answers".into())
        }
    }
}

fn so(is_so: bool, found: impl FnOnce() -> String) -> Result<(), Stop> {
    if is_so { Ok(()) } else { Err(Stop::Unexpected(found())) }
}

fn replica(cluster: &Cluster, node: NodeId) -> Result<&Replica, Stop> {
    cluster.replica(node).ok_or_else(|| Stop::Unexpected(format!("{node} is down")))
}

fn membership(cluster: &Cluster, node: NodeId) -> Result<&Membership, Stop> {
    Ok(replica(cluster, node)?.raft().membership())
}

fn equal(cluster: &Cluster, nodes: &[NodeId]) -> Result<(), Stop> {
    let all: Vec<&Replica> = if nodes.is_empty() {
        cluster.ids().into_iter().filter_map(|id| cluster.replica(id)).collect()
    } else {
        nodes.iter().map(|id| replica(cluster, *id)).collect::<Result<_, _>>()?
    };
    for pair in all.windows(2) {
        let [(a, m), (b, n)] = [pair[0], pair[1]].map(|r| (r.raft(), r.machine()));
        // What one of them has cut off cannot be compared.
        let first = a.log().start().index.max(b.log().start().index).next();
        let (a_last, b_last) = (a.log().last().0, b.log().last().0);
        let what = if a_last != b_last || a.log().range(first, a_last) != b.log().range(first, b_last) {
            "logs"
        } else if a.commit() != b.commit() {
            "commit indexes"
        } else if m.state_hash() != n.state_hash() {
            "states"
        } else {
            continue;
        };
        return so(false, || format!("the {what} of {} and {} differ", a.id(), b.id()));
    }
    Ok(())
}
