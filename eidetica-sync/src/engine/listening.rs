//! Owns where this device listens, as far as others are told. Who is told is the engine's, what of
//! it they keep is theirs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use eidetica_transport::Address;

use crate::hints::tellable;

/// Where this device listens.
#[derive(Debug, Default)]
pub(crate) struct Listening(Mutex<Vec<Address>>);

impl Listening {
    /// It listens there, too.
    pub(crate) fn add(&self, addresses: &[Address]) {
        self.lock().extend_from_slice(addresses);
    }

    /// It listens nowhere.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// What a peer is told of it.
    pub(crate) fn told(&self) -> Vec<String> {
        tellable(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Address>> {
        // A panic elsewhere leaves a list that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
