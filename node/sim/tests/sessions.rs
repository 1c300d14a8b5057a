//! Clients that ask again and again, one node and another, while leaders come and go: each of their calls is done once.

use std::collections::{BTreeMap, BTreeSet};

use raftdeck_jobs::{JobState, NewJob, Op, Reply, SessionCall, SessionRefusal};
use raftdeck_node::replica::{Applied, Ticket};
use raftdeck_raft::NodeId;
use raftdeck_sim::{Cluster, Happening, Options, Weather};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};

const CLIENTS: usize = 3;

/// One call at a time, asked until it is answered.
#[derive(Default)]
struct Client {
    /// None until a session is open.
    call: Option<SessionCall>,
    op: Option<Op>,
    /// The call before, which may come late.
    before: Option<(SessionCall, Op)>,
}

struct Bench {
    cluster: Cluster,
    rng: StdRng,
    clients: Vec<Client>,
    asked: BTreeMap<Ticket, (usize, Option<SessionCall>)>,
    /// What each call was answered first.
    answers: BTreeMap<(u64, u64), Applied>,
    /// Answers that were the second to their call, and calls that were refused as late.
    again: u64,
    overtaken: u64,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let weather = Weather { delay_us: 500..=8_000, loss: 0.02, duplicate: 0.02, replay: 0.0 };
        let options = Options { weather, disk_us: 100..=4_000, ..Options::calm(3, seed) };
        Bench {
            cluster: Cluster::new(options).unwrap(),
            rng: StdRng::seed_from_u64(seed),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            again: 0,
            overtaken: 0,
        }
    }

    fn any_node(&mut self) -> NodeId {
        let any = self.cluster.ids().into_iter().choose(&mut self.rng).unwrap();
        if self.rng.random_bool(0.7) { self.cluster.leader().unwrap_or(any) } else { any }
    }

    fn ask(&mut self, client: usize) {
        let node = self.any_node();
        let Client { call, op, before } = &self.clients[client];
        let (call, op) = match (op, before) {
            (_, Some((call, op))) if self.rng.random_bool(0.1) => (Some(*call), op.clone()),
            (Some(op), _) => (*call, op.clone()),
            (None, _) => (None, Op::OpenSession),
        };
        let ticket = self.cluster.call(node, op, call).unwrap();
        self.asked.insert(ticket, (client, call));
    }

    fn next_call(&mut self, client: usize, call: SessionCall) {
        // More claims than submits: a claim that is asked again mostly finds nothing left to take.
        let op = if self.rng.random_bool(0.4) {
            let name = format!("{}-{}", call.session, call.seq);
            Op::Submit { jobs: vec![NewJob { handler: "h".into(), payload: name.into(), ..NewJob::default() }] }
        } else {
            let (worker, handlers) = (format!("w{client}"), vec!["h".into()]);
            Op::Claim { worker: worker.into(), queues: vec![], handlers, max_jobs: 1, lease_ms: 3_600_000 }
        };
        let client = &mut self.clients[client];
        // A claim that got nothing may get something when it comes late: that is not a second answer.
        let is_submit = matches!(client.op, Some(Op::Submit { .. }));
        client.before = client.call.zip(client.op.take()).filter(|_| is_submit);
        (client.call, client.op) = (Some(call), Some(op));
    }

    fn take_answers(&mut self) {
        for (_, happening) in self.cluster.take_happenings() {
            let Happening::Answered(ticket, Some(Ok(applied))) = happening else { continue };
            if self.rng.random_bool(0.2) {
                continue; // Lost on its way to the client.
            }
            let (client, call) = self.asked[&ticket];
            match (call, &applied.reply) {
                (None, Reply::SessionOpened { session }) if self.clients[client].call.is_none() => {
                    self.next_call(client, SessionCall { session: *session, seq: 1 });
                }
                (None, _) => {} // A second session that nobody uses.
                (Some(_), Reply::SessionRefused(SessionRefusal::Overtaken { .. })) => self.overtaken += 1,
                (Some(call), _) => self.answered(client, call, applied),
            }
        }
    }

    fn answered(&mut self, client: usize, call: SessionCall, applied: Applied) {
        let key = (call.session.0, call.seq);
        match self.answers.get(&key) {
            // Nothing was done: another attempt may have been asked before or after there was something.
            Some(Applied { reply: Reply::Claimed(jobs), .. }) if jobs.is_empty() => return,
            Some(first) => {
                self.again += 1;
                assert_eq!(&applied, first, "call {call:?} has two answers");
                return;
            }
            None => self.answers.insert(key, applied),
        };
        self.next_call(client, SessionCall { seq: call.seq + 1, ..call });
    }

    fn run(&mut self, steps: usize, faults: bool) {
        for _ in 0..steps {
            for client in 0..CLIENTS {
                if self.rng.random_bool(0.5) {
                    self.ask(client);
                }
            }
            let node = self.any_node();
            match (self.cluster.is_up(node), self.rng.random_bool(0.05)) {
                (false, _) => self.cluster.start(node).unwrap(),
                (true, true) if faults => self.cluster.crash(node),
                (true, _) => {}
            }
            self.cluster.run_for(5_000).unwrap();
            self.take_answers();
        }
    }
}

