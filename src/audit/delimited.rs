//! The dialect of a delimited text: its delimiter, its quotes, where its table begins and whether it has a header.
//!
//! Every dialect that could be meant is tried, and the one is taken under which the rows have the same shape and the
//! cells are what business files are made of (van den Burg, Nazábal, Sutton: "Wrangling messy CSV files by detecting
//! row and type patterns", 2019).

use std::borrow::Cow;
use std::collections::HashMap;

use super::values;
use crate::formats::text::Reading;

/// What the guess is made from.
const ROWS_MAX: usize = 1000;
const BYTES_MAX: usize = 256 * 1024;
/// Delimiters, the likely ones first.
const DELIMITERS: &[char] = &[';', ',', '\t', '|', '\u{1f}', '^', '~', '§', ':', ' '];

/// A dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct Delimited {
    /// The sign between two cells.
    pub delimiter: char,
    /// The sign around a cell; none: there is none.
    pub quote: Option<char>,
    /// The sign that takes the next one as it is.
    pub escape: Option<char>,
    /// Lines before the header.
    pub skip: usize,
    /// The sign that comments begin with.
    pub comment: Option<char>,
    /// The first row names the columns.
    pub header: bool,
    /// What tells whether there is a header.
    pub header_evidence: String,
    /// The cells of the header, or as many empty names.
    pub names: Vec<String>,
    /// Spaces stand around the cells, to align them.
    pub padded: bool,
    /// Every cell stands in quotes.
    pub all_quoted: bool,
    /// How well it fits, to be compared with other formats: 0 … 1.
    pub fit: f64,
    /// Rows that have another number of cells than most: the line and the number.
    pub ragged: Vec<(usize, usize)>,
}

struct Row {
    line: usize,
    cells: Vec<String>,
    /// Something stands behind a closing quote: the relay would reject the record.
    broken: bool,
}

#[derive(Clone, Copy)]
struct Signs {
    delimiter: char,
    quote: Option<char>,
    escape: Option<char>,
}

/// The dialect of `text`; `cut`: it goes on behind what is given. None: it holds no row.
pub fn guess(text: &str, cut: bool) -> Option<Delimited> {
    let mut end = text.len().min(BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = cut || end < text.len();
    let (text, commented) = without_comments(&text[..end]);
    let text = text.as_ref();
    let reading = Reading::default();
    let mut known: HashMap<String, bool> = HashMap::new();
    let quotes: &[Option<char>] = match (text.contains('"'), text.contains('\'')) {
        (true, true) => &[Some('"'), None, Some('\'')],
        (true, false) => &[Some('"'), None],
        (false, true) => &[None, Some('\'')],
        (false, false) => &[None],
    };
    let mut best: Option<(f64, Signs, Vec<Row>)> = None;
    for &delimiter in DELIMITERS.iter().filter(|d| text.contains(**d)) {
        for &quote in quotes {
            let escaped = quote.is_some_and(|q| text.contains(&format!("\\{q}")));
            for escape in if escaped { vec![None, Some('\\')] } else { vec![None] } {
                let signs = Signs { delimiter, quote, escape };
                let rows = rows(text, signs, cut);
                let score = fit(&rows, |cell| match known.get(cell) {
                    Some(k) => *k,
                    None => {
                        let k = values::is_known(&reading, cell);
                        if known.len() < 100_000 {
                            known.insert(cell.to_owned(), k);
                        }
                        k
                    }
                });
                let score = score * worth(signs, text);
                if best.as_ref().is_none_or(|(most, ..)| score > *most + 1e-9) {
                    best = Some((score, signs, rows));
                }
            }
        }
    }
    let (fit, signs, rows) = match best {
        Some((score, signs, rows)) if width_of_most(&rows) > 1 && !cuts_values(&rows, signs.delimiter) => (score, signs, rows),
        // One column: the delimiter can't be seen.
        _ => {
            let delimiter = [',', ';', '\t', '|'].into_iter().find(|d| !text.contains(*d)).unwrap_or(',');
            let signs = Signs { delimiter, quote: text.contains('"').then_some('"'), escape: None };
            (0.0, signs, rows(text, signs, cut))
        }
    };
    if rows.is_empty() {
        return None;
    }
    let found = describe(text, signs, rows, fit);
    Some(Delimited { comment: found.comment.or(commented.then_some('#')), ..found })
}

/// Remarks at the beginning of a file, of which quotes and delimiters mean nothing: their lines are emptied.
fn without_comments(text: &str) -> (Cow<'_, str>, bool) {
    let remark = |line: &str| line.starts_with("# ") || line.trim_end() == "#";
    if !text.lines().find(|l| !l.trim().is_empty()).is_some_and(remark) {
        return (Cow::Borrowed(text), false);
    }
    (Cow::Owned(text.split_inclusive('\n').map(|line| if remark(line) { "\n" } else { line }).collect()), true)
}

/// Whether a sign that stands once in each row but the first, which has none, is a part of the values: `Montant` over `1,50`,
/// `Nom` over `Dupont, Jean`.
fn cuts_values(rows: &[Row], delimiter: char) -> bool {
    let Some((first, below)) = rows.split_first() else { return false };
    let decimals = |r: &Row| r.cells.len() == 2 && r.cells.iter().all(|c| c.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()) && !c.is_empty());
    let texts = |r: &Row| r.cells.len() == 2 && r.cells[1].starts_with(' ');
    delimiter == ',' && first.cells.len() == 1 && !below.is_empty() && (below.iter().all(decimals) || below.iter().all(texts))
}

