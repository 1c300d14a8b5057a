//! What must hold after every event, checked by an onlooker who sees all nodes at once and remembers everything.
//!
//! What it remembers is cheap to compare: for every entry that was ever in a log, a hash of the whole log up to it. So log
//! matching is one comparison an entry, not one a pair of nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use raftdeck_node::replica::{Replica, Ticket};
use raftdeck_raft::{
    Body, Cause, Config, Entry, EntryKind, Envelope, Index, Membership, NodeId, Observation, Observed, RoleKind,
    StorageId, Term,
};

use crate::violation::Violation;

/// What the onlooker remembers.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    leaders: BTreeMap<Term, NodeId>,
    committed: Vec<Entry>,
    /// For an entry, the hash of the log that ends with it.
    chains: BTreeMap<(Index, Term), u64>,
    states: BTreeMap<u64, (NodeId, u64)>,
    seen: BTreeMap<NodeId, Seen>,
    votes: BTreeMap<(NodeId, StorageId, Term), NodeId>,
    /// Whose disk was damaged, ever.
    hurt: BTreeSet<NodeId>,
    /// Who said that it would vote for a candidate in a term, and who was told by its leader to campaign after one.
    consents: BTreeMap<(NodeId, Term), BTreeSet<NodeId>>,
    orders: BTreeSet<(NodeId, Term)>,
    /// What leaders knew their followers to have on disk.
    matched: BTreeMap<(NodeId, Term, NodeId), Index>,
    /// The highest index that any client was told of, as of when a read began.
    reads: BTreeMap<Ticket, Index>,
    told: Index,
}

/// What was last seen of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    term: Term,
    commit: Index,
    now_ms: u64,
    /// The end of its log, while it leads.
    led: Option<(Term, Index, Term)>,
    /// The highest term that this directory has shown to a peer, in any life.
    shown: (StorageId, Term),
}

impl Checks {
    /// A node starts: what was only in memory may be less now; term and vote that it has shown may not, unless its disk was
    /// replaced. And whose disk nobody damaged is not damaged: crashes and failing writes are no excuse.
    pub(crate) fn started(&mut self, node: NodeId, replica: &Replica) -> Result<(), Violation> {
        let seen = self.seen.entry(node).or_default();
        let (storage, term) = (replica.raft().storage(), replica.raft().term());
        let shown = if seen.shown.0 == storage { seen.shown.1 } else { Term(0) };
        *seen = Seen { term, commit: Index(0), now_ms: 0, led: None, shown: (storage, shown) };
        if replica.raft().is_damaged() && !self.hurt.contains(&node) {
            return Err(Violation::DamagedByNothing { node });
        }
        // A damaged disk may have lost it: then the node knows that, and does not vote.
        let shown_vote = self.votes.get(&(node, storage, term)).filter(|_| !replica.raft().is_damaged());
        if let Some(candidate) = shown_vote.copied().filter(|c| replica.raft().voted_for() != Some(*c)) {
            return Err(Violation::VoteForgotten { node, term, candidate });
        }
        if shown <= term { Ok(()) } else { Err(Violation::Fell { node, what: "term", from: shown.0, to: term.0 }) }
    }

    /// A node sends a message. The term of a pre-vote request is one that it has not entered.
    pub(crate) fn sent(&mut self, envelope: &Envelope) -> Result<(), Violation> {
        let (node, term) = (envelope.from, envelope.term);
        if !matches!(envelope.body, Body::RequestVote { pre: true, .. }) {
            let seen = self.seen.entry(node).or_default();
            seen.shown.1 = seen.shown.1.max(term);
        }
        if let Body::Vote { pre: true, asked, refused: None } = envelope.body {
            self.consents.entry((envelope.to, asked)).or_default().insert(node);
        }
        if matches!(envelope.body, Body::TimeoutNow) {
            self.orders.insert((envelope.to, term));
        }
        let voted_for = match envelope.body {
            Body::Vote { pre: false, refused: None, .. } => envelope.to,
            Body::RequestVote { pre: false, .. } => node,
            Body::Vote { .. }
            | Body::RequestVote { .. }
            | Body::Append(_)
            | Body::Appended { .. }
            | Body::Rejected(_)
            | Body::Heartbeat { .. }
            | Body::HeartbeatReply { .. }
            | Body::TimeoutNow
            | Body::SnapshotOffer(_)
            | Body::SnapshotWanted { .. }
            | Body::SnapshotChunk(_) => return Ok(()),
        };
        let one = *self.votes.entry((node, envelope.storage, term)).or_insert(voted_for);
        if one == voted_for { Ok(()) } else { Err(Violation::VotedTwice { node, term, one, other: voted_for }) }
    }

