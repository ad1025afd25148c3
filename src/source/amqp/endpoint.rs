//! A broker's URL, taken apart: what to connect with, and what may be shown of it.

use std::fmt;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use secrecy::{ExposeSecret, SecretString};

/// Seconds between heartbeats, unless the URL says otherwise: a silent peer is noticed after twice as long.
const HEARTBEAT: u16 = 10;
/// Bytes of a frame, unless the URL says otherwise. The client allocates 64 times as much for each connection; larger
/// bodies come in several frames.
const FRAME_MAX: u32 = 32 << 10;

/// Where a broker is, and as whom to connect to it.
#[derive(Clone)]
pub(super) struct Endpoint {
    uri: AMQPUri,
    tls: bool,
}

/// What is wrong with a broker's URL. Says nothing of what stands in it, as a parser's own message would: there is a
/// password in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It cannot be read.
    #[error("not a broker's URL: such a one looks like `amqp://user:password@host:5672/vhost`, percent-encoded")]
    Unreadable,
}

impl Endpoint {
    /// Reads `amqp://user:password@host:port/vhost`, or `amqps://` for TLS, percent-encoded, everything after the scheme
    /// optional.
    pub(super) fn parse(url: &SecretString) -> Result<Self, UrlError> {
        let url = url.expose_secret();
        let mut uri: AMQPUri = url.parse().map_err(|_| UrlError::Unreadable)?;
        // TLS is a matter of its own here, of which the client shall know nothing.
        let tls = std::mem::take(&mut uri.scheme) == AMQPScheme::AMQPS;
        // A parser would take what stands before the first `@` for the password, and show the rest of it as the host.
        if url.matches('@').count() > 1 {
            return Err(UrlError::Unreadable);
        }
        if let Some(address) = ipv6(url) {
            address.clone_into(&mut uri.authority.host);
        }
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        if uri.query.heartbeat.unwrap_or_default() == 0 {
            // Without heartbeats a connection that died silently would look alive for ever.
            uri.query.heartbeat = Some(HEARTBEAT);
        }
        Ok(Self { uri, tls })
    }

    /// What to connect with. Says nothing of TLS.
    pub(super) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }

    /// Whether it wants TLS.
    pub(super) fn tls(&self) -> bool {
        self.tls
    }

    /// The host: a name, or an address without brackets.
    pub(super) fn host(&self) -> &str {
        &self.uri.authority.host
    }

    /// The time between heartbeats that is proposed to the broker, which may choose a shorter one.
    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.uri.query.heartbeat.unwrap_or(HEARTBEAT).into())
    }

    /// The virtual host.
    pub(super) fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// Whether the other is the same vhost of the same broker, reached in the same way, as whomever.
    pub(super) fn is_place_of(&self, other: &Self) -> bool {
        let place = |of: &Self| (of.uri.authority.host.clone(), of.uri.authority.port, of.uri.vhost.clone(), of.tls);
        place(self) == place(other)
    }

    /// As whom.
    pub(super) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }
}

/// The IPv6 address of a URL, which the URL's own parser takes for the default host.
fn ipv6(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(host.strip_prefix('[')?.split_once(']')?.0)
}

/// Host, port and vhost: enough to know which broker is meant, and no credentials.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.uri.authority;
        if authority.host.contains(':') {
            write!(f, "[{}]:{}", authority.host, authority.port)?;
        } else {
            write!(f, "{}:{}", authority.host, authority.port)?;
        }
        if self.uri.vhost == "/" { Ok(()) } else { write!(f, "/{}", self.uri.vhost) }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Endpoint, UrlError> {
        Endpoint::parse(&url.to_owned().into())
    }

    #[test]
    fn what_is_shown_names_the_broker_and_no_credentials() {
        for (url, shown) in [
            ("amqp://localhost", "localhost:5672"),
            ("amqp://ann:s3cret@rabbit.internal:5673/%2f", "rabbit.internal:5673"),
            ("amqp://ann:s3cret@10.0.0.1/app", "10.0.0.1:5672/app"),
            ("amqp://ann:s3cret@[::1]:5680/app?heartbeat=30", "[::1]:5680/app"),
            ("amqp://ann:s3cret@host/", "host:5672/"),
            ("amqp://ann:p%40ss@host", "host:5672"),
            ("amqps://ann:s3cret@host", "host:5671"),
            ("amqps://ann:s3cret@[::1]/app", "[::1]:5671/app"),
        ] {
            let endpoint = parse(url).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            let debug = format!("{endpoint:?}");
            assert!(!debug.contains("s3cret") && !debug.contains("ann") && !debug.contains("p@ss"), "{debug}");
        }
    }

    #[test]
    fn heartbeat_and_frame_size_are_always_given() {
        for (url, heartbeat, frame_max) in [
            ("amqp://host", HEARTBEAT, FRAME_MAX),
            ("amqp://host?heartbeat=0", HEARTBEAT, FRAME_MAX),
            ("amqp://host?heartbeat=3&frame_max=8192", 3, 8192),
        ] {
            let uri = parse(url).unwrap().uri();
            assert_eq!((uri.query.heartbeat, uri.query.frame_max), (Some(heartbeat), Some(frame_max)), "{url}");
        }
    }

    #[test]
    fn tls_is_asked_for_by_the_scheme() {
        let endpoint = parse("amqps://host").unwrap();
        assert!(endpoint.tls() && endpoint.uri().scheme == AMQPScheme::AMQP);
        assert!(!parse("amqp://host:5671").unwrap().tls());
    }

    #[test]
    fn what_is_no_url_says_so_without_the_password() {
        for url in ["", "host", "http://ann:s3cret@host", "amqp:ann:s3cret", "amqp://ann:s3cret@host:port"] {
            assert_eq!(parse(url).unwrap_err(), UrlError::Unreadable, "{url}");
        }
    }
}
