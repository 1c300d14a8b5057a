//! Channels to nodes, and the client that finds and follows the leader.
//!
//! A caller names what it wants and by when. The client tries the node it last knew as leader, follows the
//! `raftdeck-leader` header of a node that is not, and goes round the others when a node does not answer. A cluster that
//! has no room is asked again until there is some, or the time is up. It may send a request more than once, so everything
//! that is to be done is a call of a session, which the cluster does once (`client/sessions.rs`).
//!
//! Laws:
//! - each call ends by its deadline, plus the time of one wake-up;
//! - the error says which of three things happened: nothing was done ([`ClientError::Unreachable`]), it was refused
//!   ([`ClientError::Refused`]), or nobody can say ([`ClientError::Unknown`]). The last is never reported as one of the
//!   others;
//! - a client that is [attended](Client::attended) gives up at once where no node takes a connection;
//! - a call is never done twice: one whose session has expired is sent in another one only if no earlier attempt can have
//!   been done.

use std::{
    collections::BTreeSet,
    error::Error as _,
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use thiserror::Error;
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};

mod lane;
mod routes;
mod sessions;
mod worker;

pub use self::worker::{Jobs, Taken};
use self::{
    routes::{Route, Routes},
    sessions::{InUse, Once, Sessions},
};
use crate::{
    ids::{JobId, LeaseToken},
    wire::{self, jobs_client::JobsClient},
};

/// The header in which a node that is not the leader names the api address of the one that is.
pub const LEADER_HEADER: &str = "raftdeck-leader";

/// The header in which such a node names the api addresses of all members, separated by commas.
pub const MEMBERS_HEADER: &str = "raftdeck-members";

/// The header in which a node says why it did not do a call of a session.
pub const SESSION_HEADER: &str = "raftdeck-session";

/// What [`SESSION_HEADER`] says of a session that is not known any more.
pub const SESSION_EXPIRED: &str = "expired";

/// Largest message on the api listener: a bulk of 4 MiB of payload, and what is around it.
pub const API_MESSAGE_BYTES_MAX: usize = 6 << 20;

/// One attempt at one node takes at most this long before another node is asked.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);

/// Pause before asking again when no node knows a leader, or none answers.
const PAUSE: Duration = Duration::from_millis(40);

/// Pause before asking a cluster again that has no room: sooner would only keep it full.
const PAUSE_FULL: Duration = Duration::from_millis(200);

/// A wait that has lasted so long is told to whoever attends.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// Longest wait of a claim for work.
pub const CLAIM_WAIT_MAX: Duration = Duration::from_secs(30);

/// A channel to `address` (`HOST:PORT`) that connects when it is first used and again after it broke. A peer that
/// keeps its connection open but does not answer (a stopped process) is noticed within four seconds.
///
/// # Errors
/// The address is not one.
pub fn channel(address: &str) -> Result<Channel, ClientError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| ClientError::Refused {
        code: Code::InvalidArgument,
        message: format!("address {address:?}: {e}"),
    })?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(1))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .keep_alive_while_idle(true)
        .connect_lazy())
}

/// How a call failed.
#[derive(Clone, Debug, Error)]
pub enum ClientError {
    /// No request reached a node that could decide it: nothing was done.
    #[error("no node reachable: {0}")]
    Unreachable(String),
    /// A node decided against it: nothing was done.
    #[error("{message}")]
    Refused {
        /// What kind of refusal.
        code: Code,
        /// One line: the thing, the limit, the value.
        message: String,
    },
    /// The request was sent and no answer came: it may have been done, or may yet be.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
}

/// Submits, steers and works off jobs. Cheap to share behind an `Arc`; many calls may be under way at once.
#[derive(Debug)]
pub struct Client {
    routes: Routes,
    sessions: Sessions,
    /// Told of a long wait, if somebody sits before it.
    attended: Option<fn(&str)>,
}

/// How long a call may take, from when.
#[derive(Clone, Copy)]
struct Patience {
    start: Instant,
    within: Duration,
}

/// How a call ended that was not answered.
enum Failed {
    /// Its session has expired; an earlier attempt may have been done before, or certainly none was.
    SessionExpired { maybe_done: bool, error: ClientError },
    /// As its caller shall hear it.
    For(ClientError),
}

