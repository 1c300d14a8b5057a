//! The first line: which cluster, who leads, is there a quorum, how much work. What matters less goes first when the line
//! is short.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{put, span};
use crate::console::{
    model::{Model, Node},
    picture::Picture,
    text::{clock, count, span_ms, width},
    theme::Tone,
};

/// A part of the line, and how much it matters: 0 stays longest.
struct Part(u8, Vec<Span<'static>>);

pub(super) fn draw(model: &Model, picture: &Picture, area: Rect, buf: &mut Buffer) {
    let right = state(model);
    let room = usize::from(area.width).saturating_sub(right.width() + 2);
    let mut parts = parts(model, picture);
    let bar = format!(" {} ", model.skin.glyphs.bar);
    while parts.iter().map(|p| Line::from(p.1.clone()).width() + width(&bar)).sum::<usize>() > room {
        let Some(least) = (0..parts.len()).max_by_key(|at| parts[*at].0).filter(|_| parts.len() > 1) else { break };
        parts.remove(least);
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

fn parts(model: &Model, picture: &Picture) -> Vec<Part> {
    let skin = &model.skin;
    let say = |tone, text: String| span(skin, tone, text);
    let cluster = if model.cluster_id.is_empty() { String::new() } else { format!(" {}", model.cluster_id) };
    let mut parts = vec![Part(3, vec![say(Tone::Title, format!("raftdeck{cluster}"))])];
    if model.nodes.iter().all(|n| n.word().is_none()) {
        let first = model.nodes.first().map_or("a node", |n| &n.api);
        let others = match model.nodes.len() {
            0 | 1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        parts.push(Part(1, vec![say(Tone::Warn, format!("waiting for {first}{others}"))]));
        return parts;
    }
    let voters = picture.reach.voters.len();
    let leader = picture.leader.and_then(|slot| model.node(slot)).and_then(|n| Some((n.name.clone(), n.word()?)));
    parts.push(match leader {
        Some((name, s)) => {
            let reaches = picture.reach.of(s.id).len();
            Part(
                0,
                vec![
                    say(Tone::Good, format!("leader {name} {}", s.term)),
                    say(Tone::Plain, format!(" reaches {reaches} of {voters}")),
                ],
            )
        }
        None => {
            let since = model.leaderless.map_or(String::new(), |since| {
                format!(" for {}", span_ms(model.now.run_ms.saturating_sub(since.run_ms)))
            });
            Part(0, vec![say(Tone::Bad, format!("NO LEADER{since}")), say(Tone::Plain, format!(" {}", picture.term))])
        }
    });
    parts.push(if picture.reach.has_quorum() {
        Part(0, vec![say(Tone::Good, "quorum OK".into())])
    } else {
        let best = picture.reach.strongest().len();
        Part(0, vec![say(Tone::Bad, format!("quorum LOST ({best} of {voters})"))])
    });
    parts.push(Part(4, vec![say(Tone::Plain, format!("commit {}", picture.commit))]));
    let jobs = picture.jobs;
    let waiting = jobs.available.saturating_add(jobs.scheduled).saturating_add(jobs.retryable);
    let done = jobs.completed.saturating_add(jobs.cancelled).saturating_add(jobs.discarded);
    let text = format!("queue {} run {} done {}", count(waiting), count(jobs.running), count(done));
    parts.push(Part(5, vec![say(Tone::Plain, text)]));
    if jobs.discarded > 0 {
        parts.push(Part(6, vec![say(Tone::Warn, format!("{} discarded", count(jobs.discarded)))]));
    }
    match model.faults() {
        0 => {}
        1 => parts.push(Part(2, vec![say(Tone::Warn, "1 fault".into())])),
        n => parts.push(Part(2, vec![say(Tone::Warn, format!("{n} faults"))])),
    }
    if model.read_only {
        parts.push(Part(2, vec![say(Tone::You, "read-only".into())]));
    }
    parts
}

fn state(model: &Model) -> Line<'static> {
    let (live, all) = (model.live(), model.nodes.len());
    let glyphs = &model.skin.glyphs;
    let (tone, text) = match live {
        0 => (Tone::Bad, format!("{} no node answers", glyphs.waiting)),
        _ if live == all => (Tone::Good, format!("{} LIVE", glyphs.live)),
        _ => (Tone::Warn, format!("{} LIVE {live}/{all}", glyphs.live)),
    };
    let newest = model.nodes.iter().filter(|n| n.live()).filter_map(Node::word).map(|s| s.at_ms).max();
    let at = newest.map_or(String::new(), |at| format!(" {}", clock(at)));
    Line::from(vec![span(&model.skin, tone, text), Span::raw(at), Span::raw(" ")])
}
