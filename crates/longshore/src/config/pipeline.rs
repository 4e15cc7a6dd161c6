//! One `[[pipeline]]`: a key pattern, one target table, and the rules between them.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use jiff::tz::TimeZone;
use longshore_csv::{Column, Columns, Compression, DecimalRule, FieldRules, Header, OffsetRule, Options, Trim, Type};
use longshore_warehouse::{Mode, TableName};
use regex::Regex;
use sha2::{Digest, Sha256};
use toml::de::DeValue;

use super::Engine;
use super::reader::{Found, Section};
use crate::pipeline::discover::table_of;
use crate::scheduler::Schedule;

/// A key pattern, one target table, and the rules between them.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Which keys it takes.
    pub matcher: Matcher,
    /// The target.
    pub table: TableName,
    /// How rows enter.
    pub mode: Mode,
    /// What becomes of an object that is older than one already committed.
    pub late: OnLate,
    /// What becomes of an object whose key and bytes were loaded before.
    pub repeat: OnRepeat,
    /// Rows that may fail to fit before the object fails.
    pub max_rejects: MaxRejects,
    /// Whether `replace` may empty the table.
    pub allow_empty: bool,
    /// Whether values may be given to identity columns.
    pub keep_identity: bool,
    /// How objects are read.
    pub csv: Options,
    /// How texts become values.
    pub rules: FieldRules,
    /// The same for single columns, complete.
    pub column_rules: BTreeMap<String, FieldRules>,
    /// Target columns that are filled from elsewhere than the object's fields.
    pub fill: BTreeMap<String, Fill>,
    /// How small objects share a load.
    pub group: GroupLimits,
    /// When the bucket is looked at for it, if not with all others.
    pub schedule: Option<Schedule>,
    /// SHA-256 of the settings, as hexadecimal digits.
    pub rules_hash: String,
}

/// Which keys a pipeline takes; applied to the key without `pending`.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// `match`.
    Glob(GlobMatcher),
    /// `regex`.
    Regex(Regex),
}

impl Matcher {
    /// Whether it takes this key.
    pub fn takes(&self, key: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(key),
            Self::Regex(regex) => regex.is_match(key),
        }
    }

    /// What a named group captured of this key.
    pub fn capture<'k>(&self, key: &'k str, group: &str) -> Option<&'k str> {
        match self {
            Self::Glob(_) => None,
            Self::Regex(regex) => Some(regex.captures(key)?.name(group)?.as_str()),
        }
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        match self {
            Self::Glob(glob) => glob.glob().glob(),
            Self::Regex(regex) => regex.as_str(),
        }
    }
}

/// What becomes of an object that is older than one already committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLate {
    /// It is loaded and marked.
    Load,
    /// It is quarantined.
    Fail,
}

/// What becomes of an object whose key and bytes were loaded before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRepeat {
    /// It is archived without being loaded.
    Skip,
    /// It is loaded.
    Load,
    /// It is quarantined.
    Fail,
}

/// Rows that may fail to fit before the object fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxRejects {
    /// So many.
    Count(u64),
    /// So many of a million: a percentage with up to four digits after the point.
    PerMillion(u64),
}

impl MaxRejects {
    /// Whether `rejects` of `records` are too many.
    pub fn is_exceeded(self, rejects: u64, records: u64) -> bool {
        match self {
            Self::Count(most) => rejects > most,
            Self::PerMillion(most) => u128::from(rejects) * 1_000_000 > u128::from(most) * u128::from(records),
        }
    }
}

/// Where the values of a filled column come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fill {
    /// This text, the same for every row.
    Constant(String),
    /// What the group of this name captured of the key.
    Capture(String),
    /// What Longshore knows of the row.
    Metadata(Metadata),
}

/// What Longshore knows of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// `_longshore_object`: the key.
    Object,
    /// `_longshore_line`: the line at which the row begins.
    Line,
    /// `_longshore_load_id`: the load.
    LoadId,
    /// `_longshore_loaded_at`: when it was loaded.
    LoadedAt,
}

const METADATA: [(&str, Metadata); 4] = [
    ("_longshore_object", Metadata::Object),
    ("_longshore_line", Metadata::Line),
    ("_longshore_load_id", Metadata::LoadId),
    ("_longshore_loaded_at", Metadata::LoadedAt),
];

