//! What drives one core in the model: a disk that may be slow, and messages that wait for it.

use std::collections::VecDeque;

use crate::{
    Body, Config, Damage, Entry, Envelope, HardState, Index, LogStart, Observation, Output, Raft, ReadError, ReadToken,
    Restart, Term, TransferOutcome, Write, WriteSeq,
};

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    pub(super) hard: HardState,
    pub(super) start: LogStart,
    pub(super) entries: Vec<Entry>,
}

impl Disk {
    fn last(&self) -> (Index, Term) {
        self.entries.last().map_or((self.start.index, self.start.term), |e| (e.index, e.term))
    }

    /// Whether it has this very entry, or has it no more because it was compacted.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        entry.index <= self.start.index || self.entries.iter().any(|e| (e.index, e.term) == (entry.index, entry.term))
    }

    fn write(&mut self, write: Write) {
        let Write { seq: _, hard, start, from, entries } = write;
        self.hard = hard;
        if let Some(start) = start {
            self.start = start;
        }
        let after = self.start.index;
        self.entries.retain(|e| e.index > after && e.index < from);
        self.entries.extend(entries);
    }

    /// Loses the entries after `keep`, and knows it.
    pub(super) fn lose_after(&mut self, keep: Index) {
        let until = self.last().0;
        self.entries.retain(|e| e.index <= keep);
        let earlier = self.hard.damage.map_or(Index(0), |d| d.until);
        self.hard.damage = Some(Damage { until: until.max(earlier), term: self.hard.term });
    }

    /// Whether what a message claims about this disk is so.
    fn vouches_for(&self, envelope: &Envelope) -> bool {
        match &envelope.body {
            Body::RequestVote { pre: true, .. } => true,
            Body::RequestVote { pre: false, last, .. } => {
                let voted = (self.hard.term, self.hard.voted_for) == (envelope.term, Some(envelope.from));
                // It may have gone on since; what it asked with must not have.
                let later = self.hard.term > envelope.term;
                later || (voted && self.last() == *last)
            }
            Body::Vote { pre: false, asked, refused: None } => {
                let voted = (self.hard.term, self.hard.voted_for) == (*asked, Some(envelope.to));
                voted || self.hard.term > *asked
            }
            Body::Appended { index, .. } => self.hard.term > envelope.term || self.last().0 >= *index,
            Body::Vote { .. }
            | Body::Append(_)
            | Body::Rejected(_)
            | Body::Heartbeat { .. }
            | Body::HeartbeatReply { .. }
            | Body::TimeoutNow
            | Body::SnapshotOffer(_)
            | Body::SnapshotWanted { .. }
            | Body::SnapshotChunk(_) => self.hard.term >= envelope.term,
        }
    }
}

/// What came out of a core, beside its writes.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) sent: Vec<Envelope>,
    pub(super) committed: Vec<Entry>,
    pub(super) reads: Vec<(ReadToken, Result<Index, ReadError>)>,
    pub(super) transferred: bool,
    pub(super) refilled: bool,
    /// A message left that claims what the disk does not have.
    pub(super) unfounded: bool,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    pub(super) raft: Raft,
    pub(super) disk: Disk,
    /// Writes under way, in order.
    pub(super) writes: VecDeque<Write>,
    /// Messages, each with the write it waits for.
    held: VecDeque<(WriteSeq, Envelope)>,
}

impl Host {
    /// Starts on what a disk has. Its state machine remembers nothing: everything is to be applied anew.
    pub(super) fn start(config: Config, disk: Disk) -> Host {
        let Disk { hard, start, entries } = disk.clone();
        let found = Restart { hard, applied: start.index, start, entries };
        Host { raft: Raft::new(config, found), disk, writes: VecDeque::new(), held: VecDeque::new() }
    }

    /// The oldest write under way is done.
    pub(super) fn complete_write(&mut self) {
        let write = self.writes.pop_front().expect("only what is under way is completed");
        let seq = write.seq;
        self.disk.write(write);
        self.raft.persisted(seq);
    }

    /// Carries out what the core wants; on a disk that is fast, at once.
    pub(super) fn carry_out(&mut self, slow_disk: bool) -> Effects {
        let mut effects = Effects::default();
        loop {
            let output = self.raft.take_output();
            let Output { write, send_now, send_durable, after, committed, reads, transferred, snapshots, observations } =
                output;
            assert!(snapshots.is_empty(), "nothing is compacted in this model");
            effects.committed.extend(committed);
            effects.reads.extend(reads);
            effects.transferred |= matches!(transferred, Some(TransferOutcome::Done { .. }));
            effects.refilled |= observations.iter().any(|o| matches!(o.what, Observation::Refilled { .. }));
            self.writes.extend(write);
            self.held.extend(send_durable.into_iter().map(|envelope| (after, envelope)));
            for envelope in send_now {
                self.send(envelope, &mut effects);
            }
            let under_way = self.writes.front().map_or(WriteSeq(u64::MAX), |w| w.seq);
            while let Some((_, envelope)) = self.held.pop_front_if(|(after, _)| *after < under_way) {
                self.send(envelope, &mut effects);
            }
            if slow_disk || self.writes.is_empty() {
                break;
            }
            self.complete_write();
        }
        self.count_anew();
        effects
    }

    fn send(&self, envelope: Envelope, effects: &mut Effects) {
        effects.unfounded |= !self.disk.vouches_for(&envelope);
        effects.sent.push(Envelope { id: 0, ..envelope });
    }

    /// Takes out what only tells how the node came to be as it is.
    fn count_anew(&mut self) {
        self.raft.count_anew();
        if let Some(first) = self.writes.front().map(|w| w.seq.0 - 1) {
            self.writes.iter_mut().for_each(|w| w.seq.0 -= first);
            self.held.iter_mut().for_each(|(after, _)| after.0 = after.0.saturating_sub(first));
        }
        self.held.iter_mut().for_each(|(_, envelope)| envelope.id = 0);
    }
}
