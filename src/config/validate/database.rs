//! The `database` section.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Queries;
use crate::config::diagnostics::Diagnostics;
use crate::config::files::Files;
use crate::config::model::Database;
use crate::config::raw::{At, Field, RawDatabase, SecretUrl};

const POOL_MAX: u32 = 10;
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn database(
    raw: &RawDatabase,
    queries: &Queries,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Option<Database> {
    let url = raw.url.given().and_then(|url| sqlite(url, files, diagnostics));
    let init = init(raw, url.as_ref(), files, diagnostics);
    let pool = raw.pool.value();
    let max = pool.and_then(|pool| pool.max.value());
    let timeout = pool.and_then(|pool| pool.timeout.value());
    Some(Database {
        url: url?.text,
        init: init?,
        pool_max: max.map_or(POOL_MAX, |max| u32::try_from(max.0).unwrap_or(u32::MAX)),
        timeout: timeout.map_or(TIMEOUT, |span| span.0),
        queries: queries.all()?,
    })
}

/// A `sqlite:` URL.
struct Sqlite {
    text: SecretString,
    in_memory: bool,
}

/// Never repeats the URL: there may be a password in it.
fn sqlite(url: &At<SecretUrl>, files: &Files, diagnostics: &mut Diagnostics) -> Option<Sqlite> {
    let text = url.value.0.expose_secret();
    let help = "write sqlite:FILE, or sqlite::memory:";
    let Some((scheme, rest)) = text.split_once(':') else {
        url.fault("this is no database URL", diagnostics).help(help);
        return None;
    };
    match scheme {
        "sqlite" => {}
        "postgres" | "postgresql" | "mysql" | "mariadb" => {
            url.fault(&format!("`{scheme}://` is not yet supported"), diagnostics).help(help);
            return None;
        }
        _ => {
            url.fault("this URL's scheme is no database's", diagnostics).help(help);
            return None;
        }
    }
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, parameters) = rest.split_once('?').map_or((rest, None), |(path, rest)| (path, Some(rest)));
    if path.is_empty() {
        url.fault("this URL names no database", diagnostics).help(help);
        return None;
    }
    if path == ":memory:" || parameters.is_some_and(|parameters| parameters.split('&').any(|p| p == "mode=memory")) {
        return Some(Sqlite { text: SecretString::from(text), in_memory: true });
    }
    let path = match files.folder_of(&url.place) {
        Some(folder) if !path.starts_with('/') && !folder.is_empty() => format!("{}/{path}", encoded(&folder)),
        _ => path.to_owned(),
    };
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    Some(Sqlite { text: SecretString::from(format!("sqlite://{path}{parameters}")), in_memory: false })
}

/// What would end a URL's path early is written in its encoded form.
fn encoded(folder: &str) -> String {
    folder.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

fn init(
    raw: &RawDatabase,
    url: Option<&Sqlite>,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(PathBuf, String)>> {
    let scripts = match &raw.init {
        Field::Missing => return Some(Vec::new()),
        Field::Faulty => return None,
        Field::Given(scripts) => scripts,
    };
    if url.is_some_and(|url| !url.in_memory) && !scripts.value.is_empty() {
        let message = "`init` is for databases in memory, and this one is a file";
        diagnostics.error(&scripts.place, message).help("create the file's tables once, by hand");
    }
    let each = |script: &At<_>| {
        let source = files.read_beside(script, diagnostics)?;
        Some((source.path().to_owned(), source.text().to_owned()))
    };
    let all: Vec<_> = scripts.value.iter().map(each).collect();
    all.into_iter().collect()
}
