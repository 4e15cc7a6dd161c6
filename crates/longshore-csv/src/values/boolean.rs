//! True and false.

use super::{Fault, Parse, Scratch};

/// Parses booleans.
pub(crate) struct Boolean;

impl Parse for Boolean {
    type Native = bool;

    #[inline(always)]
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<bool> {
        read(text.get(start..end)?)
    }

    fn may_be_verbatim(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_verbatim(&self, text: &[u8], start: usize, end: usize, _value: bool) -> bool {
        end - start == 1 && matches!(text[start], b't' | b'f')
    }

    fn careful(&self, cell: &[u8], _scratch: &mut Scratch) -> Result<bool, Fault> {
        read(cell)
            .ok_or_else(|| Fault::new(crate::Rule::Type, "expected a boolean (true/false, t/f, yes/no, y/n, 1/0)"))
    }
}

#[inline(always)]
fn read(cell: &[u8]) -> Option<bool> {
    match cell {
        [b't' | b'T' | b'y' | b'Y' | b'1'] => Some(true),
        [b'f' | b'F' | b'n' | b'N' | b'0'] => Some(false),
        [_] => None,
        _ if cell.eq_ignore_ascii_case(b"true") || cell.eq_ignore_ascii_case(b"yes") => Some(true),
        _ if cell.eq_ignore_ascii_case(b"false") || cell.eq_ignore_ascii_case(b"no") => Some(false),
        _ => None,
    }
}
