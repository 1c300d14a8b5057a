//! A cluster of one that decides nothing: it hands out what it was given, answers as it was told, and says what it saw.

use std::{
    collections::{BTreeMap, VecDeque},
    process::Command,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use raftdeck_shared::{
    calls,
    client::Client,
    cluster::{ExecutorSettings, Handler},
    wire::{self, jobs_server},
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, unix::pipe},
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};

/// No test takes longer than this.
const BOUND: Duration = Duration::from_secs(10);

/// A request that arrived.
#[derive(Debug)]
pub(super) enum Seen {
    Claim(wire::ClaimRequest),
    Heartbeat(wire::HeartbeatLeasesRequest),
    Ack(wire::Ack),
    Fail(wire::Failure),
}

impl Seen {
    pub(super) fn is_settlement(&self) -> bool {
        matches!(self, Seen::Ack(_) | Seen::Fail(_))
    }
}

/// How heartbeats are answered.
#[derive(Clone, Copy)]
pub(super) enum Renewing {
    Grant,
    Cancel,
    Refuse,
    Silence,
}

/// How one ack or fail is answered, instead of being accepted.
#[derive(Clone, Copy)]
pub(super) enum Settling {
    Refuse,
    Silence,
    Error(Code),
}

struct Fake {
    seen: mpsc::UnboundedSender<Seen>,
    jobs: Mutex<VecDeque<wire::ClaimedJob>>,
    given: Notify,
    renewing: Mutex<Renewing>,
    settling: Mutex<VecDeque<Settling>>,
    me: Weak<Fake>,
}

impl Fake {
    fn see(&self, seen: Seen) {
        // The test may have ended.
        let _ = self.seen.send(seen);
    }