    /// After every event, for the node that it happened to.
    pub(crate) fn look(&mut self, node: NodeId, replica: &Replica) -> Result<(), Violation> {
        let raft = replica.raft();
        let (last, last_term) = raft.log().last();
        let seen = self.seen.entry(node).or_default();
        let now_ms = replica.machine().now_ms();
        for (what, from, to) in [
            ("term", seen.term.0, raft.term().0),
            ("commit index", seen.commit.0, raft.commit().0),
            ("machine's time", seen.now_ms, now_ms),
        ] {
            if to < from {
                return Err(Violation::Fell { node, what, from, to });
            }
        }
        let leads = raft.role() == RoleKind::Leader;
        if let (true, Some((term, index, index_term))) = (leads, seen.led)
            && term == raft.term()
            && (last < index || raft.log().term_at(index).is_some_and(|t| t != index_term))
        {
            return Err(Violation::LeaderRewrote { leader: node, term, index });
        }
        let limit = window_batches_max();
        if let Some((_, view)) = raft.followers().find(|(_, view)| view.in_flight > limit) {
            return Err(Violation::Unbounded { node, what: "a window in flight", found: view.in_flight, limit });
        }
        let news = seen.commit.next();
        let led = leads.then_some((raft.term(), last, last_term));
        *seen = Seen { term: raft.term(), commit: raft.commit(), now_ms, led, ..*seen };
        self.matched_grows(node, replica)?;
        for entry in raft.log().range(news, raft.commit()) {
            match self.committed.get(place(entry.index)) {
                Some(known) if known == entry => {}
                Some(_) => return Err(Violation::CommittedChanged { node, index: entry.index }),
                None if place(entry.index) == self.committed.len() => self.committed.push(entry.clone()),
                None => return Err(Violation::CommittedChanged { node, index: entry.index }),
            }
        }
        let (applied, hash) = (replica.machine().applied(), replica.machine().state_hash());
        let (first, known) = *self.states.entry(applied).or_insert((node, hash));
        if known == hash { Ok(()) } else { Err(Violation::StatesDiffer { node, first, applied }) }
    }

    /// A node observed something.
    pub(crate) fn observed(&mut self, node: NodeId, replica: &Replica, observed: &Observed) -> Result<(), Violation> {
        match &observed.what {
            Observation::Appended { first, last, .. } => self.appended(node, replica, *first, *last),
            Observation::MembershipChanged { index, .. } => membership_follows(node, replica, *index),
            Observation::Committed { index } => commits_own_term(node, replica, observed.term, *index),
            Observation::Became { role: RoleKind::Leader, .. } => self.leads(node, replica, observed.term),
            Observation::Became { role: RoleKind::Candidate, cause } => {
                self.campaigns(node, replica, observed.term, *cause)
            }
            Observation::Became { .. }
            | Observation::TermRaised { .. }
            | Observation::LeaderFound { .. }
            | Observation::VoteCast { .. }
            | Observation::VoteReceived { .. }
            | Observation::Truncated { .. }
            | Observation::Sending { .. }
            | Observation::TransferStarted { .. }
            | Observation::TransferEnded { .. }
            | Observation::Compacted { .. }
            | Observation::SnapshotInstalled { .. }
            | Observation::Damaged { .. }
            | Observation::Refilled { .. } => Ok(()),
        }
    }

