//! Descriptors: each socket and open file takes one of those that the system lets this process have.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections of the admin listener at most, if the process may have many descriptors.
const ADMIN_CONNECTIONS: usize = 1024;
/// The share of the process's descriptors that these may take at most: one in so many.
const ADMIN_SHARE: usize = 4;

/// Raises the limit of this process as far as the system allows without a privilege: a shell or a container often sets
/// 1,024, and allows many more.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If the system refuses, the limit stays as it is. The admission warns if that is too low.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).ok();
}

/// How many descriptors this process may have.
pub fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// How many connections the admin listener of a process with so many descriptors may hold open. Clients leave as many to it.
pub fn admin_connections(descriptors: usize) -> usize {
    ADMIN_CONNECTIONS.min(descriptors / ADMIN_SHARE)
}

/// Whether an error says that the system is short of descriptors or memory: what was asked of it may work later.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS))
}
