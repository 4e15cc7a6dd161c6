//! ALTER TABLE.

use serde_json::json;

use super::table::{Table, column, name_list, references, remember, type_of};
use super::{Cursor, Ddl, Name, Plan, names};
use crate::refusal::Refusal;
use crate::token::{Token, Words, ident, join, literal};

/// What stands after ALTER TABLE.
pub(super) fn plan(cursor: &mut Cursor<'_>, words: &Words) -> Result<Plan, Refusal> {
    let name = cursor.table()?;
    let mut ddl = Ddl { alters: vec![name.clone()], ..Ddl::default() };
    if cursor.eat("append") {
        cursor.expect("from")?;
        let source = cursor.table()?;
        cursor.end().map_err(|_| Refusal::not_modelled("IGNOREEXTRA and FILLTARGET"))?;
        ddl.outside = Some("ALTER TABLE APPEND");
        ddl.tag = Some("ALTER TABLE APPEND");
        ddl.sql = vec![
            format!("SELECT standin.may_append({}, {})", literal(&name.sql()), literal(&source.sql())),
            format!("INSERT INTO {} SELECT * FROM {}", name.sql(), source.sql()),
            format!("TRUNCATE {}", source.sql()),
        ];
        ddl.alters.push(source);
    } else if cursor.eat("rename") {
        let is_column = cursor.eat("column");
        let old = if is_column { Some(cursor.name()?) } else { None };
        cursor.expect("to")?;
        let new = cursor.name()?;
        cursor.end()?;
        if old.is_none() {
            ddl.creates = vec![Name { schema: name.schema.clone(), name: new.clone() }];
            ddl.renames = true;
        }
        let column = old.map_or(String::new(), |old| format!("COLUMN {} ", ident(&old)));
        ddl.sql = vec![format!("ALTER TABLE {} RENAME {column}TO {}", name.sql(), ident(&new))];
    } else if cursor.eat("add") {
        cursor.eat("column");
        if ["primary", "unique", "foreign", "constraint"].iter().any(|word| cursor.peek().is_some_and(|t| t.is(word))) {
            // Keys are not enforced; only their grammar matters.
            if cursor.eat("constraint") {
                cursor.name()?;
            }
            let is_foreign = cursor.eat("foreign");
            let is_primary = cursor.eat("primary");
            if is_foreign || is_primary {
                cursor.expect("key")?;
            } else {
                cursor.expect("unique")?;
            }
            let columns = name_list(cursor)?;
            if is_foreign {
                cursor.expect("references")?;
                let other = references(cursor)?;
                ddl.sql.push(format!("SELECT standin.must_exist({})", literal(&other.sql())));
            }
            cursor.end()?;
            ddl.tag = Some("ALTER TABLE");
            ddl.sql.push(format!(
                "SELECT standin.may_key({}, {}, {is_primary})",
                literal(&name.sql()),
                literal(&json!(columns).to_string())
            ));
            return Ok(Plan::Ddl(ddl));
        }
        let mut table = Table::default();
        let inner = Words { tokens: words.tokens[cursor.at..].to_vec(), glued: words.glued[cursor.at..].to_vec() };
        let mut tokens = inner.tokens;
        tokens.push(Token::Symbol(')'));
        let mut rest = Cursor::new(&tokens, 0);
        column(&mut rest, &mut table)?;
        rest.expect_symbol(')')?;
        rest.end()?;
        if table.dist_key.is_some() || !table.sort_key.is_empty() {
            return Err(Refusal::not_modelled("a key of a column that is added"));
        }
        ddl.sql =
            vec![format!("ALTER TABLE {} ADD COLUMN {}", name.sql(), table.parts.join(", ")), remember(&name, &table)];
    } else if cursor.eat("drop") {
        cursor.eat("column");
        let column = cursor.name()?;
        let cascade = if cursor.eat("cascade") { " CASCADE" } else { "" };
        cursor.eat("restrict");
        cursor.end()?;
        ddl.sql = vec![format!("ALTER TABLE {} DROP COLUMN {}{cascade}", name.sql(), ident(&column))];
    } else if cursor.eat("alter") {
        return alter_column(cursor, &name, ddl);
    } else if cursor.eat("owner") {
        cursor.expect("to")?;
        let owner = cursor.name()?;
        cursor.end()?;
        ddl.sql = vec![format!("ALTER TABLE {} OWNER TO {}", name.sql(), ident(&owner))];
    } else {
        return Err(Refusal::not_modelled(&format!("ALTER TABLE of this kind: {}", join(words))));
    }
    if names::system(name.schema.as_deref(), &name.name, super::Mode::Provisioned)?.is_some() {
        return Err(Refusal::new("42501", "permission denied"));
    }
    Ok(Plan::Ddl(ddl))
}

/// `ALTER COLUMN c TYPE VARCHAR(n)`: a text may become longer, outside of a transaction.
fn alter_column(cursor: &mut Cursor<'_>, name: &Name, mut ddl: Ddl) -> Result<Plan, Refusal> {
    cursor.eat("column");
    let column = cursor.name()?;
    cursor.expect("type").map_err(|_| Refusal::not_modelled("ALTER COLUMN of this kind"))?;
    let ty = type_of(cursor)?;
    cursor.end()?;
    let Some(length) = ty.shown.strip_prefix("character varying(").and_then(|rest| rest.strip_suffix(')')) else {
        return Err(Refusal::new("0A000", "ALTER COLUMN TYPE changes the size of a VARCHAR only"));
    };
    ddl.outside = Some("ALTER TABLE ALTER COLUMN");
    ddl.tag = Some("ALTER TABLE");
    ddl.sql = vec![format!("SELECT standin.widen({}, {}, {length})", literal(&name.sql()), literal(&column))];
    Ok(Plan::Ddl(ddl))
}
