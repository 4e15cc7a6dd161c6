//! Every statement passes here: what is known to be as in Redshift goes on to the server behind, perhaps
//! in other words; what Redshift refuses is refused; all else is not modelled.

mod alter;
mod manage;
mod merge;
mod names;
mod query;
mod table;

pub(crate) use manage::{SETTINGS, setting, value_of};
pub(crate) use names::of_users;

use crate::copy;
use crate::refusal::Refusal;
use crate::token::{Token, Words};

/// Which kind of Redshift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A cluster.
    Provisioned,
    /// A workgroup: users have no STL and STV views.
    Serverless,
}

/// A table as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

impl Name {
    /// In double quotes.
    pub(crate) fn sql(&self) -> String {
        let name = crate::token::ident(&self.name);
        self.schema.as_ref().map_or(name.clone(), |schema| format!("{}.{name}", crate::token::ident(schema)))
    }
}

/// What of the session a statement may ask.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) mode: Mode,
    /// Whether LIKE inherits IDENTITY, which is not documented.
    pub(crate) like_inherits_identity: bool,
    /// Whether REMOVE DUPLICATES takes a source with a key twice, which is not documented.
    pub(crate) source_keys_may_repeat: bool,
    /// How COPY reads.
    pub(crate) reading: copy::Switches,
}

/// What is to be done for a statement.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Rows are read or changed.
    Rows(Change),
    /// A table comes, goes or changes.
    Ddl(Ddl),
    Copy(Box<copy::Statement>),
    Begin,
    Commit,
    Rollback,
    Lock(Vec<Name>),
    Truncate(Name),
    /// A setting: name and value; `None` for the default.
    Set(String, Option<String>),
    Show(String),
    /// A statement of the administrator that goes on as it is.
    Manage(String),
    /// VACUUM and the like: nothing happens, under this tag, and not within a transaction if so said.
    Nothing {
        tag: &'static str,
        in_block: bool,
        table: Option<Name>,
    },
}

/// A statement that reads or changes rows.
#[derive(Debug, Default, Clone)]
pub(crate) struct Change {
    /// What is done before it, unseen.
    pub(crate) before: Vec<String>,
    pub(crate) sql: String,
    pub(crate) reads: Vec<Name>,
    pub(crate) target: Option<(Name, Verb)>,
    /// Columns that have to be of their table, as they would mean something else if they were not.
    pub(crate) columns: Vec<(Name, String)>,
    /// Names that the statement gives to values.
    pub(crate) aliases: Vec<String>,
    /// It reads system views.
    pub(crate) is_of_system: bool,
    /// It asks what the session's last COPY was.
    pub(crate) asks_of_copy: bool,
}

/// How rows are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Insert,
    Update,
    Delete,
    Merge,
}

/// A statement about a table.
#[derive(Debug, Default)]
pub(crate) struct Ddl {
    /// The statements for the server behind. The tag of the first is answered.
    pub(crate) sql: Vec<String>,
    pub(crate) reads: Vec<Name>,
    pub(crate) creates: Vec<Name>,
    pub(crate) is_temporary: bool,
    pub(crate) drops: Vec<Name>,
    pub(crate) alters: Vec<Name>,
    /// What Redshift does outside of transactions only, by its name.
    pub(crate) outside: Option<&'static str>,
    /// The tag, where it is not that of the first statement.
    pub(crate) tag: Option<&'static str>,
    /// What is altered gets the name of what is created.
    pub(crate) renames: bool,
    /// The table that is created from a query, and the query, whose columns tell their types.
    pub(crate) carries: Option<(Name, String)>,
}

