//! What happened, as a line to read aloud.

use raftdeck_jobs::Reply;
use raftdeck_node::replica::{Applied, Refused, Replica};
use raftdeck_raft::{
    Append, Body, Cause, Envelope, Index, Log, Membership, NodeId, Observation, Observed, Rejection, RoleKind, Sending,
    Term, TransferOutcome, VoteRefusal,
};

use crate::{cluster::Happening, network::Traffic};

/// A happening as a line; nothing for what would only repeat another line.
pub(crate) fn line(happening: &Happening) -> Option<String> {
    match happening {
        Happening::Observed(node, observed) => observation(*node, observed),
        Happening::Jobs(..) => None,
        Happening::Steered(ticket, answer) => {
            let answer = match answer {
                None => "nobody can say: its node crashed".to_owned(),
                Some(Err(Refused::NotLeader { leader: Some(leader) })) => format!("ask the leader, {leader}"),
                Some(Err(refused)) => refused.to_string(),
                Some(Ok(index)) => format!("done, as of index {index}"),
            };
            Some(format!("client {} is told: {answer}", ticket.0))
        }
        Happening::DiskFailed(node, error) => Some(format!("{node} ends: {error}")),
        Happening::Answered(ticket, answer) => {
            let answer = match answer {
                None => "nobody can say: its node crashed".to_owned(),
                Some(Err(Refused::NotLeader { leader: Some(leader) })) => format!("ask the leader, {leader}"),
                Some(Err(refused)) => refused.to_string(),
                Some(Ok(Applied { index, reply })) => reply_in_words(*index, reply),
            };
            Some(format!("client {} is told: {answer}", ticket.0))
        }
    }
}

fn reply_in_words(index: Index, reply: &Reply) -> String {
    match reply {
        Reply::Submitted(Ok(jobs)) => {
            let ids: Vec<String> = jobs.iter().map(|j| j.id.to_string()).collect();
            format!("job {} at index {index}", ids.join(", "))
        }
        Reply::Submitted(Err(refusal)) => refusal.to_string(),
        Reply::Claimed(jobs) => match jobs.first() {
            None => "there is nothing to do".into(),
            Some(job) => format!("it has job {}, attempt {}, under token {}", job.id, job.attempt, job.token),
        },
        Reply::Acked(settled) | Reply::Failed(settled) => match settled.first() {
            Some(Ok(settled)) if settled.repeated => format!("the job is {}, as was said before", settled.state),
            Some(Ok(settled)) => format!("the job is {} at index {index}", settled.state),
            Some(Err(refusal)) => refusal.to_string(),
            None => format!("done at index {index}"),
        },
        Reply::SessionOpened { session } => format!("its session is {session}"),
        Reply::SessionRefused(refusal) => refusal.to_string(),
        Reply::Retried(Err(refusal)) => refusal.to_string(),
        Reply::QueuePaused(Err(refusal)) => refusal.to_string(),
        Reply::Heartbeats(_)
        | Reply::Cancelled(_)
        | Reply::Retried(Ok(_))
        | Reply::QueuePaused(Ok(_))
        | Reply::Ticked { .. }
        | Reply::Repeated { .. } => {
            format!("done at index {index}")
        }
    }
}

/// What goes over a link.
pub(crate) fn traffic(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::All => "messages",
        Traffic::Votes => "votes",
        Traffic::Entries => "entries",
        Traffic::Heartbeats => "heartbeats",
        Traffic::Orders => "orders to campaign",
    }
}

/// A message as a line.
pub(crate) fn message(envelope: &Envelope) -> String {
    let term = envelope.term;
    let index = |(index, term): (Index, Term)| format!("{index} of {term}");
    match &envelope.body {
        Body::RequestVote { pre: true, last, .. } => {
            format!("would you vote in {term}, my log ends at {}", index(*last))
        }
        Body::RequestVote { pre: false, last, .. } => format!("vote in {term}, my log ends at {}", index(*last)),
        Body::Vote { pre, asked, refused } => match (pre, refused) {
            (true, None) => format!("would vote in {asked}"),
            (false, None) => format!("vote for {asked}"),
            (true, Some(refusal)) => format!("would not vote in {asked}: {}", why_not(*refusal)),
            (false, Some(refusal)) => format!("no vote for {asked}: {}", why_not(*refusal)),
        },
        Body::Append(Append { prev, entries, commit }) => {
            let count = entries.len();
            format!("{term} append of {count} after {}, committed {commit}", index(*prev))
        }
        Body::Appended { index, .. } => format!("{term} has {index} on disk"),
        Body::Rejected(Rejection { prev, hint, .. }) => {
            format!("{term} does not agree at {prev}, perhaps at {}", index(*hint))
        }
        Body::Heartbeat { commit, .. } => format!("{term} heartbeat, committed {commit}"),
        Body::HeartbeatReply { .. } => format!("{term} heard you"),
        Body::TimeoutNow => format!("{term} campaign now"),
        Body::SnapshotOffer(meta) => format!("{term} offer of a snapshot as of {}", meta.start.index),
        Body::SnapshotWanted { offset, .. } => format!("{term} wants the snapshot from byte {offset}"),
        Body::SnapshotChunk(_) => format!("{term} chunk of a snapshot"),
    }
}

