//! SELECT, INSERT, UPDATE, DELETE: which tables they read and change, and whether each of their words
//! means in PostgreSQL what it means in Redshift.

use super::names::{self, Call, Value};
use super::{Change, Cursor, Known, Verb};
use crate::refusal::Refusal;
use crate::token::{Token, Words, push};

/// Words in a row that PostgreSQL takes and Redshift does not.
const FORBIDDEN: &[&[&str]] = &[
    &["on", "conflict"],
    &["returning"],
    &["for", "update"],
    &["for", "share"],
    &["for", "no"],
    &["for", "key"],
    &["distinct", "on"],
    &["is", "distinct"],
    &["is", "not", "distinct"],
    &["lateral"],
    &["tablesample"],
    &["overriding"],
    &["fetch", "first"],
    &["fetch", "next"],
    &["window"],
    &["groups"],
    &["materialized"],
    &["regclass"],
    &["regtype"],
    &["jsonb"],
    &["uuid"],
    &["bytea"],
];

/// Words before a bracket that are no function.
const BEFORE_BRACKETS: &[&str] = &[
    "all",
    "and",
    "any",
    "as",
    "between",
    "by",
    "case",
    "distinct",
    "else",
    "except",
    "exists",
    "from",
    "group",
    "having",
    "in",
    "intersect",
    "is",
    "join",
    "like",
    "ilike",
    "limit",
    "not",
    "on",
    "or",
    "over",
    "select",
    "set",
    "some",
    "then",
    "to",
    "union",
    "using",
    "values",
    "when",
    "where",
    "with",
    "returns",
    "insert",
    "cast",
];

/// Words after a table that are no alias of it.
const AFTER_TABLES: &[&str] = &[
    "cross",
    "except",
    "full",
    "group",
    "having",
    "inner",
    "intersect",
    "join",
    "left",
    "limit",
    "natural",
    "offset",
    "on",
    "order",
    "right",
    "set",
    "union",
    "using",
    "where",
];

/// A level of brackets.
#[derive(Default)]
struct Level {
    /// Between FROM and the clause that follows it.
    in_from: bool,
    /// The arguments of a function, unless a SELECT begins in them.
    is_call: bool,
}

struct Walk<'a> {
    words: &'a Words,
    known: &'a Known,
    sql: String,
    change: Change,
    /// Names of WITH.
    common: Vec<String>,
    levels: Vec<Level>,
    leader_only: bool,
    has_system: bool,
}

/// Looks at every word of a statement, and rewrites some.
pub(super) fn plan(words: &Words, known: &Known) -> Result<Change, Refusal> {
    let mut walk = Walk {
        words,
        known,
        sql: String::new(),
        change: Change::default(),
        common: Vec::new(),
        levels: vec![Level::default()],
        leader_only: false,
        has_system: false,
    };
    walk.run()?;
    let Walk { sql, mut change, leader_only, has_system, .. } = walk;
    let has_user_table = !change.reads.is_empty() || change.target.is_some();
    if leader_only && has_user_table {
        return Err(names::leader_only());
    }
    if has_system && change.target.is_some() {
        return Err(Refusal::not_modelled("rows of a system view into a table"));
    }
    change.sql = sql;
    Ok(change)
}

