//! The job service: what clients and workers ask for.

use std::{sync::Arc, time::Duration};

use raftdeck_jobs::{
    CancelOutcome, Job, JobId, JobState, LeaseRefusal, NewJob, Op, Reply, SessionRefusal, Settled, Submitted,
    limits::SESSION_TTL_MS,
};
use raftdeck_raft::Index;
use raftdeck_shared::{
    calls,
    client::{CLAIM_WAIT_MAX, SESSION_EXPIRED, SESSION_HEADER},
    wire::{self, jobs_server::Jobs},
};
use tokio::time::timeout;
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{MetadataMap, MetadataValue},
};

use super::{
    Tables,
    convert::{ack, failure, job_to_wire, lease, new_job, session, state_from_wire, state_to_wire},
    refusal::refused,
};
use crate::{
    driver::flatten,
    handle::{RequestError, Steer},
    replica::Applied,
    status::NodeView,
    storage::{JobFilter, StorageError},
};

/// A write that is not applied by then has an unknown outcome. A caller's own deadline may be shorter.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// A read waits so long for a majority to be heard, and for the index it wants.
const READ_MAX: Duration = Duration::from_millis(1500);

const LIST_DEFAULT: u32 = 50;
const LIST_MAX: u32 = 1000;

/// See the module. Clones are the same service.
#[derive(Clone, Debug)]
pub(super) struct JobsService {
    view: Arc<NodeView>,
    tables: Tables,
}

impl JobsService {
    pub(super) fn new(view: Arc<NodeView>, tables: Tables) -> JobsService {
        JobsService { view, tables }
    }

    /// Has an operation decided, once if it is a call of a session: by its answer, a definite refusal, or an unknown
    /// outcome.
    async fn decide(&self, op: Op, call: Option<wire::SessionCall>) -> Result<Applied, Status> {
        op.validate().map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
        self.within(WRITE_MAX, self.view.handle.request(op, session(call))).await
    }

    /// Waits so long for what was asked of the replica.
    async fn within(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<Applied, RequestError>>,
    ) -> Result<Applied, Status> {
        match timeout(limit, asked).await {
            Ok(Ok(Applied { reply: Reply::SessionRefused(refusal), .. })) => Err(session_refused(refusal)),
            Ok(Ok(applied)) => Ok(applied),
            Ok(Err(error)) => Err(refused(&self.view.book, self.view.node, &error)),
            Err(_) => Err(Status::unknown(format!("no majority has it after {} ms", limit.as_millis()))),
        }
    }

    fn known_handler(&self, job: wire::NewJob) -> Result<NewJob, Status> {
        let job = new_job(job)?;
        if !job.handler.is_empty() && !self.view.cluster.knows_handler(&job.handler) {
            let mut known: Vec<&str> = self.view.cluster.handlers.keys().map(String::as_str).collect();
            known.extend(raftdeck_shared::cluster::BUILT_IN_HANDLERS);
            let message =
                format!("there is no handler {:?} in the cluster file; it has {}", job.handler, known.join(", "));
            return Err(Status::invalid_argument(message));
        }
        Ok(job)
    }

    async fn submit_all(
        &self,
        jobs: Vec<wire::NewJob>,
        call: Option<wire::SessionCall>,
    ) -> Result<Vec<wire::Submitted>, Status> {
        let jobs = jobs.into_iter().map(|job| self.known_handler(job)).collect::<Result<_, _>>()?;
        match self.decide(Op::Submit { jobs }, call).await?.reply {
            Reply::Submitted(Ok(jobs)) => Ok(jobs.iter().map(submitted_to_wire).collect()),
            Reply::Submitted(Err(refusal)) => Err(Status::already_exists(refusal.to_string())),
            other => Err(wrong_reply(&other)),
        }
    }

    /// Waits until what is read here is true now: the leader has heard a majority since it was asked, and everything that
    /// was committed then is applied. And until `min_index` is, which a caller may have from elsewhere.
    async fn readable(&self, min_index: u64) -> Result<(), Status> {
        let mut pulse = self.view.handle.pulse();
        let confirmed = async {
            self.view.handle.steer(Steer::Read).await?;
            pulse.wait_for(|p| p.applied >= min_index).await.map(|_| ()).map_err(|_| RequestError::Stopping)
        };
        match timeout(READ_MAX, confirmed).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(RequestError::Stopping)) => Err(stopping()),
            Ok(Err(error)) => Err(refused(&self.view.book, self.view.node, &error)),
            Err(_) => {
                let name = self.view.book.name_of(self.view.node);
                Err(Status::unavailable(format!("{name} hears no majority, or has not applied index {min_index} yet")))
            }
        }
    }

    async fn read_tables<T: Send + 'static>(
        &self,
        read: impl FnOnce(&tokio_rusqlite::rusqlite::Connection, &crate::storage::StateStore) -> Result<T, StorageError>
        + Send
        + 'static,
    ) -> Result<T, Status> {
        let store = self.tables.store.clone();
        let read = self.tables.state.call(move |conn| read(conn, &store)).await;
        read.map_err(|e| Status::data_loss(flatten(e).to_string()))
    }

    /// A job: from memory if it is there (then it is newer), else from the tables.
    async fn find(&self, id: JobId) -> Result<(Option<Job>, u64), Status> {
        let look = self.view.handle.look(move |replica, _| {
            let machine = replica.machine();
            (machine.job(id).cloned(), machine.applied())
        });
        match look.await.map_err(|_| stopping())? {
            (Some(job), applied) => Ok((Some(job), applied)),
            (None, applied) => Ok((self.read_tables(move |conn, store| store.job(conn, id)).await?, applied)),
        }
    }
}

