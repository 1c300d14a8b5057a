//! Between the core's messages and the wire's.
//!
//! What comes from the wire is checked here, once: a message that makes no sense is an error, never a default.

use bytes::Bytes;
use raftdeck_raft::{
    Append, Body, Chunk, Entry, EntryKind, Envelope, GroupId, Index, LogStart, NodeId, ReadRound, Rejection,
    SnapshotId, SnapshotMeta, StorageId, Term, VoteRefusal,
};
use raftdeck_shared::wire::{self, append_reply::Outcome, raft_message};

use super::member;

/// To the wire.
#[must_use]
pub fn encode(group: GroupId, envelope: Envelope) -> wire::RaftMessage {
    // The directory it comes from was said once, at the start of the stream.
    let Envelope { id, from, storage: _, to, term, body } = envelope;
    let body = match body {
        Body::RequestVote { pre, transfer, last: (index, term) } => {
            let (last_index, last_term) = (index.0, term.0);
            raft_message::Body::VoteRequest(wire::VoteRequest { pre, last_index, last_term, transfer })
        }
        Body::Vote { pre, asked, refused } => {
            let (refusal, refused_for) = refusal_to_wire(refused);
            let (granted, refusal) = (refused.is_none(), refusal.into());
            raft_message::Body::VoteReply(wire::VoteReply { pre, granted, refusal, asked_term: asked.0, refused_for })
        }
        Body::Append(Append { prev: (prev, prev_term), entries, commit }) => {
            raft_message::Body::AppendRequest(wire::AppendRequest {
                prev_index: prev.0,
                prev_term: prev_term.0,
                entries: entries.into_iter().map(entry_to_wire).collect(),
                commit: commit.0,
            })
        }
        Body::Appended { index, damaged } => append_reply(Outcome::MatchIndex(index.0), damaged),
        Body::Rejected(Rejection { prev, hint: (hint, hint_term), damaged }) => {
            let (prev_index, hint_index, hint_term) = (prev.0, hint.0, hint_term.0);
            append_reply(Outcome::Rejected(wire::AppendRejection { prev_index, hint_index, hint_term }), damaged)
        }
        Body::Heartbeat { commit, read } => {
            raft_message::Body::HeartbeatRequest(wire::HeartbeatRequest { commit: commit.0, read: read.0 })
        }
        Body::HeartbeatReply { read, damaged } => {
            raft_message::Body::HeartbeatReply(wire::HeartbeatReply { read: read.0, damaged })
        }
        Body::TimeoutNow => raft_message::Body::TimeoutNow(wire::TimeoutNow {}),
        Body::SnapshotOffer(meta) => {
            let SnapshotMeta { start, bytes, checksum } = *meta;
            raft_message::Body::SnapshotOffer(wire::SnapshotOffer {
                index: start.index.0,
                term: start.term.0,
                membership: Some(member::to_wire(&start.membership)),
                bytes,
                checksum: checksum_to_wire(checksum),
            })
        }
        Body::SnapshotWanted { id, offset } => {
            let (index, checksum) = (id.index.0, checksum_to_wire(id.checksum));
            raft_message::Body::SnapshotWanted(wire::SnapshotWanted { index, checksum, offset })
        }
        Body::SnapshotChunk(Chunk { id, offset, bytes, checksum: crc }) => {
            let (index, checksum) = (id.index.0, checksum_to_wire(id.checksum));
            raft_message::Body::SnapshotChunk(wire::SnapshotChunk { index, checksum, offset, data: bytes, crc })
        }
    };
    wire::RaftMessage { group: group.0, from: from.0, to: to.0, term: term.0, message_id: id, body: Some(body) }
}

fn append_reply(outcome: Outcome, damaged: bool) -> raft_message::Body {
    raft_message::Body::AppendReply(wire::AppendReply { damaged, outcome: Some(outcome) })
}

fn checksum_to_wire(checksum: u128) -> Bytes {
    Bytes::copy_from_slice(&checksum.to_le_bytes())
}

fn snapshot_id(index: u64, checksum: &Bytes) -> Result<SnapshotId, &'static str> {
    let checksum = checksum[..].try_into().map_err(|_| "a snapshot's checksum of the wrong length")?;
    Ok(SnapshotId { index: Index(index), checksum: u128::from_le_bytes(checksum) })
}

/// An entry as the wire has it.
#[must_use]
pub fn entry_to_wire(entry: Entry) -> wire::LogEntry {
    let (kind, payload, membership) = match entry.kind {
        EntryKind::Noop => (wire::EntryKind::Noop, Bytes::new(), None),
        EntryKind::Command(payload) => (wire::EntryKind::Command, payload, None),
        EntryKind::Membership(m) => (wire::EntryKind::Membership, Bytes::new(), Some(member::to_wire(&m))),
    };
    wire::LogEntry { index: entry.index.0, term: entry.term.0, kind: kind.into(), payload, membership }
}

