//! A simulated cluster as a source of the console: the simulator runs on a thread of its own and tells what real nodes would
//! tell over the network; here it becomes the same facts.
//!
//! Law: the simulation is never ahead by more than a bounded number of scenes, and stands still while nobody takes them. So
//! it is the console that says how far time goes.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    thread,
};

use raftdeck_shared::ids::NodeId;
use raftdeck_sim::{Ending, News, ParseError, Scenario, Scene, Sink, SwarmOptions, Word, show_scenario, show_seed};
use tokio::sync::mpsc;

use super::{
    film::Record,
    msg::{NEVER, NodeMsg, Slot, Time},
    status::{Fault, FaultKind, Status},
    text::clean,
    theme::Tone,
    world::Fact,
};

/// Scenes that wait for the console.
const AHEAD_MAX: usize = 256;

/// Where simulated nodes are reached.
const NOWHERE: &str = "simulated";

/// The thread on which it runs. What panics there is caught, and told as a law that was broken.
pub(crate) const THREAD: &str = "simulation";

/// A piece of simulated time.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    pub(crate) records: Vec<Record>,
    /// All before it has been told.
    pub(crate) upto_ms: u64,
    /// Nothing comes after it.
    pub(crate) ending: Option<Ending>,
}

#[derive(Clone, Debug)]
enum What {
    Scenario(Scenario),
    Swarm(SwarmOptions),
}

/// A simulation to be looked at.
#[derive(Clone, Debug)]
pub struct Simulation {
    what: What,
    pub(crate) seed: u64,
    /// The command that runs it again, without a screen.
    again: String,
}

impl Simulation {
    /// Of a scenario.
    #[must_use]
    pub fn of_scenario(scenario: Scenario, seed: u64, again: String) -> Simulation {
        Simulation { what: What::Scenario(scenario), seed, again }
    }

    /// Of a seed with random faults.
    #[must_use]
    pub fn of_seed(seed: u64, options: SwarmOptions, again: String) -> Simulation {
        Simulation { what: What::Swarm(options), seed, again }
    }

    /// Of a calm cluster of so many nodes, 1 to 50: one is elected, and then takes ten jobs each tenth of a second.
    ///
    /// # Errors
    /// There cannot be so many nodes.
    pub fn of_nodes(nodes: u64, seconds: u64, seed: u64) -> Result<Simulation, ParseError> {
        let tenths =
            "submit n1 10\nrun 100ms\n".repeat(usize::try_from(seconds.saturating_mul(10)).unwrap_or(usize::MAX));
        let text = format!("cluster {nodes}\ntimeout n1\nrun 100ms\n{tenths}expect leader n1\n");
        Ok(Simulation::of_scenario(Scenario::parse(&text)?, seed, String::new()))
    }

    /// Why nothing can be done to it from here.
    pub(crate) fn hands_off(&self) -> &'static str {
        match self.what {
            What::Scenario(_) => "a simulation takes its faults from its scenario",
            What::Swarm(_) => "a simulation takes its faults from its seed",
        }
    }

    /// Starts it. It stands still where nobody takes what it tells, and ends when the receiver is dropped.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(&self) -> std::io::Result<mpsc::Receiver<Stretch>> {
        let (queue, receiver) = mpsc::channel(AHEAD_MAX);
        let of = self.clone();
        thread::Builder::new().name(THREAD.into()).spawn(move || of.run(&queue))?;
        Ok(receiver)
    }

    fn run(&self, queue: &mpsc::Sender<Stretch>) {
        let teller = Arc::new(Mutex::new(Teller::default()));
        let (told, out) = (Arc::clone(&teller), queue.clone());
        let sink: Sink = Arc::new(move |scene| {
            let stretch = told.lock().expect("no holder panics").tell(scene);
            if out.blocking_send(stretch).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let ending = match &self.what {
            What::Scenario(scenario) => show_scenario(scenario, self.seed, &sink),
            What::Swarm(options) => show_seed(self.seed, options, &sink),
        };
        if let Some(ending) = ending {
            let last = teller.lock().expect("no holder panics").end(ending, &self.again);
            // A console that is closed needs no end.
            let _ = queue.blocking_send(last);
        }
    }
}

/// Makes facts of scenes.
#[derive(Debug, Default)]
struct Teller {
    slots: BTreeMap<NodeId, Slot>,
    at_ms: u64,
}

impl Teller {
    fn tell(&mut self, scene: Scene) -> Stretch {
        self.at_ms = scene.at_us / 1000;
        let facts = scene.news.into_iter().filter_map(|news| self.fact(news)).collect();
        self.stretch(facts, None)
    }

    fn end(&self, ending: Ending, again: &str) -> Stretch {
        let words = clean(&ending.words);
        let facts = match ending.well {
            true => vec![Fact::Own(Tone::Good, words)],
            false => vec![Fact::Broken(words), Fact::Own(Tone::Plain, format!("again: {}", clean(again)))],
        };
        self.stretch(facts, Some(ending))
    }

    fn stretch(&self, facts: Vec<Fact>, ending: Option<Ending>) -> Stretch {
        // Time of the day is time since the start.
        let at = Time { run_ms: self.at_ms, unix_ms: self.at_ms };
        let records = facts.into_iter().map(|fact| Record { at, fact }).collect();
        Stretch { records, upto_ms: self.at_ms, ending }
    }

    fn fact(&mut self, news: News) -> Option<Fact> {
        let of_node = |id: &NodeId, news| self.slots.get(id).map(|slot| Fact::Node(*slot, news));
        match news {
            News::Joined(id) => {
                self.slots.insert(id, Slot(self.slots.len()));
                Some(Fact::Member { id: Some(id), name: id.to_string(), api: NOWHERE.into() })
            }
            News::Up(word) => of_node(&NodeId(word.status.node), NodeMsg::Snapshot(Arc::new(status(word)))),
            News::Word(word) => of_node(&NodeId(word.status.node), NodeMsg::Status(Arc::new(status(word)))),
            News::Down(id, why) => of_node(&id, NodeMsg::Retrying { at_run_ms: NEVER, why: clean(&why) }),
            News::Observed(o) => of_node(&NodeId(o.node), NodeMsg::Observed(Arc::new(*o))),
            News::Line(text, cue) => Some(Fact::Script { text: clean(&text), cue }),
            News::Told(text) => Some(Fact::Own(Tone::Plain, clean(&text))),
        }
    }
}

fn status(word: Word) -> Status {
    let mut status = Status::from_wire(*word.status);
    let plight = |(peer, words): (Option<NodeId>, String)| {
        let kind = FaultKind::Other { peer, words: clean(&words), effect: String::new() };
        Fault { id: 0, kind, left_ms: NEVER, dropped: 0 }
    };
    status.faults.extend(word.plights.into_iter().map(plight));
    status
}