/// A space and a colon stand in texts and times too; a quote that is used as one is worth more than one that is data.
fn worth(signs: Signs, text: &str) -> f64 {
    let delimiter = match signs.delimiter {
        ' ' => 0.4,
        ':' => 0.5,
        _ => 1.0,
    };
    let quote = match signs.quote {
        Some(q)
            if q == '\'' && text.lines().filter(|l| l.starts_with(q) || l.contains(&format!("{}{q}", signs.delimiter))).count() * 2 < text.lines().count() =>
        {
            0.8
        }
        Some(q) => {
            // A doubled quote at the end of a quoted cell: as data, nobody writes three.
            let d = signs.delimiter;
            if [format!("{q}{q}{q}{d}"), format!("{q}{q}{q}\n"), format!("{q}{q}{q}\r"), format!("{d}{q}{q}{q}")].iter().any(|t| text.contains(t.as_str())) {
                return delimiter * 1.5;
            }
            let around = [format!("{}{q}", signs.delimiter), format!("{q}{}", signs.delimiter)];
            if around.iter().any(|a| text.contains(a.as_str())) || text.starts_with(q) { 1.05 } else { 1.0 }
        }
        None => 1.0,
    };
    delimiter * quote
}

/// Cuts text into rows; an empty line is none. The last row of a text that goes on is left out.
fn rows(text: &str, signs: Signs, cut: bool) -> Vec<Row> {
    let mut out: Vec<Row> = Vec::new();
    let (mut line, mut begun) = (1, 1);
    let mut cells: Vec<String> = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut fresh = true; // no sign of the cell in hand was read
    let (mut closed, mut broken) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if out.len() >= ROWS_MAX {
            return out;
        }
        if Some(c) == signs.escape && chars.peek().is_some() {
            cell.extend(chars.next());
            fresh = false;
        } else if quoted {
            if Some(c) == signs.quote {
                if signs.escape.is_none() && chars.peek() == signs.quote.as_ref() {
                    cell.push(c);
                    chars.next();
                } else {
                    (quoted, closed) = (false, true);
                }
            } else {
                line += usize::from(c == '\n');
                cell.push(c);
            }
        } else if Some(c) == signs.quote && fresh {
            quoted = true;
            fresh = false;
        } else if c == signs.delimiter {
            cells.push(std::mem::take(&mut cell));
            (fresh, closed) = (true, false);
        } else if c == '\n' || c == '\r' {
            if c == '\r' && chars.peek() == Some(&'\n') {
                chars.next();
            }
            line += 1;
            if !(cells.is_empty() && fresh) {
                cells.push(std::mem::take(&mut cell));
                out.push(Row { line: begun, cells: std::mem::take(&mut cells), broken: std::mem::take(&mut broken) });
            }
            (fresh, closed) = (true, false);
            begun = line;
        } else {
            broken |= closed;
            cell.push(c);
            fresh = false;
        }
    }
    if !(cut && !out.is_empty() || cells.is_empty() && fresh) {
        cells.push(cell);
        out.push(Row { line: begun, cells, broken });
    }
    out
}

