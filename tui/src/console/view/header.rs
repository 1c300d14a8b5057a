//! The first line: which cluster, who leads, is there a quorum, how much work. A line that is too short says the same
//! in fewer words, and then what matters less goes first.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{put, span};
use crate::console::{
    model::{Model, Source},
    picture::Picture,
    text::{self, clock, count, span_ms, width},
    theme::Tone,
    world::Node,
};

/// From this weight on, a part is given up before the others are shortened.
const EXTRA: u8 = 5;

/// A part of the line, and how much it matters: 0 stays to the end.
struct Part(u8, Vec<Span<'static>>);

pub(super) fn draw(model: &Model, picture: &Picture, area: Rect, buf: &mut Buffer) {
    let right = state(model);
    let room = usize::from(area.width).saturating_sub(right.width() + 2);
    let bar = format!(" {} ", model.skin.glyphs.bar);
    let mut parts = parts(model, picture, false);
    if !shed(&mut parts, EXTRA, room, width(&bar)) {
        parts = self::parts(model, picture, true);
        shed(&mut parts, 1, room, width(&bar));
    }
    let mut line = vec![Span::raw(" ")];
    for (at, Part(_, spans)) in parts.into_iter().enumerate() {
        if at > 0 {
            line.push(span(&model.skin, Tone::Dim, bar.clone()));
        }
        line.extend(spans);
    }
    put(
        buf,
        Rect { width: area.width.min(u16::try_from(room + 1).unwrap_or(area.width)), ..area },
        0,
        &Line::from(line),
    );
    let wide = u16::try_from(right.width()).unwrap_or(area.width).min(area.width);
    put(buf, Rect { x: area.right() - wide, width: wide, ..area }, 0, &right);
}

/// Gives up parts down to a weight until the others fit, and says whether they do.
fn shed(parts: &mut Vec<Part>, down_to: u8, room: usize, bar: usize) -> bool {
    while parts.iter().map(|p| Line::from(p.1.clone()).width() + bar).sum::<usize>() > room + bar {
        let Some(least) = (0..parts.len()).max_by_key(|at| parts[*at].0).filter(|at| parts[*at].0 >= down_to) else {
            return false;
        };
        parts.remove(least);
    }
    true
}

fn parts(model: &Model, picture: &Picture, brief: bool) -> Vec<Part> {
    let skin = &model.skin;
    let say = |tone, text: String| span(skin, tone, text);
    let title = match model.shown().cluster_id.as_str() {
        "" => "raftdeck".to_owned(),
        id if id.starts_with("raftdeck") => id.to_owned(),
        id => format!("raftdeck {id}"),
    };
    let mut parts = vec![Part(4, vec![say(Tone::Title, title)])];
    if model.shown().nodes.iter().all(|n| n.word().is_none()) {
        let first = model.shown().nodes.first().map_or("a node", |n| &n.api);
        let others = match model.shown().nodes.len() {
            0 | 1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        parts.push(Part(1, vec![say(Tone::Warn, format!("waiting for {first}{others}"))]));
        return parts;
    }
    let voters = picture.reach.voters.len();
    let leader =
        picture.leader.and_then(|slot| model.shown().node(slot)).and_then(|n| Some((n.name.clone(), n.word()?)));
    let reach = match leader {
        Some((_, s)) => picture.reach.of(s.id).len(),
        None => picture.reach.strongest().len(),
    };
    parts.push(match leader {
        Some((name, s)) => {
            let mut said = vec![say(Tone::Good, format!("leader {name} {}", s.term))];
            if !brief {
                said.push(say(Tone::Plain, format!(" reaches {reach} of {voters}")));
            }
            Part(0, said)
        }
        None => {
            let since = model.shown().reign.lost.map_or(String::new(), |since| {
                format!(" for {}", span_ms(model.shown().now.run_ms.saturating_sub(since.run_ms)))
            });
            Part(0, vec![say(Tone::Bad, format!("NO LEADER{since}")), say(Tone::Plain, format!(" {}", picture.term))])
        }
    });
    parts.push(match picture.reach.has_quorum() {
        true if brief => Part(0, vec![say(Tone::Good, format!("{reach}/{voters} quorum OK"))]),
        true => Part(0, vec![say(Tone::Good, "quorum OK".into())]),
        false => Part(0, vec![say(Tone::Bad, format!("quorum LOST ({reach} of {voters})"))]),
    });
    let jobs = picture.jobs;
    let waiting = count(jobs.waiting());
    let text = match brief {
        true => format!("q {waiting}"),
        false => format!("q {waiting} run {} done {}", count(jobs.running), count(jobs.ended())),
    };
    parts.push(Part(2, vec![say(Tone::Plain, text)]));
    if let Some(pace) = model.shown().pace.jobs_per_s(model.shown().now.run_ms) {
        let unit = if brief { "/s" } else { " job/s" };
        parts.push(Part(3, vec![say(Tone::Plain, format!("{}{unit}", count(pace)))]));
    }
    if jobs.discarded > 0 {
        parts.push(Part(EXTRA, vec![say(Tone::Warn, format!("{} discarded", count(jobs.discarded)))]));
    }
    parts.push(Part(EXTRA + 1, vec![say(Tone::Plain, format!("commit {}", picture.commit))]));
    let (links, others) = model.shown().faults();
    for (count, one, many) in [(links, "link cut", "links cut"), (others, "fault", "faults")] {
        if count > 0 {
            let what = if count == 1 { one } else { many };
            parts.push(Part(1, vec![say(Tone::Warn, format!("{count} {what}"))]));
        }
    }
    if model.read_only {
        parts.push(Part(1, vec![say(Tone::You, "read-only".into())]));
    }
    parts
}

fn state(model: &Model) -> Line<'static> {
    let world = model.shown();
    // One that left may still run.
    let (live, all) = (world.live().min(world.members()), world.members());
    let glyphs = &model.skin.glyphs;
    let recording = if model.recording.is_some() { span(&model.skin, Tone::Bad, "REC ") } else { Span::raw("") };
    if let Some(past) = &model.past {
        let mark = if past.playing || model.goal().is_some() { glyphs.right } else { glyphs.paused };
        let speed = if past.playing { format!(" {}", past.speed()) } else { String::new() };
        let text = match &model.source {
            Source::Cluster => format!("{mark} PAST{speed} {}", text::clock_ms(past.shown_ms())),
            Source::Recording => format!("{mark} REPLAY{speed} {}", text::clock_ms(past.shown_ms())),
            Source::Simulation(run) => {
                let (seed, ms) = (run.of.seed, world.now.run_ms);
                format!("{mark} SIM seed {seed}{speed} {}.{:03}s", ms / 1000, ms % 1000)
            }
        };
        return Line::from(vec![recording, span(&model.skin, Tone::You, text), Span::raw(" ")]);
    }
    let (tone, text) = match live {
        0 => (Tone::Bad, format!("{} no node answers", glyphs.waiting)),
        _ if live == all => (Tone::Good, format!("{} LIVE", glyphs.live)),
        _ => (Tone::Warn, format!("{} LIVE {live}/{all}", glyphs.live)),
    };
    let newest = world.nodes.iter().filter(|n| n.live()).filter_map(Node::word).map(|s| s.at_ms).max();
    // Of the news on the screen: where nothing happens it stands still, as nothing is drawn.
    let at = newest.map_or(String::new(), |at| format!(" as of {}", clock(at)));
    Line::from(vec![recording, span(&model.skin, tone, text), Span::raw(at), Span::raw(" ")])
}
