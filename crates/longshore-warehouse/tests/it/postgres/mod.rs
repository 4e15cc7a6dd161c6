//! PostgreSQL passes the conformance suite, and keeps what it promises beyond it.

mod connections;
mod faults;
mod rights;
mod types;

mod conformance {
    use longshore_warehouse::testing::PostgresBench;

    fn bench() -> PostgresBench {
        PostgresBench::new()
    }

    longshore_warehouse::conformance_tests!(super::super::conformance::bench);
}
