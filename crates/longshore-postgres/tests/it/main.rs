//! The integration tests of the postgres crate, against real servers.

mod connecting;
mod harness;
mod proxy;
mod tls;
