//! A strict stand-in for Amazon Redshift: PostgreSQL's protocol in front of a private PostgreSQL.
//!
//! It gives one of three answers: what Redshift gives; the refusal that Redshift gives; or `LS000`,
//! "stand-in: not modelled". A statement that passes here may be believed; one that gets `LS000` says
//! nothing. COPY reads its files by Redshift's rules (`copy`), every other statement passes the gate
//! (`gate`), locks and isolation are those of whole tables (`locks`, `isolation`).

mod cancel;
mod copy;
mod faults;
mod frame;
mod gate;
mod isolation;
mod locks;
mod objects;
mod refusal;
mod server;
mod session;
mod token;
mod unknowns;
mod upstream;

pub use copy::Switches;
pub use faults::{Fault, Faults};
pub use gate::Mode;
pub use isolation::Isolation;
pub use objects::ObjectsConfig;
pub use server::{Role, Standin, StandinConfig};
pub use unknowns::Unknowns;

/// What `version()` says.
const VERSION: &str = "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 (Red Hat 3.4.2-6.fc3), \
    Redshift 1.0.77467";
