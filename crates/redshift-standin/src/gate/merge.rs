//! MERGE: Redshift's full form has both branches, in their order, and nothing more.

use super::{Change, Cursor, Known, Name, Verb, names, query};
use crate::refusal::Refusal;
use crate::token::{Token, Words, join};

/// `MERGE INTO t USING s [alias] ON … WHEN MATCHED THEN … WHEN NOT MATCHED THEN INSERT …`.
pub(super) fn plan(words: &Words, known: &Known) -> Result<Change, Refusal> {
    let tokens = &words.tokens;
    let mut cursor = Cursor::new(tokens, 1);
    cursor.expect("into")?;
    let target = of_a_user(cursor.table()?, known)?;
    // The target has no alias.
    cursor.expect("using")?;
    let mut reads = vec![target.clone()];
    if cursor.eat_symbol('(') {
        let start = cursor.at;
        let mut depth = 1;
        while depth > 0 {
            match cursor.next() {
                Some(Token::Symbol('(')) => depth += 1,
                Some(Token::Symbol(')')) => depth -= 1,
                Some(_) => {}
                None => return Err(Refusal::new("42601", "syntax error at end of input")),
            }
        }
        let inner = part(words, start, cursor.at - 1);
        reads.extend(query::plan(&inner, known)?.reads);
    } else {
        reads.push(of_a_user(cursor.table()?, known)?);
    }
    if reads[1..].iter().any(|source| source.is_like(&target)) {
        return Err(Refusal::new("XX000", "Source view/subquery in Merge statement cannot reference target table."));
    }
    if tokens.iter().any(|token| token.is("duplicates")) {
        return Err(Refusal::not_modelled("MERGE … REMOVE DUPLICATES"));
    }
    branches(words, known)?;
    Ok(Change { sql: join(words), reads, target: Some((target, Verb::Merge)) })
}

/// Only tables of users are merged.
fn of_a_user(name: Name, known: &Known) -> Result<Name, Refusal> {
    match names::system(name.schema.as_deref(), &name.name, known.mode)? {
        None => Ok(name),
        Some(_) => Err(Refusal::not_modelled("MERGE with a system view")),
    }
}

fn part(words: &Words, from: usize, to: usize) -> Words {
    Words { tokens: words.tokens[from..to].to_vec(), glued: words.glued[from..to].to_vec() }
}

fn branches(words: &Words, known: &Known) -> Result<(), Refusal> {
    let tokens = &words.tokens;
    let whens: Vec<usize> = (0..tokens.len())
        .filter(|at| tokens[*at].is("when") && tokens.get(at + 1).is_some_and(|t| t.is("matched") || t.is("not")))
        .collect();
    let [matched, unmatched] = whens[..] else {
        return Err(Refusal::new("42601", "syntax error: MERGE has one WHEN MATCHED and one WHEN NOT MATCHED"));
    };
    let mut cursor = Cursor::new(tokens, matched + 1);
    cursor.expect("matched")?;
    cursor.expect("then")?;
    if !(cursor.eat("update") || cursor.eat("delete")) {
        return Err(cursor.unexpected());
    }
    let mut cursor = Cursor::new(tokens, unmatched + 1);
    for word in ["not", "matched", "then", "insert"] {
        cursor.expect(word)?;
    }
    // Each of their words has to pass as it would in a statement of its own.
    let on = tokens.iter().position(|token| token.is("on")).ok_or_else(|| cursor.unexpected())?;
    for (from, to) in [(on + 1, matched), (matched + 3, unmatched), (unmatched + 5, tokens.len())] {
        let mut select = Words { tokens: vec![Token::Word("select".to_owned())], glued: vec![false] };
        let inner = part(words, from, to);
        let skip = inner.tokens.iter().take_while(|token| token.is("update") || token.is("set") || token.is("delete"));
        let skip = skip.count();
        select.tokens.extend(inner.tokens.into_iter().skip(skip));
        select.glued.extend(inner.glued.into_iter().skip(skip));
        query::plan(&select, known)?;
    }
    Ok(())
}

impl Name {
    /// Whether both may be the same table.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.name == other.name && (self.schema.is_none() || other.schema.is_none() || self.schema == other.schema)
    }
}