    /// Entries came into a log: what ends with them must be what ended with them anywhere before.
    fn appended(&mut self, node: NodeId, replica: &Replica, first: Index, last: Index) -> Result<(), Violation> {
        let log = replica.raft().log();
        for entry in log.range(first, last) {
            let (index, term) = (entry.index, entry.term);
            let differs = Violation::LogsDiffer { node, index, term };
            let before = match (index.prev(), log.term_at(index.prev())) {
                (Index(0), _) => 0,
                (prev, Some(prev_term)) => *self.chains.get(&(prev, prev_term)).ok_or(differs.clone())?,
                (_, None) => continue, // The log begins after it by now.
            };
            let mut hasher = DefaultHasher::new();
            (before, entry).hash(&mut hasher);
            let chain = hasher.finish();
            if *self.chains.entry((index, term)).or_insert(chain) != chain {
                return Err(differs);
            }
        }
        // Of its own: what it inherited may be committed without its knowing.
        let own = replica.raft().term();
        let changes = log.range(replica.raft().commit().next(), log.last().0).iter().filter(|e| e.term == own);
        let count = changes.filter(|e| matches!(e.kind, EntryKind::Membership(_))).count();
        let leads = replica.raft().role() == RoleKind::Leader;
        let is_early = log.term_at(replica.raft().commit()) != Some(own);
        if leads && count > 0 && is_early {
            return Err(Violation::ChangeTooEarly { leader: node, term: own });
        }
        if leads && count > 1 { Err(Violation::TwoChanges { leader: node, count }) } else { Ok(()) }
    }

    /// A node enters a term of its own making: because a majority would vote for it there, or because the leader of the
    /// term before wants it to (thesis 9.6, 3.10). Else it would drive up the terms of a cluster that needs no leader.
    fn campaigns(&self, node: NodeId, replica: &Replica, term: Term, cause: Cause) -> Result<(), Violation> {
        let raft = replica.raft();
        if raft.term() != term || raft.role() == RoleKind::Follower {
            return Ok(()); // Its campaign, and perhaps its membership, ended in the same round.
        }
        let is_asked = match cause {
            Cause::TransferAsked { .. } => self.orders.contains(&(node, Term(term.0 - 1))),
            _ => {
                let consents = self.consents.get(&(node, term));
                raft.membership().majority_of(|n| n == node || consents.is_some_and(|c| c.contains(&n)))
            }
        };
        if is_asked { Ok(()) } else { Err(Violation::CampaignUnasked { node, term }) }
    }

    /// A node's disk is being damaged.
    pub(crate) fn note_hurt(&mut self, node: NodeId) {
        self.hurt.insert(node);
    }

    /// What a leader knows its follower to have never gets less: not by a message that comes late. But for a follower that
    /// has lost it with its disk, and one that is bound to no directory yet and may come with another.
    fn matched_grows(&mut self, node: NodeId, replica: &Replica) -> Result<(), Violation> {
        let (raft, term) = (replica.raft(), replica.raft().term());
        for (peer, view) in raft.followers() {
            let known = self.matched.entry((node, term, peer)).or_default();
            let may_fall = self.hurt.contains(&peer)
                || view.damaged
                || view.matched == Index(0)
                || !raft.membership().storages.contains_key(&peer);
            let from = std::mem::replace(known, view.matched);
            if view.matched < from && !may_fall {
                let what = "leader's knowledge of a follower";
                return Err(Violation::Fell { node, what, from: from.0, to: view.matched.0 });
            }
        }
        Ok(())
    }

    /// A leader makes voters of learners by itself: each of them must have at least what there was when it became one. `has`
    /// tells whether a node that is up and whole has an entry on disk.
    pub(crate) fn promoted(
        &self,
        leader: NodeId,
        replica: &Replica,
        index: Index,
        has: impl Fn(NodeId, Index, Term) -> bool,
    ) -> Result<(), Violation> {
        let log = replica.raft().log();
        if replica.raft().role() != RoleKind::Leader || index <= log.start().index {
            return Ok(());
        }
        let (before, now) = (log.membership_at(index.prev()), log.membership_at(index));
        // A disk that was damaged may have lost since what its leader rightly counts.
        let is_new = |n: &&NodeId| before.learners.contains_key(n) && !self.hurt.contains(n);
        for node in now.voters.iter().filter(is_new) {
            let start = log.start();
            let entries = log.range(start.index.next(), index.prev()).iter().rev();
            let memberships = entries.filter_map(|e| match &e.kind {
                EntryKind::Membership(membership) => Some((e.index, e.term, &**membership)),
                EntryKind::Noop | EntryKind::Command(_) => None,
            });
            // What is cut off the log is known as it was at its start.
            let memberships = memberships.chain([(start.index, start.term, &start.membership)]);
            let since = memberships.take_while(|(.., m)| m.learners.contains_key(node)).last();
            if since.is_some_and(|(index, term, _)| !has(*node, index, term)) {
                return Err(Violation::PromotedTooEarly { leader, node: *node, index });
            }
        }
        Ok(())
    }

