//! The peer listener: takes the streams of other nodes.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use raftdeck_raft::{GroupId, NodeId, StorageId};
use raftdeck_shared::{
    cluster::{check_address, check_name},
    wire::{
        self,
        peer_frame::Frame,
        peer_server::{Peer, PeerServer},
    },
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};
use tracing::{debug, warn};

use super::{AddressBook, FRAME_BYTES_MAX, Links, Me, PROTOCOL, codec, member};
use crate::{faults::Way, handle::Handle, listener, observe::Moment};

/// Takes the streams of other nodes.
#[derive(Debug)]
pub struct Receiver {
    /// Who answers.
    pub me: Me,
    /// The group that is served.
    pub group: GroupId,
    /// This life of the process.
    pub boot_id: String,
    /// Learns where those are who dial.
    pub book: Arc<AddressBook>,
    /// What is known of the links.
    pub links: Arc<Links>,
    /// Where messages go.
    pub handle: Handle,
}

/// Serves the peer listener until the process ends.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, receiver: Receiver) -> Result<(), tonic::transport::Error> {
    let service =
        PeerServer::new(receiver).max_decoding_message_size(FRAME_BYTES_MAX).max_encoding_message_size(FRAME_BYTES_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(2)))
        .http2_keepalive_timeout(Some(Duration::from_secs(2)))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .max_concurrent_streams(16)
        .add_service(service)
        .serve_with_incoming(listener::connections(listener))
        .await
}

#[tonic::async_trait]
impl Peer for Receiver {
    type ExchangeStream = Pin<Box<dyn Stream<Item = Result<wire::HelloReply, Status>> + Send>>;

    async fn exchange(
        &self,
        request: Request<Streaming<wire::PeerFrame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let mut frames = request.into_inner();
        let Some(wire::PeerFrame { frame: Some(Frame::Hello(hello)) }) = frames.message().await? else {
            return Err(Status::invalid_argument("the first frame is not a hello"));
        };
        let from = self.check(&hello)?;
        let storage = member::storage_id(&hello.storage_id).map_err(Status::invalid_argument)?;
        let reply = wire::HelloReply {
            node: self.me.node.0,
            storage_id: self.me.storage_id.clone(),
            boot_id: self.boot_id.clone(),
        };
        // The answer stream lives as long as the reader: its end tells the peer that this node is gone.
        let (alive, gone) = tokio::sync::mpsc::channel(1);
        let (links, handle, group, me) = (Arc::clone(&self.links), self.handle.clone(), self.group, self.me.node);
        tokio::spawn(async move {
            if let Err(why) = read(frames, (from, storage, me), group, &links, &handle).await {
                debug!("stream of {from} ended: {why}");
            }
            drop(alive);
        });
        let answers = stream::once(async { Ok(reply) }).chain(ReceiverStream::new(gone));
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Receiver {
    fn check(&self, hello: &wire::Hello) -> Result<NodeId, Status> {
        let from = NodeId(hello.from);
        let error = if hello.protocol != PROTOCOL {
            format!("protocol {} is not spoken here, {PROTOCOL} is", hello.protocol)
        } else if hello.cluster_id != self.me.cluster_id {
            format!("this is cluster {}, not {}", self.me.cluster_id, hello.cluster_id)
        } else if NodeId(hello.to) != self.me.node {
            format!("this is {}, not {}", self.me.node, NodeId(hello.to))
        } else if from == NodeId(0) || from == self.me.node {
            format!("{from} is not another node")
        } else {
            match self.book.heard(from, hello.sender.as_ref().filter(|says| is_address(says))) {
                Ok(()) => return Ok(from),
                Err(error) => error.to_string(),
            }
        };
        warn!("refused a stream: {error}");
        Err(Status::failed_precondition(error))
    }
}

/// Whether this can be an address; a node that says nothing of use can still be heard.
fn is_address(says: &wire::MemberAddress) -> bool {
    check_name("node name", &says.name).is_ok() && check_address(&says.peer).is_ok() && check_address(&says.api).is_ok()
}

/// Reads one peer's messages into the replica, which takes them at its own pace: the stream then waits, and the peer's
/// queue with it.
async fn read(
    mut frames: Streaming<wire::PeerFrame>,
    (from, storage, me): (NodeId, StorageId, NodeId),
    group: GroupId,
    links: &Links,
    handle: &Handle,
) -> Result<(), Status> {
    while let Some(frame) = frames.message().await? {
        let Some(Frame::Batch(batch)) = frame.frame else {
            return Err(Status::invalid_argument("not a batch of messages"));
        };
        if links.faults.stops(Way::In, from, batch.messages.len()) {
            continue;
        }
        links.heard(from);
        links.observer.merge(Moment { at_ms: batch.at_ms, logical: batch.logical });
        for message in batch.messages {
            let (to_group, envelope) = codec::decode(message, storage).map_err(Status::invalid_argument)?;
            if to_group != group || envelope.from != from || envelope.to != me {
                return Err(Status::invalid_argument("a message for another, or in another's name"));
            }
            handle.deliver(envelope).await;
        }
    }
    Ok(())
}
