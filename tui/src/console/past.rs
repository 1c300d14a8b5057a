//! Where in time the operator looks, and how that moves: pause, play, step, jump, live again.
//!
//! A recording is a past without a present: the same moves, and "live" is its end. A simulation is one whose end is not
//! there yet: a move beyond what has been simulated asks it to go on (`run`).

use super::{
    film::{Film, Mark, Moment},
    keys::Way,
    model::{Model, Source},
    msg::Time,
    run::{Goal, Stop},
    theme::Tone,
    world::{Fact, World},
};

/// One step by time.
const STEP_MS: u64 = 100;

/// Speeds of playing, in hundredths.
const SPEEDS: [u64; 7] = [1, 10, 50, 100, 200, 500, 1000];
const SPEED_NORMAL: usize = 3;

/// A moment that is looked at instead of the present. The world is that of the film as of `upto`, and nothing else: whatever
/// pane asks for it gets the same moment.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) world: World,
    /// In hybrid time.
    upto: Moment,
    /// The records before this one have been taken: all that are not after `upto`.
    position: u64,
    /// The same as a time of the run, in hundredths of a millisecond, so that the slowest speed moves too.
    at_cms: u64,
    pub(crate) playing: bool,
    speed: usize,
    /// When it was last moved by playing.
    moved_run_ms: u64,
}

impl Past {
    fn new(film: &Film, run_ms: u64, now: Time) -> Past {
        let upto = film.moment_at(run_ms);
        let position = film.position(upto);
        let world = film.world_at(position);
        let at_cms = run_ms.saturating_mul(100);
        Past { world, upto, position, at_cms, playing: false, speed: SPEED_NORMAL, moved_run_ms: now.run_ms }
    }

    pub(crate) fn at_ms(&self) -> u64 {
        self.at_cms / 100
    }

    /// The moment that is shown, in hybrid time, as unix time.
    pub(crate) fn shown_ms(&self) -> u64 {
        self.upto.at_ms()
    }

    /// How fast it plays, in words.
    pub(crate) fn speed(&self) -> String {
        let hundredths = SPEEDS[self.speed];
        if hundredths >= 100 { format!("{}x", hundredths / 100) } else { format!("{}x", hundredths as f64 / 100.0) }
    }

    fn go(&mut self, film: &Film, at_cms: u64, upto: Moment) {
        let position = film.position(upto);
        if upto >= self.upto && film.time(self.position.min(film.end().saturating_sub(1))).is_some() {
            film.forward(&mut self.world, self.position, position);
        } else {
            self.world = film.world_at(position);
        }
        (self.upto, self.position, self.at_cms) = (upto, position, at_cms);
        // Ages are those of the moment, not of the fact before it.
        let passed = self.at_ms().saturating_sub(self.world.now.run_ms);
        self.world.now.run_ms += passed;
        self.world.now.unix_ms += passed;
    }

    /// The film has got one more record, here: if it is of before the moment that is shown, that lacked it.
    pub(crate) fn learn(&mut self, film: &Film, position: u64) {
        if film.moment_of(position).is_some_and(|moment| moment <= self.upto) {
            film.forward(&mut self.world, position, position + 1);
            self.position += 1;
        }
    }
}

/// Time has passed: what plays moves on. A live film that is played to its end is live again; a simulation that is not as
/// far yet is waited for.
pub(crate) fn pass(model: &mut Model) {
    let now = model.now;
    let end_ms = end_ms(model);
    let Some(past) = model.past.as_mut().filter(|past| past.playing) else { return };
    let by = now.run_ms.saturating_sub(past.moved_run_ms).saturating_mul(SPEEDS[past.speed]);
    past.moved_run_ms = now.run_ms;
    let at_cms = past.at_cms.saturating_add(by);
    let goes_on = matches!(&model.source, Source::Simulation(run) if run.ending().is_none());
    if at_cms / 100 >= end_ms && !goes_on {
        end(model);
        return;
    }
    let at_cms = at_cms.min(end_ms.saturating_mul(100));
    past.go(&model.film, at_cms, model.film.moment_at(at_cms / 100));
}

/// The newest time there is something of.
fn end_ms(model: &Model) -> u64 {
    match &model.source {
        Source::Simulation(run) => run.upto_ms(),
        Source::Cluster | Source::Recording => model.film.span().map_or(0, |(_, last)| last.run_ms),
    }
}

/// The present, or what takes its place. A node's clock may be ahead of this one's.
fn present_ms(model: &Model) -> u64 {
    match &model.source {
        Source::Cluster => end_ms(model).max(model.live.now.run_ms),
        Source::Recording | Source::Simulation(_) => end_ms(model),
    }
}

/// Whether what is played will soon need more than has been simulated: within some 50 ms for who watches, more than a frame.
pub(crate) fn hungry(past: &Past, upto_ms: u64) -> bool {
    past.playing && upto_ms < past.at_ms() + 10 + SPEEDS[past.speed] / 2
}

