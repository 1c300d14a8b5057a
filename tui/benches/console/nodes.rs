//! Nodes that talk, and nothing behind them: the Admin service on loopback ports.

use std::{
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::Stream;
use raftdeck_shared::wire::{
    self, ObserveEvent,
    admin_server::{Admin, AdminServer},
    observe_event::Event,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::mpsc,
    time::{Instant, interval},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};

use crate::words::{STATUSES_PER_S, Speaker};

/// A node tells together what happens within this time.
const BATCH_MS: u64 = 20;

/// As many as wait at a real node for a slow reader.
const WAITING_MAX: usize = 64;

/// Running nodes. They end with this value.
pub(crate) struct Nodes {
    /// Where they are reached.
    pub(crate) apis: Vec<String>,
    _runtime: Runtime,
}

impl Nodes {
    /// So many nodes, each with so many events a second.
    pub(crate) fn start(nodes: u64, events_per_s: u64) -> Nodes {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listeners: Vec<TcpListener> =
            (0..nodes).map(|_| runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a loopback port")).collect();
        let apis = listeners.iter().map(|listener| listener.local_addr().expect("it is bound").to_string());
        let apis: Vec<String> = apis.collect();
        for (listener, speaker) in listeners.into_iter().zip(Speaker::all(apis.clone())) {
            let service = AdminServer::new(Talker { speaker, events_per_s });
            let incoming = TcpListenerStream::new(listener);
            runtime.spawn(Server::builder().tcp_nodelay(true).add_service(service).serve_with_incoming(incoming));
        }
        Nodes { apis, _runtime: runtime }
    }
}

struct Talker {
    speaker: Speaker,
    events_per_s: u64,
}

fn unix_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
}

/// Talks until the reader is gone.
async fn talk(mut speaker: Speaker, events_per_s: u64, out: mpsc::Sender<Result<ObserveEvent, Status>>) {
    let say = async |event: Event| out.send(Ok(ObserveEvent { event: Some(event) })).await.is_ok();
    if !say(speaker.snapshot(unix_ms())).await {
        return;
    }
    let start = Instant::now();
    let (mut told, mut statuses) = (0, 0);
    let mut clock = interval(Duration::from_millis(BATCH_MS));
    loop {
        clock.tick().await;
        let elapsed_ms = start.elapsed().as_millis() as u64;
        let due = elapsed_ms * events_per_s / 1_000;
        let list: Vec<_> = (told..due).map(|_| speaker.happens(unix_ms())).collect();
        told = due;
        if !list.is_empty() && !say(Event::Observations(wire::Observations { list })).await {
            return;
        }
        if statuses < elapsed_ms * STATUSES_PER_S / 1_000 {
            statuses = elapsed_ms * STATUSES_PER_S / 1_000;
            if !say(speaker.news(unix_ms())).await {
                return;
            }
        }
    }
}

fn none<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not measured"))
}

#[tonic::async_trait]
impl Admin for Talker {
    type ObserveStream = Pin<Box<dyn Stream<Item = Result<ObserveEvent, Status>> + Send>>;

    async fn observe(&self, _: Request<wire::ObserveRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        let (out, events) = mpsc::channel(WAITING_MAX);
        tokio::spawn(talk(self.speaker.clone(), self.events_per_s, out));
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }

    async fn status(&self, _: Request<wire::StatusRequest>) -> Result<Response<wire::NodeStatus>, Status> {
        none()
    }

    async fn log_range(&self, _: Request<wire::LogRangeRequest>) -> Result<Response<wire::LogRangeReply>, Status> {
        none()
    }

    async fn inject_fault(&self, _: Request<wire::InjectFaultRequest>) -> Result<Response<wire::Fault>, Status> {
        none()
    }

    async fn heal_faults(
        &self,
        _: Request<wire::HealFaultsRequest>,
    ) -> Result<Response<wire::HealFaultsReply>, Status> {
        none()
    }

    async fn members(&self, _: Request<wire::MembersRequest>) -> Result<Response<wire::MembersReply>, Status> {
        none()
    }

    async fn add_member(&self, _: Request<wire::AddMemberRequest>) -> Result<Response<wire::ChangeReply>, Status> {
        none()
    }

    async fn remove_member(
        &self,
        _: Request<wire::RemoveMemberRequest>,
    ) -> Result<Response<wire::ChangeReply>, Status> {
        none()
    }

    async fn transfer_leadership(
        &self,
        _: Request<wire::TransferLeadershipRequest>,
    ) -> Result<Response<wire::TransferLeadershipReply>, Status> {
        none()
    }

    async fn snapshot(&self, _: Request<wire::SnapshotRequest>) -> Result<Response<wire::SnapshotReply>, Status> {
        none()
    }
}
