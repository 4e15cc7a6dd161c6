//! Which options of a COPY do not go together.

use super::grammar::Draft;
use super::options::Options;
use super::reader::Switches;
use super::statement::Refusal;

/// Options that exclude each other: of each line at most one may be given.
const EXCLUSIVE: &[&[&str]] = &[
    &["CSV", "FIXEDWIDTH", "JSON", "AVRO", "PARQUET", "ORC", "SHAPEFILE"],
    &["CSV", "REMOVEQUOTES"],
    &["CSV", "ESCAPE"],
    &["DELIMITER", "FIXEDWIDTH"],
    &["REMOVEQUOTES", "FIXEDWIDTH"],
    &["ESCAPE", "FIXEDWIDTH"],
    &["GZIP", "BZIP2", "LZOP", "ZSTD"],
    &["MAXERROR", "IGNOREALLERRORS"],
    &["JSON", "DELIMITER"],
    &["JSON", "NULL"],
    &["JSON", "ESCAPE"],
    &["JSON", "FILLRECORD"],
    &["JSON", "IGNOREBLANKLINES"],
    &["IGNOREALLERRORS", "PARQUET"],
    &["IGNOREALLERRORS", "ORC"],
];

/// Judges all options together, and sets what follows from others.
///
/// # Errors
/// Clashes first, then what is not modelled.
pub(super) fn check(draft: Draft, switches: &Switches) -> Result<Options, Refusal> {
    for group in EXCLUSIVE {
        let given: Vec<&str> = group.iter().copied().filter(|name| draft.has(name)).collect();
        if given.len() > 1 {
            return Err(Refusal::clash(format!(
                "conflicting options: {} cannot be used together",
                given.join(" and ")
            )));
        }
    }
    if draft.has("QUOTE") && !draft.has("CSV") {
        return Err(Refusal::clash("QUOTE is allowed with CSV only"));
    }
    let has_delimiter = draft.has("DELIMITER");
    if let Some(what) = draft.not_modelled {
        return Err(Refusal::not_modelled(what));
    }
    if draft.has("ACCEPTANYDATE") && !draft.has("DATEFORMAT") {
        return Err(Refusal::not_modelled("ACCEPTANYDATE without DATEFORMAT"));
    }
    let mut options = draft.options;
    if options.csv && !has_delimiter {
        options.delimiter = ",".to_owned();
    }
    if options.delimiter.len() > 1 && !switches.several_character_delimiters {
        return Err(Refusal::clash("COPY delimiter must be a single character"));
    }
    if options.csv && options.delimiter.as_bytes().contains(&options.quote) {
        return Err(Refusal::clash("COPY delimiter and quote must be different"));
    }
    if options.escape && options.delimiter.contains('\\') {
        return Err(Refusal::clash("COPY delimiter cannot be the escape character"));
    }
    options.empty_as_null |= options.null_as.is_empty();
    Ok(options)
}

#[cfg(test)]
#[path = "clashes_tests.rs"]
mod tests;
