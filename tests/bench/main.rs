//! The project's own benchmarks: the built program beside the least that could do the same work, in one run.
//!
//! `cargo bench --bench bench -- t1` (or `t3`, `t4`, `t5`, `t7`, `t8`, `t9`, `swaps`, `guests`, or `all`, which is the default) prints a table for the README.
//! `--short` only shows that everything works; its figures mean nothing.
//!
//! Machines differ and are noisy, so what counts is the ratio to the baseline that ran in turn with the program, pinned
//! to the same core, under the same load generator. One file a benchmark (`t1`, `t3`, ...), each made of the same
//! parts: a [`server`] under test, the load that is put on it ([`load`], [`targeted`]), and a [`report`]. Where events
//! come over AMQP, [`broker`] is a real RabbitMQ, which is started for the run. What takes less than a microsecond or some
//! is measured within this program ([`micro`]).

mod baseline;
mod broker;
mod client;
mod consumer;
mod crowd;
mod feed;
mod frame;
mod guests;
mod load;
mod machine;
mod micro;
mod process;
mod publish;
mod report;
mod server;
mod stats;
mod support;
mod swaps;
mod t1;
mod t3;
mod t4;
mod t5;
mod t7;
mod t8;
mod t9;
mod targeted;

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use broker::Broker;
use machine::Cores;
use server::Subject;

/// What can go wrong here ends the run with a sentence; nobody tells one fault from another.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

// The program's own: the bare consumer shall not lose by what is no part of its work.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Benchmarks of the whole program beside their baselines.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value = "all")]
    work: Vec<Work>,
    /// A form of some seconds that only shows that everything works
    #[arg(long)]
    short: bool,
    /// How often each subject is measured, in turn [default: 5 for t1, t4 and t9, 3 for t3, 7 for t5, 21 for t7 and t8]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Measure the baseline beside itself: how exact a ratio is on this machine
    #[arg(long)]
    baseline_only: bool,
    /// Given by `cargo bench`
    #[arg(long = "bench", hide = true)]
    by_cargo_bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// Broadcast to 1,000 connections, one event at a time
    T1,
    /// Memory of 10,000 idle sessions
    T3,
    /// Events for one of 2,500 users each, to 5,000 connections, flat out over AMQP
    T4,
    /// The same at 1,000 events a second: latency
    T5,
    /// One event by the fast path, among 50 and 5,000 routes
    T7,
    /// One event by a script
    T8,
    /// Reload of 500 routes and 20 plugins while events flow
    T9,
    /// 200 changes of rules while events flow: nothing lost, doubled or mixed
    Swaps,
    /// One tenant's plugins run away: what others' events take meanwhile
    Guests,
    /// Everything
    All,
}

/// What all benchmarks are told.
#[derive(Clone, Copy, Debug)]
struct Options {
    cores: Cores,
    short: bool,
    rounds: Option<u16>,
    subjects: &'static [Subject],
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some(baseline::ARGUMENT) => baseline::run(),
        Some(consumer::ARGUMENT) => consumer::run(&arguments[1..]),
        Some(_) => measure(&Arguments::parse()),
        // `cargo test --all-targets` starts benchmarks too, with no argument at all.
        None => {
            eprintln!("nothing is measured: run `cargo bench --bench bench`, or see --help");
            Ok(())
        }
    };
    if let Err(error) = done {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let options = Options {
        cores: machine::cores()?,
        short: arguments.short,
        rounds: arguments.rounds,
        subjects: if arguments.baseline_only {
            &[Subject::Bare, Subject::Bare]
        } else {
            &[Subject::Bare, Subject::Pointsman]
        },
    };
    machine::raise_descriptor_limit();
    let asked = |work| arguments.work.iter().any(|asked| *asked == work || *asked == Work::All);
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n", machine::describe(options.cores))?;
    if options.short {
        writeln!(out, "Short form: it shows that the benchmarks work, its figures mean nothing.\n")?;
    }
    let watch = machine::Disturbance::watch();
    if asked(Work::T1) {
        writeln!(out, "{}", t1::run(options)?)?;
    }
    if asked(Work::T3) {
        writeln!(out, "{}", t3::run(options)?)?;
    }
    if asked(Work::T7) {
        writeln!(out, "{}", t7::run(options)?)?;
    }
    if asked(Work::T8) {
        writeln!(out, "{}", t8::run(options)?)?;
    }
    if asked(Work::Swaps) {
        writeln!(out, "{}", swaps::run(options)?)?;
    }
    if [Work::T4, Work::T5, Work::T9, Work::Guests].into_iter().any(asked) {
        let broker = Broker::start(options.cores)?;
        if asked(Work::T4) {
            writeln!(out, "{}", t4::run(options, &broker)?)?;
        }
        if asked(Work::T5) {
            writeln!(out, "{}", t5::run(options, &broker)?)?;
        }
        if asked(Work::T9) {
            writeln!(out, "{}", t9::run(options, &broker)?)?;
        }
        if asked(Work::Guests) {
            writeln!(out, "{}", guests::run(options, &broker)?)?;
        }
    }
    if let Some(note) = watch.note() {
        writeln!(out, "{note}")?;
    }
    Ok(())
}
