use raftdeck_shared::{
    cluster::ClusterFile,
    wire::{
        ClockFault, CutFault, DiskFullFault, DiskStallFault, FailedFsyncFault, FaultSpec, HealFaultsRequest,
        InjectFaultRequest, LinkFault, OneWayCutFault, PauseFault,
    },
};

use super::*;
use crate::faults::strike::Way;

const N2: NodeId = NodeId(2);
const MS: Duration = Duration::from_millis(1);

fn faults(enabled: bool) -> Arc<Faults> {
    let mut text = String::from("cluster_id = \"x\"\n");
    for id in 1..=3 {
        text += &format!("[[nodes]]\nid = {id}\napi = \"127.0.0.1:1{id}\"\npeer = \"127.0.0.1:2{id}\"\n");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.toml");
    std::fs::write(&path, text).unwrap();
    let book = Arc::new(AddressBook::of(&ClusterFile::load(&path).unwrap()));
    Arc::new(Faults::new(enabled, NodeId(1), book, Arc::new(Observer::new(NodeId(1)))))
}

fn request(fault: Fault, ttl_ms: u64) -> InjectFaultRequest {
    InjectFaultRequest { spec: Some(FaultSpec { fault: Some(fault) }), ttl_ms, label: "test".into() }
}

fn inject(faults: &Arc<Faults>, fault: Fault) -> u64 {
    faults.inject(request(fault, 60_000)).unwrap().id
}

fn cut(peer: u64) -> Fault {
    Fault::Cut(CutFault { peer })
}

fn slow(delay_ms: u32) -> Fault {
    Fault::Link(LinkFault { peer: 2, delay_ms, ..Default::default() })
}

fn stall(write_ms: u32) -> Fault {
    Fault::DiskStall(DiskStallFault { write_ms })
}

/// The effect of a fault, in force or over.
fn effect_of(faults: &Faults, id: u64) -> FaultEffect {
    let all = [faults.active(), faults.ended()].concat();
    all.into_iter().find(|fault| fault.id == id).unwrap().effect.unwrap()
}

/// What was observed, in order: of which fault, about which peer, and what.
fn observed(faults: &Faults) -> Vec<(u64, u64, String)> {
    let page = faults.observer.page(1, 100);
    page.observations.iter().map(|o| (o.fault, o.peer, o.cause.clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_a_limit_is_refused_in_one_line_and_changes_nothing() {
    let off = faults(false);
    assert_eq!(off.inject(request(cut(2), 0)), Err(FaultError::NotEnabled));
    let on = faults(true);
    let refused = |request| match on.inject(request) {
        Err(FaultError::Invalid(line)) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(request(cut(2), 600_001)), "time to live is 600001 ms, the limit is 600000");
    assert_eq!(refused(request(cut(1), 0)), "n1 is no peer of this node");
    assert_eq!(refused(request(slow(10_001), 0)), "delay is 10001 ms, the limit is 10000");
    assert_eq!(refused(InjectFaultRequest::default()), "no fault was named");
    let label = "x".repeat(201);
    assert_eq!(refused(InjectFaultRequest { label, ..request(cut(2), 0) }), "label is 201 bytes, the limit is 200");
    assert_eq!((on.active(), on.ended(), observed(&on)), (vec![], vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_fault_ends_by_itself_and_is_still_told() {
    let faults = faults(true);
    let start = Instant::now();
    let long = faults.inject(request(cut(3), 600_000)).unwrap().id;
    let short = faults.inject(request(cut(2), 2_000)).unwrap();
    assert_eq!((short.left_ms, short.ended.as_str()), (2_000, ""));
    assert!(faults.stops(Way::Out, N2, 3));
    let mut changed = faults.changed();
    changed.changed().await.unwrap();
    assert_eq!(start.elapsed(), 2_000 * MS);
    assert!(!faults.stops(Way::Out, N2, 3));
    assert_eq!(faults.active().iter().map(|f| f.id).collect::<Vec<_>>(), [long]);
    let told = faults.ended();
    assert_eq!((told[0].id, told[0].ended.as_str(), told[0].effect.unwrap().dropped), (short.id, "ran out", 3));
    let expected = [(long, 3, "cut"), (short.id, 2, "cut"), (short.id, 2, "ran out")];
    assert_eq!(observed(&faults), expected.map(|(id, peer, what)| (id, peer, what.to_owned())));
    // The last one ends as well, and whoever ends them is there for the next one again.
    changed.changed().await.unwrap();
    assert_eq!((start.elapsed(), faults.active()), (600_000 * MS, vec![]));
    inject(&faults, cut(2));
    changed.changed().await.unwrap();
    changed.changed().await.unwrap();
    assert_eq!((start.elapsed(), faults.active()), (660_000 * MS, vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_same_again_is_one_fault_and_another_of_its_kind_takes_its_place() {
    let faults = faults(true);
    let first = inject(&faults, slow(50));
    let again = faults.inject(request(slow(50), 90_000)).unwrap();
    assert_eq!((again.id, again.left_ms, faults.active().len()), (first, 90_000, 1));
    let other = inject(&faults, slow(70));
    assert!(other > first);
    assert_eq!((faults.active().len(), faults.ended()[0].ended.as_str()), (1, "replaced"));
    // A cut of the same link is another matter.
    inject(&faults, cut(2));
    inject(&faults, Fault::OneWayCut(OneWayCutFault { peer: 2 }));
    assert_eq!(faults.active().len(), 3);
    let healed = faults.heal(&HealFaultsRequest { ids: vec![other], peers: vec![] });
    assert_eq!((healed.len(), healed[0].ended.as_str()), (1, "healed"));
    assert_eq!(faults.heal(&HealFaultsRequest { ids: vec![], peers: vec![2] }).len(), 2);
    inject(&faults, cut(3));
    inject(&faults, stall(10));
    assert_eq!(faults.heal(&HealFaultsRequest::default()).len(), 2);
    assert_eq!(faults.heal(&HealFaultsRequest::default()).len(), 0, "what is not there is no error");
    for _ in 0..ENDED_MAX {
        inject(&faults, cut(2));
        faults.heal(&HealFaultsRequest::default());
    }
    assert_eq!(faults.ended().len(), ENDED_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_cut_stops_both_ways_and_a_one_way_cut_what_leaves() {
    let faults = faults(true);
    let both = inject(&faults, cut(2));
    assert!(faults.is_cut(N2) && faults.stops(Way::Out, N2, 2) && faults.stops(Way::In, N2, 1));
    assert!(!faults.is_cut(NodeId(3)) && !faults.stops(Way::In, NodeId(3), 1));
    faults.heal(&HealFaultsRequest::default());
    let one_way = inject(&faults, Fault::OneWayCut(OneWayCutFault { peer: 2 }));
    assert!(faults.is_cut(N2) && faults.stops(Way::Out, N2, 5) && !faults.stops(Way::In, N2, 7));
    assert_eq!((effect_of(&faults, both).dropped, effect_of(&faults, one_way).dropped), (3, 5));
}

#[tokio::test(start_paused = true)]
async fn weather_is_drawn_for_each_message_and_counted() {
    let faults = faults(true);
    assert_eq!(faults.fates(N2, 3), None);
    let link =
        LinkFault { peer: 2, loss_ppm: 250_000, duplicate_ppm: 500_000, reorder_ppm: 500_000, ..Default::default() };
    let id = inject(&faults, Fault::Link(link));
    assert!(faults.has_weather(N2) && !faults.has_weather(NodeId(3)));
    let (by, fates) = faults.fates(N2, 1000).unwrap();
    let count = |which: fn(&Fate) -> bool| fates.iter().filter(|fate| which(fate)).count() as u64;
    let done = effect_of(&faults, id);
    assert_eq!((by, done.messages), (id, 1000));
    assert_eq!(done.dropped, count(|fate| *fate == Fate::Lost));
    assert_eq!(done.duplicated, count(|fate| matches!(fate, Fate::Passes { doubled: true, .. })));
    assert_eq!(done.reordered, count(|f| matches!(f, Fate::Passes { held_back, .. } if !held_back.is_zero())));
    assert!(done.dropped > 0 && done.duplicated > 0 && done.reordered > 0, "{done:?}");
    // What is known only later is counted also when it has ended.
    faults.heal(&HealFaultsRequest::default());
    faults.count(id, |done| done.delayed += 4);
    assert_eq!(effect_of(&faults, id).delayed, 4);
    faults.count(99, |done| done.delayed += 1);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_write_waits_as_long_as_it_was_told_and_no_longer_than_the_fault() {
    let faults = faults(true);
    let start = Instant::now();
    faults.before_log_write().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let id = inject(&faults, stall(40));
    for _ in 0..2 {
        faults.before_log_write().await.unwrap();
    }
    assert_eq!(start.elapsed(), 80 * MS);
    let done = effect_of(&faults, id);
    assert_eq!((done.stalls, done.stalled_ms, done.longest_stall_ms), (2, 80, 40));

    // A longer one takes its place: it is measured while it lasts, and ends with the fault.
    let long = inject(&faults, stall(600_000));
    let writing = tokio::spawn({
        let faults = Arc::clone(&faults);
        async move { faults.before_log_write().await }
    });
    tokio::time::sleep(300 * MS).await;
    assert!(!writing.is_finished());
    assert_eq!(effect_of(&faults, long).stalled_ms, 300);
    faults.heal(&HealFaultsRequest::default());
    writing.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), 380 * MS);
    assert_eq!(effect_of(&faults, long).longest_stall_ms, 300);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_and_a_failed_fsync_are_errors_as_of_the_disk() {
    for (fault, line) in [
        (Fault::DiskFull(DiskFullFault {}), "log.db: database or disk is full (by fault 1)"),
        (Fault::FailedFsync(FailedFsyncFault {}), "log.db: fsync failed (by fault 1)"),
    ] {
        let faults = faults(true);
        inject(&faults, fault);
        assert_eq!(faults.before_log_write().await.unwrap_err().to_string(), line);
        faults.heal(&HealFaultsRequest::default());
        faults.before_log_write().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_measured_from_when_it_holds_to_when_it_ends() {
    let faults = faults(true);
    assert!(!faults.holds_replica());
    let id = inject(&faults, Fault::Pause(PauseFault {}));
    tokio::time::sleep(5 * MS).await;
    assert!(faults.holds_replica());
    tokio::time::sleep(200 * MS).await;
    assert!(faults.holds_replica());
    assert_eq!(effect_of(&faults, id).stalled_ms, 200);
    faults.heal(&HealFaultsRequest::default());
    tokio::time::sleep(200 * MS).await;
    assert!(!faults.holds_replica());
    assert_eq!((effect_of(&faults, id).stalls, effect_of(&faults, id).stalled_ms), (1, 200));
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_jobs_is_off_by_what_was_said() {
    let faults = faults(true);
    assert_eq!(faults.job_clock(1_000), (1_000, None));
    let id = inject(&faults, Fault::Clock(ClockFault { offset_ms: -2_000 }));
    assert_eq!(faults.job_clock(5_000), (3_000, Some(id)));
    assert_eq!(faults.job_clock(1_000), (0, Some(id)), "before there was time");
    inject(&faults, Fault::Clock(ClockFault { offset_ms: 60_000 }));
    assert_eq!(faults.job_clock(1_000).0, 61_000);
}
