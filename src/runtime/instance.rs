//! The name of this process among its like: each has queues of its own, by that name.

use std::fs;

/// The host's name and a random part, so that two processes of one machine are two. Safe in the name of a queue.
pub fn instance() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname"));
    let host: String =
        host.unwrap_or_default().trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let host = if host.is_empty() { "host" } else { &host };
    format!("{host}-{:08x}", fastrand::u32(..))
}
