//! Keeps a stream open to one peer and sends what waits for it.

use std::{sync::Arc, time::Duration};

use raftdeck_shared::{
    client::{channel, words},
    cluster::NodeEntry,
    wire::{self, peer_client::PeerClient, peer_frame::Frame},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::debug;

use super::{FRAME_BYTES_MAX, Links, Me, PROTOCOL};
use crate::handle::Handle;

const RETRY_MIN: Duration = Duration::from_millis(25);
/// Short: a node that comes back must hear its leader before its election timeout.
const RETRY_MAX: Duration = Duration::from_millis(150);
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);

/// Messages that go into one frame.
const FRAME_MESSAGES_MAX: usize = 256;

/// Bytes of payload after which a frame is full.
const FRAME_FULL_BYTES: usize = 2 << 20;

/// Frames that the connection has not taken yet. Few: what waits here can no longer be dropped.
const FRAMES_WAITING_MAX: usize = 4;

type Messages = mpsc::Receiver<wire::RaftMessage>;

/// Runs until the node ends.
pub(super) async fn run(me: Me, peer: NodeEntry, links: Arc<Links>, handle: Handle, mut waiting: Messages) {
    let mut retry = RETRY_MIN;
    loop {
        let why = match connect(&me, &peer).await {
            Ok((frames, answers)) => {
                retry = RETRY_MIN;
                links.set(peer.id, true, "");
                // What was sent while there was no link is lost; the peer may be in a new life.
                handle.link_lost(peer.id).await;
                let why = pump(&peer, &links, &mut waiting, frames, answers).await;
                handle.link_lost(peer.id).await;
                why
            }
            Err(why) => why,
        };
        debug!("no link to {}: {why}", peer.name);
        links.set(peer.id, false, &why);
        if !discard_for(&mut waiting, retry).await {
            return;
        }
        retry = (retry * 2).min(RETRY_MAX);
    }
}

/// As [`run`], for chunks of snapshots: connects when the first one waits. That one is lost says nothing about the link,
/// and the peer asks for it again.
pub(super) async fn run_chunks(me: Me, peer: NodeEntry, links: Arc<Links>, mut waiting: Messages) {
    let mut first = waiting.recv().await;
    while let Some(chunk) = first.take() {
        let why = match connect(&me, &peer).await {
            Ok((frames, answers)) => match send(&peer, &links, chunk, &mut waiting, &frames).await {
                Ok(()) => pump(&peer, &links, &mut waiting, frames, answers).await,
                Err(why) => why,
            },
            Err(why) => why,
        };
        debug!("no way for snapshots to {}: {why}", peer.name);
        if !discard_for(&mut waiting, RETRY_MAX).await {
            return;
        }
        first = waiting.recv().await;
    }
}

type Open = (mpsc::Sender<wire::PeerFrame>, Streaming<wire::HelloReply>);

/// Opens the stream and makes sure who is at its other end.
async fn connect(me: &Me, peer: &NodeEntry) -> Result<Open, String> {
    let channel = channel(&peer.peer.to_string()).map_err(|e| e.to_string())?;
    let mut client =
        PeerClient::new(channel).max_decoding_message_size(FRAME_BYTES_MAX).max_encoding_message_size(FRAME_BYTES_MAX);
    let (frames, outgoing) = mpsc::channel(FRAMES_WAITING_MAX);
    let hello = wire::Hello {
        cluster_id: me.cluster_id.clone(),
        from: me.node.0,
        to: peer.id.0,
        storage_id: me.storage_id.clone(),
        protocol: PROTOCOL,
    };
    frames.try_send(frame(Frame::Hello(hello))).map_err(|e| e.to_string())?;
    let opening = async {
        let mut answers = client.exchange(ReceiverStream::new(outgoing)).await.map_err(|s| words(&s))?.into_inner();
        let reply = answers.message().await.map_err(|s| words(&s))?;
        let reply = reply.ok_or("it closed the stream at once")?;
        if reply.node == peer.id.0 { Ok((frames, answers)) } else { Err(format!("node {} answers there", reply.node)) }
    };
    timeout(HELLO_TIMEOUT, opening).await.unwrap_or_else(|_| Err("no answer to the hello".into()))
}

/// Sends until the link breaks: why it did.
async fn pump(
    peer: &NodeEntry,
    links: &Links,
    waiting: &mut Messages,
    frames: mpsc::Sender<wire::PeerFrame>,
    mut answers: Streaming<wire::HelloReply>,
) -> String {
    loop {
        tokio::select! {
            first = waiting.recv() => {
                let Some(first) = first else { return "this node stops".into() };
                tokio::select! {
                    sent = send(peer, links, first, waiting, &frames) => if let Err(why) = sent { return why },
                    end = answers.message() => return ending(&end),
                }
            }
            end = answers.message() => return ending(&end),
        }
    }
}

/// Sends a message and what waits behind it as one frame; nothing over a link that is cut.
async fn send(
    peer: &NodeEntry,
    links: &Links,
    first: wire::RaftMessage,
    waiting: &mut Messages,
    frames: &mpsc::Sender<wire::PeerFrame>,
) -> Result<(), String> {
    let messages = gather(first, waiting);
    if links.faults.is_cut(peer.id) {
        return Ok(());
    }
    let now = links.observer.now();
    let batch = wire::MessageBatch { messages, at_ms: now.at_ms, logical: now.logical };
    frames.send(frame(Frame::Batch(batch))).await.map_err(|_| "the stream ended".into())
}

/// The first message and what waits behind it, as far as it fits a frame.
fn gather(first: wire::RaftMessage, waiting: &mut Messages) -> Vec<wire::RaftMessage> {
    let mut bytes = payload_bytes(&first);
    let mut messages = vec![first];
    while messages.len() < FRAME_MESSAGES_MAX && bytes < FRAME_FULL_BYTES {
        let Ok(next) = waiting.try_recv() else { break };
        bytes += payload_bytes(&next);
        messages.push(next);
    }
    messages
}

fn payload_bytes(message: &wire::RaftMessage) -> usize {
    match &message.body {
        Some(wire::raft_message::Body::AppendRequest(r)) => r.entries.iter().map(|e| e.payload.len()).sum(),
        Some(wire::raft_message::Body::SnapshotChunk(r)) => r.data.len(),
        Some(_) | None => 0,
    }
}

fn frame(frame: Frame) -> wire::PeerFrame {
    wire::PeerFrame { frame: Some(frame) }
}

fn ending(end: &Result<Option<wire::HelloReply>, tonic::Status>) -> String {
    match end {
        Ok(_) => "the peer closed the stream".into(),
        Err(_) => "the connection broke".into(),
    }
}

/// While there is no link, what waits gets old: it is dropped. False when the node ends.
async fn discard_for(waiting: &mut Messages, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        tokio::select! {
            message = waiting.recv() => if message.is_none() { return false },
            () = sleep_until(until) => return true,
        }
    }
}
