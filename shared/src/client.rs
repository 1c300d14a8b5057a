//! Channels to nodes, and the client that finds and follows the leader.
//!
//! A caller names what it wants and by when. The client tries the node it last knew as leader, follows the
//! `raftdeck-leader` header of a node that is not, and goes round the others when a node does not answer. A cluster that
//! has no room is asked again until there is some, or the time is up. It may send a
//! request more than once, so every request it sends is safe to repeat: a submit carries an idempotency key (the client
//! draws one where the caller gave none), an ack or fail carries its lease token, and a claim whose answer was lost
//! gives its jobs back when the lease ends.
//!
//! Laws:
//! - each call ends by its deadline, plus the time of one wake-up;
//! - the error says which of three things happened: nothing was done ([`ClientError::Unreachable`]), it was refused
//!   ([`ClientError::Refused`]), or nobody can say ([`ClientError::Unknown`]). The last is never reported as one of the
//!   others.

use std::{
    collections::BTreeMap,
    error::Error as _,
    future::Future,
    io,
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;
use thiserror::Error;
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    ids::{JobId, LeaseToken},
    wire::{self, jobs_client::JobsClient},
};

/// The header in which a node that is not the leader names the api address of the one that is.
pub const LEADER_HEADER: &str = "raftdeck-leader";

/// The header in which such a node names the api addresses of all members, separated by commas.
pub const MEMBERS_HEADER: &str = "raftdeck-members";

/// Addresses that a client remembers.
const ADDRESSES_MAX: usize = 128;

/// Largest message on the api listener: a bulk of 4 MiB of payload, and what is around it.
pub const API_MESSAGE_BYTES_MAX: usize = 6 << 20;

/// One attempt at one node takes at most this long before another node is asked.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);

/// Pause before asking again when no node knows a leader, or none answers.
const PAUSE: Duration = Duration::from_millis(40);

/// Pause before asking a cluster again that has no room: sooner would only keep it full.
const PAUSE_FULL: Duration = Duration::from_millis(200);

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
    routes: Mutex<Routes>,
}

#[derive(Debug)]
struct Routes {
    addresses: Vec<String>,
    channels: BTreeMap<String, Channel>,
    leader: Option<String>,
    turn: usize,
}

impl Routes {
    /// Members that joined later: when all that were known at first have left, the cluster is still found. Nothing is
    /// forgotten, for one that is no member today may be one tomorrow.
    fn learn<'a>(&mut self, addresses: impl Iterator<Item = &'a str>) {
        for address in addresses.filter(|a| !a.is_empty()) {
            if self.addresses.len() < ADDRESSES_MAX && !self.addresses.iter().any(|known| known == address) {
                self.addresses.push(address.to_owned());
            }
        }
    }
}

impl Client {
    /// A client of the cluster whose api listeners are at these addresses (`HOST:PORT`). Nothing is sent yet.
    ///
    /// # Errors
    /// The list is empty.
    pub fn new(addresses: impl IntoIterator<Item = String>) -> Result<Client, ClientError> {
        let addresses: Vec<String> = addresses.into_iter().collect();
        if addresses.is_empty() {
            return Err(ClientError::Unreachable("no address was given".into()));
        }
        let routes = Routes { addresses, channels: BTreeMap::new(), leader: None, turn: 0 };
        Ok(Client { routes: Mutex::new(routes) })
    }

