//! `serve`: run until told to leave.

use super::{Exit, ServeArguments, complain};

/// Runs the server.
pub(super) fn serve(arguments: &ServeArguments) -> Exit {
    complain(&format!("cannot serve {}: not yet built", arguments.config()));
    Exit::Environment
}
