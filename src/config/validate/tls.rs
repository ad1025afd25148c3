//! The `tls` section. Its files are read, so that it is known before they are needed whether they can be used.

use std::time::SystemTime;

use crate::config::diagnostics::Diagnostics;
use crate::config::files::Files;
use crate::config::raw::RawTls;
use crate::tls::{Certificate, CertificateFiles};

pub(super) fn tls(raw: &RawTls, files: &Files, diagnostics: &mut Diagnostics) -> Option<CertificateFiles> {
    let (cert, key) = (raw.cert.given()?, raw.key.given()?);
    if files.folder_of(&cert.place).is_none() {
        diagnostics.error(&cert.place, "there are no files beside the configuration in the program itself");
        return None;
    }
    let found = CertificateFiles { cert: Files::beside(cert), key: Files::beside(key) };
    match Certificate::read(&found) {
        Ok(certificate) => {
            if let Some(concern) = certificate.concern(wall_clock()) {
                diagnostics.warning(&cert.place, concern).help("renewed files are picked up while it runs");
            }
            Some(found)
        }
        Err(error) => {
            let at = if error.is_about_key(&found) { key } else { cert };
            let mut message = error.to_string();
            for (named, path) in [(cert, &found.cert), (key, &found.key)] {
                if !named.value.is_name {
                    // It may be what should be in a file.
                    message = String::from("this names no file that can be used");
                } else if named.value.expanded {
                    message = message.replace(&path.display().to_string(), named.place.shown());
                }
            }
            diagnostics
                .error(&at.place, message)
                .help("write the names of two files in PEM form: the chain, and its key");
            None
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: certificates are valid by the world's time")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
