//! Many calls on one stream.
//!
//! The calls of a frame are checked, handed to the replica in one go, and what it says of them comes back over one queue:
//! nothing is made for a single call, no task, no timer, no channel. Answers that are there at the same time leave as one
//! frame.
//!
//! Laws:
//! - every call of a stream that lasts is answered once: by its outcome, or, when its deadline has passed, by "unknown";
//! - at most [`CALLS_MAX`] are under way; until there is room, no further frame is read.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use raftdeck_shared::{
    calls::{Answers, CALLS_MAX, FRAME_ANSWERS_MAX, FRAMES_WAITING_MAX, failure},
    wire::{self, answer::Outcome, call},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    ask::{self, Kind},
    jobs::{JobsService, WRITE_MAX, too_late},
};
use crate::handle;

/// How often calls are looked for whose deadline has passed.
const LATE_EVERY: Duration = Duration::from_millis(500);

/// Outcomes that wait to be put into frames: of all that are under way, and of some that were given up before.
const OUTCOMES_MAX: usize = 2 * CALLS_MAX;

/// A call that has no answer yet.
#[derive(Debug)]
struct Asked {
    kind: Kind,
    deadline: Instant,
    within: Duration,
}

/// Serves a stream until its end.
pub(super) fn serve(service: JobsService, calls: Streaming<wire::CallFrame>) -> Answers {
    let (outgoing, answers) = mpsc::channel(FRAMES_WAITING_MAX);
    tokio::spawn(async move {
        if let Err(status) = Desk::new(service).run(calls, &outgoing).await {
            let _ = outgoing.send(Err(status)).await; // Nobody may be there any more.
        }
    });
    ReceiverStream::new(answers)
}

/// The server's end of one stream.
struct Desk {
    service: JobsService,
    asked: BTreeMap<u64, Asked>,
    /// The ends of the queue by which the replica answers.
    replies: mpsc::Sender<(u64, handle::Outcome)>,
    outcomes: mpsc::Receiver<(u64, handle::Outcome)>,
    /// Cancels and retries: they may have to look into the tables.
    apart: FuturesUnordered<BoxFuture<'static, wire::Answer>>,
    /// To be sent.
    ready: Vec<wire::Answer>,
}

impl Desk {
    fn new(service: JobsService) -> Desk {
        let (replies, outcomes) = mpsc::channel(OUTCOMES_MAX);
        Desk { service, asked: BTreeMap::new(), replies, outcomes, apart: FuturesUnordered::new(), ready: Vec::new() }
    }

    fn under_way(&self) -> usize {
        self.asked.len() + self.apart.len()
    }

    async fn run(
        mut self,
        mut calls: Streaming<wire::CallFrame>,
        outgoing: &mpsc::Sender<Result<wire::AnswerFrame, Status>>,
    ) -> Result<(), Status> {
        let mut late = interval(LATE_EVERY);
        late.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_open = true;
        while is_open || self.under_way() > 0 || !self.ready.is_empty() {
            tokio::select! {
                biased;
                Some((number, outcome)) = self.outcomes.recv() => self.decided(number, outcome),
                Some(answer) = self.apart.next() => self.ready.push(answer),
                frame = calls.message(), if is_open && self.under_way() < CALLS_MAX => match frame? {
                    Some(frame) if frame.calls.len() <= CALLS_MAX => self.take(frame.calls),
                    Some(frame) => {
                        let count = frame.calls.len();
                        let message = format!("{count} calls in one frame, the limit is {CALLS_MAX}");
                        return Err(Status::invalid_argument(message));
                    }
                    None => is_open = false,
                },
                _ = late.tick(), if !self.asked.is_empty() => self.give_up_late(),
            }
            while let Ok((number, outcome)) = self.outcomes.try_recv() {
                self.decided(number, outcome);
            }
            while let Some(Some(answer)) = self.apart.next().now_or_never() {
                self.ready.push(answer);
            }
            while !self.ready.is_empty() {
                let rest = self.ready.split_off(self.ready.len().min(FRAME_ANSWERS_MAX));
                let answers = std::mem::replace(&mut self.ready, rest);
                if outgoing.send(Ok(wire::AnswerFrame { answers })).await.is_err() {
                    return Ok(()); // The caller is gone, and with it all who wait.
                }
            }
        }
        Ok(())
    }

    /// Hands on what a frame asks.
    fn take(&mut self, calls: Vec<wire::Call>) {
        let now = Instant::now();
        let mut asks = Vec::with_capacity(calls.len());
        for wire::Call { number, request } in calls {
            match request {
                None => self.answer(number, Err(Status::invalid_argument("a call that asks for nothing"))),
                Some(call::Request::Cancel(request)) => {
                    let service = self.service.clone();
                    self.apart(number, async move { service.cancel_job(request).await.map(Outcome::Cancel) });
                }
                Some(call::Request::Retry(request)) => {
                    let service = self.service.clone();
                    self.apart(number, async move { service.retry_job(request).await.map(Outcome::Retry) });
                }
                Some(_) if self.asked.contains_key(&number) => {
                    self.answer(number, Err(Status::invalid_argument(format!("call {number} is under way already"))));
                }
                Some(request) => match ask::ask(request, self.service.cluster()) {
                    Err(status) => self.answer(number, Err(status)),
                    Ok((kind, ask)) => {
                        let within = WRITE_MAX + ask.wait.unwrap_or_default();
                        self.asked.insert(number, Asked { kind, deadline: now + within, within });
                        asks.push((number, ask));
                    }
                },
            }
        }
        let numbers: Vec<u64> = asks.iter().map(|(number, _)| *number).collect();
        if let Err(error) = self.service.handle().request_all(asks, &self.replies) {
            for number in numbers {
                self.asked.remove(&number);
                self.answer(number, Err(self.service.status(&error)));
            }
        }
    }

    fn apart(&self, number: u64, done: impl Future<Output = Result<Outcome, Status>> + Send + 'static) {
        self.apart.push(Box::pin(async move {
            let outcome = done.await.unwrap_or_else(|status| Outcome::Failure(failure(&status)));
            wire::Answer { number, outcome: Some(outcome) }
        }));
    }

    /// The replica has decided. Who was given up before was told so.
    fn decided(&mut self, number: u64, outcome: handle::Outcome) {
        let Some(Asked { kind, .. }) = self.asked.remove(&number) else { return };
        let outcome = outcome.map_err(|refused| self.service.status(&refused.into()));
        self.answer(number, outcome.and_then(|applied| ask::outcome(kind, applied)));
    }

    fn answer(&mut self, number: u64, outcome: Result<Outcome, Status>) {
        let outcome = outcome.unwrap_or_else(|status| Outcome::Failure(failure(&status)));
        self.ready.push(wire::Answer { number, outcome: Some(outcome) });
    }

    fn give_up_late(&mut self) {
        let now = Instant::now();
        let late: Vec<_> = self.asked.extract_if(.., |_, asked| asked.deadline <= now).collect();
        for (number, asked) in late {
            self.answer(number, Err(too_late(asked.within)));
        }
    }
}
