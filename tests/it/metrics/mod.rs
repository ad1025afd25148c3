//! What `/metrics` says, and what is built on it: the table for operators, the dashboard, the alerts.

mod built_on;
mod exposition;
mod promql;
mod queue;
mod table;
mod tenants;
mod traffic;
