//! Lays out tables: side by side where there is room, and otherwise each row on several lines.

use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, wrap};

use crate::colour::Colour;
use crate::safe::line;

const CELL_CHARS_MAX: usize = 2000;
const GAP: usize = 2;
/// Before the first column.
const MARGIN: usize = 1;
/// Before the further lines of a row.
const INDENT: usize = 3;
/// The last column is wrapped beside the others if it keeps so much room.
const WRAPPED_MIN: usize = 32;

/// The rows of a table. No text can leave its cell. A cell is never shortened: an id must be complete to be pasted.
#[derive(Debug)]
pub(crate) struct Rows {
    header: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone)]
struct Cell {
    text: String,
    colour: Option<Colour>,
}

/// A column's cells are as wide as this, without the gap to the next one.
#[derive(Debug, Clone, Copy)]
struct Column {
    at: usize,
    width: usize,
}

pub(crate) fn table<const N: usize>(header: [&str; N]) -> Rows {
    let header = header.iter().map(|text| line(text, CELL_CHARS_MAX)).collect();
    Rows { header, rows: Vec::new() }
}

impl Rows {
    pub(crate) fn add_row<const N: usize>(&mut self, texts: [impl AsRef<str>; N]) {
        self.add_coloured(texts.map(|text| (text, None)));
    }

    /// Each cell with its colour.
    pub(crate) fn add_coloured<const N: usize>(&mut self, cells: [(impl AsRef<str>, Option<Colour>); N]) {
        let cell = cells.into_iter().map(|(text, colour)| {
            let text = line(text.as_ref(), CELL_CHARS_MAX);
            Cell { text, colour }
        });
        self.rows.push(cell.collect());
    }

    /// For where it is printed. Without a known width, as in a pipe, each row is one line.
    pub(crate) fn trim_fmt(&self) -> String {
        self.laid_out(crate::terminal::width())
    }

    pub(crate) fn laid_out(&self, width: Option<usize>) -> String {
        let columns = self.columns();
        let lines = lines_of(&columns, width);
        let header: Vec<Cell> =
            self.header.iter().map(|text| Cell { text: text.clone(), colour: Some(Colour::Dim) }).collect();
        let mut text = Vec::new();
        for row in std::iter::once(&header).chain(&self.rows) {
            for (n, columns) in lines.iter().enumerate() {
                let before = if n == 0 { MARGIN } else { MARGIN + INDENT };
                text.extend(drawn(row, columns, before));
            }
        }
        text.join("\n")
    }

    /// A column without any text is left out.
    fn columns(&self) -> Vec<Column> {
        let width_of = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.as_str());
            cells.chain([self.header[at].as_str()]).map(display_width).max().unwrap_or_default()
        };
        let all = (0..self.header.len()).map(|at| Column { at, width: width_of(at) });
        all.filter(|column| column.width > 0).collect()
    }
}

/// Pure: which columns stand on which line of a row.
fn lines_of(columns: &[Column], width: Option<usize>) -> Vec<Vec<Column>> {
    let Some(width) = width.filter(|width| MARGIN + total(columns) > *width) else {
        return vec![columns.to_vec()];
    };
    let Some((last, others)) = columns.split_last() else { return Vec::new() };
    let left = width.saturating_sub(MARGIN + total(others) + GAP);
    if left >= WRAPPED_MIN {
        let last = Column { width: left, ..*last };
        return vec![others.iter().copied().chain([last]).collect()];
    }
    folded(columns, width)
}

/// Pure: as few lines as possible. The first one is the row's heading and may be short; the others are filled evenly.
fn folded(columns: &[Column], width: usize) -> Vec<Vec<Column>> {
    // The best way to place all columns from each one on: how many lines, how uneven, and where the next line begins.
    let mut best = vec![(0, 0, columns.len()); columns.len() + 1];
    for from in (0..columns.len()).rev() {
        let room = room(width, from == 0);
        let ends = (from + 1..=columns.len())
            .take_while(|end| *end == from + 1 || total(&columns[from..*end]) <= room);
        let ways = ends.map(|end| {
            let slack = if from == 0 { 0 } else { room.saturating_sub(total(&columns[from..end])) };
            (best[end].0 + 1, best[end].1 + slack * slack, end)
        });
        best[from] = ways.min().unwrap_or((0, 0, columns.len()));
    }
    let (mut lines, mut from) = (Vec::new(), 0);
    while from < columns.len() {
        let room = room(width, from == 0);
        let end = best[from].2;
        let fits = |column: &Column| Column { width: column.width.min(room), ..*column };
        lines.push(columns[from..end].iter().map(fits).collect());
        from = end;
    }
    lines
}

fn room(width: usize, is_first: bool) -> usize {
    width.saturating_sub(if is_first { MARGIN } else { MARGIN + INDENT }).max(1)
}

fn total(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.width).sum::<usize>() + GAP * columns.len().saturating_sub(1)
}

/// One line of a row: more than one, if a cell is wrapped. None without any text.
fn drawn(row: &[Cell], columns: &[Column], before: usize) -> Vec<String> {
    let cells: Vec<(Vec<String>, Option<Colour>)> = columns
        .iter()
        .map(|column| match row.get(column.at) {
            Some(cell) => (wrapped(&cell.text, column.width), cell.colour),
            None => (Vec::new(), None),
        })
        .collect();
    let height = cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or_default();
    let mut drawn = Vec::new();
    for n in 0..height {
        let mut text = " ".repeat(before);
        // Spaces are added only before more text.
        let mut due = 0;
        for ((lines, colour), column) in cells.iter().zip(columns) {
            let part = lines.get(n).map_or("", String::as_str);
            if !part.is_empty() {
                text.push_str(&" ".repeat(due));
                text.push_str(&Colour::paint(*colour, part));
                due = 0;
            }
            due += column.width.saturating_sub(display_width(part)) + GAP;
        }
        if !text.trim().is_empty() {
            drawn.push(text);
        }
    }
    drawn
}

