//! What a call asks of the machine, and what the machine's answer says: the one place for both, whether a call came as a
//! request of its own or among others on a stream.

use std::time::Duration;

use raftdeck_jobs::{
    ClaimedJob, LeaseRefusal, Name, NewJob, Op, PauseOutcome, Renewed, Reply, SessionRefusal, Settled, Submitted,
};
use raftdeck_raft::Index;
use raftdeck_shared::{
    client::{CLAIM_WAIT_MAX, SESSION_EXPIRED, SESSION_HEADER},
    cluster::{BUILT_IN_HANDLERS, ClusterFile},
    wire::{self, answer::Outcome, call},
};
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::convert::{ack, failure, lease, new_job, session, state_to_wire};
use crate::{handle::Ask, replica::Applied};

/// What was asked, as far as the answer depends on it. That of a cancel or a retry is made in `jobs`: it may
/// have to look into the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Submit,
    SubmitBulk,
    Claim { lease_ms: u64 },
    Heartbeat,
    Ack,
    Fail,
    Cancel,
    Retry,
    PauseQueue,
}

/// Checks a call against the limits and what the cluster knows.
///
/// # Errors
/// Names the thing, the limit and the value.
pub(super) fn ask(request: call::Request, cluster: &ClusterFile) -> Result<(Kind, Ask), Status> {
    use call::Request as Asked;
    let known = |job| known_handler(job, cluster);
    let (kind, op, of_session, wait) = match request {
        Asked::Submit(wire::SubmitRequest { job, session }) => {
            let job = job.ok_or_else(|| Status::invalid_argument("no job was given"))?;
            (Kind::Submit, Op::Submit { jobs: vec![known(job)?] }, session, None)
        }
        Asked::SubmitBulk(wire::SubmitBulkRequest { jobs, session }) => {
            let jobs = jobs.into_iter().map(known).collect::<Result<_, _>>()?;
            (Kind::SubmitBulk, Op::Submit { jobs }, session, None)
        }
        Asked::Claim(wire::ClaimRequest { worker, queues, handlers, max_jobs, lease_ms, wait_ms, session }) => {
            let wait = Duration::from_millis(wait_ms).min(CLAIM_WAIT_MAX);
            let (queues, handlers) = (names(queues), names(handlers));
            let op = Op::Claim { worker: worker.into(), queues, handlers, max_jobs, lease_ms };
            (Kind::Claim { lease_ms }, op, session, Some(wait))
        }
        Asked::Heartbeat(wire::HeartbeatLeasesRequest { leases, lease_ms, session }) => {
            let leases = leases.into_iter().map(|l| lease(Some(l))).collect::<Result<_, _>>()?;
            (Kind::Heartbeat, Op::Heartbeat { leases, lease_ms }, session, None)
        }
        Asked::Ack(wire::AckRequest { acks, session }) => {
            let acks = acks.into_iter().map(ack).collect::<Result<_, _>>()?;
            (Kind::Ack, Op::Ack { acks }, session, None)
        }
        Asked::Fail(wire::FailRequest { failures, session }) => {
            let failures = failures.into_iter().map(failure).collect::<Result<_, _>>()?;
            (Kind::Fail, Op::Fail { failures }, session, None)
        }
        Asked::Cancel(wire::CancelRequest { id, session }) => {
            (Kind::Cancel, Op::Cancel { job: raftdeck_jobs::JobId(id) }, session, None)
        }
        Asked::Retry(wire::RetryRequest { id, session }) => {
            (Kind::Retry, Op::Retry { job: raftdeck_jobs::JobId(id) }, session, None)
        }
        Asked::PauseQueue(wire::PauseQueueRequest { queue, paused, session }) => {
            (Kind::PauseQueue, Op::PauseQueue { queue: queue.into(), paused }, session, None)
        }
    };
    op.validate().map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
    Ok((kind, Ask { op, session: session(of_session), wait }))
}

fn names(given: Vec<String>) -> Vec<Name> {
    given.into_iter().map(Name::from).collect()
}

fn known_handler(job: wire::NewJob, cluster: &ClusterFile) -> Result<NewJob, Status> {
    let job = new_job(job)?;
    if !job.handler.is_empty() && !cluster.knows_handler(&job.handler) {
        let mut known: Vec<&str> = cluster.handlers.keys().map(String::as_str).collect();
        known.extend(BUILT_IN_HANDLERS);
        let message = format!("there is no handler {:?} in the cluster file; it has {}", job.handler, known.join(", "));
        return Err(Status::invalid_argument(message));
    }
    Ok(job)
}

