//! INSERT, UPDATE and DELETE.

use super::Parser;
use crate::gate::Verb;
use crate::refusal::Refusal;

impl Parser<'_> {
    /// What stands after INSERT.
    pub(super) fn insert(&mut self) -> Result<(), Refusal> {
        self.put("insert");
        if !self.pass("into") {
            return Err(self.cursor.unexpected());
        }
        let target = self.target()?;
        self.change.target = Some((target, Verb::Insert));
        if self.is_symbol_at(0, '(') && !self.is_at(1, "select") && !self.is_at(1, "with") && !self.is_symbol_at(1, '(')
        {
            self.names()?;
        }
        if self.pass("default") {
            return if self.pass("values") { Ok(()) } else { Err(self.cursor.unexpected()) };
        }
        if !self.pass("values") {
            return self.query(true);
        }
        loop {
            self.row_of_values()?;
            if !self.is_symbol_at(0, ',') {
                return Ok(());
            }
            self.pass_symbol(',')?;
        }
    }

    /// `(a, DEFAULT, b)`
    pub(in crate::gate) fn row_of_values(&mut self) -> Result<(), Refusal> {
        self.pass_symbol('(')?;
        loop {
            if !self.pass("default") {
                self.expression()?;
            }
            if !self.is_symbol_at(0, ',') {
                return self.pass_symbol(')');
            }
            self.pass_symbol(',')?;
        }
    }

    /// `SET a = …, b = …`
    pub(in crate::gate) fn assignments(&mut self) -> Result<(), Refusal> {
        if !self.pass("set") {
            return Err(self.cursor.unexpected());
        }
        loop {
            self.column_name()?;
            self.pass_symbol('=')?;
            if !self.pass("default") {
                self.expression()?;
            }
            if !self.is_symbol_at(0, ',') {
                return Ok(());
            }
            self.pass_symbol(',')?;
        }
    }

    /// What stands after UPDATE.
    pub(super) fn update(&mut self) -> Result<(), Refusal> {
        self.put("update");
        self.scoped(|parser| {
            parser.changed(Verb::Update)?;
            parser.assignments()?;
            if parser.pass("from") && parser.relations()? {
                return Err(Refusal::new("0A000", "Target table must be part of an equijoin predicate"));
            }
            if parser.pass("where") {
                parser.expression()?;
            }
            Ok(())
        })
    }

    /// What stands after DELETE.
    pub(super) fn delete(&mut self) -> Result<(), Refusal> {
        self.put("delete from");
        self.cursor.eat("from");
        self.scoped(|parser| {
            parser.changed(Verb::Delete)?;
            if parser.pass("using") && parser.relations()? {
                return Err(Refusal::not_modelled("an outer join after USING"));
            }
            if parser.pass("where") {
                parser.expression()?;
            }
            Ok(())
        })
    }

    /// The table whose rows are changed, which are read too.
    fn changed(&mut self, verb: Verb) -> Result<(), Refusal> {
        let target = self.target()?;
        self.relation(&target.name.clone(), Some(target.clone()));
        self.change.reads.push(target.clone());
        self.change.target = Some((target, verb));
        let next_is = |word: &str| self.is(word);
        if self.cursor.peek().is_some() && !["set", "using", "where"].into_iter().any(next_is) {
            let is_alias = self.cursor.peek().is_some_and(|token| token.name().is_some());
            return Err(if is_alias && !self.is("returning") {
                Refusal::not_modelled("an alias of the table that is changed")
            } else {
                self.cursor.unexpected()
            });
        }
        Ok(())
    }
}
