//! The descriptors that the sockets of this process's threads have, so that none is given to two of them.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Those of all threads: a library is loaded once a process.
static CLAIMED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

fn claimed() -> MutexGuard<'static, BTreeSet<RawFd>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A descriptor that has an owner. To be dropped before the descriptor is closed, whose number is anybody's from then on.
pub struct Claim(RawFd);

impl Claim {
    /// Claims a descriptor that was opened just now.
    pub fn of(socket: &impl AsRawFd) -> Self {
        let descriptor = socket.as_raw_fd();
        claimed().insert(descriptor);
        Self(descriptor)
    }

    /// Claims a descriptor of whatever owner; none where a socket of ours has it.
    pub fn take(descriptor: RawFd) -> Option<Self> {
        let is_free = claimed().insert(descriptor);
        // Made only where it is ours: it gives the number back when it goes.
        is_free.then(|| Self(descriptor))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claimed().remove(&self.0);
    }
}
