//! What a plugin is handed of an event: the parts that it declares, or all of it, as tables that cannot be changed.

use compact_str::CompactString;
use mlua::{Either, Lua, Table, Value};

use super::json::{self, Making, Piece};
use super::value::piece;
use crate::event::{Decoder, Event, Part, Path, Root, Slot};

/// The parts of an event that a plugin is handed, as parts of one decoder.
#[derive(Debug)]
pub struct EventView(Source);

#[derive(Debug)]
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

/// The tables that declared fields are handed over in, with their names ready in one machine.
pub(super) struct Outline(Vec<Node>);

struct Node {
    name: Value,
    content: Content,
}

enum Content {
    /// The field of this position.
    Field(usize),
    Table(Vec<Node>),
}

impl Outline {
    /// The outline of these fields. A field that is a part of another one is there with that.
    pub(super) fn new(lua: &Lua, fields: &[Path]) -> mlua::Result<Self> {
        let mut nodes = Vec::new();
        for (index, path) in fields.iter().enumerate() {
            let names = names(path);
            let is_within = |other: &Path| {
                let other = self::names(other);
                other.len() < names.len() && names.starts_with(&other)
            };
            if !fields.iter().any(is_within) {
                insert(lua, &mut nodes, &names, index)?;
            }
        }
        Ok(Self(nodes))
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
            (Source::Fields(fields), Some(Self(nodes))) => table(lua, nodes, &mut |index| match fields.get(index) {
                Some(Field::Part(part)) => {
                    event.part(*part).map_or(Ok(Either::Right(Value::Nil)), |raw| json::read(lua, raw, making))
                }
                Some(Field::Slot(slot)) => piece(lua, event.field(*slot)),
                None => Ok(Either::Right(Value::Nil)),
            }),
            (Source::Whole { routing_key }, _) => whole(lua, event, *routing_key, making),
            (Source::Fields(_), None) => Err(mlua::Error::runtime("the event's view is another plugin's")),
        }
    }
}

/// The names that a script goes by, from `event` on. None for the whole body.
fn names(path: &Path) -> Vec<&str> {
    match path.root() {
        Root::Body => path.segments().iter().map(CompactString::as_str).collect(),
        Root::RoutingKey => vec!["amqp", "routing_key"],
        Root::Header(name) => vec!["amqp", "headers", name],
    }
}

fn insert(lua: &Lua, nodes: &mut Vec<Node>, names: &[&str], field: usize) -> mlua::Result<()> {
    let Some((first, rest)) = names.split_first() else { return Ok(()) };
    let name = match first.parse::<i64>() {
        // An element of an array, which Lua counts from 1.
        Ok(index) => Value::Integer(index + 1),
        Err(_) => Value::String(lua.create_string(first)?),
    };
    let at = nodes.iter().position(|node| node.name == name).unwrap_or_else(|| {
        nodes.push(Node { name, content: Content::Table(Vec::new()) });
        nodes.len() - 1
    });
    match &mut nodes[at].content {
        content if rest.is_empty() => *content = Content::Field(field),
        Content::Table(inner) => insert(lua, inner, rest, field)?,
        Content::Field(_) => {}
    }
    Ok(())
}

fn table<'e>(
    lua: &Lua,
    nodes: &[Node],
    read: &mut impl FnMut(usize) -> mlua::Result<Piece<'e>>,
) -> mlua::Result<Table> {
    let mut fault = None;
    let table = lua.create_table_from(nodes.iter().map(|Node { name, content }| {
        let value = match content {
            Content::Field(index) => read(*index),
            Content::Table(inner) => table(lua, inner, read).map(|table| Either::Right(Value::Table(table))),
        };
        let value = value.unwrap_or_else(|error| {
            fault = Some(error);
            Either::Right(Value::Nil)
        });
        (name, value)
    }))?;
    table.set_readonly(true);
    fault.map_or(Ok(table), Err)
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
