//! Records that may be passed on as they stand, for whoever writes CSV again: most can be read in one way only.
//!
//! Each column says of which rows that is not so. What it means for a value is said with
//! [`Parse::is_verbatim`](crate::values::Parse::is_verbatim).

use arrow_array::StringViewArray;
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};

use crate::build::{Stretch, remove_at, text_array, view};

/// The records of a batch that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Verbatim {
    /// Of those that are to be written anew 0. No record is empty, so that no other has it.
    views: Vec<u128>,
}

impl Verbatim {
    /// Takes the rows of a stretch, but for the `others`, which it empties, and those that are not surely one line.
    pub(crate) fn append(&mut self, stretch: &Stretch<'_>, others: &mut Vec<u32>) {
        let base = self.views.len();
        if !stretch.keeps_verbatim {
            self.views.resize(base + stretch.rows.len(), 0);
            return;
        }
        self.views.extend(stretch.rows.iter().map(|row| {
            let start = row.start as usize;
            view(stretch.text, start, start + stretch.record(row).len(), stretch.buffer, stretch.offset)
        }));
        for row in others.drain(..) {
            self.views[base + row as usize] = 0;
        }
        if !stretch.has_quotes {
            return;
        }
        // Of the last row it is not known where the next begins.
        let nexts = stretch.rows.iter().skip(1).map(|next| next.line).chain([0]);
        for ((row, next), view) in stretch.rows.iter().zip(nexts).zip(&mut self.views[base..]) {
            if next != row.line + 1 {
                *view = 0;
            }
        }
    }

    /// Takes rows out, by their numbers in the batch, ascending; where none were taken, none.
    pub(crate) fn remove(&mut self, rows: &[u32]) {
        if !self.views.is_empty() {
            remove_at(&mut self.views, rows);
        }
    }

    /// The records, NULL where they are to be written anew; `None` where all are.
    pub(crate) fn finish(self, buffers: &[Buffer]) -> Option<StringViewArray> {
        if self.views.iter().all(|view| *view == 0) {
            return None;
        }
        let nulls = NullBuffer::new(BooleanBuffer::collect_bool(self.views.len(), |row| self.views[row] != 0));
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        // Views count from what a column of texts holds of its own.
        let buffers = [Buffer::from_vec(Vec::<u8>::new())].into_iter().chain(buffers.iter().cloned()).collect();
        Some(text_array(self.views.into(), buffers, nulls))
    }
}