/// How consistent rows are: the pattern score times the type score.
fn fit(rows: &[Row], mut known: impl FnMut(&str) -> bool) -> f64 {
    let mut widths: HashMap<usize, usize> = HashMap::new();
    for row in rows {
        *widths.entry(row.cells.len()).or_default() += 1;
    }
    let patterns = widths.len() as f64;
    // Counts of rows stay far below 2^52.
    let pattern: f64 =
        widths.iter().map(|(cells, n)| *n as f64 * ((*cells as f64 - 1.0).max(1e-3) / *cells as f64)).sum::<f64>() / patterns / rows.len().max(1) as f64;
    let (mut good, mut all) = (0usize, 0usize);
    for cell in rows.iter().take(300).flat_map(|r| &r.cells) {
        all += 1;
        good += usize::from(known(cell));
    }
    let whole = 1.0 - rows.iter().filter(|r| r.broken).count() as f64 / rows.len().max(1) as f64;
    pattern * whole * (good as f64 / all.max(1) as f64).max(1e-10)
}

fn width_of_most(rows: &[Row]) -> usize {
    let mut widths: HashMap<usize, usize> = HashMap::new();
    for row in rows {
        *widths.entry(row.cells.len()).or_default() += 1;
    }
    let first = rows.first().map_or(0, |r| r.cells.len());
    widths.into_iter().max_by_key(|(width, n)| (*n, *width == first, *width)).map_or(0, |(width, _)| width)
}

fn describe(text: &str, signs: Signs, rows: Vec<Row>, fit: f64) -> Delimited {
    let width = width_of_most(&rows);
    let comment = comment_of(&rows, width);
    let is_comment = |row: &Row| comment.is_some_and(|c| row.cells[0].starts_with(c));
    let filled = |row: &Row| row.cells.iter().filter(|c| !c.trim().is_empty()).count();
    // Rows before the table: of another width, or a title in a row of empty cells.
    let title = |i: usize| {
        let next = rows[i + 1..].iter().find(|r| !is_comment(r));
        width >= 4 && filled(&rows[i]) <= (width / 4).max(1) && next.is_some_and(|next| filled(next) * 2 > width)
    };
    let mut first = 0;
    while first + 1 < rows.len() && first < 40 && (is_comment(&rows[first]) || rows[first].cells.len() != width || title(first)) {
        first += 1;
    }
    // A header may be shorter or longer than the rows below by cells without a name.
    if first > 0
        && rows[first].cells.len() == width
        && rows[first - 1].cells.len().abs_diff(width) == 1
        && names_columns(&rows[first - 1], &rows[first..]).0
        && width > 3
    {
        first -= 1;
    }
    first = behind_titles(&rows, first, width).unwrap_or(first);
    let before_first = rows[..first].iter().all(is_comment);
    let skip = if before_first { 0 } else { rows[first].line - 1 };
    let table: Vec<&Row> = rows[first..].iter().filter(|r| !is_comment(r)).collect();
    let head = table.first().map(|r| r.cells.clone()).unwrap_or_default();
    let (header, header_evidence) = match rows.get(first) {
        Some(row) => names_columns(row, &rows[first + 1..]),
        None => (true, String::new()),
    };
    let width = if header { head.len() } else { width };
    let names = if header { head } else { vec![String::new(); width] };
    let body = &table[usize::from(header).min(table.len())..];
    let ragged = body.iter().filter(|r| r.cells.len() != width && !surplus_is_empty(&r.cells, width)).map(|r| (r.line, r.cells.len())).collect();
    let aligned = |cell: &String| cell.len() > cell.trim().len();
    let texts: Vec<&String> = body.iter().take(200).flat_map(|r| &r.cells).filter(|c| !c.trim().is_empty()).collect();
    let padded = texts.len() >= 4 && texts.iter().filter(|c| aligned(c)).count() * 3 > texts.len();
    let all_quoted = signs.quote.is_some_and(|q| every_cell_is_quoted(text, signs.delimiter, q));
    Delimited {
        delimiter: signs.delimiter,
        quote: signs.quote,
        escape: signs.escape,
        skip,
        comment,
        header,
        header_evidence,
        names,
        padded,
        all_quoted,
        fit,
        ragged,
    }
}

