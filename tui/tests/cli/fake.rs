//! A node of words: answers on the api listener what a test has put into it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use raftdeck_shared::{
    calls,
    wire::{
        self, NodeStatus, Role,
        admin_server::{Admin, AdminServer},
        jobs_server::{Jobs, JobsServer},
    },
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

type Answer<T> = Result<Response<T>, Status>;

/// What the node says and has been asked.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub status: NodeStatus,
    /// The states a job goes through, one for each look; the last stays.
    pub states: Vec<wire::JobState>,
    /// What every job was given and has brought.
    pub payload: bytes::Bytes,
    pub result: bytes::Bytes,
    /// So many questions for jobs are answered by a node amid an election.
    pub leaderless: usize,
    pub submitted: Vec<wire::NewJob>,
    pub faults: Vec<wire::InjectFaultRequest>,
    /// Faults that a heal ends, and what each was to end.
    pub healed: usize,
    pub heals: Vec<Vec<u64>>,
    /// A kill ends the listener, as it ends a process.
    pub dies: bool,
    pub observations: Vec<wire::Observation>,
    pub members: wire::MembersReply,
    /// What steering was asked for, of nodes, jobs and queues.
    pub asked: Vec<String>,
    /// What a job is beyond its id, state, payload and result.
    pub job: wire::Job,
    /// The answer to a retry.
    pub retried: wire::RetryReply,
    /// The next answer to steering.
    pub refusal: Option<Status>,
    /// The outcome of transfers, and of the next removal.
    pub unknown: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub api: SocketAddr,
    pub script: Arc<Mutex<Script>>,
    end: Arc<Notify>,
}

impl Fake {
    /// A node that is the leader of a cluster of its own.
    pub(crate) async fn start(change: impl FnOnce(&mut Script)) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let status = NodeStatus {
            node: 1,
            name: "n1".into(),
            boot_id: "first".into(),
            cluster_id: "fake".into(),
            pid: 4242,
            faults_enabled: true,
            role: Role::Leader.into(),
            term: 3,
            leader: 1,
            voters: vec![1],
            ..NodeStatus::default()
        };
        let result = bytes::Bytes::from_static(b"done");
        let mut script = Script { status, states: vec![wire::JobState::Completed], result, ..Script::default() };
        change(&mut script);
        let fake = Fake {
            api: listener.local_addr().unwrap(),
            script: Arc::new(Mutex::new(script)),
            end: Arc::new(Notify::new()),
        };
        let served = fake.clone();
        tokio::spawn(async move {
            let server = Server::builder()
                .add_service(AdminServer::new(served.clone()))
                .add_service(JobsServer::new(served.clone()).max_decoding_message_size(8 << 20))
                .serve_with_incoming(TcpListenerStream::new(listener));
            tokio::select! {
                served = server => served.unwrap(),
                () = served.end.notified() => {}
            }
        });
        fake
    }

    fn steered(&self) -> Result<(), Status> {
        self.script.lock().unwrap().refusal.take().map_or(Ok(()), Err)
    }

    fn job(&self, id: u64) -> wire::Job {
        let mut script = self.script.lock().unwrap();
        let state = if script.states.len() > 1 { script.states.remove(0) } else { script.states[0] };
        let error = if state == wire::JobState::Discarded { "it broke".to_owned() } else { String::new() };
        let (payload, result) = (script.payload.clone(), script.result.clone());
        wire::Job {
            id,
            payload,
            state: state.into(),
            attempt: 2,
            max_attempts: 25,
            submit_index: 42,
            result,
            error,
            ..script.job.clone()
        }
    }

    fn submit(&self, job: wire::NewJob) -> wire::Submitted {
        let mut script = self.script.lock().unwrap();
        let same = |known: &wire::NewJob| !job.idempotency_key.is_empty() && *known == job;
        let known = script.submitted.iter().position(same);
        let id = 17 + known.unwrap_or(script.submitted.len()) as u64;
        if known.is_none() {
            script.submitted.push(job);
        }
        wire::Submitted { id, state: wire::JobState::Available.into(), index: 42, duplicate: known.is_some() }
    }
}

#[tonic::async_trait]
impl Admin for Fake {
    type ObserveStream = tokio_stream::Iter<std::vec::IntoIter<Result<wire::ObserveEvent, Status>>>;

    async fn status(&self, _: Request<wire::StatusRequest>) -> Answer<NodeStatus> {
        Ok(Response::new(self.script.lock().unwrap().status.clone()))
    }

    async fn observe(&self, _: Request<wire::ObserveRequest>) -> Answer<Self::ObserveStream> {
        let mut script = self.script.lock().unwrap();
        let mut events = vec![wire::observe_event::Event::Snapshot(script.status.clone())];
        let list = script.observations.drain(..).collect();
        events.push(wire::observe_event::Event::Observations(wire::Observations { list }));
        let events: Vec<_> = events.into_iter().map(|event| Ok(wire::ObserveEvent { event: Some(event) })).collect();
        Ok(Response::new(tokio_stream::iter(events)))
    }

    async fn log_range(&self, _: Request<wire::LogRangeRequest>) -> Answer<wire::LogRangeReply> {
        Err(Status::unimplemented("not asked by the command line"))
    }

    async fn inject_fault(&self, request: Request<wire::InjectFaultRequest>) -> Answer<wire::Fault> {
        let mut script = self.script.lock().unwrap();
        if !script.status.faults_enabled {
            return Err(Status::permission_denied("faults are not enabled on n1"));
        }
        script.faults.push(request.into_inner());
        if script.dies {
            self.end.notify_one();
            return Err(Status::unavailable("gone"));
        }
        Ok(Response::new(wire::Fault { id: script.faults.len() as u64, ..Default::default() }))
    }

