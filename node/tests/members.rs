//! Whole nodes in this process that join, lead and leave, asked over their real api listeners.

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use raftdeck_node::node::{self, NodeError, Options};
use raftdeck_shared::{
    client::{Client, LEADER_HEADER, MEMBERS_HEADER, channel},
    cluster::{ClusterFile, ExecutorSettings, LogSettings, NodeEntry, Timing},
    ids::{JobId, NodeId},
    wire::{self, MemberRole, admin_client::AdminClient, fault_spec, jobs_client::JobsClient},
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Code, Status, transport::Channel};

const WITHIN: Duration = Duration::from_secs(10);

struct Node {
    entry: NodeEntry,
    _stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), NodeError>>,
    _data: TempDir,
}

/// Below the ephemeral ports, which outgoing connections of other tests may take at any time; each is given once.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let port = 10_000 + (std::process::id().wrapping_mul(97) + NEXT.fetch_add(1, Ordering::Relaxed)) % 6_000;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn entry(id: u64, joins: bool) -> NodeEntry {
    let (api, peer) = (free_address(), free_address());
    NodeEntry { id: NodeId(id), name: format!("n{id}"), api, peer, joins }
}

impl Node {
    /// Starts a node whose file has these nodes, and waits until it answers.
    async fn start(entry: &NodeEntry, file: &[NodeEntry]) -> Node {
        let cluster = ClusterFile {
            cluster_id: "test".into(),
            enable_faults: true,
            allow_remote: false,
            timing: Timing { election_min_ms: 150, election_max_ms: 300, ..Timing::default() },
            log: LogSettings::default(),
            executor: ExecutorSettings { concurrency: 0, ..ExecutorSettings::default() },
            nodes: file.to_vec(),
            handlers: [].into(),
        };
        let data = tempfile::tempdir().unwrap();
        let (stop, stops) = watch::channel(false);
        let options = Options { cluster, node: entry.clone(), data: data.path().to_owned(), enable_faults: true };
        let task = tokio::spawn(node::run(options, stops));
        let node = Node { entry: entry.clone(), _stop: stop, task, _data: data };
        wait_for("an answer", async || {
            assert!(!node.task.is_finished(), "the node ended");
            node.admin().status(wire::StatusRequest {}).await.ok()
        })
        .await;
        node
    }

    fn api(&self) -> String {
        self.entry.api.to_string()
    }

    fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(channel(&self.api()).unwrap())
    }

    fn client(&self) -> Client {
        Client::new([self.api()]).unwrap()
    }

    async fn members(&self) -> Result<wire::MembersReply, Status> {
        self.admin().members(wire::MembersRequest {}).await.map(tonic::Response::into_inner)
    }

    async fn add(&self, node: &NodeEntry, learner_only: bool) -> Result<wire::ChangeReply, Status> {
        let (peer, api) = (node.peer.to_string(), node.api.to_string());
        let request = wire::AddMemberRequest { node: node.id.0, name: node.name.clone(), peer, api, learner_only };
        self.ask_again(async |mut admin| admin.add_member(request.clone()).await).await
    }

    async fn remove(&self, node: u64) -> Result<wire::ChangeReply, Status> {
        self.ask_again(async |mut admin| admin.remove_member(wire::RemoveMemberRequest { node }).await).await
    }

    async fn transfer(&self, node: u64) -> Result<wire::TransferLeadershipReply, Status> {
        let request = wire::TransferLeadershipRequest { node };
        self.ask_again(async |mut admin| admin.transfer_leadership(request).await).await
    }

    /// As long as the answer is: not now.
    async fn ask_again<T>(
        &self,
        ask: impl AsyncFn(AdminClient<Channel>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        wait_for("an answer", async || match ask(self.admin()).await {
            Err(status) if status.code() == Code::FailedPrecondition => None,
            answer => Some(answer.map(tonic::Response::into_inner)),
        })
        .await
    }

    /// Waits until this leader says that a node is a voter and nothing is under way.
    async fn wait_for_voter(&self, node: u64) {
        wait_for("a voter", async || {
            let members = self.members().await.ok().filter(|m| m.settled)?;
            members.members.iter().any(|m| m.node == node && m.role() == MemberRole::Voter).then_some(())
        })
        .await;
    }
}