/// The row of names behind rows of titles that are as wide as the table (`Compte;123;`): the first one without an empty
/// cell, of texts that are all different, with values below at least one of them.
fn behind_titles(rows: &[Row], first: usize, width: usize) -> Option<usize> {
    let reading = Reading::default();
    let value = |c: &str| values::number(c).is_some() || values::dates(&reading, c, !0) != 0 || values::datetimes(&reading, c, !0) != 0;
    let full = |row: &Row| row.cells.len() == width && row.cells.iter().all(|c| !c.trim().is_empty());
    let at = (first..rows.len().min(first + 20)).find(|i| full(&rows[*i]))?;
    let names = &rows[at].cells;
    let different = names.iter().map(|c| c.trim()).collect::<std::collections::HashSet<_>>().len() == width;
    let below: Vec<&Row> = rows[at + 1..].iter().filter(|r| r.cells.len() == width).take(200).collect();
    let heads = |c: usize| {
        let cells = || below.iter().map(|r| r.cells[c].trim()).filter(|c| !c.is_empty());
        cells().count() >= 2 && cells().filter(|c| value(c)).count() * 10 >= cells().count() * 9
    };
    // What stands above such a name is no value, or the row is one of those below.
    let above = |c: usize| rows[first..at].iter().any(|r| r.cells.get(c).is_some_and(|c| value(c.trim())));
    (at > first && width > 1 && different && names.iter().all(|c| !value(c.trim())) && (0..width).any(|c| heads(c) && !above(c))).then_some(at)
}

fn surplus_is_empty(cells: &[String], width: usize) -> bool {
    cells.len() > width && cells[width..].iter().all(|c| c.trim().is_empty())
}

fn every_cell_is_quoted(text: &str, delimiter: char, quote: char) -> bool {
    let mut lines = text.lines().filter(|l| !l.is_empty()).take(50).peekable();
    lines.peek().is_some() && lines.all(|line| line.starts_with(quote) && line.ends_with(quote) && !line.contains(&format!("{delimiter}{delimiter}")))
}

/// The sign that comment lines begin with: such lines have another width than the table, or stand within it.
fn comment_of(rows: &[Row], width: usize) -> Option<char> {
    let marked: Vec<usize> = rows.iter().enumerate().filter(|(_, r)| r.cells[0].starts_with('#')).map(|(i, _)| i).collect();
    let odd = marked.iter().filter(|i| rows[**i].cells.len() != width || width == 1).count();
    (!marked.is_empty() && odd * 2 > marked.len() && marked.len() < rows.len()).then_some('#')
}

/// Whether a row of texts names the columns of the rows below it, and what tells.
pub fn heads(row: &[String], below: &[Vec<String>]) -> (bool, String) {
    let row_of = |cells: &[String]| Row { line: 0, broken: false, cells: (0..row.len()).map(|i| cells.get(i).cloned().unwrap_or_default()).collect() };
    names_columns(&row_of(row), &below.iter().map(|cells| row_of(cells)).collect::<Vec<_>>())
}