#[test]
fn a_call_is_done_once_however_often_it_is_asked() {
    let (mut calls, mut again, mut overtaken) = (0, 0, 0);
    for seed in 1..=40 {
        let mut bench = Bench::new(seed);
        bench.run(600, true);
        for id in bench.cluster.ids() {
            bench.cluster.start(id).unwrap();
        }
        // The last calls as well, until they are answered.
        bench.cluster.set_weather(Weather::calm());
        let open: Vec<_> = bench.clients.iter().map(|client| client.call.expect("a session is open")).collect();
        while open.iter().any(|call| !bench.answers.contains_key(&(call.session.0, call.seq))) {
            bench.run(10, false);
        }
        for client in &mut bench.clients {
            client.op = None; // Nothing more.
        }
        let unanswered: BTreeSet<_> =
            bench.clients.iter().filter_map(|c| c.call).map(|c| (c.session.0, c.seq)).collect();
        bench.cluster.run_for(5_000_000).unwrap();

        let mut made = BTreeSet::new();
        let mut leased = BTreeSet::new();
        for applied in bench.answers.values() {
            match &applied.reply {
                Reply::Submitted(Ok(jobs)) => made.extend(jobs.iter().map(|job| job.id)),
                Reply::Claimed(jobs) => leased.extend(jobs.iter().map(|job| (job.id, job.token))),
                other => panic!("{other:?}"),
            }
        }
        let leader = bench.cluster.leader().expect("healed");
        let machine = bench.cluster.replica(leader).unwrap().machine();
        // A call that was asked and never answered may have been done, once.
        let sure = |payload: &[u8]| !unanswered.iter().any(|(s, n)| format!("{s}-{n}").as_bytes() == payload);
        let payloads: Vec<_> = machine.live().map(|job| job.payload.clone()).collect();
        assert_eq!(payloads.iter().collect::<BTreeSet<_>>().len(), payloads.len(), "a job was made twice");
        for job in machine.live().filter(|job| sure(&job.payload)) {
            assert!(made.contains(&job.id), "seed {seed}: nobody was told of job {}", job.id);
            assert!(matches!(job.state, JobState::Available | JobState::Running));
        }
        let held: BTreeSet<_> = machine.live().filter_map(|job| Some((job.id, job.lease.as_ref()?.token))).collect();
        assert!(leased.is_subset(&held), "seed {seed}: {leased:?} {held:?}");
        assert!(held.len() <= leased.len() + unanswered.len(), "seed {seed}: jobs were leased to nobody");
        calls += bench.answers.len() as u64;
        again += bench.again;
        overtaken += bench.overtaken;
    }
    assert!(calls > 1000 && again > 100 && overtaken > 20, "{calls} calls, {again} again, {overtaken} overtaken");
}

