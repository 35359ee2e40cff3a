//! What commands say and ask, and aligned tables.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::value::RawValue;

use super::row::{Row, cell};

/// Where a command's words go, and where its answers come from.
pub(super) trait Screen: Sync {
    /// Writes a result and ends the line.
    fn print(&self, text: &str);
    /// Writes what is not the result: progress, warnings, errors.
    fn note(&self, text: &str);
    /// Asks a question that is answered by yes or no; nothing where nobody is there to answer.
    fn confirm(&self, question: &str) -> Option<bool>;
}

/// The process's standard streams.
pub(super) struct Terminal;

impl Screen for Terminal {
    fn print(&self, text: &str) {
        write_line(io::stdout().lock(), text);
    }

    fn note(&self, text: &str) {
        write_line(io::stderr().lock(), text);
    }

    fn confirm(&self, question: &str) -> Option<bool> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        let mut errors = io::stderr().lock();
        let _ = write!(errors, "{question} [y/N] ").and_then(|()| errors.flush());
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

/// A reader that has gone away (`metergate usage | head`) is no error.
fn write_line(mut stream: impl Write, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(b"\n")).and_then(|()| stream.flush());
}

/// Text from elsewhere without the control characters that could steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An object's fields as lines, each behind its label.
pub(super) fn fields(row: &Row, labels: &[(&str, &str)]) -> String {
    let lines = labels.iter().map(|(label, field)| format!("{label:<15} {}", plain(&cell(row, field))));
    lines.collect::<Vec<_>>().join("\n")
}

/// How a column stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under headings, each column as wide as its widest cell.
pub(super) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        Self { columns: columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect(), rows: Vec::new() }
    }

    /// A row for each object, its fields under columns of their names.
    pub(super) fn of(columns: &[(&str, Align)], objects: &[Box<RawValue>]) -> anyhow::Result<Self> {
        let mut table = Self::new(columns);
        for object in objects {
            let row: Row = serde_json::from_str(object.get())?;
            table.row(columns.iter().map(|(field, _)| cell(&row, field)).collect());
        }
        Ok(table)
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// The table without a newline at its end.
    pub(super) fn text(&self) -> String {
        let headings = self.columns.iter().map(|(name, _)| name.to_uppercase()).collect();
        let lines: Vec<String> = std::iter::once(&headings).chain(&self.rows).map(|row| self.line(row)).collect();
        lines.join("\n")
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (i, (cell, (_, align))) in row.iter().zip(&self.columns).enumerate() {
            let width = self.width(i);
            let _ = match align {
                Align::Left => write!(line, "{cell:<width$}  "),
                Align::Right => write!(line, "{cell:>width$}  "),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }

    fn width(&self, column: usize) -> usize {
        let heading = self.columns.get(column).map_or(0, |(name, _)| name.chars().count());
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(heading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("name", Align::Left), ("used", Align::Right)]);
        table.row(vec!["api_calls".to_owned(), "7".to_owned()]);
        table.row(vec!["é\u{1b}[31m".to_owned(), "12345".to_owned()]);
        assert_eq!(table.text(), "NAME        USED\napi_calls      7\né [31m     12345");
    }
}
