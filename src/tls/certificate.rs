//! A certificate and its key: read from their files, and held against each other.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::validity::Validity;

/// The largest file that is read: a long chain is some 10 KiB.
const MAX_BYTES: u64 = 1 << 20;
/// What is left of a certificate's time when that is worth a word; of one that is valid for a short time, a fifth.
const SOON: Duration = Duration::from_hours(14 * 24);
const DAY: Duration = Duration::from_hours(24);

/// Where a certificate and its key are, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and behind it those that lead to one that clients know.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A certificate with its key, which fits it.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    validity: Option<Validity>,
}

/// What the files hold, right or not.
#[derive(PartialEq, Eq)]
pub(super) struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Why files are no certificate and key. Never repeats what is in them.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It could not be looked at.
    #[error("the files cannot be looked at: {0}")]
    Interrupted(String),
    /// A file is far larger than a certificate or key.
    #[error("`{}` is larger than {} KiB, and so no certificate or key", .0.display(), MAX_BYTES >> 10)]
    TooLarge(PathBuf),
    /// There is no certificate where it should be.
    #[error("`{}` holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// What stands there is none that can be read.
    #[error("the certificate in `{}` cannot be read: {reason}", path.display())]
    BadCertificate {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no key where it should be.
    #[error("`{}` holds no private key in PEM form", .0.display())]
    NoKey(PathBuf),
    /// The key needs a password.
    #[error("the private key in `{}` is encrypted: write it without a password", .0.display())]
    EncryptedKey(PathBuf),
    /// What stands there is none that can be used.
    #[error("the private key in `{}` is of a kind that cannot be used: {reason}", path.display())]
    BadKey {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Both are right, and do not belong together.
    #[error("the private key in `{}` is not that of the certificate in `{}`", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

impl CertificateError {
    /// Whether it is the key that is wrong, and not the certificate.
    pub fn is_about_key(&self, files: &CertificateFiles) -> bool {
        match self {
            Self::Unreadable { path, .. } | Self::TooLarge(path) => *path == files.key && files.key != files.cert,
            Self::Interrupted(_) | Self::NoCertificate(_) | Self::BadCertificate { .. } => false,
            Self::NoKey(_) | Self::EncryptedKey(_) | Self::BadKey { .. } | Self::Mismatch { .. } => true,
        }
    }
}

impl CertificateFiles {
    /// What is in them now.
    pub(super) fn read(&self) -> Result<Pem, CertificateError> {
        Ok(Pem { cert: bytes(&self.cert)?, key: bytes(&self.key)? })
    }
}

impl Certificate {
    /// Reads both files, and checks that they belong together.
    pub fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        Self::of(&files.read()?, files)
    }

    /// What `pem` is, read from these files.
    pub(super) fn of(pem: &Pem, files: &CertificateFiles) -> Result<Self, CertificateError> {
        let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem.cert).collect();
        let bad_certificate = |reason: String| CertificateError::BadCertificate { path: files.cert.clone(), reason };
        let chain = chain.map_err(|error| bad_certificate(error.to_string()))?;
        let Some(own) = chain.first() else { return Err(CertificateError::NoCertificate(files.cert.clone())) };
        let validity = Validity::of(own);
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|_| {
            let is_encrypted = pem.key.windows(ENCRYPTED.len()).any(|bytes| bytes == ENCRYPTED);
            let error = if is_encrypted { CertificateError::EncryptedKey } else { CertificateError::NoKey };
            error(files.key.clone())
        })?;
        let provider = aws_lc_rs::default_provider();
        let bad_key = |error: Error| CertificateError::BadKey { path: files.key.clone(), reason: error.to_string() };
        let key = provider.key_provider.load_private_key(key).map_err(bad_key)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(CertificateError::Mismatch { cert: files.cert.clone(), key: files.key.clone() });
            }
            Err(error) => return Err(bad_certificate(error.to_string())),
        }
        Ok(Self { key: Arc::new(key), validity })
    }

    /// Until when it is valid, where that could be read.
    pub fn valid_until(&self) -> Option<SystemTime> {
        self.validity.map(|validity| validity.until)
    }

    /// What is worth a word: that it is not valid at this time, or not for long.
    pub fn concern(&self, now: SystemTime) -> Option<String> {
        let Validity { from, until } = self.validity?;
        if let Ok(ahead) = from.duration_since(now)
            && !ahead.is_zero()
        {
            return Some(format!("the certificate is not valid yet: in {}", span(ahead)));
        }
        let Ok(left) = until.duration_since(now) else {
            let ago = now.duration_since(until).unwrap_or_default();
            return Some(format!("the certificate expired {} ago", span(ago)));
        };
        let whole = until.duration_since(from).unwrap_or_default();
        (left < SOON.min(whole / 5)).then(|| format!("the certificate expires in {}", span(left)))
    }
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";

