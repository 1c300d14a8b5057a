//! The client against a node that answers as a test tells it to, over the real wire: which of three things it says.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use raftdeck_shared::{
    client::{Client, ClientError, MEMBERS_HEADER},
    ids::JobId,
    wire::{self, JobState, jobs_server},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
    transport::Server,
};

/// How one attempt is answered.
#[derive(Clone, Copy)]
enum Answer {
    Ok,
    Error(Code),
    Silence,
    /// It does not lead, knows nobody who does, and names these members.
    Members(&'static str),
}

/// Answers each attempt by the next of its list, and every one after the last as the last.
struct Told {
    answers: Mutex<VecDeque<Answer>>,
    attempts: AtomicUsize,
}

impl Told {
    async fn client(answers: impl IntoIterator<Item = Answer>) -> (Arc<Told>, Client) {
        let (told, address) = Told::serve(answers).await;
        (told, Client::new([address]).unwrap())
    }

    async fn serve(answers: impl IntoIterator<Item = Answer>) -> (Arc<Told>, String) {
        let told = Told { answers: Mutex::new(answers.into_iter().collect()), attempts: AtomicUsize::new(0) };
        let told = Arc::new(told);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = jobs_server::JobsServer::from_arc(Arc::clone(&told));
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        (told, address)
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }
}

#[tonic::async_trait]
impl jobs_server::Jobs for Told {
    async fn cancel(&self, _: Request<wire::CancelRequest>) -> Result<Response<wire::CancelReply>, Status> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() }
        };
        match answer.unwrap() {
            Answer::Ok => Ok(Response::new(wire::CancelReply { state: JobState::Cancelled.into(), index: 7 })),
            Answer::Error(code) => Err(Status::new(code, "as told")),
            Answer::Silence => std::future::pending().await,
            Answer::Members(addresses) => {
                let mut headers = MetadataMap::new();
                headers.insert(MEMBERS_HEADER, MetadataValue::from_static(addresses));
                Err(Status::with_metadata(Code::FailedPrecondition, "as told", headers))
            }
        }
    }

    async fn submit(&self, _: Request<wire::SubmitRequest>) -> Result<Response<wire::SubmitReply>, Status> {
        Err(not_asked())
    }

    async fn submit_bulk(
        &self,
        _: Request<wire::SubmitBulkRequest>,
    ) -> Result<Response<wire::SubmitBulkReply>, Status> {
        Err(not_asked())
    }

    async fn claim(&self, _: Request<wire::ClaimRequest>) -> Result<Response<wire::ClaimReply>, Status> {
        Err(not_asked())
    }

    async fn heartbeat(
        &self,
        _: Request<wire::HeartbeatLeasesRequest>,
    ) -> Result<Response<wire::HeartbeatLeasesReply>, Status> {
        Err(not_asked())
    }

    async fn ack(&self, _: Request<wire::AckRequest>) -> Result<Response<wire::SettleReply>, Status> {
        Err(not_asked())
    }

    async fn fail(&self, _: Request<wire::FailRequest>) -> Result<Response<wire::SettleReply>, Status> {
        Err(not_asked())
    }

    async fn get(&self, _: Request<wire::GetRequest>) -> Result<Response<wire::GetReply>, Status> {
        Err(not_asked())
    }

    async fn list(&self, _: Request<wire::ListRequest>) -> Result<Response<wire::ListReply>, Status> {
        Err(not_asked())
    }
}

fn not_asked() -> Status {
    Status::unimplemented("no test asks for this")
}

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(10);

async fn outcome(client: &Client, within: Duration) -> Result<u64, ClientError> {
    client.cancel(JobId(1), within).await.map(|reply| reply.index)
}

#[tokio::test]
async fn what_another_leader_superseded_is_asked_again() {
    let (told, client) = Told::client([Answer::Error(Code::Aborted), Answer::Ok]).await;
    assert_eq!(outcome(&client, LONG).await.unwrap(), 7);
    assert_eq!(told.attempts(), 2);
    let (_, client) = Told::client([Answer::Error(Code::Aborted)]).await;
    let error = outcome(&client, SHORT).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "certainly not done: {error:?}");
}

#[tokio::test]
async fn a_cluster_without_room_is_asked_until_there_is_some() {
    let (told, client) = Told::client([Answer::Error(Code::ResourceExhausted), Answer::Ok]).await;
    assert_eq!(outcome(&client, LONG).await.unwrap(), 7);
    assert_eq!(told.attempts(), 2);
}

#[tokio::test]
async fn a_cluster_that_has_no_room_until_the_end_has_refused() {
    let (told, client) = Told::client([Answer::Error(Code::ResourceExhausted)]).await;
    match outcome(&client, SHORT).await.unwrap_err() {
        ClientError::Refused { code: Code::ResourceExhausted, message } => assert_eq!(message, "as told"),
        other => panic!("{other:?}"),
    }
    assert!(told.attempts() <= 3, "with a pause between them");
}

#[tokio::test]
async fn no_later_refusal_for_want_of_room_hides_an_attempt_that_may_have_been_done() {
    for first in [Answer::Error(Code::Unknown), Answer::Silence] {
        let (told, client) = Told::client([first, Answer::Error(Code::ResourceExhausted)]).await;
        // The silent attempt is given up after two seconds.
        let within = if matches!(first, Answer::Silence) { Duration::from_secs(2) + SHORT } else { SHORT };
        let error = outcome(&client, within).await.unwrap_err();
        assert!(matches!(error, ClientError::Unknown(_)), "{error:?}");
        assert!(told.attempts() >= 2);
    }
}

#[tokio::test]
async fn any_other_refusal_is_told_at_once() {
    let (told, client) = Told::client([Answer::Error(Code::InvalidArgument), Answer::Ok]).await;
    let error = outcome(&client, LONG).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: Code::InvalidArgument, .. }), "{error:?}");
    assert_eq!(told.attempts(), 1);
}

#[tokio::test]
async fn a_member_that_joined_later_is_found_although_nobody_names_a_leader() {
    let (later, address) = Told::serve([Answer::Ok]).await;
    let named: &'static str = format!("127.0.0.1:1,{address}").leak();
    let (_first, client) = Told::client([Answer::Members(named)]).await;
    assert_eq!(outcome(&client, LONG).await.unwrap(), 7);
    assert_eq!(later.attempts(), 1);
}
