//! One question to one node, with an end.
//!
//! The client of `raftdeck_shared` follows the leader; an operator wants the opposite: *this* node, what it alone says,
//! and no later than this. Every question therefore opens its own channel (a broken one never delays the next question)
//! and is given up when its time is over, whether the node is gone, stopped or busy.

use std::{future::Future, time::Duration};

use raftdeck_shared::{
    client::{self, words},
    wire::{self, admin_client::AdminClient},
};
use tonic::{Code, Request, Response, Status, transport::Channel};

/// How long a node may take to say how it is.
pub const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// How long a node may take to set or heal a fault.
pub const FAULT_WITHIN: Duration = Duration::from_secs(2);

/// How long a node may take to begin a change, to hand leadership over, or to cut its log.
pub const STEER_WITHIN: Duration = Duration::from_secs(6);

/// The admin service of the node at `api` (`HOST:PORT`). Connects when first used.
///
/// # Errors
/// The address is not one.
pub fn admin(api: &str) -> Result<AdminClient<Channel>, Status> {
    match client::channel(api) {
        Ok(channel) => Ok(AdminClient::new(channel).max_decoding_message_size(client::API_MESSAGE_BYTES_MAX)),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

/// How the node at `api` is.
///
/// # Errors
/// It did not say, within the time.
pub async fn status(api: &str, within: Duration) -> Result<wire::NodeStatus, Status> {
    ask(api, within, wire::StatusRequest {}, |mut admin, request| async move { admin.status(request).await }).await
}

/// Sets a fault at the node at `api`.
///
/// # Errors
/// Refused, or no answer in time. A kill that worked is among the latter.
pub async fn inject(
    api: &str,
    fault: wire::fault_spec::Fault,
    ttl: Duration,
    label: &str,
) -> Result<wire::Fault, Status> {
    let request = wire::InjectFaultRequest {
        spec: Some(wire::FaultSpec { fault: Some(fault) }),
        ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        label: label.to_owned(),
    };
    ask(api, FAULT_WITHIN, request, |mut admin, request| async move { admin.inject_fault(request).await }).await
}

/// Ends these faults of the node at `api`, or all if none is named.
///
/// # Errors
/// It did not answer in time.
pub async fn heal(api: &str, ids: Vec<u64>) -> Result<wire::HealFaultsReply, Status> {
    let these = wire::HealFaultsRequest { ids, peers: Vec::new() };
    ask(api, FAULT_WITHIN, these, |mut admin, request| async move { admin.heal_faults(request).await }).await
}

/// A refusal in words; what went wrong on the way in other words.
#[must_use]
pub fn why(status: &Status) -> String {
    let text = words(status);
    if text.is_empty() { format!("{:?}", status.code()) } else { text }
}

/// Whether the node has seen the request and decided against it, so that its words are the answer.
#[must_use]
pub fn refused(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::NotFound
            | Code::Aborted
    )
}

/// Cuts the log of the node at `api` as far as it can be.
///
/// # Errors
/// It did not answer in time, or does not want to.
pub async fn snapshot(api: &str) -> Result<wire::SnapshotReply, Status> {
    let request = wire::SnapshotRequest {};
    ask(api, STEER_WITHIN, request, |mut admin, request| async move { admin.snapshot(request).await }).await
}

pub(crate) async fn ask<Req, Rep, Fut>(
    api: &str,
    within: Duration,
    request: Req,
    rpc: impl FnOnce(AdminClient<Channel>, Request<Req>) -> Fut,
) -> Result<Rep, Status>
where
    Fut: Future<Output = Result<Response<Rep>, Status>>,
{
    let mut request = Request::new(request);
    request.set_timeout(within);
    match tokio::time::timeout(within, rpc(admin(api)?, request)).await {
        Ok(reply) => reply.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} ms", within.as_millis()))),
    }
}
