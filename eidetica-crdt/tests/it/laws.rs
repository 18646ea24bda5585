//! Owns the laws of the document.

use eidetica_crdt::{Crdt, Doc, View};
use eidetica_testkit::{crdt::doc_operations, crdt_laws};
use proptest::proptest;

use crate::replica::Replica;

crdt_laws!(Doc, doc_operations());

proptest! {
    #[test]
    fn an_operation_needs_no_rows_but_those_it_touches(operations in doc_operations()) {
        for op in operations {
            let mut ranges = Vec::new();
            Doc::touches(&op, &mut ranges);
            let mut view = View::new();
            for range in ranges {
                view.load(range, []);
            }
            Replica { view }.entry(1, &[], &[op]);
        }
    }
}
