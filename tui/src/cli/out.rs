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
}

impl Out {
    /// For this process's stdout.
    #[must_use]
    pub fn new(json: bool) -> Out {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Out { json, color: !json && !no_color && io::stdout().is_terminal() }
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
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        written.map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Refused(format!("cannot write to stdout: {e}")),
        })
    }
}

/// Rows under a head, in columns; a column of numbers stands to the right. Without a newline at the end.
#[must_use]
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let numeric = |column: usize| {
        let number = |cell: &String| cell == "-" || cell.chars().all(|c| c.is_ascii_digit());
        !rows.is_empty() && rows.iter().all(|row| number(&row[column]))
    };
    let shape: Vec<(usize, bool)> = (0..N).map(|column| (width(column), numeric(column))).collect();
    let line = |cells: [&str; N]| {
        let padded = cells
            .iter()
            .zip(&shape)
            .map(|(cell, (width, right))| if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str())));
    std::iter::once(line(head)).chain(body).collect::<Vec<_>>().join("\n")
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
}
