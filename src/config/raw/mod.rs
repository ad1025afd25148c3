//! The file, mirrored: what it may say, section by section. Nothing is checked here but that each value has its form.
//!
//! One declaration a section, by the `section!` macro, gives the struct, its reader and its JSON Schema, so that the three
//! cannot drift.
//!
//! Invariant: a reader reports all that is wrong, and goes on. What could not be read is [`Field::Faulty`], so that
//! nobody takes it for missing.

mod amqp;
mod auth;
mod condition;
mod database;
mod plugins;
mod providers;
mod read;
mod root;
mod routes;
mod rule_tests;
mod scalars;
mod secrets;
mod section;
mod topics;
mod tree;
mod units;

pub(super) use amqp::{RawAmqp, RawAmqpTls, RawBinding, RawExchange, RawQueue, RawWhenLost};
pub(super) use auth::{RawAccept, RawAuth, RawProvider, RawTokenOwner, RawTokens};
pub(super) use condition::{RawCondition, RawConditions, is_empty};
pub(super) use database::{RawDatabase, RawPool, RawQuery};
pub(super) use plugins::{RawParameters, RawPlugins, RawReload, RawScriptProvider};
pub(super) use providers::{RawAlgorithm, RawHeaders, RawHttpProvider, RawJwtProvider};
pub(super) use read::{At, Entries, Field, FromNode, OneOrMany, Scalars};
pub(super) use root::{
    RawAdmin, RawConfig, RawEvent, RawLimits, RawPing, RawShards, RawTls, RawWhenFull, root_schema, vocabulary,
};
pub(super) use routes::{
    RawAction, RawAudience, RawDisconnect, RawNames, RawOnError, RawPayload, RawRoute, RawTarget, RawUsers,
};
pub(super) use rule_tests::{
    RawExpect, RawExpectedIdentity, RawForgets, RawMock, RawMockCase, RawRows, RawRuleTest, RawSessionNames,
    RawTestSession, tests_schema,
};
pub(super) use scalars::{Literal, Text};
pub(super) use secrets::{FileName, SecretUrl, hide};
pub(super) use topics::{RawAllow, RawAllowRule, RawTopicRule};
pub(super) use tree::Tree;
pub(super) use units::Span;
