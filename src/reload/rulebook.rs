//! The rulebook: everything that decides, compiled, immutable, numbered.

use std::fmt;

use crate::config::{Route, TopicRule};
use crate::event::{Decoder, Shape};
use crate::route::RouteTable;
use crate::route::TopicRules;

/// The number of a rulebook. The first one in force is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Everything that decides: field paths, routes, topic rules.
#[derive(Debug)]
pub struct Rulebook {
    /// Its number.
    pub generation: Generation,
    /// Reads the fields that the routes name.
    pub decoder: Decoder,
    /// Which event goes to whom.
    pub routes: RouteTable,
    /// Who may subscribe to what.
    pub topics: TopicRules,
}

impl Rulebook {
    /// Compiles what decides out of a configuration's parts.
    pub fn compile(generation: Generation, event: Shape, routes: Vec<Route>, topics: Vec<TopicRule>) -> Self {
        let mut decoder = Decoder::new(event);
        let routes = RouteTable::compile(routes, &mut decoder);
        Self { generation, decoder, routes, topics: TopicRules::compile(topics) }
    }
}
