//! The admin service: what is true here, what just happened, faults on purpose, and steering (see [`steer`]).

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use raftdeck_jobs::{Command, Op};
use raftdeck_raft::{EntryKind, Index};
use raftdeck_shared::wire::{self, admin_server::Admin, observe_event::Event};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::steer;
use crate::{
    faults::FaultError,
    handle::RequestError,
    observe::{Page, wall_ms},
    status::NodeView,
    transport::entry_to_wire,
};

/// Statuses go out at most this often, and only when something changed, or to keep clocks honest, every second.
const STATUS_EVERY: Duration = Duration::from_millis(100);
const STATUS_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// A reader hears something at least this often, if not to the tick of the above: else it could not tell a node at which
/// nothing happens from one that does not run.
const STILL_HERE_EVERY: Duration = wire::STILL_HERE_EVERY.saturating_sub(STATUS_EVERY);

/// Observations go out at most this often: on a busy node there are thousands a second, and a message for each would cost
/// both ends more than all that is in it. After a rest the first one goes at once.
const OBSERVATIONS_EVERY: Duration = Duration::from_millis(20);

/// Observations in one message.
const PAGE_MAX: usize = 512;

/// Messages that wait for a slow reader; then the ring is left to drop.
const WAITING_MAX: usize = 8;

const LOG_ROWS_MAX: u32 = 1000;

/// Entries with their payloads in one reply weigh at most this much, but for one that is larger by itself: that one and
/// what is around it still fit a message.
const LOG_BYTES_MAX: usize = 2 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct AdminService {
    view: Arc<NodeView>,
}

