//! The api listener: clients, workers and the console.
//!
//! | file | idea |
//! |---|---|
//! | `jobs` | submit, claim, settle, look up |
//! | `ask` | what a call asks of the machine, and what its answer says |
//! | `calls` | many calls on one stream |
//! | `admin` | status, observations, log ranges, faults |
//! | `steer` | members, leadership, the length of the log |
//! | `convert` | between the machine's values and the wire's |
//! | `refusal` | what is told when something was not done |
//!
//! Nothing is decided here: requests are checked against the limits, handed to the replica, and its answers put into the
//! words of gRPC. Every limit that gRPC leaves open by default is set in [`serve`].

mod admin;
mod ask;
mod calls;
mod convert;
mod jobs;
mod refusal;
mod steer;

use std::{sync::Arc, time::Duration};

use raftdeck_shared::{
    client::API_MESSAGE_BYTES_MAX,
    wire::{DESCRIPTORS, admin_server::AdminServer, jobs_server::JobsServer},
};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_rusqlite::Connection;
use tonic::transport::Server;

use crate::{listener, status::NodeView, storage::StateStore};

/// Requests at a time on one connection.
const STREAMS_MAX: u32 = 1024;

/// Why the listener cannot serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors of `proto/` cannot be served.
    #[error(transparent)]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The tables, to read from.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The state thread.
    pub state: Connection,
    /// What to ask it.
    pub store: StateStore,
}

/// Serves the api listener until the process ends.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, view: Arc<NodeView>, tables: Tables) -> Result<(), ServeError> {
    let reflection =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS).build_v1()?;
    let (health_reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(health_reporter, Arc::clone(&view)));
    let jobs = JobsServer::new(jobs::JobsService::new(Arc::clone(&view), tables))
        .max_decoding_message_size(API_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(API_MESSAGE_BYTES_MAX);
    let admin = AdminServer::new(admin::AdminService::new(view))
        .max_decoding_message_size(API_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(API_MESSAGE_BYTES_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(health)
        .add_service(reflection)
        .add_service(jobs)
        .add_service(admin)
        .serve_with_incoming(listener::connections(listener))
        .await?;
    Ok(())
}

/// Serving means: there is a leader to decide.
async fn report_health(reporter: tonic_health::server::HealthReporter, view: Arc<NodeView>) {
    let mut pulse = view.handle.pulse();
    loop {
        let has_leader = pulse.borrow_and_update().leader.is_some();
        if has_leader {
            reporter.set_serving::<JobsServer<jobs::JobsService>>().await;
        } else {
            reporter.set_not_serving::<JobsServer<jobs::JobsService>>().await;
        }
        if pulse.wait_for(|p| p.leader.is_some() != has_leader).await.is_err() {
            return;
        }
    }
}
