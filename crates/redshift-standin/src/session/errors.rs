//! Errors and descriptions of the server behind, as Redshift gives them.

use bytes::{Buf, BufMut, BytesMut};

use super::Session;
use crate::frame::{Frame, put_text, take_text};
use crate::gate::{Change, Verb};
use crate::isolation::{id_of, violation};
use crate::refusal::Refusal;
use crate::upstream::refusal_of;

impl Session {
    /// An error of the server behind in Redshift's words.
    pub(super) fn translated(&self, frame: &Frame, change: Option<&Change>) -> Refusal {
        let refusal = refusal_of(frame);
        let is_merge = change.is_some_and(|change| matches!(change.target, Some((_, Verb::Merge))));
        let names_an_alias = |change: &Change| {
            change.aliases.iter().any(|alias| {
                refusal.message.contains(&format!("\"{alias}\"")) || refusal.message.contains(&format!(".{alias} "))
            })
        };
        let field = |code| frame.field(code).unwrap_or_default();
        match refusal.sqlstate.as_str() {
            "40001" => violation(id_of(&refusal.message), self.transaction, self.transaction + 1),
            "23514" if field(b'n').starts_with("standin_big_") => {
                Refusal::new("22003", "Numeric data overflow (result precision)")
            }
            "23514" if field(b'n').starts_with("standin_") => {
                Refusal::new("22001", "value too long for type character varying")
            }
            "23502" => Refusal::new("23502", format!("Cannot insert a NULL value into column {}", field(b'c'))),
            "57014" => self.cancelled(),
            "21000" if is_merge => Refusal::new("XX000", "Found multiple matches to update the same tuple."),
            // Redshift has other rules for types and functions, and a value may name another of its row.
            "42883" | "42725" | "42846" | "42804" | "42P18" => Refusal::not_modelled(&refusal.message),
            "42703" if change.is_some_and(|change| change.is_of_system || names_an_alias(change)) => {
                Refusal::not_modelled(&refusal.message)
            }
            _ => refusal,
        }
    }

    /// The error of a statement that was broken off.
    pub(super) fn cancelled(&self) -> Refusal {
        Refusal::new("57014", format!("Query ({}) canceled on user's request", self.transaction))
    }
}

/// A description of rows with the types of Redshift: text is kept as `bpchar` behind, so that trailing
/// blanks do not count when it is compared.
pub(super) fn described(frame: &Frame, super_type: u32) -> Frame {
    let mut body = frame.body.clone();
    if body.remaining() < 2 {
        return frame.clone();
    }
    let mut out = BytesMut::with_capacity(body.len());
    let count = body.get_u16();
    out.put_u16(count);
    for _ in 0..count {
        let name = take_text(&mut body);
        if body.remaining() < 18 {
            return frame.clone();
        }
        put_text(&mut out, &name);
        out.put_u32(body.get_u32());
        out.put_u16(body.get_u16());
        let (ty, length, modifier) = (body.get_u32(), body.get_i16(), body.get_i32());
        out.put_u32(match ty {
            1042 if modifier == -1 => 1043,
            17 => 6551,
            other if other == super_type => 4000,
            // Names of the catalog.
            19 => 1043,
            other => other,
        });
        out.put_i16(if ty == 19 { -1 } else { length });
        out.put_i32(modifier);
        out.put_u16(body.get_u16());
    }
    Frame::new(b'T', out)
}

/// Where each column comes from: table, number of the column, type and modifier.
pub(super) fn origins(frame: &Frame) -> Vec<(u32, u16, u32, i32)> {
    let mut body = frame.body.clone();
    let mut origins = Vec::new();
    if body.remaining() < 2 {
        return origins;
    }
    for _ in 0..body.get_u16() {
        take_text(&mut body);
        if body.remaining() < 18 {
            break;
        }
        let (table, column, ty) = (body.get_u32(), body.get_u16(), body.get_u32());
        body.advance(2);
        origins.push((table, column, ty, body.get_i32()));
        body.advance(2);
    }
    origins
}

/// Redshift counts rows for INSERT, UPDATE and DELETE only. Whether it does for MERGE is not documented.
pub(super) fn tagged(frame: &Frame, counts_merge: bool) -> Frame {
    let tag = frame.first_text();
    match tag.split(' ').next() {
        Some("MERGE") if counts_merge => frame.clone(),
        // A table from a query too.
        Some(word @ ("SELECT" | "MERGE" | "FETCH")) => Frame::complete(word),
        _ => frame.clone(),
    }
}
