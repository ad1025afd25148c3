//! URLs that are asked by HTTP.

use std::net::{IpAddr, Ipv6Addr};

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::config::diagnostics::Diagnostics;
use crate::config::raw::{At, SecretUrl};

/// Names that never leave the network in which they mean something.
const PRIVATE_NAMES: [&str; 6] = [".localhost", ".internal", ".local", ".lan", ".home.arpa", ".svc"];

/// An `http://` or `https://` URL. `risk` is what to warn of where it leads over an open network unencrypted.
///
/// Never repeats the URL: there may be a password or a key in it.
pub(super) fn web_url(
    raw: &At<SecretUrl>,
    example: &str,
    risk: &str,
    diagnostics: &mut Diagnostics,
) -> Option<SecretString> {
    let written = raw.place.text().trim_end_matches(['"', '\'']);
    if let Some(query) = written.find('?') {
        diagnostics.secret(&raw.place.part(query + 1..written.len()));
    }
    let text = raw.value.0.expose_secret();
    let help = format!("write {example}");
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            raw.fault(&format!("this is no URL: {error}"), diagnostics).help(help);
            return None;
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        raw.fault("this URL's scheme is neither `https` nor `http`", diagnostics).help(help);
        return None;
    }
    if url.scheme() == "http" && !url.host().is_some_and(|host| is_private(&host)) {
        diagnostics.warning(&raw.place, risk).help("write https://");
    }
    Some(raw.value.0.clone())
}

/// Whether what is written as a host is one that [`is_private`].
pub(super) fn is_private_name(host: &str) -> bool {
    let url = Url::parse(&format!("http://{host}/"));
    url.is_ok_and(|url| url.host().is_some_and(|host| is_private(&host)))
}

/// Whether a host is this one, or within a private network by its address or by its name.
fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Host::Ipv6(address) => is_private_v6(address),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            !name.contains('.') || PRIVATE_NAMES.iter().any(|ending| name.ends_with(ending)) || is_cluster(name)
        }
    }
}

/// A service of a cluster, as `app.shop.svc.cluster.local` is, whatever the cluster's own domain.
fn is_cluster(name: &str) -> bool {
    name.contains(".svc.")
}

fn is_private_v6(address: &Ipv6Addr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_private(&Host::Ipv4(address)),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_over_an_open_network_is_told_from_what_does_not() {
        for (url, private) in [
            ("http://127.0.0.1/", true),
            ("http://localhost:8000/", true),
            ("http://[::1]:80/", true),
            ("http://[::ffff:10.0.0.1]/", true),
            ("http://[fd00::1]/", true),
            ("http://10.1.2.3/", true),
            ("http://172.31.0.1/", true),
            ("http://app/ws-auth", true),
            ("http://app.internal/", true),
            ("http://app.shop.svc.cluster.local/", true),
            ("http://172.32.0.1/", false),
            ("http://8.8.8.8/", false),
            ("http://[2001:db8::1]/", false),
            ("http://app.example.com/", false),
            ("http://internal.example.com/", false),
            ("http://2130706433/", true),
            ("http://134744072/", false),
        ] {
            assert_eq!(is_private(&Url::parse(url).unwrap().host().unwrap()), private, "{url}");
        }
    }
}