fn refusal_to_wire(refused: Option<VoteRefusal>) -> (wire::VoteRefusal, u64) {
    match refused {
        None => (wire::VoteRefusal::None, 0),
        Some(VoteRefusal::StaleTerm) => (wire::VoteRefusal::StaleTerm, 0),
        Some(VoteRefusal::AlreadyVoted(other)) => (wire::VoteRefusal::AlreadyVoted, other.0),
        Some(VoteRefusal::LogBehind) => (wire::VoteRefusal::LogBehind, 0),
        Some(VoteRefusal::LeaderAlive(leader)) => (wire::VoteRefusal::LeaderAlive, leader.0),
        Some(VoteRefusal::Damaged) => (wire::VoteRefusal::Damaged, 0),
    }
}

/// From the wire, over the stream of a node with this directory.
///
/// # Errors
/// What makes no sense, in words.
pub fn decode(message: wire::RaftMessage, storage: StorageId) -> Result<(GroupId, Envelope), &'static str> {
    let body = match message.body.ok_or("a message without a body")? {
        raft_message::Body::VoteRequest(r) => {
            Body::RequestVote { pre: r.pre, transfer: r.transfer, last: (Index(r.last_index), Term(r.last_term)) }
        }
        raft_message::Body::VoteReply(r) => {
            let refused = refusal_from_wire(r.refusal(), NodeId(r.refused_for));
            if refused.is_none() != r.granted {
                return Err("a vote that is both granted and refused, or neither");
            }
            Body::Vote { pre: r.pre, asked: Term(r.asked_term), refused }
        }
        raft_message::Body::AppendRequest(r) => {
            let beyond = r.prev_index.checked_add(1 + r.entries.len() as u64);
            let beyond = beyond.ok_or("an append beyond the last index there is")?;
            let mut entries = Vec::with_capacity(r.entries.len());
            for (place, entry) in (r.prev_index + 1..beyond).zip(r.entries) {
                if entry.index != place {
                    return Err("an append with a gap");
                }
                entries.push(entry_from_wire(entry)?);
            }
            let terms = std::iter::once(r.prev_term).chain(entries.iter().map(|e| e.term.0));
            if !terms.is_sorted() || entries.last().is_some_and(|e| e.term.0 > message.term) {
                return Err("an append whose terms fall, or are above its leader's");
            }
            let prev = (Index(r.prev_index), Term(r.prev_term));
            Body::Append(Append { prev, entries, commit: Index(r.commit) })
        }
        raft_message::Body::AppendReply(r) => match r.outcome.ok_or("an answer that is neither yes nor no")? {
            Outcome::MatchIndex(index) => Body::Appended { index: Index(index), damaged: r.damaged },
            Outcome::Rejected(no) => Body::Rejected(Rejection {
                prev: Index(no.prev_index),
                hint: (Index(no.hint_index), Term(no.hint_term)),
                damaged: r.damaged,
            }),
        },
        raft_message::Body::HeartbeatRequest(r) => Body::Heartbeat { commit: Index(r.commit), read: ReadRound(r.read) },
        raft_message::Body::HeartbeatReply(r) => Body::HeartbeatReply { read: ReadRound(r.read), damaged: r.damaged },
        raft_message::Body::TimeoutNow(wire::TimeoutNow {}) => Body::TimeoutNow,
        raft_message::Body::SnapshotOffer(r) => {
            let id = snapshot_id(r.index, &r.checksum)?;
            let membership = member::from_wire(&r.membership.ok_or("a snapshot without a membership")?)?;
            if r.term > message.term {
                return Err("a snapshot from a term above its leader's");
            }
            let start = LogStart { index: id.index, term: Term(r.term), membership };
            Body::SnapshotOffer(Box::new(SnapshotMeta { start, bytes: r.bytes, checksum: id.checksum }))
        }
        raft_message::Body::SnapshotWanted(r) => {
            Body::SnapshotWanted { id: snapshot_id(r.index, &r.checksum)?, offset: r.offset }
        }
        raft_message::Body::SnapshotChunk(r) => {
            let id = snapshot_id(r.index, &r.checksum)?;
            Body::SnapshotChunk(Chunk { id, offset: r.offset, bytes: r.data, checksum: r.crc })
        }
    };
    let envelope = Envelope {
        id: message.message_id,
        from: NodeId(message.from),
        storage,
        to: NodeId(message.to),
        term: Term(message.term),
        body,
    };
    Ok((GroupId(message.group), envelope))
}

