//! Rules, compiled: which event goes to whom, and who may subscribe to what.

/// The compiled routes.
#[derive(Debug)]
pub struct RouteTable;

/// The compiled topic rules.
#[derive(Debug)]
pub struct TopicRules;
