//! Owns a CRDT of the program's own: a set of texts that only grows. Storage and sync know no more
//! of it than what is written here.

use std::collections::BTreeSet;

use eidetica::{
    core::PayloadError,
    crdt::{Cause, Crdt, Path, PathError, Row, RowRange, Segment, View, ViewError},
};

/// Each member is a row at a path of its own. Additions by devices that did not know of each other
/// are two rows of one member, so it does not matter which is applied first.
#[derive(Debug)]
pub(crate) struct GrowOnlySet;

impl Crdt for GrowOnlySet {
    const KIND: &'static str = "grow-only-set";
    const VERSION: u8 = 1;
    /// The member to add.
    type Op = String;

    fn check(operations: &[String]) -> Result<(), PayloadError> {
        let mut paths = operations.iter().map(|member| path_of(member));
        let all_have_one = paths.all(|path| path.is_ok());
        all_have_one.then_some(()).ok_or(PayloadError::Malformed)
    }

    fn apply(view: &mut View, cause: &Cause<'_>, member: &String) -> Result<(), ViewError> {
        let Ok(path) = path_of(member) else {
            return Ok(()); // the commit will say what `check` says
        };
        let (stamp, arrival) = (cause.stamp(), cause.arrival);
        let is_known = view.scan(&RowRange::at(&path))?.any(|row| cause.saw(row));
        if !is_known {
            let value = Vec::new();
            view.put(Row {
                path,
                stamp,
                arrival,
                value,
            });
        }
        Ok(())
    }

    fn supersedes(member: &String) -> RowRange {
        path_of(member).map_or(RowRange::all(), |path| RowRange::at(&path))
    }

    fn touches(member: &String, ranges: &mut Vec<RowRange>) {
        ranges.extend(path_of(member).map(|path| RowRange::at(&path)));
    }
}

fn path_of(member: &str) -> Result<Path, PathError> {
    Path::root().key(member)
}

/// What the rows of a set are to people.
pub(crate) fn members(rows: &[Row]) -> BTreeSet<String> {
    let segments = rows.iter().filter_map(|row| row.path.segments().pop());
    let members = segments.filter_map(|segment| match segment {
        Segment::Key(member) => Some(member),
        _ => None,
    });
    members.collect()
}
