//! The authenticator in force, and those that were in force before it and have not answered everything yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Authenticator, Void};

/// The way to the authenticator in force. Cheap to clone.
///
/// Whoever takes it asks it to the end: a token that one has begun to ask for is decided by that one.
#[derive(Clone, Debug)]
pub struct InForce(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    current: Arc<Authenticator>,
    former: Vec<Weak<Authenticator>>,
}

impl InForce {
    /// This one is in force.
    pub fn new(authenticator: Arc<Authenticator>) -> Self {
        Self(Arc::new(Mutex::new(Inner { current: authenticator, former: Vec::new() })))
    }

    /// The one in force now.
    pub fn current(&self) -> Arc<Authenticator> {
        Arc::clone(&self.lock().current)
    }

    /// From now on this one is.
    pub fn replace(&self, authenticator: Arc<Authenticator>) {
        let mut inner = self.lock();
        if Arc::ptr_eq(&inner.current, &authenticator) {
            return;
        }
        let former = std::mem::replace(&mut inner.current, authenticator);
        inner.former.push(Arc::downgrade(&former));
        inner.former.retain(|former| former.strong_count() > 0);
    }

    /// Forgets whom tokens stand for, where that is void: what a former one is still asking is asked anew.
    pub fn forget(&self, void: &Void) {
        let mut inner = self.lock();
        inner.current.forget(void);
        inner.former.retain(|former| match former.upgrade() {
            Some(former) => {
                former.forget(void);
                true
            }
            None => false,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
