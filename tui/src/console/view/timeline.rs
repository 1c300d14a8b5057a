//! The last minutes at a glance, a second a cell (a tenth of one in a simulation): terms, jobs ended, faults; and where in time the screen is.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Widget as _},
};

use super::{put, span};
use crate::console::{
    model::Model,
    tape::Slice,
    text::{clock, span_ms},
    theme::Tone,
};

/// Cells of the words in front.
const LABEL: u16 = 9;

/// In a box with three rows if it is high enough, or two rows without one.
pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.height < 2 || area.width < 2 * LABEL {
        return;
    }
    let inner = if area.height >= 5 { frame(model, area, buf) } else { area };
    let tape = &model.live.tape;
    let Some(newest) = tape.last() else { return };
    let cells = u64::from(inner.width - LABEL);
    let here = tape.number(model.shown().now.run_ms);
    let newest = newest.max(here);
    // The place that is shown stays in sight.
    let last = if here + cells / 2 >= newest { newest } else { (here + cells / 2).min(newest) };
    let numbers = (last + 1).saturating_sub(cells)..=last;
    let slices: Vec<(u64, Option<(Slice, u64)>)> = numbers.map(|number| (number, tape.at(number))).collect();
    let mut rows = vec![terms(model, &slices), marks(model, &slices, here)];
    if inner.height >= 3 {
        rows.insert(1, jobs(model, &slices));
    }
    for (at, (label, cells)) in rows.into_iter().enumerate() {
        let mut line = vec![span(&model.skin, Tone::Dim, format!(" {label:<8}"))];
        line.extend(cells);
        put(buf, inner, at, &Line::from(line));
    }
}

fn frame(model: &Model, area: Rect, buf: &mut Buffer) -> Rect {
    let title = match model.film.span() {
        Some((first, last)) => {
            let kept = span_ms(last.run_ms.saturating_sub(first.run_ms));
            format!(" Timeline  {kept} kept, from {} ", clock(first.unix_ms))
        }
        None => " Timeline ".into(),
    };
    let block = Block::bordered()
        .border_set(model.skin.glyphs.border)
        .border_style(model.skin.style(Tone::Dim))
        .title(Line::from(span(&model.skin, Tone::Title, title)));
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}

type Cells = Vec<Span<'static>>;

fn terms(model: &Model, slices: &[(u64, Option<(Slice, u64)>)]) -> (&'static str, Cells) {
    let cell = |slice: &Option<(Slice, u64)>| match slice.map(|(s, _)| (s.term, s.gap)) {
        None => Span::raw(" "),
        Some((None, _)) => span(&model.skin, Tone::Bad, "?"),
        Some((Some(term), true)) => span(&model.skin, Tone::Bad, (term.0 % 10).to_string()),
        Some((Some(term), false)) => span(&model.skin, Tone::Term(term.0), (term.0 % 10).to_string()),
    };
    ("term", slices.iter().map(|(_, slice)| cell(slice)).collect())
}

fn jobs(model: &Model, slices: &[(u64, Option<(Slice, u64)>)]) -> (&'static str, Cells) {
    let most = slices.iter().filter_map(|(_, s)| s.map(|(_, ended)| ended)).max().unwrap_or(0).max(1);
    let cell = |slice: &Option<(Slice, u64)>| match slice {
        None | Some((_, 0)) => Span::raw(" "),
        Some((_, ended)) => {
            let step = ended.saturating_mul(8).div_ceil(most).clamp(1, 8) as usize - 1;
            span(&model.skin, Tone::Plain, model.skin.glyphs.rises[step])
        }
    };
    (model.live.tape.unit(), slices.iter().map(|(_, slice)| cell(slice)).collect())
}

fn marks(model: &Model, slices: &[(u64, Option<(Slice, u64)>)], here: u64) -> (&'static str, Cells) {
    let cell = |(number, slice): &(u64, Option<(Slice, u64)>)| {
        if *number == here {
            return span(&model.skin, Tone::You, model.skin.glyphs.here);
        }
        match slice.and_then(|(s, _)| s.mark) {
            Some('E') => span(&model.skin, Tone::Warn, "E"),
            Some(mark @ ('H' | 'R')) => span(&model.skin, Tone::Good, mark.to_string()),
            Some(mark) => span(&model.skin, Tone::Bad, mark.to_string()),
            None => Span::raw(" "),
        }
    };
    ("faults", slices.iter().map(cell).collect())
}

/// The letters of the last row, for the page of keys: in one line from 120 columns on.
pub(super) fn legend() -> &'static str {
    "K kill  X cut  H healed  R restart  E election  ! a node lost  ? no leader"
}