fn entry_from_wire(entry: wire::LogEntry) -> Result<Entry, &'static str> {
    let kind = match entry.kind() {
        wire::EntryKind::Noop => EntryKind::Noop,
        wire::EntryKind::Command => EntryKind::Command(entry.payload),
        wire::EntryKind::Membership => {
            let membership = entry.membership.as_ref().ok_or("an entry of membership that names none")?;
            EntryKind::Membership(Box::new(member::from_wire(membership)?))
        }
        wire::EntryKind::Unspecified => return Err("an entry of unknown kind"),
    };
    Ok(Entry { index: Index(entry.index), term: Term(entry.term), kind })
}

fn refusal_from_wire(refusal: wire::VoteRefusal, whom: NodeId) -> Option<VoteRefusal> {
    match refusal {
        wire::VoteRefusal::None => None,
        wire::VoteRefusal::StaleTerm => Some(VoteRefusal::StaleTerm),
        wire::VoteRefusal::AlreadyVoted => Some(VoteRefusal::AlreadyVoted(whom)),
        wire::VoteRefusal::LogBehind => Some(VoteRefusal::LogBehind),
        wire::VoteRefusal::LeaderAlive => Some(VoteRefusal::LeaderAlive(whom)),
        wire::VoteRefusal::Damaged => Some(VoteRefusal::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_wire() {
        let entries = vec![
            Entry { index: Index(8), term: Term(2), kind: EntryKind::Noop },
            Entry { index: Index(9), term: Term(3), kind: EntryKind::Command(Bytes::from_static(b"x")) },
            Entry { index: Index(10), term: Term(3), kind: EntryKind::Membership(Box::new(member::tests::some())) },
        ];
        let id = SnapshotId { index: Index(7), checksum: 1 << 100 };
        let start = LogStart { index: Index(7), term: Term(2), membership: member::tests::some() };
        let last = (Index(7), Term(2));
        let refusals = [
            None,
            Some(VoteRefusal::StaleTerm),
            Some(VoteRefusal::AlreadyVoted(NodeId(3))),
            Some(VoteRefusal::LogBehind),
            Some(VoteRefusal::LeaderAlive(NodeId(2))),
            Some(VoteRefusal::Damaged),
        ];
        let votes = refusals.map(|refused| Body::Vote { pre: true, asked: Term(4), refused });
        let others = [
            Body::RequestVote { pre: false, transfer: true, last },
            Body::Append(Append { prev: last, entries, commit: Index(6) }),
            Body::Append(Append { prev: (Index(0), Term(0)), entries: vec![], commit: Index(0) }),
            Body::Appended { index: Index(9), damaged: true },
            Body::Rejected(Rejection { prev: Index(9), hint: last, damaged: true }),
            Body::Heartbeat { commit: Index(5), read: ReadRound(4) },
            Body::HeartbeatReply { read: ReadRound(4), damaged: true },
            Body::TimeoutNow,
            Body::SnapshotOffer(Box::new(SnapshotMeta { start, bytes: 99, checksum: 5 })),
            Body::SnapshotWanted { id, offset: 77 },
            Body::SnapshotChunk(Chunk { id, offset: 77, bytes: Bytes::from_static(b"chunk"), checksum: 9 }),
        ];
        for body in votes.into_iter().chain(others) {
            let (from, storage, to) = (NodeId(1), StorageId(7), NodeId(2));
            let envelope = Envelope { id: 11, from, storage, to, term: Term(3), body };
            assert_eq!(decode(encode(GroupId(1), envelope.clone()), storage), Ok((GroupId(1), envelope)));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let message = |body| wire::RaftMessage { term: 2, body, ..Default::default() };
        let append_after = |prev_index, entries: Vec<(u64, u64)>| {
            let entries = entries.into_iter().map(|(index, term)| wire::LogEntry {
                index,
                term,
                kind: wire::EntryKind::Noop.into(),
                ..Default::default()
            });
            let request = wire::AppendRequest { prev_index, prev_term: 1, entries: entries.collect(), commit: 0 };
            decode(message(Some(raft_message::Body::AppendRequest(request))), StorageId(1))
        };
        let append = |entries| append_after(1, entries);
        assert!(append(vec![(2, 1), (3, 2)]).is_ok());
        assert!(append(vec![(3, 1)]).is_err(), "a gap");
        assert!(append(vec![(2, 2), (3, 1)]).is_err(), "falling terms");
        assert!(append(vec![(2, 3)]).is_err(), "a term above the leader's");
        assert!(append_after(u64::MAX, vec![(0, 1)]).is_err(), "after the last index there is");
        assert!(decode(message(None), StorageId(1)).is_err());
    }
}
