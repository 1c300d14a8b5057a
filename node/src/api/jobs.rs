//! The job service: what clients and workers ask for.

use std::{sync::Arc, time::Duration};

use raftdeck_jobs::{
    CancelOutcome, Job, JobId, JobState, Op, Reply, RetryOutcome, RetryRefusal, limits::SESSION_TTL_MS,
};
use raftdeck_shared::{
    calls::Answers,
    cluster::ClusterFile,
    wire::{self, answer::Outcome, call, jobs_server::Jobs},
};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Tables, ask,
    convert::{job_to_wire, state_from_wire, state_to_wire},
    refusal::refused,
};
use crate::{
    driver::flatten,
    handle::{Ask, Handle, RequestError, Steer},
    replica::Applied,
    status::NodeView,
    storage::{JobFilter, StorageError},
};

/// A write that is not applied by then has an unknown outcome. A caller's own deadline may be shorter.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(5);

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

    pub(super) fn cluster(&self) -> &ClusterFile {
        &self.view.cluster
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.view.handle
    }

    /// Why something was not done, for the caller.
    pub(super) fn status(&self, error: &RequestError) -> Status {
        refused(&self.view.book, self.view.node, error)
    }

    /// Has a call decided, once if it is one of a session: by its answer, a definite refusal, or an unknown outcome.
    async fn call(&self, request: call::Request) -> Result<Outcome, Status> {
        let (kind, ask) = ask::ask(request, self.cluster())?;
        ask::outcome(kind, self.decide(ask).await?)
    }

    async fn decide(&self, ask: Ask) -> Result<Applied, Status> {
        let within = WRITE_MAX + ask.wait.unwrap_or_default();
        let decided = timeout(within, self.view.handle.request(ask)).await.map_err(|_| too_late(within))?;
        decided.map_err(|error| self.status(&error))
    }

    /// Cancels a job: its state after that.
    pub(super) async fn cancel_job(&self, request: wire::CancelRequest) -> Result<wire::CancelReply, Status> {
        let id = JobId(request.id);
        let (_, ask) = ask::ask(call::Request::Cancel(request), self.cluster())?;
        let Applied { index, reply } = self.decide(ask).await?;
        let state = match reply {
            Reply::Cancelled(Ok(CancelOutcome::Cancelled)) => JobState::Cancelled,
            Reply::Cancelled(Ok(CancelOutcome::Requested)) => JobState::Running,
            Reply::Cancelled(Ok(CancelOutcome::AlreadyFinished { state: Some(state) })) => state,
            Reply::Cancelled(Ok(CancelOutcome::AlreadyFinished { state: None })) => self.state_of(id).await?,
            Reply::Cancelled(Err(refusal)) => return Err(Status::not_found(refusal.to_string())),
            Reply::SessionRefused(refusal) => return Err(ask::session_refused(refusal)),
            other => return Err(ask::wrong_reply(&other)),
        };
        Ok(wire::CancelReply { state: state_to_wire(state).into(), index: index.0 })
    }

    /// Has a job tried at once: its state after that, or why it cannot be.
    pub(super) async fn retry_job(&self, request: wire::RetryRequest) -> Result<wire::RetryReply, Status> {
        let id = JobId(request.id);
        let (_, ask) = ask::ask(call::Request::Retry(request), self.cluster())?;
        let Applied { index, reply } = self.decide(ask).await?;
        let (state, changed, refused) = match reply {
            Reply::Retried(Ok(RetryOutcome::Available)) => (JobState::Available, true, String::new()),
            Reply::Retried(Ok(RetryOutcome::AlreadyAvailable)) => (JobState::Available, false, String::new()),
            Reply::Retried(Err(refusal @ RetryRefusal::UnknownJob { .. })) => {
                return Err(Status::not_found(refusal.to_string()));
            }
            Reply::Retried(Err(refusal @ RetryRefusal::Running { .. })) => {
                (JobState::Running, false, refusal.to_string())
            }
            Reply::Retried(Err(refusal @ RetryRefusal::Finished { state: Some(state), .. })) => {
                (state, false, refusal.to_string())
            }
            Reply::Retried(Err(RetryRefusal::Finished { job, state: None })) => {
                let state = self.state_of(id).await?;
                (state, false, RetryRefusal::Finished { job, state: Some(state) }.to_string())
            }
            Reply::SessionRefused(refusal) => return Err(ask::session_refused(refusal)),
            other => return Err(ask::wrong_reply(&other)),
        };
        Ok(wire::RetryReply { state: state_to_wire(state).into(), index: index.0, changed, refused })
    }

    /// The state of a job that finished so long ago that only the tables know it.
    async fn state_of(&self, id: JobId) -> Result<JobState, Status> {
        let (job, _) = self.find(id).await?;
        job.map(|job| job.state).ok_or_else(|| no_job(id))
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
    type CallsStream = Answers;

    async fn calls(&self, request: Request<Streaming<wire::CallFrame>>) -> Result<Response<Self::CallsStream>, Status> {
        Ok(Response::new(super::calls::serve(self.clone(), request.into_inner())))
    }

    async fn open_session(
        &self,
        _: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionReply>, Status> {
        match self.decide(Ask { op: Op::OpenSession, session: None, wait: None }).await?.reply {
            Reply::SessionOpened { session } => {
                Ok(Response::new(wire::OpenSessionReply { session: session.0, idle_ms_max: SESSION_TTL_MS }))
            }
            other => Err(ask::wrong_reply(&other)),
        }
    }

    async fn submit(&self, request: Request<wire::SubmitRequest>) -> Result<Response<wire::SubmitReply>, Status> {
        match self.call(call::Request::Submit(request.into_inner())).await? {
            Outcome::Submit(reply) => Ok(Response::new(reply)),
            other => unreachable!("an answer to another call: {other:?}"),
        }
    }

    async fn submit_bulk(
        &self,
        request: Request<wire::SubmitBulkRequest>,
    ) -> Result<Response<wire::SubmitBulkReply>, Status> {
        match self.call(call::Request::SubmitBulk(request.into_inner())).await? {
            Outcome::SubmitBulk(reply) => Ok(Response::new(reply)),
            other => unreachable!("an answer to another call: {other:?}"),
        }
    }

    async fn claim(&self, request: Request<wire::ClaimRequest>) -> Result<Response<wire::ClaimReply>, Status> {
        match self.call(call::Request::Claim(request.into_inner())).await? {
            Outcome::Claim(reply) => Ok(Response::new(reply)),
            other => unreachable!("an answer to another call: {other:?}"),
        }
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatLeasesRequest>,
    ) -> Result<Response<wire::HeartbeatLeasesReply>, Status> {
        match self.call(call::Request::Heartbeat(request.into_inner())).await? {
            Outcome::Heartbeat(reply) => Ok(Response::new(reply)),
            other => unreachable!("an answer to another call: {other:?}"),
        }
    }

    async fn ack(&self, request: Request<wire::AckRequest>) -> Result<Response<wire::SettleReply>, Status> {
        match self.call(call::Request::Ack(request.into_inner())).await? {
            Outcome::Ack(reply) => Ok(Response::new(reply)),
            other => unreachable!("an answer to another call: {other:?}"),
        }
    }

    async fn fail(&self, request: Request<wire::FailRequest>) -> Result<Response<wire::SettleReply>, Status> {
        match self.call(call::Request::Fail(request.into_inner())).await? {
            Outcome::Fail(reply) => Ok(Response::new(reply)),
            other => unreachable!("an answer to another call: {other:?}"),
        }
    }

    async fn cancel(&self, request: Request<wire::CancelRequest>) -> Result<Response<wire::CancelReply>, Status> {
        self.cancel_job(request.into_inner()).await.map(Response::new)
    }

    async fn retry(&self, request: Request<wire::RetryRequest>) -> Result<Response<wire::RetryReply>, Status> {
        self.retry_job(request.into_inner()).await.map(Response::new)
    }

    async fn pause_queue(
        &self,
        request: Request<wire::PauseQueueRequest>,
    ) -> Result<Response<wire::PauseQueueReply>, Status> {
        match self.call(call::Request::PauseQueue(request.into_inner())).await? {
            Outcome::PauseQueue(reply) => Ok(Response::new(reply)),
            other => unreachable!("an answer to another call: {other:?}"),
        }
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

/// Nobody can say what became of it.
pub(super) fn too_late(within: Duration) -> Status {
    Status::unknown(format!("no majority has it after {} ms", within.as_millis()))
}

fn no_job(id: JobId) -> Status {
    Status::not_found(format!("there is no job {id}"))
}

fn stopping() -> Status {
    Status::unavailable("the node is stopping")
}
