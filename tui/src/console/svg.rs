//! Screens as a picture that any browser shows: one of them, or several that follow each other.
//!
//! Every cell has its place on a grid, whatever font the reader's machine has: stretches of text are told how wide they
//! are, and lines and bars are drawn as shapes, because fonts leave gaps between them. Rows that come again, as most do
//! from one screen to the next, are in the file once.

use std::{collections::HashMap, fmt::Write as _};

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

use super::theme::Theme;

/// Pixels of a cell, and of the text in it: an advance of 0.6 is what monospaced fonts have.
const CELL: (u16, u16) = (9, 18);
const TEXT: u16 = 15;
/// From the top of a cell to the line that letters stand on.
const BASE: u16 = 14;
/// Around the screen.
const MARGIN: u16 = 8;

/// Of a terminal on a dark ground, by the numbers of the 16 colours.
const DARK: Inks = Inks {
    ground: "#14181d",
    text: "#d3d7cf",
    sixteen: [
        "#14181d", "#f0524f", "#5cbf5a", "#d9b43f", "#5b8def", "#c678dd", "#3fb8c4", "#c3c7cb", //
        "#767f8a", "#ff7b78", "#7ee07c", "#f2d06b", "#84aaf7", "#dc9cf0", "#6bd6e0", "#ffffff",
    ],
};

/// The same on a light ground.
const LIGHT: Inks = Inks {
    ground: "#ffffff",
    text: "#24292f",
    sixteen: [
        "#24292f", "#b3261e", "#1f7a1f", "#8a6100", "#1f4fbf", "#8a2fa8", "#0f7480", "#9aa0a6", //
        "#6b7280", "#d03a32", "#2f9e2f", "#a87a00", "#3f6fdf", "#a84fc8", "#1f94a0", "#ffffff",
    ],
};

struct Inks {
    ground: &'static str,
    text: &'static str,
    sixteen: [&'static str; 16],
}

impl Inks {
    fn of(theme: Theme) -> &'static Inks {
        match theme {
            Theme::Dark | Theme::ColourBlind | Theme::Mono => &DARK,
            Theme::Light => &LIGHT,
        }
    }

    fn name(&self, colour: Color, otherwise: &str) -> String {
        let sixteen = |n: usize| self.sixteen[n].to_owned();
        match colour {
            Color::Reset => otherwise.to_owned(),
            Color::Black => sixteen(0),
            Color::Red => sixteen(1),
            Color::Green => sixteen(2),
            Color::Yellow => sixteen(3),
            Color::Blue => sixteen(4),
            Color::Magenta => sixteen(5),
            Color::Cyan => sixteen(6),
            Color::Gray => sixteen(7),
            Color::DarkGray => sixteen(8),
            Color::LightRed => sixteen(9),
            Color::LightGreen => sixteen(10),
            Color::LightYellow => sixteen(11),
            Color::LightBlue => sixteen(12),
            Color::LightMagenta => sixteen(13),
            Color::LightCyan => sixteen(14),
            Color::White => sixteen(15),
            Color::Indexed(n @ 0..=15) => sixteen(usize::from(n)),
            // Six steps of each of red, green and blue; then greys.
            Color::Indexed(n @ 16..=231) => {
                let step = |of: u8| if of == 0 { 0 } else { 55 + 40 * of };
                let n = n - 16;
                format!("#{:02x}{:02x}{:02x}", step(n / 36), step(n / 6 % 6), step(n % 6))
            }
            Color::Indexed(n @ 232..=255) => format!("#{0:02x}{0:02x}{0:02x}", 8 + 10 * (n - 232)),
            Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        }
    }

    /// What is behind a cell, and what is drawn on it.
    fn of_cell(&self, cell: &Cell) -> (String, Ink) {
        let (fore, back) = (self.name(cell.fg, self.text), self.name(cell.bg, self.ground));
        let (fore, back) = if cell.modifier.contains(Modifier::REVERSED) { (back, fore) } else { (fore, back) };
        let has = |modifier| cell.modifier.contains(modifier);
        (back, Ink { colour: fore, bold: has(Modifier::BOLD), underlined: has(Modifier::UNDERLINED) })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ink {
    colour: String,
    bold: bool,
    underlined: bool,
}

/// Screens of one size, each with how long it is shown, in milliseconds. One alone stands still.
pub(crate) fn svg(screens: &[(Buffer, u64)], theme: Theme) -> String {
    let inks = Inks::of(theme);
    let area = screens.first().map_or_else(Default::default, |(buffer, _)| buffer.area);
    let (wide, high) = (area.width * CELL.0, area.height * CELL.1);
    let (all_wide, all_high) = (wide + 2 * MARGIN, high + 2 * MARGIN);
    let mut rows: HashMap<String, usize> = HashMap::new();
    let (mut defs, mut frames) = (String::new(), String::new());
    for (at, (buffer, _)) in screens.iter().enumerate() {
        let _ = write!(frames, "<g transform=\"translate({})\">", at * usize::from(wide));
        for y in 0..area.height.min(buffer.area.height) {
            let drawn = row(buffer, y, inks);
            if drawn.is_empty() {
                continue;
            }
            let next = rows.len();
            let id = *rows.entry(drawn).or_insert_with_key(|drawn| {
                let _ = writeln!(defs, "<g id=\"r{next}\">{drawn}</g>");
                next
            });
            let _ = write!(frames, "<use href=\"#r{id}\" y=\"{}\"/>", y * CELL.1);
        }
        frames += "</g>\n";
    }
    let (style, class) = motion(screens, wide);
    let Inks { ground, text, .. } = inks;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all_wide}\" height=\"{all_high}\" \
         viewBox=\"0 0 {all_wide} {all_high}\">\n\
         <style>text{{font:{TEXT}px ui-monospace,\"DejaVu Sans Mono\",Menlo,Consolas,monospace;white-space:pre;\
         fill:{text}}}{style}</style>\n\
         <defs>\n{defs}</defs>\n\
         <rect width=\"{all_wide}\" height=\"{all_high}\" rx=\"6\" fill=\"{ground}\"/>\n\
         <svg x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{wide}\" height=\"{high}\"><g{class}>\n{frames}</g></svg>\n</svg>\n"
    )
}

