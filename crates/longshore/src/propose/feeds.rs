//! Which files belong together: one pipeline for files of the same name, up to dates and numbers,
//! and of the same columns.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use futures::TryStreamExt;
use globset::{GlobBuilder, GlobMatcher};
use longshore_csv::{FieldRules, Type};
use longshore_warehouse::{NewColumn, NewTable, TableName};
use regex::Regex;
use serde::Serialize;

use super::look::{Look, Unfit};
use super::survey::{Found, Survey, Unique, Wanted};
use super::{column_type, names};
use crate::bucket::{Bucket, BucketError, Object};

/// A pipeline that is proposed, and its table.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Name of the pipeline.
    pub name: String,
    /// The glob for the keys of its files.
    pub pattern: String,
    /// Its table.
    pub table: NewTable,
    /// How its files are read.
    pub csv: Csv,
    /// The column that may well be a key.
    pub key: Option<Key>,
    /// Its files.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Their data records.
    pub records: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Settings of `csv` that are not the default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Csv {
    /// Byte between fields.
    pub delimiter: char,
    /// Byte around fields.
    pub quote: char,
    /// Whether fields are bound by the names of a header.
    pub header: bool,
    /// Lines to pass over.
    pub skip_lines: u64,
    /// Encoding, unless the file says so or it is UTF-8.
    pub encoding: Option<&'static str>,
    /// Columns with a decimal comma; all of them where the flag below is set.
    pub decimal_comma: Vec<String>,
    /// Whether no column has a decimal point.
    pub decimal_comma_everywhere: bool,
}

/// A column that tells rows apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Its name.
    pub column: String,
    /// Whether some of its values come again in another file.
    pub comes_again: bool,
}

/// A file that is part of no proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub file: String,
    /// Why.
    pub why: String,
}

/// What was found in a folder.
#[derive(Debug, Clone)]
pub struct Feeds {
    /// The pipelines.
    pub feeds: Vec<Feed>,
    /// Files that are part of none.
    pub left_out: Vec<LeftOut>,
}

/// Looks at all CSV files of a bucket whose keys begin with `prefix`.
///
/// # Errors
/// The bucket cannot be listed or read.
pub async fn find(bucket: &dyn Bucket, prefix: &str) -> Result<Feeds, BucketError> {
    let mut left_out = Vec::new();
    let mut families: BTreeMap<String, Vec<File>> = BTreeMap::new();
    for object in list(bucket, prefix, &mut left_out).await? {
        let key = object.key.as_str()[prefix.len()..].to_owned();
        let Some(shape) = Shape::of(&key) else {
            continue;
        };
        match Look::at(bucket, &object).await {
            Ok(look) if shape.is_txt && look.width() < 2 => {
                leave(&mut left_out, key, "a text of one column is no table");
            }
            Ok(look) => families.entry(shape.family()).or_default().push(File {
                key,
                shape,
                object,
                is_ascii: look.is_ascii,
                look,
            }),
            Err(unfit) => explain(unfit, key, &mut left_out)?,
        }
    }
    let mut groups = Vec::new();
    for files in families.into_values() {
        survey_family(bucket, files, &mut groups, &mut left_out).await?;
    }
    // The plainest name is for most files, in the outermost folder.
    groups.sort_by_key(|group| {
        let first = &group.files[0];
        (first.key.matches('/').count(), usize::MAX - group.files.len(), first.key.clone())
    });
    Ok(Feeds { feeds: name_and_match(groups), left_out })
}

struct File {
    key: String,
    shape: Shape,
    object: Object,
    look: Look,
    /// Whether it is ASCII as far as it was read.
    is_ascii: bool,
}

/// Files that share columns and settings.
struct Group {
    files: Vec<File>,
    columns: Vec<String>,
    found: Vec<Found>,
    records: u64,
    notes: Vec<String>,
}

async fn list(bucket: &dyn Bucket, prefix: &str, left_out: &mut Vec<LeftOut>) -> Result<Vec<Object>, BucketError> {
    let mut objects = Vec::new();
    let mut pages = bucket.list(prefix);
    while let Some(page) = pages.try_next().await? {
        objects.extend(page.objects);
        for one in page.left_out {
            leave(left_out, one.name, one.why);
        }
        for (key, _) in page.settling {
            leave(left_out, key.as_str().to_owned(), "it is still being written");
        }
    }
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(objects)
}

