//! From a plugin's file to a plugin: compiled, run once, and looked at for what it says it has.

use std::rc::Rc;

use mlua::{Table, Value};

use super::asks::asks;
use super::fault::{failure, split};
use super::host::{Call, Host};
use super::sandbox::{Sandbox, compiler};
use super::value::{describe, list};
use super::{Plugin, PluginFault, ScriptLimits};
use crate::config::{Hook, PluginFile, similar};
use crate::event::Path;

/// Bytes of a plugin's file.
const LARGEST: usize = 1 << 20;
/// Fields that a plugin declares: parameters of one function. Who wants more takes the whole event.
const MOST_FIELDS: usize = 100;

pub(super) const HOOKS: [Hook; 3] = [Hook::Route, Hook::Authorize, Hook::Authenticate];

/// Compiles a plugin. See [`Plugin::compile`].
pub(super) fn compile(file: &PluginFile, limits: ScriptLimits) -> Result<Plugin, Vec<PluginFault>> {
    // Some editors begin a file with a mark of its encoding.
    let text = file.text().trim_start_matches('\u{feff}');
    let bytecode = bytecode(text).map_err(|fault| vec![fault])?;
    let host = Host::new(limits, Box::new(|_| ()));
    let sandbox = Sandbox::new(Rc::clone(&host)).map_err(|error| vec![fault(None, error.to_string())])?;
    let returned = sandbox.run(&file.name, &bytecode).map_err(|error| {
        let stopped = host.guard.has_stopped().then(|| host.guard.complaint());
        let mut top_level = Call::new(None);
        top_level.raised = host.raised.take();
        let error = failure(&file.name, &error, Some(&top_level), stopped);
        // Whoever shows a fault shows its file and line.
        let (_, message) = split(&file.name, &error.message);
        let message = message.strip_prefix(&format!("{}: ", file.name)).unwrap_or(message);
        vec![fault(error.line, format!("the plugin cannot be loaded: {message}"))]
    })?;
    let Value::Table(table) = returned else {
        let message = format!("a plugin returns a table of hooks, and this one returns {}", describe(&returned));
        return Err(vec![PluginFault {
            help: Some("end the file with `return { route = function(event, to, params) ... end }`".to_owned()),
            ..fault(None, message)
        }]);
    };
    let mut faults = Vec::new();
    let fields = fields(&table, text, &mut faults);
    look_at_names(&table, text, &mut faults);
    look_for_hooks(&table, file, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let sites = file.sites.iter().map(|site| (site.hook, site.with.to_string())).collect();
    let (name, asks, says_payload) = (file.name.clone(), asks(text), text.contains("payload"));
    Ok(Plugin { name, fields, asks, says_payload, limits, bytecode: bytecode.into(), sites })
}

fn fault(line: Option<usize>, message: String) -> PluginFault {
    PluginFault { line, message, help: None }
}

fn bytecode(text: &str) -> Result<Vec<u8>, PluginFault> {
    if text.len() > LARGEST {
        return Err(fault(None, format!("the plugin is larger than {} KiB", LARGEST >> 10)));
    }
    if let Some(at) = text.find('\0') {
        let line = text[..at].matches('\n').count() + 1;
        return Err(fault(Some(line), "this is no text: it holds a NUL".to_owned()));
    }
    compiler().compile(text).map_err(|error| {
        let message = match error {
            mlua::Error::SyntaxError { message, .. } => message,
            other => other.to_string(),
        };
        // `7: Expected 'end' ...`
        let place = message.trim_start_matches(':').split_once(": ");
        match place.and_then(|(line, rest)| Some((line.parse().ok()?, rest.to_owned()))) {
            Some((line, rest)) => fault(Some(line), rest),
            None => fault(None, message),
        }
    })
}

/// The fields that it declares. `None` for the whole body.
fn fields(table: &Table, text: &str, faults: &mut Vec<PluginFault>) -> Option<Box<[Path]>> {
    let declared: Value = table.raw_get("fields").ok()?;
    if declared.is_nil() {
        return None;
    }
    let mut paths = Vec::new();
    let read = list::<()>(&declared, MOST_FIELDS, |field| {
        let name = field.as_string().and_then(|name| name.to_str().ok());
        let Some(name) = name else {
            let message = format!("a field is the text of a path, and this is {}", describe(field));
            faults.push(fault(line_of(text, "fields"), message));
            return Ok(None);
        };
        match Path::parse(&name) {
            Ok(path) => paths.push(path),
            Err(error) => {
                let line = quoted(text, &name).or_else(|| line_of(text, "fields"));
                faults.push(fault(line, error.to_string()));
            }
        }
        Ok(None)
    });
    if let Err(message) = read {
        let help = Some("fields = { \"data.deal_id\" }, or no `fields` at all for the whole event".to_owned());
        faults.push(PluginFault { help, ..fault(line_of(text, "fields"), format!("`fields`: {message}")) });
    }
    // The whole body is what a plugin gets that declares none.
    let is_whole = |path: &Path| path.to_string() == ".";
    (!paths.iter().any(is_whole)).then(|| paths.into())
}

/// Every name must be known, and every hook a function.
fn look_at_names(table: &Table, text: &str, faults: &mut Vec<PluginFault>) {
    let known = || HOOKS.iter().map(|hook| hook.name()).chain(["fields"]);
    let mut wrong = Vec::new();
    for (key, value) in table.pairs::<Value, Value>().filter_map(Result::ok) {
        let name = key.as_string().and_then(|name| name.to_str().ok()).map(|name| name.to_owned());
        match name {
            Some(name) if name == "fields" => {}
            Some(name) if known().any(|known| known == name) => {
                if !value.is_function() {
                    let message = format!("`{name}` is a function, and this is {}", describe(&value));
                    wrong.push(fault(line_of(text, &name), message));
                }
            }
            Some(name) => {
                let help = match similar(&name, known()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "a plugin returns `route`, `authorize`, `authenticate` and `fields`".to_owned(),
                };
                let message = format!("`{name}` is nothing that a plugin has");
                wrong.push(PluginFault { help: Some(help), ..fault(line_of(text, &name), message) });
            }
            None => wrong.push(fault(None, format!("a plugin's table has names, and this is {}", describe(&key)))),
        }
    }
    // A table has no order of its own.
    wrong.sort_by(|left, right| (left.line, &left.message).cmp(&(right.line, &right.message)));
    faults.append(&mut wrong);
}

/// Every hook that a rule asks for must be there.
fn look_for_hooks(table: &Table, file: &PluginFile, faults: &mut Vec<PluginFault>) {
    for hook in HOOKS {
        let Some(site) = file.sites.iter().find(|site| site.hook == hook) else { continue };
        if table.raw_get::<Value>(hook.name()).is_ok_and(|value| value.is_nil()) {
            faults.push(PluginFault {
                help: Some(format!("give it one: {}", example(hook))),
                ..fault(None, format!("the plugin has no `{}`, which is asked of it at {}", hook.name(), site.place))
            });
        }
    }
}

fn example(hook: Hook) -> &'static str {
    match hook {
        Hook::Route => "route = function(event, to, params) ... end",
        Hook::Authorize => "authorize = function(session, topic, params) return false end",
        Hook::Authenticate => "authenticate = function(token, request, params) return nil end",
    }
}

/// The last line on which a name stands as a word that something is given to.
fn line_of(text: &str, name: &str) -> Option<usize> {
    let gives = |line: &str| {
        line.match_indices(name).any(|(at, _)| {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            !line[..at].ends_with(is_word) && line[at + name.len()..].trim_start().starts_with('=')
        })
    };
    text.lines().enumerate().filter(|(_, line)| gives(line)).last().map(|(index, _)| index + 1)
}

fn quoted(text: &str, inside: &str) -> Option<usize> {
    let found = ["\"", "'"].iter().find_map(|quote| text.find(&format!("{quote}{inside}{quote}")))?;
    Some(text[..found].matches('\n').count() + 1)
}
