//! The console's tasks against a real gRPC server, which comes, goes and comes back.

use std::{sync::Arc, time::Duration};

use raftdeck_shared::{
    client::Client,
    ids::NodeId,
    wire::{self, observe_event::Event},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    fake::{Asked, Fake},
    fixture::status,
};
use crate::console::{
    hands::{Crew, Hands},
    model::Model,
    msg::{ActId, Body, Cmd, Msg, Slot},
    net::{Clock, Ears},
    theme::{Skin, Theme, UNICODE},
    update::update,
    world::{Conn, Fact},
};

/// Nothing here takes long; a test that hangs should say so.
const SOON: Duration = Duration::from_secs(10);

struct Console {
    model: Model,
    inbox: mpsc::Receiver<Msg>,
    ears: Ears,
    hands: Hands,
}

impl Console {
    fn watching(addresses: &[String]) -> Console {
        let (queue, inbox) = mpsc::channel(64);
        let ears = Ears { queue, newest: Arc::default(), retry: Arc::default(), clock: Clock::start() };
        let hands = Hands::new(Client::new(addresses.to_vec()).expect("not empty"), Crew::default(), ears.clone());
        let mut model = Model::new(String::new(), Skin::new(Theme::Mono, UNICODE));
        for (at, address) in addresses.iter().enumerate() {
            hands.reach(Slot(at), address);
            model.tell(Fact::Member { id: None, name: address.clone(), api: address.clone() });
        }
        Console { model, inbox, ears, hands }
    }

    /// Takes messages until the model is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Model) -> bool) {
        let reached = async {
            while !wanted(&self.model) {
                tokio::select! {
                    Some(msg) = self.inbox.recv() => self.take(msg),
                    () = self.ears.newest.changed() => {}
                }
                for msg in self.ears.newest.take() {
                    self.take(msg);
                }
            }
        };
        if timeout(SOON, reached).await.is_err() {
            panic!("never came: {what}; nodes {:?}", self.model.live.nodes);
        }
    }

    fn take(&mut self, msg: Msg) {
        for cmd in update(&mut self.model, msg) {
            self.hands.start(cmd);
        }
    }

    async fn done(&mut self, act: u64) -> Result<String, String> {
        let answer = async {
            loop {
                match self.inbox.recv().await.expect("the queue is open").body {
                    Body::Done(ActId(id), outcome) if id == act => return outcome,
                    _ => {}
                }
            }
        };
        timeout(SOON, answer).await.expect("an act ends")
    }
}

fn committed(seq: u64) -> Event {
    let observation = wire::Observation {
        seq,
        boot_id: "boot-1".into(),
        at_ms: seq,
        node: 1,
        term: 7,
        kind: wire::ObservationKind::Committed.into(),
        index: 1841 + seq,
        ..Default::default()
    };
    Event::Observations(wire::Observations { list: vec![observation] })
}

async fn asked(fake: &mut Fake) -> Asked {
    timeout(SOON, fake.asked.recv()).await.expect("the console asks").expect("the node lives")
}

#[tokio::test]
async fn a_node_that_dies_is_tried_again_and_resumed() {
    let first = wire::NodeStatus { observation_seq: 6, ..status(1) };
    let mut fake = Fake::start(first.clone(), None).await;
    let mut console = Console::watching(&[fake.address.to_string()]);
    console.until("live", |m| m.live.live() == 1).await;
    assert_eq!((console.model.live.nodes[0].id, console.model.live.nodes[0].name.as_str()), (Some(NodeId(1)), "n1"));
    assert_eq!(console.model.live.cluster_id, "demo-5", "learned from the first word");
    assert_eq!(asked(&mut fake).await, Asked::Observe { from_seq: None, boot_id: String::new() });
    fake.send(committed(7));
    fake.send(Event::Status(wire::NodeStatus { commit: 1848, ..first.clone() }));
    fake.send(Event::Dropped(3));
    console
        .until("the news", |m| {
            let node = &m.live.nodes[0];
            node.seen_seq == 7 && node.dropped == 3 && node.word().is_some_and(|s| s.commit.0 == 1848)
        })
        .await;

    let address = fake.kill().await;
    console.until("retrying", |m| matches!(m.live.nodes[0].conn, Conn::Retrying { .. })).await;
    assert!(console.model.live.nodes[0].word().is_some(), "its last word stays");
    let mut fake = Fake::start(first, Some(address)).await;
    console.until("live again", |m| m.live.live() == 1).await;
    assert_eq!(asked(&mut fake).await, Asked::Observe { from_seq: Some(8), boot_id: "boot-1".into() });
}

