//! The one provider of cryptography that everything here uses.

/// Makes it the process's own, for all that asks for none by name. May be called again.
pub fn cryptography() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
}
