//! MERGE: Redshift's full form has both branches, in their order, and nothing more; its simplified form
//! is REMOVE DUPLICATES.

use super::query::Parser;
use super::{Change, Known, Name, Verb};
use crate::refusal::Refusal;
use crate::token::{Words, ident, literal};

/// `MERGE INTO t USING s [alias] ON … { WHEN MATCHED … WHEN NOT MATCHED … | REMOVE DUPLICATES }`.
pub(super) fn plan(words: &Words, known: &Known) -> Result<Change, Refusal> {
    let mut parser = Parser::new(words, known);
    let mut merge = Merge::default();
    parser.cursor.expect("merge")?;
    parser.put("merge");
    parser.scoped(|parser| merge.read(parser, known))?;
    let mut change = parser.finish()?;
    if let Some(without_duplicates) = merge.without_duplicates {
        let [before @ .., last] = &without_duplicates[..] else {
            return Err(Refusal::not_modelled("this MERGE"));
        };
        change.before = before.to_vec();
        change.sql.clone_from(last);
    }
    Ok(change)
}

/// What is gathered while the statement is read.
#[derive(Default)]
struct Merge {
    /// The statements that REMOVE DUPLICATES stands for.
    without_duplicates: Option<Vec<String>>,
}

impl Merge {
    fn read(&mut self, parser: &mut Parser<'_>, known: &Known) -> Result<(), Refusal> {
        if !parser.pass("into") {
            return Err(parser.cursor.unexpected());
        }
        let target = parser.target()?;
        // The target has no alias.
        if !parser.pass("using") {
            return Err(parser.cursor.unexpected());
        }
        let start = parser.sql.len();
        let source = parser.merged()?;
        let source_sql = parser.sql[start..].to_owned();
        if parser.change.reads.iter().any(|read| read.is_like(&target)) {
            let text = "Source view/subquery in Merge statement cannot reference target table.";
            return Err(Refusal::new("XX000", text));
        }
        parser.change.reads.push(target.clone());
        parser.change.target = Some((target.clone(), Verb::Merge));
        parser.names_of_merge(&target);
        if !parser.pass("on") {
            return Err(parser.cursor.unexpected());
        }
        let start = parser.sql.len();
        let pairs = conditions(parser)?;
        let on = parser.sql[start..].to_owned();
        if parser.cursor.eat("remove") {
            parser.cursor.expect("duplicates")?;
            let Some(source) = source else {
                return Err(Refusal::not_modelled("REMOVE DUPLICATES with a query"));
            };
            self.without_duplicates = Some(remove_duplicates(&target, &source, &source_sql, &on, &pairs, known));
            return Ok(());
        }
        let reads = parser.change.reads.len();
        branches(parser)?;
        if parser.change.reads.len() > reads {
            return Err(Refusal::not_modelled("a query in a branch of MERGE"));
        }
        Ok(())
    }
}

/// `a = b AND c = d`, perhaps in brackets. Returns both sides of each.
fn conditions(parser: &mut Parser<'_>) -> Result<Vec<[Vec<String>; 2]>, Refusal> {
    let is_bracket = parser.cursor.peek().is_some_and(|token| token.is_symbol('('));
    if is_bracket {
        parser.pass_symbol('(')?;
    }
    let mut pairs = Vec::new();
    loop {
        let left = side(parser)?;
        if parser.pass_symbol('=').is_err() {
            return Err(Refusal::not_modelled("MERGE ON what is no equality of columns"));
        }
        pairs.push([left, side(parser)?]);
        if !parser.pass("and") {
            break;
        }
    }
    if is_bracket {
        parser.pass_symbol(')')?;
    }
    Ok(pairs)
}

/// One column, and nothing else.
fn side(parser: &mut Parser<'_>) -> Result<Vec<String>, Refusal> {
    let is_name = parser.cursor.peek().is_some_and(|token| token.name().is_some());
    if !is_name {
        return Err(Refusal::not_modelled("MERGE ON what is no equality of columns"));
    }
    let mut parts = vec![parser.column_name()?];
    while parser.cursor.peek().is_some_and(|token| token.is_symbol('.')) {
        parser.pass_symbol('.')?;
        parts.push(parser.column_name()?);
    }
    Ok(parts)
}

fn branches(parser: &mut Parser<'_>) -> Result<(), Refusal> {
    let words = |parser: &mut Parser<'_>, words: &[&str]| {
        words.iter().try_for_each(|word| if parser.pass(word) { Ok(()) } else { Err(parser.cursor.unexpected()) })
    };
    words(parser, &["when", "matched", "then"])?;
    if parser.pass("update") {
        parser.assignments()?;
    } else {
        words(parser, &["delete"])?;
    }
    words(parser, &["when", "not", "matched", "then", "insert"])?;
    if parser.cursor.peek().is_some_and(|token| token.is_symbol('(')) {
        parser.names()?;
    }
    words(parser, &["values"])?;
    parser.row_of_values()
}

/// Rows of the target with a key of the source go, and all rows of the source come.
fn remove_duplicates(
    target: &Name,
    source: &Name,
    source_sql: &str,
    on: &str,
    pairs: &[[Vec<String>; 2]],
    known: &Known,
) -> Vec<String> {
    let (target_name, target, source) = (&target.name, target.sql(), source.sql());
    let of_source = |pair: &[Vec<String>; 2]| {
        let own = pair.iter().find(|side| side.len() > 1 && side[side.len() - 2] != *target_name);
        own.and_then(|side| side.last()).map(|column| ident(column))
    };
    let keys: Vec<String> = pairs.iter().filter_map(of_source).collect();
    vec![
        format!(
            "SELECT standin.may_merge({}, {}, {}, {})",
            literal(&target),
            literal(&source),
            literal(&keys.join(", ")),
            known.source_keys_may_repeat
        ),
        format!("DELETE FROM {target} USING {source_sql} WHERE {on}"),
        format!("INSERT INTO {target} SELECT * FROM {source}"),
    ]
}

impl Name {
    /// Whether both may be the same table.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.name == other.name && (self.schema.is_none() || other.schema.is_none() || self.schema == other.schema)
    }
}