    async fn heal_faults(&self, request: Request<wire::HealFaultsRequest>) -> Answer<wire::HealFaultsReply> {
        let mut script = self.script.lock().unwrap();
        script.heals.push(request.into_inner().ids);
        let healed = vec![wire::Fault::default(); script.healed];
        Ok(Response::new(wire::HealFaultsReply { healed }))
    }

    async fn members(&self, _: Request<wire::MembersRequest>) -> Answer<wire::MembersReply> {
        self.steered()?;
        Ok(Response::new(self.script.lock().unwrap().members.clone()))
    }

    async fn add_member(&self, request: Request<wire::AddMemberRequest>) -> Answer<wire::ChangeReply> {
        self.script.lock().unwrap().asked.push(format!("{:?}", request.into_inner()));
        self.steered()?;
        Ok(Response::new(wire::ChangeReply { index: 7 }))
    }

    async fn remove_member(&self, request: Request<wire::RemoveMemberRequest>) -> Answer<wire::ChangeReply> {
        let mut script = self.script.lock().unwrap();
        let id = request.into_inner().node;
        script.asked.push(format!("remove {id}"));
        if std::mem::take(&mut script.unknown) {
            return Err(Status::unknown("nobody can say"));
        }
        script.members.members.retain(|m| m.node != id);
        Ok(Response::new(wire::ChangeReply { index: 7 }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<wire::TransferLeadershipRequest>,
    ) -> Answer<wire::TransferLeadershipReply> {
        self.script.lock().unwrap().asked.push(format!("transfer {}", request.into_inner().node));
        let unknown = self.script.lock().unwrap().unknown;
        Err(if unknown { Status::unknown("nobody can say") } else { Status::aborted("as told") })
    }

    async fn snapshot(&self, _: Request<wire::SnapshotRequest>) -> Answer<wire::SnapshotReply> {
        Ok(Response::new(wire::SnapshotReply { first: 41, cut: 40 }))
    }
}

#[tonic::async_trait]
impl Jobs for Fake {
    type CallsStream = calls::Answers;

    async fn calls(&self, request: Request<Streaming<wire::CallFrame>>) -> Answer<calls::Answers> {
        Ok(Response::new(calls::serve(Arc::new(self.clone()), request.into_inner())))
    }

    async fn open_session(
        &self,
        _: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionReply>, Status> {
        Ok(Response::new(wire::OpenSessionReply { session: 1, ..Default::default() }))
    }

    async fn submit(&self, request: Request<wire::SubmitRequest>) -> Answer<wire::SubmitReply> {
        let job = Fake::submit(self, request.into_inner().job.unwrap());
        Ok(Response::new(wire::SubmitReply { job: Some(job) }))
    }

    async fn submit_bulk(&self, request: Request<wire::SubmitBulkRequest>) -> Answer<wire::SubmitBulkReply> {
        let jobs = request.into_inner().jobs.into_iter().map(|job| Fake::submit(self, job)).collect();
        Ok(Response::new(wire::SubmitBulkReply { jobs }))
    }

    async fn get(&self, request: Request<wire::GetRequest>) -> Answer<wire::GetReply> {
        let wire::GetRequest { id, min_index: _ } = request.into_inner();
        if id > 1000 {
            return Err(Status::not_found("no such job"));
        }
        let leaderless = std::mem::replace(&mut self.script.lock().unwrap().leaderless, 0);
        if leaderless > 0 {
            self.script.lock().unwrap().leaderless = leaderless - 1;
            return Err(Status::failed_precondition("n1 knows no leader"));
        }
        Ok(Response::new(wire::GetReply { job: Some(self.job(id)), applied: 50 }))
    }

    async fn list(&self, request: Request<wire::ListRequest>) -> Answer<wire::ListReply> {
        let request = request.into_inner();
        let jobs = if request.states.is_empty() { vec![self.job(17)] } else { Vec::new() };
        Ok(Response::new(wire::ListReply { jobs, applied: 50, more: true }))
    }

    async fn cancel(&self, _: Request<wire::CancelRequest>) -> Answer<wire::CancelReply> {
        Ok(Response::new(wire::CancelReply { state: wire::JobState::Cancelled.into(), index: 60 }))
    }

    async fn retry(&self, request: Request<wire::RetryRequest>) -> Answer<wire::RetryReply> {
        let mut script = self.script.lock().unwrap();
        script.asked.push(format!("retry {}", request.into_inner().id));
        Ok(Response::new(script.retried.clone()))
    }

    async fn pause_queue(&self, request: Request<wire::PauseQueueRequest>) -> Answer<wire::PauseQueueReply> {
        let wire::PauseQueueRequest { queue, paused, session: _ } = request.into_inner();
        let mut script = self.script.lock().unwrap();
        script.asked.push(format!("{} {queue}", if paused { "pause" } else { "resume" }));
        // What is asked again was so before.
        let changed = script.asked.iter().rev().nth(1) != script.asked.last();
        Ok(Response::new(wire::PauseQueueReply { changed, index: 61 }))
    }

    async fn claim(&self, _: Request<wire::ClaimRequest>) -> Answer<wire::ClaimReply> {
        Err(Status::unimplemented("not asked by the command line"))
    }

    async fn heartbeat(&self, _: Request<wire::HeartbeatLeasesRequest>) -> Answer<wire::HeartbeatLeasesReply> {
        Err(Status::unimplemented("not asked by the command line"))
    }

    async fn ack(&self, _: Request<wire::AckRequest>) -> Answer<wire::SettleReply> {
        Err(Status::unimplemented("not asked by the command line"))
    }

    async fn fail(&self, _: Request<wire::FailRequest>) -> Answer<wire::SettleReply> {
        Err(Status::unimplemented("not asked by the command line"))
    }
}