async fn wait_for<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < WITHIN, "waited {WITHIN:?} for {what}");
        tokio::task::yield_now().await;
    }
}

fn echo() -> wire::NewJob {
    wire::NewJob { handler: "echo".into(), ..Default::default() }
}

fn cut(peer: u64) -> wire::InjectFaultRequest {
    let spec = Some(wire::FaultSpec { fault: Some(fault_spec::Fault::Cut(wire::CutFault { peer })) });
    wire::InjectFaultRequest { spec, ttl_ms: 60_000, label: "test".into() }
}

fn header<'a>(status: &'a Status, name: &str) -> &'a str {
    status.metadata().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_leads_and_the_first_one_leaves() {
    let (one, two) = (entry(1, false), entry(2, true));
    // Neither has the other in its file.
    let n1 = Node::start(&one, std::slice::from_ref(&one)).await;
    let n2 = Node::start(&two, std::slice::from_ref(&two)).await;
    let old_client = n1.client();
    let job = old_client.submit(echo(), WITHIN).await.unwrap();
    assert_eq!(n2.members().await.unwrap_err().message(), "n2 knows no leader");

    n1.add(&two, false).await.unwrap();
    n1.wait_for_voter(2).await;
    let members = n1.members().await.unwrap();
    let second = &members.members[1];
    assert_eq!((second.name.as_str(), &second.api, &second.peer), ("n2", &n2.api(), &two.peer.to_string()));
    assert_eq!((members.leader, second.storage_id.is_empty(), second.heard_ms.is_some()), (1, false, true));

    let refusal = n2.members().await.unwrap_err();
    assert_eq!((refusal.code(), refusal.message()), (Code::FailedPrecondition, "n2 is not the leader, n1 is"));
    assert_eq!(header(&refusal, LEADER_HEADER), n1.api());
    assert_eq!(header(&refusal, MEMBERS_HEADER), format!("{},{}", n1.api(), n2.api()));

    // A link to it can be cut and healed, as any other.
    let fault = n1.admin().inject_fault(cut(2)).await.unwrap().into_inner();
    assert_eq!(n1.admin().inject_fault(cut(9)).await.unwrap_err().message(), "n9 is no peer of this node");
    let healed = wire::HealFaultsRequest { ids: vec![fault.id], peers: Vec::new() };
    assert_eq!(n1.admin().heal_faults(healed).await.unwrap().into_inner().healed.len(), 1);

    let transferred = n1.transfer(2).await.unwrap();
    assert!(transferred.term > members.term);
    // A node of which the first one's file knows nothing is named all the same.
    let refusal = n1.members().await.unwrap_err();
    assert_eq!(header(&refusal, LEADER_HEADER), n2.api());
    n2.remove(1).await.unwrap();
    wait_for("the first to be out", async || {
        let members = n2.members().await.ok().filter(|m| m.settled)?;
        (members.members.iter().map(|m| m.node).eq([2])).then_some(())
    })
    .await;
    // The client has followed, and needs the first no more.
    assert_eq!(old_client.get(JobId(job.id), 0, WITHIN).await.unwrap().job.unwrap().id, job.id);
    n1.task.abort();
    let next = old_client.submit(echo(), WITHIN).await.unwrap();
    assert!(next.id > job.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_has_no_vote_and_does_not_lead() {
    let (one, two) = (entry(1, false), entry(2, true));
    let n1 = Node::start(&one, std::slice::from_ref(&one)).await;
    let n2 = Node::start(&two, &[one.clone(), two.clone()]).await;
    let job = n1.client().submit(echo(), WITHIN).await.unwrap();
    // What its file says of others is not what it believes.
    let status = n2.admin().status(wire::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.voters.len(), status.known.len()), (0, 2));
    n1.add(&two, true).await.unwrap();
    wait_for("the learner to have the log", async || {
        let status = n2.admin().status(wire::StatusRequest {}).await.ok()?.into_inner();
        (status.applied >= job.index).then_some(())
    })
    .await;
    let members = n1.members().await.unwrap();
    assert_eq!((members.members[1].role(), members.members[1].promote), (MemberRole::Learner, false));
    let refusal = n1.transfer(2).await.unwrap_err();
    assert_eq!((refusal.code(), refusal.message()), (Code::Aborted, "n2 is no voter"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_in_one_line() {
    let (one, two) = (entry(1, false), entry(2, true));
    let n1 = Node::start(&one, std::slice::from_ref(&one)).await;
    wait_for("a leader", async || n1.members().await.ok()).await;
    let (api, peer) = (two.api.to_string(), two.peer.to_string());
    let good = wire::AddMemberRequest { node: 2, name: "n2".into(), peer, api: api.clone(), learner_only: false };
    let own_api = n1.api();
    for (request, line) in [
        (wire::AddMemberRequest { node: 0, ..good.clone() }, "node id 0: ids start at 1".to_owned()),
        (
            wire::AddMemberRequest { name: "a b".into(), ..good.clone() },
            "node name \"a b\": 1 to 64 of a-z A-Z 0-9 . _ -".into(),
        ),
        (wire::AddMemberRequest { peer: "h".into(), ..good.clone() }, "\"h\" is not HOST:PORT".into()),
        (wire::AddMemberRequest { peer: api.clone(), ..good.clone() }, format!("address {api} is used twice")),
        (wire::AddMemberRequest { name: "n1".into(), ..good.clone() }, "node name \"n1\" is that of node id 1".into()),
        (wire::AddMemberRequest { api: own_api.clone(), ..good.clone() }, format!("address {own_api} is that of n1")),
    ] {
        let refusal = n1.admin().add_member(request).await.unwrap_err();
        assert_eq!((refusal.code(), refusal.message()), (Code::InvalidArgument, line.as_str()));
    }
    let aborted = |status: Status| (status.code() == Code::Aborted).then(|| status.message().to_owned());
    assert_eq!(aborted(n1.add(&one, false).await.unwrap_err()).as_deref(), Some("n1 is a member already"));
    assert_eq!(aborted(n1.remove(1).await.unwrap_err()).as_deref(), Some("no voter would be left"));
    assert_eq!(aborted(n1.remove(9).await.unwrap_err()).as_deref(), Some("n9 is no member"));
    assert_eq!(aborted(n1.transfer(1).await.unwrap_err()).as_deref(), Some("n1 leads already"));
    assert_eq!(aborted(n1.transfer(9).await.unwrap_err()).as_deref(), Some("n9 is no voter"));
    assert_eq!(n1.members().await.unwrap().members.len(), 1);
}

/// A leader that was just cut off still believes in itself. It must not read for anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_for_a_majority() {
    let (one, two) = (entry(1, false), entry(2, false));
    let file = [one.clone(), two.clone()];
    let (n1, n2) = tokio::join!(Node::start(&one, &file), Node::start(&two, &file));
    let job = n1.client().submit(echo(), WITHIN).await.unwrap();
    let (leader, peer) = wait_for("a leader", async || match (n1.members().await, n2.members().await) {
        (Ok(_), _) => Some((&n1, 2)),
        (_, Ok(_)) => Some((&n2, 1)),
        _ => None,
    })
    .await;
    let mut jobs = JobsClient::new(channel(&leader.api()).unwrap());
    let get = wire::GetRequest { id: job.id, min_index: 0 };
    assert_eq!(jobs.get(get).await.unwrap().into_inner().job.unwrap().id, job.id);
    leader.admin().inject_fault(cut(peer)).await.unwrap();
    let (read, list) = tokio::join!(async { jobs.clone().get(get).await.unwrap_err() }, async {
        jobs.clone().list(wire::ListRequest::default()).await.unwrap_err()
    },);
    for refusal in [read, list] {
        assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
        assert_eq!(header(&refusal, LEADER_HEADER), "", "{refusal}");
    }
}
