//! What a plugin is handed of an event: the parts that it declares, or all of it, as tables that cannot be changed.

use compact_str::CompactString;
use mlua::{Either, Function, Lua, Table, Value, Variadic};

use super::json::{self, Making, Piece};
use super::sandbox::compiler;
use super::value::piece;
use crate::event::{Decoder, Event, Part, Path, Root, Slot};

/// The parts of an event that a plugin is handed, as parts of one decoder.
#[derive(Clone, Debug)]
pub struct EventView(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The whole body, and what the broker says of it.
    Whole { routing_key: Slot },
    /// What is declared, in the order in which it is.
    Fields(Box<[Field]>),
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Part(Part),
    Slot(Slot),
}

impl EventView {
    /// Has `decoder` note these fields, or everything.
    pub(super) fn new(fields: Option<&[Path]>, decoder: &mut Decoder) -> Self {
        let Some(fields) = fields else {
            decoder.keep_headers();
            let routing_key = Path::parse("amqp.routing_key").map(|path| decoder.slot(&path));
            return Self(Source::Whole { routing_key: routing_key.expect("a path of the language itself") });
        };
        let field = |path: &Path| match path.root() {
            Root::Body => Field::Part(decoder.part(path)),
            Root::RoutingKey | Root::Header(_) => Field::Slot(decoder.slot(path)),
        };
        Self(Source::Fields(fields.iter().map(field).collect()))
    }
}

/// The tables that declared fields are handed over in: a function of one machine, of the fields' values in their order.
pub(super) struct Outline {
    function: Function,
    /// Which fields it takes. One that is a part of another one is there with that.
    fields: Box<[usize]>,
}

/// What stands under a name of a table.
enum Node {
    /// The parameter of this position.
    Parameter(usize),
    Table(Vec<(Name, Node)>),
}

#[derive(PartialEq)]
enum Name {
    Text(String),
    /// Of an element of an array, counted from 1.
    Index(i64),
}

impl Outline {
    /// The outline of these fields, in a machine whose libraries are as they were: nobody has run in it.
    pub(super) fn new(lua: &Lua, fields: &[Path]) -> mlua::Result<Self> {
        let names: Vec<_> = fields.iter().map(names).collect();
        let mut tables = Vec::new();
        let mut taken = Vec::new();
        for (index, path) in names.iter().enumerate() {
            let is_within = |other: &Vec<&str>| other.len() < path.len() && path.starts_with(other);
            if !names.iter().any(is_within) && insert(&mut tables, path, taken.len()) {
                taken.push(index);
            }
        }
        let parameters: Vec<String> = (0..taken.len()).map(|at| format!("p{at}")).collect();
        let mut text = format!("local f = table.freeze return function({}) return ", parameters.join(","));
        Node::Table(tables).write(&mut text);
        text.push_str(" end");
        let function = lua.load(text).set_name("=pointsman").set_compiler(compiler()).eval()?;
        Ok(Self { function, fields: taken.into() })
    }

    /// Fills the outline, or, without one, makes tables of the whole event.
    pub(super) fn fill(
        outline: Option<&Self>,
        lua: &Lua,
        event: &Event,
        view: &EventView,
        making: Making<'_>,
    ) -> mlua::Result<Table> {
        match (&view.0, outline) {
            (Source::Fields(fields), Some(outline)) => {
                let value = |index: &usize| match fields.get(*index) {
                    Some(Field::Part(part)) => {
                        event.part(*part).map_or(Ok(Either::Right(Value::Nil)), |raw| json::read(lua, raw, making))
                    }
                    Some(Field::Slot(slot)) => piece(lua, event.field(*slot)),
                    None => Ok(Either::Right(Value::Nil)),
                };
                // Collecting results would not know how many there are.
                let mut values = Variadic::<Piece<'_>>::with_capacity(outline.fields.len());
                for index in &outline.fields {
                    values.push(value(index)?);
                }
                outline.function.call(values)
            }
            (Source::Whole { routing_key }, _) => whole(lua, event, *routing_key, making),
            (Source::Fields(_), None) => Err(mlua::Error::runtime("the event's view is another plugin's")),
        }
    }
}

impl Node {
    /// Appends an expression of Lua for it.
    fn write(&self, text: &mut String) {
        match self {
            Self::Parameter(index) => text.extend(["p", &index.to_string()]),
            Self::Table(members) => {
                text.push_str("f({");
                for (name, node) in members {
                    match name {
                        Name::Index(index) => text.extend(["[", &index.to_string(), "]="]),
                        // A table of nothing but such names is made from a template.
                        Name::Text(name) if is_word(name) => text.extend([name, "="]),
                        Name::Text(name) => {
                            text.push_str("[\"");
                            text.extend(name.bytes().map(|byte| format!("\\{byte:03}")));
                            text.push_str("\"]=");
                        }
                    }
                    node.write(text);
                    text.push(',');
                }
                text.push_str("})");
            }
        }
    }
}

/// Whether a name may stand as it is, and before `=`.
fn is_word(name: &str) -> bool {
    const KEPT: [&str; 21] = [
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not",
        "or", "repeat", "return", "then", "true", "until", "while",
    ];
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(begins) && name.chars().all(|c| begins(c) || c.is_ascii_digit()) && !KEPT.contains(&name)
}

/// The names that a script goes by, from `event` on. None for the whole body.
fn names(path: &Path) -> Vec<&str> {
    match path.root() {
        Root::Body => path.segments().iter().map(CompactString::as_str).collect(),
        Root::RoutingKey => vec!["amqp", "routing_key"],
        Root::Header(name) => vec!["amqp", "headers", name],
    }
}

/// Puts a parameter into its place. `false` where that place is taken: by the same field.
fn insert(tables: &mut Vec<(Name, Node)>, names: &[&str], parameter: usize) -> bool {
    let Some((first, rest)) = names.split_first() else { return false };
    let name = match first.parse::<i64>() {
        Ok(index) => Name::Index(index.saturating_add(1)),
        Err(_) => Name::Text((*first).to_owned()),
    };
    let known = tables.iter().position(|(known, _)| *known == name);
    match (known, rest) {
        (None, []) => tables.push((name, Node::Parameter(parameter))),
        (Some(_), []) => return false,
        (known, rest) => {
            let at = known.unwrap_or_else(|| {
                tables.push((name, Node::Table(Vec::new())));
                tables.len() - 1
            });
            let Node::Table(inner) = &mut tables[at].1 else { return false };
            return insert(inner, rest, parameter);
        }
    }
    true
}

fn whole(lua: &Lua, event: &Event, routing_key: Slot, making: Making<'_>) -> mlua::Result<Table> {
    let Either::Right(Value::Table(body)) = json::read(lua, event.body(), making)? else {
        return Err(mlua::Error::runtime("the event is no object"));
    };
    body.set_readonly(false);
    let headers = lua.create_table_with_capacity(0, event.headers().len())?;
    for (name, value) in event.headers() {
        headers.raw_set(name.as_str(), piece(lua, value.as_value())?)?;
    }
    headers.set_readonly(true);
    let amqp = lua.create_table()?;
    amqp.raw_set("routing_key", piece(lua, event.field(routing_key))?)?;
    amqp.raw_set("headers", headers)?;
    amqp.set_readonly(true);
    body.raw_set("amqp", amqp)?;
    body.set_readonly(true);
    Ok(body)
}