/// At spaces. A longer word stays whole, so that it can be pasted: the terminal breaks it.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    if display_width(text) <= width {
        return vec![text.to_owned()];
    }
    let options = Options::new(width)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    wrap(text, options).into_iter().map(|line| line.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "01a212d7-f5b0-7000-8000-000000000001";
    const RPC: &str = "NotificationService/NotifyHogeUpdated";

    fn letters() -> Rows {
        let mut rows = table(["ID", "RPC", "EVENT", "NAME", "DEAD FOR", "ATTEMPTS", "CODE", "REASON", ""]);
        let reason = "the amount of the transaction is not positive, and the card was blocked a week before";
        rows.add_row(["17", RPC, EVENT, "event_hoge_updated", "3m 2s", "1", "invalid_argument", reason, ""]);
        rows.add_row(["18", "A/B", EVENT, "-", "1.0s", "20", "internal", "no", ""]);
        rows
    }

    fn queues() -> Rows {
        let mut rows = table(["RPC", "WAITING", "OLDEST", "IN WORK", "RETRYING", "DEAD", "BREAKER", "CALLS"]);
        rows.add_row([RPC, "10,000+", "1h 2m", "256 of 256", "0", "5,098", "half-open", "253 of 256"]);
        rows.add_row(["A/B", "0", "-", "0 of 16", "0", "0", "closed", "0 of 16"]);
        rows
    }

    fn widest(text: &str) -> usize {
        text.lines().map(display_width).max().unwrap()
    }

    /// Guards promise 8: without a known width, and with enough of it, a row is one line, as scripts expect it.
    #[test]
    fn a_wide_table_has_a_line_for_each_row() {
        for rows in [letters(), queues()] {
            let text = rows.laid_out(None);
            assert_eq!(text.lines().count(), 3, "{text}");
            assert_eq!(rows.laid_out(Some(300)), text);
            assert_eq!(rows.laid_out(Some(widest(&text))), text);
            assert!(text.lines().all(|line| line.starts_with(' ') && line.trim_end() == line), "{text:?}");
        }
    }

    /// Guards promise 8: a table fits a narrow terminal, and no word of it is lost or cut.
    #[test]
    fn a_narrow_table_fits_and_loses_nothing() {
        for rows in [letters(), queues()] {
            for width in [120, 80, 79, 60, 50] {
                let text = rows.laid_out(Some(width));
                assert!(widest(&text) <= width, "{width}:\n{text}");
                for cell in rows.rows.iter().flatten() {
                    for word in cell.text.split(' ').filter(|word| !word.is_empty()) {
                        assert!(text.contains(word), "{word} at {width}:\n{text}");
                    }
                }
            }
        }
    }

    /// Guards promise 8: lines of a row are filled evenly, and its columns stay below their headings.
    #[test]
    fn columns_stay_below_their_headings() {
        let text = queues().laid_out(Some(80));
        let lines = "
 RPC
    WAITING  OLDEST  IN WORK     RETRYING  DEAD   BREAKER    CALLS
 NotificationService/NotifyHogeUpdated
    10,000+  1h 2m   256 of 256  0         5,098  half-open  253 of 256
 A/B
    0        -       0 of 16     0         0      closed     0 of 16";
        assert_eq!(format!("\n{}", without_colours(&text)), lines);
    }

    /// Guards promise 8: the last column is wrapped beside the others, if it has room there.
    #[test]
    fn a_long_value_stays_beside_its_name() {
        let mut rows = table(["SOURCE", "cards"]);
        rows.add_row([
            "leader",
            "outbox relay (leader), pid 14436 from 10.0.0.1, since 2026-11-22T03:04:05Z",
        ]);
        let text = rows.laid_out(Some(60));
        let lines = "
 SOURCE  cards
 leader  outbox relay (leader), pid 14436 from 10.0.0.1,
         since 2026-11-22T03:04:05Z";
        assert_eq!(format!("\n{}", without_colours(&text)), lines);
    }

    /// Guards promise 8: wide characters take two columns, and combining ones none.
    #[test]
    fn wide_characters_keep_columns_aligned() {
        let mut rows = table(["NAME", "N"]);
        rows.add_row(["日本語", "1"]);
        rows.add_row(["e\u{301}", "2"]);
        let text = without_colours(&rows.laid_out(None));
        let ends: Vec<usize> = text.lines().map(display_width).collect();
        assert_eq!(ends, [10, 10, 10], "{text}");
        assert_eq!(without_colours(&rows.laid_out(Some(8))).lines().nth(1), Some("    N"));
    }

    /// Guards: text from others can't leave its cell, and a column without text takes no room.
    #[test]
    fn cells_hold_one_line() {
        let mut rows = table(["A", "", "B"]);
        rows.add_row(["x\ny\u{1b}[2K", "", "z"]);
        let text = without_colours(&rows.laid_out(None));
        assert_eq!(text, format!(" A{}B\n x y\\u{{1b}}[2K  z", " ".repeat(13)));
    }

    /// Guards promise 8: an id that is wider than the terminal stays whole.
    #[test]
    fn ids_are_never_cut() {
        let mut rows = table(["ID", "REASON"]);
        rows.add_row([EVENT, "because of it"]);
        assert!(rows.laid_out(Some(20)).contains(EVENT));
    }

    fn without_colours(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }
}
