//! SELECT, INSERT, UPDATE, DELETE, read by a grammar of what is modelled and written anew for the server
//! behind: what the grammar does not know does not pass, and every table that is read or changed is named.

mod calls;
mod change;
mod expression;
mod select;
mod types;

use super::names;
use super::{Change, Cursor, Known, Name};
use crate::refusal::Refusal;
use crate::token::{Words, ident};

/// How deep queries and brackets may be in each other.
const DEEPEST: usize = 100;

/// Functions that the server behind takes for a column of a whole row: `t.count` is `count(t)`.
const OF_WHOLE_ROWS: &[&str] = &[
    "array_agg",
    "concat",
    "count",
    "hash_record",
    "json_agg",
    "json_build_array",
    "jsonb_agg",
    "jsonb_build_array",
    "num_nonnulls",
    "num_nulls",
    "pg_column_size",
    "pg_typeof",
    "quote_literal",
    "quote_nullable",
    "record_out",
    "record_send",
    "row_to_json",
    "to_json",
    "to_jsonb",
];

/// The relations of one query, and the names in it that may mean one of them.
#[derive(Default)]
struct Scope {
    /// What each is called, and its table if it is one.
    relations: Vec<(String, Option<Name>)>,
    bare: Vec<String>,
    qualified: Vec<(String, String)>,
}

/// Reads one statement and writes it.
pub(super) struct Parser<'a> {
    pub(super) cursor: Cursor<'a>,
    known: &'a Known,
    pub(super) sql: String,
    pub(super) change: Change,
    /// Names of WITH that can be seen here.
    common: Vec<String>,
    scopes: Vec<Scope>,
    depth: usize,
    /// What only the leader node has.
    leader_only: bool,
    /// A system view of the leader node, and of the others.
    has_catalog: bool,
    has_system: bool,
    /// The name of the expression that ends here, where the server behind would give it another.
    named: Option<(usize, &'static str)>,
}

/// Reads a statement about rows.
pub(super) fn plan(words: &Words, known: &Known) -> Result<Change, Refusal> {
    let mut parser = Parser::new(words, known);
    parser.statement()?;
    parser.finish()
}

impl<'a> Parser<'a> {
    pub(super) fn new(words: &'a Words, known: &'a Known) -> Self {
        Self {
            cursor: Cursor::new(&words.tokens, 0),
            known,
            sql: String::new(),
            change: Change::default(),
            common: Vec::new(),
            scopes: Vec::new(),
            depth: 0,
            leader_only: false,
            has_catalog: false,
            has_system: false,
            named: None,
        }
    }

    fn statement(&mut self) -> Result<(), Refusal> {
        if self.cursor.eat("insert") {
            self.insert()
        } else if self.cursor.eat("update") {
            self.update()
        } else if self.cursor.eat("delete") {
            self.delete()
        } else {
            self.query(false)
        }
    }

    /// What was found, if all of it goes together.
    pub(super) fn finish(mut self) -> Result<Change, Refusal> {
        self.cursor.end()?;
        let has_user_table = !self.change.reads.is_empty() || self.change.target.is_some();
        if has_user_table && (self.leader_only || self.has_catalog) {
            return Err(names::leader_only());
        }
        if has_user_table && self.has_system {
            return Err(Refusal::not_modelled("a system view together with a user's table"));
        }
        self.change.is_of_system = self.has_system || self.has_catalog;
        self.change.sql = self.sql;
        Ok(self.change)
    }

    /// Writes something.
    pub(super) fn put(&mut self, text: &str) {
        self.sql.push(' ');
        self.sql.push_str(text);
    }

    fn put_name(&mut self, name: &str) {
        self.put(&ident(name));
    }

    /// Takes the keyword if it is next, and writes it.
    pub(super) fn pass(&mut self, keyword: &str) -> bool {
        let is_it = self.cursor.eat(keyword);
        if is_it {
            self.put(keyword);
        }
        is_it
    }

    /// Takes the character, which has to be next, and writes it.
    pub(super) fn pass_symbol(&mut self, symbol: char) -> Result<(), Refusal> {
        self.cursor.expect_symbol(symbol)?;
        self.put(&symbol.to_string());
        Ok(())
    }

    fn is(&self, keyword: &str) -> bool {
        self.is_at(0, keyword)
    }

    /// Whether the keyword stands so many words further on.
    fn is_at(&self, further: usize, keyword: &str) -> bool {
        self.cursor.tokens.get(self.cursor.at + further).is_some_and(|token| token.is(keyword))
    }

    fn is_symbol_at(&self, further: usize, symbol: char) -> bool {
        self.cursor.tokens.get(self.cursor.at + further).is_some_and(|token| token.is_symbol(symbol))
    }

    /// A name, written in quotes, so that the server behind takes it for no word of its own.
    pub(super) fn name(&mut self) -> Result<String, Refusal> {
        let name = self.cursor.name()?;
        self.put_name(&name);
        Ok(name)
    }

    /// `(a, b)`
    pub(super) fn names(&mut self) -> Result<Vec<String>, Refusal> {
        self.pass_symbol('(')?;
        let mut names = vec![self.column_name()?];
        while self.is_symbol_at(0, ',') {
            self.pass_symbol(',')?;
            names.push(self.column_name()?);
        }
        self.pass_symbol(')')?;
        Ok(names)
    }

    /// The name of a column.
    pub(super) fn column_name(&mut self) -> Result<String, Refusal> {
        let name = self.name()?;
        names::of_columns(&name)?;
        Ok(name)
    }

    /// One level deeper, if there is one.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        if self.depth >= DEEPEST {
            return Err(Refusal::not_modelled("queries or brackets so deep in each other"));
        }
        self.depth += 1;
        let done = inner(self);
        self.depth -= 1;
        done
    }

    /// The relations that are read within.
    pub(super) fn scoped<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.scopes.push(Scope::default());
        let done = inner(self)?;
        self.close_scope()?;
        Ok(done)
    }

    /// A name that means a whole row, or a function of one, is not Redshift's.
    fn close_scope(&mut self) -> Result<(), Refusal> {
        let Some(scope) = self.scopes.pop() else { return Ok(()) };
        let is_here = |name: &str| scope.relations.iter().find(|(alias, _)| alias == name);
        for name in scope.bare {
            if is_here(&name).is_some() {
                return Err(Refusal::not_modelled(&format!("the name {name}, which may mean a row or a column")));
            }
            if let Some(outer) = self.scopes.last_mut() {
                outer.bare.push(name);
            }
        }
        for (relation, column) in scope.qualified {
            match is_here(&relation) {
                Some((_, Some(table))) => self.change.columns.push((table.clone(), column)),
                Some((_, None)) => return Err(Refusal::not_modelled(&format!("{column} of a query's rows"))),
                None => {
                    if let Some(outer) = self.scopes.last_mut() {
                        outer.qualified.push((relation, column));
                    }
                }
            }
        }
        Ok(())
    }

    /// The target of a MERGE can be named by its columns.
    pub(super) fn names_of_merge(&mut self, target: &Name) {
        self.relation(&target.name, Some(target.clone()));
    }

    fn relation(&mut self, alias: &str, table: Option<Name>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.relations.push((alias.to_owned(), table));
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
