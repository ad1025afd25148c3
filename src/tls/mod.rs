//! TLS on the listener for clients: its certificate, read, checked and renewed, and the sessions that are made with it.
//!
//! Invariant: only a certificate whose key fits it comes into use, at start as at each renewal.

mod acceptor;
mod certificate;
mod renew;
mod validity;

pub use acceptor::Acceptor;
pub use certificate::{Certificate, CertificateError, CertificateFiles};
pub use renew::renew;
