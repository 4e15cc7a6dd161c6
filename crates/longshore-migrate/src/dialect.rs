//! What the first words of a statement tell: whether it may run in a transaction, and which words only Redshift
//! knows.

use crate::database::{Engine, Server};
use crate::lexer::{Lexer, Token, TokenKind};
use crate::split::words;

/// How a statement and transactions get on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transactional {
    /// It may run in one.
    Yes,
    /// The server refuses it in one.
    No,
    /// It begins or ends one itself, so that the script cannot run in another.
    Itself,
}

/// Words that are looked at, as Flyway does.
const LOOKED_AT: usize = 10;

/// Says how a statement and transactions get on, by its first words.
pub fn transactional(statement: &str, server: Server) -> Transactional {
    let words: Vec<String> = words(statement, server.engine).take(LOOKED_AT).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if begins_or_ends(&words) || (server.engine == Engine::Redshift && words.first() == Some(&"TRUNCATE")) {
        return Transactional::Itself;
    }
    let is_outside = match server.engine {
        Engine::Postgres => outside_in_postgres(&words, server.major),
        Engine::Redshift => outside_in_redshift(&words),
        Engine::DuckDb => matches!(words[..], ["CHECKPOINT" | "VACUUM", ..] | ["FORCE", "CHECKPOINT", ..]),
    };
    if is_outside { Transactional::No } else { Transactional::Yes }
}

fn begins_or_ends(words: &[&str]) -> bool {
    matches!(
        words,
        ["BEGIN" | "COMMIT" | "END" | "ABORT", ..] | ["START", "TRANSACTION", ..] | ["PREPARE", "TRANSACTION", ..]
    ) || (words.first() == Some(&"ROLLBACK") && !words.contains(&"TO"))
}

fn outside_in_postgres(words: &[&str], major: u32) -> bool {
    match words {
        ["CREATE" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION", ..] | ["ALTER", "SYSTEM", ..] => true,
        ["CREATE", "INDEX", "CONCURRENTLY", ..] | ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", ..] => true,
        ["DROP", "INDEX", "CONCURRENTLY", ..] => true,
        ["REINDEX", rest @ ..] => {
            let is_whole = |word: &&str| matches!(*word, "SCHEMA" | "DATABASE" | "SYSTEM");
            rest.iter().take(2).any(is_whole) || rest.iter().take(3).any(|word| *word == "CONCURRENTLY")
        }
        ["VACUUM", ..] | ["DISCARD", "ALL", ..] => true,
        ["ALTER", "TYPE", rest @ ..] => major < 12 && rest.windows(2).any(|pair| pair == ["ADD", "VALUE"]),
        ["ALTER", "TABLE", rest @ ..] => rest.contains(&"DETACH") && rest.contains(&"CONCURRENTLY"),
        _ => false,
    }
}

/// The last three lines are those that Flyway does not know, and Amazon's documentation names.
fn outside_in_redshift(words: &[&str]) -> bool {
    match words {
        ["CREATE" | "DROP", "LIBRARY", ..] | ["CREATE", "OR", "REPLACE", "LIBRARY", ..] | ["VACUUM", ..] => true,
        ["CREATE" | "DROP" | "ALTER", "EXTERNAL", "TABLE" | "SCHEMA", ..] => true,
        ["CREATE" | "ALTER" | "DROP", "IDENTITY", "PROVIDER", ..] => true,
        ["ALTER", "TABLE", rest @ ..] => {
            rest.windows(2).any(|pair| pair == ["APPEND", "FROM"] || pair == ["ALTER", "COLUMN"])
        }
        ["CREATE" | "DROP", "DATABASE", ..] | ["REINDEX", "DATABASE", ..] => true,
        ["ALTER", "DATABASE", rest @ ..] => rest.contains(&"ISOLATION"),
        ["GRANT", rest @ ..] => rest.windows(2).any(|pair| pair == ["ON", "EXTERNAL"]),
        _ => false,
    }
}

/// A statement without the words that only Redshift knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// What is left; `None` where the whole statement was Redshift's.
    pub text: Option<String>,
    /// What was taken out, as it was written.
    pub removed: Vec<String>,
}

