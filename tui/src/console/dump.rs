//! The screen as files: as text, with its colours as a terminal would be told them (`cat` shows it again), and as a picture.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier},
};

use super::{svg::svg, theme::Theme};

/// The characters, without the spaces at the ends of lines.
pub(crate) fn text(buffer: &Buffer) -> String {
    let lines = (0..buffer.area.height).map(|y| {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn ansi(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut before = (Color::Reset, Color::Reset, Modifier::empty());
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            let style = (cell.fg, cell.bg, cell.modifier);
            if style != before {
                let modifiers = [(Modifier::BOLD, ";1"), (Modifier::UNDERLINED, ";4"), (Modifier::REVERSED, ";7")];
                let held: String =
                    modifiers.iter().filter(|(m, _)| cell.modifier.contains(*m)).map(|(_, c)| *c).collect();
                let _ = write!(out, "\x1b[0{held}{}{}m", colour(cell.fg, 30), colour(cell.bg, 40));
                before = style;
            }
            out.push_str(cell.symbol());
        }
        out.push_str("\x1b[0m\n");
    }
    out
}

/// The code of a colour, for the foreground (30) or the background (40).
fn colour(colour: Color, base: u8) -> String {
    let basic = |n: u8| format!(";{}", base + n);
    let bright = |n: u8| format!(";{}", base + 60 + n);
    match colour {
        Color::Reset => String::new(),
        Color::Black => basic(0),
        Color::Red => basic(1),
        Color::Green => basic(2),
        Color::Yellow => basic(3),
        Color::Blue => basic(4),
        Color::Magenta => basic(5),
        Color::Cyan => basic(6),
        Color::Gray => basic(7),
        Color::DarkGray => bright(0),
        Color::LightRed => bright(1),
        Color::LightGreen => bright(2),
        Color::LightYellow => bright(3),
        Color::LightBlue => bright(4),
        Color::LightMagenta => bright(5),
        Color::LightCyan => bright(6),
        Color::White => bright(7),
        Color::Indexed(n) => format!(";{};5;{n}", base + 8),
        Color::Rgb(r, g, b) => format!(";{};2;{r};{g};{b}", base + 8),
    }
}

/// Writes all three into a folder, under the time; the path of the text.
///
/// # Errors
/// They are there already, or cannot be written.
pub(crate) fn write(buffer: Buffer, theme: Theme, folder: &Path, unix_ms: u64) -> io::Result<PathBuf> {
    let path = folder.join(format!("raftdeck-screen-{unix_ms}.txt"));
    let (text, ansi) = (text(&buffer), ansi(&buffer));
    for (kind, content) in [("txt", text), ("ansi", ansi), ("svg", svg(&[(buffer, 0)], theme))] {
        io::Write::write_all(&mut fs::File::create_new(path.with_extension(kind))?, content.as_bytes())?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use ratatui::{layout::Rect, style::Style};

    use super::*;

    #[test]
    fn the_colours_are_those_of_the_cells() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 2));
        buffer.set_string(0, 0, "ok", Style::new().fg(Color::Green));
        buffer.set_string(
            2,
            0,
            "!",
            Style::new().fg(Color::Indexed(208)).add_modifier(Modifier::BOLD | Modifier::REVERSED),
        );
        assert_eq!(text(&buffer), "ok!\n\n");
        assert_eq!(ansi(&buffer), "\x1b[0;32mok\x1b[0;1;7;38;5;208m!\x1b[0m   \x1b[0m\n      \x1b[0m\n");
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let buffer = Buffer::empty(Rect::new(0, 0, 2, 1));
        let path = write(buffer.clone(), Theme::Dark, folder.path(), 7).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\n");
        assert!(fs::read_to_string(path.with_extension("svg")).unwrap().starts_with("<svg "));
        assert!(write(buffer, Theme::Dark, folder.path(), 7).is_err());
    }
}
