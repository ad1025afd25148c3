//! Pointsman: events to the people who are looking at the data. Arguments → command → exit code.

use std::process::ExitCode;

// Gives memory back after a mass disconnect, where the system's allocator keeps it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    pointsman::runtime::panics_abort();
    pointsman::cli::run(std::env::args_os()).into()
}