/// How small objects share a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// Objects of one load at most.
    pub objects: usize,
    /// Listed bytes of one load at most.
    pub bytes: u64,
}

/// One commit for 500 objects costs next to nothing an object; more would only make a replay dearer.
const HELD: GroupLimits = GroupLimits {
    objects: 500,
    // Typed rows take up to four times the bytes of their text, and two groups are in memory at once: less than 200 MiB.
    bytes: 14 << 20,
};
/// Where a load takes seconds however small it is, and nothing of it is held.
const STREAMED: GroupLimits = GroupLimits { objects: MOST_OBJECTS, bytes: 1 << 30 };
/// Their entries fit into a few statements.
const MOST_OBJECTS: usize = 10_000;

/// Reads all pipelines, of which the loads go into this database, as far as it is known.
pub(super) fn read_all(sections: Vec<Section<'_>>, engine: Option<&Engine>) -> Option<Vec<Pipeline>> {
    let mut seen: Vec<(String, String)> = Vec::new();
    let pipelines: Vec<Option<Pipeline>> = sections
        .into_iter()
        .map(|section| {
            let pipeline = read(section, &seen, engine);
            seen.extend(pipeline.iter().map(|p| (p.name.clone(), table_of(p))));
            pipeline
        })
        .collect();
    pipelines.into_iter().collect()
}

/// Leases go by the name of a table as it is written: one table has to have one name.
fn check_spelling(section: &Section<'_>, table: &str, seen: &[(String, String)]) {
    let is_part = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('.'));
    if let Some((name, other)) = seen.iter().find(|(_, other)| is_part(table, other) || is_part(other, table)) {
        section.fault_of(
            "table",
            format!("`{table}` and `{other}` (of pipeline `{name}`) look like one table under two names"),
            Some("write it the same way in both, with its schema".to_owned()),
        );
    }
}

fn read(section: Section<'_>, seen: &[(String, String)], engine: Option<&Engine>) -> Option<Pipeline> {
    let name = required(&section, "name", "give the pipeline a name");
    let section = match &name {
        Some(name) => {
            let path = format!("pipeline.{name}");
            section.named(path)
        }
        None => section,
    };
    if let Some(name) = name.as_ref().filter(|name| seen.iter().any(|(other, _)| other == *name)) {
        section.fault_of("name", format!("there is another pipeline `{name}`"), Some("names are unique".to_owned()));
    }
    let matcher = read_matcher(&section);
    let table = required(&section, "table", "name the target table").and_then(|text| {
        text.parse::<TableName>().map_err(|error| section.fault_of("table", error.to_string(), None)).ok()
    });
    if let Some(table) = table.as_ref().map(|table: &TableName| table.to_string().to_lowercase()) {
        check_spelling(&section, &table, seen);
    }
    let mode = read_mode(&section);
    let is_append = matches!(mode, Some(Mode::Append));
    let late = section.choice("late", &[("load", OnLate::Load), ("fail", OnLate::Fail)]);
    let repeat = section
        .choice("repeat", &[("skip", OnRepeat::Skip), ("load", OnRepeat::Load), ("fail", OnRepeat::Fail)])
        .unwrap_or(if is_append { OnRepeat::Skip } else { OnRepeat::Load });
    let max_rejects = read_max_rejects(&section);
    let allow_empty = section.boolean("allow_empty");
    if allow_empty.is_some() && !matches!(mode, Some(Mode::Replace) | None) {
        section.fault_of("allow_empty", "has a meaning only with `mode = \"replace\"`", Some("remove it".to_owned()));
    }
    if late.is_some() && mode.as_ref().is_some_and(|mode| !matches!(mode, Mode::Upsert { order_by: None, .. })) {
        section.fault_of(
            "late",
            "has a meaning only with `mode = \"upsert\"` and without `order_by`",
            Some("remove it".to_owned()),
        );
    }
    let keep_identity = section.choice("identity", &[("keep", true), ("generate", false)]).unwrap_or(false);
    let columns = read_columns(&section);
    let csv_section = section.section("csv");
    let csv = read_csv(&csv_section, columns);
    let rules = read_rules(&csv_section, &FieldRules::default());
    csv_section.finish();
    let column_rules = read_column_rules(&section, &rules);
    let fill = read_fill(&section, matcher.as_ref());
    let group = read_group(&section, engine);
    let schedule = super::schedule::read(section.section("schedule"));
    let rules_hash = hash(&section);
    section.finish();
    Some(Pipeline {
        name: name?,
        matcher: matcher?,
        table: table?,
        mode: mode?,
        late: late.unwrap_or(OnLate::Load),
        repeat,
        max_rejects: max_rejects?,
        allow_empty: allow_empty.unwrap_or(false),
        keep_identity,
        csv: csv?,
        rules,
        column_rules,
        schedule: schedule?,
        fill,
        group,
        rules_hash,
    })
}

