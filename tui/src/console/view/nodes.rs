//! The nodes, one row each, in the order of the cluster file. A node that is gone keeps its last row, marked.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{framed, listed, put, span};
use crate::console::{
    model::{Model, Pane},
    msg::{NEVER, Slot},
    order::Order,
    picture::Picture,
    status::{FaultKind, Peer, Role, Status},
    text::{count, fit, natural, span_ms, width},
    theme::Tone,
    world::{Conn, Node},
};

/// Cells of the election bar.
const BAR: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Node,
    Role,
    Term,
    Voted,
    Last,
    Commit,
    Applied,
    Match,
    Lag,
    Heard,
    Timer,
    Queue,
    Run,
    Conn,
    Fault,
}

/// In the order of the screen, with how much each matters: 0 stays longest.
const COLUMNS: [(Column, &str, u8); 15] = [
    (Column::Node, "node", 0),
    (Column::Role, "role", 0),
    (Column::Term, "term", 0),
    (Column::Voted, "voted", 7),
    (Column::Last, "last", 2),
    (Column::Commit, "commit", 1),
    (Column::Applied, "applied", 6),
    (Column::Match, "match", 8),
    (Column::Lag, "lag", 3),
    (Column::Heard, "heard", 4),
    (Column::Timer, "election", 5),
    (Column::Queue, "queue", 9),
    (Column::Run, "run", 10),
    (Column::Conn, "conn", 1),
    (Column::Fault, "fault", 1),
];

/// A text and what it means.
type Cell = (String, Tone);

pub(super) fn draw(model: &Model, picture: &Picture, area: Rect, buf: &mut Buffer) {
    let marked = model.marked.len();
    let right = match marked {
        0 if model.order != Order::default() => {
            let way = if model.order.reversed { ", reversed" } else { "" };
            vec![span(&model.skin, Tone::Dim, format!(" by {}{way} ", model.order.by.name()))]
        }
        0 => beyond(model, area),
        n => vec![span(&model.skin, Tone::You, format!(" {n} marked: x cuts them off "))],
    };
    let inner = framed(model, Pane::Nodes, right, area, buf);
    let columns = columns(model, usize::from(inner.width));
    let mut head = String::from("  ");
    for (column, title, wide) in &columns {
        head.push_str(&fit(title, *wide, right_aligned(*column)));
        head.push(' ');
    }
    put(buf, inner, 0, &Line::from(span(&model.skin, Tone::Dim, head)));
    let rows = usize::from(inner.height).saturating_sub(1);
    for (at, slot) in listed(model, picture, rows).into_iter().enumerate() {
        let Some(node) = model.shown().node(slot) else { continue };
        put(buf, inner, at + 1, &row(model, picture, slot, node, &columns));
        if slot.0 == model.cursor && model.focus != Pane::Events {
            let y = inner.y + 1 + at as u16;
            buf.set_style(Rect { y, height: 1, ..inner }, model.skin.style(Tone::Cursor));
        }
    }
}

/// How many have no row.
fn beyond(model: &Model, area: Rect) -> Vec<Span<'static>> {
    // The frame and the head take three.
    let more = model.shown().nodes.len().saturating_sub(usize::from(area.height).saturating_sub(3));
    if more == 0 { Vec::new() } else { vec![span(&model.skin, Tone::Dim, format!(" {more} more, up and down "))] }
}

