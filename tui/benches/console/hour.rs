//! An hour of a flood, told in a minute: five nodes at a thousand events a second each, and fifty at a hundred. What the
//! process has in memory at its end is what a console would have; the network, the runtime and the terminal come to it.

use std::process::Command;

use raftdeck::console::{ConsoleNode, Look, Stage};
use raftdeck_shared::wire::{self, observe_event::Event};
use ratatui::{Terminal, backend::TestBackend};

use crate::{
    Figure,
    program::resident_mb,
    words::{STATUSES_PER_S, Speaker},
};

/// The word by which this program is called as the one that is measured.
pub(crate) const CHILD: &str = "--hour-of-nodes";

const HOUR_MS: u64 = 3_600_000;

/// Of all nodes together.
pub(crate) const EVENTS_PER_S: u64 = 5_000;

/// A frame in each second is enough: it leaves nothing behind.
const FRAME_EVERY_MS: u64 = 1_000;

pub(crate) fn measure() -> Vec<Figure> {
    [5, 50].map(figure).into()
}

fn figure(nodes: u64) -> Figure {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).args([CHILD, &nodes.to_string()]).output().expect("it can be called again");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = said.trim().parse().unwrap_or_else(|_| panic!("the child said {said:?}: {output:?}"));
    let what = format!("memory after an hour, {nodes} nodes, {EVENTS_PER_S} events/s");
    Figure { what, value, unit: "MB", goal: 80.0 }
}

/// A stage on which all nodes have said their first word.
pub(crate) fn stage(nodes: u64) -> (Stage, Vec<Speaker>) {
    let apis: Vec<String> = (1..=nodes).map(|id| format!("127.0.0.1:{}", 7_100 + id)).collect();
    let members = apis.iter().map(ConsoleNode::at).collect();
    let mut stage = Stage::watching(members, Look { config: Some("/dev/null".into()), ..Look::default() });
    let speakers = Speaker::all(apis);
    for (at, speaker) in speakers.iter().enumerate() {
        stage.hear(0, at, speaker.snapshot(0));
    }
    (stage, speakers)
}

/// Tells what happens in the time up to `to_ms`.
pub(crate) fn tell(stage: &mut Stage, speakers: &mut [Speaker], from_ms: u64, to_ms: u64) {
    let per_node_s = EVENTS_PER_S / speakers.len() as u64;
    for ms in from_ms..to_ms {
        let due = |per_s: u64| (ms + 1) * per_s / 1_000 - ms * per_s / 1_000;
        for (at, speaker) in speakers.iter_mut().enumerate() {
            for _ in 0..due(per_node_s) {
                let list = vec![speaker.happens(ms)];
                stage.hear(ms, at, Event::Observations(wire::Observations { list }));
            }
            if due(STATUSES_PER_S) > 0 {
                stage.hear(ms, at, speaker.news(ms));
            }
        }
    }
}

/// Lives through the hour, and says how much memory that took.
pub(crate) fn child(nodes: u64) {
    let (mut stage, mut speakers) = stage(nodes);
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).expect("memory is a terminal");
    for from_ms in (0..HOUR_MS).step_by(FRAME_EVERY_MS as usize) {
        tell(&mut stage, &mut speakers, from_ms, from_ms + FRAME_EVERY_MS);
        terminal.draw(|frame| stage.draw(frame)).expect("memory is a terminal");
    }
    println!("{:.2}", resident_mb(std::process::id()));
}
