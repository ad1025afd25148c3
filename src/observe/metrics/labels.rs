//! Labels that several parts use, and their values.

use prometheus_client::encoding::EncodeLabelValue;

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names of the label's values")]
pub enum SourceKind {
    /// A RabbitMQ queue.
    amqp,
    /// `POST /publish`, or the demo page.
    http,
}

/// Why somebody who might have got an event did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names of the label's values")]
pub enum DropCause {
    /// No route's condition held.
    no_route,
    /// The route needs a tenant and the event names none.
    no_tenant,
    /// `to: everyone` without `all_tenants: true`, and the event names a tenant.
    everyone_of_a_tenant,
    /// A query that the route needs had no answer.
    lookup_failed,
    /// The script that the route calls failed.
    script,
    /// Too many events of its tenant waited for queries.
    tenant_backlog,
    /// A source without acknowledgements sent faster than lanes could take.
    shed,
    /// The broker gave it out again, after a lost connection, and it had been handed on.
    repeated,
    /// The connection did not take what was written to it fast enough, and was closed.
    slow_client,
    /// An event for a connection that did not take what was written to it fast enough, and stays.
    outbox_full,
}

/// What came of an event whose turn had come in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names of the label's values")]
pub enum RoutedOutcome {
    /// It went to the shards that have sessions of its tenant.
    handed_over,
    /// Its routes named nobody, or nobody of its tenant is connected.
    nobody,
    /// Its routes did something, such as to forget answers, and sent it to nobody.
    acted,
    /// No route held, those that did failed, or too many waited.
    dropped,
}