/// Whether a row names the columns of the rows below it, and what tells.
fn names_columns(row: &Row, below: &[Row]) -> (bool, String) {
    let reading = Reading::default();
    let cells: Vec<&str> = row.cells.iter().map(|c| c.trim()).collect();
    let named: Vec<&&str> = cells.iter().filter(|c| !c.is_empty()).collect();
    let address = |c: &str| (c.contains('@') && c.contains('.') && !c.contains(' ')) || c.starts_with("http://") || c.starts_with("https://");
    let is_value = |c: &str| values::number(c).is_some() || address(c) || values::dates(&reading, c, !0) != 0 || values::datetimes(&reading, c, !0) != 0;
    if named.is_empty() {
        return (false, "the first row is empty".into());
    }
    // Years head the columns of many tables.
    let year = |c: &str| c.len() == 4 && c.parse::<u32>().is_ok_and(|y| (1900..2100).contains(&y));
    let valued = named.iter().filter(|c| is_value(c) && !year(c)).count();
    let sample: Vec<&Row> = below.iter().filter(|r| r.cells.len() == row.cells.len()).take(200).collect();
    if valued * 5 > named.len() || (valued > 0 && named.len() <= 3) {
        let value = named.iter().find(|c| is_value(c)).copied().unwrap_or(&"");
        return (false, format!("the first row holds values such as {value}"));
    }
    if sample.is_empty() {
        return (true, "one row of names, no row of values".into());
    }
    let column = |i: usize| sample.iter().map(move |r| r.cells[i].trim()).filter(|c| !c.is_empty());
    let (mut votes, mut against) = (0i32, 0i32);
    let mut told = None;
    for (i, name) in cells.iter().enumerate() {
        let n = column(i).count();
        if n == 0 {
            continue;
        }
        // What the table of business terms knows is a name more often than a value.
        votes += i32::from(!name.is_empty() && super::names::is_known(name));
        let pairs = column(i).fold(!0, |pairs, c| values::bools(c, pairs));
        if pairs != 0 && values::bools(name, pairs) == 0 && n >= 2 {
            votes += 2;
            told.get_or_insert_with(|| format!("{name} heads a column of yes and no"));
        }
        let typed = column(i).filter(|c| is_value(c)).count();
        if !name.is_empty() && typed * 10 >= n * 9 && !is_value(name) {
            votes += 2;
            told.get_or_insert_with(|| format!("{name} heads a column of values such as {}", column(i).next().unwrap_or_default()));
        } else if !name.is_empty() && typed == 0 {
            // A name that stands below too is a value; texts of one length under a name of another are codes.
            if column(i).any(|c| c == *name) {
                against += 2;
            }
            let lengths: std::collections::HashSet<usize> = column(i).map(|c| c.chars().count()).collect();
            if lengths.len() == 1 && n >= 2 {
                if lengths.contains(&name.chars().count()) { against += 1 } else { votes += 1 }
            }
        }
    }
    let named_share = named.len() * 2 >= cells.len();
    let unique: std::collections::HashSet<&str> = named.iter().map(|c| **c).collect();
    if unique.len() * 10 < named.len() * 6 {
        against += 2;
    }
    match (votes, against) {
        (v, a) if v > a => (true, told.unwrap_or_else(|| "the first row is unlike the others".into())),
        (0, 0) if named_share => (true, "the first row holds texts that stand nowhere below (a guess: no column has values of another kind)".into()),
        (v, a) if v == a && named_share => (true, "the first row could be names or values".into()),
        _ => (false, "values of the first row stand in the rows below too".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Delimited {
        guess(text, false).unwrap()
    }

    #[test]
    fn titles_as_wide_as_the_table_are_no_header() {
        let rows: String = (0..8).map(|i| format!("{:02}/10/2025;VIR Martin {i};{i},50\n", i + 1)).collect();
        for (above, skip) in [("Titulaire : SARL GARNIER;;\n", 1), ("Compte;123;\nTitulaire;SARL GARNIER;\n", 2), ("", 0)] {
            let d = of(&format!("{above}Date;Libelle;Montant\n{rows}"));
            assert_eq!((d.skip, d.header, d.names.as_slice()), (skip, true, ["Date", "Libelle", "Montant"].map(String::from).as_slice()), "{above}");
        }
        // A name may lack.
        let d = of("Code;;Solde\nC1;a;1,50\nC2;b;2,50\nC3;c;3,50\n");
        assert_eq!((d.skip, d.header, d.names[0].as_str()), (0, true, "Code"));
    }

    #[test]
    fn a_french_export_is_read_by_its_semicolons_although_commas_are_as_many() {
        let d = of("Code;Nom;Solde\nC1;Dupont, Jean;1 234,50\nC2;\"Martin; fils\";12,00\nC3;Durand, Anne;0,99\n");
        assert_eq!((d.delimiter, d.quote, d.header, d.skip), (';', Some('"'), true, 0));
        assert_eq!(d.names, ["Code", "Nom", "Solde"]);
    }

    #[test]
    fn what_stands_before_the_table_is_skipped_by_lines() {
        let d = of("Relevé de compte\n\nCompte : 123\nDate,Libellé,Débit,Crédit\n01/02/2025,a,1.00,\n02/02/2025,b,,2.00\n");
        assert_eq!((d.skip, d.header, d.delimiter), (3, true, ','));
        assert_eq!(d.names[0], "Date");
    }

    #[test]
    fn a_file_without_a_header_is_known_by_the_values_of_its_first_row() {
        let d = of("18.09.2017;\"HOFER\";18.09.2017;-33,87;EUR;;\n19.09.2017;\"LIDL\";19.09.2017;-3,87;EUR;;\n");
        assert_eq!((d.header, d.names.len()), (false, 7));
    }

    #[test]
    fn quotes_escapes_and_comments_are_told() {
        let d = of("a,b\n\"x \\\"y\\\", z\",1\n\"t \\\"u\\\"\",2\n");
        assert_eq!((d.escape, d.quote), (Some('\\'), Some('"')));
        let d = of("# made by hand\n# two lines\nid,name\n1,a\n2,b\n");
        assert_eq!((d.comment, d.skip, d.header), (Some('#'), 0, true));
        // A header may begin with the sign too.
        let d = of("#Code;Nom\n01001;A\n01002;B\n");
        assert_eq!((d.comment, d.header), (None, true));
    }

    #[test]
    fn rows_of_another_width_are_told_by_line_and_surplus_empty_cells_are_none() {
        let d = of("a;b;c\n1;2;3\n4;5\n6;7;8;\n9;10;11\n");
        assert_eq!(d.ragged, [(3, 2)]);
    }
}
