//! Faults: what is in force and for how long, and what each one cost, as the nodes measured it.

use std::collections::BTreeSet;

use raftdeck_shared::ids::NodeId;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{boxed, put, rows, span, window};
use crate::console::{
    model::{Model, View},
    msg::NEVER,
    outage::Incident,
    status::FaultKind,
    text::{clock, fit, span_ms},
    theme::Tone,
    world::World,
};

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let active = active(model.shown());
    let height = u16::try_from(active.len().max(1) + 2).unwrap_or(area.height).min(area.height / 2);
    let [upper, lower] = rows(area, [height, area.height - height]);
    let inner = boxed(model, "In force", "H: heal all ", upper, buf);
    if active.is_empty() {
        put(buf, inner, 0, &Line::from(span(&model.skin, Tone::Dim, " no fault is in force")));
    }
    for (at, (what, left)) in active.into_iter().enumerate() {
        let left =
            if left == NEVER { "until it is healed".into() } else { format!("ends by itself in {}", span_ms(left)) };
        let widest = usize::from(inner.width).saturating_sub(31).max(39);
        let line = vec![
            span(&model.skin, Tone::Bad, format!(" {} ", model.skin.glyphs.cut)),
            Span::raw(fit(&what, what.chars().count().clamp(39, widest), false) + " "),
            span(&model.skin, Tone::Dim, left),
        ];
        put(buf, inner, at, &Line::from(line));
    }
    measured(model, lower, buf);
}

/// A link that is cut at both ends is told once.
fn active(world: &World) -> Vec<(String, u64)> {
    let mut links: BTreeSet<(NodeId, NodeId)> = BTreeSet::new();
    let mut told = Vec::new();
    for node in world.nodes.iter().filter(|n| n.live()) {
        let Some((status, at)) = &node.status else { continue };
        for fault in &status.faults {
            let left = match fault.left_ms {
                NEVER => NEVER,
                left => left.saturating_sub(world.now.run_ms.saturating_sub(at.run_ms)),
            };
            match &fault.kind {
                FaultKind::Cut(peer) => {
                    let peer = *peer;
                    if links.insert((status.id.min(peer), status.id.max(peer))) {
                        told.push((format!("link {} - {} is cut", node.name, world.name(peer)), left));
                    }
                }
                FaultKind::Kill => told.push((format!("{} is being killed", node.name), left)),
                FaultKind::Other { peer, words, effect } => {
                    let towards = peer.map(|peer| format!(" -> {}", world.name(peer))).unwrap_or_default();
                    let effect = if effect.is_empty() { String::new() } else { format!(" ({effect})") };
                    told.push((format!("{}{towards}: {words}{effect}", node.name), left));
                }
            }
        }
    }
    told
}

fn measured(model: &Model, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let incidents: Vec<&Incident> = model.shown().outages.newest().collect();
    let inner = boxed(model, "Measured, by the nodes' own clocks", "enter: go there ", area, buf);
    if incidents.is_empty() {
        put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, " nothing has gone wrong since this console looks")));
        return;
    }
    let wide = usize::from(inner.width);
    let head = format!(
        "  {:<9}{:>10}{:>9}{:>10}{:>9}{:>9}  what",
        "at", "no leader", "stalled", "recovered", "refused", "over"
    );
    put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, head.clone())));
    let rows = usize::from(inner.height).saturating_sub(2);
    let cursor = model.browse.row(View::Faults).min(incidents.len() - 1);
    let start = window(incidents.len(), rows, cursor);
    for (at, incident) in incidents.iter().enumerate().skip(start).take(rows) {
        let maybe = |ms: Option<u64>| ms.map_or("-".to_owned(), span_ms);
        let leaderless = if incident.leaderless_ms == 0 { "none".into() } else { span_ms(incident.leaderless_ms) };
        let hurt = if incident.leaderless_ms > 0 { Tone::Warn } else { Tone::Good };
        let over = incident.over_ms.map_or("not yet".into(), span_ms);
        let line = vec![
            Span::raw(format!("{} {:<9}", if at == cursor { skin.glyphs.cursor } else { " " }, clock(incident.at_ms))),
            span(skin, hurt, format!("{leaderless:>10}")),
            Span::raw(format!("{:>9}{:>10}", maybe(incident.stall_ms), maybe(incident.recovered_ms))),
            Span::raw(format!("{:>9}{over:>9}  ", incident.refused)),
            span(skin, Tone::Title, fit(&incident.causes.join("; "), wide.saturating_sub(head.len() - 4), false)),
        ];
        put(buf, inner, 1 + at - start, &Line::from(line));
        if at == cursor {
            let y = inner.y + 1 + (at - start) as u16;
            buf.set_style(Rect { y, height: 1, ..inner }.intersection(inner), skin.style(Tone::Cursor));
        }
    }
    let legend =
        " stalled: longest time between two commits   refused: submits of this console   -: nothing was committed";
    put(buf, inner, usize::from(inner.height).saturating_sub(1), &Line::from(span(skin, Tone::Dim, legend)));
}
