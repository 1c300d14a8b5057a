//! The newest election below the links: a row for each candidate, a column for each voter, and the reasons of refusals.

use std::collections::BTreeMap;

use ratatui::text::{Line, Span};

use super::{links::COLUMN, span};
use crate::console::{
    model::Model,
    msg::Slot,
    picture::Picture,
    text::{fit, minute_ms, wrap},
    theme::Tone,
    votes::Answer,
    world::Node,
};

/// The table, in columns that are those of the links; empty if no election was seen.
pub(super) fn lines(
    model: &Model,
    picture: &Picture,
    label: usize,
    room: usize,
    columns: &[Slot],
) -> Vec<Line<'static>> {
    let Some(election) = model.shown().votes.newest() else { return Vec::new() };
    let glyphs = &model.skin.glyphs;
    let (yes, no, silent) = (glyphs.good, glyphs.bad, glyphs.missing);
    let what = if election.pre { "Pre-votes" } else { "Votes" };
    let when = format!(", {}: row asks column", minute_ms(election.at_ms));
    let title = span(&model.skin, Tone::Title, format!(" {what} {}", election.term));
    let mut lines = vec![Line::from(vec![title, span(&model.skin, Tone::Dim, when)])];
    let leader = picture.leader.and_then(|slot| model.shown().node(slot)?.word());
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for candidate in election.candidates.keys() {
        let won = leader.is_some_and(|s| (s.id, s.term) == (*candidate, election.term));
        let name = format!(" {} {}", model.shown().name(*candidate), if won { glyphs.leader } else { "" });
        let mut line = vec![span(&model.skin, Tone::Title, fit(&name, label, false))];
        for Node { id, name, .. } in columns.iter().filter_map(|slot| model.shown().node(*slot)) {
            let (mark, tone) = match id.and_then(|id| model.shown().votes.answer(&election, *candidate, id)) {
                Some(Answer::Granted) => (yes, Tone::Good),
                Some(Answer::Refused(why)) => {
                    let told = reasons.entry(why.clone()).or_default();
                    if !told.contains(name) {
                        told.push(name.clone());
                    }
                    (no, Tone::Bad)
                }
                None => (silent, Tone::Dim),
            };
            line.extend([span(&model.skin, tone, fit(mark, COLUMN - 1, true)), Span::raw(" ")]);
        }
        lines.push(Line::from(line));
    }
    for (why, voters) in reasons {
        let said = wrap(&format!("{}: {why}", voters.join(" ")), room.saturating_sub(2));
        lines.extend(said.into_iter().map(|row| Line::from(span(&model.skin, Tone::Warn, format!(" {row}")))));
    }
    lines
}
