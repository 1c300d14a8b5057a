//! What goes to stdout: words for people or one JSON value for programs, never both.
//!
//! Each write is flushed: a pipe shows a line when it happens. A closed pipe ends the verb in silence
//! ([`Failure::ReaderGone`]); any other error on stdout is a failure, so that a full disk never looks like success.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::failure::Failure;

/// How to speak.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    /// One JSON value a line instead of words.
    pub json: bool,
    /// Stdout is a terminal that takes colours (NO_COLOR is honoured).
    pub color: bool,
    /// Cells of a line of the terminal. None where stdout is no terminal: what is not read by a person gets everything.
    pub columns: Option<usize>,
}

impl Out {
    /// For this process's stdout.
    #[must_use]
    pub fn new(json: bool) -> Out {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_terminal = io::stdout().is_terminal();
        let columns = is_terminal.then(crossterm::terminal::size).and_then(Result::ok).map(|(columns, _)| columns);
        // A terminal that does not know its size says 0.
        let columns = columns.filter(|columns| *columns > 0).map(usize::from);
        Out { json, color: !json && !no_color && is_terminal, columns }
    }

    /// Prints the value or the words, as was asked for.
    ///
    /// # Errors
    /// Stdout does not take it.
    pub fn say(&self, value: &impl Serialize, words: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string(value).map_err(|e| format!("cannot write JSON: {e}"))?;
            self.line(&text)
        } else {
            self.line(&words())
        }
    }

    /// Prints a line for people; nothing with `--json`.
    ///
    /// # Errors
    /// Stdout does not take it.
    pub fn note(&self, words: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.line(words) }
    }

    fn line(&self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Puts bytes there as they are.
    ///
    /// # Errors
    /// Stdout does not take them.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Refused(format!("cannot write to stdout: {e}")),
        })
    }
}

/// How a table gives way to a terminal that is too narrow for it: at first its heads become short, then columns go, one after
/// the other, and at last the cells of the first column are cut.
#[derive(Debug)]
pub struct Narrow<const N: usize> {
    /// The heads, as short as they still say something.
    pub heads: [&'static str; N],
    /// The columns that go, in this order. The others stay.
    pub goes: &'static [usize],
    /// The call that prints the table, for the hint where all of it is.
    pub verb: &'static str,
}

/// Cells between two columns.
const GAP: usize = 2;

/// Rows under a head, in columns; a column of numbers stands to the right. Without a newline at the end.
#[must_use]
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let all: Vec<usize> = (0..N).collect();
    drawn(head, rows, &all, &shape(head, rows))
}

/// The same, of no more than so many cells a line, if a number is given. What went is named below.
#[must_use]
pub fn table_within<const N: usize>(
    columns: Option<usize>,
    head: [&str; N],
    narrow: &Narrow<N>,
    rows: &[[String; N]],
) -> String {
    let Some(columns) = columns else { return table(head, rows) };
    let needed = |shape: &[Shape; N], kept: &[usize]| -> usize {
        kept.iter().map(|column| shape[*column].width).sum::<usize>() + GAP * kept.len().saturating_sub(1)
    };
    let mut kept: Vec<usize> = (0..N).collect();
    if needed(&shape(head, rows), &kept) <= columns {
        return table(head, rows);
    }
    let mut shape = shape(narrow.heads, rows);
    let mut went = Vec::new();
    for column in narrow.goes {
        if needed(&shape, &kept) <= columns {
            break;
        }
        kept.retain(|one| one != column);
        went.push(head[*column]);
    }
    shape[0].width -= needed(&shape, &kept).saturating_sub(columns).min(shape[0].width.saturating_sub(1));
    let mut text = drawn(narrow.heads, rows, &kept, &shape);
    if !went.is_empty() {
        text += &format!("\nwithout {}; all of it: raftdeck {} | cat", went.join(", "), narrow.verb);
    }
    text
}

/// Of a column.
struct Shape {
    width: usize,
    is_numeric: bool,
}

fn shape<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> [Shape; N] {
    std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        let number = |cell: &String| cell == "-" || cell.chars().all(|c| c.is_ascii_digit());
        Shape {
            width: cells.chain([head[column].chars().count()]).max().unwrap_or(0),
            is_numeric: !rows.is_empty() && rows.iter().all(|row| number(&row[column])),
        }
    })
}

fn drawn<const N: usize>(head: [&str; N], rows: &[[String; N]], kept: &[usize], shape: &[Shape; N]) -> String {
    let line = |cells: [&str; N]| {
        let padded = kept.iter().map(|column| {
            let Shape { width, is_numeric } = shape[*column];
            let cell = cut(cells[*column], width);
            if is_numeric { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str())));
    std::iter::once(line(head)).chain(body).collect::<Vec<_>>().join("\n")
}

/// Cut to a width, with a mark where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["n1", "7", "-"], ["n10", "123", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["NODE", "LAST", "WHO"], &rows), "NODE  LAST  WHO\nn1       7  -\nn10    123  x");
        assert_eq!(table(["NODE", "LAST"], &[]), "NODE  LAST");
    }

    #[test]
    fn a_narrow_table_shortens_its_heads_then_loses_columns_in_order_and_then_cuts_names() {
        let rows = [["a-long-name", "7", "x"]].map(|row| row.map(str::to_owned));
        let narrow = Narrow { heads: ["NODE", "RUN", "WHY"], goes: &[2], verb: "look" };
        let at = |columns| table_within(columns, ["NODE", "RUNNING", "WHY"], &narrow, &rows);
        assert_eq!(at(None), "NODE         RUNNING  WHY\na-long-name        7  x");
        assert_eq!(at(Some(25)), at(None));
        assert_eq!(at(Some(24)), "NODE         RUN  WHY\na-long-name    7  x");
        let hint = "without WHY; all of it: raftdeck look | cat";
        assert_eq!(at(Some(20)), format!("NODE         RUN\na-long-name    7\n{hint}"));
        assert_eq!(at(Some(12)), format!("NODE     RUN\na-long…    7\n{hint}"));
        assert_eq!(at(Some(1)).lines().next(), Some("…  RUN"));
    }
}
