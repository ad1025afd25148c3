//! TLS to the broker: whom to trust, as whom to come, and what is said where there is no trust.
