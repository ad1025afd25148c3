//! `pointsman explain`: what the rules make of one event. Touches nothing but files.

use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use compact_str::CompactString;
use serde_json::json;

use super::arguments::ExplainArguments;
use super::offline::offline;
use super::{Exit, Format, complain};
use crate::config::{Given, MAX_EVENT, ReadTests, Situation, situation};
use crate::event::Scalar;
use crate::explain::{Person, Published, explain};

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: io::Error },
    #[error("{path} is larger than {} MiB, which is more than an event may have", MAX_EVENT >> 20)]
    TooLarge { path: String },
    #[error("`--header` is written NAME=VALUE, and `{0}` has no `=`")]
    Header(String),
    #[error("stdin can be one thing only: the event, the sessions or the queries")]
    Stdin,
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } => Exit::Environment,
            Self::TooLarge { .. } => Exit::AtFault,
            Self::Header(_) | Self::Stdin => Exit::Usage,
        }
    }
}

/// Tells what the rules make of the event.
pub(super) fn explain_event(arguments: &ExplainArguments, out: &mut dyn Write, colour: bool) -> Exit {
    let is_json = arguments.format == Format::Json;
    match try_explain(arguments, out, colour) {
        Ok(exit) => exit,
        Err(failure) => {
            if is_json {
                writeln!(out, "{}", json!({ "error": failure.to_string() })).ok();
            } else {
                complain(&failure.to_string());
            }
            failure.exit()
        }
    }
}

fn try_explain(arguments: &ExplainArguments, out: &mut dyn Write, colour: bool) -> Result<Exit, Failure> {
    let file = arguments.config();
    let is_json = arguments.format == Format::Json;
    let paths = [Some(arguments.event.as_path()), arguments.sessions.as_deref(), arguments.queries_file()];
    if paths.into_iter().flatten().filter(|path| *path == Path::new("-")).count() > 1 {
        return Err(Failure::Stdin);
    }
    let published = Published {
        body: Bytes::from(read(&arguments.event)?),
        routing_key: arguments.routing_key.clone(),
        headers: arguments.header.iter().map(|header| self::header(header)).collect::<Result<_, _>>()?,
    };
    let mut sessions = Vec::new();
    for text in &arguments.session {
        sessions.push(Given { name: "--session".to_owned(), text: text.clone() });
    }
    if let Some(path) = &arguments.sessions {
        sessions.push(given(path)?);
    }
    let mut queries = Vec::new();
    if let Some(queried) = &arguments.queries {
        queries.push(match arguments.queries_file() {
            Some(path) => given(path)?,
            None => Given { name: "--queries".to_owned(), text: queried.clone() },
        });
    }
    let more = |config: &_| situation(&sessions, &queries, config);
    let made = offline(&file, ReadTests::AsConfigured, more, arguments.format, out, colour);
    let (compiled, Situation { sessions, queries }) = match made {
        Ok(made) => made,
        Err(exit) => return Ok(exit),
    };
    let people: Vec<Person> = sessions.iter().map(Person::from).collect();
    let written = match explain(&compiled.rulebook, &published, &people, &queries) {
        Err(error) => {
            let path = shown(&arguments.event);
            if is_json {
                writeln!(out, "{}", json!({ "error": error.to_string() })).ok();
            } else {
                complain(&format!("{path} is no event: {error}"));
            }
            return Ok(Exit::AtFault);
        }
        Ok(explanation) if is_json => match serde_json::to_string(&explanation) {
            Ok(json) => writeln!(out, "{json}"),
            Err(error) => Err(error.into()),
        },
        Ok(explanation) => explanation.render(out, colour),
    };
    // A reader that has gone away wants no more.
    written.and_then(|()| out.flush()).ok();
    Ok(Exit::Fine)
}

fn given(path: &Path) -> Result<Given, Failure> {
    let bytes = read(path)?;
    let name = shown(path);
    let Ok(text) = String::from_utf8(bytes) else {
        let error = io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
        return Err(Failure::Read { path: name, error });
    };
    Ok(Given { name, text })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = MAX_EVENT as u64 + 1;
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::Read { path: shown(path), error })?;
    if bytes.len() > MAX_EVENT { Err(Failure::TooLarge { path: shown(path) }) } else { Ok(bytes) }
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "<stdin>".to_owned() } else { path.display().to_string() }
}

fn header(text: &str) -> Result<(CompactString, Scalar), Failure> {
    let (name, value) = text.split_once('=').ok_or_else(|| Failure::Header(text.to_owned()))?;
    // As JSON where it is that, so that numbers and truth values can be said; else as text.
    let parsed = serde_json::from_str(value).ok().and_then(|value| Scalar::from_json(&value));
    Ok((name.into(), parsed.unwrap_or_else(|| Scalar::Text(value.into()))))
}
