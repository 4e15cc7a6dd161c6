//! Private servers, certificates and a proxy that breaks connections, for tests.
//!
//! ```no_run
//! use longshore_postgres::Config;
//! use longshore_postgres::testing::Server;
//!
//! # async fn example() {
//! let database = Server::shared().database();
//! let connection = Config::from_url(&database.url()).unwrap().connect().await.unwrap();
//! connection.batch_execute("CREATE TABLE orders (id int)").await.unwrap();
//! # }
//! ```
//!
//! Whatever fails here panics with the reason: a test cannot go on without it.

mod certificate;
mod database;
mod home;
mod port;
mod proxy;
mod server;

pub use certificate::{Authority, Certificate};
pub use database::Database;
pub use proxy::{Fault, Moment, Pending, Proxy, Side};
pub use server::{Options, Server};
