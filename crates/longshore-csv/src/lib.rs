//! CSV bytes in, typed Arrow batches and rejects out.
//!
//! No I/O and no async: the caller pushes bytes as they arrive and takes batches when there are
//! some. Bytes are decompressed, transcoded, split into records with their position, and turned
//! into the typed columns of the target; what does not fit becomes a [`Reject`] with its original
//! bytes. Knows nothing of buckets, pipelines or warehouses.

mod bind;
mod build;
mod columns;
mod decoder;
mod decompress;
mod infer;
mod mask;
mod options;
mod reader;
mod records;
mod reject;
mod sniff;
mod split;
mod transcode;
mod values;
mod verbatim;

pub use columns::{Binding, BindingSource, Bound, Column, LengthUnit, Received, Type};
pub use decoder::{Batch, CsvDecoder, Decoder, Summary};
pub use infer::{Inference, Proposal};
pub use options::{
    BATCH_ROWS, Columns, Compression, DecimalRule, Encoding, FieldRules, Header, MAX_RATIO, MAX_RECORD, OffsetRule,
    Options, Trim, check,
};
pub use reader::{Field, Record, RecordReader};
pub use reject::{FieldFault, ObjectFault, ObjectFaultKind, Reject, Rule};
pub use sniff::{Sniffed, sniff};