/// Decides what to do for one statement.
///
/// # Errors
/// What Redshift refuses, and what is not modelled.
pub(crate) fn plan(words: &Words, known: &Known) -> Result<Plan, Refusal> {
    let tokens = &words.tokens;
    let first = match tokens.first() {
        Some(Token::Word(word)) => word.to_lowercase(),
        Some(Token::Symbol('(')) => "select".to_owned(),
        Some(other) => return Err(Refusal::syntax(&other.shown())),
        None => return Err(Refusal::syntax("")),
    };
    match first.as_str() {
        "select" | "with" | "insert" | "update" | "delete" => query::plan(words, known).map(Plan::Rows),
        "merge" => merge::plan(words, known).map(Plan::Rows),
        "copy" => {
            copy::parse(tokens, &known.reading).map(|statement| Plan::Copy(Box::new(statement))).map_err(Refusal::from)
        }
        "create" | "drop" | "alter" => table::plan(words, known),
        "begin" | "start" => transaction(tokens, Plan::Begin),
        "commit" | "end" => transaction(tokens, Plan::Commit),
        "rollback" | "abort" => transaction(tokens, Plan::Rollback),
        "savepoint" | "release" => Err(Refusal::syntax(&tokens[0].shown())),
        "listen" | "notify" | "unlisten" => Err(Refusal::unsupported(&first.to_uppercase())),
        _ => manage::plan(&first, words),
    }
}

/// BEGIN and its kin. The words about isolation are ignored, as Redshift does.
fn transaction(tokens: &[Token], plan: Plan) -> Result<Plan, Refusal> {
    const NOISE: &[&str] = &[
        "isolation",
        "level",
        "serializable",
        "read",
        "committed",
        "uncommitted",
        "repeatable",
        "snapshot",
        "write",
        "only",
    ];
    let mut cursor = Cursor::new(tokens, 1);
    if !cursor.eat("work") {
        cursor.eat("transaction");
    }
    if !matches!(plan, Plan::Begin) {
        cursor.end()?;
        return Ok(plan);
    }
    while let Some(token) = cursor.next() {
        if token.is("only") {
            return Err(Refusal::not_modelled("a transaction that may only read"));
        }
        if !token.is_symbol(',') && !NOISE.iter().any(|word| token.is(word)) {
            return Err(Refusal::syntax(&token.shown()));
        }
    }
    Ok(plan)
}

/// Reads words one after the other.
pub(crate) struct Cursor<'a> {
    pub(crate) tokens: &'a [Token],
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [Token], at: usize) -> Self {
        Self { tokens, at }
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    pub(crate) fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    /// Takes the keyword if it is next.
    pub(crate) fn eat(&mut self, keyword: &str) -> bool {
        let is_it = self.peek().is_some_and(|token| token.is(keyword));
        self.at += usize::from(is_it);
        is_it
    }

    /// Takes the character if it is next.
    pub(crate) fn eat_symbol(&mut self, symbol: char) -> bool {
        let is_it = self.peek().is_some_and(|token| token.is_symbol(symbol));
        self.at += usize::from(is_it);
        is_it
    }

    pub(crate) fn expect(&mut self, keyword: &str) -> Result<(), Refusal> {
        if self.eat(keyword) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(crate) fn expect_symbol(&mut self, symbol: char) -> Result<(), Refusal> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The error for the next word.
    pub(crate) fn unexpected(&self) -> Refusal {
        match self.peek() {
            Some(token) => Refusal::syntax(&token.shown()),
            None => Refusal::new("42601", "syntax error at end of input"),
        }
    }

    /// The error for the word that was taken last.
    pub(crate) fn unexpected_before(&self) -> Refusal {
        Self::new(self.tokens, self.at.saturating_sub(1)).unexpected()
    }

    pub(crate) fn name(&mut self) -> Result<String, Refusal> {
        let name = self.peek().and_then(Token::name).ok_or_else(|| self.unexpected())?;
        if matches!(self.peek(), Some(Token::Word(_))) && names::is_reserved(&name) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(name)
    }

    /// `[database.][schema.]table`.
    pub(crate) fn table(&mut self) -> Result<Name, Refusal> {
        let mut name = Name { schema: None, name: self.name()? };
        while self.eat_symbol('.') {
            if name.schema.is_some() {
                return Err(Refusal::not_modelled("a table of another database"));
            }
            name = Name { schema: Some(name.name), name: self.name()? };
        }
        names::of_users(name.schema.as_deref())?;
        Ok(name)
    }

    pub(crate) fn number(&mut self) -> Result<u32, Refusal> {
        match self.peek() {
            Some(Token::Number(text)) if text.parse::<u32>().is_ok() => {
                self.at += 1;
                Ok(text.parse().unwrap_or_default())
            }
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn end(&self) -> Result<(), Refusal> {
        if self.at >= self.tokens.len() { Ok(()) } else { Err(self.unexpected()) }
    }
}
