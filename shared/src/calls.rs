//! Many calls on one stream: what the two ends of `Jobs.Calls` share, and the end that serves.
//!
//! A request of its own costs more in gRPC than all that the cluster does for it: headers, flow control, a task. On a stream
//! a call is a few bytes in a frame, and all that waits travels together, in both directions. Nothing else changes: each
//! call is done by the same method as a request of its own would be, with the same limits, deadlines and words.

use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::{AsciiMetadataValue, MetadataMap},
};

use crate::{
    client::{LEADER_HEADER, MEMBERS_HEADER, SESSION_HEADER},
    wire::{self, answer::Outcome, call, jobs_server::Jobs},
};

/// Calls under way on one stream, and in one frame.
pub const CALLS_MAX: usize = 1024;

/// Frames of answers that the connection has not taken yet.
pub const FRAMES_WAITING_MAX: usize = 4;

/// Answers that travel together at most: they may have payloads.
pub const FRAME_ANSWERS_MAX: usize = 256;

/// The answers of a service to the calls of a stream.
pub type Answers = ReceiverStream<Result<wire::AnswerFrame, Status>>;

/// Serves a stream: every call by the method of its name. For a service that has no shorter way.
#[must_use]
pub fn serve<S: Jobs>(service: Arc<S>, calls: Streaming<wire::CallFrame>) -> Answers {
    let (outgoing, answers) = mpsc::channel(FRAMES_WAITING_MAX);
    tokio::spawn(async move {
        if let Err(status) = run(&service, calls, &outgoing).await {
            let _ = outgoing.send(Err(status)).await; // Nobody may be there any more.
        }
    });
    ReceiverStream::new(answers)
}

async fn run<S: Jobs>(
    service: &Arc<S>,
    mut calls: Streaming<wire::CallFrame>,
    outgoing: &mpsc::Sender<Result<wire::AnswerFrame, Status>>,
) -> Result<(), Status> {
    let mut under_way = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !under_way.is_empty() {
        tokio::select! {
            biased;
            Some(first) = under_way.next() => {
                let mut answers = vec![first];
                while answers.len() < FRAME_ANSWERS_MAX
                    && let Some(Some(answer)) = under_way.next().now_or_never()
                {
                    answers.push(answer);
                }
                if outgoing.send(Ok(wire::AnswerFrame { answers })).await.is_err() {
                    return Ok(()); // The caller is gone, and with it all who wait.
                }
            }
            frame = calls.message(), if is_open && under_way.len() < CALLS_MAX => match frame? {
                Some(frame) if frame.calls.len() <= CALLS_MAX => {
                    under_way.extend(frame.calls.into_iter().map(|call| answer(Arc::clone(service), call)));
                }
                Some(frame) => {
                    let count = frame.calls.len();
                    return Err(Status::invalid_argument(format!("{count} calls in one frame, the limit is {CALLS_MAX}")));
                }
                None => is_open = false,
            },
        }
    }
    Ok(())
}

/// Has one call done.
async fn answer<S: Jobs>(service: Arc<S>, call: wire::Call) -> wire::Answer {
    use call::Request as Asked;
    let done = match call.request {
        None => Err(Status::invalid_argument("a call that asks for nothing")),
        Some(Asked::Submit(r)) => service.submit(Request::new(r)).await.map(|r| Outcome::Submit(r.into_inner())),
        Some(Asked::SubmitBulk(r)) => {
            service.submit_bulk(Request::new(r)).await.map(|r| Outcome::SubmitBulk(r.into_inner()))
        }
        Some(Asked::Claim(r)) => service.claim(Request::new(r)).await.map(|r| Outcome::Claim(r.into_inner())),
        Some(Asked::Heartbeat(r)) => {
            service.heartbeat(Request::new(r)).await.map(|r| Outcome::Heartbeat(r.into_inner()))
        }
        Some(Asked::Ack(r)) => service.ack(Request::new(r)).await.map(|r| Outcome::Ack(r.into_inner())),
        Some(Asked::Fail(r)) => service.fail(Request::new(r)).await.map(|r| Outcome::Fail(r.into_inner())),
        Some(Asked::Cancel(r)) => service.cancel(Request::new(r)).await.map(|r| Outcome::Cancel(r.into_inner())),
        Some(Asked::Retry(r)) => service.retry(Request::new(r)).await.map(|r| Outcome::Retry(r.into_inner())),
        Some(Asked::PauseQueue(r)) => {
            service.pause_queue(Request::new(r)).await.map(|r| Outcome::PauseQueue(r.into_inner()))
        }
    };
    let outcome = done.unwrap_or_else(|status| Outcome::Failure(failure(&status)));
    wire::Answer { number: call.number, outcome: Some(outcome) }
}

/// A status as what it says in a frame.
#[must_use]
pub fn failure(status: &Status) -> wire::CallFailure {
    let header = |name| status.metadata().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    wire::CallFailure {
        code: status.code().into(),
        message: status.message().to_owned(),
        leader: header(LEADER_HEADER),
        members: header(MEMBERS_HEADER),
        session: header(SESSION_HEADER),
    }
}

/// A failure as the status that a request of its own would have got.
pub(crate) fn status(failure: wire::CallFailure) -> Status {
    let wire::CallFailure { code, message, leader, members, session } = failure;
    let mut headers = MetadataMap::new();
    for (name, value) in [(LEADER_HEADER, leader), (MEMBERS_HEADER, members), (SESSION_HEADER, session)] {
        if !value.is_empty()
            && let Ok(value) = value.parse::<AsciiMetadataValue>()
        {
            headers.insert(name, value);
        }
    }
    Status::with_metadata(Code::from(code), message, headers)
}
