//! What happened on this node, kept for whoever watches.
//!
//! Observations get a sequence number without gaps and a hybrid time (Kulkarni et al. 2014): this node's clock, but never
//! behind a message it has received, so that an effect on one node is always after its cause on another. They stay in a
//! ring of fixed size. A reader has a place in it of its own; one that falls behind loses what the ring has let go, and
//! is told how many. Nothing a reader does, or fails to do, reaches the node.

use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use raftdeck_raft::{Cause, GroupId, NodeId, Observation, Observed, RoleKind, Sending, TransferOutcome, VoteRefusal};
use raftdeck_shared::wire::{self, ObservationKind};
use tokio::sync::watch;

use crate::replica::Event;

/// Observations kept for readers that come late or resume.
const RING_MAX: usize = 65_536;

/// This machine's clock, unix milliseconds.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment of the hybrid clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Unix milliseconds, never falling.
    pub at_ms: u64,
    /// Order within them.
    pub logical: u32,
}

#[derive(Debug, Default)]
struct Ring {
    clock: Moment,
    /// Of the next observation, from 1.
    next_seq: u64,
    kept: VecDeque<Kept>,
}

/// An observation as it happened. Most are never read by anybody, so it is put into words when it is.
#[derive(Clone, Debug)]
struct Kept {
    at: Moment,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// Of the replica, whose core counts in ticks of so many milliseconds.
    Happened(GroupId, u128, Event),
    /// Of anything else in the process.
    Said(Box<wire::Observation>),
}

impl Ring {
    fn now(&mut self, wall_ms: u64) -> Moment {
        self.clock = if wall_ms > self.clock.at_ms {
            Moment { at_ms: wall_ms, logical: 0 }
        } else {
            Moment { logical: self.clock.logical + 1, ..self.clock }
        };
        self.clock
    }
}

/// The observations of one life of this process.
#[derive(Debug)]
pub struct Observer {
    node: NodeId,
    boot_id: String,
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

/// What a reader gets next.
#[derive(Debug)]
pub struct Page {
    /// So many were lost to this reader just before.
    pub dropped: u64,
    /// In order.
    pub observations: Vec<wire::Observation>,
}

impl Observer {
    /// For a process that starts now.
    #[must_use]
    pub fn new(node: NodeId) -> Observer {
        let ring = Ring { next_seq: 1, ..Ring::default() };
        let boot_id = uuid::Uuid::new_v4().simple().to_string();
        Observer { node, boot_id, ring: Mutex::new(ring), newest: watch::Sender::new(0) }
    }

    /// Names this life of the process.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// The sequence number of the newest observation; changes when there is a newer one.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The hybrid time, to be sent with a message.
    pub fn now(&self) -> Moment {
        self.ring.lock().expect("no holder panics").now(wall_ms())
    }

    /// A message of this hybrid time came: what is observed from now on comes after it.
    pub fn merge(&self, sent: Moment) {
        let mut ring = self.ring.lock().expect("no holder panics");
        ring.clock = ring.clock.max(sent);
    }

    /// Records observations.
    pub fn record(&self, observations: impl IntoIterator<Item = wire::Observation>) {
        self.keep(observations.into_iter().map(|observation| What::Said(Box::new(observation))));
    }

    /// Records what happened in a replica.
    pub fn happened(&self, group: GroupId, tick_ms: u128, events: Vec<Event>) {
        if !events.is_empty() {
            self.keep(events.into_iter().map(|event| What::Happened(group, tick_ms, event)));
        }
    }

    fn keep(&self, observations: impl Iterator<Item = What>) {
        let wall_ms = wall_ms();
        let mut ring = self.ring.lock().expect("no holder panics");
        for what in observations {
            let at = ring.now(wall_ms);
            ring.next_seq += 1;
            if ring.kept.len() == RING_MAX {
                ring.kept.pop_front();
            }
            ring.kept.push_back(Kept { at, what });
        }
        // Under the lock: or of two that record at once, the later might be published before the earlier.
        let newest = ring.next_seq - 1;
        self.newest.send_if_modified(|known| std::mem::replace(known, newest) != newest);
    }