fn required(section: &Section<'_>, name: &'static str, cure: &str) -> Option<String> {
    let given = section.get(name).is_some();
    let text = section.text(name).filter(|text| !text.is_empty() || !given);
    if text.is_none() && !given {
        section.fault(name, "is missing", Some(cure.to_owned()));
    }
    text
}

fn read_matcher(section: &Section<'_>) -> Option<Matcher> {
    match (section.text("match"), section.text("regex")) {
        (Some(pattern), None) => GlobBuilder::new(&pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map(|glob| Matcher::Glob(glob.compile_matcher()))
            .map_err(|error| section.fault_of("match", format!("is no pattern: {}", error.kind()), None))
            .ok(),
        (None, Some(pattern)) => Regex::new(&pattern)
            .map(Matcher::Regex)
            .map_err(|error| section.fault_of("regex", one_line(&error.to_string()), None))
            .ok(),
        (Some(_), Some(_)) => {
            section.fault_of("regex", "stands beside `match`", Some("keep one of them".to_owned()));
            None
        }
        (None, None) => {
            if section.get("match").is_none() && section.get("regex").is_none() {
                section.fault(
                    "match",
                    "is missing",
                    Some("say which keys it takes, `match = \"orders-*.csv\"`".to_owned()),
                );
            }
            None
        }
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn read_mode(section: &Section<'_>) -> Option<Mode> {
    let key = section.texts("key");
    let order_by = section.text("order_by");
    let mode = section.choice("mode", &[("append", 0), ("upsert", 1), ("replace", 2)]);
    if mode.is_none() && section.get("mode").is_none() {
        section.fault(
            "mode",
            "is missing",
            Some("choose `\"append\"`, `\"upsert\"` (with `key`) or `\"replace\"`".to_owned()),
        );
    }
    let mode = mode?;
    if mode != 1 {
        for name in ["key", "order_by"] {
            if section.get(name).is_some() {
                section.fault_of(
                    name,
                    "has a meaning only with `mode = \"upsert\"`",
                    Some("remove it, or change the mode".to_owned()),
                );
            }
        }
    }
    match mode {
        0 => Some(Mode::Append),
        2 => Some(Mode::Replace),
        _ => match key.filter(|key| !key.is_empty()) {
            Some(key) => Some(Mode::Upsert { key, order_by }),
            None => {
                section.fault_of(
                    "key",
                    "is missing: `upsert` needs the columns by which a row is found",
                    Some("`key = [\"id\"]`".to_owned()),
                );
                None
            }
        },
    }
}

fn read_max_rejects(section: &Section<'_>) -> Option<MaxRejects> {
    let Some(found) = section.get("max_rejects") else {
        return Some(MaxRejects::Count(0));
    };
    let Some(text) = found.get_ref().as_str() else {
        return section.count("max_rejects").map(MaxRejects::Count);
    };
    let percent = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| (0.0..=100.0).contains(percent));
    if percent.is_none() {
        section.fault_of("max_rejects", "expected a number of rows, or a percentage such as `\"0.5%\"`", None);
    }
    percent.map(|percent| MaxRejects::PerMillion((percent * 10_000.0).round() as u64))
}

fn read_columns(section: &Section<'_>) -> Columns {
    let mut columns = Columns::default();
    let Some(found) = section.get("columns") else {
        return columns;
    };
    match found.get_ref() {
        DeValue::Array(_) => columns.order = section.texts("columns").unwrap_or_default(),
        DeValue::Table(table) => {
            for (name, value) in table.iter() {
                let target = match value.get_ref() {
                    DeValue::Boolean(false) => Some(None),
                    _ => section
                        .text_of(value, "columns", "a column's name, or `false` to pass the CSV column over")
                        .map(Some),
                };
                if let Some(target) = target {
                    columns.renamed.insert(name.get_ref().to_string(), target);
                }
            }
        }
        _ => {
            section.fault_of("columns", "expected a list of columns, or a table `{ \"CSV name\" = \"column\" }`", None)
        }
    }
    columns
}

/// A setting that is one byte of ASCII.
fn byte(section: &Section<'_>, name: &'static str) -> Option<u8> {
    let text = section.text(name)?;
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        _ => {
            section.fault_of(name, "expected one ASCII character", Some("a tab is `\"\\t\"`".to_owned()));
            None
        }
    }
}

fn read_csv(section: &Section<'_>, columns: Columns) -> Option<Options> {
    let defaults = Options::default();
    let quote = match section.get("quote").map(|found| found.get_ref()) {
        None => defaults.quote,
        Some(DeValue::Boolean(false)) => None,
        Some(_) => Some(byte(section, "quote")?),
    };
    let header = match section.get("header").map(|found| found.get_ref()) {
        None => Header::Yes,
        Some(DeValue::String(_)) => section.choice("header", &[("auto", Header::Auto)])?,
        Some(_) => {
            if section.boolean("header")? {
                Header::Yes
            } else {
                Header::No
            }
        }
    };
    let encoding = match section.text("encoding") {
        None => None,
        Some(label) => match encoding_rs::Encoding::for_label(label.trim().as_bytes()) {
            Some(encoding) => Some(encoding),
            None => {
                section.fault_of(
                    "encoding",
                    format!("`{label}` is no encoding that is known"),
                    Some("use a WHATWG label such as `windows-1252`, `iso-8859-15`, `utf-16le`".to_owned()),
                );
                None
            }
        },
    };
    let compression = section.choice(
        "compression",
        &[
            ("none", Compression::None),
            ("gzip", Compression::Gzip),
            ("zstd", Compression::Zstd),
            ("bzip2", Compression::Bzip2),
        ],
    );
    let options = Options {
        delimiter: byte(section, "delimiter").unwrap_or(defaults.delimiter),
        quote,
        escape: byte(section, "escape"),
        header,
        skip_lines: section.count("skip_lines").unwrap_or(0),
        encoding,
        compression,
        max_record: section.size("max_record").map_or(defaults.max_record, |size| size as usize),
        max_ratio: section.count("max_ratio").map_or(defaults.max_ratio, |ratio| ratio.min(u64::from(u32::MAX)) as u32),
        columns,
        ..defaults
    };
    // The columns are checked with the table.
    for message in longshore_csv::check(&Options { columns: Columns::default(), ..options.clone() }, &[]) {
        section.fault("", message, None);
    }
    Some(options)
}

/// Reads the settings that say how texts become values; what is not given is as in `base`.
fn read_rules(section: &Section<'_>, base: &FieldRules) -> FieldRules {
    let timezone = section.text("timezone").and_then(|name| match TimeZone::get(&name) {
        Ok(zone) => Some(zone),
        Err(_) => {
            section.fault_of(
                "timezone",
                format!("`{name}` is no time zone"),
                Some("use a name of the tz database such as `Europe/Berlin`".to_owned()),
            );
            None
        }
    });
    let thousands = section.text("thousands").and_then(|text| {
        let mut chars = text.chars();
        let one = chars.next().filter(|_| chars.next().is_none());
        if one.is_none() {
            section.fault_of("thousands", "expected one character", None);
        }
        one
    });
    let rules = FieldRules {
        null: section.texts("null").unwrap_or_else(|| base.null.clone()),
        trim: section
            .choice("trim", &[("none", Trim::None), ("start", Trim::Start), ("end", Trim::End), ("both", Trim::Both)])
            .unwrap_or(base.trim),
        date_formats: section.texts("date_formats").unwrap_or_else(|| base.date_formats.clone()),
        timestamp_formats: section.texts("timestamp_formats").unwrap_or_else(|| base.timestamp_formats.clone()),
        timezone: timezone.unwrap_or_else(|| base.timezone.clone()),
        timestamp_offset: section
            .choice(
                "timestamp_offset",
                &[("reject", OffsetRule::Reject), ("utc", OffsetRule::Utc), ("drop", OffsetRule::Drop)],
            )
            .unwrap_or(base.timestamp_offset),
        decimal: section
            .choice(
                "decimal",
                &[("round", DecimalRule::Round), ("truncate", DecimalRule::Truncate), ("reject", DecimalRule::Reject)],
            )
            .unwrap_or(base.decimal),
        decimal_comma: section.boolean("decimal_comma").unwrap_or(base.decimal_comma),
        thousands: thousands.or(base.thousands),
        max_bytes: section.count("max_bytes").map(|n| n.min(u64::from(u32::MAX)) as u32).or(base.max_bytes),
    };
    let any = Column {
        name: String::new(),
        ty: Type::Text { length: None, padded: false },
        type_sql: String::new(),
        required: false,
        optional: true,
        bound: None,
        rules: rules.clone(),
    };
    for message in longshore_csv::check(&Options::default(), &[any]) {
        section.fault("", message.trim_start_matches("column ``: "), None);
    }
    rules
}

fn read_column_rules(section: &Section<'_>, base: &FieldRules) -> BTreeMap<String, FieldRules> {
    let columns = section.section("column");
    columns
        .entries()
        .into_iter()
        .map(|(name, found)| {
            let path = format!("{}.column.{name}", section.setting("").trim_end_matches('.'));
            let column = columns.section_of(found, &name, path);
            let rules = read_rules(&column, base);
            column.finish();
            (name, rules)
        })
        .collect()
}

fn read_fill(section: &Section<'_>, matcher: Option<&Matcher>) -> BTreeMap<String, Fill> {
    let fill = section.section("fill");
    let mut filled = BTreeMap::new();
    for (name, found) in fill.entries() {
        if let Some(value) = read_one_fill(&fill, &name, found, matcher) {
            filled.insert(name, value);
        }
    }
    filled
}

fn read_one_fill<'a>(fill: &Section<'a>, name: &str, found: Found<'a>, matcher: Option<&Matcher>) -> Option<Fill> {
    let what = "a text, `{ capture = \"group\" }` or `{ metadata = \"_longshore_object\" }`";
    let DeValue::Table(_) = found.get_ref() else {
        return fill.text_of(found, name, what).map(Fill::Constant);
    };
    let table = fill.section_of(found, name, fill.setting(name));
    let capture = table.text("capture");
    let metadata = table.choice("metadata", &METADATA);
    let value = match (capture, metadata) {
        (Some(group), None) => {
            let known = match matcher {
                Some(Matcher::Regex(regex)) => regex.capture_names().flatten().any(|known| known == group),
                Some(Matcher::Glob(_)) => false,
                None => true,
            };
            if !known {
                table.fault_of(
                    "capture",
                    format!("no group of this pipeline's `regex` is called `{group}`"),
                    Some(format!("use `regex = '…(?<{group}>…)…'` in place of `match`")),
                );
            }
            Some(Fill::Capture(group))
        }
        (None, Some(metadata)) => Some(Fill::Metadata(metadata)),
        (None, None) if table.get("metadata").is_some() || table.get("capture").is_some() => None,
        _ => {
            table.fault("", format!("expected {what}"), None);
            None
        }
    };
    table.finish();
    value
}

