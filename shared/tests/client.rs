//! The client against a node that answers as a test tells it to, over the real wire: which of three things it says.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use raftdeck_shared::{
    calls,
    client::{Client, ClientError, MEMBERS_HEADER, SESSION_EXPIRED, SESSION_HEADER},
    ids::JobId,
    wire::{self, JobState, jobs_server},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
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
    Expired,
}

/// Answers each attempt by the next of its list, and every one after the last as the last.
struct Told {
    answers: Mutex<VecDeque<Answer>>,
    attempts: AtomicUsize,
    /// No session can be opened, as far as anybody knows.
    closed: AtomicBool,
    /// Sessions that were opened, and the calls in them that came: session and number.
    opened: AtomicUsize,
    calls: Mutex<Vec<(u64, u64)>>,
    me: Weak<Told>,
}

impl Told {
    async fn client(answers: impl IntoIterator<Item = Answer>) -> (Arc<Told>, Client) {
        let (told, address) = Told::serve(answers).await;
        (told, Client::new([address]).unwrap())
    }

    async fn serve(answers: impl IntoIterator<Item = Answer>) -> (Arc<Told>, String) {
        let told = Arc::new_cyclic(|me| Told {
            answers: Mutex::new(answers.into_iter().collect()),
            attempts: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            opened: AtomicUsize::new(0),
            calls: Mutex::new(Vec::new()),
            me: me.clone(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = jobs_server::JobsServer::from_arc(Arc::clone(&told));
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        (told, address)
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }

    fn calls(&self) -> Vec<(u64, u64)> {
        self.calls.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl jobs_server::Jobs for Told {
    type CallsStream = calls::Answers;

    async fn calls(&self, request: Request<Streaming<wire::CallFrame>>) -> Result<Response<calls::Answers>, Status> {
        Ok(Response::new(calls::serve(self.me.upgrade().unwrap(), request.into_inner())))
    }

    async fn open_session(
        &self,
        _: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionReply>, Status> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Status::unknown("no majority has it"));
        }
        let session = self.opened.fetch_add(1, Ordering::Relaxed) as u64 + 1;
        Ok(Response::new(wire::OpenSessionReply { session, idle_ms_max: 1000 }))
    }

    async fn cancel(&self, request: Request<wire::CancelRequest>) -> Result<Response<wire::CancelReply>, Status> {
        let call = request.into_inner().session.expect("every call is one of a session");
        self.calls.lock().unwrap().push((call.id, call.seq));
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
            Answer::Expired => {
                let mut status = Status::failed_precondition("session 1 has expired");
                status.metadata_mut().insert(SESSION_HEADER, SESSION_EXPIRED.parse().unwrap());
                Err(status)
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

    async fn retry(&self, _: Request<wire::RetryRequest>) -> Result<Response<wire::RetryReply>, Status> {
        Err(not_asked())
    }

    async fn pause_queue(
        &self,
        _: Request<wire::PauseQueueRequest>,
    ) -> Result<Response<wire::PauseQueueReply>, Status> {
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

/// Two addresses at which nobody listens.
fn nobody() -> [String; 2] {
    ["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()]
}

#[tokio::test]
async fn where_every_node_refuses_an_attended_call_has_failed_and_any_other_goes_on() {
    let attended = Client::new(nobody()).unwrap().attended(|_| {});
    match outcome(&attended, LONG).await.unwrap_err() {
        ClientError::Unreachable(words) => assert_eq!(words, "tried 127.0.0.1:1, 127.0.0.1:2"),
        other => panic!("{other:?}"),
    }
    match outcome(&Client::new(nobody()).unwrap(), SHORT).await.unwrap_err() {
        ClientError::Unreachable(words) => assert!(words.starts_with("gave up after 400 ms"), "{words}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_attended_call_waits_while_one_node_answers() {
    let (_, address) = Told::serve([Answer::Error(Code::Aborted), Answer::Error(Code::Aborted), Answer::Ok]).await;
    let client = Client::new(nobody().into_iter().chain([address])).unwrap().attended(|_| {});
    assert_eq!(outcome(&client, LONG).await.unwrap(), 7);
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

#[tokio::test]
async fn all_attempts_are_one_call_and_the_next_call_has_the_next_number() {
    let lost = Answer::Error(Code::Unknown);
    let (told, client) = Told::client([lost, Answer::Error(Code::Aborted), Answer::Ok]).await;
    outcome(&client, LONG).await.unwrap();
    assert_eq!(told.calls(), [(1, 1); 3]);
    outcome(&client, LONG).await.unwrap();
    assert_eq!(told.calls()[3..], [(1, 2)]);
}

#[tokio::test]
async fn a_session_has_one_call_at_a_time_also_one_whose_caller_left() {
    let (told, client) = Told::client([Answer::Silence, Answer::Ok, Answer::Ok, Answer::Expired, Answer::Ok]).await;
    let mut silent = Box::pin(outcome(&client, LONG));
    while told.attempts() == 0 {
        tokio::select! {
            _ = &mut silent => panic!("it has no answer"),
            () = tokio::task::yield_now() => {}
        }
    }
    outcome(&client, LONG).await.unwrap();
    assert_eq!(told.calls(), [(1, 1), (2, 1)]);
    drop(silent);
    // The one used last comes first.
    outcome(&client, LONG).await.unwrap();
    assert_eq!(told.calls()[2..], [(1, 2)]);
    // It has expired: so has the other, which was idle for longer, and is not even tried.
    outcome(&client, LONG).await.unwrap();
    assert_eq!(told.calls()[3..], [(1, 3), (3, 1)]);
}

#[tokio::test]
async fn a_call_of_an_expired_session_goes_on_in_another_if_it_was_certainly_not_done() {
    let (told, client) = Told::client([Answer::Ok, Answer::Error(Code::Aborted), Answer::Expired, Answer::Ok]).await;
    outcome(&client, LONG).await.unwrap();
    assert_eq!(outcome(&client, LONG).await.unwrap(), 7);
    assert_eq!(told.calls(), [(1, 1), (1, 2), (1, 2), (2, 1)]);
}

#[tokio::test]
async fn a_call_of_an_expired_session_is_unknown_if_it_may_have_been_done() {
    let (told, client) = Told::client([Answer::Error(Code::Unavailable), Answer::Expired, Answer::Ok]).await;
    let error = outcome(&client, LONG).await.unwrap_err();
    assert!(matches!(error, ClientError::Unknown(_)), "{error:?}");
    assert!(error.to_string().ends_with("session 1 has expired"), "{error}");
    assert_eq!(told.calls(), [(1, 1), (1, 1)], "and is not sent again");
    outcome(&client, LONG).await.unwrap();
    assert_eq!(told.calls()[2..], [(2, 1)], "the next call is in another");
}

#[tokio::test]
async fn sessions_that_expire_at_once_are_not_opened_without_end() {
    let (told, client) = Told::client([Answer::Expired]).await;
    outcome(&client, SHORT).await.unwrap_err();
    assert!(told.attempts() <= 12, "with a pause between them: {}", told.attempts());
}

#[tokio::test]
async fn a_call_that_has_no_session_was_certainly_not_done() {
    let (told, client) = Told::client([Answer::Ok]).await;
    told.closed.store(true, Ordering::Relaxed);
    let error = outcome(&client, SHORT).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
    assert_eq!(told.attempts(), 0);
}
