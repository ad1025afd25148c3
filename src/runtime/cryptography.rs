//! The cryptography that TLS and signatures use: one provider for all of them.

/// Makes it the process's own. Does nothing where it already is.
pub fn cryptography() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
}
