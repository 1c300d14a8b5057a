//! The lanes: a column for the clients and one for each node, a row for each thing that happened, by the nodes' hybrid
//! clocks (an effect on another node is never before the sending of its cause). An arrow goes from who
//! sent to who received, in the row in which it was received: nodes tell what they heard. What is known to be lost ends in a
//! cross, in the row in which it was sent; a client is drawn when it is answered.

use std::collections::BTreeSet;

use raftdeck_shared::{
    ids::{NodeId, Term},
    wire::{self, ObservationKind as Kind, Role},
};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{boxed, put, span};
use crate::console::{
    browse,
    events::Stamp,
    keys::Hidden,
    lost::What,
    model::Model,
    picture::Picture,
    story,
    text::{fit, minute_ms, width, wrap},
    theme::Tone,
    trace::{Answered, Row},
    world::Node,
};

/// Cells of the time in front.
const STAMP: usize = 11;

/// Fewest cells of a lane: below that only the first ones are drawn.
const LANE_MIN: usize = 9;

/// Lines of the box below.
const DETAIL: u16 = 5;

/// Where the lanes stand.
struct Lanes<'a> {
    /// Behind the lane of the clients.
    nodes: Vec<&'a Node>,
    wide: usize,
}

/// The lane of the clients.
const CLIENTS: usize = 0;

impl Lanes<'_> {
    fn middle(&self, at: usize) -> usize {
        at * self.wide + self.wide / 2
    }

    fn of(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|n| n.id == Some(id)).map(|at| CLIENTS + 1 + at)
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|n| n.name == name).map(|at| CLIENTS + 1 + at)
    }

    fn count(&self) -> usize {
        CLIENTS + 1 + self.nodes.len()
    }
}

pub(super) fn draw(model: &Model, picture: &Picture, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let hidden = |group, word| if model.browse.hidden.contains(&group) { format!(" -{word}") } else { String::new() };
    let left_out =
        [hidden(Hidden::Appends, "appends"), hidden(Hidden::Votes, "votes"), hidden(Hidden::Jobs, "work")].concat();
    let wanted = model.filter().map_or(String::new(), |f| format!(" /{}", f.text));
    let rows = browse::messages(model);
    let end = match model.browse.message {
        None => rows.len(),
        Some(held) => rows.partition_point(|row| row.stamp() <= held),
    };
    let state = match model.browse.message {
        None => format!("{wanted}{left_out} follows {} ", skin.glyphs.live),
        Some(_) => format!("{wanted}{left_out} held: +{} new (G) ", rows.len() - end),
    };
    let detail = if area.height > DETAIL + 8 && !rows.is_empty() { DETAIL } else { 0 };
    let upper = Rect { height: area.height - detail, ..area };
    let room = usize::from(area.width).saturating_sub(STAMP + 2);
    let height = usize::from(upper.height).saturating_sub(3);
    let start = end.saturating_sub(height);
    let nodes = laned(model, &rows[start..end], (room / LANE_MIN).max(2) - 1);
    let all = model.shown().nodes.len();
    let some = if nodes.len() < all { format!("{} of {all} nodes  ", nodes.len()) } else { String::new() };
    let title = "Messages  by hybrid time, drawn where they were received";
    let inner = boxed(model, title, &format!("{some}{state}"), upper, buf);
    let wide = room / (nodes.len() + 1);
    let lanes = Lanes { nodes, wide };
    put(buf, inner, 0, &head(model, picture, &lanes));
    if rows.is_empty() {
        let hint = match (model.shown().live(), model.filter()) {
            (0, _) => " no node answers yet, the console keeps trying",
            (_, Some(_)) => " no message fits the filter; esc takes it away",
            (_, None) => " nothing was heard yet: an election, a submit or a fault makes messages",
        };
        put(buf, inner, 1, &Line::from(span(skin, Tone::Dim, hint)));
        return;
    }
    for (at, shown) in rows[start..end].iter().enumerate() {
        let chosen = model.browse.message.is_some() && start + at + 1 == end;
        put(buf, inner, 1 + at, &row(model, &lanes, *shown));
        if chosen {
            let y = inner.y + 1 + at as u16;
            buf.set_style(Rect { y, height: 1, ..inner }.intersection(inner), skin.style(Tone::Cursor));
        }
    }
    if let (true, Some(shown)) = (detail > 0, end.checked_sub(1).and_then(|at| rows.get(at))) {
        let lower = Rect { y: area.y + upper.height, height: detail, ..area };
        details(model, *shown, lower, buf);
    }
}

/// The nodes that get a lane. Where not all have room, first those that these rows tell of, in the order of the cluster.
fn laned<'a>(model: &'a Model, rows: &[Row<'_>], fits: usize) -> Vec<&'a Node> {
    let world = model.shown();
    let ends = |row: &Row<'_>| match row {
        Row::Heard(o) => [Some(NodeId(o.node)), world.trace.sender(o)],
        Row::Lost(lost) => [Some(lost.from), Some(lost.to)],
    };
    let told: BTreeSet<NodeId> = rows.iter().flat_map(ends).flatten().collect();
    let mut nodes: Vec<(usize, &Node)> = world.nodes.iter().enumerate().collect();
    if nodes.len() > fits {
        nodes.sort_by_key(|(at, n)| (!n.id.is_some_and(|id| told.contains(&id)), *at));
        nodes.truncate(fits);
        nodes.sort_by_key(|(at, _)| *at);
    }
    nodes.into_iter().map(|(_, node)| node).collect()
}

