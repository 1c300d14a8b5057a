//! The page for a terminal that is too small for panes: the two facts that matter, and how much room is missing.

use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use super::{HEIGHT_MIN, WIDTH_MIN, put, span};
use crate::console::{model::Model, picture::Picture, theme::Tone};

pub(super) fn draw(model: &Model, picture: &Picture, area: Rect, buf: &mut Buffer) {
    let (quorum, tone) =
        if picture.reach.has_quorum() { ("quorum OK", Tone::Good) } else { ("quorum LOST", Tone::Bad) };
    let leader = picture.leader.and_then(|slot| model.shown().node(slot)).map_or("no leader", |n| &n.name);
    let lines = [
        (Tone::Warn, format!("too small: {WIDTH_MIN}x{HEIGHT_MIN} needed, now {}x{}", area.width, area.height)),
        (tone, format!("{leader} {} {quorum} {}/{} live", picture.term, model.shown().live(), model.shown().members())),
        (Tone::Dim, "q quit".to_owned()),
    ];
    for (at, (tone, text)) in lines.into_iter().enumerate() {
        put(buf, area, at, &Line::from(span(&model.skin, tone, text)));
    }
}
