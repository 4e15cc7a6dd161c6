//! Fields find their columns, by name or by position.
//!
//! All faults of a header are told at once, each with the nearest name and the cure.

use crate::columns::{Binding, BindingSource, Column, Received};
use crate::{Columns, Header, ObjectFault, ObjectFaultKind};

/// Names at least this alike are worth suggesting.
const ALIKE: f64 = 0.6;
/// Faults of a header that are told one by one before only their number is.
const TOLD: usize = 10;
/// Fields over twice the number of known names up to which a header is looked at name by name.
const SPARE_FIELDS: usize = 1_000;
/// Delimiters that a header of a single field may hold by mistake.
const OTHER_DELIMITERS: [(char, &str); 4] = [(';', ";"), ('\t', "\\t"), ('|', "|"), (',', ",")];

/// Binds by the first record's fields. Gives whether that record is a header.
pub(crate) fn bind(
    header: Header,
    fields: &[String],
    settings: &Columns,
    columns: &[Column],
) -> Result<(Binding, bool), ObjectFault> {
    match header {
        Header::Yes => by_name(fields, settings, columns, BindingSource::Header),
        Header::No => by_position(fields.len(), settings, columns, BindingSource::Position),
        Header::Auto => auto(fields, settings, columns),
    }
}

/// Refuses a record of so many fields that it cannot be the header of this table, before any of its
/// names is looked at.
pub(crate) fn check_count(count: usize, settings: &Columns, columns: &[Column]) -> Result<(), ObjectFault> {
    if count <= 2 * (columns.len() + settings.renamed.len()) + SPARE_FIELDS {
        return Ok(());
    }
    let message = format!("the first record has {count} fields, and the table has {} columns to load", columns.len());
    Err(fault(message, "check `delimiter` and `quote`, and that the file is what it should be".to_owned()))
}

/// What is bound where the object holds no record.
pub(crate) fn empty() -> Binding {
    Binding { source: BindingSource::Empty, fields: Vec::new(), columns: Vec::new() }
}

fn fault(message: String, cure: String) -> ObjectFault {
    let fault = ObjectFault::new(ObjectFaultKind::Header, message);
    if cure.is_empty() { fault } else { fault.cure(cure) }
}

fn auto(fields: &[String], settings: &Columns, columns: &[Column]) -> Result<(Binding, bool), ObjectFault> {
    let named = fields.iter().filter(|field| !matches!(resolve(field, settings, columns), Resolved::Unknown)).count();
    if named == fields.len() {
        return by_name(fields, settings, columns, BindingSource::AutoHeader);
    }
    if named == 0 {
        return by_position(fields.len(), settings, columns, BindingSource::AutoPosition);
    }
    let is_unknown = |field: &&String| matches!(resolve(field, settings, columns), Resolved::Unknown);
    Err(fault(
        format!(
            "the first record may be a header or data: {named} of its {} fields name columns; \
             read as a header, {} not known; read as data, it is the first row",
            fields.len(),
            names_are(fields.iter().filter(is_unknown).map(String::as_str)),
        ),
        "set `header = true` or `header = false`".to_owned(),
    ))
}

fn names_are<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(quoted).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

/// A name as it stands before the `=` of a setting.
fn toml_key(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A name as messages show it: cut if it is long, without control characters.
fn quoted(name: &str) -> String {
    /// More of a name says no more.
    const SHOWN: usize = 64;
    let shown: String = name.chars().map(|char| if char.is_control() { ' ' } else { char }).take(SHOWN).collect();
    let more = if name.chars().count() > SHOWN { "…" } else { "" };
    format!("`{shown}{more}`")
}

/// What a name in a header stands for.
enum Resolved {
    Column(usize),
    /// Passed over on purpose.
    Ignored,
    /// Several columns differ from it in case only.
    Ambiguous(String),
    /// `columns` sends it to a name that is no column.
    BadTarget(String),
    Unknown,
}

/// Looks a name up: first as written, then without case.
fn look_up<'a, T>(name: &str, mut candidates: impl Iterator<Item = (&'a str, T)> + Clone) -> Result<Option<T>, ()> {
    if let Some((_, value)) = candidates.clone().find(|(candidate, _)| *candidate == name) {
        return Ok(Some(value));
    }
    let lower = name.to_lowercase();
    let mut alike = || candidates.find(|(candidate, _)| candidate.to_lowercase() == lower);
    match (alike(), alike()) {
        (Some(_), Some(_)) => Err(()),
        (one, _) => Ok(one.map(|(_, value)| value)),
    }
}

