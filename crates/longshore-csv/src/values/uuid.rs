//! UUIDs and bytes: texts of hexadecimal digits.

use super::{Fault, Parse, Scratch, describe_first};

/// Parses UUIDs: 32 digits, hyphens where the standard has them or nowhere, braces or none.
pub(crate) struct Uuid;

impl Parse for Uuid {
    type Native = [u8; 16];

    #[inline(always)]
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<[u8; 16]> {
        read(text.get(start..end)?)
    }

    fn careful(&self, cell: &[u8], _scratch: &mut Scratch) -> Result<[u8; 16], Fault> {
        let bare = match cell {
            [b'{', inner @ .., b'}'] => inner,
            _ => cell,
        };
        read(bare).ok_or_else(|| {
            let found = describe_first(bare, |byte| byte.is_ascii_hexdigit() || byte == b'-');
            Fault::unexpected("a UUID (32 hexadecimal digits)", found)
        })
    }
}

fn read(cell: &[u8]) -> Option<[u8; 16]> {
    let mut value = [0; 16];
    match cell.len() {
        32 => fill(&mut value, cell)?,
        36 => {
            let is_hyphen = |at: usize| cell[at] == b'-';
            if ![8, 13, 18, 23].into_iter().all(is_hyphen) {
                return None;
            }
            fill(&mut value[..4], &cell[..8])?;
            fill(&mut value[4..6], &cell[9..13])?;
            fill(&mut value[6..8], &cell[14..18])?;
            fill(&mut value[8..10], &cell[19..23])?;
            fill(&mut value[10..], &cell[24..])?;
        }
        _ => return None,
    }
    Some(value)
}

fn fill(value: &mut [u8], digits: &[u8]) -> Option<()> {
    let (pairs, _) = digits.as_chunks::<2>();
    let mut bad = 0;
    for (byte, [high, low]) in value.iter_mut().zip(pairs) {
        let (high, low) = (HEX[usize::from(*high)], HEX[usize::from(*low)]);
        bad |= high | low;
        *byte = (high << 4) | (low & 15);
    }
    (bad < 16).then_some(())
}

/// Value of each hexadecimal digit; 255 for the other bytes.
const HEX: [u8; 256] = {
    let mut table = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit as usize] as usize] = digit;
        table[b"0123456789ABCDEF"[digit as usize] as usize] = digit;
        digit += 1;
    }
    table
};

/// Appends the bytes that hexadecimal digits stand for, with or without `\x` before them.
pub(crate) fn read_bytes(cell: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let digits = cell.strip_prefix(b"\\x").or_else(|| cell.strip_prefix(b"\\X")).unwrap_or(cell);
    let start = out.len();
    out.resize(start + digits.len() / 2, 0);
    if digits.len().is_multiple_of(2) && fill(&mut out[start..], digits).is_some() {
        return Ok(());
    }
    out.truncate(start);
    let found = if digits.iter().all(u8::is_ascii_hexdigit) {
        "an odd number of them"
    } else {
        describe_first(digits, |byte| byte.is_ascii_hexdigit())
    };
    Err(Fault::unexpected("pairs of hexadecimal digits", found))
}
