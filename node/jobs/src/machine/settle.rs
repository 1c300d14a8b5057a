//! What is said of leased jobs: heartbeat, ack, fail; and cancel, which asks for such a word.
//!
//! The fence is here, in [`Machine::check`]: whoever shows the live token is heard, whoever repeats the accepted word on an
//! old one gets its answer again, everybody else is told how the job stands.

use super::Machine;
use crate::{
    Ack, CancelOutcome, CancelRefusal, Failure, JobId, JobState, Lease, LeaseRefusal, Outcome, Renewed, Settled,
    Settlement, Standing,
    mutants::{self, Mutant},
    transition::{At, ack_digest, fail_digest},
};

/// How a lease that was shown stands.
enum Check {
    /// It is the live one.
    Live,
    /// It was settled by the last word that was accepted for the job.
    Settled(Settlement),
}

impl Machine {
    pub(super) fn heartbeat(&mut self, lease: Lease, lease_ms: u64, at: At) -> Result<Renewed, LeaseRefusal> {
        match self.check(lease)? {
            Check::Live => {
                let job = self.change(lease.job, |job| job.renew(lease_ms, at));
                let deadline_ms = at.now_ms.saturating_add(lease_ms);
                Ok(Renewed { deadline_ms, cancel_requested: job.cancel_requested })
            }
            Check::Settled(_) => Err(self.stale(lease)),
        }
    }

    pub(super) fn ack(&mut self, ack: &Ack, at: At) -> Result<Settled, LeaseRefusal> {
        let lease = Lease { job: ack.job, token: ack.token };
        match self.check(lease)? {
            Check::Live => {
                let state = self.change(ack.job, |job| job.ack(ack.token, &ack.result, at)).state;
                Ok(Settled { state, repeated: false })
            }
            Check::Settled(settled) => repeat(lease, settled, Outcome::Ack, ack_digest(&ack.result)),
        }
    }

    pub(super) fn fail(&mut self, failure: &Failure, at: At) -> Result<Settled, LeaseRefusal> {
        let lease = Lease { job: failure.job, token: failure.token };
        match self.check(lease)? {
            Check::Live => {
                let state = self.change(failure.job, |job| job.fail(failure, at)).state;
                Ok(Settled { state, repeated: false })
            }
            Check::Settled(settled) => repeat(lease, settled, Outcome::Fail, fail_digest(failure)),
        }
    }

    pub(super) fn cancel(&mut self, id: JobId, at: At) -> Result<CancelOutcome, CancelRefusal> {
        if let Some(held) = self.live.get(&id) {
            if held.job.cancel_requested {
                return Ok(CancelOutcome::Requested);
            }
            let state = self.change(id, |job| job.cancel(at)).state;
            return Ok(if state == JobState::Cancelled { CancelOutcome::Cancelled } else { CancelOutcome::Requested });
        }
        if !self.was_made(id) {
            return Err(CancelRefusal::UnknownJob { job: id });
        }
        Ok(CancelOutcome::AlreadyFinished { state: self.recents.get(id).map(|recent| recent.state) })
    }

    fn check(&self, lease: Lease) -> Result<Check, LeaseRefusal> {
        let (held_under, settled) = match self.live.get(&lease.job) {
            Some(held) => (held.job.lease.as_ref().map(|live| live.token), held.job.settled),
            None => (None, self.recents.get(lease.job).and_then(|recent| recent.settled)),
        };
        if held_under == Some(lease.token) || (held_under.is_some() && mutants::on(Mutant::IgnoresTokens)) {
            return Ok(Check::Live);
        }
        match settled {
            Some(settled) if settled.token == lease.token => Ok(Check::Settled(settled)),
            Some(_) | None => Err(self.stale(lease)),
        }
    }

    /// The refusal of a lease that does not hold.
    fn stale(&self, Lease { job, token }: Lease) -> LeaseRefusal {
        let standing = match (self.live.get(&job), self.recents.get(job)) {
            (Some(held), _) => match &held.job.lease {
                Some(live) => Standing::Leased(live.token),
                None => Standing::NotLeased(held.job.state),
            },
            (None, Some(recent)) => Standing::NotLeased(recent.state),
            (None, None) if self.was_made(job) => Standing::FinishedLongAgo,
            (None, None) => return LeaseRefusal::UnknownJob { job },
        };
        LeaseRefusal::StaleLease { job, token, standing }
    }
}

/// The answer to a further word on a lease that was settled: the first answer, if the word is the same.
fn repeat(lease: Lease, first: Settlement, outcome: Outcome, digest: u64) -> Result<Settled, LeaseRefusal> {
    if (first.outcome, first.digest) == (outcome, digest) {
        return Ok(Settled { state: first.state, repeated: true });
    }
    let Lease { job, token } = lease;
    Err(LeaseRefusal::StaleLease { job, token, standing: Standing::SettledOtherwise(first.state) })
}
