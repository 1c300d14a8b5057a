//! A scenario, or a seed of the swarm, for somebody who looks on: the same run, with a scene for everything that happens.
//!
//! The run is as fast as whoever takes the scenes. A panic on the way (the program's own laws are assertions) is told like
//! any other law that was broken.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    cluster::watch::{Sink, Unwatched},
    play::{PlayError, perform},
    scenario::{Command, Scenario},
    swarm::{SwarmOptions, run_watched},
    violation::Violation,
};

/// How what was watched came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// No law was broken, and everything came as it was expected.
    pub well: bool,
    /// In words; what broke, if something did.
    pub words: String,
}

/// Plays a scenario for somebody who looks on. None if that one left before the end.
#[must_use]
pub fn show_scenario(scenario: &Scenario, seed: u64, sink: &Sink) -> Option<Ending> {
    let run = || perform(scenario, seed, Some(sink), |_, _| {});
    Some(match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Ending { well: true, words: format!("the scenario is over: {}", held(scenario)) },
        Ok(Err(error @ (PlayError::Unexpected { .. } | PlayError::Violation { .. } | PlayError::Parse(_)))) => {
            Ending { well: false, words: error.to_string() }
        }
        Err(panic) if panic.is::<Unwatched>() => return None,
        Err(panic) => Ending { well: false, words: asserted(&*panic).to_string() },
    })
}

/// Runs a seed of the swarm for somebody who looks on. None if that one left before the end.
#[must_use]
pub fn show_seed(seed: u64, options: &SwarmOptions, sink: &Sink) -> Option<Ending> {
    let run = || run_watched(seed, options, Some(Arc::clone(sink)));
    Some(match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => match outcome.violation {
            None => {
                let jobs = outcome.counts.jobs;
                Ending {
                    well: true,
                    words: format!("the seed is over: no law was broken, none of {jobs} jobs is lost"),
                }
            }
            Some(law) => Ending { well: false, words: law.to_string() },
        },
        Err(panic) if panic.is::<Unwatched>() => return None,
        Err(panic) => Ending { well: false, words: asserted(&*panic).to_string() },
    })
}

/// A law that the program itself watches over.
pub(crate) fn asserted(panic: &(dyn Any + Send)) -> Violation {
    let words = panic.downcast_ref::<String>().cloned();
    let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
    Violation::Assertion { words }
}

fn held(scenario: &Scenario) -> String {
    match scenario.lines.iter().filter(|(_, command)| matches!(command, Some(Command::Expect(_)))).count() {
        0 => "no law was broken".into(),
        1 => "no law was broken, and its expectation held".into(),
        n => format!("no law was broken, and all {n} expectations held"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ops::ControlFlow,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering},
        },
    };

    use raftdeck_raft::NodeId;

    use super::*;
    use crate::{
        cluster::watch::{News, Scene},
        swarm::run_seed,
    };

    const THREE: &str = "# Three nodes.\ncluster 3\ntimeout n1\nrun 100ms\nsubmit n1 2\nrun 50ms\ncrash n3\nrun 10ms\nstart n3\nrun 50ms\n";

    fn scenes(text: &str) -> (Vec<Scene>, Option<Ending>) {
        let scenes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&scenes);
        let sink: Sink = Arc::new(move |scene| {
            kept.lock().unwrap().push(scene);
            ControlFlow::Continue(())
        });
        let ending = show_scenario(&Scenario::parse(text).unwrap(), 1, &sink);
        let scenes = std::mem::take(&mut *scenes.lock().unwrap());
        (scenes, ending)
    }

    #[test]
    fn a_run_that_is_watched_is_the_run_that_nobody_watches() {
        let options = SwarmOptions { seconds: 2, nodes: None, only: None, tells: true };
        for seed in [3, 4] {
            let alone = run_seed(seed, &options);
            let count = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&count);
            let sink: Sink = Arc::new(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                ControlFlow::Continue(())
            });
            let watched = run_watched(seed, &options, Some(sink));
            assert_eq!((watched.counts, watched.told), (alone.counts, alone.told));
            assert!(count.load(Ordering::Relaxed) > 100);
        }
    }

    #[test]
    fn lines_come_before_what_they_do_and_time_never_runs_back() {
        let (scenes, ending) = scenes(&format!("{THREE}expect leader n1\n"));
        assert!(scenes.is_sorted_by_key(|scene| scene.at_us));
        let news: Vec<&News> = scenes.iter().flat_map(|scene| &scene.news).collect();
        let line = |wanted: &str| news.iter().position(|n| matches!(n, News::Line(text, _) if text == wanted)).unwrap();
        let down = news.iter().position(|n| matches!(n, News::Down(NodeId(3), _))).unwrap();
        let back = news.iter().rposition(|n| matches!(n, News::Up(word) if word.status.node == 3)).unwrap();
        assert!(line("# Three nodes.") < line("crash n3") && line("crash n3") < down);
        assert!(down < line("start n3") && line("start n3") < back);
        assert!(back < line("expect leader n1: so it is"));
        let words = "the scenario is over: no law was broken, and its expectation held";
        assert_eq!(ending, Some(Ending { well: true, words: words.into() }));
    }

    #[test]
    fn what_comes_otherwise_is_how_it_ends() {
        let (_, ending) = scenes(&format!("{THREE}expect no leader\n"));
        assert_eq!(ending, Some(Ending { well: false, words: "expect no leader: n1 leads".into() }));
    }

    #[test]
    fn who_leaves_ends_it() {
        let sink: Sink =
            Arc::new(
                |scene: Scene| if scene.at_us < 60_000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) },
            );
        assert_eq!(show_scenario(&Scenario::parse(THREE).unwrap(), 1, &sink), None);
        let options = SwarmOptions { seconds: 1, nodes: Some(3), only: None, tells: false };
        assert_eq!(show_seed(1, &options, &sink), None);
    }
}
