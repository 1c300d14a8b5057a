//! A node as the console sees it: the Admin service on a loopback port, with a runtime of its own, so that it can die
//! like a process does: at once, with its connections.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures_util::{Stream, StreamExt as _, stream};
use raftdeck_shared::wire::{
    self, ObserveEvent,
    admin_server::{Admin, AdminServer},
    observe_event::Event,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{broadcast, mpsc},
};
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};

/// What the console asked of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    Observe { from_seq: Option<u64>, boot_id: String },
    Inject(wire::InjectFaultRequest),
    Heal,
}

/// A running node.
pub(super) struct Fake {
    runtime: Option<Runtime>,
    pub(super) address: SocketAddr,
    pub(super) asked: mpsc::UnboundedReceiver<Asked>,
    feed: broadcast::Sender<Event>,
}

#[derive(Clone)]
struct Service {
    snapshot: Arc<Mutex<wire::NodeStatus>>,
    feed: broadcast::Sender<Event>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl Fake {
    /// Serves this status; at `address`, or where there is a free port.
    pub(super) async fn start(snapshot: wire::NodeStatus, address: Option<SocketAddr>) -> Fake {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (feed, _) = broadcast::channel(1024);
        let (tell, asked) = mpsc::unbounded_channel();
        let service = Service { snapshot: Arc::new(Mutex::new(snapshot)), feed: feed.clone(), asked: tell };
        let at = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let serve = async move {
            let listener = TcpListener::bind(at).await.expect("a loopback port");
            let address = listener.local_addr().expect("it is bound");
            let server = Server::builder().add_service(AdminServer::new(service));
            tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
            address
        };
        let address = runtime.spawn(serve).await.expect("serving starts");
        Fake { runtime: Some(runtime), address, asked, feed }
    }

    /// Sends an event to everyone who watches.
    pub(super) fn send(&self, event: Event) {
        let _ = self.feed.send(event);
    }

    /// Dies without a word; its port is free again.
    pub(super) async fn kill(mut self) -> SocketAddr {
        let runtime = self.runtime.take().expect("it lives until here");
        let end = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(std::time::Duration::from_secs(5)));
        end.await.expect("it ends");
        self.address
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tonic::async_trait]
impl Admin for Service {
    type ObserveStream = Pin<Box<dyn Stream<Item = Result<ObserveEvent, Status>> + Send>>;

    async fn status(&self, _: Request<wire::StatusRequest>) -> Result<Response<wire::NodeStatus>, Status> {
        Ok(Response::new(self.snapshot.lock().expect("no holder panics").clone()))
    }

    async fn observe(&self, request: Request<wire::ObserveRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        let request = request.into_inner();
        let news = BroadcastStream::new(self.feed.subscribe()).filter_map(async |event| event.ok());
        let _ = self.asked.send(Asked::Observe { from_seq: request.from_seq, boot_id: request.boot_id });
        let snapshot = Event::Snapshot(self.snapshot.lock().expect("no holder panics").clone());
        let events = stream::iter([snapshot]).chain(news);
        Ok(Response::new(Box::pin(events.map(|event| Ok(ObserveEvent { event: Some(event) })))))
    }

    async fn log_range(&self, _: Request<wire::LogRangeRequest>) -> Result<Response<wire::LogRangeReply>, Status> {
        Err(Status::unimplemented("not asked for by the console"))
    }

    async fn inject_fault(&self, request: Request<wire::InjectFaultRequest>) -> Result<Response<wire::Fault>, Status> {
        let request = request.into_inner();
        if !self.snapshot.lock().expect("no holder panics").faults_enabled {
            return Err(Status::permission_denied("faults are off: start the node with --enable-faults"));
        }
        let fault = wire::Fault {
            id: 1,
            spec: request.spec,
            left_ms: request.ttl_ms,
            label: request.label.clone(),
            ..Default::default()
        };
        let kill = matches!(request.spec, Some(wire::FaultSpec { fault: Some(wire::fault_spec::Fault::Kill(_)) }));
        let _ = self.asked.send(Asked::Inject(request));
        if kill {
            // Whoever asked kills this runtime now: an answer never comes.
            std::future::pending::<()>().await;
        }
        Ok(Response::new(fault))
    }

    async fn heal_faults(
        &self,
        _: Request<wire::HealFaultsRequest>,
    ) -> Result<Response<wire::HealFaultsReply>, Status> {
        let _ = self.asked.send(Asked::Heal);
        Ok(Response::new(wire::HealFaultsReply { healed: vec![wire::Fault::default()] }))
    }

    async fn members(&self, _: Request<wire::MembersRequest>) -> Result<Response<wire::MembersReply>, Status> {
        Err(Status::unimplemented("not asked for by the console"))
    }

    async fn add_member(&self, _: Request<wire::AddMemberRequest>) -> Result<Response<wire::ChangeReply>, Status> {
        Err(Status::unimplemented("not asked for by the console"))
    }

    async fn remove_member(
        &self,
        _: Request<wire::RemoveMemberRequest>,
    ) -> Result<Response<wire::ChangeReply>, Status> {
        Err(Status::unimplemented("not asked for by the console"))
    }

    async fn transfer_leadership(
        &self,
        _: Request<wire::TransferLeadershipRequest>,
    ) -> Result<Response<wire::TransferLeadershipReply>, Status> {
        Err(Status::unimplemented("not asked for by the console"))
    }

    async fn snapshot(&self, _: Request<wire::SnapshotRequest>) -> Result<Response<wire::SnapshotReply>, Status> {
        Err(Status::unimplemented("not asked for by the console"))
    }
}