/// Takes out of a `CREATE TABLE` what only Redshift knows: DISTSTYLE, DISTKEY, SORTKEY, ENCODE, BACKUP. An `ALTER TABLE`
/// that is about nothing else goes as a whole.
pub fn without_redshift_words(statement: &str) -> Plain {
    let tokens: Vec<Token> = Lexer::new(statement, Engine::Redshift).collect();
    let significant: Vec<&Token> = tokens.iter().filter(|token| token.is_significant()).collect();
    let word = |at: usize| -> String {
        match significant.get(at) {
            Some(token) if token.kind == TokenKind::Word => statement[token.range.clone()].to_ascii_uppercase(),
            _ => String::new(),
        }
    };
    let text_of =
        |from: usize, to: usize| statement[significant[from].range.start..significant[to - 1].range.end].to_owned();
    let is_create = word(0) == "CREATE" && (1..4).any(|at| word(at) == "TABLE");
    if word(0) == "ALTER" && word(1) == "TABLE" {
        let is_redshift = |at: usize| {
            let alters = word(at) == "ALTER";
            let next = word(at + 1);
            alters
                && matches!(next.as_str(), "DISTSTYLE" | "DISTKEY" | "SORTKEY" | "COMPOUND" | "INTERLEAVED" | "ENCODE")
        };
        if (2..significant.len()).any(is_redshift) {
            return Plain { text: None, removed: vec![text_of(0, significant.len())] };
        }
    }
    let mut plain = Plain { text: None, removed: Vec::new() };
    let (mut kept, mut from, mut at, mut depth) = (String::new(), 0, 0, 0_usize);
    while is_create && at < significant.len() {
        let kind = significant[at].kind;
        if depth == 0 && word(at) == "AS" {
            // What follows is a query.
            break;
        }
        depth = match kind {
            TokenKind::Open => depth + 1,
            TokenKind::Close => depth.saturating_sub(1),
            _ => depth,
        };
        // Behind `(` or `,` stands the name of a column.
        let is_name = at.checked_sub(1).is_none_or(|before| {
            let token = significant[before];
            token.kind == TokenKind::Open || &statement[token.range.clone()] == ","
        });
        let end = if depth <= 1 && !is_name { redshift_clause(at, &word, &significant) } else { at };
        if end > at {
            let cut = significant[at].range.start;
            kept.push_str(statement[from..cut].trim_end_matches(' '));
            from = significant[end - 1].range.end;
            plain.removed.push(text_of(at, end));
        }
        at = end.max(at + 1);
    }
    kept.push_str(&statement[from..]);
    plain.text = Some(kept);
    plain
}