fn leave(left_out: &mut Vec<LeftOut>, file: String, why: impl Into<String>) {
    left_out.push(LeftOut { file, why: why.into() });
}

/// Leaves a file out that lies in its bytes; passes on what the bucket is to blame for.
fn explain(unfit: Unfit, file: String, left_out: &mut Vec<LeftOut>) -> Result<(), BucketError> {
    match unfit {
        Unfit::Empty => leave(left_out, file, "it is empty"),
        Unfit::Object(why) => leave(left_out, file, why),
        Unfit::Bucket(error) => match error.kind() {
            crate::bucket::Kind::Gone | crate::bucket::Kind::Changed => {
                leave(left_out, file, error.to_string());
            }
            _ => return Err(error),
        },
    }
    Ok(())
}

/// Reads files of one name whole, and groups them by their columns.
async fn survey_family(
    bucket: &dyn Bucket,
    files: Vec<File>,
    groups: &mut Vec<Group>,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), BucketError> {
    let mut waiting = group(files);
    while let Some((mut files, columns)) = waiting.pop() {
        if files.is_empty() {
            continue;
        }
        let table = files[0].shape.name();
        let wanted = columns
            .iter()
            .enumerate()
            .map(|(at, name)| Wanted {
                rules: rules(files[0].look.options.delimiter),
                may_be_key: names::may_be_key(name, &table, at == 0),
            })
            .collect();
        let mut survey = Survey::new(wanted);
        let (mut unfit, mut mistaken, mut notes) = (Vec::new(), false, Vec::new());
        for (at, file) in files.iter_mut().enumerate() {
            let order = order(&file.look, &columns);
            match survey.read(bucket, &file.object, &file.look, &order).await {
                Ok(seen) => {
                    if file.is_ascii && !seen.is_ascii {
                        // It was put to others of an encoding that need not be its own.
                        file.is_ascii = false;
                        mistaken |= file.look.options.encoding.take().is_some();
                    }
                    if seen.malformed > 0 && file.look.options.encoding.is_none() {
                        // Far behind the sample there are bytes that no UTF-8 has.
                        file.look.options.encoding = Some(encoding_rs::WINDOWS_1252);
                        mistaken = true;
                    }
                    if seen.ragged > 0 {
                        notes.push(format!(
                            "`{}`: {} of {} rows have more or fewer fields than the first, and will be rejected",
                            file.key, seen.ragged, seen.records
                        ));
                    }
                }
                Err(fault) => {
                    explain(fault, file.key.clone(), left_out)?;
                    unfit.push(at);
                }
            }
        }
        for at in unfit.iter().rev() {
            files.remove(*at);
        }
        // What a file that turned out to be none left behind would widen the types.
        if mistaken || !unfit.is_empty() {
            waiting.extend(group(files));
            continue;
        }
        groups.push(Group { records: survey.records, found: survey.finish(), files, columns, notes });
    }
    Ok(())
}

/// How texts may be read: where fields are not parted by commas, numbers may have one.
fn rules(delimiter: u8) -> Vec<FieldRules> {
    let point = FieldRules::default();
    let comma = FieldRules { decimal_comma: true, ..FieldRules::default() };
    if delimiter == b',' { vec![point] } else { vec![point, comma] }
}

/// Puts files into groups of like settings and columns, each with all of its columns.
fn group(files: Vec<File>) -> Vec<(Vec<File>, Vec<String>)> {
    let mut groups: Vec<(Vec<File>, Vec<String>)> = Vec::new();
    for mut file in files {
        let mine = names::columns(&file.look.names);
        let home = groups.iter_mut().find(|(files, columns)| {
            is_written_like(&file, files) && is_like(&file.look, &mine, &files[0].look, columns)
        });
        match home {
            None => groups.push((vec![file], mine)),
            Some((files, columns)) => {
                for name in mine {
                    if place(columns, &name).is_none() {
                        columns.push(name);
                    }
                }
                // ASCII is read the same in either encoding.
                let encoding = file.look.options.encoding.or(files[0].look.options.encoding);
                file.look.options.encoding = encoding;
                for other in files.iter_mut() {
                    other.look.options.encoding = encoding;
                }
                files.push(file);
            }
        }
    }
    groups
}