    /// A node became leader.
    fn leads(&mut self, node: NodeId, replica: &Replica, term: Term) -> Result<(), Violation> {
        let raft = replica.raft();
        let one = *self.leaders.entry(term).or_insert(node);
        if one != node {
            return Err(Violation::TwoLeaders { term, one, other: node });
        }
        if raft.term() != term {
            return Ok(()); // It lost its office in the same round.
        }
        // Who is removed by an entry that is not committed may still be needed (thesis 4.2.2).
        let in_force = [raft.membership(), raft.log().membership_at(raft.commit())];
        if !in_force.iter().any(|m| m.counts(node, raft.storage())) {
            return Err(Violation::LeaderWithoutVote { leader: node, term });
        }
        let log = raft.log();
        let has = |e: &Entry| {
            e.index < log.start().index
                || log.term_at(e.index) == Some(e.term) && log.get(e.index).is_none_or(|l| l == e)
        };
        let lacks = self.committed.iter().find(|e| !has(e));
        lacks.map_or(Ok(()), |e| Err(Violation::LeaderLacks { leader: node, term, index: e.index }))
    }

    /// A client was told that its entry is applied. `durable` are the nodes that have an entry on disk; it must be a
    /// majority of a membership that some node goes by.
    pub(crate) fn acknowledged(
        &mut self,
        index: Index,
        durable: impl Fn(Index, Term) -> BTreeSet<NodeId>,
        memberships: &[&Membership],
    ) -> Result<(), Violation> {
        self.told = self.told.max(index);
        let term = self.committed.get(place(index)).map_or(Term(0), |e| e.term);
        let on = durable(index, term);
        if memberships.iter().any(|m| m.majority_of(|n| on.contains(&n))) {
            return Ok(());
        }
        Err(Violation::AcknowledgedTooEarly { index, term, on: on.into_iter().collect() })
    }

    /// A read begins: it must see all that any client was told of before.
    pub(crate) fn read_begins(&mut self, ticket: Ticket) {
        self.reads.insert(ticket, self.told);
    }

    /// A read may be answered as of this index.
    pub(crate) fn read_ends(&mut self, ticket: Ticket, index: Option<Index>) -> Result<(), Violation> {
        let (Some(acknowledged), Some(index)) = (self.reads.remove(&ticket), index) else { return Ok(()) };
        self.told = self.told.max(index);
        if index >= acknowledged { Ok(()) } else { Err(Violation::StaleRead { index, acknowledged }) }
    }

    /// The highest index that was ever committed.
    pub(crate) fn committed(&self) -> Index {
        Index(self.committed.len() as u64)
    }
}

/// What every node is told at its start.
fn window_batches_max() -> usize {
    Config::new(NodeId(1), StorageId(1), Membership::default(), 0).window_batches_max
}

/// A leader counts only for entries of its own term: what is before them is committed with them (paper 5.4.2).
fn commits_own_term(node: NodeId, replica: &Replica, term: Term, index: Index) -> Result<(), Violation> {
    let raft = replica.raft();
    let leads = raft.role() == RoleKind::Leader && raft.term() == term;
    let is_own = raft.log().term_at(index).is_none_or(|t| t == term);
    if !leads || is_own { Ok(()) } else { Err(Violation::CommittedByCounting { leader: node, term, index }) }
}

/// The membership at an entry must share majorities with the one before it.
fn membership_follows(node: NodeId, replica: &Replica, index: Index) -> Result<(), Violation> {
    let log = replica.raft().log();
    if index <= log.start().index {
        return Ok(());
    }
    let (before, now) = (log.membership_at(index.prev()), log.membership_at(index));
    if before.voters.is_empty() {
        return Ok(()); // It joins, and knew of nobody.
    }
    let follows = match (before.is_joint(), now.is_joint()) {
        (false, false) => before.voters == now.voters,
        (false, true) => now.outgoing == before.voters,
        (true, false) => now.voters == before.voters,
        (true, true) => before.voters == now.voters && before.outgoing == now.outgoing,
    };
    if follows { Ok(()) } else { Err(Violation::MembershipLeaps { node, index }) }
}

fn place(index: Index) -> usize {
    usize::try_from(index.prev().0).expect("a simulated log is short")
}
