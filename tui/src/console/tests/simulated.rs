//! The console on a simulation: time under the operator's hand, breakpoints, and what it shows.

use raftdeck_sim::{Scenario, SwarmOptions};

use super::screens::snapshot;
use crate::console::{Look, Simulation, Stage, model::Source, record::Writer, theme::Tone};

/// A leader is cut off and takes a job that is never done; the others elect another.
const CUT: &str = "# A leader that is cut off.
cluster 5
timeout n1
run 100ms
submit n1 2
run 50ms
cut n1 / n2 n3 n4 n5
submit n1
run 1s
crash n5
run 100ms
heal
start n5
run 500ms
expect leader n3
";

/// More is lost than any cluster can bear.
const LOST: &str = "cluster 3
timeout n1
run 100ms
submit n1 3
run 20ms
cut n1 / n2 n3
lose n2
lose n3
start n2
start n3
run 2s
";

fn open(text: &str) -> Stage {
    let scenario = Scenario::parse(text).unwrap();
    stage(Simulation::of_scenario(scenario, 7, "raftdeck sim a.scn --seed 7".into()))
}

fn stage(simulation: Simulation) -> Stage {
    Stage::simulating(simulation, Look::default()).unwrap()
}

/// Milliseconds of the simulation: those that are shown, and those that there are.
fn times(console: &Stage) -> (u64, u64) {
    let Source::Simulation(run) = &console.model.source else { panic!("it is a simulation") };
    (console.model.shown().now.run_ms, run.upto_ms())
}

fn lines(console: &Stage) -> Vec<String> {
    console.model.shown().wanted(console.model.every, None).into_iter().map(|line| line.text).collect()
}

fn toast(console: &Stage) -> (Tone, &str) {
    console.model.toast.as_ref().map_or((Tone::Plain, ""), |toast| (toast.tone, &toast.text))
}

fn leader(console: &Stage) -> Option<u64> {
    crate::console::picture::leader_and_jobs(console.model.shown())
        .0
        .and_then(|slot| console.model.shown().node(slot)?.id)
        .map(|id| id.0)
}

#[test]
fn it_stands_still_at_its_beginning() {
    let mut console = open(CUT);
    console.pass(60_000);
    assert_eq!(times(&console), (0, 0));
    assert_eq!(lines(&console), ["# A leader that is cut off.", "cluster 5"]);
    assert_eq!(console.model.shown().live(), 5);
}

#[test]
fn time_goes_by_steps_as_far_as_is_asked_and_back() {
    let mut console = open(CUT);
    console.write(".");
    assert_eq!(times(&console).0, 100);
    assert!(times(&console).1 < 120, "it is not simulated ahead: {:?}", times(&console));
    assert_eq!(leader(&console), Some(1));
    console.write(",");
    assert_eq!((times(&console).0, leader(&console)), (0, None));
    console.write(":until 0.4\n");
    assert_eq!(times(&console).0, 400);
    console.write(":at 00:00:01\n");
    assert_eq!(times(&console).0, 1_000);
    console.write(":at 00:00:00.100\n");
    assert_eq!((times(&console).0, leader(&console)), (100, Some(1)));
    console.write("L");
    assert_eq!((times(&console).0, lines(&console).last().unwrap().contains("over")), (times(&console).1, false));
    console.write("L");
    assert_eq!(times(&console), (1_750, 1_750), "once more is on to the end");
}

#[test]
fn a_step_is_one_line_of_what_is_listed() {
    let mut console = open(CUT);
    console.write("]]");
    assert_eq!(
        lines(&console).last().unwrap(),
        "n1 asks who would vote for it, still in T0: heard no leader for 420 ms"
    );
    let story = lines(&console).len();
    console.model.focus = crate::console::model::Pane::Events;
    console.write("e");
    for more in 1..=4 {
        console.write("]");
        assert_eq!(lines(&console).len(), story + more, "{:?}", lines(&console));
    }
    assert_eq!(lines(&console).last().unwrap(), "n4 would vote for n1 in T1");
}

#[test]
fn it_runs_to_what_is_named_and_no_further() {
    let mut console = open(CUT);
    let mut to = |word: &str| {
        console.write(&format!(":until {word}\n"));
        (times(&console).0, lines(&console).last().unwrap().clone(), leader(&console))
    };
    let (at, said, leads) = to("election");
    assert_eq!((at, said.as_str(), leads), (1, "n1 starts an election for T1: 3 would vote for it", None));
    let (at, said, leads) = to("leader");
    assert_eq!((at, said.as_str()), (2, "n1 LEADS T1: 3 votes"));
    assert_eq!(leads, Some(1), "what it says of itself is shown with what it observed");
    let (at, _, leads) = to("commit");
    assert_eq!((at, leads), (3, Some(1)));
    let (at, said, leads) = to("fault");
    assert_eq!((at, said.as_str(), leads), (150, "> cut n1 / n2 n3 n4 n5", Some(1)));
    console.write("[");
    let before = lines(&console).len();
    console.write("[");
    assert!(lines(&console).len() < before, "each step back is one");
    let mut to = |word: &str| {
        console.write(&format!(":until {word}\n"));
        (times(&console).0, lines(&console).last().unwrap().clone(), leader(&console))
    };
    to("fault");
    let (at, said, _) = to("leader");
    assert!((400..800).contains(&at) && said.contains("n3 leads T2"), "{at} {said}");
    assert_eq!(to("fault").1, "> crash n5");
    assert_eq!(to("event").1, "> run 100ms");
    to("fault");
    let over = "the scenario is over: no law was broken, and its expectation held";
    assert_eq!(toast(&console), (Tone::Good, &*format!("{over}; no fault came")));
    assert_eq!(times(&console), (1_750, 1_750));
    console.write(":until fault\n");
    assert_eq!(toast(&console).1, format!("{over}; no fault after this"));
    console.write("{");
    assert!(times(&console).0 < 1_750, "what was simulated can be gone back through");
    console.write(":until soon\n");
    assert!(toast(&console).1.starts_with("\"soon\" is nothing to go on to"));
}

