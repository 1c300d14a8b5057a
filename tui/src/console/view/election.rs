//! An election whole: who stood, who voted for whom, what each has of what it needs, and every vote as it was cast, with
//! the reason of each refusal.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{boxed, put, span};
use crate::console::{
    model::{Model, View},
    picture::Picture,
    text::{clock_ms, fit, minute_ms, span_ms, wrap},
    theme::Tone,
    votes::{Answer, Election},
    world::Node,
};

/// Cells of the first column of the table.
const HEAD: usize = 14;

/// Cells of a voter's column.
const COLUMN: usize = 6;

/// Cells of the time of a vote.
const STAMP: usize = 11;

pub(super) fn draw(model: &Model, picture: &Picture, area: Rect, buf: &mut Buffer) {
    let world = model.shown();
    let elections = world.votes.elections();
    let at = model.browse.row(View::Election).min(elections.len().saturating_sub(1));
    let state = match elections.len() {
        0 | 1 => String::new(),
        n if model.view != View::Election => format!("of {n} (3: all) "),
        n => format!("{} of {n}, up and down: the others ", at + 1),
    };
    let inner = boxed(model, "Election", &state, area, buf);
    let Some(election) = elections.get(at) else {
        let hint = match picture.leader.and_then(|slot| world.node(slot)) {
            Some(leader) => format!("{} leads, and nobody has asked for votes since this console looks", leader.name),
            None if world.live() == 0 => "no node answers yet, the console keeps trying".into(),
            None => "nobody has asked for votes since this console looks".into(),
        };
        let hints = [hint.as_str(), "K on the leader (1: cluster) makes an election"];
        let lines = hints.iter().flat_map(|hint| wrap(hint, usize::from(inner.width).saturating_sub(2)));
        for (at, line) in lines.enumerate() {
            put(buf, inner, at, &Line::from(span(&model.skin, Tone::Dim, format!(" {line}"))));
        }
        return;
    };
    let mut lines = title(model, picture, election, at == 0);
    lines.extend(table(model, picture, election, usize::from(inner.width)));
    lines.push(Line::default());
    lines.push(Line::from(span(&model.skin, Tone::Title, " as they were cast")));
    lines.extend(cast(model, election, usize::from(inner.width)));
    for (row, line) in lines.iter().enumerate() {
        put(buf, inner, row, line);
    }
}

fn title(model: &Model, picture: &Picture, election: &Election, newest: bool) -> Vec<Line<'static>> {
    let skin = &model.skin;
    let world = model.shown();
    let what = if election.pre { "Who would vote, for" } else { "Votes for" };
    let mut first = vec![
        span(skin, Tone::Title, format!(" {what} {}", election.term)),
        span(skin, Tone::Dim, format!("  asked at {}", clock_ms(election.at_ms))),
    ];
    if let (true, Some(lost)) = (newest, world.reign.lost) {
        let gap = span_ms(world.now.run_ms.saturating_sub(lost.run_ms));
        first.push(span(skin, Tone::Bad, format!("  no leader for {gap}")));
    }
    let second = if election.pre {
        " a question, which binds nobody: it keeps a node that hears nothing from raising the term of those that do"
    } else {
        " each voter has one vote a term; a candidate votes for itself"
    };
    let needs = picture.reach.majority();
    vec![
        Line::from(first),
        Line::from(span(skin, Tone::Dim, second)),
        Line::from(span(skin, Tone::Dim, format!(" {needs} of {} are needed", picture.reach.voters.len()))),
        Line::default(),
    ]
}

/// The voters that get a column. Where not all have room, those that answered.
fn columns<'a>(model: &'a Model, election: &Election, room: usize) -> Vec<&'a Node> {
    let world = model.shown();
    let fits = room.saturating_sub(HEAD + 18) / COLUMN;
    let mut nodes: Vec<&Node> = world.nodes.iter().collect();
    if nodes.len() > fits {
        let answered = |id| election.candidates.keys().any(|c| world.votes.answer(election, *c, id).is_some());
        nodes.retain(|n| n.id.is_some_and(answered));
        nodes.truncate(fits);
    }
    nodes
}

