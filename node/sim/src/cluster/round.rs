//! A round of a node: what arrives is handled at once, what follows from it is checked, answered and sent.

use std::collections::BTreeSet;

use raftdeck_jobs::Reply;
use raftdeck_node::replica::{Applied, Effects, Event as ReplicaEvent, Input, Refused, Replica};
use raftdeck_raft::{Envelope, Index, Membership, NodeId, Observation, Observed, Term};

use super::{Cluster, EPOCH_MS, Event, Happening};
use crate::violation::Violation;

impl Cluster {
    /// What else arrives at a node within its round.
    pub(super) fn take_arrivals(&mut self, to: NodeId) -> Vec<Envelope> {
        if self.options.round_us == 0 {
            return Vec::new();
        }
        let until = (self.now_us + self.options.round_us, u64::MAX);
        let here = |event: &Event| matches!(event, Event::Arrive(envelope) if envelope.to == to);
        let keys: Vec<_> = self.queue.range(..=until).filter(|(_, (_, event))| here(event)).map(|(k, _)| *k).collect();
        let arrived = keys.into_iter().filter_map(|key| match self.queue.remove(&key) {
            Some((_, Event::Arrive(envelope))) => Some(*envelope),
            Some(_) | None => None,
        });
        let network = &self.network;
        arrived.filter(|envelope| network.passes(envelope)).collect()
    }

    /// A round, and at once another one if it gave work to those who wait for it: as the driver does.
    pub(super) fn handle(&mut self, id: NodeId, inputs: Vec<Input>) -> Result<(), Violation> {
        self.round(id, inputs)?;
        let has_work = self.replica(id).is_some_and(Replica::has_work_for_parked) && !self.is_paused(id);
        if has_work { self.round(id, vec![Input::Gone(Vec::new())]) } else { Ok(()) }
    }

    fn round(&mut self, id: NodeId, inputs: Vec<Input>) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let wall_ms = (EPOCH_MS + self.now_us / 1000).saturating_add_signed(node.clock.ahead_ms);
        let Some(up) = node.up.as_mut() else { return Ok(()) };
        if let Some(waiting) = &mut up.paused {
            waiting.extend(inputs);
            return Ok(());
        }
        let inputs: Vec<Input> = std::mem::take(&mut up.asked).into_iter().chain(inputs).collect();
        let is_asked_to_change = inputs.iter().any(|input| matches!(input, Input::Change(..)));
        let effects = up.replica.handle(wall_ms, inputs);
        let Effects { write, send, replies, steered, snapshots, events, work: _ } = effects;
        up.gathered.extend(write);
        self.checks.look(id, &up.replica)?;
        for event in events {
            let happening = match event {
                ReplicaEvent::Core(observed) => {
                    let Some(up) = self.nodes[&id].up.as_ref() else { return Ok(()) };
                    self.checks.observed(id, &up.replica, &observed)?;
                    self.check_promotion(id, &observed, is_asked_to_change)?;
                    Happening::Observed(id, observed)
                }
                ReplicaEvent::Jobs { term, index, what } => Happening::Jobs(id, term, index, what),
            };
            self.happenings.push((self.now_us, happening));
        }
        for (ticket, reply) in replies {
            if let Some(up) = self.nodes.get_mut(&id).and_then(|n| n.up.as_mut()) {
                up.tickets.remove(&ticket);
            }
            self.check_reply(&reply)?;
            self.happened(Happening::Answered(ticket, Some(reply)));
        }
        for (ticket, answer) in steered {
            if let Some(up) = self.nodes.get_mut(&id).and_then(|n| n.up.as_mut()) {
                up.steering.remove(&ticket);
            }
            self.checks.read_ends(ticket, answer.as_ref().ok().copied())?;
            self.happened(Happening::Steered(ticket, Some(answer)));
        }
        for envelope in send {
            self.post(&envelope)?;
        }
        self.start_write(id);
        let Some(node) = self.nodes.get_mut(&id).filter(|_| !snapshots.is_empty()) else { return Ok(()) };
        let is_idle = node.tasks.is_empty();
        node.tasks.extend(snapshots);
        if is_idle {
            self.start_task(id);
        }
        Ok(())
    }

    fn check_promotion(&self, id: NodeId, observed: &Observed, is_asked_to: bool) -> Result<(), Violation> {
        let Observation::MembershipChanged { index, .. } = observed.what else { return Ok(()) };
        let Some(replica) = self.replica(id).filter(|_| !is_asked_to) else { return Ok(()) };
        self.checks.promoted(id, replica, index, |node, index, term| {
            let is_whole = self.replica(node).is_some_and(|r| !r.raft().is_damaged());
            !is_whole || self.nodes[&node].disk.has(index, term)
        })
    }

    fn check_reply(&mut self, reply: &Result<Applied, Refused>) -> Result<(), Violation> {
        let Ok(Applied { index, reply }) = reply else { return Ok(()) };
        if let Reply::Claimed(jobs) = reply
            && jobs.is_empty()
        {
            return Ok(()); // May have been answered without an entry.
        }
        let nodes = &self.nodes;
        let durable = |index: Index, term: Term| -> BTreeSet<NodeId> {
            nodes.iter().filter(|(_, n)| n.disk.has(index, term)).map(|(id, _)| *id).collect()
        };
        let memberships: Vec<&Membership> =
            nodes.values().filter_map(|n| Some(n.up.as_ref()?.replica.raft().membership())).collect();
        self.checks.acknowledged(*index, durable, &memberships)?;
        if let Reply::Submitted(Ok(jobs)) = reply {
            self.acknowledged.extend(jobs.iter().map(|j| j.id));
        }
        Ok(())
    }

    fn post(&mut self, envelope: &Envelope) -> Result<(), Violation> {
        self.checks.sent(envelope)?;
        if self.network.hold_up(envelope) {
            return Ok(());
        }
        for (delay_us, envelope) in self.network.fate(envelope, &mut self.rng) {
            if self.nodes.contains_key(&envelope.to) {
                self.schedule(delay_us, envelope.to, Event::Arrive(Box::new(envelope)));
            }
        }
        Ok(())
    }
}
