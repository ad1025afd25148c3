//! The soak: the built program among real parts, all of which fail at random, for as long as one likes.
//!
//! `cargo bench --bench soak -- --minutes 30` runs it; `--short` is a form of half a minute that shows that it works.
//! Events of all kinds go by RabbitMQ to sessions of several tenants, some of which come and leave all the time, read
//! slowly, hang behind a dead link, or send rubbish. Meanwhile the broker, the database, the endpoint that knows tokens and
//! the links to them are stopped, killed, paused, cut and silenced, as `--seed` will have it: what is done, when, to which
//! part, and what is published follow from it, but for the time that things take.
//!
//! It fails where an event that a session was owed (the [`ledger`] says which) did not arrive, arrived twice, out of order
//! or at somebody else's; where one of those that stay lost its connection; where the program does not go on by itself; and
//! where, after all of it, it holds more than before: memory, threads, descriptors, sessions.
#![expect(clippy::unwrap_used, clippy::match_wild_err_arm, reason = "a soak that cannot go on fails where it stands")]

mod cast;
mod database;
mod doubt;
mod endpoint;
mod faults;
mod ledger;
mod people;
mod pests;
mod soak;
#[expect(dead_code, reason = "written for the integration tests, of which this needs a part")]
#[path = "../it/support/mod.rs"]
mod support;
mod traffic;
mod vitals;
mod weather;
mod world;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Random faults under load, and what becomes of events, memory and connections.
#[derive(Clone, Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long faults go on
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// A form of half a minute, without faults that take long
    #[arg(long)]
    short: bool,
    /// What chance will have: given again, the same faults and events come again
    #[arg(long)]
    seed: Option<u64>,
    /// Given by `cargo bench`
    #[arg(long = "bench", hide = true)]
    by_cargo_bench: bool,
}

/// What a run is.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    quick: bool,
    /// Before the first fault, and after the last.
    calm: Duration,
    faults: Duration,
}

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benchmarks too, with no argument at all.
    if std::env::args().len() < 2 {
        eprintln!("nothing is soaked: run `cargo bench --bench soak`, or see --help");
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    doubt::check_the_judge();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let plan = if arguments.short {
        Plan { seed, quick: true, calm: Duration::from_secs(4), faults: Duration::from_secs(14) }
    } else {
        let faults = Duration::from_secs_f64(arguments.minutes * 60.0);
        Plan { seed, quick: false, calm: Duration::from_mins(1).min(faults), faults }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(soak::run(plan));
    writeln!(io::stdout().lock(), "{report}").unwrap();
    if report.is_good() {
        return ExitCode::SUCCESS;
    }
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.log");
    std::fs::write(&log, &report.log).unwrap();
    writeln!(io::stdout().lock(), "The server's log is in {}", log.display()).unwrap();
    ExitCode::FAILURE
}
