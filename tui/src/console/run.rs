//! A simulation as it is looked at: how far it has got, and what it is asked to go on to.
//!
//! What has been simulated is a film like any other. Whoever wants to see more sets a goal; while there is one (or while it
//! is played and the film is short), the loop takes what the simulation tells. Without one it stands still: that is how time
//! is under the operator's control.
//!
//! Laws:
//! - what is shown is the film at a position, whatever has been simulated beyond it;
//! - a goal is given up only for another one, by the operator, or at the end of the simulation.

use raftdeck_shared::wire::{self, ObservationKind as Kind};

use super::{
    film::Mark,
    model::{Model, Source},
    msg::NodeMsg,
    past,
    simulation::{Simulation, Stretch},
    text::span_ms,
    theme::Tone,
    world::Fact,
};

/// What to stop at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Anything that a node observed, and all below.
    Observation,
    /// A line of the story.
    Event,
    /// A fault, or a role that changed.
    Turn,
    /// A node asks for votes.
    Election,
    /// A node leads that did not.
    Leader,
    Commit,
    Fault,
    /// A law is broken, or something comes otherwise than the scenario says.
    Violation,
}

impl Stop {
    pub(crate) const NAMED: [Stop; 6] =
        [Stop::Election, Stop::Leader, Stop::Commit, Stop::Fault, Stop::Violation, Stop::Event];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Stop::Observation => "observation",
            Stop::Event => "event",
            Stop::Turn => "fault or election",
            Stop::Election => "election",
            Stop::Leader => "leader",
            Stop::Commit => "commit",
            Stop::Fault => "fault",
            Stop::Violation => "violation",
        }
    }

    pub(crate) fn is(self, fact: &Fact, mark: Mark) -> bool {
        let observed = |is: &dyn Fn(&wire::Observation) -> bool| match fact {
            Fact::Node(_, NodeMsg::Observed(o)) => is(o),
            Fact::Node(_, _)
            | Fact::Member { .. }
            | Fact::Moved { .. }
            | Fact::Jobs(_)
            | Fact::Job(_)
            | Fact::Own(_, _)
            | Fact::Script { .. }
            | Fact::Broken(_) => false,
        };
        match self {
            Stop::Observation => mark >= Mark::Seen,
            Stop::Event => mark >= Mark::Event,
            Stop::Turn => mark >= Mark::Turn,
            Stop::Election => observed(&|o| o.kind() == Kind::Role && o.role() == wire::Role::Candidate),
            Stop::Leader => observed(&|o| o.kind() == Kind::Role && o.role() == wire::Role::Leader),
            Stop::Commit => observed(&|o| o.kind() == Kind::Committed),
            Stop::Fault => match fact {
                Fact::Script { cue, .. } => cue.is_fault(),
                Fact::Own(tone, _) => *tone == Tone::You,
                _ => observed(&|o| matches!(o.kind(), Kind::Fault | Kind::Damage)),
            },
            Stop::Violation => mark == Mark::Broken,
        }
    }
}

/// What a simulation is asked to go on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Time(u64),
    /// The records before `from` are none.
    Stop {
        stop: Stop,
        from: u64,
    },
    End,
}

impl Goal {
    /// Where it goes, in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Goal::Time(ms) => format!("to {}", span_ms(*ms)),
            Goal::Stop { stop, .. } => format!("to the next {}", stop.name()),
            Goal::End => "to its end".into(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) of: Simulation,
    upto_ms: u64,
    goal: Option<Goal>,
    ending: Option<(Tone, String)>,
}

impl Run {
    pub(crate) fn new(of: Simulation) -> Run {
        Run { of, upto_ms: 0, goal: None, ending: None }
    }

    /// So far it has been simulated.
    pub(crate) fn upto_ms(&self) -> u64 {
        self.upto_ms
    }

    pub(crate) fn goal(&self) -> Option<&Goal> {
        self.goal.as_ref()
    }

    /// How it ended; none while it goes on.
    pub(crate) fn ending(&self) -> Option<&(Tone, String)> {
        self.ending.as_ref()
    }

    pub(crate) fn go_on(&mut self, goal: Goal) {
        self.goal = self.ending.is_none().then_some(goal);
    }

    /// Gives its goal up, and says whether it had one.
    pub(crate) fn go_no_further(&mut self) -> bool {
        self.goal.take().is_some()
    }
}

/// Whether the simulation is to tell more now.
pub(crate) fn wants(model: &Model) -> bool {
    match &model.source {
        Source::Simulation(run) if run.ending.is_none() => {
            run.goal.is_some() || model.past.as_ref().is_some_and(|past| past::hungry(past, run.upto_ms))
        }
        Source::Simulation(_) | Source::Cluster | Source::Recording => false,
    }
}

/// Takes what was simulated, and shows it if it is what was asked for.
pub(crate) fn take(model: &mut Model, stretch: Stretch) {
    for record in stretch.records {
        model.learn(record);
    }
    let Source::Simulation(run) = &mut model.source else { return };
    run.upto_ms = run.upto_ms.max(stretch.upto_ms);
    run.ending = stretch.ending.map(|ending| match ending.well {
        true => (Tone::Good, ending.words),
        false => (Tone::Bad, format!("BROKEN: {}", ending.words)),
    });
    pursue(model);
}

/// Shows the goal if it has been reached; on the way to it, the newest.
fn pursue(model: &mut Model) {
    let Source::Simulation(run) = &mut model.source else { return };
    let Some(goal) = run.goal else { return };
    let (upto_ms, ending) = (run.upto_ms, run.ending.clone());
    let reached = match goal {
        Goal::Time(ms) => (upto_ms >= ms).then_some(Reached::Time(ms)),
        Goal::Stop { stop, from } => {
            run.goal = Some(Goal::Stop { stop, from: model.film.end() });
            let wanted = |fact: &Fact, mark: Mark| stop.is(fact, mark);
            let found = model.film.find(from, false, wanted);
            found.map(|at| Reached::Position(at + 1))
        }
        Goal::End => None,
    };
    match (reached, ending) {
        (Some(Reached::Time(ms)), _) => past::to(model, ms),
        (Some(Reached::Position(position)), _) => past::to_position(model, position),
        (None, Some((tone, words))) => {
            let missed = match goal {
                Goal::Stop { stop, .. } if tone == Tone::Good => format!("; no {} came", stop.name()),
                Goal::Stop { .. } | Goal::Time(_) | Goal::End => String::new(),
            };
            past::to(model, upto_ms);
            model.say(tone, words + &missed);
        }
        (None, None) => {
            past::to(model, upto_ms);
            return;
        }
    }
    past::hold(model);
}

/// Where a goal was found.
enum Reached {
    Time(u64),
    Position(u64),
}