/// Who belongs to a group.
pub(crate) fn membership(membership: &Membership) -> String {
    let list = |nodes: &mut dyn Iterator<Item = String>| nodes.collect::<Vec<_>>().join(" ");
    if membership.voters.is_empty() {
        return "knows of no group".into();
    }
    let mut text = format!("voters {}", list(&mut membership.voters.iter().map(NodeId::to_string)));
    if membership.is_joint() {
        text += &format!(", outgoing {}", list(&mut membership.outgoing.iter().map(NodeId::to_string)));
    }
    if !membership.learners.is_empty() {
        let learner = |(node, learner): (&NodeId, &raftdeck_raft::Learner)| {
            format!("{node}{}", if learner.promote { " (to vote)" } else { "" })
        };
        text += &format!(", learners {}", list(&mut membership.learners.iter().map(learner)));
    }
    text
}

/// Who belongs to the group as a node's log says, and by which entry.
pub(crate) fn members(node: NodeId, replica: Option<&Replica>) -> String {
    let Some(replica) = replica else { return format!("{node} down") };
    let log = replica.raft().log();
    match log.membership_index() {
        Index(0) => format!("{node} {}", membership(log.membership())),
        index => format!("{node} {}, by entry {index}", membership(log.membership())),
    }
}

/// What a leader knows of each follower.
pub(crate) fn followers(node: NodeId, replica: Option<&Replica>) -> Vec<String> {
    let Some(replica) = replica else { return vec![format!("{node} down")] };
    let follower = |(peer, view): (NodeId, raftdeck_raft::PeerView)| {
        let how = match (view.sending, view.snapshot_offset) {
            (Sending::Probing, _) => "probing".to_owned(),
            (Sending::Replicating, _) => "replicating".to_owned(),
            (Sending::Snapshot, offset) => format!("snapshot, {} bytes stored", offset.unwrap_or(0)),
        };
        let (matched, next, in_flight) = (view.matched, view.next, view.in_flight);
        format!("{node} -> {peer} {how}, has {matched}, next {next}, in flight {in_flight}")
    };
    replica.raft().followers().map(follower).collect()
}

fn observation(node: NodeId, Observed { term, what }: &Observed) -> Option<String> {
    let text = match *what {
        // Told by the change of role that follows it, or of no interest beside it.
        Observation::TermRaised { .. } => return None,
        Observation::Became { role, cause } => format!("becomes {}: {}", role.as_str(), why(cause)),
        Observation::LeaderFound { leader, .. } => format!("follows {leader}"),
        Observation::VoteCast { candidate, asked, pre, refused, .. } => match (pre, refused) {
            (true, None) => format!("would vote for {candidate} in {asked}"),
            (false, None) => format!("votes for {candidate}"),
            (true, Some(refusal)) => format!("would not vote for {candidate} in {asked}: {}", why_not(refusal)),
            (false, Some(refusal)) => format!("refuses {candidate} its vote for {asked}: {}", why_not(refusal)),
        },
        // Told by the voter.
        Observation::VoteReceived { .. } => return None,
        Observation::Appended { first, last, .. } if first == last => format!("appends {first}"),
        Observation::Appended { first, last, .. } => format!("appends {first}..{last}"),
        Observation::Truncated { from, .. } => format!("drops {from} and all after it"),
        Observation::Committed { index } => format!("commits {index}"),
        Observation::Sending { cause: Cause::NewLeader | Cause::NewMember, .. } => return None,
        Observation::Sending { peer, how: Sending::Probing, cause } => format!("probes {peer}: {}", why(cause)),
        Observation::Sending { peer, how: Sending::Replicating, .. } => format!("knows where {peer} agrees"),
        Observation::Sending { peer, how: Sending::Snapshot, cause } => {
            format!("offers {peer} a snapshot: {}", why(cause))
        }
        Observation::MembershipChanged { index, joint: true } => format!("has the joint membership of {index}"),
        Observation::MembershipChanged { index, joint: false } => format!("has the membership of {index}"),
        Observation::TransferStarted { target, asked_for: true } => format!("hands over to {target}"),
        Observation::TransferStarted { target, asked_for: false } => {
            format!("hands over to {target}: its own disk stands still")
        }
        Observation::TransferEnded { target, outcome } => match outcome {
            TransferOutcome::Done { .. } => format!("has handed over to {target}"),
            TransferOutcome::OtherLeads { leader } => format!("has not handed over to {target}: {leader} leads"),
            TransferOutcome::TimedOut => format!("has not handed over to {target}: it took too long"),
        },
        Observation::Compacted { index } => format!("forgets its entries up to {index}"),
        Observation::SnapshotInstalled { index } => format!("has installed a snapshot as of {index}"),
        Observation::Damaged { until } => format!("is damaged: it has lost entries, up to {until} at most"),
        Observation::Refilled { index } => format!("is refilled, up to {index}"),
    };
    Some(format!("{node} {term} {text}"))
}