    async fn settle(&self) -> Result<Response<wire::SettleReply>, Status> {
        let next = self.settling.lock().unwrap().pop_front();
        let refused = match next {
            None => String::new(),
            Some(Settling::Refuse) => "stale lease".into(),
            Some(Settling::Silence) => return std::future::pending().await,
            Some(Settling::Error(code)) => return Err(Status::new(code, "as told")),
        };
        Ok(Response::new(wire::SettleReply {
            settled: vec![wire::Settled { refused, ..Default::default() }],
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl jobs_server::Jobs for Fake {
    type CallsStream = calls::Answers;

    async fn calls(&self, request: Request<Streaming<wire::CallFrame>>) -> Result<Response<calls::Answers>, Status> {
        Ok(Response::new(calls::serve(self.me.upgrade().unwrap(), request.into_inner())))
    }

    async fn open_session(
        &self,
        _: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionReply>, Status> {
        Ok(Response::new(wire::OpenSessionReply { session: 1, ..Default::default() }))
    }

    async fn claim(&self, request: Request<wire::ClaimRequest>) -> Result<Response<wire::ClaimReply>, Status> {
        let request = request.into_inner();
        let (max_jobs, wait) = (request.max_jobs as usize, Duration::from_millis(request.wait_ms));
        self.see(Seen::Claim(request));
        let some = async {
            loop {
                {
                    let mut jobs = self.jobs.lock().unwrap();
                    if !jobs.is_empty() {
                        let count = max_jobs.min(jobs.len());
                        return jobs.drain(..count).collect();
                    }
                }
                self.given.notified().await;
            }
        };
        let jobs = timeout(wait, some).await.unwrap_or_default();
        Ok(Response::new(wire::ClaimReply { jobs, ..Default::default() }))
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatLeasesRequest>,
    ) -> Result<Response<wire::HeartbeatLeasesReply>, Status> {
        let request = request.into_inner();
        let count = request.leases.len();
        self.see(Seen::Heartbeat(request));
        let renewing = *self.renewing.lock().unwrap();
        let granted = Some(wire::lease_renewal::Outcome::DeadlineMs(1));
        let renewal = match renewing {
            Renewing::Grant => wire::LeaseRenewal { outcome: granted, cancel_requested: false },
            Renewing::Cancel => wire::LeaseRenewal { outcome: granted, cancel_requested: true },
            Renewing::Refuse => wire::LeaseRenewal {
                outcome: Some(wire::lease_renewal::Outcome::Refused("stale lease".into())),
                cancel_requested: false,
            },
            Renewing::Silence => return std::future::pending().await,
        };
        Ok(Response::new(wire::HeartbeatLeasesReply { renewals: vec![renewal; count], ..Default::default() }))
    }

    async fn ack(&self, request: Request<wire::AckRequest>) -> Result<Response<wire::SettleReply>, Status> {
        request.into_inner().acks.into_iter().for_each(|ack| self.see(Seen::Ack(ack)));
        self.settle().await
    }

    async fn fail(&self, request: Request<wire::FailRequest>) -> Result<Response<wire::SettleReply>, Status> {
        request.into_inner().failures.into_iter().for_each(|failure| self.see(Seen::Fail(failure)));
        self.settle().await
    }

    async fn submit(&self, _: Request<wire::SubmitRequest>) -> Result<Response<wire::SubmitReply>, Status> {
        Err(not_a_workers_call())
    }

    async fn submit_bulk(
        &self,
        _: Request<wire::SubmitBulkRequest>,
    ) -> Result<Response<wire::SubmitBulkReply>, Status> {
        Err(not_a_workers_call())
    }

    async fn cancel(&self, _: Request<wire::CancelRequest>) -> Result<Response<wire::CancelReply>, Status> {
        Err(not_a_workers_call())
    }

    async fn retry(&self, _: Request<wire::RetryRequest>) -> Result<Response<wire::RetryReply>, Status> {
        Err(not_a_workers_call())
    }

    async fn pause_queue(
        &self,
        _: Request<wire::PauseQueueRequest>,
    ) -> Result<Response<wire::PauseQueueReply>, Status> {
        Err(not_a_workers_call())
    }

    async fn get(&self, _: Request<wire::GetRequest>) -> Result<Response<wire::GetReply>, Status> {
        Err(not_a_workers_call())
    }

    async fn list(&self, _: Request<wire::ListRequest>) -> Result<Response<wire::ListReply>, Status> {
        Err(not_a_workers_call())
    }
}

fn not_a_workers_call() -> Status {
    Status::unimplemented("a worker does not need this")
}

/// An executor at work, and the fake that it works for.
pub(super) struct Bench {
    /// Where programs work.
    _folder: tempfile::TempDir,
    fake: Arc<Fake>,
    seen: mpsc::UnboundedReceiver<Seen>,
    executing: Arc<AtomicU64>,
    shutdown: watch::Sender<bool>,
    run: JoinHandle<()>,
    lease_ms: u64,
    next_id: u64,
    end: Instant,
}

impl Bench {
    pub(super) async fn start(
        handlers: impl IntoIterator<Item = (&'static str, Handler)>,
        settings: ExecutorSettings,
    ) -> Bench {
        let (tell, seen) = mpsc::unbounded_channel();
        let fake = Arc::new_cyclic(|me| Fake {
            seen: tell,
            jobs: Mutex::default(),
            given: Notify::new(),
            renewing: Mutex::new(Renewing::Grant),
            settling: Mutex::default(),
            me: me.clone(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = jobs_server::JobsServer::from_arc(Arc::clone(&fake)).max_decoding_message_size(8 << 20);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        let handlers: BTreeMap<_, _> = handlers.into_iter().map(|(name, handler)| (name.to_owned(), handler)).collect();
        let client = Arc::new(Client::new([address.to_string()]).unwrap());
        let executing = Arc::new(AtomicU64::new(0));
        let (shutdown, asked) = watch::channel(false);
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("work");
        let run = tokio::spawn(super::super::run(
            "n1".into(),
            client,
            handlers,
            settings,
            scratch,
            Arc::clone(&executing),
            asked,
        ));
        Bench {
            _folder: folder,
            fake,
            seen,
            executing,
            shutdown,
            run,
            lease_ms: settings.lease_ms,
            next_id: 7,
            end: Instant::now() + BOUND,
        }
    }

    fn job(&mut self, handler: &str, payload: &[u8]) -> wire::ClaimedJob {
        self.next_id += 1;
        wire::ClaimedJob {
            id: self.next_id,
            token: 1000 + self.next_id,
            attempt: 1,
            max_attempts: 25,
            deadline_ms: 1,
            handler: handler.into(),
            payload: payload.to_vec().into(),
            lease_ms: self.lease_ms,
            ..Default::default()
        }
    }

    /// A job for the next claim.
    pub(super) fn give(
        &mut self,
        handler: &str,
        payload: &[u8],
        but: impl FnOnce(&mut wire::ClaimedJob),
    ) -> wire::ClaimedJob {
        let mut job = self.job(handler, payload);
        but(&mut job);
        self.fake.jobs.lock().unwrap().push_back(job.clone());
        self.fake.given.notify_one();
        job
    }

    /// Two jobs for the same claim.
    pub(super) fn give_both(&mut self, one: (&str, &[u8]), two: (&str, &[u8])) {
        let jobs = [self.job(one.0, one.1), self.job(two.0, two.1)];
        self.fake.jobs.lock().unwrap().extend(jobs);
        self.fake.given.notify_one();
    }

    pub(super) fn renew_with(&self, renewing: Renewing) {
        *self.fake.renewing.lock().unwrap() = renewing;
    }

    pub(super) fn settle_with(&self, settling: impl IntoIterator<Item = Settling>) {
        self.fake.settling.lock().unwrap().extend(settling);
    }

    pub(super) fn executing(&self) -> u64 {
        self.executing.load(Ordering::Relaxed)
    }

    /// The next request that arrives.
    pub(super) async fn next(&mut self) -> Seen {
        timeout_at(self.end, self.seen.recv()).await.expect("it arrives in time").expect("the fake lives")
    }

    /// The next ack or fail.
    pub(super) async fn settled(&mut self) -> Seen {
        loop {
            let seen = self.next().await;
            if seen.is_settlement() {
                return seen;
            }
        }
    }

    /// The next claim.
    pub(super) async fn claim(&mut self) -> wire::ClaimRequest {
        loop {
            if let Seen::Claim(claim) = self.next().await {
                return claim;
            }
        }
    }

    /// What arrives before the next claim.
    pub(super) async fn until_claim(&mut self) -> Vec<Seen> {
        let mut before = Vec::new();
        loop {
            match self.next().await {
                Seen::Claim(_) => return before,
                seen @ (Seen::Heartbeat(_) | Seen::Ack(_) | Seen::Fail(_)) => before.push(seen),
            }
        }
    }

    pub(super) fn stop(&self) {
        self.shutdown.send(true).unwrap();
    }

    pub(super) async fn stopped(&mut self) {
        timeout(BOUND, &mut self.run).await.expect("it returns").expect("it does not panic");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.run.abort();
    }
}

/// Whether a family of processes lives: each holds the writing end of a FIFO, and its end of file is their death.
pub(super) struct Life {
    path: std::path::PathBuf,
    end: pipe::Receiver,
    _dir: tempfile::TempDir,
}

impl Life {
    pub(super) fn new() -> Life {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("life");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let end = pipe::OpenOptions::new().open_receiver(&path).unwrap();
        Life { path, end, _dir: dir }
    }

    pub(super) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Waits for the first word.
    pub(super) async fn began(&mut self) {
        let mut word = [0; 3];
        timeout(BOUND, self.end.read_exact(&mut word)).await.expect("it begins").unwrap();
        assert_eq!(&word, b"up\n");
    }

    /// Waits until the last of them is dead.
    pub(super) async fn ended(&mut self) {
        timeout(BOUND, self.end.read_to_end(&mut Vec::new())).await.expect("they end").unwrap();
    }
}