fn is_written_like(file: &File, others: &[File]) -> bool {
    let (a, b) = (&file.look.options, &others[0].look.options);
    a.delimiter == b.delimiter
        && a.quote == b.quote
        && file.look.has_header == others[0].look.has_header
        && (a.encoding == b.encoding || file.is_ascii || others.iter().all(|other| other.is_ascii))
}

/// Whether files of these columns may be one feed: half of all names are in both.
fn is_like(look: &Look, mine: &[String], other: &Look, columns: &[String]) -> bool {
    if !look.has_header || !names::are_sound(&look.names) || !names::are_sound(&other.names) {
        return mine == columns && look.header_lines == other.header_lines;
    }
    let shared = mine.iter().filter(|name| place(columns, name).is_some()).count();
    shared * 2 >= mine.len() + columns.len() - shared
}

fn place(columns: &[String], name: &str) -> Option<usize> {
    let folded = name.to_lowercase();
    columns.iter().position(|column| column.to_lowercase() == folded)
}

/// The column of each field of a file.
fn order(look: &Look, columns: &[String]) -> Vec<usize> {
    let names = names::columns(&look.names);
    names.iter().filter_map(|name| place(columns, name)).collect()
}

/// Gives groups their names, and patterns that take each file once.
fn name_and_match(groups: Vec<Group>) -> Vec<Feed> {
    let keys: Vec<Vec<String>> =
        groups.iter().map(|group| group.files.iter().map(|file| file.key.clone()).collect()).collect();
    let patterns = patterns(&groups, &keys);
    let mut taken: Vec<String> = Vec::new();
    let feeds = groups.into_iter().zip(patterns).map(|(group, (pattern, width))| {
        let shape = &group.files[0].shape;
        let is_taken = |name: &str| taken.iter().any(|taken| taken == name);
        let name = shape
            .names()
            .into_iter()
            .find(|name| !is_taken(name))
            .unwrap_or_else(|| names::free(&shape.names()[0], is_taken));
        taken.push(name.clone());
        feed(group, name, pattern, width)
    });
    let mut feeds: Vec<Feed> = feeds.collect();
    feeds.sort_by(|a, b| a.name.cmp(&b.name));
    feeds
}

/// The plainest patterns that do not take each other's files.
fn patterns(groups: &[Group], keys: &[Vec<String>]) -> Vec<(String, Width)> {
    let mut widths: Vec<Width> = groups
        .iter()
        .map(|group| match &group.files[..] {
            // A digit within a word of a single file says little.
            [one] if !one.shape.is_dated => Width::Names,
            _ => Width::Any,
        })
        .collect();
    loop {
        let patterns: Vec<String> = groups.iter().zip(&widths).map(|(group, width)| pattern(group, *width)).collect();
        let mut too_wide = false;
        for (at, pattern) in patterns.iter().enumerate() {
            let Some(glob) = glob(pattern) else { continue };
            let takes_others =
                keys.iter().enumerate().any(|(other, keys)| other != at && keys.iter().any(|key| glob.is_match(key)));
            if takes_others && widths[at] != Width::Names {
                widths[at] = if widths[at] == Width::Any { Width::Digits } else { Width::Names };
                too_wide = true;
            }
        }
        if !too_wide {
            return patterns.into_iter().zip(widths).collect();
        }
    }
}

/// What stands in a pattern for a number or a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// `*`.
    Any,
    /// `[0-9]*`.
    Digits,
    /// The names themselves.
    Names,
}

fn pattern(group: &Group, width: Width) -> String {
    let mut patterns: Vec<String> = group.files.iter().map(|file| file.shape.pattern(&file.key, width)).collect();
    patterns.sort();
    patterns.dedup();
    match patterns.len() {
        1 => patterns.remove(0),
        _ => format!("{{{}}}", patterns.join(",")),
    }
}

