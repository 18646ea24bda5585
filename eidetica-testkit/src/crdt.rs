//! Owns the laws that every CRDT keeps, checked on random histories of several devices, and the
//! oracles of documents and tables. What an entry is, and how it is stored, plays no part here.
//!
//! The whole test file of a CRDT:
//!
//! ```no_run
//! use eidetica_crdt::Doc;
//! use eidetica_testkit::{crdt::doc_operations, crdt_laws};
//!
//! crdt_laws!(Doc, doc_operations());
//! ```

mod doc;
pub mod fugue;
mod history;
pub mod laws;
pub mod oracle;
mod replay;
mod table;
pub mod table_oracle;

pub use self::{
    doc::{doc_operations, doc_paths},
    history::{Ancestors, History, HistoryEntry, histories, orders},
    replay::{LawBroken, LiveRow, replay, replay_lazily},
    table::{leaves, table_operations},
};

/// Declares the tests of the laws for a [`Crdt`](eidetica_crdt::Crdt), 256 random histories each,
/// given a strategy of the operations of one entry (`Vec<Op>`). Once in a module.
#[macro_export]
macro_rules! crdt_laws {
    ($crdt:ty, $operations:expr) => {
        #[test]
        fn every_causal_order_gives_equal_rows() {
            let law = $crate::crdt::laws::every_causal_order_gives_equal_rows::<$crdt>;
            if let Err(failure) = $crate::crdt::laws::hold(file!(), $operations, law) {
                panic!("{failure}");
            }
        }

        #[test]
        fn rows_loaded_on_demand_give_equal_rows() {
            let law = $crate::crdt::laws::rows_loaded_on_demand_give_equal_rows::<$crdt>;
            if let Err(failure) = $crate::crdt::laws::hold(file!(), $operations, law) {
                panic!("{failure}");
            }
        }

        #[test]
        fn operations_have_one_encoding() {
            let law = $crate::crdt::laws::operations_have_one_encoding::<$crdt>;
            if let Err(failure) = $crate::crdt::laws::hold(file!(), $operations, law) {
                panic!("{failure}");
            }
        }
    };
}