    /// Submits one job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit(&self, mut job: wire::NewJob, within: Duration) -> Result<wire::Submitted, ClientError> {
        give_key(&mut job);
        let request = wire::SubmitRequest { job: Some(job) };
        let reply = self.call(within, ATTEMPT_MAX, &request, |mut c, r| async move { c.submit(r).await }).await?;
        reply.job.ok_or_else(|| ClientError::Unknown("the node answered without a job".into()))
    }

    /// Submits many jobs: all or none.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit_bulk(
        &self,
        mut jobs: Vec<wire::NewJob>,
        within: Duration,
    ) -> Result<Vec<wire::Submitted>, ClientError> {
        jobs.iter_mut().for_each(give_key);
        let request = wire::SubmitBulkRequest { jobs };
        let reply = self.call(within, ATTEMPT_MAX, &request, |mut c, r| async move { c.submit_bulk(r).await }).await?;
        Ok(reply.jobs)
    }

    /// Leases jobs to a worker; waits up to `wait_ms` of the request for one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn claim(&self, request: wire::ClaimRequest) -> Result<wire::ClaimReply, ClientError> {
        let attempt = Duration::from_millis(request.wait_ms).min(CLAIM_WAIT_MAX) + ATTEMPT_MAX;
        self.call(attempt, attempt, &request, |mut c, r| async move { c.claim(r).await }).await
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
        self.call(within, ATTEMPT_MAX, &request, |mut c, r| async move { c.heartbeat(r).await }).await
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
        let request = wire::AckRequest { acks: vec![wire::Ack { lease, result }] };
        let reply = self.call(within, ATTEMPT_MAX, &request, |mut c, r| async move { c.ack(r).await }).await?;
        first(reply)
    }

    /// Gives a job back as failed.
    ///
    /// # Errors
    /// See [`ClientError`]; a stale lease is part of the answer.
    pub async fn fail(&self, failure: wire::Failure, within: Duration) -> Result<wire::Settled, ClientError> {
        let request = wire::FailRequest { failures: vec![failure] };
        let reply = self.call(within, ATTEMPT_MAX, &request, |mut c, r| async move { c.fail(r).await }).await?;
        first(reply)
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel(&self, id: JobId, within: Duration) -> Result<wire::CancelReply, ClientError> {
        let request = wire::CancelRequest { id: id.0 };
        self.call(within, ATTEMPT_MAX, &request, |mut c, r| async move { c.cancel(r).await }).await
    }

    /// One job, read where at least `min_index` is applied.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(&self, id: JobId, min_index: u64, within: Duration) -> Result<wire::GetReply, ClientError> {
        let request = wire::GetRequest { id: id.0, min_index };
        self.call(within, ATTEMPT_MAX, &request, |mut c, r| async move { c.get(r).await }).await
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list(&self, request: wire::ListRequest, within: Duration) -> Result<wire::ListReply, ClientError> {
        self.call(within, ATTEMPT_MAX, &request, |mut c, r| async move { c.list(r).await }).await
    }

    /// Sends `request` until a node decides it or the time is up.
    async fn call<Req, Rep, Rpc, Fut>(
        &self,
        within: Duration,
        attempt_max: Duration,
        request: &Req,
        rpc: Rpc,
    ) -> Result<Rep, ClientError>
    where
        Req: Clone,
        Rpc: Fn(JobsClient<Channel>, Request<Req>) -> Fut,
        Fut: Future<Output = Result<Response<Rep>, Status>>,
    {
        let start = Instant::now();
        let mut maybe_done = false;
        let mut no_room = None;
        let mut last = String::from("no time was given");
        while let Some(left) = within.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            let (address, channel) = self.route()?;
            let client = JobsClient::new(channel)
                .max_decoding_message_size(API_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(API_MESSAGE_BYTES_MAX);
            let attempt = left.min(attempt_max);
            let mut attempt_request = Request::new(request.clone());
            attempt_request.set_timeout(attempt);
            let status = match tokio::time::timeout(attempt, rpc(client, attempt_request)).await {
                Ok(Ok(reply)) => {
                    self.routes.lock().expect("no holder panics").leader = Some(address);
                    return Ok(reply.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {} ms", attempt.as_millis())),
            };
            last = format!("{address}: {}", words(&status));
            let pause = match status.code() {
                // Not the leader, or no longer: certainly not done here.
                Code::FailedPrecondition | Code::Aborted if self.follow(&address, &status) => continue,
                Code::FailedPrecondition | Code::Aborted => PAUSE,
                // Certainly not done this time; an earlier attempt may have been.
                Code::ResourceExhausted => {
                    no_room = Some(status.message().to_owned());
                    PAUSE_FULL
                }
                Code::Unavailable if never_sent(&status) => {
                    self.leave(&address);
                    PAUSE
                }
                Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled | Code::Internal => {
                    maybe_done = true;
                    self.leave(&address);
                    PAUSE
                }
                code => return Err(ClientError::Refused { code, message: status.message().to_owned() }),
            };
            tokio::time::sleep(pause.min(within.saturating_sub(start.elapsed()))).await;
        }
        let last = format!("gave up after {} ms; last answer from {last}", within.as_millis());
        Err(match no_room {
            _ if maybe_done => ClientError::Unknown(last),
            Some(message) => ClientError::Refused { code: Code::ResourceExhausted, message },
            None => ClientError::Unreachable(last),
        })
    }

    /// Where to send now: the leader as last known, else the next node in turn.
    fn route(&self) -> Result<(String, Channel), ClientError> {
        let mut routes = self.routes.lock().expect("no holder panics");
        let address = match &routes.leader {
            Some(leader) => leader.clone(),
            None => routes.addresses[routes.turn % routes.addresses.len()].clone(),
        };
        if let Some(open) = routes.channels.get(&address) {
            return Ok((address, open.clone()));
        }
        let opened = channel(&address)?;
        routes.channels.insert(address.clone(), opened.clone());
        Ok((address, opened))
    }

    /// A node said that it is not the leader. True if it named another that is worth asking at once.
    fn follow(&self, asked: &str, status: &Status) -> bool {
        let named = status.metadata().get(LEADER_HEADER).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let members = status.metadata().get(MEMBERS_HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mut routes = self.routes.lock().expect("no holder panics");
        routes.learn(members.split(',').chain(named.as_deref()));
        match named {
            Some(leader) if leader != asked => {
                routes.leader = Some(leader);
                true
            }
            Some(_) | None => {
                routes.leader = None;
                routes.turn += 1;
                false
            }
        }
    }

    /// A node did not answer: ask another next time.
    fn leave(&self, asked: &str) {
        let mut routes = self.routes.lock().expect("no holder panics");
        if routes.leader.as_deref() == Some(asked) {
            routes.leader = None;
        }
        routes.turn += 1;
    }
}

fn give_key(job: &mut wire::NewJob) {
    if job.idempotency_key.is_empty() {
        job.idempotency_key = format!("auto-{}", uuid::Uuid::new_v4().simple());
    }
}

fn first(reply: wire::SettleReply) -> Result<wire::Settled, ClientError> {
    let settled = reply.settled.into_iter().next();
    settled.ok_or_else(|| ClientError::Unknown("the node answered without an outcome".into()))
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
fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(io.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable);
        }
        source = error.source();
    }
    false
}
