//! Where in time the operator looks, and how that moves: pause, play, step, jump, live again.
//!
//! A recording is a past without a present: the same moves, and "live" is its end.

use super::{
    film::{Film, Mark},
    keys::Way,
    model::Model,
    msg::Time,
    theme::Tone,
    world::World,
};

/// One step by time.
const STEP_MS: u64 = 100;

/// Speeds of playing, in hundredths.
const SPEEDS: [u64; 7] = [1, 10, 50, 100, 200, 500, 1000];
const SPEED_NORMAL: usize = 3;

/// A moment that is looked at instead of the present.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) world: World,
    /// The records before this one have been taken.
    position: u64,
    /// In hundredths of a millisecond, so that the slowest speed moves too.
    at_cms: u64,
    pub(crate) playing: bool,
    speed: usize,
    /// When it was last moved by playing.
    moved_run_ms: u64,
}

impl Past {
    fn new(film: &Film, run_ms: u64, now: Time) -> Past {
        let position = film.position(run_ms);
        let world = film.world_at(position);
        let at_cms = run_ms.saturating_mul(100);
        Past { world, position, at_cms, playing: false, speed: SPEED_NORMAL, moved_run_ms: now.run_ms }
    }

    pub(crate) fn at_ms(&self) -> u64 {
        self.at_cms / 100
    }

    /// How fast it plays, in words.
    pub(crate) fn speed(&self) -> String {
        let hundredths = SPEEDS[self.speed];
        if hundredths >= 100 { format!("{}x", hundredths / 100) } else { format!("{}x", hundredths as f64 / 100.0) }
    }

    fn go(&mut self, film: &Film, at_cms: u64, position: u64) {
        let forward = position >= self.position && film.time(self.position.min(film.end().saturating_sub(1))).is_some();
        if forward {
            film.forward(&mut self.world, self.position, position);
        } else {
            self.world = film.world_at(position);
        }
        (self.position, self.at_cms) = (position, at_cms);
        // Ages are those of the moment, not of the fact before it.
        let passed = self.at_ms().saturating_sub(self.world.now.run_ms);
        self.world.now.run_ms += passed;
        self.world.now.unix_ms += passed;
    }
}

/// Time has passed: what plays moves on. A live film that is played to its end is live again.
pub(crate) fn pass(model: &mut Model) {
    let now = model.now;
    let Some(past) = model.past.as_mut().filter(|past| past.playing) else { return };
    let by = now.run_ms.saturating_sub(past.moved_run_ms).saturating_mul(SPEEDS[past.speed]);
    past.moved_run_ms = now.run_ms;
    let at_cms = past.at_cms.saturating_add(by);
    let end_ms = model.film.span().map_or(0, |(_, last)| last.run_ms);
    if at_cms / 100 >= end_ms {
        end(model);
        return;
    }
    past.go(&model.film, at_cms, model.film.position(at_cms / 100));
}

/// Pauses what is live or plays; plays what is paused.
pub(crate) fn pause(model: &mut Model) {
    let now = model.now;
    match &mut model.past {
        Some(past) => {
            past.playing = !past.playing;
            past.moved_run_ms = now.run_ms;
            if past.playing
                && model.film.span().is_some_and(|(_, last)| past.at_ms() >= last.run_ms)
                && model.replay.is_some()
            {
                let first = model.film.span().map_or(0, |(first, _)| first.run_ms);
                to(model, first);
            }
        }
        None => {
            let at = model.live.now.run_ms;
            model.past = Some(Past::new(&model.film, at, now));
        }
    }
}

/// Back to the present; of a recording, to its end.
pub(crate) fn end(model: &mut Model) {
    match (&model.replay, model.film.span()) {
        (None, _) | (_, None) => model.past = None,
        (Some(_), Some((_, last))) => {
            to(model, last.run_ms);
            if let Some(past) = &mut model.past {
                past.playing = false;
            }
        }
    }
}

/// To a time of the run, within what is kept.
pub(crate) fn to(model: &mut Model, run_ms: u64) {
    let Some((first, last)) = model.film.span() else { return };
    let run_ms = run_ms.clamp(first.run_ms, last.run_ms);
    let now = model.now;
    let past = model.past.get_or_insert_with(|| Past::new(&model.film, run_ms, now));
    past.go(&model.film, run_ms * 100, model.film.position(run_ms));
    past.moved_run_ms = now.run_ms;
}

/// 100 ms, on a pause.
pub(crate) fn step(model: &mut Model, way: Way) {
    hold(model);
    let at = model.past.as_ref().map_or(0, Past::at_ms);
    to(model, if way == Way::Back { at.saturating_sub(STEP_MS) } else { at + STEP_MS });
}

/// To the next record that matters so much, or the last one.
pub(crate) fn jump(model: &mut Model, way: Way, least: Mark) {
    hold(model);
    let Some(past) = &model.past else { return };
    // The record at `position - 1` is the one that is shown as the newest.
    let from = if way == Way::Back { past.position.saturating_sub(1) } else { past.position };
    let found = model.film.find(from, way == Way::Back, least);
    match found.and_then(|at| Some((at, model.film.time(at)?))) {
        Some((at, time)) => {
            if let Some(past) = &mut model.past {
                past.go(&model.film, time.run_ms * 100, at + 1);
            }
        }
        None => {
            let what = if least == Mark::Turn { "fault or election" } else { "event" };
            let side = if way == Way::Back { "before: that is as far as the history goes" } else { "after this" };
            model.say(Tone::Warn, format!("no {what} {side}"));
        }
    }
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

fn hold(model: &mut Model) {
    match &mut model.past {
        Some(past) => past.playing = false,
        None => pause(model),
    }
}