/// The end of a clause of Redshift's that begins at `at`; `at` itself if none does.
fn redshift_clause(at: usize, word: &impl Fn(usize) -> String, tokens: &[&Token]) -> usize {
    let kind = |at: usize| tokens.get(at).map(|token| token.kind);
    let with_columns = |at: usize| match kind(at) {
        Some(TokenKind::Open) => {
            (at..tokens.len()).find(|at| kind(*at) == Some(TokenKind::Close)).map_or(at, |close| close + 1)
        }
        _ if word(at) == "AUTO" => at + 1,
        _ => at,
    };
    match word(at).as_str() {
        "DISTKEY" | "SORTKEY" => with_columns(at + 1),
        "COMPOUND" | "INTERLEAVED" if word(at + 1) == "SORTKEY" => with_columns(at + 2),
        "DISTSTYLE" | "ENCODE" if kind(at + 1) == Some(TokenKind::Word) => at + 2,
        "BACKUP" if matches!(word(at + 1).as_str(), "YES" | "NO") => at + 2,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(engine: Engine, major: u32) -> Server {
        Server { engine, major }
    }

    #[test]
    fn statements_that_postgresql_refuses_in_a_transaction_are_known() {
        let of = |sql: &str| transactional(sql, server(Engine::Postgres, 15));
        for sql in [
            "CREATE DATABASE x",
            "drop tablespace x",
            "ALTER SYSTEM SET x = 1",
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "create /* a */ unique index concurrently i on t (a)",
            "DROP INDEX CONCURRENTLY i",
            "REINDEX SCHEMA s",
            "REINDEX (VERBOSE) DATABASE d",
            "REINDEX VERBOSE SYSTEM d",
            "REINDEX TABLE CONCURRENTLY t",
            "VACUUM",
            "-- lead\nVACUUM t",
            "DISCARD ALL",
            "ALTER TABLE p DETACH PARTITION q CONCURRENTLY",
        ] {
            assert_eq!(of(sql), Transactional::No, "{sql}");
        }
        for sql in [
            "CREATE INDEX i ON t (a)",
            "REINDEX TABLE t",
            "ALTER TYPE c ADD VALUE 'x'",
            "TRUNCATE t",
            "ROLLBACK TO s",
            "",
        ] {
            assert_eq!(of(sql), Transactional::Yes, "{sql}");
        }
        for sql in ["BEGIN", "commit", "END", "ROLLBACK", "START TRANSACTION", "PREPARE TRANSACTION 'a'"] {
            assert_eq!(of(sql), Transactional::Itself, "{sql}");
        }
        assert_eq!(transactional("ALTER TYPE s.c ADD VALUE 'x'", server(Engine::Postgres, 11)), Transactional::No);
    }

    #[test]
    fn statements_that_redshift_refuses_in_a_transaction_are_known() {
        let of = |sql: &str| transactional(sql, server(Engine::Redshift, 8));
        for sql in [
            "CREATE LIBRARY l LANGUAGE plpythonu FROM 's3://b'",
            "CREATE EXTERNAL TABLE s.t (a int)",
            "VACUUM FULL t",
            "ALTER TABLE t APPEND FROM s",
            "ALTER TABLE t ALTER COLUMN a TYPE varchar(10)",
            "DROP IDENTITY PROVIDER p",
            "CREATE DATABASE d",
            "ALTER DATABASE d ISOLATION LEVEL SNAPSHOT",
        ] {
            assert_eq!(of(sql), Transactional::No, "{sql}");
        }
        assert_eq!(of("TRUNCATE t"), Transactional::Itself);
        assert_eq!(of("CREATE INDEX CONCURRENTLY i ON t (a)"), Transactional::Yes);
    }

    #[test]
    fn words_of_redshift_are_taken_out() {
        let seed = include_str!("../tests/it/seed/V1__initial_tables.sql");
        let plain = without_redshift_words(seed);
        assert_eq!(plain.text.as_deref(), Some(seed.replace(" distkey sortkey", "").as_str()));
        assert_eq!(plain.removed, ["distkey", "sortkey"]);
        let plain = without_redshift_words(
            "CREATE TABLE t (a int ENCODE az64, encoded text) BACKUP NO DISTSTYLE KEY DISTKEY (a) COMPOUND SORTKEY (a, b)",
        );
        assert_eq!(plain.text.as_deref(), Some("CREATE TABLE t (a int, encoded text)"));
        assert_eq!(plain.removed.len(), 5);
        assert_eq!(without_redshift_words("ALTER TABLE t ALTER SORTKEY (a)").text, None);
        for same in [
            "CREATE TABLE t AS SELECT encode(a, 'hex') FROM b",
            "SELECT distkey FROM t",
            "CREATE TABLE \"distkey\" (a int)",
        ] {
            let plain = without_redshift_words(same);
            assert_eq!((plain.text.as_deref(), plain.removed.len()), (Some(same), 0));
        }
    }
}