fn claim(handlers: &[&str]) -> Op {
    let handlers = handlers.iter().map(|&handler| handler.into()).collect();
    Op::Claim { worker: "w".into(), queues: vec![], handlers, max_jobs: 1, lease_ms: 3_600_000 }
}

fn submit() -> Op {
    Op::Submit { jobs: vec![NewJob { handler: "h".into(), ..NewJob::default() }] }
}

/// The answer to the one request that was answered in this time.
fn answer(cluster: &mut Cluster, ticket: Ticket, within_us: u64) -> Applied {
    cluster.run_for(within_us).unwrap();
    let answers = cluster.take_happenings().into_iter().filter_map(|(_, happening)| match happening {
        Happening::Answered(of, answer) if of == ticket => answer,
        Happening::Answered(..)
        | Happening::Observed(..)
        | Happening::Jobs(..)
        | Happening::Steered(..)
        | Happening::DiskFailed(..) => None,
    });
    answers.last().expect("an answer").expect("an acceptance")
}

fn run_until(cluster: &mut Cluster, done: impl Fn(&Cluster) -> bool) {
    for _ in 0..10_000 {
        if done(cluster) {
            return;
        }
        cluster.run_for(100).unwrap();
    }
    panic!("it does not come");
}

/// A claim stands in the log of the next leader, which has not applied it, nor the submit before it: there is nothing to
/// claim yet. Whoever asks again must not be told so, for there will be, and it is given to the claim in the log.
#[test]
fn a_claim_that_a_leader_inherited_is_not_answered_past_its_log() {
    let [n1, n2, n3] = [1, 2, 3].map(NodeId);
    let mut cluster = Cluster::new(Options::calm(3, 1)).unwrap();
    cluster.time_out(n1).unwrap();
    cluster.run_for(20_000).unwrap();
    let ticket = cluster.request(n1, Op::OpenSession).unwrap();
    let Reply::SessionOpened { session } = answer(&mut cluster, ticket, 20_000).reply else { panic!("no session") };
    let call = Some(SessionCall { session, seq: 1 });
    cluster.request(n1, submit()).unwrap();
    cluster.run_for(200_000).unwrap();

    // Another worker takes the job there is; the next job, and the claim, come before that is applied.
    let other = cluster.request(n1, claim(&["h", "g"])).unwrap();
    cluster.request(n1, submit()).unwrap();
    cluster.call(n1, claim(&["h"]), call).unwrap();
    // The disks of the others take the first of the three entries, then no more for now.
    cluster.run_for(800).unwrap();
    cluster.hold_disk(n2);
    cluster.hold_disk(n3);
    let first = answer(&mut cluster, other, 5_000).index;
    // They learn at the leader's next tick that it is committed.
    run_until(&mut cluster, |c| [n2, n3].iter().all(|n| c.replica(*n).unwrap().raft().commit() == first));
    cluster.crash(n1);
    cluster.release_disk(n2);
    cluster.release_disk(n3);
    cluster.run_for(1_000).unwrap();

    // One of them leads, and hears the other, but its own disk is slow: nothing of its own term is committed.
    run_until(&mut cluster, |cluster| cluster.leader().is_some());
    let next = cluster.leader().expect("elected");
    cluster.hold_disk(next);
    run_until(&mut cluster, |cluster| cluster.replica(next).unwrap().raft().in_touch());
    let replica = cluster.replica(next).unwrap();
    let (applied, last) = (replica.machine().applied(), replica.raft().log().last().0);
    assert_eq!((applied, last.0), (first.0, first.0 + 3), "submit, claim, and its own first entry");
    let again = cluster.call(next, claim(&["h"]), call).unwrap();
    cluster.release_disk(next);
    let answer = answer(&mut cluster, again, 50_000);
    let Reply::Claimed(jobs) = answer.reply else { panic!("{answer:?}") };
    assert_eq!((answer.index.0, jobs.len()), (first.0 + 2, 1), "by the entry of the first leader");
}