#[tonic::async_trait]
impl Jobs for JobsService {
    type CallsStream = calls::Answers;

    async fn calls(&self, request: Request<Streaming<wire::CallFrame>>) -> Result<Response<Self::CallsStream>, Status> {
        Ok(Response::new(calls::serve(Arc::new(self.clone()), request.into_inner())))
    }

    async fn open_session(
        &self,
        _: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionReply>, Status> {
        match self.decide(Op::OpenSession, None).await?.reply {
            Reply::SessionOpened { session } => {
                Ok(Response::new(wire::OpenSessionReply { session: session.0, idle_ms_max: SESSION_TTL_MS }))
            }
            other => Err(wrong_reply(&other)),
        }
    }

    async fn submit(&self, request: Request<wire::SubmitRequest>) -> Result<Response<wire::SubmitReply>, Status> {
        let wire::SubmitRequest { job, session } = request.into_inner();
        let job = job.ok_or_else(|| Status::invalid_argument("no job was given"))?;
        let jobs = self.submit_all(vec![job], session).await?;
        Ok(Response::new(wire::SubmitReply { job: jobs.into_iter().next() }))
    }

    async fn submit_bulk(
        &self,
        request: Request<wire::SubmitBulkRequest>,
    ) -> Result<Response<wire::SubmitBulkReply>, Status> {
        let wire::SubmitBulkRequest { jobs, session } = request.into_inner();
        let jobs = self.submit_all(jobs, session).await?;
        Ok(Response::new(wire::SubmitBulkReply { jobs }))
    }

    async fn claim(&self, request: Request<wire::ClaimRequest>) -> Result<Response<wire::ClaimReply>, Status> {
        let wire::ClaimRequest { worker, queues, handlers, max_jobs, lease_ms, wait_ms, session: session_call } =
            request.into_inner();
        let op = Op::Claim { worker, queues, handlers, max_jobs, lease_ms };
        let wait = Duration::from_millis(wait_ms).min(CLAIM_WAIT_MAX);
        op.validate().map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
        let asked = self.view.handle.request_waiting(op, self::session(session_call), wait);
        let Applied { index, reply } = self.within(WRITE_MAX + wait, asked).await?;
        let Reply::Claimed(jobs) = reply else { return Err(wrong_reply(&reply)) };
        let jobs = jobs.into_iter().map(|job| claimed_to_wire(job, lease_ms)).collect();
        Ok(Response::new(wire::ClaimReply { jobs, index: index.0 }))
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatLeasesRequest>,
    ) -> Result<Response<wire::HeartbeatLeasesReply>, Status> {
        let wire::HeartbeatLeasesRequest { leases, lease_ms, session } = request.into_inner();
        let leases = leases.into_iter().map(|l| lease(Some(l))).collect::<Result<_, _>>()?;
        let Applied { index, reply } = self.decide(Op::Heartbeat { leases, lease_ms }, session).await?;
        let Reply::Heartbeats(renewals) = reply else { return Err(wrong_reply(&reply)) };
        let renewals = renewals
            .into_iter()
            .map(|renewal| match renewal {
                Ok(renewed) => wire::LeaseRenewal {
                    outcome: Some(wire::lease_renewal::Outcome::DeadlineMs(renewed.deadline_ms)),
                    cancel_requested: renewed.cancel_requested,
                },
                Err(refusal) => wire::LeaseRenewal {
                    outcome: Some(wire::lease_renewal::Outcome::Refused(refusal.to_string())),
                    cancel_requested: false,
                },
            })
            .collect();
        Ok(Response::new(wire::HeartbeatLeasesReply { renewals, index: index.0 }))
    }

    async fn ack(&self, request: Request<wire::AckRequest>) -> Result<Response<wire::SettleReply>, Status> {
        let wire::AckRequest { acks, session } = request.into_inner();
        let acks = acks.into_iter().map(ack).collect::<Result<_, _>>()?;
        match self.decide(Op::Ack { acks }, session).await? {
            Applied { index, reply: Reply::Acked(settled) } => Ok(Response::new(settle_reply(index, settled))),
            Applied { reply, .. } => Err(wrong_reply(&reply)),
        }
    }

    async fn fail(&self, request: Request<wire::FailRequest>) -> Result<Response<wire::SettleReply>, Status> {
        let wire::FailRequest { failures, session } = request.into_inner();
        let failures = failures.into_iter().map(failure).collect::<Result<_, _>>()?;
        match self.decide(Op::Fail { failures }, session).await? {
            Applied { index, reply: Reply::Failed(settled) } => Ok(Response::new(settle_reply(index, settled))),
            Applied { reply, .. } => Err(wrong_reply(&reply)),
        }
    }

    async fn cancel(&self, request: Request<wire::CancelRequest>) -> Result<Response<wire::CancelReply>, Status> {
        let wire::CancelRequest { id, session } = request.into_inner();
        let id = JobId(id);
        let Applied { index, reply } = self.decide(Op::Cancel { job: id }, session).await?;
        let state = match reply {
            Reply::Cancelled(Ok(CancelOutcome::Cancelled)) => JobState::Cancelled,
            Reply::Cancelled(Ok(CancelOutcome::Requested)) => JobState::Running,
            Reply::Cancelled(Ok(CancelOutcome::AlreadyFinished { state: Some(state) })) => state,
            Reply::Cancelled(Ok(CancelOutcome::AlreadyFinished { state: None })) => {
                let (job, _) = self.find(id).await?;
                job.map(|job| job.state).ok_or_else(|| no_job(id))?
            }
            Reply::Cancelled(Err(refusal)) => return Err(Status::not_found(refusal.to_string())),
            other => return Err(wrong_reply(&other)),
        };
        Ok(Response::new(wire::CancelReply { state: state_to_wire(state).into(), index: index.0 }))
    }

    async fn get(&self, request: Request<wire::GetRequest>) -> Result<Response<wire::GetReply>, Status> {
        let wire::GetRequest { id, min_index } = request.into_inner();
        self.readable(min_index).await?;
        let (job, applied) = self.find(JobId(id)).await?;
        let job = job.ok_or_else(|| no_job(JobId(id)))?;
        Ok(Response::new(wire::GetReply { job: Some(job_to_wire(&job, true)), applied }))
    }

    async fn list(&self, request: Request<wire::ListRequest>) -> Result<Response<wire::ListReply>, Status> {
        let request = request.into_inner();
        self.readable(request.min_index).await?;
        let limit = match request.limit {
            0 => LIST_DEFAULT,
            n if n <= LIST_MAX => n,
            n => return Err(Status::invalid_argument(format!("limit is {n}, the limit is {LIST_MAX}"))),
        } as usize;
        let states = request.states.iter().copied().map(state_from_wire).collect::<Result<_, _>>()?;
        let filter = JobFilter {
            states,
            queue: request.queue,
            handler: request.handler,
            before: (request.before_id > 0).then_some(JobId(request.before_id)),
        };
        // Memory first: a job that finishes in between is then found twice, not missed. The tables are then newer, but
        // for a live job they may be older, so only their finished jobs count.
        let wanted = filter.clone();
        let look = self.view.handle.look(move |replica, _| {
            let machine = replica.machine();
            let held: Vec<Job> =
                machine.held_newest_first().filter(|j| wanted.takes(j)).take(limit + 1).cloned().collect();
            (held, machine.applied())
        });
        let (mut jobs, applied) = look.await.map_err(|_| stopping())?;
        let finished = self.read_tables(move |conn, store| store.list_finished(conn, &filter, limit + 1)).await?;
        jobs.retain(|job| finished.iter().all(|done| done.id != job.id));
        jobs.extend(finished);
        jobs.sort_unstable_by_key(|job| std::cmp::Reverse(job.id));
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let jobs = jobs.iter().map(|job| job_to_wire(job, false)).collect();
        Ok(Response::new(wire::ListReply { jobs, applied, more }))
    }
}

fn submitted_to_wire(job: &Submitted) -> wire::Submitted {
    wire::Submitted { id: job.id.0, state: state_to_wire(job.state).into(), index: job.index, duplicate: job.duplicate }
}

fn claimed_to_wire(job: raftdeck_jobs::ClaimedJob, lease_ms: u64) -> wire::ClaimedJob {
    wire::ClaimedJob {
        id: job.id.0,
        token: job.token.0,
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        deadline_ms: job.deadline_ms,
        timeout_ms: job.timeout_ms.unwrap_or_default(),
        queue: job.queue,
        handler: job.handler,
        payload: job.payload,
        lease_ms,
    }
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

fn session_refused(refusal: SessionRefusal) -> Status {
    let word = match refusal {
        SessionRefusal::Expired { .. } => SESSION_EXPIRED,
        SessionRefusal::Overtaken { .. } => "overtaken",
        SessionRefusal::Reused { .. } => "reused",
    };
    let mut header = MetadataMap::new();
    header.insert(SESSION_HEADER, MetadataValue::from_static(word));
    Status::with_metadata(Code::FailedPrecondition, refusal.to_string(), header)
}

fn no_job(id: JobId) -> Status {
    Status::not_found(format!("there is no job {id}"))
}

fn stopping() -> Status {
    Status::unavailable("the node is stopping")
}

fn wrong_reply(reply: &Reply) -> Status {
    Status::internal(format!("the machine answered another question: {reply:?}"))
}
