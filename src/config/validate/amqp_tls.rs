//! TLS to the broker: the files are there, are what they should be, and belong together.

use std::path::PathBuf;

use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;

use crate::config::diagnostics::Diagnostics;
use crate::config::files::Files;
use crate::config::model::{AmqpTls, TlsIdentity};
use crate::config::raw::{At, Field, RawAmqp, RawAmqpTls, Text};

pub(super) fn amqp_tls(raw: &RawAmqp, files: &mut Files, diagnostics: &mut Diagnostics) -> Option<AmqpTls> {
    let tls = match &raw.tls {
        Field::Missing => return Some(AmqpTls::default()),
        Field::Faulty => return None,
        Field::Given(tls) => tls,
    };
    let is_tls = |url: &At<crate::config::raw::SecretUrl>| url.value.0.expose_secret().starts_with("amqps://");
    if raw.url.value().is_some_and(|urls| !urls.0.iter().any(is_tls)) {
        let message = "`tls` has no effect: no URL is `amqps://`";
        diagnostics.warning(&tls.place, message).help("write amqps://user:password@host:5671/vhost");
    }
    let ca = super::optional_at(&tls.value.ca, |ca| authorities(ca, files, diagnostics));
    let identity = identity(tls, files, diagnostics);
    Some(AmqpTls { ca: ca?, identity: identity? })
}

/// A file of certificates that others' certificates may come from.
fn authorities(named: &At<Text>, files: &mut Files, diagnostics: &mut Diagnostics) -> Option<PathBuf> {
    let (path, certificates) = certificates(named, files, diagnostics)?;
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates) {
        if store.add(certificate).is_err() {
            let message = format!("certificate {number} of `{}` cannot be read: it is damaged, or none", named.shown());
            diagnostics.error(&named.place, message);
            return None;
        }
    }
    Some(path)
}

#[expect(clippy::option_option, reason = "whether it is right, and whether it is there")]
fn identity(tls: &At<RawAmqpTls>, files: &mut Files, diagnostics: &mut Diagnostics) -> Option<Option<TlsIdentity>> {
    let (cert, key) = match (&tls.value.cert, &tls.value.key) {
        (Field::Missing, Field::Missing) => return Some(None),
        (Field::Given(cert), Field::Given(key)) => (cert, key),
        (Field::Given(one), Field::Missing) | (Field::Missing, Field::Given(one)) => {
            let message = "`cert` and `key` are given together, or not at all";
            diagnostics.error(&one.place, message).help("a client certificate needs its private key");
            return None;
        }
        _ => return None,
    };
    let chain = certificates(cert, files, diagnostics);
    let private = private_key(key, files, diagnostics);
    let ((cert_path, chain), (key_path, private)) = (chain?, private?);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, private, &provider) {
        Ok(_) => Some(Some(TlsIdentity { cert: cert_path, key: key_path })),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let message = format!("this key does not belong to the certificate in `{}`", cert.shown());
            diagnostics.error(&key.place, message);
            None
        }
        Err(error) => {
            diagnostics.error(&cert.place, format!("this certificate and its key cannot be used: {error}"));
            None
        }
    }
}

/// A file of certificates: its path, and what is in it. At least one.
fn certificates(
    named: &At<Text>,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Option<(PathBuf, Vec<CertificateDer<'static>>)> {
    let (path, bytes) = files.bytes_beside(named, diagnostics)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Some((path, all)),
        _ => {
            let message = format!("`{}` holds no certificates that can be read", named.shown());
            diagnostics.error(&named.place, message).help("give a PEM file: it has `-----BEGIN CERTIFICATE-----`");
            None
        }
    }
}

/// A file with a private key. Nothing of it is ever shown.
fn private_key(
    named: &At<Text>,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Option<(PathBuf, PrivateKeyDer<'static>)> {
    let (path, bytes) = files.bytes_beside(named, diagnostics)?;
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&bytes) {
        return Some((path, key));
    }
    let message = format!("`{}` holds no private key that can be read", named.shown());
    let help = "give a PEM file without a passphrase: it has `-----BEGIN PRIVATE KEY-----`";
    diagnostics.error(&named.place, message).help(help);
    None
}
