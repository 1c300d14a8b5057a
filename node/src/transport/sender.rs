//! Keeps a stream open to one peer and sends what waits for it.
//!
//! Here the faults of the link strike: a cut stops a frame that is to be sent, the others decide of each message what
//! becomes of it before it gets into a frame ([`DelayLine`]).

use std::{sync::Arc, time::Duration};

use raftdeck_shared::{
    client::{channel, words},
    wire::{self, MemberAddress, peer_client::PeerClient, peer_frame::Frame},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::debug;

use raftdeck_raft::NodeId;

use super::{AddressBook, FRAME_BYTES_MAX, Links, Me, PROTOCOL, delay_line::DelayLine};
use crate::{
    faults::{Fate, Way},
    handle::Handle,
};

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

/// Runs until the other end of the queue is dropped. Where the peer is, is looked up anew for each try.
pub(super) async fn run(
    me: Me,
    (peer, book): (NodeId, Arc<AddressBook>),
    links: Arc<Links>,
    handle: Handle,
    mut waiting: Messages,
) {
    let mut retry = RETRY_MIN;
    loop {
        let why = match reach(&me, peer, &book).await {
            Ok((frames, answers)) => {
                retry = RETRY_MIN;
                links.set(peer, true, "");
                // What was sent while there was no link is lost; the peer may be in a new life.
                handle.link_lost(peer).await;
                let why = pump(peer, &links, None, &mut waiting, frames, answers).await;
                handle.peer_gone(peer).await;
                why
            }
            Err(why) => why,
        };
        debug!("no link to {peer}: {why}");
        links.set(peer, false, &why);
        if !discard_for(&mut waiting, retry).await {
            return;
        }
        retry = (retry * 2).min(RETRY_MAX);
    }
}

/// As [`run`], for chunks of snapshots: connects when the first one waits. That one is lost says nothing about the link,
/// and the peer asks for it again.
pub(super) async fn run_chunks(
    me: Me,
    (peer, book): (NodeId, Arc<AddressBook>),
    links: Arc<Links>,
    mut waiting: Messages,
) {
    let mut first = waiting.recv().await;
    while let Some(chunk) = first.take() {
        let why = match reach(&me, peer, &book).await {
            Ok((frames, answers)) => pump(peer, &links, Some(chunk), &mut waiting, frames, answers).await,
            Err(why) => why,
        };
        debug!("no way for snapshots to {peer}: {why}");
        if !discard_for(&mut waiting, RETRY_MAX).await {
            return;
        }
        first = waiting.recv().await;
    }
}

type Open = (mpsc::Sender<wire::PeerFrame>, Streaming<wire::HelloReply>);

/// Opens the stream to where the peer is now.
async fn reach(me: &Me, peer: NodeId, book: &AddressBook) -> Result<Open, String> {
    let address = book.find(peer).ok_or("nobody knows any more where it is")?;
    connect(me, &address).await
}

/// Opens the stream and makes sure who is at its other end.
async fn connect(me: &Me, peer: &MemberAddress) -> Result<Open, String> {
    let channel = channel(&peer.peer).map_err(|e| e.to_string())?;
    let mut client =
        PeerClient::new(channel).max_decoding_message_size(FRAME_BYTES_MAX).max_encoding_message_size(FRAME_BYTES_MAX);
    let (frames, outgoing) = mpsc::channel(FRAMES_WAITING_MAX);
    let hello = wire::Hello {
        cluster_id: me.cluster_id.clone(),
        from: me.node.0,
        to: peer.node,
        storage_id: me.storage_id.clone(),
        protocol: PROTOCOL,
        sender: Some(me.address.clone()),
    };
    frames.try_send(frame(Frame::Hello(hello))).map_err(|e| e.to_string())?;
    let opening = async {
        let mut answers = client.exchange(ReceiverStream::new(outgoing)).await.map_err(|s| words(&s))?.into_inner();
        let reply = answers.message().await.map_err(|s| words(&s))?;
        let reply = reply.ok_or("it closed the stream at once")?;
        if reply.node == peer.node { Ok((frames, answers)) } else { Err(format!("node {} answers there", reply.node)) }
    };
    timeout(HELLO_TIMEOUT, opening).await.unwrap_or_else(|_| Err("no answer to the hello".into()))
}

/// Sends until the link breaks: why it did. The first message may be at hand already.
async fn pump(
    peer: NodeId,
    links: &Links,
    mut first: Option<wire::RaftMessage>,
    waiting: &mut Messages,
    frames: mpsc::Sender<wire::PeerFrame>,
    mut answers: Streaming<wire::HelloReply>,
) -> String {
    let faults = &links.faults;
    let mut changed = faults.changed();
    let mut line = DelayLine::new();
    let why = loop {
        let messages = tokio::select! {
            first = next(&mut first, waiting) => match first {
                Some(first) => into_weather(peer, links, gather(first, waiting), &mut line),
                None => break "it is not needed any more".into(),
            },
            () = line.due() => {
                let due = line.take_due(Instant::now(), FRAME_MESSAGES_MAX, FRAME_FULL_BYTES);
                for (fault, delay) in due.delays {
                    faults.count(fault, |done| {
                        done.delayed += 1;
                        done.delayed_us += u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
                    });
                }
                due.messages
            }
            _ = changed.changed() => {
                if !faults.has_weather(peer) {
                    line.open(Instant::now());
                }
                continue;
            }
            end = answers.message() => break ending(&end),
        };
        if messages.is_empty() {
            continue;
        }
        tokio::select! {
            sent = send(peer, links, messages, &frames) => if let Err(why) = sent { break why },
            end = answers.message() => break ending(&end),
        }
    };
    line.lose_all().for_each(|fault| faults.count(fault, |done| done.dropped += 1));
    why
}

/// The message at hand, or the next one that waits.
async fn next(at_hand: &mut Option<wire::RaftMessage>, waiting: &mut Messages) -> Option<wire::RaftMessage> {
    match at_hand.take() {
        Some(message) => Some(message),
        None => waiting.recv().await,
    }
}

/// The messages that leave at once: all of them, unless the link has a fault or others still wait before them.
fn into_weather(
    peer: NodeId,
    links: &Links,
    messages: Vec<wire::RaftMessage>,
    line: &mut DelayLine<wire::RaftMessage>,
) -> Vec<wire::RaftMessage> {
    let now = Instant::now();
    let (fault, fates) = match links.faults.fates(peer, messages.len()) {
        Some(fates) => fates,
        None if line.is_empty() => return messages,
        None => {
            line.open(now);
            (0, vec![Fate::UNHARMED; messages.len()])
        }
    };
    for (message, fate) in messages.into_iter().zip(fates) {
        let bytes = payload_bytes(&message);
        if !line.push(now, (message, bytes), fault, fate) {
            links.faults.count(fault, |done| done.dropped += 1);
        }
    }
    Vec::new()
}

/// Sends messages as one frame; nothing over a link that is cut.
async fn send(
    peer: NodeId,
    links: &Links,
    messages: Vec<wire::RaftMessage>,
    frames: &mpsc::Sender<wire::PeerFrame>,
) -> Result<(), String> {
    if links.faults.stops(Way::Out, peer, messages.len()) {
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

/// While there is no link, what waits gets old: it is dropped. False when nobody sends any more.
async fn discard_for(waiting: &mut Messages, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        tokio::select! {
            message = waiting.recv() => if message.is_none() { return false },
            () = sleep_until(until) => return true,
        }
    }
}
