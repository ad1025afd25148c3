//! TLS to the broker: whom to trust, and as whom to come.
//!
//! The files are read for each connection, so that those that were renewed since are used by the next one.

use std::io;
use std::path::Path;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::endpoint::Endpoint;
use super::fault::Fault;
use crate::config::AmqpTls;

/// What to greet brokers with: trusts whom the system trusts, and the configuration's own CA.
pub(super) fn connector(tls: &AmqpTls) -> Result<RustlsConnector, Fault> {
    let mut config = match RustlsConnectorConfig::new_with_native_certs() {
        Ok(config) => config,
        // A small container has none, and needs none where the configuration names its own.
        Err(_) if tls.ca.is_some() => RustlsConnectorConfig::default(),
        Err(error) => {
            return Err(Fault::tls(format!(
                "this system names no certificates to trust ({error}); install them (`ca-certificates`), or name the \
                 broker's CA in `amqp.tls.ca`"
            )));
        }
    };
    if let Some(path) = &tls.ca {
        config.add_parsable_certificates(certificates("ca", path)?);
    }
    let connector = match &tls.identity {
        None => config.connector_with_no_client_auth(),
        Some(identity) => {
            let chain = certificates("cert", &identity.cert)?;
            let key = read("key", &identity.key)?;
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| at("key", &identity.key, &error))?;
            config.connector_with_single_cert(chain, key)
        }
    };
    connector.map_err(|error| Fault::tls(format!("`amqp.tls` cannot be used: {error}")))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = read(key, path)?;
    CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| at(key, path, &error))
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(path).map_err(|error| at(key, path, &error))
}

fn at(key: &str, path: &Path, error: &dyn std::fmt::Display) -> Fault {
    Fault::tls(format!("`amqp.tls.{key}`: {}: {error}", path.display()))
}

/// What went wrong with TLS and what to do about it, where it was that.
pub(super) fn explain(endpoint: &Endpoint, error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let host = endpoint.host();
    Some(match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the broker's certificate comes from a CA that is not known here; name the CA's file in `amqp.tls.ca`"
                .into()
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => format!(
            "the broker's certificate is not for `{host}` but for {}; use a name that it is for in `amqp.url`",
            if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") }
        ),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("{error}; renew the broker's certificate, or set this machine's clock right")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => format!("{error}; is this machine's clock right?"),
        rustls::Error::InvalidCertificate(_) => format!("the broker's certificate is not accepted: {error}"),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what answers there does not speak TLS; use the broker's port for TLS (5671 as a rule), or `amqp://`".into()
        }
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::NoCertificate,
        ) => format!("{error}; if the broker asks for a client certificate, give `amqp.tls.cert` and `amqp.tls.key`"),
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate,
        ) => format!("{error}; the broker does not accept the client certificate in `amqp.tls.cert`"),
        _ => format!("TLS: {error}"),
    })
}