/// Screens stand side by side; what moves is which of them is in sight.
fn motion(screens: &[(Buffer, u64)], wide: u16) -> (String, &'static str) {
    let whole_ms: u64 = screens.iter().map(|(_, ms)| ms).sum();
    if screens.len() < 2 || whole_ms == 0 {
        return (String::new(), "");
    }
    let (mut style, mut at_ms) = (String::from("@keyframes film{"), 0);
    for (at, (_, ms)) in screens.iter().enumerate() {
        let percent = at_ms as f64 * 100.0 / whole_ms as f64;
        let _ = write!(style, "{percent:.3}%{{transform:translateX(-{}px)}}", at * usize::from(wide));
        at_ms += ms;
    }
    let _ = write!(style, "}}.film{{animation:film {whole_ms}ms steps(1,end) infinite}}");
    (style, " class=\"film\"")
}

/// One row of cells: what is behind them, then stretches of text, lines and bars.
fn row(buffer: &Buffer, y: u16, inks: &Inks) -> String {
    let cells: Vec<(&str, String, Ink)> = (0..buffer.area.width)
        .map(|x| {
            let cell = &buffer[(x, y)];
            let (back, ink) = inks.of_cell(cell);
            (cell.symbol(), back, ink)
        })
        .collect();
    let mut drawn = String::new();
    for (x, wide, back) in stretches(&cells, |cell| (cell.1 != inks.ground).then_some(&cell.1)) {
        let (left, wide, high) = (x * usize::from(CELL.0), wide * usize::from(CELL.0), CELL.1);
        let _ = write!(drawn, "<path fill=\"{back}\" d=\"M{left} 0h{wide}v{high}h-{wide}z\"/>");
    }
    // Lines of one colour are one path, however far apart.
    let mut shapes: Vec<(&str, Vec<String>)> = Vec::new();
    for (x, (symbol, _, ink)) in cells.iter().enumerate() {
        if let Some(shape) = shape(symbol, x as u16 * CELL.0) {
            match shapes.iter_mut().find(|(colour, _)| *colour == ink.colour) {
                Some((_, paths)) => paths.push(shape),
                None => shapes.push((&ink.colour, vec![shape])),
            }
        }
    }
    for (colour, paths) in shapes {
        let _ = write!(drawn, "<path fill=\"{colour}\" d=\"{}\"/>", paths.concat());
    }
    for (x, wide, (ink, _)) in stretches(&cells, |(symbol, _, ink)| {
        // What is no ASCII may come from another font: it stands alone, so that it moves nothing.
        let alone = (!symbol.is_ascii()).then_some(*symbol);
        let drawn = (symbol.trim().is_empty() && !ink.underlined) || shape(symbol, 0).is_some();
        (!drawn).then_some((ink, alone))
    }) {
        let said: String = cells[x..x + wide].iter().map(|cell| cell.0).collect();
        let said = said.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let (left, length) = (x * usize::from(CELL.0), wide * usize::from(CELL.0));
        let fill = if ink.colour == inks.text { String::new() } else { format!(" fill=\"{}\"", ink.colour) };
        let bold = if ink.bold { " font-weight=\"bold\"" } else { "" };
        let line = if ink.underlined { " text-decoration=\"underline\"" } else { "" };
        let style = fill.replace(" fill=\"", " style=\"fill:") + bold + line;
        let _ = write!(drawn, "<text x=\"{left}\" y=\"{BASE}\" textLength=\"{length}\"{style}>{said}</text>");
    }
    drawn
}

