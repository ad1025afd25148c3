//! `serve`: run until told to leave.

use std::io::{self, Write};
use std::time::Duration;
use std::{env, process};

use tokio::runtime::Handle;

use super::{Exit, ServeArguments, check, complain, is_coloured};
use crate::config::{self, ConfigFile, Loaded};
use crate::observe;
use crate::pipeline::Pipeline;
use crate::runtime::{self, Signals};

/// Signals this close together are one.
const SAME_WORD: Duration = Duration::from_millis(100);

/// Runs the server.
pub(super) fn serve(arguments: &ServeArguments) -> Exit {
    if let Err(error) = observe::start_log(arguments.log) {
        complain(&error.to_string());
        return Exit::Usage;
    }
    let instance = arguments.instance.clone().unwrap_or_else(runtime::instance);
    let file = arguments.config();
    let loaded = match config::load(&file, &instance, &|name| env::var(name).ok()) {
        Ok(loaded) => loaded,
        Err(error) => return check::refuse(&file, error, &mut io::stderr().lock(), is_coloured(&io::stderr())),
    };
    for warning in loaded.warnings.iter() {
        tracing::warn!(place = %warning.place, help = warning.help, "{}", warning.message);
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let control = match builder.worker_threads(1).thread_name("control").enable_all().build() {
        Ok(control) => control,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Environment;
        }
    };
    let exit = control.block_on(run(loaded, &file, &instance, control.handle()));
    // What still runs there, a query that hangs for instance, shall not hold up the end.
    control.shutdown_background();
    exit
}

async fn run(loaded: Loaded, file: &ConfigFile, instance: &str, control: &Handle) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("cannot listen for signals: {error}"));
            return Exit::Environment;
        }
    };
    let Loaded { config, hash, .. } = loaded;
    let demo = config.demo;
    let pipeline = match Pipeline::start(config, instance, control).await {
        Ok(pipeline) => pipeline,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Environment;
        }
    };
    pipeline.metrics.set_config(&file.to_string(), &hash);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %file, instance, "running");
    if demo {
        welcome(&pipeline, file);
    }
    let exit = tokio::select! {
        (signal, _) = signals.next() => {
            tracing::info!(signal, "leaving: clients are told to come back");
            Exit::Fine
        }
        reason = pipeline.given_up() => {
            tracing::error!(reason, "leaving: the broker is lost, and `amqp.when_lost` is `exit`");
            Exit::Environment
        }
    };
    tokio::select! {
        () = pipeline.leave() => tracing::info!("left"),
        (signal, number) = second(&mut signals) => {
            tracing::warn!(signal, "asked again: ending at once");
            process::exit(128 + i32::from(number));
        }
    }
    exit
}

/// Waits for the signal that ends it at once. One that comes with the first is the same word said twice, as by whoever
/// signals both a process and its group.
async fn second(signals: &mut Signals) -> (&'static str, u8) {
    let once = async {
        loop {
            signals.next().await;
        }
    };
    tokio::time::timeout(SAME_WORD, once).await.ok();
    signals.next().await
}

/// What to open and what to try. A reader of stdout that has gone away misses nothing that the log does not say.
fn welcome(pipeline: &Pipeline, file: &ConfigFile) {
    let program = env::args().next().unwrap_or_else(|| "pointsman".to_owned());
    let (clients, admin) = (pipeline.clients, pipeline.admin);
    let s = if pipeline.is_secure { "s" } else { "" };
    // The client of the command line speaks no TLS.
    let listen = if pipeline.is_secure {
        String::new()
    } else {
        format!("\n         {program} listen --token demo-bob --topic deal:42 --server ws://{clients}/")
    };
    writeln!(
        io::stdout().lock(),
        "
Pointsman runs its demo ({file}): two tenants, five people, events by HTTP.

  Open   http{s}://{clients}/   and see who gets what, and who does not

  Or in terminals:{listen}
         echo '{{\"data\":{{\"type\":\"deal.moved\",\"tenant_id\":\"acme\",\"deal_id\":42,\"actor_id\":1}}}}' |
           {program} publish - --server http://{admin}

  Look   http://{admin}/metrics

Ctrl-C leaves.
"
    )
    .ok();
}