/// The machine's answer on the wire.
///
/// # Errors
/// It refused, and says why.
pub(super) fn outcome(kind: Kind, Applied { index, reply }: Applied) -> Result<Outcome, Status> {
    match (kind, reply) {
        (_, Reply::SessionRefused(refusal)) => Err(session_refused(refusal)),
        (Kind::Submit | Kind::SubmitBulk, Reply::Submitted(Err(refusal))) => {
            Err(Status::already_exists(refusal.to_string()))
        }
        (Kind::Submit, Reply::Submitted(Ok(jobs))) => {
            Ok(Outcome::Submit(wire::SubmitReply { job: jobs.first().map(submitted_to_wire) }))
        }
        (Kind::SubmitBulk, Reply::Submitted(Ok(jobs))) => {
            Ok(Outcome::SubmitBulk(wire::SubmitBulkReply { jobs: jobs.iter().map(submitted_to_wire).collect() }))
        }
        (Kind::Claim { lease_ms }, Reply::Claimed(jobs)) => {
            let jobs = jobs.into_iter().map(|job| claimed_to_wire(job, lease_ms)).collect();
            Ok(Outcome::Claim(wire::ClaimReply { jobs, index: index.0 }))
        }
        (Kind::Heartbeat, Reply::Heartbeats(renewals)) => {
            let renewals = renewals.into_iter().map(renewal_to_wire).collect();
            Ok(Outcome::Heartbeat(wire::HeartbeatLeasesReply { renewals, index: index.0 }))
        }
        (Kind::Ack, Reply::Acked(settled)) => Ok(Outcome::Ack(settle_reply(index, settled))),
        (Kind::Fail, Reply::Failed(settled)) => Ok(Outcome::Fail(settle_reply(index, settled))),
        (Kind::PauseQueue, Reply::QueuePaused(Ok(PauseOutcome { changed }))) => {
            Ok(Outcome::PauseQueue(wire::PauseQueueReply { changed, index: index.0 }))
        }
        (Kind::PauseQueue, Reply::QueuePaused(Err(refusal))) => Err(Status::out_of_range(refusal.to_string())),
        (_, other) => Err(wrong_reply(&other)),
    }
}

pub(super) fn wrong_reply(reply: &Reply) -> Status {
    Status::internal(format!("the machine answered another question: {reply:?}"))
}

fn submitted_to_wire(job: &Submitted) -> wire::Submitted {
    wire::Submitted { id: job.id.0, state: state_to_wire(job.state).into(), index: job.index, duplicate: job.duplicate }
}

fn claimed_to_wire(job: ClaimedJob, lease_ms: u64) -> wire::ClaimedJob {
    wire::ClaimedJob {
        id: job.id.0,
        token: job.token.0,
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        deadline_ms: job.deadline_ms,
        timeout_ms: job.timeout_ms.unwrap_or_default(),
        queue: job.queue.into(),
        handler: job.handler.into(),
        payload: job.payload,
        lease_ms,
    }
}

fn renewal_to_wire(renewal: Result<Renewed, LeaseRefusal>) -> wire::LeaseRenewal {
    let (outcome, cancel_requested) = match renewal {
        Ok(renewed) => (wire::lease_renewal::Outcome::DeadlineMs(renewed.deadline_ms), renewed.cancel_requested),
        Err(refusal) => (wire::lease_renewal::Outcome::Refused(refusal.to_string()), false),
    };
    wire::LeaseRenewal { outcome: Some(outcome), cancel_requested }
}

fn settle_reply(index: Index, settled: Vec<Result<Settled, LeaseRefusal>>) -> wire::SettleReply {
    let settled = settled
        .into_iter()
        .map(|settled| match settled {
            Ok(Settled { state, repeated }) => {
                wire::Settled { state: state_to_wire(state).into(), refused: String::new(), repeated_call: repeated }
            }
            Err(refusal) => wire::Settled { refused: refusal.to_string(), ..Default::default() },
        })
        .collect();
    wire::SettleReply { settled, index: index.0 }
}

pub(super) fn session_refused(refusal: SessionRefusal) -> Status {
    let word = match refusal {
        SessionRefusal::Expired { .. } => SESSION_EXPIRED,
        SessionRefusal::Overtaken { .. } => "overtaken",
        SessionRefusal::Reused { .. } => "reused",
    };
    let mut header = MetadataMap::new();
    header.insert(SESSION_HEADER, MetadataValue::from_static(word));
    Status::with_metadata(Code::FailedPrecondition, refusal.to_string(), header)
}