/// Neighbouring cells that are alike: from where, how many, and as what. Cells that are nothing are left out.
fn stretches<'a, C, T: PartialEq>(cells: &'a [C], as_what: impl Fn(&'a C) -> Option<T>) -> Vec<(usize, usize, T)> {
    let mut found: Vec<(usize, usize, T)> = Vec::new();
    for (x, cell) in cells.iter().enumerate() {
        let Some(what) = as_what(cell) else { continue };
        match found.last_mut() {
            Some((from, count, of)) if *from + *count == x && *of == what => *count += 1,
            Some(_) | None => found.push((x, 1, what)),
        }
    }
    found
}

/// The path of a line or a bar whose cell begins at `left`; none for what is a letter.
fn shape(symbol: &str, left: u16) -> Option<String> {
    const MIDDLE: (u16, u16) = (CELL.0 / 2, CELL.1 / 2);
    let across = |from: u16, to: u16| format!("M{} {}h{}v1h-{2}z", left + from, MIDDLE.1, to - from);
    let down = |from: u16, to: u16| format!("M{} {from}v{}h1v-{1}z", left + MIDDLE.0, to - from);
    let (right, bottom) = (MIDDLE.0, CELL.1);
    let block = |x: f64, y: f64, wide: f64, high: f64| format!("M{} {y}h{wide}v{high}h-{wide}z", f64::from(left) + x);
    let (wide, high) = (f64::from(CELL.0), f64::from(CELL.1));
    let lines = match symbol {
        "─" => across(0, CELL.0),
        "│" => down(0, bottom),
        "┌" => across(right, CELL.0) + &down(MIDDLE.1, bottom),
        "┐" => across(0, right + 1) + &down(MIDDLE.1, bottom),
        "└" => across(right, CELL.0) + &down(0, MIDDLE.1 + 1),
        "┘" => across(0, right + 1) + &down(0, MIDDLE.1 + 1),
        "░" => (0..6).map(|n| block(1.0 + f64::from(n % 2) * 4.0, 2.0 + f64::from(n / 2) * 5.0, 2.0, 2.0)).collect(),
        _ => {
            let only = symbol.chars().next().filter(|c| c.len_utf8() == symbol.len())?;
            match u32::from(only) {
                // Eighths of the height, from below.
                n @ 0x2581..=0x2588 => {
                    let part = f64::from(n - 0x2580) / 8.0 * high;
                    block(0.0, high - part, wide, part)
                }
                // Eighths of the width, from seven down to one.
                n @ 0x2589..=0x258f => block(0.0, 0.0, f64::from(0x2590 - n) / 8.0 * wide, high),
                _ => return None,
            }
        }
    };
    Some(lines)
}

#[cfg(test)]
mod tests {
    use ratatui::{layout::Rect, style::Style};

    use super::*;

    fn screen(line: &str, style: Style) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 2));
        buffer.set_string(0, 0, line, style);
        buffer
    }

    #[test]
    fn text_has_its_place_and_its_colour_and_cannot_be_markup() {
        let svg = svg(&[(screen("a<b & c ★", Style::new().fg(Color::Red)), 0)], Theme::Dark);
        let red = DARK.sixteen[1];
        for part in ["a&lt;b", "&amp;", &format!("x=\"72\" y=\"14\" textLength=\"9\" style=\"fill:{red}\">★</text>")]
        {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!svg.contains("@keyframes"), "one alone stands still");
    }

    #[test]
    fn a_reversed_cell_has_the_colours_the_other_way_round() {
        let svg = svg(&[(screen("x", Style::new().add_modifier(Modifier::REVERSED)), 0)], Theme::Light);
        assert!(svg.contains(&format!("<path fill=\"{}\" d=\"M0 0h9v18h-9z\"/>", LIGHT.text)), "{svg}");
        assert!(svg.contains(&format!("style=\"fill:{}\">x", LIGHT.ground)), "{svg}");
    }

    #[test]
    fn a_row_that_comes_again_is_there_once() {
        let screens = [("one", 100), ("two", 300), ("one", 600)].map(|(line, ms)| (screen(line, Style::new()), ms));
        let svg = svg(&screens, Theme::Dark);
        assert_eq!(svg.matches(">one<").count(), 1);
        assert_eq!(svg.matches("href=\"#r0\"").count(), 2);
        let steps = "0.000%{transform:translateX(-0px)}10.000%{transform:translateX(-108px)}40.000%";
        assert!(svg.contains(steps) && svg.contains("animation:film 1000ms"), "{svg}");
    }

    #[test]
    fn lines_and_bars_meet_at_the_edges_of_their_cells() {
        assert_eq!(shape("─", 9).unwrap(), "M9 9h9v1h-9z");
        assert_eq!(shape("│", 0).unwrap(), "M4 0v18h1v-18z");
        assert_eq!(shape("▄", 0).unwrap(), "M0 9h9v9h-9z");
        assert_eq!(shape("▌", 0).unwrap(), "M0 0h4.5v18h-4.5z");
        assert_eq!(shape("x", 0), None);
    }
}