/// Pauses what is live or plays, or runs on to something; plays what is paused.
pub(crate) fn pause(model: &mut Model) {
    let now = model.now;
    let end_ms = end_ms(model);
    if let Source::Simulation(run) = &mut model.source
        && run.go_no_further()
    {
        return;
    }
    let again = match &model.source {
        Source::Cluster => false,
        Source::Recording => true,
        Source::Simulation(run) => run.ending().is_some(),
    };
    match &mut model.past {
        Some(past) => {
            past.playing = !past.playing;
            past.moved_run_ms = now.run_ms;
            if past.playing && past.at_ms() >= end_ms && again {
                let first = model.film.span().map_or(0, |(first, _)| first.run_ms);
                to(model, first);
            }
        }
        None => {
            let at = present_ms(model);
            model.past = Some(Past::new(&model.film, at, now));
        }
    }
}

/// Back to the present; of a recording, to its end. Of a simulation to as far as it is; from there, to its end.
pub(crate) fn end(model: &mut Model) {
    let (Some((_, last)), Some(past)) = (model.film.span(), &mut model.past) else { return };
    match &mut model.source {
        Source::Cluster => model.past = None,
        Source::Recording => {
            past.playing = false;
            to(model, last.run_ms);
        }
        Source::Simulation(run) => {
            let (was_playing, at_end) = (past.playing, past.at_ms() >= run.upto_ms());
            past.playing = false;
            match (run.ending(), at_end && !was_playing) {
                (None, true) => run.go_on(Goal::End),
                (ending, _) => {
                    let ending = ending.cloned();
                    let upto_ms = run.upto_ms();
                    to(model, upto_ms);
                    if let Some((tone, words)) = ending {
                        model.say(tone, words);
                    }
                }
            }
        }
    }
}

/// To a time of the run, within what is kept; a simulation goes on to it.
pub(crate) fn to(model: &mut Model, run_ms: u64) {
    let Some((first, _)) = model.film.span() else { return };
    let end_ms = present_ms(model);
    if let Source::Simulation(run) = &mut model.source
        && run_ms > end_ms
    {
        run.go_on(Goal::Time(run_ms));
    }
    let run_ms = run_ms.clamp(first.run_ms, end_ms.max(first.run_ms));
    let now = model.now;
    let past = model.past.get_or_insert_with(|| Past::new(&model.film, run_ms, now));
    past.go(&model.film, run_ms.saturating_mul(100), model.film.moment_at(run_ms));
    past.moved_run_ms = now.run_ms;
}

/// To the record before a position, as the newest that is shown.
pub(crate) fn to_position(model: &mut Model, position: u64) {
    let Some(at) = position.checked_sub(1) else { return };
    let (Some(time), Some(moment)) = (model.film.time(at), model.film.moment_of(at)) else { return };
    if let Some(past) = &mut model.past {
        past.go(&model.film, time.run_ms.saturating_mul(100), moment);
    }
}

/// 100 ms, on a pause.
pub(crate) fn step(model: &mut Model, way: Way) {
    hold(model);
    let at = model.past.as_ref().map_or(0, Past::at_ms);
    to(model, if way == Way::Back { at.saturating_sub(STEP_MS) } else { at + STEP_MS });
}

/// To the next record of a kind, or the last one. A simulation goes on until there is one.
pub(crate) fn jump(model: &mut Model, way: Way, stop: Stop) {
    hold(model);
    let Some(past) = &model.past else { return };
    let wanted = |fact: &Fact, mark: Mark| stop.is(fact, mark);
    let shown = past.position;
    let found = match way {
        Way::On => model.film.find(shown, false, wanted),
        // The newest that is shown may be what was gone to: then the one before it is meant.
        Way::Back => {
            let newest = |at: &u64| at + 1 < shown;
            std::iter::successors(model.film.find(shown, true, wanted), |at| model.film.find(*at, true, wanted))
                .find(newest)
        }
    };
    if let Some(at) = found {
        to_position(model, at + 1);
        return;
    }
    if let (Source::Simulation(run), Way::On) = (&mut model.source, way)
        && run.ending().is_none()
    {
        run.go_on(Goal::Stop { stop, from: model.film.end() });
        return;
    }
    let side = if way == Way::Back { "before: that is as far as the history goes" } else { "after this" };
    let over = match (&model.source, way) {
        (Source::Simulation(run), Way::On) => run.ending().map(|(_, words)| format!("{words}; ")).unwrap_or_default(),
        (Source::Simulation(_) | Source::Recording | Source::Cluster, _) => String::new(),
    };
    model.say(Tone::Warn, format!("{over}no {} {side}", stop.name()));
}

pub(crate) fn speed(model: &mut Model, way: Way) {
    if let Some(past) = &mut model.past {
        past.speed = match way {
            Way::Back => past.speed.saturating_sub(1),
            Way::On => (past.speed + 1).min(SPEEDS.len() - 1),
        };
    } else {
        model.say(Tone::Warn, "the present has one speed: p pauses, [ goes back");
    }
}

/// Stands still, wherever it was about to go.
pub(crate) fn hold(model: &mut Model) {
    if let Source::Simulation(run) = &mut model.source {
        run.go_no_further();
    }
    match &mut model.past {
        Some(past) => past.playing = false,
        None => pause(model),
    }
}
