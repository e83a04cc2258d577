//! Tables for people: a head, rows, columns as wide as their widest cell.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under named columns.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: one cell for each column. Control characters are shown escaped, so that a name from elsewhere
    /// cannot steer the terminal.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().map(|cell| printable(&cell)).collect();
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// Writes the head, if a column has a name, and the rows; without rows, only `empty`.
    pub(super) fn write(&self, out: &mut dyn Write, empty: &str) -> io::Result<()> {
        if self.rows.is_empty() {
            return writeln!(out, "{empty}");
        }
        let head: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| {
                [&head].into_iter().chain(&self.rows).filter_map(|row| row.get(i)).map(|c| width(c)).max()
            })
            .map(|widest| widest.unwrap_or(0))
            .collect();
        let head = Some(&head).filter(|head| head.iter().any(|name| !name.is_empty()));
        for row in head.into_iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                pad(&mut line, cell, *width, *align);
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The text with its control characters escaped.
pub(super) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
        shown
    })
}

/// Bytes as text: printable ASCII as it is, the rest as `\xNN`, as in the status document.
pub(super) fn escaped_bytes(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a String takes everything"),
        }
        text
    })
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

fn pad(line: &mut String, cell: &str, to: usize, align: Align) {
    let gap = " ".repeat(to.saturating_sub(width(cell)));
    match align {
        Align::Left => line.extend([cell, &gap]),
        Align::Right => line.extend([&gap, cell]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(table: &Table) -> String {
        let mut out = Vec::new();
        table.write(&mut out, "none").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_needed() {
        let mut table = Table::new(&[("ID", Align::Right), ("NAME", Align::Left), ("N", Align::Right)]);
        assert_eq!(text(&table), "none\n");
        table.row(["7".into(), "bgpd".into(), "1".into()]);
        table.row(["1200".into(), "ü".into(), "12345".into()]);
        assert_eq!(text(&table), "  ID  NAME      N\n   7  bgpd      1\n1200  ü     12345\n");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let mut table = Table::new(&[("NAME", Align::Left)]);
        table.row(["a\x1b[2Jb\nc".into()]);
        assert_eq!(text(&table), "NAME\na\\u{1b}[2Jb\\nc\n");
    }

    #[test]
    fn bytes_are_shown_as_the_status_shows_them() {
        assert_eq!(escaped_bytes(b"id=7\\\x00\xff"), "id=7\\\\\\x00\\xff");
    }
}