impl AdminService {
    pub(super) fn new(view: Arc<NodeView>) -> AdminService {
        AdminService { view }
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn status(&self, _: Request<wire::StatusRequest>) -> Result<Response<wire::NodeStatus>, Status> {
        self.view.status().await.map(Response::new).map_err(|e| stopping(&e))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<wire::ObserveEvent, Status>> + Send>>;

    async fn observe(&self, request: Request<wire::ObserveRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        let (events, outgoing) = mpsc::channel(WAITING_MAX);
        let reader = Reader { view: Arc::clone(&self.view), request: request.into_inner(), events };
        tokio::spawn(reader.run());
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn log_range(
        &self,
        request: Request<wire::LogRangeRequest>,
    ) -> Result<Response<wire::LogRangeReply>, Status> {
        let wire::LogRangeRequest { from, limit, with_payload } = request.into_inner();
        if limit > LOG_ROWS_MAX {
            return Err(Status::invalid_argument(format!("limit is {limit}, the limit is {LOG_ROWS_MAX}")));
        }
        let from = Index(from);
        let bytes_max = if with_payload { LOG_BYTES_MAX } else { usize::MAX };
        let look = self.view.handle.look(move |replica, _| {
            let log = replica.raft().log();
            let (first, (last, _)) = (log.start().index.next(), log.last());
            (first, last, log.batch(from.max(first), limit as usize, bytes_max))
        });
        let (first, last, entries) = look.await.map_err(|e| stopping(&e))?;
        let rows = entries
            .into_iter()
            .map(|entry| {
                let summary = summary(&entry.kind);
                let wire::LogEntry { index, term, kind, payload, membership: _ } = entry_to_wire(entry);
                let payload_bytes = payload.len() as u64;
                let payload = if with_payload { payload } else { bytes::Bytes::new() };
                wire::LogRow { index, term, kind, summary, payload_bytes, payload }
            })
            .collect();
        Ok(Response::new(wire::LogRangeReply { first: first.0, last: last.0, rows }))
    }

    async fn inject_fault(&self, request: Request<wire::InjectFaultRequest>) -> Result<Response<wire::Fault>, Status> {
        let injected = self.view.faults.inject(request.into_inner());
        injected.map(Response::new).map_err(|error| match error {
            FaultError::NotEnabled => Status::permission_denied(error.to_string()),
            FaultError::Invalid(_) => Status::invalid_argument(error.to_string()),
        })
    }

    async fn heal_faults(
        &self,
        request: Request<wire::HealFaultsRequest>,
    ) -> Result<Response<wire::HealFaultsReply>, Status> {
        let healed = self.view.faults.heal(&request.into_inner());
        Ok(Response::new(wire::HealFaultsReply { healed }))
    }

    async fn members(&self, _: Request<wire::MembersRequest>) -> Result<Response<wire::MembersReply>, Status> {
        steer::members(&self.view).await.map(Response::new)
    }

    async fn add_member(
        &self,
        request: Request<wire::AddMemberRequest>,
    ) -> Result<Response<wire::ChangeReply>, Status> {
        steer::add(&self.view, request.into_inner()).await.map(Response::new)
    }

    async fn remove_member(
        &self,
        request: Request<wire::RemoveMemberRequest>,
    ) -> Result<Response<wire::ChangeReply>, Status> {
        steer::remove(&self.view, request.into_inner()).await.map(Response::new)
    }

    async fn transfer_leadership(
        &self,
        request: Request<wire::TransferLeadershipRequest>,
    ) -> Result<Response<wire::TransferLeadershipReply>, Status> {
        steer::transfer(&self.view, request.into_inner()).await.map(Response::new)
    }

    async fn snapshot(&self, _: Request<wire::SnapshotRequest>) -> Result<Response<wire::SnapshotReply>, Status> {
        steer::snapshot(&self.view).await.map(Response::new)
    }
}

fn stopping(error: &RequestError) -> Status {
    Status::unavailable(error.to_string())
}

fn summary(kind: &EntryKind) -> String {
    let bytes = match kind {
        EntryKind::Noop => return "a leader's first entry".into(),
        EntryKind::Membership(m) if m.is_joint() => return "membership: joint".into(),
        EntryKind::Membership(m) => {
            return format!("membership: {} voters, {} learners", m.voters.len(), m.learners.len());
        }
        EntryKind::Command(bytes) => bytes,
    };
    match Command::decode(bytes) {
        Err(error) => error.to_string(),
        Ok(Command { calls, .. }) => match &calls[..] {
            [first] => words(&first.op),
            [first, rest @ ..] => format!("{} and {} more calls", words(&first.op), rest.len()),
            [] => "no calls".into(),
        },
    }
}

fn words(op: &Op) -> String {
    match op {
        Op::Submit { jobs } => format!("submit {} jobs", jobs.len()),
        Op::Claim { worker, max_jobs, .. } => format!("claim up to {max_jobs} jobs for {worker}"),
        Op::Heartbeat { leases, .. } => format!("renew {} leases", leases.len()),
        Op::Ack { acks } => format!("complete {} jobs", acks.len()),
        Op::Fail { failures } => format!("fail {} jobs", failures.len()),
        Op::Cancel { job } => format!("cancel job {job}"),
        Op::Retry { job } => format!("retry job {job}"),
        Op::PauseQueue { queue, paused: true } => format!("pause queue {queue}"),
        Op::PauseQueue { queue, paused: false } => format!("resume queue {queue}"),
        Op::Tick => "time passes".into(),
        Op::OpenSession => "open a session".into(),
    }
}

/// One stream of observations.
struct Reader {
    view: Arc<NodeView>,
    request: wire::ObserveRequest,
    events: mpsc::Sender<Result<wire::ObserveEvent, Status>>,
}

impl Reader {
    /// Runs until the reader goes away. Nothing here holds up the node: the ring goes on without us.
    async fn run(self) {
        let mut newest = self.view.observer.newest();
        let same_boot = self.request.boot_id == self.view.observer.boot_id();
        let mut next = match self.request.from_seq {
            Some(seq) if same_boot => seq.clamp(1, *newest.borrow() + 1),
            // The reader knew an earlier life of this node: it has seen nothing of this one.
            Some(_) => 1,
            None => *newest.borrow_and_update() + 1,
        };
        // What is already there is sent now: on an idle node nothing new may come for a long time.
        if !self.send_status(Event::Snapshot).await || !self.send_observations(&mut next).await {
            return;
        }
        let mut clock = interval(STATUS_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pulse = self.view.handle.pulse();
        let mut told_at = Instant::now();
        let mut said_at = told_at;
        let mut next_at = told_at;
        loop {
            tokio::select! {
                changed = async { sleep_until(next_at).await; newest.changed().await } => {
                    if changed.is_err() || !self.send_observations(&mut next).await {
                        return;
                    }
                    said_at = Instant::now();
                    next_at = said_at + OBSERVATIONS_EVERY;
                }
                _ = clock.tick() => {
                    let changed = pulse.has_changed().unwrap_or(true);
                    if changed || told_at.elapsed() >= STATUS_AT_LEAST_EVERY {
                        pulse.mark_unchanged();
                        told_at = Instant::now();
                        said_at = told_at;
                        if !self.send_status(Event::Status).await {
                            return;
                        }
                    } else if said_at.elapsed() >= STILL_HERE_EVERY {
                        said_at = Instant::now();
                        if !self.send(Event::StillHere(wall_ms())).await {
                            return;
                        }
                    }
                }
                () = self.events.closed() => return,
            }
        }
    }

    async fn send_status(&self, wrap: fn(wire::NodeStatus) -> Event) -> bool {
        match self.view.status().await {
            Ok(status) => self.send(wrap(status)).await,
            Err(_) => false,
        }
    }

    async fn send_observations(&self, next: &mut u64) -> bool {
        loop {
            let Page { dropped, observations } = self.view.observer.page(*next, PAGE_MAX);
            if dropped > 0 && !self.send(Event::Dropped(dropped)).await {
                return false;
            }
            *next += dropped;
            if observations.is_empty() {
                return true;
            }
            *next += observations.len() as u64;
            let wanted = |kind| self.request.kinds.is_empty() || self.request.kinds.contains(&kind);
            let list: Vec<_> = observations.into_iter().filter(|o| wanted(o.kind)).collect();
            if !list.is_empty() && !self.send(Event::Observations(wire::Observations { list })).await {
                return false;
            }
        }
    }

    async fn send(&self, event: Event) -> bool {
        self.events.send(Ok(wire::ObserveEvent { event: Some(event) })).await.is_ok()
    }
}