    /// From `seq` on, at most `max` of them.
    #[must_use]
    pub fn page(&self, seq: u64, max: usize) -> Page {
        let ring = self.ring.lock().expect("no holder panics");
        let oldest = ring.next_seq - ring.kept.len() as u64;
        let dropped = oldest.saturating_sub(seq);
        let skip = usize::try_from(seq.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let kept: Vec<Kept> = ring.kept.iter().skip(skip).take(max).cloned().collect();
        drop(ring); // What follows takes its time, and is nobody else's.
        let tell = |(seq, kept)| self.tell(seq, kept);
        Page { dropped, observations: (seq.max(oldest)..).zip(kept).map(tell).collect() }
    }

    fn tell(&self, seq: u64, Kept { at, what }: Kept) -> wire::Observation {
        let told = match what {
            What::Happened(group, tick_ms, event) => to_wire(group, tick_ms, event),
            What::Said(observation) => *observation,
        };
        let (boot_id, node) = (self.boot_id.clone(), self.node.0);
        wire::Observation { seq, boot_id, node, at_ms: at.at_ms, logical: at.logical, ..told }
    }
}

/// An event of the replica as the wire has it; the core counts in ticks of `tick_ms`.
#[must_use]
pub fn to_wire(group: GroupId, tick_ms: u128, event: Event) -> wire::Observation {
    match event {
        Event::Core(observed) => core_to_wire(group, tick_ms, observed),
        Event::Jobs { term, index, what } => wire::Observation {
            group: group.0,
            term: term.0,
            kind: ObservationKind::Job.into(),
            index: index.0,
            cause: what,
            ..Default::default()
        },
    }
}

/// A role as the wire has it.
#[must_use]
pub fn role_to_wire(role: RoleKind) -> wire::Role {
    match role {
        RoleKind::Follower => wire::Role::Follower,
        RoleKind::PreCandidate => wire::Role::PreCandidate,
        RoleKind::Candidate => wire::Role::Candidate,
        RoleKind::Leader => wire::Role::Leader,
    }
}

fn core_to_wire(group: GroupId, tick_ms: u128, observed: Observed) -> wire::Observation {
    let mut out = wire::Observation { group: group.0, term: observed.term.0, ..Default::default() };
    let mut kind = |kind: ObservationKind| out.kind = kind.into();
    match observed.what {
        Observation::Became { role, cause } => {
            kind(ObservationKind::Role);
            out.role = role_to_wire(role).into();
            caused_by(&mut out, tick_ms, cause);
        }
        Observation::TermRaised { cause } => {
            kind(ObservationKind::Term);
            caused_by(&mut out, tick_ms, cause);
        }
        Observation::LeaderFound { leader, message } => {
            kind(ObservationKind::Leader);
            out.peer = leader.0;
            out.message_id = message;
        }
        Observation::VoteCast { candidate, asked, pre, refused, message } => {
            kind(ObservationKind::VoteCast);
            (out.peer, out.message_id, out.pre) = (candidate.0, message, pre);
            out.granted = refused.is_none();
            out.cause = refused.map_or_else(|| format!("for {asked}"), |r| refusal_words(r, asked));
        }
        Observation::VoteReceived { voter, pre, refused, message } => {
            kind(ObservationKind::VoteReceived);
            (out.peer, out.message_id, out.pre) = (voter.0, message, pre);
            out.granted = refused.is_none();
            out.cause = refused.map(|r| refusal_words(r, observed.term)).unwrap_or_default();
        }
        Observation::Appended { first, last, message } => {
            kind(ObservationKind::Appended);
            (out.index, out.last_index) = (first.0, last.0);
            out.message_id = message.unwrap_or_default();
        }
        Observation::Truncated { from, message } => {
            kind(ObservationKind::Truncated);
            (out.index, out.message_id) = (from.0, message);
            out.cause = "the leader of this term has other entries there".into();
        }
        Observation::Committed { index } => {
            kind(ObservationKind::Committed);
            out.index = index.0;
        }
        Observation::Sending { peer, how, cause } => {
            kind(ObservationKind::Progress);
            out.granted = how == Sending::Replicating;
            caused_by(&mut out, tick_ms, cause);
            out.peer = peer.0;
        }
        Observation::MembershipChanged { index, joint } => {
            kind(ObservationKind::Membership);
            out.index = index.0;
            out.cause = if joint { "joint: two majorities must agree" } else { "in force" }.into();
        }
        Observation::TransferStarted { target, asked_for } => {
            kind(ObservationKind::Transfer);
            out.peer = target.0;
            out.cause = if asked_for { "begun" } else { "begun, as its own disk stands still" }.into();
        }
        Observation::TransferEnded { target, outcome } => {
            kind(ObservationKind::Transfer);
            out.peer = target.0;
            (out.granted, out.cause) = match outcome {
                TransferOutcome::Done { .. } => (true, format!("{target} leads")),
                TransferOutcome::OtherLeads { leader } => (false, format!("failed: {leader} leads")),
                TransferOutcome::TimedOut => (false, "failed: it took longer than an election timeout".into()),
            };
        }
        Observation::Compacted { index } => {
            kind(ObservationKind::Snapshot);
            out.index = index.0;
            out.cause = "entries up to here left the log: the state has them".into();
        }
        Observation::SnapshotInstalled { index } => {
            kind(ObservationKind::Snapshot);
            out.index = index.0;
            out.granted = true;
            out.cause = "a snapshot took the place of log and state".into();
        }
        Observation::Damaged { until } => {
            kind(ObservationKind::Damage);
            out.index = until.0;
            out.cause = "the disk lost entries that were acknowledged: no vote until they are here again".into();
        }
        Observation::Refilled { index } => {
            kind(ObservationKind::Damage);
            out.index = index.0;
            out.granted = true;
            out.cause = "what was lost is here again".into();
        }
    }
    out
}

fn refusal_words(refusal: VoteRefusal, asked: raftdeck_raft::Term) -> String {
    match refusal {
        VoteRefusal::StaleTerm => format!("{asked} is over"),
        VoteRefusal::AlreadyVoted(other) => format!("already voted for {other} in {asked}"),
        VoteRefusal::LogBehind => "the candidate's log is behind".into(),
        VoteRefusal::LeaderAlive(leader) => format!("the leader {leader} is alive"),
        VoteRefusal::Damaged => "the voter's disk is damaged".into(),
    }
}

fn caused_by(out: &mut wire::Observation, tick_ms: u128, cause: Cause) {
    out.cause = match cause {
        Cause::ElectionTimeout { ticks } => format!("heard no leader for {} ms", u128::from(ticks) * tick_ms),
        Cause::PreVoteWon { votes } => format!("{votes} would vote for it"),
        Cause::ElectionWon { votes } => format!("{votes} votes"),
        Cause::CampaignLost => "too many refused".into(),
        Cause::HigherTerm { from, message } => {
            (out.peer, out.message_id) = (from.0, message);
            format!("{from} knows a higher term")
        }
        Cause::OtherLeads { leader, message } => {
            (out.peer, out.message_id) = (leader.0, message);
            format!("{leader} leads this term")
        }
        Cause::Answer { message } => {
            out.message_id = message;
            "by its answer".into()
        }
        Cause::SilentInFlight => "what was in flight is taken for lost".into(),
        Cause::NewLeader => "a new leader knows nothing of it yet".into(),
        Cause::NewMember => "a new member".into(),
        Cause::LogCompacted => "it needs entries that are no longer in the log".into(),
        Cause::LeaderGone { leader } => format!("the process of {leader} is gone"),
        Cause::MajoritySilent => "it heard no majority".into(),
        Cause::Removed => "it was removed".into(),
        Cause::TransferAsked { from, message } => {
            (out.peer, out.message_id) = (from.0, message);
            format!("{from} hands over")
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(observer: &Observer, count: usize) {
        observer.record(std::iter::repeat_n(wire::Observation::default(), count));
    }

    #[test]
    fn a_reader_that_falls_behind_is_told_how_much_it_lost() {
        let observer = Observer::new(NodeId(1));
        record(&observer, RING_MAX + 10);
        let page = observer.page(1, 5);
        assert_eq!(page.dropped, 10);
        assert_eq!(page.observations.iter().map(|o| o.seq).collect::<Vec<_>>(), [11, 12, 13, 14, 15]);
        let page = observer.page(RING_MAX as u64 + 10, 5);
        assert_eq!((page.dropped, page.observations.len()), (0, 1));
        assert_eq!(observer.page(RING_MAX as u64 + 11, 5).observations.len(), 0);
    }

    #[test]
    fn hybrid_time_never_falls_and_never_precedes_a_cause() {
        let observer = Observer::new(NodeId(1));
        record(&observer, 3);
        let ahead = Moment { at_ms: wall_ms() + 60_000, logical: 7 };
        observer.merge(ahead);
        record(&observer, 3);
        let all = observer.page(1, 10).observations;
        let times: Vec<Moment> = all.iter().map(|o| Moment { at_ms: o.at_ms, logical: o.logical }).collect();
        assert!(times.is_sorted() && times[2] < ahead && times[3] > ahead, "{times:?}");
    }
}