fn why(cause: Cause) -> String {
    match cause {
        Cause::ElectionTimeout { .. } => "heard no leader for too long".into(),
        Cause::LeaderGone { leader } => format!("the process of {leader} is gone"),
        Cause::PreVoteWon { votes } => format!("{votes} would vote for it"),
        Cause::ElectionWon { votes } => format!("{votes} votes"),
        Cause::CampaignLost => "too many refused".into(),
        Cause::HigherTerm { from, .. } => format!("{from} knows a higher term"),
        Cause::OtherLeads { leader, .. } => format!("{leader} leads this term"),
        Cause::Answer { .. } => "it refused an append".into(),
        Cause::SilentInFlight => "what was sent is taken for lost".into(),
        Cause::NewLeader => "a new leader".into(),
        Cause::NewMember => "a new member".into(),
        Cause::LogCompacted => "it needs what is no longer in the log".into(),
        Cause::MajoritySilent => "it heard no majority for too long".into(),
        Cause::Removed => "it is no member any more".into(),
        Cause::TransferAsked { from, .. } => format!("{from} hands over"),
    }
}

fn why_not(refusal: VoteRefusal) -> String {
    match refusal {
        VoteRefusal::StaleTerm => "that term is over".into(),
        VoteRefusal::AlreadyVoted(other) => format!("voted for {other} already"),
        VoteRefusal::LogBehind => "its log is behind".into(),
        VoteRefusal::LeaderAlive(leader) => format!("the leader {leader} is alive"),
        VoteRefusal::Damaged => "its disk is damaged".into(),
    }
}

/// A node as a line.
pub(crate) fn status(node: NodeId, replica: Option<&Replica>) -> String {
    let Some(replica) = replica else { return format!("{node} down") };
    let (raft, machine) = (replica.raft(), replica.machine());
    let (last, _) = raft.log().last();
    let leads = match (raft.role(), raft.leader()) {
        (RoleKind::Leader, _) => String::new(),
        (_, Some(leader)) => format!(" of {leader}"),
        (_, None) => " of nobody".into(),
    };
    let vote = match (raft.is_damaged(), raft.membership().counts(raft.id(), raft.storage())) {
        (true, _) => ", damaged",
        (false, true) => "",
        (false, false) => ", without a vote",
    };
    format!(
        "{node} {} {}{leads}, last {last}, durable {}, commit {}, applied {}{vote}",
        raft.term(),
        raft.role().as_str(),
        raft.log().durable(),
        raft.commit(),
        machine.applied(),
    )
}

/// A log as the terms of its entries, `|` after the last committed one.
pub(crate) fn log(node: NodeId, replica: Option<&Replica>) -> String {
    let Some(replica) = replica else { return format!("{node} down") };
    let log: &Log = replica.raft().log();
    let commit = replica.raft().commit();
    let mut text = format!("{node}");
    for entry in log.range(raftdeck_raft::Index(1), log.last().0) {
        let Term(term) = entry.term;
        text += &format!(" {term}");
        if entry.index == commit {
            text += " |";
        }
    }
    text
}
