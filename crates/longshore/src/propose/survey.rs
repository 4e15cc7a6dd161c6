//! Reads whole files and notes what their columns hold, in memory that does not grow with them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use futures::StreamExt;
use longshore_csv::{FieldRules, Inference, LengthUnit, Proposal, RecordReader, Type};

use super::look::{Look, Unfit};
use crate::bucket::{Bucket, Object};

/// Different values of a column that are remembered to see whether one comes twice: some 50 MiB
/// for each column that may be a key. Beyond it nothing is said of keys.
const REMEMBERED: usize = 2 << 20;

/// A column to look at.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// How its texts may be read, the first being preferred; at least one.
    pub(super) rules: Vec<FieldRules>,
    /// Whether its values are compared with each other.
    pub(super) may_be_key: bool,
}

/// What a column was found to hold.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Which of the rules its texts are best read by.
    pub(super) rules: usize,
    /// Its type.
    pub(super) proposal: Proposal,
    /// Whether its values tell rows apart.
    pub(super) unique: Unique,
}

/// Whether values tell rows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unique {
    /// No value comes twice, none is missing.
    Everywhere,
    /// No value comes twice in a file, but files share values.
    WithinFiles,
    /// They do not, or it is not known.
    No,
}

/// Columns that are being looked at.
#[derive(Debug)]
pub(super) struct Survey {
    wanted: Vec<Wanted>,
    /// Each set of rules, with what it makes of all columns.
    readings: Vec<(FieldRules, Inference)>,
    keys: Vec<Option<Values>>,
    hasher: RandomState,
    files: u32,
    /// Data records.
    pub(super) records: u64,
}

/// What was seen in one file.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Data records.
    pub(super) records: u64,
    /// Records with another number of fields than the first: they would be rejects.
    pub(super) ragged: u64,
    /// Records that hold bytes which are not of the file's encoding.
    pub(super) malformed: u64,
    /// Whether all of it is ASCII.
    pub(super) is_ascii: bool,
}

#[derive(Debug, Default)]
struct Values {
    /// Hash of a value and the last file that had it.
    seen: HashMap<u64, u32>,
    shared: bool,
}

impl Survey {
    /// Begins to look at these columns.
    pub(super) fn new(wanted: Vec<Wanted>) -> Self {
        let mut readings: Vec<(FieldRules, Inference)> = Vec::new();
        for rules in wanted.iter().flat_map(|wanted| &wanted.rules) {
            if !readings.iter().any(|(known, _)| known == rules) {
                readings.push((rules.clone(), Inference::new(rules)));
            }
        }
        let keys = wanted.iter().map(|wanted| wanted.may_be_key.then(Values::default)).collect();
        Self { wanted, readings, keys, hasher: RandomState::new(), files: 0, records: 0 }
    }

    /// Reads a file; `columns` gives the column of each of its fields.
    pub(super) async fn read(
        &mut self,
        bucket: &dyn Bucket,
        object: &Object,
        look: &Look,
        columns: &[usize],
    ) -> Result<Seen, Unfit> {
        let mut seen = Seen { is_ascii: true, ..Seen::default() };
        let mut places: Vec<Option<usize>> = vec![None; self.wanted.len()];
        for (field, column) in columns.iter().enumerate() {
            places[*column] = Some(field);
        }
        self.files += 1;
        let mut reader = RecordReader::new(&look.options)?;
        let mut body = bucket.read(object).await?;
        let mut is_header = look.has_header;
        loop {
            match body.next().await {
                Some(chunk) => reader.push(chunk?),
                None => {
                    reader.finish();
                    self.take(&mut reader, &mut is_header, look, &places, &mut seen)?;
                    return Ok(seen);
                }
            }
            self.take(&mut reader, &mut is_header, look, &places, &mut seen)?;
        }
    }

    fn take(
        &mut self,
        reader: &mut RecordReader,
        is_header: &mut bool,
        look: &Look,
        places: &[Option<usize>],
        seen: &mut Seen,
    ) -> Result<(), Unfit> {
        while let Some(record) = reader.next_record()? {
            let fields: Vec<(&[u8], bool)> = record.fields().map(|field| (field.text, field.quoted)).collect();
            let is_ascii = fields.iter().all(|(text, _)| text.is_ascii());
            seen.is_ascii &= is_ascii;
            if !is_ascii && fields.iter().any(|(text, _)| str::from_utf8(text).is_err()) {
                seen.malformed += 1;
            }
            if std::mem::take(is_header) {
                continue;
            }
            seen.records += 1;
            self.records += 1;
            if fields.len() != look.width() {
                seen.ragged += 1;
                continue;
            }
            let of = |place: &Option<usize>| place.map_or((&b""[..], false), |at| fields[at]);
            for (_, inference) in &mut self.readings {
                inference.observe_texts(places.iter().map(of));
            }
            for (place, values) in places.iter().zip(&mut self.keys) {
                let text = of(place).0.trim_ascii();
                let Some(known) = values else { continue };
                let is_repeated = match known.seen.insert(self.hasher.hash_one(text), self.files) {
                    Some(file) if file == self.files => true,
                    Some(_) => {
                        known.shared = true;
                        false
                    }
                    None => false,
                };
                if text.is_empty() || is_repeated || known.seen.len() > REMEMBERED {
                    *values = None;
                }
            }
        }
        Ok(())
    }

    /// What the columns hold.
    pub(super) fn finish(self) -> Vec<Found> {
        let records = self.records;
        let readings: Vec<(FieldRules, Vec<Proposal>)> = self
            .readings
            .into_iter()
            .map(|(rules, inference)| (rules, inference.finish(LengthUnit::Characters)))
            .collect();
        let unseen = || Proposal {
            ty: Type::Text { length: None, padded: false },
            nullable: true,
            values: 0,
            max_characters: 0,
            max_bytes: 0,
        };
        self.wanted
            .iter()
            .zip(self.keys)
            .enumerate()
            .map(|(at, (wanted, values))| {
                let by = |rules: &FieldRules| {
                    let of = readings.iter().find(|(known, _)| known == rules);
                    of.and_then(|(_, proposals)| proposals.get(at).cloned()).unwrap_or_else(unseen)
                };
                let is_text = |proposal: &Proposal| matches!(proposal.ty, Type::Text { .. });
                let (rules, proposal) = wanted
                    .rules
                    .iter()
                    .map(by)
                    .enumerate()
                    .find(|(_, proposal)| !is_text(proposal))
                    .unwrap_or_else(|| (0, wanted.rules.first().map_or_else(unseen, by)));
                let unique = match values {
                    Some(values) if records > 1 && can_be_key(&proposal.ty) => {
                        if values.shared {
                            Unique::WithinFiles
                        } else {
                            Unique::Everywhere
                        }
                    }
                    _ => Unique::No,
                };
                Found { rules, proposal, unique }
            })
            .collect()
    }
}

const fn can_be_key(ty: &Type) -> bool {
    matches!(ty, Type::Int16 | Type::Int32 | Type::Int64 | Type::Uuid | Type::Text { .. })
}