fn find_column(name: &str, columns: &[Column]) -> Result<Option<usize>, ()> {
    let candidates = columns.iter().enumerate();
    look_up(name, candidates.map(|(index, column)| (column.name.as_str(), index)))
}

fn resolve(name: &str, settings: &Columns, columns: &[Column]) -> Resolved {
    let renamed = settings.renamed.iter();
    let target = match look_up(name, renamed.map(|(from, to)| (from.trim(), to.as_deref()))) {
        Ok(Some(None)) => return Resolved::Ignored,
        Ok(Some(Some(target))) => {
            return match find_column(target, columns) {
                Ok(Some(column)) => Resolved::Column(column),
                Ok(None) => Resolved::BadTarget(target.to_owned()),
                Err(()) => Resolved::Ambiguous(target.to_owned()),
            };
        }
        Ok(None) => name,
        Err(()) => return Resolved::Ambiguous(name.to_owned()),
    };
    match find_column(target, columns) {
        Ok(Some(column)) => Resolved::Column(column),
        Ok(None) => Resolved::Unknown,
        Err(()) => Resolved::Ambiguous(name.to_owned()),
    }
}

/// The most similar of some names, if it is similar enough.
pub(crate) fn nearest<'a>(name: &str, others: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let simple = |name: &str| -> String {
        name.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let wanted = simple(name);
    others
        .map(|other| (strsim::jaro_winkler(&wanted, &simple(other)), other))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}

fn by_name(
    fields: &[String],
    settings: &Columns,
    columns: &[Column],
    source: BindingSource,
) -> Result<(Binding, bool), ObjectFault> {
    let names: Vec<&str> = fields.iter().map(|field| field.trim()).collect();
    let resolved: Vec<Resolved> = names.iter().map(|name| resolve(name, settings, columns)).collect();
    let mut bound: Vec<Option<usize>> = vec![None; columns.len()];
    let mut faults = Vec::new();
    let mut cures = Vec::new();
    for (index, (name, resolved)) in names.iter().zip(&resolved).enumerate() {
        match resolved {
            Resolved::Column(column) => {
                if let Some(first) = bound[*column] {
                    faults.push(doubled(names[first], name, &columns[*column].name));
                } else {
                    bound[*column] = Some(index);
                }
            }
            Resolved::Ambiguous(name) => {
                faults.push(format!("{} names several columns that differ only in case", quoted(name)))
            }
            Resolved::BadTarget(target) => faults.push(format!(
                "`columns` sends {} to {}, which is no loadable column of the table",
                quoted(name),
                quoted(target)
            )),
            Resolved::Ignored | Resolved::Unknown => {}
        }
    }
    let unmatched = |resolved: &Resolved| matches!(resolved, Resolved::Unknown);
    let unknown_count = resolved.iter().filter(|found| unmatched(found)).count();
    for (name, _) in names.iter().zip(&resolved).filter(|(_, found)| unmatched(found)).take(TOLD) {
        let free = columns.iter().zip(&bound).filter(|(_, bound)| bound.is_none());
        let nearest = nearest(name, free.map(|(column, _)| column.name.as_str()));
        faults.push(unknown(name, nearest));
        cures.push(match nearest {
            Some(column) => format!("{} = \"{column}\"", toml_key(name)),
            None => format!("{} = false", toml_key(name)),
        });
    }
    let missing = columns.iter().zip(&bound).filter(|(column, bound)| !column.optional && bound.is_none());
    for (column, _) in missing {
        let spare = names.iter().zip(&resolved).filter(|(_, found)| unmatched(found));
        let nearest = nearest(&column.name, spare.map(|(name, _)| *name));
        faults.push(missing_column(&column.name, nearest));
    }
    let left = faults.len().saturating_sub(2 * TOLD) + unknown_count.saturating_sub(TOLD);
    if left > 0 {
        faults.truncate(2 * TOLD);
        faults.push(format!("and {left} faults more"));
    }
    if !faults.is_empty() {
        let cure = header_cure(&names, resolved.iter().all(unmatched), columns.len(), &cures);
        return Err(fault(faults.join("; "), cure));
    }
    Ok((binding(source, &names, &resolved, columns), true))
}

