//! Answers that are lost on the way: the client sends its call again, and the cluster does it once.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use raftdeck_shared::{
    calls,
    client::{SESSION_EXPIRED, SESSION_HEADER},
    wire::{jobs_client::JobsClient, jobs_server},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::*;

/// A node's api listener behind a line that loses the answer to a call when it is told to.
struct Lossy {
    node: JobsClient<Channel>,
    lose: AtomicBool,
    me: Weak<Lossy>,
}

impl Lossy {
    async fn before(node: &Node) -> (Arc<Lossy>, Client) {
        // A node that does not lead yet would tell the client the way around this line.
        let until = Instant::now() + WITHIN;
        while let Err(status) = node.admin().members(wire::MembersRequest {}).await {
            assert!(Instant::now() < until, "no leader: {status}");
        }
        let node = JobsClient::new(channel(&node.api.to_string()).unwrap());
        let lossy = Arc::new_cyclic(|me| Lossy { node, lose: AtomicBool::new(false), me: me.clone() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = jobs_server::JobsServer::from_arc(Arc::clone(&lossy));
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        (lossy, Client::new([address]).unwrap())
    }

    /// The answer to the next call is lost.
    fn lose_one(&self) {
        self.lose.store(true, Ordering::Relaxed);
    }

    fn pass<T>(&self, answer: Result<Response<T>, Status>) -> Result<Response<T>, Status> {
        let lost = self.lose.swap(false, Ordering::Relaxed);
        if lost { Err(Status::unavailable("lost on the way")) } else { answer }
    }
}

macro_rules! pass_on {
    ($($rpc:ident($request:ident) -> $reply:ident;)*) => {
        #[tonic::async_trait]
        impl jobs_server::Jobs for Lossy {
            type CallsStream = calls::Answers;

            async fn calls(
                &self,
                request: Request<Streaming<wire::CallFrame>>,
            ) -> Result<Response<calls::Answers>, Status> {
                Ok(Response::new(calls::serve(self.me.upgrade().unwrap(), request.into_inner())))
            }

            $(async fn $rpc(&self, request: Request<wire::$request>) -> Result<Response<wire::$reply>, Status> {
                let answer = self.node.clone().$rpc(request.into_inner()).await;
                self.pass(answer)
            })*

            async fn open_session(
                &self,
                request: Request<wire::OpenSessionRequest>,
            ) -> Result<Response<wire::OpenSessionReply>, Status> {
                self.node.clone().open_session(request.into_inner()).await
            }
        }
    };
}

pass_on! {
    submit(SubmitRequest) -> SubmitReply;
    submit_bulk(SubmitBulkRequest) -> SubmitBulkReply;
    claim(ClaimRequest) -> ClaimReply;
    heartbeat(HeartbeatLeasesRequest) -> HeartbeatLeasesReply;
    ack(AckRequest) -> SettleReply;
    fail(FailRequest) -> SettleReply;
    cancel(CancelRequest) -> CancelReply;
    retry(RetryRequest) -> RetryReply;
    pause_queue(PauseQueueRequest) -> PauseQueueReply;
    get(GetRequest) -> GetReply;
    list(ListRequest) -> ListReply;
}

/// The indexes of the entries of the log that say this.
async fn entries(node: &Node, summary: &str) -> Vec<u64> {
    let request = wire::LogRangeRequest { from: 1, limit: 1000, with_payload: false };
    let rows = node.admin().log_range(request).await.unwrap().into_inner().rows;
    rows.into_iter().filter(|row| row.summary == summary).map(|row| row.index).collect()
}

async fn available(client: &Client) -> Vec<u64> {
    let states = vec![JobState::Available.into()];
    let list = client.list(wire::ListRequest { states, ..Default::default() }, WITHIN).await.unwrap();
    list.jobs.iter().map(|job| job.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_answer_was_lost_is_done_once() {
    let node = Node::start(0).await;
    let (line, client) = Lossy::before(&node).await;

    line.lose_one();
    let submitted = client.submit(job("echo", "x"), WITHIN).await.unwrap();
    let sent = entries(&node, "submit 1 jobs").await;
    assert_eq!(sent.len(), 2, "the call is twice in the log");
    assert_eq!((submitted.id, submitted.index, submitted.duplicate), (1, sent[0], false), "the answer is the first's");
    line.lose_one();
    let bulk = client.submit_bulk(vec![job("echo", "y"), job("echo", "z")], WITHIN).await.unwrap();
    assert_eq!(bulk.iter().map(|job| job.id).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(available(&client).await, [3, 2, 1]);

    let claim = wire::ClaimRequest {
        worker: "w".into(),
        handlers: vec!["echo".into()],
        max_jobs: 2,
        lease_ms: 60_000,
        ..Default::default()
    };
    line.lose_one();
    let claimed = client.claim(claim.clone()).await.unwrap();
    let sent = entries(&node, "claim up to 2 jobs for w").await;
    assert_eq!(sent.len(), 2);
    assert_eq!(claimed.index, sent[0]);
    let given: Vec<_> = claimed.jobs.iter().map(|job| (job.id, job.token, &job.payload[..])).collect();
    assert_eq!(given, [(1, sent[0], &b"x"[..]), (2, sent[0], b"y")]);
    assert_eq!(available(&client).await, [3], "the second try took no other jobs");

    let token = LeaseToken(claimed.index);
    line.lose_one();
    let acked = client.ack(JobId(1), token, "r".into(), WITHIN).await.unwrap();
    assert_eq!((acked.state(), acked.repeated_call), (JobState::Completed, false));
    let lease = Some(wire::LeaseRef { job: 2, token: token.0 });
    line.lose_one();
    let failed = client.fail(wire::Failure { lease, retry_after_ms: Some(60_000), ..Default::default() }, WITHIN).await;
    assert_eq!(failed.unwrap().state(), JobState::Retryable);
    line.lose_one();
    let cancelled = client.cancel(JobId(3), WITHIN).await.unwrap();
    let sent = entries(&node, "cancel job 3").await;
    assert_eq!((cancelled.state(), cancelled.index, sent.len()), (JobState::Cancelled, sent[0], 2));

    // A second try that finds nothing to claim is told what the first got: it was not forgotten for that.
    let last = client.submit(job("echo", "last"), WITHIN).await.unwrap();
    line.lose_one();
    let claimed = client.claim(claim).await.unwrap();
    assert_eq!(claimed.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [last.id]);
    assert_eq!(entries(&node, "open a session").await.len(), 1, "one call at a time is one session");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_not_as_it_should_be_is_refused_with_a_word() {
    let node = Node::start(0).await;
    let mut jobs = JobsClient::new(channel(&node.api.to_string()).unwrap());
    let mut submit = async |id, seq, payload: &str| {
        let session = Some(wire::SessionCall { id, seq });
        let request = wire::SubmitRequest { job: Some(job("echo", payload)), session };
        jobs.submit(request).await.map(|reply| reply.into_inner().job.unwrap().id).map_err(|status| {
            assert_eq!(status.code(), Code::FailedPrecondition);
            let word = status.metadata().get(SESSION_HEADER).unwrap().to_str().unwrap().to_owned();
            (word, status.message().to_owned())
        })
    };
    let refused = |word: &str, message: &str| Err((word.to_owned(), message.to_owned()));
    let until = Instant::now() + WITHIN;
    let opened = loop {
        let mut jobs = JobsClient::new(channel(&node.api.to_string()).unwrap());
        match jobs.open_session(wire::OpenSessionRequest {}).await {
            Ok(reply) => break reply.into_inner(),
            Err(status) => assert!(Instant::now() < until, "no leader: {status}"),
        }
    };
    let id = opened.session;
    assert_eq!(opened.idle_ms_max, 3_600_000);
    assert_eq!(submit(id, 2, "x").await, Ok(1));
    assert_eq!(submit(id, 2, "x").await, Ok(1));
    assert_eq!(submit(id, 2, "y").await, refused("reused", &format!("call 2 of session {id} was another request")));
    assert_eq!(
        submit(id, 1, "x").await,
        refused("overtaken", &format!("call 1 of session {id} comes after its call 2"))
    );
    assert_eq!(submit(id + 1, 1, "x").await, refused(SESSION_EXPIRED, &format!("session {} has expired", id + 1)));
    assert_eq!(submit(id, 3, "x").await, Ok(2));
    node.stop().await;
}
