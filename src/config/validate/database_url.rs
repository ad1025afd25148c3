//! The URL of a database.
//!
//! Invariant: no message repeats a part of it that may be a password.

use secrecy::{ExposeSecret, SecretString};

use super::web_url::is_private_name;
use crate::config::diagnostics::{Diagnostics, did_you_mean};
use crate::config::files::Files;
use crate::config::raw::{At, SecretUrl};
use crate::lookup::check_url;
use crate::lookup::scan::Dialect;

const FORMS: &str = "write postgres://user:password@host/database, mysql://user:password@host/database, \
                     sqlite:FILE or sqlite::memory:";
/// The warning about a server that is reached over an open network without required TLS.
const RISK: &str = "passwords and rows may travel unencrypted to this server: TLS is optional by this URL";
/// The parameters that say whether TLS is required.
const TLS_MODES: [&str; 2] = ["sslmode", "ssl-mode"];
/// The values of these with which a connection may do without TLS. `prefer` is the default.
const TLS_OPTIONAL: [&str; 5] = ["disable", "disabled", "allow", "prefer", "preferred"];
const ENCODE: &str = "percent-encode `/`, `?`, `#` and `@` in the user and password";

/// Of each kind of server, the parameters that its URL may have.
const POSTGRES: [&str; 16] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "ssl-mode",
    "ssl-root-cert",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
    "options",
];
const MYSQL: [&str; 13] = [
    "ssl-mode",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "sslmode",
    "sslca",
    "sslcert",
    "sslkey",
    "charset",
    "collation",
    "socket",
    "timezone",
    "time-zone",
];
/// Those that name a file.
const FILES: [&str; 8] =
    ["sslrootcert", "sslcert", "sslkey", "ssl-root-cert", "ssl-ca", "ssl-cert", "ssl-key", "sslca"];

/// A URL that names a database.
pub(super) struct Url {
    pub(super) text: SecretString,
    pub(super) dialect: Dialect,
    pub(super) in_memory: bool,
}

/// Reads a URL; relative paths in it become relative to where the program runs.
pub(super) fn url(url: &At<SecretUrl>, files: &Files, diagnostics: &mut Diagnostics) -> Option<Url> {
    let text = url.value.0.expose_secret();
    let Some((scheme, rest)) = text.split_once(':') else {
        url.fault("this is no database URL", diagnostics).help(FORMS);
        return None;
    };
    let Some(dialect) = Dialect::of_scheme(scheme) else {
        url.fault("this URL's scheme is no database's", diagnostics).help(FORMS);
        return None;
    };
    if dialect == Dialect::Sqlite {
        return sqlite(rest, url, files, diagnostics);
    }
    let text = server(dialect, scheme, rest, url, files, diagnostics)?;
    if let Err(error) = check_url(dialect, text.expose_secret()) {
        url.fault(&format!("this URL cannot be read: {error}"), diagnostics).help(ENCODE);
        return None;
    }
    Some(Url { text, dialect, in_memory: false })
}

/// The dialect of the queries, where the URL has said it.
pub(super) fn dialect(url: &At<SecretUrl>) -> Option<Dialect> {
    let (scheme, _) = url.value.0.expose_secret().split_once(':')?;
    Dialect::of_scheme(scheme)
}

fn sqlite(rest: &str, url: &At<SecretUrl>, files: &Files, diagnostics: &mut Diagnostics) -> Option<Url> {
    let dialect = Dialect::Sqlite;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, parameters) = rest.split_once('?').map_or((rest, None), |(path, rest)| (path, Some(rest)));
    if path.is_empty() {
        url.fault("this URL names no database", diagnostics).help(FORMS);
        return None;
    }
    if path == ":memory:" || parameters.is_some_and(|parameters| parameters.split('&').any(|p| p == "mode=memory")) {
        return Some(Url { text: url.value.0.clone(), dialect, in_memory: true });
    }
    let path = match files.folder_of(&url.place) {
        Some(folder) if !path.starts_with('/') && !folder.is_empty() => format!("{}/{path}", encoded(&folder)),
        _ => path.to_owned(),
    };
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    Some(Url { text: SecretString::from(format!("sqlite://{path}{parameters}")), dialect, in_memory: false })
}