fn binding(source: BindingSource, names: &[&str], resolved: &[Resolved], columns: &[Column]) -> Binding {
    let fields: Vec<Received> = names
        .iter()
        .zip(resolved)
        .map(|(name, resolved)| Received {
            name: (*name).to_owned(),
            column: match resolved {
                Resolved::Column(column) => Some(*column),
                _ => None,
            },
        })
        .collect();
    let has = |column: &usize| fields.iter().any(|field| field.column == Some(*column));
    Binding { source, columns: (0..columns.len()).filter(has).collect(), fields }
}

fn doubled(first: &str, second: &str, column: &str) -> String {
    if first == second {
        format!("the header names {} twice", quoted(first))
    } else {
        let (first, second) = (quoted(first), quoted(second));
        format!("{first} and {second} both name column `{column}`")
    }
}

fn unknown(name: &str, nearest: Option<&str>) -> String {
    let name = if name.is_empty() { "an empty name".to_owned() } else { quoted(name) };
    match nearest {
        Some(column) => format!("{name} is no column of the table; the nearest is `{column}`"),
        None => format!("{name} is no column of the table"),
    }
}

fn missing_column(column: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!(
            "column `{column}` has to be loaded but is missing; the nearest name in the header is {}",
            quoted(name)
        ),
        None => format!("column `{column}` has to be loaded but is missing in the header"),
    }
}

/// What to do about a header that does not fit.
fn header_cure(names: &[&str], all_unknown: bool, columns: usize, cures: &[String]) -> String {
    if let [only] = names {
        let found = OTHER_DELIMITERS.iter().find(|(delimiter, _)| columns > 1 && only.contains(*delimiter));
        if let Some((_, delimiter)) = found {
            return format!("set `delimiter = \"{delimiter}\"`");
        }
    }
    if all_unknown && names.len() == columns {
        return "if the first record is data, set `header = false`".to_owned();
    }
    if cures.is_empty() {
        return String::new();
    }
    let pass_over =
        if cures.iter().any(|cure| cure.ends_with("= false")) { " (`false` passes a field over)" } else { "" };
    format!("correct the header, or set `columns = {{ {} }}`{pass_over}", cures.join(", "))
}

fn by_position(
    count: usize,
    settings: &Columns,
    columns: &[Column],
    source: BindingSource,
) -> Result<(Binding, bool), ObjectFault> {
    let order = if settings.order.is_empty() { (0..columns.len()).collect() } else { order(&settings.order, columns)? };
    if count != order.len() {
        let names: Vec<_> = order.iter().map(|index| quoted(&columns[*index].name)).collect();
        return Err(fault(
            format!(
                "the first record has {count} fields, but {} columns are to be loaded: {}",
                order.len(),
                names.join(", ")
            ),
            "name the columns in the order of the fields with `columns = [\"…\"]`, set \
             `header = true` if the file has one, or check `delimiter`"
                .to_owned(),
        ));
    }
    let missing: Vec<_> = columns
        .iter()
        .enumerate()
        .filter(|(index, column)| !column.optional && !order.contains(index))
        .map(|(_, column)| missing_column(&column.name, None))
        .collect();
    if !missing.is_empty() {
        return Err(fault(missing.join("; "), "add it to `columns`".to_owned()));
    }
    let names: Vec<&str> = order.iter().map(|index| columns[*index].name.as_str()).collect();
    let resolved: Vec<Resolved> = order.into_iter().map(Resolved::Column).collect();
    Ok((binding(source, &names, &resolved, columns), false))
}

/// The columns that `columns = ["…"]` names.
pub(crate) fn order(names: &[String], columns: &[Column]) -> Result<Vec<usize>, ObjectFault> {
    let mut order = Vec::with_capacity(names.len());
    let mut faults = Vec::new();
    for name in names {
        match find_column(name, columns) {
            Ok(Some(column)) if order.contains(&column) => {
                faults.push(format!("`columns` names `{name}` twice"));
            }
            Ok(Some(column)) => order.push(column),
            Ok(None) => {
                let all = columns.iter().map(|column| column.name.as_str());
                faults.push(unknown(name, nearest(name, all)));
            }
            Err(()) => faults.push(format!("`{name}` names several columns that differ only in case")),
        }
    }
    if faults.is_empty() { Ok(order) } else { Err(fault(faults.join("; "), "correct `columns`".to_owned())) }
}