#[tokio::test]
async fn a_new_boot_is_heard_from_its_start() {
    let fake = Fake::start(wire::NodeStatus { observation_seq: 50, ..status(1) }, None).await;
    let mut console = Console::watching(&[fake.address.to_string()]);
    console.until("live", |m| m.live.live() == 1).await;
    let address = fake.kill().await;
    console.until("retrying", |m| m.live.live() == 0).await;
    let again = wire::NodeStatus { boot_id: "boot-1b".into(), observation_seq: 2, ..status(1) };
    let fake = Fake::start(again, Some(address)).await;
    console.until("live again", |m| m.live.live() == 1).await;
    fake.send(committed(1));
    console.until("its first observation", |m| m.live.nodes[0].seen_seq == 1).await;
}

#[tokio::test]
async fn a_full_queue_drops_observations_and_counts_them() {
    let fake = Fake::start(status(1), None).await;
    let mut console = Console::watching(&[fake.address.to_string()]);
    console.until("live", |m| m.live.live() == 1).await;
    // The queue of this console holds 64 and nobody empties it now.
    (1..=200).for_each(|seq| fake.send(committed(seq)));
    fake.send(Event::Status(wire::NodeStatus { commit: 9999, ..status(1) }));
    timeout(SOON, console.ears.newest.changed()).await.expect("the status passes the full queue");
    while let Ok(msg) = console.inbox.try_recv() {
        update(&mut console.model, msg);
    }
    assert_eq!(console.model.live.nodes[0].seen_seq, 64);
    fake.send(committed(201));
    console.until("all accounted for", |m| m.live.nodes[0].seen_seq == 201 && m.live.nodes[0].dropped == 136).await;
}

#[tokio::test]
async fn acts_reach_the_nodes_and_come_back_as_a_line() {
    let mut one = Fake::start(status(1), None).await;
    let mut two = Fake::start(wire::NodeStatus { faults_enabled: false, ..status(2) }, None).await;
    let addresses = [one.address.to_string(), two.address.to_string()];
    let mut console = Console::watching(&addresses);
    console.until("live", |m| m.live.live() == 2).await;
    for fake in [&mut one, &mut two] {
        let Asked::Observe { .. } = asked(fake).await else { panic!("it watches first") };
    }
    let hands = console.hands.clone();

    let cut = |slot, peer| (Slot(slot), wire::fault_spec::Fault::Cut(wire::CutFault { peer }));
    hands.start(Cmd::Strike { act: ActId(1), faults: vec![cut(0, 2)], ttl_ms: 60_000 });
    assert_eq!(console.done(1).await, Ok("done at 1 node".into()));
    let Asked::Inject(request) = asked(&mut one).await else { panic!("not a fault") };
    assert_eq!((request.ttl_ms, request.label.as_str()), (60_000, "console"));
    let fault = request.spec.and_then(|s| s.fault);
    assert_eq!(fault, Some(wire::fault_spec::Fault::Cut(wire::CutFault { peer: 2 })));

    let all = |slots: &[usize]| slots.iter().map(|slot| (Slot(*slot), Vec::new())).collect();
    hands.start(Cmd::Heal { act: ActId(2), at: all(&[0, 1]) });
    assert_eq!(console.done(2).await, Ok("done at 2 nodes".into()));

    hands.start(Cmd::Strike { act: ActId(3), faults: vec![cut(0, 2), cut(1, 1)], ttl_ms: 1 });
    let refused = format!("1 of 2 failed; {}: faults are off: start the node with --enable-faults", two.address);
    assert_eq!(console.done(3).await, Err(refused));

    hands.start(Cmd::Kill { act: ActId(4), slot: Slot(0) });
    let Asked::Heal = asked(&mut one).await else { panic!("the heal of before") };
    let Asked::Inject(_) = asked(&mut one).await else { panic!("not a fault") };
    let gone = one.kill().await;
    assert_eq!(console.done(4).await, Ok("done, its connection broke".into()));
    hands.start(Cmd::Heal { act: ActId(5), at: all(&[0]) });
    let failed = console.done(5).await.expect_err("nobody is there");
    assert!(failed.starts_with(&format!("1 of 1 failed; {gone}: ")), "{failed}");
    drop(two);
}
