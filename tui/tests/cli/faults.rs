//! The verbs that break a cluster on purpose, against nodes that only say what they were asked.

use raftdeck_shared::wire::{
    ClockFault, DiskFullFault, DiskStallFault, Fault, FaultEffect, FaultSpec, LinkFault, OneWayCutFault, PauseFault,
    fault_spec::Fault as Kind,
};

use crate::{
    call_at, error,
    fake::{Fake, Script},
    ok,
};

async fn three() -> ([Fake; 3], String) {
    let member = |id: u64| {
        move |script: &mut Script| {
            (script.status.node, script.status.name) = (id, format!("n{id}"));
            (script.status.voters, script.status.leader) = (vec![1, 2, 3], 1);
            script.healed = 1;
        }
    };
    let nodes = [Fake::start(member(1)).await, Fake::start(member(2)).await, Fake::start(member(3)).await];
    let connect = nodes.iter().map(|node| node.api.to_string()).collect::<Vec<_>>().join(",");
    (nodes, connect)
}

/// What each node was asked to do.
fn injected(nodes: &[Fake; 3]) -> [Vec<Kind>; 3] {
    nodes.each_ref().map(|node| {
        let faults = std::mem::take(&mut node.script.lock().unwrap().faults);
        faults.into_iter().map(|fault| fault.spec.unwrap().fault.unwrap()).collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_asked_of_the_node_where_it_strikes() {
    let (nodes, connect) = three().await;
    let call = async |words: &str| {
        let words = format!("{words} --connect {connect}");
        call_at(&nodes[0], &words.split(' ').collect::<Vec<_>>()).await
    };
    let weather = |peer| {
        let (delay_ms, jitter_ms, loss_ppm, duplicate_ppm, reorder_ppm) = (50, 10, 100_000, 5_000, 1_000_000);
        Kind::Link(LinkFault { peer, delay_ms, jitter_ms, loss_ppm, duplicate_ppm, reorder_ppm })
    };
    let what = "delay 50 ms, jitter up to 10 ms, loss 10 %, duplicates 0.5 %, reordering 100 %";
    let said = call("link n1 n2 --delay 50ms --jitter 10ms --loss 10% --duplicate 0.5% --reorder 100% --for 30s").await;
    let line = |way: &str, id: &str| format!("{way}: {what} for 30s; `raftdeck heal {id}` ends it");
    assert_eq!(said, ok(&[line("n1 -> n2", "n1:1"), line("n2 -> n1", "n2:1")].join("\n")));
    assert_eq!(injected(&nodes), [vec![weather(2)], vec![weather(1)], vec![]]);

    let said = call("link n3 n1 --loss 0.1% --one-way --json").await;
    let json = r#"{"faults":[{"id":"n3:1","kind":"link","what":"loss 0.1 %","where":"n3 -> n1"}],"for_ms":60000}"#;
    assert_eq!(said, ok(json));
    let loss = Kind::Link(LinkFault { peer: 1, loss_ppm: 1_000, ..Default::default() });
    assert_eq!(injected(&nodes), [vec![], vec![], vec![loss]]);

    assert_eq!(call("cut n2,n3 / n1 --one-way --json").await.0, 0);
    let cut = || vec![Kind::OneWayCut(OneWayCutFault { peer: 1 })];
    assert_eq!(injected(&nodes), [vec![], cut(), cut()]);

    for (words, kind, line) in [
        ("disk n2 --stall 400ms", Kind::DiskStall(DiskStallFault { write_ms: 400 }), "disk stall of 400 ms a write"),
        ("disk n2 --full", Kind::DiskFull(DiskFullFault {}), "disk full"),
        ("pause-node n2", Kind::Pause(PauseFault {}), "pause"),
        ("clock n2 --offset -30s", Kind::Clock(ClockFault { offset_ms: -30_000 }), "clock 30000 ms behind"),
    ] {
        assert_eq!(call(words).await, ok(&format!("n2: {line} for 1m; `raftdeck heal n2:1` ends it")));
        assert_eq!(injected(&nodes), [vec![], vec![kind], vec![]]);
    }

    // Nothing is set at all if one node would refuse, or makes no sense.
    nodes[1].script.lock().unwrap().status.faults_enabled = false;
    let refused = error(1, "n2 takes no faults: it was started without --enable-faults");
    for words in ["link n1 n2 --delay 5ms", "cut n3 / n2 --one-way", "pause-node n2", "disk n2 --full"] {
        assert_eq!(call(words).await, refused, "{words}");
    }
    assert_eq!(call("link n1 n1 --loss 1%").await, error(2, "n1 has no link to itself"));
    let line = "a one-way cut is from one side to another, not between 3 sides";
    assert_eq!(call("cut n1 / n2 / n3 --one-way").await, error(2, line));
    assert_eq!(call("pause-node n9").await, error(1, "no node \"n9\": the cluster has n1, n2, n3"));
    assert_eq!(injected(&nodes), [vec![], vec![], vec![]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_listed_with_what_they_did_and_healed_by_id() {
    let (nodes, connect) = three().await;
    let call = async |words: &str| {
        let words = format!("{words} --connect {connect}");
        call_at(&nodes[0], &words.split(' ').collect::<Vec<_>>()).await
    };
    assert_eq!(call("faults").await, ok("no faults"));
    assert_eq!(call("faults --json").await, ok(r#"{"faults":[],"unreachable":[]}"#));
    let spec = |fault| Some(FaultSpec { fault: Some(fault) });
    let slow = Kind::Link(LinkFault { peer: 2, delay_ms: 50, ..Default::default() });
    let done = FaultEffect { messages: 40, delayed: 38, delayed_us: 38 * 50_400, ..Default::default() };
    nodes[0].script.lock().unwrap().status.faults = vec![
        Fault { id: 12, spec: spec(slow), left_ms: 7_001, effect: Some(done), ..Default::default() },
        // Of a newer node: this program has no words for it.
        Fault { id: 13, left_ms: 1, ..Default::default() },
    ];
    let done = FaultEffect { stalls: 1, stalled_ms: 900, longest_stall_ms: 900, ..Default::default() };
    let ended = "ran out\u{1b}[2J".to_owned();
    nodes[2].script.lock().unwrap().status.ended_faults =
        vec![Fault { id: 3, spec: spec(Kind::Pause(PauseFault {})), effect: Some(done), ended, ..Default::default() }];
    let (code, out, err) = call("faults").await;
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> =
        out.lines().map(|line| line.split("  ").filter(|c| !c.is_empty()).map(str::trim).collect()).collect();
    assert_eq!(lines[0], ["ID", "FAULT", "WHERE", "LEFT", "EFFECT"]);
    assert_eq!(lines[1], ["n1:12", "delay 50 ms", "n1 -> n2", "8 s", "40 messages, 38 delayed by 50.4 ms on average"]);
    assert_eq!((lines[2][0], lines[2][1], lines[2][2]), ("n3:3", "pause", "n3"));
    assert!(lines[2][3].starts_with("ran out") && lines[2][4] == "stood still for 900 ms", "{out}");
    assert!(!out.contains('\u{1b}'), "{out:?}");
    let json: serde_json::Value = serde_json::from_str(&call("faults --json").await.1).unwrap();
    assert_eq!(
        (json["faults"][0]["measured"]["delayed_us"].as_u64(), json["faults"][0]["ended"].as_str()),
        (Some(1_915_200), None)
    );

    let spec = spec(Kind::Link(LinkFault { peer: 2, loss_ppm: 1_000_000, ..Default::default() }));
    for (ended, effect) in [("", "nothing yet"), ("ran out", "nothing")] {
        let fault =
            Fault { id: 4, spec, effect: Some(FaultEffect::default()), ended: ended.into(), ..Default::default() };
        nodes[2].script.lock().unwrap().status.ended_faults = vec![fault];
        let (_, out, _) = call("faults").await;
        assert!(out.trim_end().ends_with(&format!("  {effect}")), "{out}");
    }

    let healed = call("heal n1:12 n1:13 n3 n3:3").await;
    assert_eq!(healed, ok("n1: 1 fault healed\nn3: 1 fault healed"));
    let heals = nodes.each_ref().map(|node| std::mem::take(&mut node.script.lock().unwrap().heals));
    assert_eq!(heals, [vec![vec![12, 13]], vec![], vec![vec![]]], "a whole node is not asked for one fault beside");
    assert_eq!(call("heal").await.0, 0);
    assert!(nodes.iter().all(|node| node.script.lock().unwrap().heals == [Vec::<u64>::new()]));
    for word in ["n9:1", "n1:x", "12"] {
        assert_eq!(
            call(&format!("heal {word}")).await,
            error(1, &format!("no node {word:?}: the cluster has n1, n2, n3"))
        );
    }
}
