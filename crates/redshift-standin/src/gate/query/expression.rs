//! Expressions: values, and the operators between them.

use super::Parser;
use crate::gate::names;
use crate::refusal::Refusal;
use crate::token::{Token, ident, literal};

/// Operators of two characters, and of one.
const OPERATORS: &[&str] = &["<>", "!=", "<=", ">=", "||", "=", "<", ">", "+", "-", "*", "%"];

impl Parser<'_> {
    /// `a, b, c`
    pub(super) fn expressions(&mut self) -> Result<(), Refusal> {
        self.expression()?;
        while self.is_symbol_at(0, ',') {
            self.pass_symbol(',')?;
            self.expression()?;
        }
        Ok(())
    }

    pub(in crate::gate) fn expression(&mut self) -> Result<(), Refusal> {
        self.deeper(Self::operands)
    }

    /// Operands and what stands between them. Which binds more is for the server behind.
    fn operands(&mut self) -> Result<(), Refusal> {
        let mut follows_sign = false;
        loop {
            let mut is_signed = false;
            loop {
                if self.is("not") {
                    self.pass("not");
                } else if let Some(sign) = ['-', '+'].into_iter().find(|sign| self.is_symbol_at(0, *sign)) {
                    self.pass_symbol(sign)?;
                    is_signed = true;
                } else {
                    break;
                }
            }
            let is_literal = matches!(self.cursor.peek(), Some(Token::Literal(_)));
            let is_interval =
                self.is("interval") && matches!(self.cursor.tokens.get(self.cursor.at + 1), Some(Token::Literal(_)));
            if is_interval {
                if !follows_sign || is_signed {
                    return Err(Refusal::not_modelled("an interval that is not added to a time"));
                }
                self.pass("interval");
                self.text()?;
            } else {
                self.operand()?;
            }
            let is_literal =
                is_literal && self.cursor.at > 0 && matches!(self.cursor.tokens[self.cursor.at - 1], Token::Literal(_));
            self.predicates(is_literal)?;
            match self.operator(is_literal)? {
                Some(operator) => follows_sign = matches!(operator, "+" | "-"),
                None => return Ok(()),
            }
        }
    }

    fn text(&mut self) -> Result<(), Refusal> {
        match self.cursor.next() {
            Some(Token::Literal(text)) => {
                self.put(literal(text).trim_start());
                Ok(())
            }
            _ => Err(self.cursor.unexpected_before()),
        }
    }

    /// A value with the casts that stand behind it.
    fn operand(&mut self) -> Result<(), Refusal> {
        let start = self.sql.len();
        self.primary()?;
        while self.is_symbol_at(0, ':') {
            self.cursor.at += 1;
            self.cursor.expect_symbol(':')?;
            self.cast(start)?;
        }
        if self.is_symbol_at(0, '.') || self.is_symbol_at(0, '[') {
            return Err(Refusal::not_modelled("a part of a value"));
        }
        Ok(())
    }

    /// IS, IN, AT TIME ZONE, COLLATE.
    fn predicates(&mut self, is_literal: bool) -> Result<(), Refusal> {
        loop {
            if self.pass("is") {
                self.pass("not");
                if !["null", "true", "false", "unknown"].into_iter().any(|word| self.pass(word)) {
                    return Err(self.cursor.unexpected());
                }
            } else if self.is("in") || (self.is("not") && self.is_at(1, "in")) {
                if is_literal {
                    self.sql.push_str("::bpchar");
                }
                self.pass("not");
                self.pass("in");
                self.pass_symbol('(')?;
                if self.is("select") || self.is("with") {
                    self.query(false)?;
                } else {
                    self.expressions()?;
                }
                self.pass_symbol(')')?;
            } else if self.is("at") {
                self.pass("at");
                if !(self.pass("time") && self.pass("zone")) {
                    return Err(self.cursor.unexpected());
                }
                self.operand()?;
            } else if self.is("collate") {
                return Err(Refusal::not_modelled("COLLATE"));
            } else if self.is("isnull") || self.is("notnull") {
                return Err(Refusal::not_modelled("ISNULL and NOTNULL"));
            } else {
                return Ok(());
            }
        }
    }

    /// What stands between two operands. `None` at the end of the expression.
    fn operator(&mut self, is_literal: bool) -> Result<Option<&'static str>, Refusal> {
        for word in ["and", "or"] {
            if self.pass(word) {
                return Ok(Some(word));
            }
        }
        if self.is("similar") || (self.is("not") && self.is_at(1, "similar")) {
            return Err(Refusal::not_modelled("SIMILAR TO"));
        }
        if self.is("overlaps") {
            return Err(Refusal::not_modelled("OVERLAPS"));
        }
        let negated = usize::from(self.is("not"));
        for word in ["between", "like", "ilike"] {
            if !self.is_at(negated, word) {
                continue;
            }
            if is_literal && word == "between" {
                self.sql.push_str("::bpchar");
            }
            self.pass("not");
            self.pass(word);
            if word != "between" {
                self.pattern()?;
                return self.operator(false);
            }
            return Ok(Some("between"));
        }
        let Some(Token::Symbol(_)) = self.cursor.peek() else { return Ok(None) };
        let fits = |operator: &&&str| operator.chars().enumerate().all(|(nth, c)| self.is_symbol_at(nth, c));
        let Some(operator) = OPERATORS.iter().find(fits).copied() else {
            return match self.cursor.peek() {
                Some(Token::Symbol(')' | ',')) | None => Ok(None),
                Some(Token::Symbol('/')) => Err(Refusal::not_modelled("a division, whose digits differ")),
                Some(token) => Err(Refusal::not_modelled(&format!("the operator {}", token.shown()))),
            };
        };
        self.cursor.at += operator.len();
        let is_comparison = matches!(operator, "=" | "<>" | "!=" | "<" | ">" | "<=" | ">=");
        if is_comparison && is_literal && matches!(self.cursor.peek(), Some(Token::Literal(_))) {
            // Blanks at the end do not count.
            self.sql.push_str("::bpchar");
        }
        self.put(if operator == "||" { "OPERATOR(standin.||)" } else { operator });
        if is_comparison && ["any", "some", "all"].into_iter().any(|word| self.pass(word)) {
            self.pass_symbol('(')?;
            if !self.is("select") && !self.is("with") {
                return Err(Refusal::not_modelled("a comparison with an array"));
            }
            self.query(false)?;
            self.pass_symbol(')')?;
            return self.operator(false);
        }
        Ok(Some(operator))
    }

    /// What stands after LIKE: a text, as blanks of columns would be lost.
    fn pattern(&mut self) -> Result<(), Refusal> {
        match self.cursor.peek() {
            Some(Token::Literal(_)) => self.text()?,
            Some(Token::Parameter(number)) => {
                self.cursor.at += 1;
                self.put(&format!("${number}"));
            }
            _ => return Err(Refusal::not_modelled("LIKE with a pattern that is no literal")),
        }
        if self.pass("escape") {
            self.text()?;
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<(), Refusal> {
        let Some(token) = self.cursor.peek() else { return Err(self.cursor.unexpected()) };
        match token {
            Token::Literal(_) => self.text(),
            Token::Number(number) => {
                self.cursor.at += 1;
                self.put(number);
                Ok(())
            }
            Token::Parameter(number) => {
                self.cursor.at += 1;
                self.put(&format!("${number}"));
                Ok(())
            }
            Token::Symbol('(') => self.bracket(),
            Token::Symbol(')' | ',' | ';' | '*') => Err(self.cursor.unexpected()),
            Token::Symbol(symbol) => Err(Refusal::not_modelled(&format!("the operator {symbol}"))),
            Token::Quoted(name) if self.is_symbol_at(1, '(') => {
                Err(Refusal::not_modelled(&format!("the function {name}, in quotes")))
            }
            Token::Quoted(_) => self.reference(),
            Token::Word(word) => self.word(&word.to_lowercase()),
        }
    }

    /// A query or an expression in brackets.
    fn bracket(&mut self) -> Result<(), Refusal> {
        self.pass_symbol('(')?;
        if self.is("select") || self.is("with") {
            self.query(false)?;
        } else {
            self.expression()?;
            if self.is_symbol_at(0, ',') {
                return Err(Refusal::not_modelled("several values in brackets"));
            }
        }
        self.pass_symbol(')')
    }

    fn word(&mut self, word: &str) -> Result<(), Refusal> {
        let is_call = self.is_symbol_at(1, '(');
        match word {
            "null" | "true" | "false" | "current_date" | "current_user" | "session_user" | "user" if !is_call => {
                self.cursor.at += 1;
                self.put(word);
                Ok(())
            }
            "current_timestamp" | "localtimestamp" | "current_time" | "localtime" | "current_schema" if !is_call => {
                self.cursor.at += 1;
                self.put(word);
                self.leader_only = true;
                Ok(())
            }
            "current_role" | "current_catalog" => Err(Refusal::not_modelled(word)),
            "sysdate" => {
                self.cursor.at += 1;
                self.put("standin.sysdate()");
                Ok(())
            }
            "case" => self.case(),
            "exists" => {
                self.pass("exists");
                self.pass_symbol('(')?;
                self.query(false)?;
                self.pass_symbol(')')
            }
            "array" | "row" => Err(self.cursor.unexpected()),
            _ if is_call => self.call(word),
            _ if matches!(self.cursor.tokens.get(self.cursor.at + 1), Some(Token::Literal(_))) => self.typed(word),
            "timestamp" | "time" if self.is_at(1, "with") || self.is_at(1, "without") => {
                Err(Refusal::not_modelled("a literal of a type of several words"))
            }
            _ => self.reference(),
        }
    }

    /// `DATE '2024-01-01'`
    fn typed(&mut self, word: &str) -> Result<(), Refusal> {
        if !["date", "time", "timestamp", "timestamptz", "timetz"].contains(&word) {
            return Err(Refusal::not_modelled(&format!("a literal of the type {word}")));
        }
        self.cursor.at += 1;
        self.put(word);
        self.text()
    }

    fn case(&mut self) -> Result<(), Refusal> {
        self.pass("case");
        if !self.is("when") {
            let is_literal = matches!(self.cursor.peek(), Some(Token::Literal(_)));
            let start = self.cursor.at;
            self.expression()?;
            if is_literal && self.cursor.at == start + 1 {
                self.sql.push_str("::bpchar");
            }
        }
        let mut has_branch = false;
        while self.pass("when") {
            self.expression()?;
            if !self.pass("then") {
                return Err(self.cursor.unexpected());
            }
            self.expression()?;
            has_branch = true;
        }
        if self.pass("else") {
            self.expression()?;
        }
        if has_branch && self.pass("end") { Ok(()) } else { Err(self.cursor.unexpected()) }
    }

    /// `[[schema.]relation.]column`
    fn reference(&mut self) -> Result<(), Refusal> {
        let mut parts = vec![self.cursor.name()?];
        while self.is_symbol_at(0, '.') {
            self.cursor.at += 1;
            let Some(part) = self.cursor.next().and_then(Token::name) else {
                return Err(self.cursor.unexpected_before());
            };
            if self.is_symbol_at(0, '(') {
                return Err(Refusal::not_modelled(&format!("the function {part}, with its schema")));
            }
            parts.push(part);
        }
        if parts.len() > 3 {
            return Err(Refusal::not_modelled("a column of another database"));
        }
        if parts.len() > 2 {
            names::of_users(parts.first().map(String::as_str))?;
        }
        let column = parts.last().cloned().unwrap_or_default();
        names::of_columns(&column)?;
        self.put(&parts.iter().map(|part| ident(part)).collect::<Vec<_>>().join("."));
        if let Some(scope) = self.scopes.last_mut() {
            if parts.len() == 1 {
                scope.bare.push(column);
            } else if super::OF_WHOLE_ROWS.contains(&column.as_str()) {
                let relation = parts[parts.len() - 2].clone();
                scope.qualified.push((relation, column));
            }
        }
        Ok(())
    }
}
