//! `serve`: run until told to leave.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use std::{env, process};

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::{Exit, Format, ServeArguments, check, complain, is_coloured};
use crate::config::ConfigFile;
use crate::observe::{self, Metrics};
use crate::pipeline::Pipeline;
use crate::reload::{Origin, Ready, Refusal, Reloader, Trigger};
use crate::runtime::{self, Hangups, Signals};

/// Signals this close together are one.
const SAME_WORD: Duration = Duration::from_millis(100);

/// Runs the server.
pub(super) fn serve(arguments: &ServeArguments) -> Exit {
    if let Err(error) = observe::start_log(arguments.log) {
        complain(&error.to_string());
        return Exit::Usage;
    }
    runtime::raise_descriptor_limit();
    let instance = arguments.instance.clone().unwrap_or_else(runtime::instance);
    let origin =
        Origin { file: arguments.config(), instance: instance.into(), environment: |name| env::var(name).ok() };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let control = match builder.worker_threads(1).thread_name("control").enable_all().build() {
        Ok(control) => control,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Environment;
        }
    };
    let exit = control.block_on(run(origin, control.handle()));
    // What still runs there, a query that hangs for instance, shall not hold up the end.
    control.shutdown_background();
    exit
}

async fn run(origin: Origin, control: &Handle) -> Exit {
    let (mut signals, hangups) = match (Signals::new(), Hangups::new()) {
        (Ok(signals), Ok(hangups)) => (signals, hangups),
        (Err(error), _) | (_, Err(error)) => {
            complain(&format!("cannot listen for signals: {error}"));
            return Exit::Environment;
        }
    };
    let (begun, metrics) = (Instant::now(), Arc::new(Metrics::new()));
    let ready = match Ready::first(&origin, &metrics).await {
        Ok(ready) => ready,
        Err(refusal @ (Refusal::Database(_) | Refusal::Provider(_))) => {
            complain(&refusal.to_string());
            return Exit::Environment;
        }
        Err(refusal) => {
            return check::refuse(
                &origin.file,
                refusal,
                Format::Human,
                &mut io::stderr().lock(),
                is_coloured(&io::stderr()),
            );
        }
    };
    let demo = ready.config.demo;
    let Origin { file, instance, .. } = origin.clone();
    let pipeline = match Pipeline::start(origin, ready, begun.elapsed(), metrics, control) {
        Ok(pipeline) => pipeline,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Environment;
        }
    };
    control.spawn(take_up_on(hangups, pipeline.reloader.clone()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %file, %instance, "running");
    if demo {
        welcome(&pipeline, &file);
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

/// Has the files taken up at each of these signals.
async fn take_up_on(mut hangups: Hangups, reloader: Reloader) {
    loop {
        hangups.next().await;
        reloader.attempt(Trigger::Sighup).await;
    }
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
