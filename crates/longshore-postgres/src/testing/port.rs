//! Ports of this machine that are free.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below the ports that the system hands out by itself, so that a port stays free while its server
/// is stopped; and above those that have a name.
const RANGE: Range<u16> = 20_000..32_000;

/// A port of the loopback address at which nobody listens. Somebody else may be as quick: whoever
/// cannot have it asks for another.
pub(super) fn free() -> u16 {
    std::iter::repeat_with(|| fastrand::u16(RANGE))
        .take(1000)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("one of a thousand ports is free")
}