fn glob(pattern: &str) -> Option<GlobMatcher> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    Some(glob.ok()?.compile_matcher())
}

fn feed(group: Group, name: String, pattern: String, width: Width) -> Feed {
    let look = &group.files[0].look;
    let is_sound = group.files.iter().all(|file| names::are_sound(&file.look.names));
    let mut notes = group.notes;
    if look.has_header && !is_sound {
        notes.push("its header has names that are empty or come twice: fields are bound by position".to_owned());
    }
    let shape = &group.files[0].shape;
    if width == Width::Names && shape.is_dated && shape.parts.contains(&None) {
        let wider = shape.pattern("", Width::Any);
        notes.push(format!(
            "`{wider}` would take files with other columns too, so each is named: a folder of its own would let new files in"
        ));
    }
    let encoding = look.options.encoding.map(encoding_rs::Encoding::name);
    if let Some(encoding) = encoding.filter(|name| !name.starts_with("UTF-16")) {
        notes.push(format!("its text is not UTF-8; read as {encoding}, which is a guess: look at names with accents"));
    }
    let columns: Vec<NewColumn> = group
        .columns
        .iter()
        .zip(&group.found)
        .map(|(name, found)| NewColumn { name: name.clone(), ty: column_type(&found.proposal.ty), nullable: true })
        .collect();
    let key = group.columns.iter().zip(&group.found).find_map(|(name, found)| {
        (found.unique != Unique::No)
            .then(|| Key { column: name.clone(), comes_again: found.unique == Unique::WithinFiles })
    });
    let (header, skip_lines) = match (look.has_header, is_sound) {
        (true, false) => (false, look.header_lines),
        (has_header, _) => (has_header, 0),
    };
    let table = name.parse().unwrap_or_else(|_| TableName {
        schema: None,
        name: longshore_warehouse::Ident { text: name.clone(), quoted: true },
    });
    Feed {
        csv: Csv {
            delimiter: char::from(look.options.delimiter),
            quote: look.options.quote.map_or('"', char::from),
            header,
            skip_lines,
            encoding,
            decimal_comma: with_comma(&group.columns, &group.found),
            decimal_comma_everywhere: !group.found.iter().any(has_point),
        },
        bytes: group.files.iter().map(|file| file.object.size).sum(),
        files: group.files.into_iter().map(|file| file.key).collect(),
        table: NewTable { name: table, columns },
        records: group.records,
        name,
        pattern,
        key,
        notes,
    }
}

/// Columns whose numbers have a decimal comma.
fn with_comma(columns: &[String], found: &[Found]) -> Vec<String> {
    let pairs = columns.iter().zip(found);
    pairs.filter(|(_, found)| found.rules == 1).map(|(name, _)| name.clone()).collect()
}

/// Whether numbers of a column have a decimal point.
fn has_point(found: &Found) -> bool {
    found.rules == 0
        && match found.proposal.ty {
            Type::Decimal { scale, .. } => scale > 0,
            Type::Float32 | Type::Float64 => true,
            _ => false,
        }
}

/// The name of a file, with holes where a number or a date stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape {
    /// Folder and name without extensions; `None` is a hole.
    parts: Vec<Option<String>>,
    /// `.csv`.
    extension: String,
    /// `.gz`, or nothing.
    compression: String,
    is_txt: bool,
    /// Whether its numbers stand for themselves, apart from letters.
    is_dated: bool,
}