/// What would end a URL's path early is written in its encoded form.
fn encoded(folder: &str) -> String {
    folder.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

/// A server's URL.
fn server(
    dialect: Dialect,
    scheme: &str,
    rest: &str,
    url: &At<SecretUrl>,
    files: &Files,
    diagnostics: &mut Diagnostics,
) -> Option<SecretString> {
    let mut fault = |message: &str, help: &str| {
        url.fault(message, diagnostics).help(help);
        None
    };
    let Some(rest) = rest.strip_prefix("//") else { return fault("this is no database URL", FORMS) };
    let (before, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if rest.contains('#') || parameters.contains('@') {
        return fault("this URL has a character in it that must be encoded", ENCODE);
    }
    let (authority, database) = before.split_once('/').unwrap_or((before, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let given: Vec<(&str, &str)> = parameters
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .collect();
    let has = |keys: &[&str]| given.iter().any(|(key, value)| keys.contains(key) && !value.is_empty());
    if name.is_empty() && !has(&["host", "hostaddr", "socket"]) {
        return fault("this URL has no host", FORMS);
    }
    if port.is_some_and(|port| !port.is_empty() && port.parse::<u16>().is_err()) {
        return fault("this URL's port is no number up to 65535", ENCODE);
    }
    if database.is_empty() && !has(&["dbname"]) {
        return fault("this URL names no database", FORMS);
    }
    let place = ["hostaddr", "host"].iter().find_map(|key| Some(given.iter().find(|(given, _)| given == key)?.1));
    let is_near = has(&["socket"]) || is_near(place.unwrap_or(name));
    let mode = given.iter().find(|(key, _)| TLS_MODES.contains(key)).map_or("prefer", |(_, value)| value);
    let may_be_plain = TLS_OPTIONAL.contains(&mode.to_lowercase().as_str());
    let known = if dialect == Dialect::Postgres { &POSTGRES[..] } else { &MYSQL[..] };
    for (key, _) in &given {
        let is_option = dialect == Dialect::Postgres && key.starts_with("options[") && key.ends_with(']');
        if !known.contains(key) && !is_option {
            let meant = did_you_mean(key, known.iter().copied());
            return fault(&format!("this URL has the unknown parameter `{key}`{meant}"), &known_ones(known));
        }
    }
    if may_be_plain && !is_near {
        let required = if dialect == Dialect::Postgres { "sslmode=require" } else { "ssl-mode=REQUIRED" };
        diagnostics.warning(&url.place, RISK).help(format!("add `{required}` to its parameters"));
    }
    let folder = files.folder_of(&url.place).filter(|folder| !folder.is_empty());
    let parameter = |(key, value): &(&str, &str)| match &folder {
        Some(folder) if FILES.contains(key) && !value.starts_with('/') && !value.to_lowercase().starts_with("%2f") => {
            let folder: String = form_urlencoded::byte_serialize(folder.as_bytes()).collect();
            format!("{key}={folder}/{value}")
        }
        _ => format!("{key}={value}"),
    };
    let parameters: Vec<String> = given.iter().map(parameter).collect();
    let mark = if parameters.is_empty() { "" } else { "?" };
    Some(SecretString::from(format!("{scheme}://{before}{mark}{}", parameters.join("&"))))
}

/// Whether a host is a socket of this machine, or is reached by a network of its own.
fn is_near(host: &str) -> bool {
    let host = host.to_lowercase().replace("%2f", "/");
    host.starts_with('/') || is_private_name(&host)
}

fn known_ones(known: &[&str]) -> String {
    format!("known here: {}", known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))
}
