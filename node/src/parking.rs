//! Claims that wait for a job.
//!
//! A worker that finds nothing to do waits at the leader, up to the time it named. The replica keeps it: when jobs have
//! become available, as many of those who wait are proposed as there are jobs, the first come first. If each of them asked
//! again by itself, every job would wake every idle worker. Jobs that are just being submitted count as well: their claims
//! follow them in the same entry, and a worker has its job one round through the log earlier.
//!
//! Laws:
//! - who waits is answered by a tick of its end, or when this node cannot give jobs any more;
//! - a claim that was proposed and got nothing (another had taken the job) waits on, in its old place;
//! - a caller who is gone gets no job: who waits here is asked for before it is proposed;
//! - a job of a paused queue is nobody's work: nobody is proposed for it, submitted now or long ago, until the entry that
//!   resumes its queue. Who would count it would propose the same claims again and again, for nothing.

use std::collections::{BTreeMap, VecDeque};

use raftdeck_jobs::{Machine, NewJob, Op, Reply, SessionCall};
use raftdeck_raft::{Index, RoleKind};

use crate::replica::{Applied, Effects, Refused, Replica, Ticket};

/// A claim that waits.
#[derive(Clone, Debug)]
struct Waiter {
    ticket: Ticket,
    op: Op,
    call: Option<SessionCall>,
    until_tick: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parking {
    /// In the order they came, which is that of their tickets.
    parked: VecDeque<Waiter>,
    /// Proposed, and back here if they get nothing.
    asked: BTreeMap<Ticket, Waiter>,
}

impl Parking {
    pub(crate) fn count(&self) -> usize {
        self.parked.len()
    }

    /// One that was proposed is answered: true if it got nothing and waits on.
    pub(crate) fn goes_on(&mut self, ticket: Ticket, reply: &Reply, now_tick: u64) -> bool {
        let Some(waiter) = self.asked.remove(&ticket) else { return false };
        let got_nothing = matches!(reply, Reply::Claimed(jobs) if jobs.is_empty());
        let waits = got_nothing && waiter.until_tick > now_tick;
        if waits {
            let place = self.parked.partition_point(|other| other.ticket < waiter.ticket);
            self.parked.insert(place, waiter);
        }
        waits
    }

    /// One that was proposed is refused, or nobody can say.
    pub(crate) fn ended(&mut self, ticket: Ticket) {
        self.asked.remove(&ticket);
    }
}

impl Replica {
    /// A claim waits from now on.
    pub(crate) fn park(&mut self, ticket: Ticket, op: Op, call: Option<SessionCall>, wait_ticks: u64) {
        let until_tick = self.ticks() + wait_ticks;
        self.parking.parked.push_back(Waiter { ticket, op, call, until_tick });
    }

    /// It will wait, should it get nothing.
    pub(crate) fn may_park(&mut self, ticket: Ticket, op: &Op, call: Option<SessionCall>, wait_ticks: u64) {
        let until_tick = self.ticks() + wait_ticks;
        self.parking.asked.insert(ticket, Waiter { ticket, op: op.clone(), call, until_tick });
    }

    /// Who waits here.
    pub fn parked(&self) -> impl Iterator<Item = Ticket> {
        self.parking.parked.iter().map(|waiter| waiter.ticket)
    }

    /// These callers are gone: nothing is claimed for them.
    pub fn gone(&mut self, tickets: &[Ticket]) {
        self.parking.parked.retain(|waiter| !tickets.contains(&waiter.ticket));
    }

    /// Whether a call of this session waits here already: sent again, it takes the place of the first.
    pub(crate) fn unpark(&mut self, call: SessionCall) -> Option<Ticket> {
        let place = self.parking.parked.iter().position(|waiter| waiter.call == Some(call))?;
        self.parking.parked.remove(place).map(|waiter| waiter.ticket)
    }

    /// Whether somebody who waits may be given a job now.
    #[must_use]
    pub fn has_work_for_parked(&self) -> bool {
        !self.parking.parked.is_empty() && self.unpromised() > 0
    }

    /// Takes as many of those who wait as there are jobs that nobody was promised, and as are being submitted.
    pub(crate) fn take_parked(&mut self, submitted: &[&NewJob]) -> Vec<(Ticket, Op, Option<SessionCall>)> {
        let mut left = if self.parking.parked.is_empty() { 0 } else { self.unpromised() + submitted.len() as u64 };
        let (mut taken, mut kept) = (Vec::new(), VecDeque::new());
        while left > 0
            && let Some(waiter) = self.parking.parked.pop_front()
        {
            let Some(wants) = wants(&self.machine, submitted, &waiter.op) else {
                kept.push_back(waiter);
                continue;
            };
            left = left.saturating_sub(wants);
            taken.push((waiter.ticket, waiter.op.clone(), waiter.call));
            self.parking.asked.insert(waiter.ticket, waiter);
        }
        kept.append(&mut self.parking.parked);
        self.parking.parked = kept;
        taken
    }

    /// Answers who has waited long enough; everybody, if this node can give no jobs.
    pub(crate) fn expire_parked(&mut self, effects: &mut Effects) {
        let refusal = match self.raft.role() {
            RoleKind::Leader if self.raft.in_touch() => None,
            RoleKind::Leader => Some(Refused::NoMajority),
            RoleKind::Follower | RoleKind::PreCandidate | RoleKind::Candidate => {
                Some(Refused::NotLeader { leader: self.raft.leader() })
            }
        };
        let (now, applied) = (self.ticks(), Index(self.machine.applied()));
        self.parking.parked.retain(|waiter| {
            let answer = match &refusal {
                Some(refused) => Err(refused.clone()),
                None if waiter.until_tick <= now => Ok(Applied { index: applied, reply: Reply::Claimed(Vec::new()) }),
                None => return true,
            };
            effects.replies.push((waiter.ticket, answer));
            false
        });
    }
}

/// How many jobs a claim takes at most; none if there is nothing for it.
fn wants(machine: &Machine, submitted: &[&NewJob], op: &Op) -> Option<u64> {
    match op {
        Op::Claim { queues, handlers, max_jobs, .. } => {
            let fits =
                |job: &&NewJob| handlers.contains(&job.handler) && (queues.is_empty() || queues.contains(&job.queue));
            let is_there = machine.claimable(queues, handlers) || submitted.iter().any(fits);
            is_there.then_some(u64::from(*max_jobs).max(1))
        }
        Op::Submit { .. }
        | Op::Heartbeat { .. }
        | Op::Ack { .. }
        | Op::Fail { .. }
        | Op::Cancel { .. }
        | Op::Retry { .. }
        | Op::PauseQueue { .. }
        | Op::Tick
        | Op::OpenSession => None,
    }
}
