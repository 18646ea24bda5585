//! Owns the verdict on an entry by the authority in its past: rule 4 of validity.

use super::{
    AuthOperation, AuthorityError, AuthorityGraph, Level, NodeSet, Subject, graph::Permission,
    standing::Standing,
};
use crate::PublicKey;

impl AuthorityGraph {
    /// Judges an entry of `author` by the nodes in its past. `operations` are those of its
    /// `_auth` payload, if it changes that store; `changes_reserved` is whether it changes any
    /// store whose name starts with `_`. An entry with an empty past is judged as a root.
    ///
    /// # Errors
    /// The author's level is too low, or it may not make one of the operations.
    ///
    /// # Panics
    /// `past` names a node that is not there.
    pub fn check(
        &self,
        author: PublicKey,
        past: &NodeSet,
        operations: Option<&[AuthOperation]>,
        changes_reserved: bool,
    ) -> Result<(), AuthorityError> {
        let void = self.void(past);
        let before = Standing::new(self, past, void.nodes());
        let held = match past.is_empty() {
            true => Level::Admin(0),
            false => before.level(Subject::Key(author)),
        };
        let Some(operations) = operations else {
            let needed = if changes_reserved {
                Level::WEAKEST_ADMIN
            } else {
                Level::Write
            };
            return enough(needed, held, None);
        };
        enough(Level::WEAKEST_ADMIN, held, None)?;
        for (index, operation) in operations.iter().enumerate() {
            enough(before.need_of(operation), held, Some(index))?;
        }
        let mut earlier = before.start(author);
        for (index, operation) in operations.iter().enumerate() {
            let here = before.after(&earlier);
            let permission = here.fix(author, operation);
            judge(here, before, author, permission.as_ref(), index)?;
            earlier.push(permission);
        }
        Ok(())
    }
}

fn enough(needed: Level, held: Level, operation: Option<usize>) -> Result<(), AuthorityError> {
    match held >= needed {
        true => Ok(()),
        false => Err(AuthorityError::Level {
            needed,
            held,
            operation,
        }),
    }
}

/// Judges one operation `here`, in an entry that starts `before`. One that sets no permission
/// needs just an admin.
fn judge(
    here: Standing<'_>,
    before: Standing<'_>,
    author: PublicKey,
    permission: Option<&Permission>,
    operation: usize,
) -> Result<(), AuthorityError> {
    let held = here.level(Subject::Key(author));
    let level = permission.map_or(Level::None, |p| p.level);
    enough(level.max(Level::WEAKEST_ADMIN), held, Some(operation))?;
    let Some(Permission {
        subject,
        rival,
        is_reduction,
        ..
    }) = permission
    else {
        return Ok(());
    };
    match *subject {
        Subject::Anyone if level > Level::Write => {
            Err(AuthorityError::AnyoneAboveWrite { level, operation })
        }
        Subject::Key(key) if key == author => {
            match *is_reduction && !before.has_other(author, held) {
                true => Err(AuthorityError::NoOtherAdmin { held, operation }),
                false => Ok(()),
            }
        }
        Subject::Key(key) => match rival {
            Some(rival) if here.seniority(author, held) >= *rival => {
                let subject_level = rival.level.0;
                Err(AuthorityError::NotSenior {
                    subject: key,
                    subject_level,
                    held,
                    operation,
                })
            }
            _ => Ok(()),
        },
        Subject::Anyone => Ok(()),
    }
}
