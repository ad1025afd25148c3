//! Arguments → command → exit code. One file a command.
//!
//! Results go to stdout, everything else to stderr. A reader that goes away (`pointsman schema | head -1`) ends a
//! command quietly.

mod arguments;
mod check;
mod exit;
mod explain;
mod junit;
mod listen;
mod offline;
mod publish;
mod schema;
mod serve;
mod test;
#[cfg(test)]
mod tests;
mod ways;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;

use self::arguments::{Arguments, Command};
pub use self::arguments::{Format, ServeArguments};
pub use self::exit::Exit;

/// Runs the command that these arguments name, the first being the program's own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    crate::runtime::cryptography();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where even this cannot be printed there is nobody to tell.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage } else { Exit::Fine };
        }
    };
    match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(arguments) => serve::serve(&arguments),
        Command::Check(arguments) => {
            let colour = is_coloured(&io::stdout());
            check::check(&arguments.config(), arguments.format, &mut io::stdout().lock(), colour)
        }
        Command::Test(arguments) => {
            let colour = is_coloured(&io::stdout());
            test::test(&arguments, &mut io::stdout().lock(), colour)
        }
        Command::Explain(arguments) => {
            let colour = is_coloured(&io::stdout());
            explain::explain_event(&arguments, &mut io::stdout().lock(), colour)
        }
        Command::Schema(arguments) => print(&schema::schema(arguments.of, arguments.format)),
        Command::Publish(arguments) => publish::publish(arguments),
        Command::Listen(arguments) => listen::listen(&arguments),
    }
}

/// Says on stderr what went wrong. Where stderr is closed there is nobody to tell.
fn complain(what: &str) {
    writeln!(io::stderr().lock(), "pointsman: {what}").ok();
}

/// Whether to use colours on this stream: a terminal, unless `NO_COLOR` asks for none.
fn is_coloured(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a result's line. A reader that has gone away wants no more, and that is fine.
fn print(line: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Fine,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Fine,
        Err(error) => {
            complain(&format!("cannot write to stdout: {error}"));
            Exit::Environment
        }
    }
}

/// A small runtime for a command that talks to a server. `None`, and a word on stderr, where the system has no room.
fn runtime() -> Option<tokio::runtime::Runtime> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            None
        }
    }
}