impl Shape {
    /// The shape of a key that has the name of a CSV file.
    fn of(key: &str) -> Option<Self> {
        let lower = key.to_ascii_lowercase();
        let end_of = |extensions: &[&str], lower: &str| {
            let found = extensions.iter().find(|end| lower.ends_with(**end));
            found.map_or(0, |end| end.len())
        };
        let compressed = key.len() - end_of(&[".gz", ".zst", ".bz2"], &lower);
        let plain = compressed - end_of(&[".csv", ".tsv", ".txt"], &lower[..compressed]);
        if plain == compressed || key[..plain].is_empty() {
            return None;
        }
        static HOLE: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+(?:[-_.:T]?[0-9]+)*Z?")
                .expect("the pattern is sound")
        });
        let name = &key[..plain];
        let mut parts = Vec::new();
        let mut is_dated = true;
        let mut at = 0;
        for hole in HOLE.find_iter(name) {
            if hole.start() > at {
                parts.push(Some(name[at..hole.start()].to_owned()));
            }
            is_dated &= !name[..hole.start()].ends_with(char::is_alphabetic)
                && !name[hole.end()..].starts_with(char::is_alphabetic);
            parts.push(None);
            at = hole.end();
        }
        if at < name.len() {
            parts.push(Some(name[at..].to_owned()));
        }
        Some(Self {
            parts,
            extension: key[plain..compressed].to_owned(),
            compression: key[compressed..].to_owned(),
            is_txt: lower[plain..compressed] == *".txt",
            is_dated,
        })
    }

    /// What files of one name share.
    fn family(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(part.as_deref().unwrap_or("\0"));
        }
        text + &self.extension
    }

    /// A name for pipeline and table.
    fn name(&self) -> String {
        self.names().swap_remove(0)
    }

    /// Names for pipeline and table, the plainest first: that of the file, then with its folders.
    fn names(&self) -> Vec<String> {
        let text: String = self.parts.iter().map(|part| part.as_deref().unwrap_or("-")).collect();
        let mut names: Vec<String> = Vec::new();
        for part in text.rsplit('/').map(names::identifier) {
            match names.last() {
                _ if part.is_empty() => {}
                Some(inner) => names.push(format!("{part}_{inner}")),
                None => names.push(part),
            }
        }
        if names.is_empty() {
            names.push("data".to_owned());
        }
        names
    }

    fn pattern(&self, key: &str, width: Width) -> String {
        let hole = match width {
            Width::Any => "*",
            Width::Digits => "[0-9]*",
            Width::Names => return escape(key),
        };
        let mut pattern = String::new();
        for part in &self.parts {
            match part {
                Some(text) => pattern.push_str(&escape(text)),
                None => pattern.push_str(hole),
            }
        }
        pattern + &self.extension + &self.compression
    }
}

/// A text that a pattern takes as it is.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        match char {
            // `${` in a setting would be a variable of the environment.
            '$' => escaped.push_str("[$]"),
            '*' | '?' | '[' | ']' | '{' | '}' | ',' | '\\' | '!' => {
                escaped.push('\\');
                escaped.push(char);
            }
            _ => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern_of(key: &str) -> String {
        Shape::of(key).unwrap().pattern(key, Width::Any)
    }

    #[test]
    fn numbers_and_dates_are_holes() {
        assert_eq!(pattern_of("orders-2025-01-31.csv"), "orders-*.csv");
        assert_eq!(pattern_of("orders_20250131T120000Z.csv.gz"), "orders_*.csv.gz");
        assert_eq!(pattern_of("2025/01/orders.tsv"), "*/*/orders.tsv");
        assert_eq!(pattern_of("x-0190b8a2-7f0e-7a3c-9d2e-0123456789ab.csv"), "x-*.csv");
        assert!(Shape::of("notes.pdf").is_none());
        assert!(Shape::of(".csv").is_none());
    }

    #[test]
    fn a_pattern_takes_odd_names() {
        for key in ["a{1},b!.csv", "[x]?*.csv", "${HOME}.csv", "a\\b.csv", "é ü.csv"] {
            for width in [Width::Any, Width::Names] {
                let pattern = Shape::of(key).unwrap().pattern(key, width);
                assert!(glob(&pattern).unwrap().is_match(key), "{key}: {pattern}");
                assert!(!pattern.contains("${"), "{pattern}");
            }
        }
    }

    #[test]
    fn names_come_from_files_then_folders() {
        let name = |key: &str| Shape::of(key).unwrap().name();
        assert_eq!(name("orders-2025-01.csv"), "orders");
        assert_eq!(name("Sales Report 2025 Q1.csv"), "sales_report_q");
        assert_eq!(name("returns/2025-01.csv"), "returns");
        assert_eq!(name("2025.csv"), "data");
    }
}
