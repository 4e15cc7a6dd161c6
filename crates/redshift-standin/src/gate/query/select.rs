//! Queries, and what stands after FROM.

use super::Parser;
use crate::gate::names;
use crate::gate::{Cursor, Name};
use crate::refusal::Refusal;
use crate::token::{Token, ident};

/// Words after a table or a value that are no alias of it.
const NO_ALIAS: &[&str] = &[
    "as",
    "cross",
    "except",
    "from",
    "full",
    "group",
    "having",
    "inner",
    "intersect",
    "into",
    "join",
    "left",
    "limit",
    "minus",
    "natural",
    "offset",
    "on",
    "order",
    "qualify",
    "right",
    "set",
    "union",
    "using",
    "when",
    "where",
    "connect",
    "start",
    "for",
    "fetch",
    "window",
    "tablesample",
    "lateral",
    "pivot",
    "unpivot",
    "over",
];

impl Parser<'_> {
    /// A query; `is_inserted` if its values go into the columns of a table, whose types they take.
    pub(in crate::gate) fn query(&mut self, is_inserted: bool) -> Result<(), Refusal> {
        self.deeper(|parser| {
            let seen = parser.common.len();
            if parser.pass("with") {
                parser.common_tables()?;
            }
            parser.term(is_inserted)?;
            while parser.set_operator()? {
                parser.term(is_inserted)?;
            }
            if parser.pass("order") {
                parser.order_by()?;
            }
            parser.limits()?;
            parser.common.truncate(seen);
            Ok(())
        })
    }

    /// `a AS (…), b AS (…)`. Each can be seen after its end.
    fn common_tables(&mut self) -> Result<(), Refusal> {
        if self.is("recursive") {
            return Err(Refusal::not_modelled("WITH RECURSIVE"));
        }
        loop {
            let name = self.name()?;
            if self.is_symbol_at(0, '(') {
                self.names()?;
            }
            if !self.pass("as") {
                return Err(self.cursor.unexpected());
            }
            self.pass_symbol('(')?;
            self.query(false)?;
            self.pass_symbol(')')?;
            self.common.push(name);
            if !self.is_symbol_at(0, ',') {
                return Ok(());
            }
            self.pass_symbol(',')?;
        }
    }

    /// UNION and its kin.
    fn set_operator(&mut self) -> Result<bool, Refusal> {
        if self.pass("union") {
            if !self.pass("all") {
                self.pass("distinct");
            }
            return Ok(true);
        }
        if self.pass("intersect") || self.pass("except") {
            return Ok(true);
        }
        let is_minus = self.cursor.eat("minus");
        if is_minus {
            self.put("except");
        }
        Ok(is_minus)
    }

    fn term(&mut self, is_inserted: bool) -> Result<(), Refusal> {
        if self.is_symbol_at(0, '(') {
            self.pass_symbol('(')?;
            self.query(is_inserted)?;
            return self.pass_symbol(')');
        }
        if self.is("values") {
            return Err(Refusal::not_modelled("VALUES as a query"));
        }
        if !self.pass("select") {
            return Err(self.cursor.unexpected());
        }
        self.scoped(|parser| parser.block(is_inserted))
    }

    /// What stands after SELECT.
    fn block(&mut self, is_inserted: bool) -> Result<(), Refusal> {
        if self.is("top") {
            return Err(Refusal::not_modelled("SELECT TOP"));
        }
        if self.pass("distinct") {
            if self.is("on") {
                return Err(self.cursor.unexpected());
            }
        } else {
            self.pass("all");
        }
        self.item(is_inserted)?;
        while self.is_symbol_at(0, ',') {
            self.pass_symbol(',')?;
            self.item(is_inserted)?;
        }
        if self.is("into") {
            return Err(Refusal::not_modelled("SELECT INTO"));
        }
        if self.pass("from") {
            self.relations()?;
        }
        if self.pass("where") {
            self.expression()?;
        }
        if self.pass("group") {
            self.by()?;
            self.expressions()?;
        }
        if self.pass("having") {
            self.expression()?;
        }
        if self.is("qualify") || self.is("connect") || (self.is("start") && self.is_at(1, "with")) {
            return Err(Refusal::not_modelled("QUALIFY and CONNECT BY"));
        }
        Ok(())
    }

    /// One value of a row, and its name.
    fn item(&mut self, is_inserted: bool) -> Result<(), Refusal> {
        if self.is_symbol_at(0, '*') {
            return self.pass_symbol('*');
        }
        let start = self.cursor.at;
        let mut after = 0;
        while self.cursor.tokens.get(start + after).is_some_and(|token| token.name().is_some())
            && self.is_symbol_at(after + 1, '.')
        {
            after += 2;
        }
        if after > 0 && self.is_symbol_at(after, '*') {
            for _ in 0..after / 2 {
                self.name()?;
                self.pass_symbol('.')?;
            }
            return self.pass_symbol('*');
        }
        let before = self.sql.len();
        self.expression()?;
        let is_text = matches!(self.cursor.tokens.get(start), Some(Token::Literal(_))) && self.cursor.at == start + 1;
        if is_text && !is_inserted {
            // Texts that are compared later on are compared without blanks at their end.
            self.sql.insert_str(before, " (");
            self.sql.push_str(")::bpchar");
            self.named = Some((self.cursor.at, "?column?"));
        }
        if self.cursor.eat("as") {
            let alias = self.cursor.next().and_then(Token::name).ok_or_else(|| self.cursor.unexpected_before())?;
            self.alias(&alias);
        } else if let Some(alias) = self.bare_alias() {
            self.alias(&alias);
        } else if let Some((end, name)) = self.named
            && end == self.cursor.at
        {
            self.put(&format!("AS {}", ident(name)));
        }
        Ok(())
    }

    fn alias(&mut self, alias: &str) {
        self.put(&format!("AS {}", ident(alias)));
        self.change.aliases.push(alias.to_owned());
    }

    /// An alias without AS.
    fn bare_alias(&mut self) -> Option<String> {
        let token = self.cursor.peek()?;
        let name = token.name()?;
        if let Token::Word(_) = token
            && (NO_ALIAS.contains(&name.as_str()) || names::is_reserved(&name))
        {
            return None;
        }
        self.cursor.at += 1;
        Some(name)
    }

    pub(super) fn by(&mut self) -> Result<(), Refusal> {
        if self.pass("by") { Ok(()) } else { Err(self.cursor.unexpected()) }
    }

    /// What stands after ORDER.
    pub(super) fn order_by(&mut self) -> Result<(), Refusal> {
        self.by()?;
        loop {
            self.expression()?;
            if !self.pass("asc") {
                self.pass("desc");
            }
            if self.pass("nulls") && !(self.pass("first") || self.pass("last")) {
                return Err(self.cursor.unexpected());
            }
            if !self.is_symbol_at(0, ',') {
                return Ok(());
            }
            self.pass_symbol(',')?;
        }
    }

    fn limits(&mut self) -> Result<(), Refusal> {
        for word in ["limit", "offset"] {
            if !self.pass(word) || (word == "limit" && self.pass("all")) {
                continue;
            }
            match self.cursor.next() {
                Some(Token::Number(number)) => self.put(number),
                Some(Token::Parameter(number)) => self.put(&format!("${number}")),
                _ => return Err(self.cursor.unexpected_before()),
            }
        }
        Ok(())
    }

    /// What stands after FROM. Returns whether there is an outer join in it.
    pub(super) fn relations(&mut self) -> Result<bool, Refusal> {
        let mut has_outer = self.joined()?;
        while self.is_symbol_at(0, ',') {
            self.pass_symbol(',')?;
            has_outer |= self.joined()?;
        }
        Ok(has_outer)
    }

    fn joined(&mut self) -> Result<bool, Refusal> {
        let mut has_outer = self.source()?;
        loop {
            let is_natural = self.pass("natural");
            let is_cross = !is_natural && self.pass("cross");
            let is_outer = !is_cross && (self.pass("left") || self.pass("right") || self.pass("full"));
            let is_inner = !is_cross && !is_outer && self.pass("inner");
            if is_outer {
                self.pass("outer");
                has_outer = true;
            }
            if !self.pass("join") {
                let has_begun = is_natural || is_cross || is_outer || is_inner;
                return if has_begun { Err(self.cursor.unexpected()) } else { Ok(has_outer) };
            }
            has_outer |= self.source()?;
            if is_natural || is_cross {
                continue;
            }
            if self.pass("on") {
                self.expression()?;
            } else if self.pass("using") {
                self.names()?;
            } else {
                return Err(self.cursor.unexpected());
            }
        }
    }

    /// A table, a query in brackets, or joins in brackets.
    fn source(&mut self) -> Result<bool, Refusal> {
        if !self.is_symbol_at(0, '(') {
            self.table_source()?;
            return Ok(false);
        }
        self.pass_symbol('(')?;
        let mut inner = 0;
        while self.is_symbol_at(inner, '(') {
            inner += 1;
        }
        let is_query = self.is_at(inner, "select") || self.is_at(inner, "with");
        if is_query && inner > 0 {
            return Err(Refusal::not_modelled("a query in more than one pair of brackets"));
        }
        if !is_query {
            let has_outer = self.deeper(Self::joined)?;
            self.pass_symbol(')')?;
            return Ok(has_outer);
        }
        self.query(false)?;
        self.pass_symbol(')')?;
        self.cursor.eat("as");
        // Redshift wants an alias.
        let Some(alias) = self.bare_alias() else {
            return Err(Refusal::new("42601", "subquery in FROM must have an alias"));
        };
        self.put(&format!("AS {}", ident(&alias)));
        if self.is_symbol_at(0, '(') {
            self.names()?;
        }
        self.relation(&alias, None);
        Ok(false)
    }

    fn table_source(&mut self) -> Result<(), Refusal> {
        let start = self.cursor.at;
        let name = self.cursor.table()?;
        if self.is_symbol_at(0, '(') {
            return Err(Refusal::not_modelled(&format!("the function {} as a table", name.name)));
        }
        let has_schema = self.cursor.at > start + 1;
        if !has_schema && self.common.contains(&name.name) {
            self.put_name(&name.name);
            return self.named_source(&name.name, None, false);
        }
        match names::system(name.schema.as_deref(), &name.name, self.known.mode)? {
            Some(view) => {
                self.put(&view.behind);
                self.has_catalog |= view.is_leader_only;
                self.has_system |= !view.is_leader_only;
                self.named_source(&name.name, None, true)
            }
            None => {
                self.put(&name.sql());
                self.change.reads.push(name.clone());
                self.named_source(&name.name.clone(), Some(name), false)
            }
        }
    }

    /// The alias of a relation, if it has one or needs one.
    fn named_source(&mut self, name: &str, table: Option<Name>, needs_alias: bool) -> Result<(), Refusal> {
        let must = self.cursor.eat("as");
        match self.bare_alias() {
            Some(alias) => {
                self.put(&format!("AS {}", ident(&alias)));
                if self.is_symbol_at(0, '(') {
                    self.names()?;
                }
                self.relation(&alias, table);
            }
            None if must => return Err(self.cursor.unexpected()),
            None => {
                if needs_alias {
                    // Its own name is the one that columns may be qualified by.
                    self.put(&format!("AS {}", ident(name)));
                }
                self.relation(name, table);
            }
        }
        Ok(())
    }

    /// A table of a user that is changed.
    pub(in crate::gate) fn target(&mut self) -> Result<Name, Refusal> {
        let mut cursor = Cursor::new(self.cursor.tokens, self.cursor.at);
        let name = cursor.table()?;
        self.cursor.at = cursor.at;
        if names::system(name.schema.as_deref(), &name.name, self.known.mode)?.is_some() {
            return Err(Refusal::new("42501", format!("permission denied for relation {}", name.name)));
        }
        self.put(&name.sql());
        Ok(name)
    }

    /// A source of MERGE: a table of a user or a query, and its name.
    pub(in crate::gate) fn merged(&mut self) -> Result<Option<Name>, Refusal> {
        let before = self.change.reads.len();
        self.source()?;
        let is_table = self.change.reads.len() == before + 1;
        Ok(self.change.reads.get(before).filter(|_| is_table).cloned())
    }
}