fn read_group(section: &Section<'_>, engine: Option<&Engine>) -> GroupLimits {
    let group = section.section("group");
    let is_held = engine.is_some_and(|engine| !engine.fences_late());
    let usual = if is_held { HELD } else { STREAMED };
    let limits = GroupLimits {
        objects: group.count("objects").map_or(usual.objects, |n| n as usize),
        bytes: group.size("bytes").unwrap_or(usual.bytes),
    };
    if limits.objects == 0 || limits.objects > MOST_OBJECTS {
        group.fault_of("objects", "must be from 1 to 10,000", None);
    }
    if is_held && limits.bytes > 64 << 20 {
        group.fault_of("bytes", "must be at most 64 MiB: a group is held in memory", None);
    }
    group.finish();
    limits
}

/// Hashes the settings of a pipeline, independent of their order and of white space.
fn hash(section: &Section<'_>) -> String {
    let mut entries = section.entries();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    let text: String =
        entries.into_iter().map(|(name, found)| format!("{name:?} = {}\n", canonical(found.get_ref()))).collect();
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(value) => value.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| canonical(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let mut items: Vec<String> = table
                .iter()
                .map(|(name, value)| format!("{:?} = {}", name.get_ref(), canonical(value.get_ref())))
                .collect();
            items.sort();
            format!("{{{}}}", items.join(", "))
        }
    }
}