#[test]
fn what_is_played_goes_with_the_clock_to_its_end() {
    let mut console = open(CUT);
    console.write("p");
    for _ in 0..10 {
        console.pass(33);
    }
    assert!((290..=330).contains(&times(&console).0), "{:?}", times(&console));
    assert!(times(&console).1 <= times(&console).0 + 80, "{:?}", times(&console));
    console.write("p");
    let at = times(&console).0;
    console.pass(5_000);
    assert_eq!(times(&console).0, at, "paused");
    console.write("p+++");
    for _ in 0..10 {
        console.pass(33);
    }
    assert_eq!(times(&console), (1_750, 1_750));
    assert!(!console.model.playing());
    assert_eq!(toast(&console).0, Tone::Good);
}

#[test]
fn a_broken_law_is_red_with_its_evidence_and_the_command() {
    let mut console = open(LOST);
    console.write(":until violation\n");
    assert_eq!(console.model.shown().checks.broken, ["T1: both n1 and n2 lead"], "the console sees it by itself");
    console.write("L");
    assert_eq!(toast(&console), (Tone::Bad, "BROKEN: run 2s: two leaders in T1: n1 and n2"));
    let said = lines(&console);
    let last = said.last_chunk::<2>().unwrap();
    assert_eq!(last, &["BROKEN: run 2s: two leaders in T1: n1 and n2", "again: raftdeck sim a.scn --seed 7"]);
    let mut console = open("cluster 1\nrun 10ms\nexpect leader n1\nrun 10ms\n");
    console.write("L");
    assert_eq!(toast(&console), (Tone::Bad, "BROKEN: expect leader n1: nobody leads"));
    assert!(console.model.shown().checks.broken[0].starts_with("expect leader n1"));
}

#[test]
fn its_faults_are_those_of_the_scenario() {
    let mut console = open(CUT);
    for key in ["K", "x", "H", "r", "s"] {
        console.write(key);
        assert!(
            toast(&console).1.ends_with("a simulation takes its faults from its scenario"),
            "{key}: {:?}",
            toast(&console)
        );
        assert!(console.model.dialog.is_none(), "{key}");
    }
}

#[test]
fn a_seed_runs_its_faults_and_a_recording_of_it_shows_them_again() {
    let options = SwarmOptions { seconds: 2, nodes: Some(3), only: None, tells: false };
    let mut console = stage(Simulation::of_seed(3, options, String::new()));
    assert!(lines(&console)[0].starts_with("# seed 3: 3 nodes, and of faults it has "));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.jsonl");
    let mut writer = Writer::begin(&file, &console.model.live, &console.model.film).unwrap();
    console.write(":until fault\n");
    assert!(lines(&console).iter().any(|line| line.starts_with("> fault ")));
    console.write(":until end\n");
    assert!(toast(&console).1.starts_with("the seed is over: no law was broken"), "{:?}", toast(&console));
    writer.follow(&console.model.film).unwrap();
    let records = crate::console::record::read(&file).unwrap();
    let (_, world) = crate::console::film::Film::of_records(records.into_iter());
    let told = |world: &crate::console::world::World| -> Vec<String> {
        let lines = world.wanted(false, None).into_iter().map(|line| line.text);
        lines.filter(|line| line.starts_with("> ")).collect()
    };
    assert_eq!(told(&world), told(&console.model.live));
}

#[test]
fn screens() {
    let mut cut = open(CUT);
    cut.write(":until fault\n:until leader\n");
    let mut down = open(CUT);
    down.write(":until fault\n:until fault\n.");
    let mut lost = open(LOST);
    lost.write("L");
    let mut fifty = stage(Simulation::of_nodes(50, 1, 1).unwrap());
    fifty.write(":until 0.5\n");
    fifty.model.toast = None;
    for (width, height) in [(80, 24), (120, 40)] {
        let states = [
            ("start", &open(CUT)),
            ("the next leader", &cut),
            ("one is down", &down),
            ("broken", &lost),
            ("fifty nodes", &fifty),
        ];
        let screens = states.map(|(state, console)| format!("== {state}\n{}", console.text((width, height))));
        snapshot(&format!("simulated_{width}x{height}"), &screens.concat());
    }
}
