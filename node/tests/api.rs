//! A whole node in this process, asked over its real api listener.

#[path = "api/lossy.rs"]
mod lossy;

use std::{net::SocketAddr, time::Duration};

use raftdeck_node::node::{self, NodeError, Options};
use raftdeck_shared::{
    client::{API_MESSAGE_BYTES_MAX, Client, ClientError, channel},
    cluster::{ClusterFile, ExecutorSettings, LogSettings, NodeEntry, Timing},
    ids::{JobId, LeaseToken, NodeId},
    wire::{self, JobState, ObserveEvent, admin_client::AdminClient, fault_spec, observe_event::Event},
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tonic::{Code, Streaming, transport::Channel};

const WITHIN: Duration = Duration::from_secs(10);

/// The only member of its cluster.
struct Node {
    api: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), NodeError>>,
    _data: TempDir,
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl Node {
    /// Starts a node and waits until it answers. Free ports are only known to have been free: another test may have taken
    /// one in between, then others are tried.
    async fn start(concurrency: u32) -> Node {
        loop {
            let mut node = Node::begin(concurrency).await;
            let mut admin = node.admin();
            let answers = async {
                while admin.status(wire::StatusRequest {}).await.is_err() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                ended = &mut node.task => assert!(matches!(ended.unwrap(), Err(NodeError::Bind { .. }))),
                () = answers => return node,
            }
        }
    }

    async fn begin(concurrency: u32) -> Node {
        let data = tempfile::tempdir().unwrap();
        let (api, peer) = (free_address().await, free_address().await);
        let node = NodeEntry { id: NodeId(1), name: "n1".into(), api, peer, joins: false };
        let cluster = ClusterFile {
            cluster_id: "test".into(),
            enable_faults: false,
            allow_remote: false,
            timing: Timing { election_min_ms: 150, election_max_ms: 200, ..Timing::default() },
            log: LogSettings::default(),
            executor: ExecutorSettings { concurrency, ..ExecutorSettings::default() },
            nodes: vec![node.clone()],
            handlers: [].into(),
        };
        let (stop, stops) = watch::channel(false);
        let options = Options { cluster, node, data: data.path().to_owned(), enable_faults: false };
        let task = tokio::spawn(node::run(options, stops));
        Node { api, stop, task, _data: data }
    }

    fn client(&self) -> Client {
        Client::new([self.api.to_string()]).unwrap()
    }

    fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(channel(&self.api.to_string()).unwrap())
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(WITHIN, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn job(handler: &str, payload: &str) -> wire::NewJob {
    wire::NewJob { handler: handler.into(), payload: payload.to_owned().into(), ..Default::default() }
}

async fn next(events: &mut Streaming<ObserveEvent>) -> Event {
    timeout(WITHIN, events.message()).await.unwrap().unwrap().unwrap().event.unwrap()
}

async fn next_observations(events: &mut Streaming<ObserveEvent>) -> Vec<wire::Observation> {
    loop {
        match next(events).await {
            Event::Observations(wire::Observations { list }) => return list,
            Event::Status(_) | Event::StillHere(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_lives_its_life_under_its_tokens() {
    let node = Node::start(0).await;
    let client = node.client();
    let submitted = client.submit(job("echo", "x"), WITHIN).await.unwrap();
    let keyed = wire::NewJob { idempotency_key: "k".into(), delay_ms: 60_000, ..job("echo", "y") };
    let first = client.submit(keyed.clone(), WITHIN).await.unwrap();
    let again = client.submit(keyed.clone(), WITHIN).await.unwrap();
    assert_eq!((again.id, again.index, again.duplicate), (first.id, first.index, true));
    let other = client.submit(wire::NewJob { payload: "z".into(), ..keyed }, WITHIN).await.unwrap_err();
    assert!(matches!(other, ClientError::Refused { code: Code::AlreadyExists, .. }), "{other}");

    let claim = wire::ClaimRequest {
        worker: "w".into(),
        handlers: vec!["echo".into()],
        max_jobs: 10,
        lease_ms: 60_000,
        ..Default::default()
    };
    let claimed = client.claim(claim.clone()).await.unwrap().jobs;
    assert_eq!(claimed.iter().map(|j| j.id).collect::<Vec<_>>(), [submitted.id], "the delayed one is not due");
    let (id, token) = (JobId(claimed[0].id), LeaseToken(claimed[0].token));
    assert!(client.claim(claim).await.unwrap().jobs.is_empty(), "it is leased");

    let stale = client.ack(id, LeaseToken(token.0 + 1), "r".into(), WITHIN).await.unwrap();
    assert!(stale.refused.starts_with("stale lease: job 1 is leased under token"), "{}", stale.refused);
    let failure = wire::Failure {
        lease: Some(wire::LeaseRef { job: id.0, token: token.0 }),
        error: "not yet".into(),
        retry_after_ms: Some(0),
        non_retryable: false,
    };
    assert_eq!(client.fail(failure, WITHIN).await.unwrap().state(), JobState::Retryable);
    // Its second attempt, which waits until time has passed in the log.
    let claim = wire::ClaimRequest {
        worker: "w".into(),
        handlers: vec!["echo".into()],
        max_jobs: 1,
        lease_ms: 60_000,
        wait_ms: 5_000,
        ..Default::default()
    };
    let claimed = client.claim(claim).await.unwrap().jobs;
    assert_eq!((claimed[0].id, claimed[0].attempt), (id.0, 2));
    let second = LeaseToken(claimed[0].token);
    assert!(second > token);
    let leases = vec![wire::LeaseRef { job: id.0, token: token.0 }, wire::LeaseRef { job: id.0, token: second.0 }];
    let heartbeat = wire::HeartbeatLeasesRequest { leases, lease_ms: 60_000, session: None };
    let renewed = client.heartbeat(heartbeat, WITHIN).await.unwrap();
    assert!(matches!(renewed.renewals[0].outcome, Some(wire::lease_renewal::Outcome::Refused(_))));
    assert!(matches!(renewed.renewals[1].outcome, Some(wire::lease_renewal::Outcome::DeadlineMs(_))));

    assert_eq!(client.ack(id, second, "done".into(), WITHIN).await.unwrap().state(), JobState::Completed);
    let repeated = client.ack(id, second, "done".into(), WITHIN).await.unwrap();
    assert_eq!((repeated.state(), repeated.repeated_call), (JobState::Completed, true));
    let late = client.ack(id, token, "late".into(), WITHIN).await.unwrap();
    assert!(!late.refused.is_empty());

    let read = client.get(id, submitted.index, WITHIN).await.unwrap();
    let read_job = read.job.unwrap();
    assert_eq!((read_job.result.as_ref(), read_job.completed_token), (&b"done"[..], Some(second.0)));
    assert!(read.applied >= submitted.index);
    assert_eq!(client.cancel(JobId(first.id), WITHIN).await.unwrap().state(), JobState::Cancelled);
    let list = client.list(wire::ListRequest { limit: 1, ..Default::default() }, WITHIN).await.unwrap();
    assert_eq!((list.jobs[0].id, list.jobs.len(), list.more), (first.id, 1, true));
    let states = vec![JobState::Completed.into()];
    let list = client.list(wire::ListRequest { states, ..Default::default() }, WITHIN).await.unwrap();
    assert_eq!(list.jobs.iter().map(|j| j.id).collect::<Vec<_>>(), [id.0]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_named() {
    let node = Node::start(0).await;
    let client = node.client();
    let refused = |error: ClientError| match error {
        ClientError::Refused { message, .. } => message,
        other => panic!("{other}"),
    };
    let large = wire::NewJob { payload: vec![0; (1 << 20) + 1].into(), ..job("echo", "") };
    let message = refused(client.submit(large, WITHIN).await.unwrap_err());
    assert_eq!(message, "payload is 1048577 bytes, the limit is 1048576");
    let message = refused(client.submit(job("nope", ""), WITHIN).await.unwrap_err());
    assert_eq!(message, "there is no handler \"nope\" in the cluster file; it has echo, fail, sleep");
    let message = refused(client.submit_bulk(vec![job("echo", ""); 1001], WITHIN).await.unwrap_err());
    assert_eq!(message, "bulk is 1001 jobs, the limit is 1000");
    let message =
        refused(client.list(wire::ListRequest { limit: 1001, ..Default::default() }, WITHIN).await.unwrap_err());
    assert_eq!(message, "limit is 1001, the limit is 1000");
    for number in [99, 0, -1] {
        let unknown = wire::ListRequest { states: vec![JobState::Completed.into(), number], ..Default::default() };
        let message = refused(client.list(unknown, WITHIN).await.unwrap_err());
        assert_eq!(message, format!("job state is {number}, the limits are 1 to 7"));
    }
    let spec = Some(wire::FaultSpec { fault: Some(fault_spec::Fault::Kill(wire::KillFault {})) });
    let kill = wire::InjectFaultRequest { spec, ttl_ms: 0, label: String::new() };
    let status = node.admin().inject_fault(kill).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observations_have_no_gap_and_can_be_resumed() {
    let node = Node::start(4).await;
    let client = node.client();
    client.submit(job("echo", "before"), WITHIN).await.unwrap();
    let mut admin = node.admin();
    let mut events = admin.observe(wire::ObserveRequest::default()).await.unwrap().into_inner();
    let Event::Snapshot(snapshot) = next(&mut events).await else { panic!("no snapshot first") };
    assert_eq!((snapshot.role(), snapshot.leader), (wire::Role::Leader, 1));
    for n in 0..20 {
        client.submit(job("echo", &n.to_string()), WITHIN).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 40 {
        seen.extend(next_observations(&mut events).await);
    }
    assert!(seen.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1), "a gap");
    assert!(seen.iter().all(|o| o.boot_id == snapshot.boot_id));

    let resume =
        wire::ObserveRequest { from_seq: Some(seen[10].seq), boot_id: snapshot.boot_id.clone(), kinds: Vec::new() };
    let mut resumed = admin.observe(resume).await.unwrap().into_inner();
    assert!(matches!(next(&mut resumed).await, Event::Snapshot(_)));
    let mut again = Vec::new();
    while again.len() < 10 {
        again.extend(next_observations(&mut resumed).await);
    }
    assert_eq!(again[..10], seen[10..20]);
    // Who knew another life of the node has seen nothing of this one.
    let other_life = wire::ObserveRequest { from_seq: Some(seen[10].seq), boot_id: "other".into(), kinds: Vec::new() };
    let mut anew = admin.observe(other_life).await.unwrap().into_inner();
    assert!(matches!(next(&mut anew).await, Event::Snapshot(_)));
    assert_eq!(next_observations(&mut anew).await[0].seq, 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_sent_at_once_though_nothing_happens() {
    let node = Node::start(0).await;
    node.client().submit(job("echo", "x"), WITHIN).await.unwrap();
    let mut admin = node.admin();
    let newest = admin.status(wire::StatusRequest {}).await.unwrap().into_inner();
    let observe = |from_seq| {
        let request =
            wire::ObserveRequest { from_seq: Some(from_seq), boot_id: newest.boot_id.clone(), kinds: Vec::new() };
        let mut admin = admin.clone();
        async move {
            let mut events = admin.observe(request).await.unwrap().into_inner();
            assert!(matches!(next(&mut events).await, Event::Snapshot(_)));
            events
        }
    };
    // All of it, before any status: nothing had to happen first, and nothing is said to be lost.
    for from_seq in [0, 1] {
        let mut events = observe(from_seq).await;
        let mut seq = 0;
        while seq < newest.observation_seq {
            match next(&mut events).await {
                Event::Observations(wire::Observations { list }) => {
                    assert!(list.iter().map(|observation| observation.seq).eq(seq + 1..=seq + list.len() as u64));
                    seq += list.len() as u64;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    // What lies beyond the newest is what comes next.
    let mut events = observe(u64::MAX).await;
    node.client().submit(job("echo", "y"), WITHIN).await.unwrap();
    assert!(next_observations(&mut events).await[0].seq > newest.observation_seq);
    // A status knows of all that has been observed before it, and then the node says that it is still here.
    let (mut seen, mut said) = (0, false);
    while !said {
        match next(&mut events).await {
            Event::Observations(wire::Observations { list }) => seen = list[list.len() - 1].seq,
            Event::Status(status) => assert!(status.observation_seq >= seen, "{} {seen}", status.observation_seq),
            Event::StillHere(at_ms) => said = at_ms > 0,
            other => panic!("{other:?}"),
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_the_log_comes_in_replies_of_bounded_size() {
    let node = Node::start(0).await;
    let client = node.client();
    let mut admin = node.admin().max_decoding_message_size(API_MESSAGE_BYTES_MAX);
    // A whole bulk is one entry, larger than a reply's share, and comes alone.
    let large = wire::NewJob { payload: vec![7; 1 << 20].into(), ..job("echo", "") };
    let bulk = client.submit_bulk(vec![large.clone(); 4], WITHIN).await.unwrap()[0].index;
    for _ in 0..3 {
        client.submit(large.clone(), WITHIN).await.unwrap();
    }
    let mut rows = Vec::new();
    let (mut from, mut sizes) = (bulk, Vec::new());
    loop {
        let request = wire::LogRangeRequest { from, limit: 1000, with_payload: true };
        let reply = admin.log_range(request).await.unwrap().into_inner();
        let Some(last) = reply.rows.last() else { break };
        from = last.index + 1;
        let bytes: u64 = reply.rows.iter().map(|row| row.payload.len() as u64).sum();
        assert!(bytes <= 2 << 20 || reply.rows.len() == 1, "{bytes} bytes in {} rows", reply.rows.len());
        sizes.push(bytes);
        rows.extend(reply.rows);
    }
    assert!(sizes[0] > 4 << 20 && sizes.len() >= 4, "{sizes:?}");
    assert!(rows.windows(2).all(|pair| pair[1].index == pair[0].index + 1), "a gap");
    assert!(rows.iter().all(|row| row.payload.len() as u64 == row.payload_bytes));
    // Without payloads there is nothing to bound but the rows.
    let request = wire::LogRangeRequest { from: bulk, limit: 1000, with_payload: false };
    assert!(admin.log_range(request).await.unwrap().into_inner().rows.len() >= rows.len());
    let beyond = wire::LogRangeRequest { from: u64::MAX, limit: 1000, with_payload: true };
    assert!(admin.log_range(beyond).await.unwrap().into_inner().rows.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_are_served() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let node = Node::start(0).await;
    let open = channel(&node.api.to_string()).unwrap();
    let mut health = HealthClient::new(open.clone());
    let until = Instant::now() + WITHIN;
    loop {
        let service = "raftdeck.v1.Jobs".to_owned();
        let answer = health.check(HealthCheckRequest { service }).await.map(|r| r.into_inner().status());
        if matches!(answer, Ok(ServingStatus::Serving)) {
            break;
        }
        assert!(Instant::now() < until, "{answer:?}");
        tokio::task::yield_now().await;
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(open);
    let mut answers = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|s| s.name).collect();
    for name in ["raftdeck.v1.Jobs", "raftdeck.v1.Admin"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_retries_jobs_and_pauses_queues() {
    let node = Node::start(0).await;
    let client = node.client();
    let in_mail = |delay_ms| wire::NewJob {
        queue: "mail".into(),
        delay_ms,
        timeout_ms: Some(60_000),
        retry_delay_ms: Some(5_000),
        ..job("echo", "x")
    };
    let later = client.submit(in_mail(3_600_000), WITHIN).await.unwrap();
    let claim = |wait_ms| wire::ClaimRequest {
        worker: "w".into(),
        handlers: vec!["echo".into()],
        max_jobs: 1,
        lease_ms: 60_000,
        wait_ms,
        ..Default::default()
    };

    let paused = client.pause_queue("mail", WITHIN).await.unwrap();
    assert!(paused.changed && paused.index > later.index);
    assert!(!client.pause_queue("mail", WITHIN).await.unwrap().changed);
    assert!(client.pause_queue("empty", WITHIN).await.unwrap().changed, "one that never had a job");
    let retried = client.retry(JobId(later.id), WITHIN).await.unwrap();
    assert_eq!((retried.state(), retried.changed, retried.refused.as_str()), (JobState::Available, true, ""));
    let again = client.retry(JobId(later.id), WITHIN).await.unwrap();
    assert_eq!((again.state(), again.changed, again.refused.as_str()), (JobState::Available, false, ""));
    assert_eq!(client.claim(claim(0)).await.unwrap().jobs, [], "its queue is paused");
    let status = node.admin().status(wire::StatusRequest {}).await.unwrap().into_inner();
    let queues: Vec<_> = status.queues.iter().map(|q| (q.name.as_str(), q.paused, q.available)).collect();
    assert_eq!(queues, [("empty", true, 0), ("mail", true, 1)]);

    // Who waits is woken by the resume.
    let (claimed, resumed) = tokio::join!(client.claim(claim(10_000)), async {
        client.submit(wire::NewJob { delay_ms: 3_600_000, ..job("echo", "") }, WITHIN).await.unwrap();
        client.resume_queue("mail", WITHIN).await.unwrap()
    });
    assert!(resumed.changed);
    let claimed = claimed.unwrap().jobs;
    assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [later.id]);
    let running = client.retry(JobId(later.id), WITHIN).await.unwrap();
    let words = format!("job {} is running under token {}: it is tried already", later.id, claimed[0].token);
    assert_eq!((running.state(), running.refused), (JobState::Running, words));
    let read = client.get(JobId(later.id), 0, WITHIN).await.unwrap().job.unwrap();
    assert_eq!((read.timeout_ms, read.retry_delay_ms), (Some(60_000), Some(5_000)), "all that makes the work");
    assert!(read.history.iter().any(|event| event.what == "retried"));

    client.ack(JobId(later.id), LeaseToken(claimed[0].token), "".into(), WITHIN).await.unwrap();
    let finished = client.retry(JobId(later.id), WITHIN).await.unwrap();
    assert_eq!(finished.refused, format!("job {} is completed", later.id));
    assert_eq!(finished.state(), JobState::Completed);
    let unknown = client.retry(JobId(99), WITHIN).await.unwrap_err();
    assert!(matches!(&unknown, ClientError::Refused { code: Code::NotFound, .. }), "{unknown}");
    let wrong = client.pause_queue("a b", WITHIN).await.unwrap_err();
    assert_eq!(wrong.to_string(), "queue name is \"a b\", only a-z A-Z 0-9 . _ - are allowed");
    node.stop().await;
}