fn head(model: &Model, picture: &Picture, lanes: &Lanes<'_>) -> Line<'static> {
    let glyphs = &model.skin.glyphs;
    let centred = |text: &str| {
        fit(&format!("{}{text}", " ".repeat((lanes.wide / 2).saturating_sub(width(text) / 2))), lanes.wide, false)
    };
    let mut line = vec![Span::raw(" ".repeat(STAMP)), span(&model.skin, Tone::Dim, centred("clients"))];
    for node in &lanes.nodes {
        let leads = picture.leader.and_then(|slot| model.shown().node(slot)).is_some_and(|l| l.id == node.id);
        let cut = node.live() && node.word().is_some_and(|s| !s.faults.is_empty());
        let (mark, tone) = match (leads, node.failed && !model.shown().gone(node), cut) {
            (true, _, _) => (glyphs.leader, Tone::Good),
            (_, true, _) => (glyphs.down, Tone::Bad),
            (_, _, true) => (glyphs.cut, Tone::Bad),
            _ => ("", Tone::Title),
        };
        let term = node.word().map_or(String::new(), |s| s.term.to_string());
        let text = format!("{}{mark} {term}", node.name);
        line.push(span(&model.skin, tone, centred(&text)));
    }
    Line::from(line)
}

/// What a row says in its lane, short.
fn word(o: &wire::Observation) -> (String, Tone) {
    let term = Term(o.term);
    let vote = if o.pre { "pre-vote" } else { "vote" };
    match o.kind() {
        Kind::VoteCast if o.granted => (format!("{vote}: yes"), Tone::Good),
        Kind::VoteCast => (format!("{vote}: no"), Tone::Warn),
        Kind::VoteReceived if o.granted => (format!("yes {term}"), Tone::Good),
        Kind::VoteReceived => (format!("no {term}"), Tone::Warn),
        Kind::Appended if o.last_index > o.index => (format!("{}..{}", o.index, o.last_index), Tone::Plain),
        Kind::Appended => (format!("append {}", o.index), Tone::Plain),
        Kind::Truncated => (format!("drops {}..", o.index), Tone::Warn),
        Kind::Committed => (format!("commit {}", o.index), Tone::Plain),
        Kind::Leader if o.peer == 0 => ("no leader".into(), Tone::Warn),
        Kind::Leader => (format!("leads {term}"), Tone::Plain),
        Kind::Role => match o.role() {
            Role::Leader => (format!("LEADS {term}"), Tone::Good),
            Role::Candidate => (format!("candidate {term}"), Tone::Warn),
            Role::PreCandidate => ("who would vote?".into(), Tone::Warn),
            Role::Follower | Role::Unspecified => (format!("follower {term}"), Tone::Plain),
        },
        Kind::Fault => (format!("fault: {}", o.cause), Tone::Bad),
        Kind::Job if o.job == 0 => (o.cause.clone(), Tone::Dim),
        Kind::Job => (format!("job {} {}", o.job, o.cause), Tone::Dim),
        Kind::Progress => ("replication".into(), Tone::Dim),
        Kind::Membership => ("members".into(), Tone::Warn),
        Kind::Transfer => ("transfer".into(), Tone::Warn),
        Kind::Damage => ("damage".into(), Tone::Bad),
        Kind::Node => ("process".into(), Tone::Warn),
        Kind::Link | Kind::Term | Kind::Snapshot | Kind::Unspecified => (String::new(), Tone::Plain),
    }
}

/// What is drawn of a row: from which lane to which, and what becomes of it.
struct Drawn {
    said: String,
    tone: Tone,
    from: Option<usize>,
    to: Option<usize>,
    lost: bool,
}

fn drawn(model: &Model, lanes: &Lanes<'_>, row: Row<'_>) -> Drawn {
    let trace = &model.shown().trace;
    match row {
        Row::Lost(lost) => {
            Drawn { said: lost.word(), tone: Tone::Bad, from: lanes.of(lost.from), to: lanes.of(lost.to), lost: true }
        }
        Row::Heard(o) => {
            let (said, tone) = word(o);
            let own = lanes.of(NodeId(o.node));
            let (from, to) = match trace.answered(o) {
                // A worker that is no node's own is a client as any other.
                Some(Answered::Worker(name)) => match lanes.named(&name) {
                    // The arrow says by whom.
                    Some(lane) => {
                        let said = said.split(" by ").next().unwrap_or_default().to_owned();
                        return Drawn { said, tone, from: own, to: own.and(Some(lane)), lost: false };
                    }
                    None => (own, Some(CLIENTS)),
                },
                Some(Answered::Client) => (own, Some(CLIENTS)),
                None => (trace.sender(o).and_then(|id| lanes.of(id)), own),
            };
            Drawn { said, tone, from, to: own.and(to), lost: false }
        }
    }
}

fn row(model: &Model, lanes: &Lanes<'_>, shown: Row<'_>) -> Line<'static> {
    let skin = &model.skin;
    let glyphs = &skin.glyphs;
    let stamp = span(skin, Tone::Dim, fit(&minute_ms(shown.stamp().at_ms), STAMP, false));
    let total = lanes.wide * lanes.count();
    let mut cells: Vec<(String, Tone)> = vec![(" ".into(), Tone::Plain); total];
    for at in 0..lanes.count() {
        cells[lanes.middle(at)] = (glyphs.bar.into(), Tone::Dim);
    }
    let Drawn { said, tone, from, to, lost } = drawn(model, lanes, shown);
    let Some(to) = to.map(|at| lanes.middle(at)) else {
        return Line::from(vec![stamp, span(skin, Tone::Dim, " of a node that has no lane here")]);
    };
    let from = from.map(|at| lanes.middle(at));
    match from.filter(|from| *from != to) {
        Some(from) => {
            let (low, high) = (from.min(to), from.max(to));
            for cell in &mut cells[low + 1..high] {
                *cell = (glyphs.shaft.into(), Tone::Dim);
            }
            cells[from] = (glyphs.live.into(), Tone::Plain);
            let head = if to > from { glyphs.right } else { glyphs.left };
            cells[to] = (if lost { glyphs.cut } else { head }.into(), tone);
            let room = high - low - 1;
            // Of `vote: yes` the answer is what counts; of what is lost, that it is.
            let said = match said.split_once(": ") {
                Some((what, _)) if lost && width(&said) + 1 > room => what.to_owned(),
                Some((_, end)) if width(&said) + 1 > room => end.to_owned(),
                Some(_) | None => said,
            };
            let text =
                if width(&said) + 2 <= room { format!(" {said} ") } else { fit(&said, room.saturating_sub(1), false) };
            let start = low + 1 + (room.saturating_sub(width(&text))) / 2;
            write(&mut cells, start, &text, tone);
        }
        None => {
            cells[to] = (glyphs.marked.into(), tone);
            let room = total - to - 1;
            let text = format!(" {said}");
            if width(&text) <= room {
                write(&mut cells, to + 1, &text, tone);
            } else {
                let text = fit(&format!("{said} "), width(&said).min(to.saturating_sub(1)) + 1, true);
                write(&mut cells, to - width(&text).min(to), &text, tone);
            }
        }
    }
    let mut line = vec![stamp];
    line.extend(cells.into_iter().map(|(text, tone)| span(skin, tone, text)));
    Line::from(line)
}

