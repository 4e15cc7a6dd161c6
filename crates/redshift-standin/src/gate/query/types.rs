//! The types to which a value may be cast.

use super::Parser;
use crate::gate::Cursor;
use crate::refusal::Refusal;

/// The longest VARCHAR, in bytes.
const LONGEST: u32 = 65_535;

impl Parser<'_> {
    /// The type of a cast, and the cast of what was written since `start`.
    pub(super) fn cast(&mut self, start: usize) -> Result<(), Refusal> {
        let (word, sizes) = type_words(&mut self.cursor)?;
        let behind = match (word.as_str(), &sizes[..]) {
            // In Redshift a bare VARCHAR in a cast is as long as need be, and keeps blanks at the end.
            ("varchar", []) => "bpchar".to_owned(),
            ("varchar", [length]) => {
                let length = if *length == u32::MAX { LONGEST } else { *length };
                if length == 0 || length > LONGEST {
                    return Err(Refusal::new("22023", format!("length for type varchar cannot exceed {LONGEST}")));
                }
                self.sql.insert_str(start, " standin.cut( (");
                self.put(&format!(")::bpchar, {length})"));
                self.named = Some((self.cursor.at, "varchar"));
                return Ok(());
            }
            ("char", [] | [_]) => {
                let length = sizes.first().copied().unwrap_or(1);
                if length == 0 || length > 4_096 {
                    return Err(Refusal::new("22023", "length for type character cannot exceed 4096"));
                }
                format!("character({length})")
            }
            ("numeric", sizes) if sizes.len() <= 2 => {
                let (precision, scale) = (sizes.first().copied().unwrap_or(18), sizes.get(1).copied().unwrap_or(0));
                if precision == 0 || precision > 38 || scale > 37 || scale > precision {
                    return Err(Refusal::new(
                        "22023",
                        format!("NUMERIC precision {precision} must be between 1 and 38"),
                    ));
                }
                format!("numeric({precision},{scale})")
            }
            (_, [_, ..]) => return Err(Refusal::not_modelled(&format!("a cast to {word} with a size"))),
            ("varbyte", _) => return Err(Refusal::not_modelled("a cast to varbyte")),
            ("super", _) => "standin.super".to_owned(),
            (word, _) => word.to_owned(),
        };
        // A sign before the value binds less than the cast.
        self.sql.push_str("::");
        self.sql.push_str(&behind);
        Ok(())
    }
}

/// A type by one word, and its sizes; `MAX` is the greatest number.
fn type_words(cursor: &mut Cursor<'_>) -> Result<(String, Vec<u32>), Refusal> {
    let Some(word) = cursor.next().and_then(crate::token::Token::name) else { return Err(cursor.unexpected_before()) };
    let name = match word.as_str() {
        "smallint" | "int2" => "smallint",
        "integer" | "int" | "int4" => "integer",
        "bigint" | "int8" => "bigint",
        "decimal" | "numeric" => "numeric",
        "real" | "float4" => "real",
        "float8" | "float" => "double precision",
        "double" => {
            cursor.expect("precision")?;
            "double precision"
        }
        "boolean" | "bool" => "boolean",
        "char" | "character" | "nchar" if cursor.eat("varying") => "varchar",
        "char" | "character" | "nchar" => "char",
        "varchar" | "nvarchar" | "text" => "varchar",
        "bpchar" => return Err(Refusal::not_modelled("a cast to bpchar")),
        "date" => "date",
        "time" | "timestamp" => {
            let with = cursor.eat("with");
            if with || cursor.eat("without") {
                cursor.expect("time")?;
                cursor.expect("zone")?;
            }
            match (word.as_str(), with) {
                ("time", false) => "time",
                ("time", true) => "timetz",
                (_, false) => "timestamp",
                (_, true) => "timestamptz",
            }
        }
        "timetz" => "timetz",
        "timestamptz" => "timestamptz",
        "super" => "super",
        "varbyte" | "varbinary" => "varbyte",
        _ => return Err(Refusal::not_modelled(&format!("a cast to {word}"))),
    };
    let mut sizes = Vec::new();
    if cursor.eat_symbol('(') {
        loop {
            sizes.push(if cursor.eat("max") { u32::MAX } else { cursor.number()? });
            if !cursor.eat_symbol(',') {
                break;
            }
        }
        cursor.expect_symbol(')')?;
    }
    Ok((name.to_owned(), sizes))
}
