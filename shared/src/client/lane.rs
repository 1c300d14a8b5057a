//! One stream of calls to one node, shared by all who have something to ask it.
//!
//! Opened by the first call, and again by the first call after it broke. What waits while a frame is on its way goes into
//! the next one, so frames grow with the load and nobody waits for company. Who stops waiting for an answer only stops
//! waiting: the call is under way, and a number that nobody waits for is passed over when it is answered.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::API_MESSAGE_BYTES_MAX;
use crate::{
    calls::{self, CALLS_MAX},
    wire::{self, answer::Outcome, call, jobs_client::JobsClient},
};

/// Calls in one frame.
const FRAME_CALLS_MAX: usize = 256;

/// Bytes of payload after which a frame is full. With one call of the largest size beside, it is still a message.
const FRAME_FULL_BYTES: usize = 1 << 20;

/// Frames that the connection has not taken yet.
const FRAMES_WAITING_MAX: usize = 2;

/// A call, and where its outcome goes.
struct Asked {
    request: call::Request,
    answer: oneshot::Sender<Result<Outcome, Status>>,
}

/// See the module. Clones are the same lane.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    asked: mpsc::Sender<Asked>,
}

impl Lane {
    /// A lane to the node at the other end of a channel.
    pub(super) fn new(channel: Channel) -> Lane {
        let (asked, waiting) = mpsc::channel(CALLS_MAX);
        tokio::spawn(run(channel, waiting));
        Lane { asked }
    }

    /// Asks, and waits for the outcome.
    pub(super) async fn call(&self, request: call::Request) -> Result<Outcome, Status> {
        let (answer, answered) = oneshot::channel();
        let gone = || Status::unavailable("the stream of calls ended");
        self.asked.send(Asked { request, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Who waits, by number.
#[derive(Default)]
struct Pending {
    last: u64,
    answers: HashMap<u64, oneshot::Sender<Result<Outcome, Status>>>,
}

impl Pending {
    fn number(&mut self, Asked { request, answer }: Asked) -> wire::Call {
        self.last += 1;
        self.answers.insert(self.last, answer);
        wire::Call { number: self.last, request: Some(request) }
    }

    fn answered(&mut self, frame: wire::AnswerFrame) {
        for wire::Answer { number, outcome } in frame.answers {
            let Some(answer) = self.answers.remove(&number) else { continue };
            let _ = answer.send(match outcome {
                Some(Outcome::Failure(failure)) => Err(calls::status(failure)),
                Some(outcome) => Ok(outcome),
                None => Err(Status::unknown("an answer that says nothing")),
            });
        }
    }

    /// Nobody will be answered any more.
    fn broken(&mut self, status: &Status) {
        for (_, answer) in self.answers.drain() {
            let _ = answer.send(Err(status.clone()));
        }
    }
}

/// Until nobody has a lane any more.
async fn run(channel: Channel, mut waiting: mpsc::Receiver<Asked>) {
    let client = JobsClient::new(channel)
        .max_decoding_message_size(API_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(API_MESSAGE_BYTES_MAX);
    while let Some(first) = waiting.recv().await {
        let mut pending = Pending::default();
        let (frames, outgoing) = mpsc::channel(FRAMES_WAITING_MAX);
        // Ahead of the stream, which a node answers when it has read the first frame or before, as it likes.
        let _ = frames.try_send(gather(first, &mut waiting, &mut pending));
        let status = match client.clone().calls(ReceiverStream::new(outgoing)).await {
            Ok(answers) => pump(&mut pending, &mut waiting, frames, answers.into_inner()).await,
            Err(status) => status,
        };
        pending.broken(&status);
    }
}

/// Asks and hears answers until the stream breaks: how it did.
async fn pump(
    pending: &mut Pending,
    waiting: &mut mpsc::Receiver<Asked>,
    frames: mpsc::Sender<wire::CallFrame>,
    mut answers: Streaming<wire::AnswerFrame>,
) -> Status {
    loop {
        let room = pending.answers.len() < CALLS_MAX;
        tokio::select! {
            biased;
            frame = answers.message() => match frame {
                Ok(Some(frame)) => pending.answered(frame),
                Ok(None) => return Status::unavailable("the node closed the stream of calls"),
                Err(status) => return Status::unavailable(format!("the stream of calls broke: {}", status.message())),
            },
            // A frame is only gathered when there is room for it: until then, what comes goes into the same one.
            permit = frames.reserve(), if room && !waiting.is_empty() => match permit {
                Ok(permit) => {
                    if let Ok(first) = waiting.try_recv() {
                        permit.send(gather(first, waiting, pending));
                    }
                }
                Err(_) => return Status::unavailable("the stream of calls broke"),
            },
            first = waiting.recv(), if room && waiting.is_empty() => match first {
                Some(first) => {
                    let frame = gather(first, waiting, pending);
                    if frames.send(frame).await.is_err() {
                        return Status::unavailable("the stream of calls broke");
                    }
                }
                None => return Status::cancelled("the client is gone"),
            },
        }
    }
}

/// A frame of the first call and of those that wait behind it.
fn gather(first: Asked, waiting: &mut mpsc::Receiver<Asked>, pending: &mut Pending) -> wire::CallFrame {
    let mut bytes = payload_bytes(&first.request);
    let mut calls = vec![pending.number(first)];
    while calls.len() < FRAME_CALLS_MAX && bytes < FRAME_FULL_BYTES {
        let Ok(next) = waiting.try_recv() else { break };
        if next.answer.is_closed() {
            continue; // Nobody waits for it any more.
        }
        bytes += payload_bytes(&next.request);
        calls.push(pending.number(next));
    }
    wire::CallFrame { calls }
}

fn payload_bytes(request: &call::Request) -> usize {
    let job = |job: &wire::NewJob| job.payload.len();
    match request {
        call::Request::Submit(r) => r.job.as_ref().map_or(0, job),
        call::Request::SubmitBulk(r) => r.jobs.iter().map(job).sum(),
        call::Request::Ack(r) => r.acks.iter().map(|ack| ack.result.len()).sum(),
        call::Request::Claim(_)
        | call::Request::Heartbeat(_)
        | call::Request::Fail(_)
        | call::Request::Cancel(_)
        | call::Request::Retry(_)
        | call::Request::PauseQueue(_) => 0,
    }
}