/// The columns that have room, each with its width. Faults take what is left.
fn columns(model: &Model, room: usize) -> Vec<(Column, &'static str, usize)> {
    let names = model.shown().nodes.iter().map(|n| width(&n.name)).max().unwrap_or(4).clamp(4, 15);
    let digits = model.shown().last_index().0.to_string().len();
    let wide = |column: Column| match column {
        Column::Node => names,
        Column::Role | Column::Conn => 9,
        Column::Term | Column::Lag => 4,
        Column::Voted | Column::Heard | Column::Queue => 5,
        Column::Last => digits.max(4),
        Column::Commit => digits.max(6),
        Column::Applied => digits.max(7),
        Column::Match => digits.max(5),
        Column::Timer if room < 100 => BAR,
        Column::Timer => BAR + 6,
        Column::Run => 3,
        Column::Fault => 10,
    };
    let mut kept: Vec<(Column, &'static str, usize, u8)> =
        COLUMNS.iter().map(|(column, title, weight)| (*column, *title, wide(*column), *weight)).collect();
    let total = |kept: &[(Column, &str, usize, u8)]| 2 + kept.iter().map(|c| c.2 + 1).sum::<usize>();
    while total(&kept) > room {
        let Some(least) = (0..kept.len()).max_by_key(|at| kept[*at].3).filter(|at| kept[*at].3 > 0) else { break };
        kept.remove(least);
    }
    let left = room.saturating_sub(total(&kept));
    kept.into_iter().map(|(c, t, w, _)| (c, t, if c == Column::Fault { w + left } else { w })).collect()
}

fn right_aligned(column: Column) -> bool {
    match column {
        Column::Term
        | Column::Last
        | Column::Commit
        | Column::Applied
        | Column::Match
        | Column::Lag
        | Column::Heard
        | Column::Queue
        | Column::Run => true,
        Column::Node | Column::Role | Column::Voted | Column::Timer | Column::Conn | Column::Fault => false,
    }
}

fn row(
    model: &Model,
    picture: &Picture,
    slot: Slot,
    node: &Node,
    columns: &[(Column, &'static str, usize)],
) -> Line<'static> {
    let glyphs = &model.skin.glyphs;
    let mark = if model.marked.contains(&slot) { glyphs.marked } else { " " };
    let cursor = if slot.0 == model.cursor { glyphs.cursor } else { " " };
    let mut spans = vec![Span::raw(cursor), span(&model.skin, Tone::You, mark)];
    for (column, _, wide) in columns {
        let (mut text, tone) = cell(*column, model, picture, slot, node);
        if *column == Column::Timer && *wide == BAR {
            text = text.chars().take(BAR).collect();
        }
        // What a silent node last said is old: it is there, but it recedes.
        let old = !node.live() && tone == Tone::Plain;
        spans.push(span(&model.skin, if old { Tone::Dim } else { tone }, fit(&text, *wide, right_aligned(*column))));
        spans.push(Span::styled(" ", Style::new()));
    }
    Line::from(spans)
}

fn cell(column: Column, model: &Model, picture: &Picture, slot: Slot, node: &Node) -> Cell {
    let plain = |text: String| (text, Tone::Plain);
    let none = || ("-".to_owned(), Tone::Dim);
    if model.shown().gone(node) {
        match column {
            Column::Role => return ("gone".into(), Tone::Dim),
            Column::Conn | Column::Heard | Column::Lag => return none(),
            Column::Fault => return ("left the cluster".into(), Tone::Dim),
            Column::Node
            | Column::Term
            | Column::Voted
            | Column::Last
            | Column::Commit
            | Column::Applied
            | Column::Match
            | Column::Timer
            | Column::Queue
            | Column::Run => {}
        }
    }
    match (column, node.word()) {
        (Column::Node, _) => (node.name.clone(), Tone::Title),
        (Column::Role, _) => role(model, picture, slot, node),
        (Column::Conn, _) => conn(model, node),
        (Column::Fault, _) => fault(model, node),
        (_, None) => none(),
        (Column::Term, Some(s)) => (s.term.0.to_string(), Tone::Term(s.term.0)),
        (Column::Voted, Some(s)) => s.voted_for.map_or_else(none, |id| plain(model.shown().name(id))),
        (Column::Last, Some(s)) => plain(s.last.to_string()),
        (Column::Commit, Some(s)) => plain(s.commit.to_string()),
        (Column::Applied, Some(s)) => plain(s.applied.to_string()),
        (Column::Match, Some(s)) => {
            progress(model, picture, s).map_or_else(none, |(matched, _)| plain(matched.to_string()))
        }
        (Column::Lag, Some(s)) => match progress(model, picture, s) {
            None => none(),
            Some((_, 0)) => plain("0".into()),
            Some((_, lag)) => (count(lag), Tone::Warn),
        },
        (Column::Heard, Some(_)) if !node.live() => (span_ms(node.age_ms(model.shown().now)), Tone::Warn),
        (Column::Heard, Some(s)) if s.role == Role::Leader => none(),
        (Column::Heard, Some(s)) => plain(span_ms(s.heard_ms)),
        (Column::Timer, Some(s)) if !node.live() || s.role == Role::Leader || s.election_timeout_ms == 0 => none(),
        (Column::Timer, Some(s)) => bar(model, s),
        (Column::Queue, Some(s)) => plain(count(s.jobs.available)),
        (Column::Run, Some(s)) => plain(count(s.executing)),
    }
}

fn role(model: &Model, picture: &Picture, slot: Slot, node: &Node) -> Cell {
    let glyphs = &model.skin.glyphs;
    let heard_by_others = node.id.is_some_and(|id| picture.up(id));
    match (&node.conn, node.word()) {
        (Conn::Live, Some(s)) => match s.role {
            Role::Leader if picture.stale.contains(&slot) => ("STALE ldr".into(), Tone::Bad),
            Role::Leader => (format!("LEADER {}", glyphs.leader), Tone::Good),
            Role::Candidate => ("candidate".into(), Tone::Warn),
            Role::PreCandidate => ("pre-cand.".into(), Tone::Warn),
            Role::Follower => ("follower".into(), Tone::Plain),
        },
        (Conn::Foreign(_), _) => ("foreign".into(), Tone::Bad),
        (Conn::Silent { .. }, _) => ("silent ?".into(), Tone::Warn),
        (Conn::Connecting | Conn::Live, None) if !node.failed => ("waiting".into(), Tone::Warn),
        (Conn::Connecting | Conn::Live | Conn::Retrying { .. }, _) if heard_by_others => {
            ("unseen ?".into(), Tone::Warn)
        }
        (Conn::Connecting | Conn::Live | Conn::Retrying { .. }, _) => (format!("down {}", glyphs.down), Tone::Bad),
    }
}

fn conn(model: &Model, node: &Node) -> Cell {
    match &node.conn {
        Conn::Live => ("live".into(), Tone::Good),
        Conn::Silent { .. } => (format!("{} ago", span_ms(node.age_ms(model.shown().now))), Tone::Warn),
        Conn::Connecting => ("connect".into(), Tone::Warn),
        // It comes back when its scenario says so.
        Conn::Retrying { at_run_ms: NEVER, .. } => ("-".into(), Tone::Dim),
        Conn::Retrying { at_run_ms, .. } => {
            (format!("try {}", span_ms(at_run_ms.saturating_sub(model.shown().now.run_ms))), Tone::Warn)
        }
        Conn::Foreign(_) => ("refused".into(), Tone::Bad),
    }
}

fn fault(model: &Model, node: &Node) -> Cell {
    let glyphs = &model.skin.glyphs;
    match (&node.conn, node.word()) {
        (Conn::Retrying { why, .. }, _) => {
            let short = why.strip_prefix("connection ").unwrap_or(why);
            (short.to_owned(), Tone::Warn)
        }
        (Conn::Silent { .. }, _) => ("nothing heard".into(), Tone::Warn),
        (Conn::Foreign(cluster), _) => (format!("belongs to {cluster}"), Tone::Bad),
        (Conn::Live, Some(s)) if !s.faults.is_empty() => {
            let cut = |peer: &Peer| s.faults.iter().any(|f| f.kind == FaultKind::Cut(peer.id));
            let mut cuts: Vec<String> = s
                .faults
                .iter()
                .map(|f| match &f.kind {
                    FaultKind::Cut(peer) => model.shown().name(*peer),
                    FaultKind::Kill => "kill".into(),
                    FaultKind::Other { peer: Some(peer), words, .. } => {
                        format!("{}: {words}", model.shown().name(*peer))
                    }
                    FaultKind::Other { peer: None, words, .. } => words.clone(),
                })
                .collect();
            cuts.sort_by_key(|name| natural(name));
            if s.peers.len() > 1 && s.peers.iter().all(cut) {
                cuts = vec!["all".into()];
            }
            let left = s.faults.iter().map(|f| f.left_ms).max().unwrap_or_default();
            let age = node.status.as_ref().map_or(0, |(_, at)| model.shown().now.run_ms.saturating_sub(at.run_ms));
            let left = if left == NEVER { String::new() } else { format!("{} ", span_ms(left.saturating_sub(age))) };
            (format!("{} {left}{}", glyphs.cut, cuts.join(" ")), Tone::Bad)
        }
        (Conn::Connecting | Conn::Live, _) => ("-".into(), Tone::Dim),
    }
}

/// How far the leader knows this node's log to agree, and by how much that is behind its own.
fn progress(model: &Model, picture: &Picture, s: &Status) -> Option<(u64, u64)> {
    let leader = model.shown().node(picture.leader?)?.word()?;
    let matched = leader.peer(s.id)?.matched.0;
    // A new leader knows nothing yet: then the node's own word must do.
    let has = if matched == 0 { s.last.0 } else { matched };
    Some((matched, leader.last.0.saturating_sub(has)))
}

/// The time left until this node would ask for votes; a warning in its last quarter.
fn bar(model: &Model, s: &Status) -> Cell {
    let left = s.election_left_ms.min(s.election_timeout_ms);
    let eighths =
        usize::try_from(left.saturating_mul(8 * BAR as u64) / s.election_timeout_ms.max(1)).unwrap_or_default();
    let glyphs = &model.skin.glyphs;
    let cells = (0..BAR).map(|at| glyphs.eighths[eighths.saturating_sub(8 * at).min(8)]);
    let soon = left < s.election_timeout_ms / 4;
    (format!("{} {:>5}", cells.collect::<String>(), span_ms(left)), if soon { Tone::Warn } else { Tone::Dim })
}