impl Walk<'_> {
    fn tokens(&self) -> &[Token] {
        &self.words.tokens
    }

    fn is(&self, at: usize, keyword: &str) -> bool {
        self.tokens().get(at).is_some_and(|token| token.is(keyword))
    }

    fn is_symbol(&self, at: usize, symbol: char) -> bool {
        self.tokens().get(at).is_some_and(|token| token.is_symbol(symbol))
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn emit(&mut self, at: usize) {
        if at > 0 && !self.words.glued[at] {
            self.sql.push(' ');
        }
        push(&mut self.sql, &self.words.tokens[at]);
    }

    fn run(&mut self) -> Result<(), Refusal> {
        let mut at = 0;
        while at < self.tokens().len() {
            self.refuse_forbidden(at)?;
            at = self.step(at)?;
        }
        if self.levels.len() == 1 { Ok(()) } else { Err(Refusal::new("42601", "syntax error at end of input")) }
    }

    fn refuse_forbidden(&self, at: usize) -> Result<(), Refusal> {
        for words in FORBIDDEN {
            if words.iter().enumerate().all(|(n, word)| self.is(at + n, word)) {
                return Err(Refusal::syntax(&self.tokens()[at].shown()));
            }
        }
        Ok(())
    }

    /// Takes the word at this place, and what belongs to it. Returns the place of the next.
    fn step(&mut self, at: usize) -> Result<usize, Refusal> {
        let token = self.tokens()[at].clone();
        match &token {
            Token::Symbol('(') => {
                let is_call = at > 0 && self.is_call(at - 1);
                self.levels.push(Level { is_call, in_from: false });
            }
            Token::Symbol(')') => {
                self.levels.pop();
                if self.levels.is_empty() {
                    return Err(Refusal::syntax(")"));
                }
            }
            Token::Symbol(',') if self.level().in_from => {
                self.emit(at);
                return self.relation(at + 1);
            }
            Token::Symbol('[' | ']' | '{' | '}' | '@' | '&' | '?' | '`' | '#') => {
                return Err(Refusal::not_modelled(&format!("the operator {}", token.shown())));
            }
            Token::Symbol(':') => return self.cast(at),
            Token::Quoted(name) if self.is_symbol(at + 1, '(') => {
                return Err(Refusal::not_modelled(&format!("the function {name}, in quotes")));
            }
            Token::Word(word) => return self.word(at, &word.to_lowercase()),
            _ => {}
        }
        self.emit(at);
        Ok(at + 1)
    }

    /// `::type`.
    fn cast(&mut self, at: usize) -> Result<usize, Refusal> {
        if !self.is_symbol(at + 1, ':') {
            return Err(Refusal::syntax(":"));
        }
        self.emit(at);
        self.emit(at + 1);
        self.type_name(at + 2)
    }

    fn type_name(&mut self, at: usize) -> Result<usize, Refusal> {
        let name = self.tokens().get(at).and_then(Token::name).unwrap_or_default();
        if !names::is_type(&name) {
            return Err(Refusal::not_modelled(&format!("a cast to {name}")));
        }
        match name.as_str() {
            // In Redshift a bare VARCHAR in a cast is as long as need be, and keeps trailing blanks.
            "varchar" | "nvarchar" | "text" if !self.is_symbol(at + 1, '(') => self.sql.push_str("bpchar"),
            "super" => self.sql.push_str("standin.super"),
            "decimal" | "numeric" if !self.is_symbol(at + 1, '(') => self.sql.push_str("numeric(18,0)"),
            "varbyte" => return Err(Refusal::not_modelled("a cast to varbyte")),
            _ => self.emit(at),
        }
        Ok(at + 1)
    }

    /// Whether the word at this place is a function or a type with its size.
    fn is_call(&self, at: usize) -> bool {
        match &self.tokens()[at] {
            Token::Word(word) => !BEFORE_BRACKETS.contains(&word.to_lowercase().as_str()),
            _ => false,
        }
    }

    fn word(&mut self, at: usize, word: &str) -> Result<usize, Refusal> {
        let after_dot = at > 0 && self.is_symbol(at - 1, '.');
        let before_dot = self.is_symbol(at + 1, '.');
        if after_dot || before_dot {
            if self.is_symbol(at + 1, '(') {
                return Err(Refusal::not_modelled(&format!("the function {word}, with its schema")));
            }
            if names::is_reserved(word) {
                return Err(Refusal::syntax(word));
            }
            self.emit(at);
            return Ok(at + 1);
        }
        match word {
            "select" => {
                *self.level() = Level::default();
                if self.is(at + 1, "into") {
                    return Err(Refusal::not_modelled("SELECT INTO"));
                }
            }
            "from" if self.is_distinct_argument() => {}
            "from" => {
                self.level().in_from = true;
                self.emit(at);
                return self.relation(at + 1);
            }
            "join" => {
                self.emit(at);
                return self.relation(at + 1);
            }
            "using" if matches!(self.change.target, Some((_, Verb::Delete))) && self.levels.len() == 1 => {
                self.level().in_from = true;
                self.emit(at);
                return self.relation(at + 1);
            }
            "where" | "group" | "having" | "order" | "limit" | "offset" | "union" | "except" | "intersect"
            | "minus" | "set" | "values" => {
                self.level().in_from = false;
                if word == "minus" {
                    return Err(Refusal::not_modelled("MINUS"));
                }
            }
            "with" => return self.with(at),
            "into" if at == 0 || !self.is(at - 1, "insert") => return Err(Refusal::not_modelled("SELECT INTO")),
            "into" => return self.target(at, at + 1, Verb::Insert),
            "update" => return self.target(at, at + 1, Verb::Update),
            "delete" if self.change.target.is_some() || self.levels.len() > 1 => return Err(Refusal::syntax(word)),
            "delete" => {
                self.sql.push_str(" DELETE FROM");
                let next = at + 1 + usize::from(self.is(at + 1, "from"));
                return self.table_of(next, Verb::Delete);
            }
            "as" if self.is_cast_argument(at) => {
                self.emit(at);
                self.sql.push(' ');
                return self.type_name(at + 1);
            }
            "sysdate" => {
                self.sql.push_str(" standin.sysdate()");
                return Ok(at + 1);
            }
            "current_timestamp" | "localtimestamp" | "current_date" | "current_user" | "session_user" | "user" => {
                self.leader_only |= word.ends_with("timestamp");
            }
            "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid" => {
                return Err(Refusal::not_modelled(&format!("the system column {word}")));
            }
            "array" => return Err(Refusal::syntax(word)),
            "filter" | "row" if self.is_symbol(at + 1, '(') => return Err(Refusal::syntax(word)),
            _ if self.is_symbol(at + 1, '(') => return self.call(at, word),
            _ if matches!(self.tokens().get(at + 1), Some(Token::Literal(_))) => self.before_literal(word)?,
            _ if names::is_reserved(word) => return Err(Refusal::syntax(word)),
            _ => {}
        }
        self.emit(at);
        Ok(at + 1)
    }

    /// A word before a literal is a keyword, or the type of the literal.
    fn before_literal(&self, word: &str) -> Result<(), Refusal> {
        const KEYWORDS: &[&str] = &[
            "all", "and", "between", "by", "case", "distinct", "else", "escape", "having", "ilike", "in", "interval",
            "is", "like", "limit", "not", "on", "or", "select", "similar", "then", "to", "union", "using", "values",
            "when", "where", "zone",
        ];
        if KEYWORDS.contains(&word) || names::is_type(word) {
            return Ok(());
        }
        Err(Refusal::not_modelled(&format!("a literal of the type {word}")))
    }

    /// Whether FROM here belongs to a function, as in `EXTRACT(day FROM x)`.
    fn is_distinct_argument(&mut self) -> bool {
        self.level().is_call
    }

    /// Whether AS here is that of a CAST.
    fn is_cast_argument(&self, at: usize) -> bool {
        let mut depth = 0;
        for place in (0..at).rev() {
            match &self.tokens()[place] {
                Token::Symbol(')') => depth += 1,
                Token::Symbol('(') if depth == 0 => return place > 0 && self.is(place - 1, "cast"),
                Token::Symbol('(') => depth -= 1,
                _ => {}
            }
        }
        false
    }

    fn call(&mut self, at: usize, word: &str) -> Result<usize, Refusal> {
        if BEFORE_BRACKETS.contains(&word) {
            self.emit(at);
            return Ok(at + 1);
        }
        if names::is_type(word) && word != "left" && word != "right" {
            self.emit(at);
            return Ok(at + 1);
        }
        self.leader_only |= names::is_leader_only(word);
        match names::function(word)? {
            Call::Same => self.emit(at),
            Call::Renamed(name) => {
                self.sql.push(' ');
                self.sql.push_str(&name);
            }
            Call::Value(value) => {
                if !self.is_symbol(at + 2, ')') {
                    return Err(Refusal::new("42883", format!("function {word} takes no arguments")));
                }
                self.sql.push_str(&match value {
                    Value::LastCopyId => format!(" ({})", self.known.last_copy_id),
                    Value::LastCopyCount => format!(" ({}::bigint)", self.known.last_copy_count),
                    Value::Version => format!(" '{}'::text", crate::VERSION),
                });
                self.sql.push_str(&format!(" AS {word}"));
                // A name for the column only where it stands alone.
                if !(self.is_symbol(at + 3, ',') || at + 3 >= self.tokens().len() || self.is(at + 3, "from")) {
                    let cut = self.sql.len() - format!(" AS {word}").len();
                    self.sql.truncate(cut);
                }
                return Ok(at + 3);
            }
        }
        Ok(at + 1)
    }

    /// `WITH a AS (…), b AS (…)`: the names.
    fn with(&mut self, at: usize) -> Result<usize, Refusal> {
        self.emit(at);
        if self.is(at + 1, "recursive") {
            return Err(Refusal::not_modelled("WITH RECURSIVE"));
        }
        let mut depth = 0;
        for place in at + 1..self.tokens().len() {
            match &self.words.tokens[place] {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth -= 1,
                token if depth == 0 && self.is(place + 1, "as") && self.is_symbol(place + 2, '(') => {
                    self.common.extend(token.name());
                }
                token if depth == 0 && (token.is("select") || token.is("insert")) => break,
                _ => {}
            }
        }
        Ok(at + 1)
    }

    /// INTO and UPDATE.
    fn target(&mut self, at: usize, name: usize, verb: Verb) -> Result<usize, Refusal> {
        if self.change.target.is_some() || self.levels.len() > 1 {
            return Err(Refusal::syntax(&self.tokens()[at].shown()));
        }
        self.emit(at);
        self.table_of(name, verb)
    }

    fn table_of(&mut self, at: usize, verb: Verb) -> Result<usize, Refusal> {
        let mut cursor = Cursor::new(&self.words.tokens, at);
        let name = cursor.table()?;
        if names::system(name.schema.as_deref(), &name.name, self.known.mode)?.is_some() {
            return Err(Refusal::new("42501", format!("permission denied for relation {}", name.name)));
        }
        self.sql.push(' ');
        self.sql.push_str(&name.sql());
        if verb != Verb::Insert {
            self.change.reads.push(name.clone());
        }
        self.change.target = Some((name, verb));
        let mut next = cursor.at;
        // The columns of an INSERT.
        if verb == Verb::Insert && self.is_symbol(next, '(') && !self.is(next + 1, "select") {
            let end = (next..self.tokens().len()).find(|at| self.is_symbol(*at, ')'));
            let Some(end) = end else { return Err(Refusal::new("42601", "syntax error at end of input")) };
            for place in next..=end {
                self.emit(place);
            }
            next = end + 1;
        }
        Ok(next)
    }

    /// What follows FROM, JOIN and a comma between tables.
    fn relation(&mut self, at: usize) -> Result<usize, Refusal> {
        if self.is_symbol(at, '(') {
            if ["select", "with"].iter().any(|word| self.is(at + 1, word)) {
                return Ok(at);
            }
            // Tables that are joined in brackets.
            self.emit(at);
            self.levels.push(Level { in_from: true, is_call: false });
            return self.relation(at + 1);
        }
        let mut cursor = Cursor::new(&self.words.tokens, at);
        let name = cursor.table()?;
        let next = cursor.at;
        self.sql.push(' ');
        if name.schema.is_none() && self.common.contains(&name.name) {
            self.sql.push_str(&name.sql());
            return Ok(next);
        }
        if self.is_symbol(next, '(') {
            return Err(Refusal::not_modelled(&format!("the function {} as a table", name.name)));
        }
        match names::system(name.schema.as_deref(), &name.name, self.known.mode)? {
            Some(view) => {
                self.sql.push_str(&view);
                // Without an alias its own name is the one that columns may be qualified by.
                let has_alias = match self.tokens().get(next) {
                    Some(Token::Word(word)) => !AFTER_TABLES.contains(&word.to_lowercase().as_str()),
                    Some(Token::Quoted(_)) => true,
                    _ => false,
                };
                if !has_alias {
                    self.sql.push_str(&format!(" AS {}", crate::token::ident(&name.name)));
                }
                self.has_system = true;
                self.leader_only |= name.schema.as_deref() == Some("information_schema");
            }
            None => {
                self.sql.push_str(&name.sql());
                self.change.reads.push(name);
            }
        }
        Ok(next)
    }
}
