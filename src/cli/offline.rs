//! A rulebook for commands that run nothing: from files, with no database behind its queries.

use std::io::Write;

use super::{Exit, Format, check};
use crate::config::{Config, ConfigFile, Diagnostics, ReadTests};
use crate::reload::{Compiled, Origin, Refusal};

/// Reads a configuration, and hands it to `more` for what else is made of it. What is wrong is said on `out`.
pub(super) fn offline<T>(
    file: &ConfigFile,
    tests: ReadTests,
    more: impl FnOnce(&Config) -> Result<T, Diagnostics>,
    format: Format,
    out: &mut dyn Write,
    colour: bool,
) -> Result<(Compiled, T), Exit> {
    let environment = |name: &str| std::env::var(name).ok();
    let origin = Origin { file: file.clone(), instance: "offline".into(), environment };
    let made = origin.compile(tests).and_then(|compiled| {
        let more = more(&compiled.config).map_err(Refusal::Invalid)?;
        Ok((compiled, more))
    });
    made.map_err(|refusal| check::refuse(file, refusal, format, out, colour))
}