impl Client {
    /// A client of the cluster whose api listeners are at these addresses (`HOST:PORT`). Nothing is sent yet.
    ///
    /// # Errors
    /// The list is empty.
    pub fn new(addresses: impl IntoIterator<Item = String>) -> Result<Client, ClientError> {
        let routes = Routes::new(addresses.into_iter().collect())?;
        Ok(Client { routes, sessions: Sessions::default(), attended: None })
    }

    /// For a caller at a terminal. A worker outlives a cluster that is down for a while; a person wants to know it: a call
    /// that every node refuses the connection for has failed. A wait that may well end in an answer, as during an election,
    /// goes on, and `told` hears once a call what for.
    #[must_use]
    pub fn attended(self, told: fn(&str)) -> Client {
        Client { attended: Some(told), ..self }
    }

    /// Submits one job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit(&self, job: wire::NewJob, within: Duration) -> Result<wire::Submitted, ClientError> {
        let request = wire::SubmitRequest { job: Some(job), session: None };
        let reply = self.once(within, ATTEMPT_MAX, request).await?;
        reply.job.ok_or_else(|| ClientError::Unknown("the node answered without a job".into()))
    }

    /// Submits many jobs: all or none.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit_bulk(
        &self,
        jobs: Vec<wire::NewJob>,
        within: Duration,
    ) -> Result<Vec<wire::Submitted>, ClientError> {
        let request = wire::SubmitBulkRequest { jobs, session: None };
        let reply = self.once(within, ATTEMPT_MAX, request).await?;
        Ok(reply.jobs)
    }

    /// Leases jobs to a worker; waits up to `wait_ms` of the request for one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn claim(&self, request: wire::ClaimRequest) -> Result<wire::ClaimReply, ClientError> {
        let attempt = Duration::from_millis(request.wait_ms).min(CLAIM_WAIT_MAX) + ATTEMPT_MAX;
        self.once(attempt, attempt, request).await
    }

    /// Renews leases.
    ///
    /// # Errors
    /// See [`ClientError`]; a lease that is no longer held is not an error but part of the answer.
    pub async fn heartbeat(
        &self,
        request: wire::HeartbeatLeasesRequest,
        within: Duration,
    ) -> Result<wire::HeartbeatLeasesReply, ClientError> {
        self.once(within, ATTEMPT_MAX, request).await
    }

    /// Completes a job.
    ///
    /// # Errors
    /// See [`ClientError`]; a stale lease is part of the answer.
    pub async fn ack(
        &self,
        job: JobId,
        token: LeaseToken,
        result: Bytes,
        within: Duration,
    ) -> Result<wire::Settled, ClientError> {
        let lease = Some(wire::LeaseRef { job: job.0, token: token.0 });
        let settled = self.ack_all(vec![wire::Ack { lease, result }], within).await?;
        first(settled)
    }

    /// Completes many jobs at once: an outcome for each.
    ///
    /// # Errors
    /// See [`ClientError`]; a stale lease is part of the answer.
    pub async fn ack_all(&self, acks: Vec<wire::Ack>, within: Duration) -> Result<Vec<wire::Settled>, ClientError> {
        let request = wire::AckRequest { acks, session: None };
        let reply = self.once(within, ATTEMPT_MAX, request).await?;
        Ok(reply.settled)
    }

    /// Gives a job back as failed.
    ///
    /// # Errors
    /// See [`ClientError`]; a stale lease is part of the answer.
    pub async fn fail(&self, failure: wire::Failure, within: Duration) -> Result<wire::Settled, ClientError> {
        let request = wire::FailRequest { failures: vec![failure], session: None };
        let reply = self.once(within, ATTEMPT_MAX, request).await?;
        first(reply.settled)
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel(&self, id: JobId, within: Duration) -> Result<wire::CancelReply, ClientError> {
        let request = wire::CancelRequest { id: id.0, session: None };
        self.once(within, ATTEMPT_MAX, request).await
    }

    /// Makes a job available that waits for its time.
    ///
    /// # Errors
    /// See [`ClientError`]; that it is running or finished is part of the answer.
    pub async fn retry(&self, id: JobId, within: Duration) -> Result<wire::RetryReply, ClientError> {
        let request = wire::RetryRequest { id: id.0, session: None };
        self.once(within, ATTEMPT_MAX, request).await
    }

    /// Has nobody be given a job of this queue, until it is resumed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pause_queue(&self, queue: &str, within: Duration) -> Result<wire::PauseQueueReply, ClientError> {
        let request = wire::PauseQueueRequest { queue: queue.to_owned(), paused: true, session: None };
        self.once(within, ATTEMPT_MAX, request).await
    }

    /// Has the jobs of this queue be given again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume_queue(&self, queue: &str, within: Duration) -> Result<wire::PauseQueueReply, ClientError> {
        let request = wire::PauseQueueRequest { queue: queue.to_owned(), paused: false, session: None };
        self.once(within, ATTEMPT_MAX, request).await
    }

    /// One job, read where at least `min_index` is applied.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(&self, id: JobId, min_index: u64, within: Duration) -> Result<wire::GetReply, ClientError> {
        let request = wire::GetRequest { id: id.0, min_index };
        Ok(self.ask(Patience::from_now(within), &request, |mut c, r| async move { c.get(r).await }).await?)
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list(&self, request: wire::ListRequest, within: Duration) -> Result<wire::ListReply, ClientError> {
        Ok(self.ask(Patience::from_now(within), &request, |mut c, r| async move { c.list(r).await }).await?)
    }

    /// Has `request` done once: all attempts are the same call of one session.
    async fn once<Req: Once>(
        &self,
        within: Duration,
        attempt_max: Duration,
        mut request: Req,
    ) -> Result<Req::Reply, ClientError> {
        let patience = Patience::from_now(within);
        loop {
            let session = match self.sessions.take() {
                Some(session) => session,
                None => self.open_session(patience).await?,
            };
            *request.session() = Some(session.call());
            let attempt = |route: Route, _| {
                let call = request.clone().into_call();
                async move {
                    let outcome = route.lane.call(call).await?;
                    Req::reply(outcome).ok_or_else(|| Status::unknown("the node answered another question"))
                }
            };
            match self.call(patience, attempt_max, attempt).await {
                Ok(reply) => return Ok(reply),
                Err(Failed::SessionExpired { maybe_done, error }) => {
                    let fresh = session.expired();
                    if fresh && !maybe_done {
                        tokio::time::sleep(PAUSE.min(patience.left())).await;
                    }
                    if maybe_done || patience.left().is_zero() {
                        return Err(error);
                    }
                }
                Err(Failed::For(error)) => return Err(error),
            }
        }
    }

    /// As a request of its own.
    async fn ask<Req, Rep, Rpc, Fut>(&self, patience: Patience, request: &Req, rpc: Rpc) -> Result<Rep, Failed>
    where
        Req: Clone,
        Rpc: Fn(JobsClient<Channel>, Request<Req>) -> Fut,
        Fut: Future<Output = Result<Response<Rep>, Status>>,
    {
        let attempt = |route: Route, attempt| {
            let client = JobsClient::new(route.channel)
                .max_decoding_message_size(API_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(API_MESSAGE_BYTES_MAX);
            let mut request = Request::new(request.clone());
            request.set_timeout(attempt);
            let answer = rpc(client, request);
            async move { answer.await.map(Response::into_inner) }
        };
        self.call(patience, ATTEMPT_MAX, attempt).await
    }

    /// Opens a session. However that fails, the call it is for was not sent.
    async fn open_session(&self, patience: Patience) -> Result<InUse<'_>, ClientError> {
        let request = wire::OpenSessionRequest {};
        match self.ask(patience, &request, |mut c, r| async move { c.open_session(r).await }).await {
            Ok(reply) => Ok(self.sessions.opened(reply.session)),
            Err(Failed::For(ClientError::Unknown(words))) => Err(ClientError::Unreachable(words)),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Makes attempts until a node decides, or the time is up.
    async fn call<Rep, Fut>(
        &self,
        patience: Patience,
        attempt_max: Duration,
        make: impl Fn(Route, Duration) -> Fut,
    ) -> Result<Rep, Failed>
    where
        Fut: Future<Output = Result<Rep, Status>>,
    {
        let mut maybe_done = false;
        let mut no_room = None;
        let mut is_told = false;
        // Those that refused since one last took a connection.
        let mut refused_by: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut last = String::from("no time was given");
        loop {
            let left = patience.left();
            if left.is_zero() {
                break;
            }
            let route = self.routes.next().map_err(Failed::For)?;
            let address = Arc::clone(&route.address);
            let attempt = left.min(attempt_max);
            let status = match tokio::time::timeout(attempt, make(route, attempt)).await {
                Ok(Ok(reply)) => {
                    self.routes.leads(&address);
                    return Ok(reply);
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {} ms", attempt.as_millis())),
            };
            last = format!("{address}: {}", words(&status));
            if !never_sent(&status) {
                refused_by.clear();
            }
            if let Some(word) = status.metadata().get(SESSION_HEADER) {
                let error = if maybe_done { ClientError::Unknown(last) } else { refused(&status) };
                return Err(match word.to_str() {
                    Ok(SESSION_EXPIRED) => Failed::SessionExpired { maybe_done, error },
                    Ok(_) | Err(_) => Failed::For(error),
                });
            }
            let pause = match status.code() {
                // Not the leader, or no longer: certainly not done here.
                Code::FailedPrecondition | Code::Aborted if self.routes.follow(&address, &status) => continue,
                Code::FailedPrecondition | Code::Aborted => PAUSE,
                // Certainly not done this time; an earlier attempt may have been.
                Code::ResourceExhausted => {
                    no_room = Some(status.message().to_owned());
                    PAUSE_FULL
                }
                Code::Unavailable if never_sent(&status) => {
                    self.routes.leave(&address);
                    refused_by.insert(Arc::clone(&address));
                    let all = self.routes.addresses();
                    if self.attended.is_some() && all.iter().all(|one| refused_by.contains(one.as_str())) {
                        last = format!("tried {}", all.join(", "));
                        return Err(Failed::For(match maybe_done {
                            true => ClientError::Unknown(last),
                            false => ClientError::Unreachable(last),
                        }));
                    }
                    PAUSE
                }
                Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled | Code::Internal => {
                    maybe_done = true;
                    self.routes.leave(&address);
                    PAUSE
                }
                Code::Ok
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::DataLoss
                | Code::Unauthenticated => return Err(Failed::For(refused(&status))),
            };
            if let Some(told) = self.attended.filter(|_| !is_told && patience.start.elapsed() >= TOLD_AFTER) {
                told(&format!("waiting, up to {} s in all: {last}", patience.within.as_secs()));
                is_told = true;
            }
            tokio::time::sleep(pause.min(patience.left())).await;
        }
        let last = format!("gave up after {} ms; last answer from {last}", patience.within.as_millis());
        Err(Failed::For(match no_room {
            _ if maybe_done => ClientError::Unknown(last),
            Some(message) => ClientError::Refused { code: Code::ResourceExhausted, message },
            None => ClientError::Unreachable(last),
        }))
    }
}

impl Patience {
    fn from_now(within: Duration) -> Patience {
        Patience { start: Instant::now(), within }
    }

    fn left(self) -> Duration {
        self.within.saturating_sub(self.start.elapsed())
    }
}

impl From<Failed> for ClientError {
    fn from(failed: Failed) -> ClientError {
        match failed {
            Failed::SessionExpired { maybe_done: _, error } | Failed::For(error) => error,
        }
    }
}

fn refused(status: &Status) -> ClientError {
    ClientError::Refused { code: status.code(), message: status.message().to_owned() }
}

fn first(settled: Vec<wire::Settled>) -> Result<wire::Settled, ClientError> {
    settled.into_iter().next().ok_or_else(|| ClientError::Unknown("the node answered without an outcome".into()))
}

/// A status as one line for people: the innermost cause says more than the layers around it.
#[must_use]
pub fn words(status: &Status) -> String {
    if never_sent(status) {
        return "connection refused".into();
    }
    status.message().lines().next().unwrap_or_default().to_owned()
}

/// True if the connection was never made, so that the request cannot have been seen.
#[must_use]
pub fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(io.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable);
        }
        source = error.source();
    }
    false
}