fn table(model: &Model, picture: &Picture, election: &Election, room: usize) -> Vec<Line<'static>> {
    let skin = &model.skin;
    let glyphs = &skin.glyphs;
    let world = model.shown();
    let voters = columns(model, election, room);
    let mut head = fit(" candidate", HEAD, false);
    for node in &voters {
        head.push_str(&fit(&node.name, COLUMN - 1, true));
        head.push(' ');
    }
    head.push_str("    has  log now");
    let mut lines = vec![Line::from(span(skin, Tone::Dim, head))];
    for candidate in election.candidates.keys() {
        let word = world.by_id(*candidate).and_then(|n| n.word());
        let leads = picture.leader.and_then(|slot| world.node(slot)?.word());
        let won = leads.is_some_and(|s| (s.id, s.term) == (*candidate, election.term)) && !election.pre;
        let mark = if won { glyphs.leader } else { "" };
        let mut line = vec![span(skin, Tone::Title, fit(&format!(" {} {mark}", world.name(*candidate)), HEAD, false))];
        for node in &voters {
            let answer = node.id.and_then(|id| world.votes.answer(election, *candidate, id));
            let (mark, tone) = match answer {
                Some(Answer::Granted) => (glyphs.good, Tone::Good),
                Some(Answer::Refused(_)) => (glyphs.bad, Tone::Bad),
                None if node.failed => ("-", Tone::Dim),
                None => (glyphs.missing, Tone::Dim),
            };
            line.extend([span(skin, tone, fit(mark, COLUMN - 1, true)), Span::raw(" ")]);
        }
        let has = world.votes.granted(election, *candidate).len();
        let enough = has >= picture.reach.majority();
        line.push(span(skin, if enough { Tone::Good } else { Tone::Plain }, fit(&has.to_string(), 7, true)));
        let log = word.map_or("?".into(), |s| match s.tail.term_at(s.last) {
            Some(term) => format!("{}/{term}", s.last),
            None => s.last.to_string(),
        });
        line.push(Span::raw(format!("  {log}")));
        lines.push(Line::from(line));
    }
    let legend =
        format!(" {} got   {} refused   {} nothing heard   - not reached", glyphs.good, glyphs.bad, glyphs.missing);
    lines.push(Line::from(span(skin, Tone::Dim, legend)));
    let left = world.nodes.len() - voters.len();
    if left > 0 {
        lines.push(Line::from(span(skin, Tone::Dim, format!(" {left} more nodes have no room here"))));
    }
    lines
}

fn cast(model: &Model, election: &Election, room: usize) -> Vec<Line<'static>> {
    let skin = &model.skin;
    let world = model.shown();
    let verbs =
        if election.pre { ("would vote for", "would not vote for") } else { ("votes for", "refuses its vote to") };
    let mut lines = Vec::new();
    for cast in world.votes.cast(election) {
        let (voter, candidate) = (world.name(cast.voter), world.name(cast.candidate));
        let (text, tone) = match cast.answer {
            Answer::Granted => (format!("{voter} {} {candidate}", verbs.0), Tone::Good),
            Answer::Refused(why) => (format!("{voter} {} {candidate}: {why}", verbs.1), Tone::Warn),
        };
        for (at, part) in wrap(&text, room.saturating_sub(STAMP)).into_iter().enumerate() {
            let stamp = if at == 0 { minute_ms(cast.at.at_ms) } else { String::new() };
            let stamp = span(skin, Tone::Dim, fit(&format!(" {stamp}"), STAMP, false));
            lines.push(Line::from(vec![stamp, span(skin, tone, part)]));
        }
    }
    if lines.is_empty() {
        return vec![Line::from(span(skin, Tone::Dim, " nobody has answered yet, as far as this console has heard"))];
    }
    lines
}
