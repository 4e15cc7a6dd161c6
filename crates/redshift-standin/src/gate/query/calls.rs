//! Calls of functions, those with a grammar of their own among them.

use super::Parser;
use crate::gate::names::{self, Call};
use crate::refusal::Refusal;
use crate::token::{Token, literal};

/// Parts of a time that both servers number alike, in whole numbers.
const PARTS: &[&str] = &["year", "quarter", "month", "day", "hour", "minute", "epoch"];

/// Functions of a window alone, or of groups.
const AGGREGATES: &[&str] = &["count", "sum", "min", "max"];

impl Parser<'_> {
    pub(super) fn call(&mut self, word: &str) -> Result<(), Refusal> {
        match word {
            "cast" => return self.cast_call(),
            "extract" => return self.extract(),
            "position" => return self.position(),
            "trim" => return self.trim(),
            "convert" => return Err(Refusal::not_modelled("CONVERT")),
            "filter" => return Err(self.cursor.unexpected()),
            _ => {}
        }
        if names::is_reserved(word) && !["left", "right"].contains(&word) {
            return Err(self.cursor.unexpected());
        }
        self.leader_only |= names::is_leader_only(word);
        match names::function(word)? {
            Call::Same => self.put(word),
            Call::Renamed(name) => self.put(&name),
            Call::Value(sql) => {
                self.cursor.at += 2;
                if self.cursor.expect_symbol(')').is_err() {
                    return Err(Refusal::new("42883", format!("function {word} takes no arguments")));
                }
                self.put(&sql);
                self.change.asks_of_copy |= word != "version";
                self.named = ["pg_last_copy_id", "pg_last_copy_count", "version"]
                    .into_iter()
                    .find(|name| *name == word)
                    .map(|name| (self.cursor.at, name));
                return Ok(());
            }
        }
        self.cursor.at += 1;
        self.arguments(word)?;
        self.after_call(word)
    }

    fn arguments(&mut self, word: &str) -> Result<(), Refusal> {
        self.pass_symbol('(')?;
        if self.is_symbol_at(0, ')') {
            return self.pass_symbol(')');
        }
        if word == "count" && self.is_symbol_at(0, '*') {
            self.pass_symbol('*')?;
            return self.pass_symbol(')');
        }
        if AGGREGATES.contains(&word) && !self.pass("distinct") {
            self.pass("all");
        }
        let first = self.cursor.at;
        if matches!(word, "date_part" | "date_trunc") {
            self.part(word)?;
        } else {
            self.expression()?;
        }
        let is_literal =
            matches!(self.cursor.tokens.get(first), Some(Token::Literal(_))) && self.cursor.at == first + 1;
        if is_literal && matches!(word, "nullif" | "min" | "max" | "greatest" | "least" | "count") {
            self.sql.push_str("::bpchar");
        }
        while self.is_symbol_at(0, ',') {
            self.pass_symbol(',')?;
            self.expression()?;
        }
        if word == "substring" && (self.is("from") || self.is("for")) {
            self.substring_words()?;
        }
        if self.is("order") || self.is("ignore") || self.is("respect") {
            return Err(Refusal::not_modelled("an order or NULL rules among arguments"));
        }
        self.pass_symbol(')')
    }

    /// `FROM a FOR b`
    fn substring_words(&mut self) -> Result<(), Refusal> {
        if !self.cursor.eat("from") {
            return Err(Refusal::not_modelled("SUBSTRING without FROM"));
        }
        self.put(",");
        self.expression()?;
        if self.cursor.eat("for") {
            self.put(",");
            self.expression()?;
        }
        Ok(())
    }

    /// The part of a time, as a text or a word.
    fn part(&mut self, word: &str) -> Result<(), Refusal> {
        let part = match self.cursor.next() {
            Some(Token::Literal(text)) => text.to_lowercase(),
            Some(Token::Word(text)) => text.to_lowercase(),
            _ => return Err(self.cursor.unexpected_before()),
        };
        let is_known = if word == "date_trunc" {
            part != "epoch" && (PARTS.contains(&part.as_str()) || part == "second" || part == "week")
        } else {
            PARTS.contains(&part.as_str())
        };
        if !is_known {
            return Err(Refusal::not_modelled(&format!("the part {part} of a time")));
        }
        self.put(&literal(&part));
        Ok(())
    }

    /// OVER, and what is not modelled.
    fn after_call(&mut self, word: &str) -> Result<(), Refusal> {
        if self.is("filter") && self.is_symbol_at(1, '(') {
            return Err(self.cursor.unexpected());
        }
        if (self.is("within") && self.is_at(1, "group"))
            || ((self.is("ignore") || self.is("respect")) && self.is_at(1, "nulls"))
        {
            return Err(Refusal::not_modelled("WITHIN GROUP, IGNORE NULLS and RESPECT NULLS"));
        }
        if !self.is("over") || !self.is_symbol_at(1, '(') {
            return Ok(());
        }
        self.pass("over");
        self.pass_symbol('(')?;
        if self.pass("partition") {
            self.by()?;
            self.expressions()?;
        }
        let is_ordered = self.pass("order");
        if is_ordered {
            self.order_by()?;
        }
        if self.pass("rows") {
            self.frame()?;
        } else if is_ordered && (AGGREGATES.contains(&word) || matches!(word, "first_value" | "last_value")) {
            return Err(Refusal::new(
                "42601",
                "Aggregate window functions with an ORDER BY clause require a frame clause",
            ));
        }
        self.pass_symbol(')')
    }

    fn frame(&mut self) -> Result<(), Refusal> {
        let is_range = self.pass("between");
        self.bound()?;
        if is_range {
            if !self.pass("and") {
                return Err(self.cursor.unexpected());
            }
            self.bound()?;
        }
        Ok(())
    }

    fn bound(&mut self) -> Result<(), Refusal> {
        if self.pass("current") {
            return if self.pass("row") { Ok(()) } else { Err(self.cursor.unexpected()) };
        }
        if !self.pass("unbounded") {
            let number = self.cursor.number()?;
            self.put(&number.to_string());
        }
        if self.pass("preceding") || self.pass("following") { Ok(()) } else { Err(self.cursor.unexpected()) }
    }

    /// `CAST (x AS type)`
    fn cast_call(&mut self) -> Result<(), Refusal> {
        self.cursor.at += 1;
        let start = self.sql.len();
        self.pass_symbol('(')?;
        self.expression()?;
        self.cursor.expect("as")?;
        self.put(")");
        self.cast(start)?;
        let name = self.named.filter(|(end, _)| *end == self.cursor.at);
        self.cursor.expect_symbol(')')?;
        if let Some((_, name)) = name {
            self.named = Some((self.cursor.at, name));
        }
        Ok(())
    }

    /// `EXTRACT (part FROM x)`: a whole number.
    fn extract(&mut self) -> Result<(), Refusal> {
        self.cursor.at += 1;
        self.cursor.expect_symbol('(')?;
        self.put("( date_part (");
        self.part("extract")?;
        self.cursor.expect("from")?;
        self.put(",");
        self.expression()?;
        self.cursor.expect_symbol(')')?;
        self.put(") )::bigint");
        Ok(())
    }

    /// `POSITION (a IN b)`
    fn position(&mut self) -> Result<(), Refusal> {
        self.cursor.at += 1;
        self.cursor.expect_symbol('(')?;
        let before = self.sql.len();
        match self.cursor.next() {
            Some(Token::Literal(text)) => self.put(&literal(text)),
            _ => return Err(Refusal::not_modelled("POSITION of what is no literal")),
        }
        let sought = self.sql.split_off(before);
        self.cursor.expect("in")?;
        self.put("standin.strpos(");
        self.expression()?;
        self.cursor.expect_symbol(')')?;
        self.put(&format!(",{sought})"));
        Ok(())
    }

    /// `TRIM ([BOTH | LEADING | TRAILING] ['c' FROM] x)`
    fn trim(&mut self) -> Result<(), Refusal> {
        self.cursor.at += 1;
        self.cursor.expect_symbol('(')?;
        let side = ["both", "leading", "trailing"].into_iter().find(|word| self.cursor.eat(word));
        self.put(match side {
            Some("leading") => "standin.ltrim(",
            Some("trailing") => "standin.rtrim(",
            _ => "standin.btrim(",
        });
        let mut characters = None;
        if let (Some(Token::Literal(text)), true) = (self.cursor.peek(), self.is_at(1, "from")) {
            characters = Some(literal(text));
            self.cursor.at += 1;
        }
        if characters.is_some() || side.is_some() {
            self.cursor.eat("from");
        }
        self.expression()?;
        if let Some(characters) = characters {
            self.put(&format!(", {characters}"));
        }
        self.put(")");
        self.cursor.expect_symbol(')')
    }
}
