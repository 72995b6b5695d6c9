//! The stdio of the container's own process, of which each life has one of its own.

use super::{Bounds, Streams};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The streams of the current life; a handle, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Current(Arc<Mutex<Arc<Streams>>>);

impl Current {
    /// Of the first life.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Streams::new(Bounds::default()))))
    }

    /// Those of the life that is, or was the last.
    pub(crate) fn get(&self) -> Arc<Streams> {
        Arc::clone(&self.lock())
    }

    /// Another life begins. Clients of the last one were told its end; its output is no more kept.
    pub(crate) fn renew(&self) {
        *self.lock() = Streams::new(Bounds::default());
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Streams>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