fn bytes(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // A pipe is not opened: who waits for one to say something may wait for ever.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a regular file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES { Err(CertificateError::TooLarge(path.to_owned())) } else { Ok(bytes) }
}

/// For people: `3 days`, `5 hours`.
fn span(duration: Duration) -> String {
    let counted = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match duration.as_secs() {
        seconds if duration >= 2 * DAY => counted(seconds / DAY.as_secs(), "day"),
        seconds if seconds >= 7200 => counted(seconds / 3600, "hour"),
        seconds => counted(seconds / 60, "minute"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cert: &[u8], key: &[u8], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles { cert: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        for (path, bytes) in [(&files.cert, cert), (&files.key, key)] {
            if bytes != b"-" {
                std::fs::write(path, bytes).unwrap();
            }
        }
        let said = Certificate::read(&files).map_or_else(|error| error.to_string(), |_| "fine".to_owned());
        let said = said.replace(&format!("{}/", folder.path().display()), "");
        assert!(said.starts_with(expected), "{said}, and not {expected}");
    }

    #[test]
    fn what_is_wrong_with_files_is_said_and_what_is_in_them_is_not() {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let (cert, key) = (cert.pem(), signing_key.serialize_pem());
        let (cert, key, other) = (cert.as_bytes(), key.as_bytes(), other.as_bytes());
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".as_bytes();
        check(cert, key, "fine");
        // One file may hold both.
        let both = [key, cert].concat();
        check(&both, &both, "fine");
        check(b"-", key, "`tls.crt` cannot be read: No such file");
        check(cert, b"-", "`tls.key` cannot be read: No such file");
        check(b"", key, "`tls.crt` holds no certificate");
        check(key, key, "`tls.crt` holds no certificate");
        check(&cert[..cert.len() / 2], key, "the certificate in `tls.crt` cannot be read");
        let empty = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        check(empty, key, "the certificate in `tls.crt` cannot be read");
        check(cert, b"", "`tls.key` holds no private key");
        check(cert, cert, "`tls.key` holds no private key");
        check(cert, encrypted, "the private key in `tls.key` is encrypted");
        check(cert, other, "the private key in `tls.key` is not that of the certificate in `tls.crt`");
        let unknown = b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        check(cert, unknown, "the private key in `tls.key` is of a kind that cannot be used");
        check(&vec![b'x'; 2 << 20], key, "`tls.crt` is larger than 1024 KiB");
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles { cert: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        let made = std::process::Command::new("mkfifo").arg(&files.cert).status().unwrap();
        assert!(made.success());
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let read = files.clone();
        std::thread::spawn(move || tell.send(Certificate::read(&read).map(drop)));
        let error = told.recv_timeout(Duration::from_secs(10)).expect("does not wait for the pipe").unwrap_err();
        assert!(error.to_string().ends_with("tls.crt` cannot be read: it is not a regular file"), "{error}");
        assert!(!error.is_about_key(&files));
    }

    #[test]
    fn what_does_not_last_is_worth_a_word() {
        let at = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * days);
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let files = CertificateFiles { cert: "c".into(), key: "k".into() };
        let pem = Pem { cert: cert.pem().into(), key: signing_key.serialize_pem().into() };
        let mut certificate = Certificate::of(&pem, &files).unwrap();
        let mut check = |from: u64, until: u64, now: u64, expected: Option<&str>| {
            certificate.validity = Some(Validity { from: at(from), until: at(until) });
            assert_eq!(certificate.concern(at(now)).as_deref(), expected, "{from} {until} {now}");
        };
        check(100, 190, 100, None);
        check(100, 190, 176, None);
        check(100, 190, 177, Some("the certificate expires in 13 days"));
        check(100, 190, 189, Some("the certificate expires in 24 hours"));
        check(100, 190, 190, Some("the certificate expires in 0 minutes"));
        check(100, 190, 193, Some("the certificate expired 3 days ago"));
        check(100, 190, 98, Some("the certificate is not valid yet: in 2 days"));
        // One that lives for six days is renewed when some two are left.
        check(100, 106, 104, None);
        check(100, 106, 105, Some("the certificate expires in 24 hours"));
    }
}
