//! Renewed files are picked up: they are looked at every few seconds, whatever it is that replaces them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{MissedTickBehavior, interval};

use super::certificate::Pem;
use super::{Acceptor, Certificate, CertificateError, CertificateFiles};
use crate::observe::Metrics;

/// How often they are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// What was found in the files.
type Found = Result<Pem, CertificateError>;

/// Looks at the files for ever, and uses what is new and right. What is new and wrong is logged, and what was in use
/// stays. `certificate` is in use now.
pub async fn renew(files: CertificateFiles, mut certificate: Certificate, acceptor: Acceptor, metrics: Arc<Metrics>) {
    tell(&certificate, &metrics);
    let mut last: Option<Found> = None;
    // Whether something is to be said of what is wrong with what was found last.
    let mut is_open = false;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let found = look(&files).await;
        let is_new = last.as_ref().is_none_or(|last| !is_same(last, &found));
        if is_new || is_open {
            match certificate_of(&found, &files) {
                Ok(found) if found.key.cert == certificate.key.cert => is_open = false,
                Ok(found) => {
                    certificate = found;
                    acceptor.replace(&certificate);
                    tracing::info!(cert = %files.cert.display(), "the renewed certificate is in use");
                    tell(&certificate, &metrics);
                    is_open = false;
                }
                // One file may be there and the other one not yet: it is said when it is still so at the next look.
                Err(_) if is_new => is_open = true,
                Err(error) => {
                    tracing::error!(error, "the renewed certificate cannot be used: the one before stays in use");
                    is_open = false;
                }
            }
        }
        last = Some(found);
    }
}

/// Says what is to be known of a certificate that has come into use.
fn tell(certificate: &Certificate, metrics: &Metrics) {
    if let Some(until) = certificate.valid_until() {
        let seconds = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        metrics.certificate_valid_until().set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
    if let Some(concern) = certificate.concern(wall_clock()) {
        tracing::warn!("{concern}");
    }
}

async fn look(files: &CertificateFiles) -> Found {
    let files = files.clone();
    let looked = tokio::task::spawn_blocking(move || files.read()).await;
    looked.unwrap_or_else(|error| Err(CertificateError::Interrupted(error.to_string())))
}

fn is_same(one: &Found, other: &Found) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(_), Err(_)) => true,
        _ => false,
    }
}

fn certificate_of(found: &Found, files: &CertificateFiles) -> Result<Certificate, String> {
    match found {
        Ok(pem) => Certificate::of(pem, files).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: certificates are valid by the world's time")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