fn write(cells: &mut [(String, Tone)], from: usize, text: &str, tone: Tone) {
    // Wide characters are none of ours; one in a name takes its cell and shifts nothing.
    for (cell, c) in cells.iter_mut().skip(from).zip(text.chars()) {
        *cell = (c.to_string(), tone);
    }
}

fn details(model: &Model, shown: Row<'_>, area: Rect, buf: &mut Buffer) {
    let world = model.shown();
    let skin = &model.skin;
    let told = |o: &wire::Observation| story::words(o, &|id| world.name(id));
    let inner = boxed(model, "This one", "enter: its cause ", area, buf);
    let room = usize::from(inner.width).saturating_sub(1);
    let (first, second, cause) = match shown {
        Row::Heard(o) => {
            let by = |id| format!("message {} of {}", o.message_id, world.name(id));
            let from = world.trace.sender(o).map_or("by itself".into(), by);
            let seen = format!(" {from}, {}, seen as {} of {}", Term(o.term), o.seq, world.name(NodeId(o.node)));
            (told(o), seen, world.trace.cause(o))
        }
        Row::Lost(lost) => {
            let (known, cause) = match &lost.what {
                What::Request { asked, .. } => ("no answer was told within a second", Some(asked)),
                What::Dropped { .. } => ("as the fault at the sender counts", None),
            };
            (lost.sentence(&|id| world.name(id)), format!(" {known}"), cause)
        }
    };
    let at = shown.stamp();
    let first = format!("{} {first}", minute_ms(at.at_ms));
    let mut lines: Vec<(Tone, String)> =
        wrap(&first, room).into_iter().map(|l| (Tone::Plain, format!(" {l}"))).collect();
    lines.truncate(1);
    lines.push((Tone::Dim, second));
    lines.push(match cause {
        Some(cause) => {
            let side = if Stamp::of(cause) <= at { "before" } else { "later told" };
            let ms = at.at_ms.abs_diff(cause.at_ms);
            (Tone::Plain, format!(" caused by {} {}, {ms} ms {side}", minute_ms(cause.at_ms), told(cause)))
        }
        None => (Tone::Dim, " its cause was not observed, or it had none".into()),
    });
    for (at, (tone, text)) in lines.into_iter().enumerate() {
        put(buf, inner, at, &Line::from(span(skin, tone, fit(&text, room, false))));
    }
}
