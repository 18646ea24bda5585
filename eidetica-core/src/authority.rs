//! Owns who may do what in a database: levels, the operations of the `_auth` store, and the
//! graph of entries that change it, from which every level, verdict and void entry follows.
//! Where entries are kept, and which of them lie in whose past, is the caller's.

mod error;
mod graph;
mod judge;
mod level;
mod operation;
mod recent;
mod seniority;
mod set;
mod snapshot;
mod standing;
mod void;

pub use self::{
    error::AuthorityError,
    graph::{AuthNode, AuthorityGraph},
    level::{Level, LevelError, Subject},
    operation::{AuthOperation, AuthPayloadError},
    set::{NodeIndex, NodeSet},
    snapshot::{Authority, Member},
    void::Voids,
};
