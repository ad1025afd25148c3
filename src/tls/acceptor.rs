//! What makes a TLS session of a client's connection.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig, ServerConnection};

use super::Certificate;

/// Bytes of ciphertext that wait for one client beside its outbox: two records.
const BEHIND_BYTES: usize = 32 << 10;

/// Makes sessions, with the certificate that is in use at the time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

/// The certificate in use. Read once a handshake, and not on an event's way.
struct Current(RwLock<Arc<CertifiedKey>>);

impl Acceptor {
    /// Sessions of TLS 1.2 and 1.3 with this certificate, for HTTP/1.1.
    pub fn new(certificate: &Certificate) -> Result<Self, Error> {
        let current = Arc::new(Current(RwLock::new(Arc::clone(&certificate.key))));
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::<Current>::clone(&current));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Clients keep what lets them come back with less: nothing of it is stored here.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), current })
    }

    /// A session that is to begin.
    pub fn session(&self) -> Result<ServerConnection, Error> {
        let mut session = ServerConnection::new(Arc::clone(&self.config))?;
        session.set_buffer_limit(Some(BEHIND_BYTES));
        Ok(session)
    }

    /// Uses another certificate from now on. Sessions that have begun go on.
    pub fn replace(&self, certificate: &Certificate) {
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&certificate.key);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
