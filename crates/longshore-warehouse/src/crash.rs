//! Named points at which a test may kill the process.

/// The environment variable that names the point; `name:3` is the third time it is passed.
pub const CRASH_AT: &str = "LONGSHORE_CRASH_AT";

/// Ends the process as `kill -9` does, if [`CRASH_AT`] names this point. Without debug assertions
/// (in a release) it does nothing.
pub fn crash_point(name: &str) {
    #[cfg(debug_assertions)]
    {
        use std::sync::atomic::{AtomicU32, Ordering};
        static PASSED: AtomicU32 = AtomicU32::new(0);
        let Ok(wanted) = std::env::var(CRASH_AT) else { return };
        let (point, nth) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        if point == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == nth.parse().unwrap_or(1) {
            // No destructor runs and no buffer is written, as with a kill from outside.
            std::process::abort();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
