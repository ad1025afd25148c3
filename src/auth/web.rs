//! Requests to other servers: the only home of the HTTP client.
//!
//! Invariant: an answer is read as far as it is allowed to be long, whatever its sender says of it.
//! Invariant: what is said of a fault holds neither the URL nor a part of the answer: there may be secrets in both.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, WeakShared};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use secrecy::{ExposeSecret, SecretString};

/// How long a connection is kept that nobody uses: less than servers keep theirs.
const IDLE: Duration = Duration::from_secs(30);

/// A client of one server: it keeps connections, follows no redirect, and asks no proxy. An error says what is wrong.
pub(super) fn client(
    connect_timeout: Duration,
    idle: usize,
    headers: &[(String, SecretString)],
) -> Result<Client, String> {
    Client::builder()
        .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
        .default_headers(header_map(headers)?)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(idle)
        .redirect(Policy::none())
        .no_proxy()
        .retry(reqwest::retry::never())
        .dns_resolver(Arc::new(Names::default()))
        .build()
        .map_err(plainly)
}

/// The body of an answer, where it is no longer than this.
pub(super) async fn body(mut response: Response, at_most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(plainly)? {
        if body.len() + chunk.len() > at_most {
            return Err(format!("its answer is longer than {at_most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether a request came to nothing because its connection ended, which it may have been about to do when it was taken
/// from those that are kept.
pub(super) fn broke_off(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

/// What went wrong, down to its cause.
pub(super) fn plainly(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !said.ends_with(&next) {
            said = format!("{said}: {next}");
        }
        cause = error.source();
    }
    said
}

fn header_map(headers: &[(String, SecretString)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name_of = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| format!("header `{name}`"))?;
        value.set_sensitive(true);
        map.append(name_of, value);
    }
    Ok(map)
}

/// Finds the addresses of a name, one question at a time: a name server that does not answer holds one thread, and not
/// one for each request.
#[derive(Default)]
struct Names(Arc<Mutex<Option<Found>>>);

type Found = WeakShared<BoxFuture<'static, Result<Arc<[std::net::SocketAddr]>, Arc<str>>>>;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        // A client asks one server, which has one name.
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = under_way.as_ref().and_then(WeakShared::upgrade).unwrap_or_else(|| {
            let found = look_up(name.as_str().to_owned()).boxed().shared();
            // It is asked to its end, whoever still waits for it.
            tokio::spawn(found.clone());
            *under_way = found.downgrade();
            found
        });
        Box::pin(async move {
            let addresses = found.await.map_err(|said| -> Box<dyn Error + Send + Sync> { said.as_ref().into() })?;
            Ok(Box::new((0..addresses.len()).map(move |index| addresses[index])) as Addrs)
        })
    }
}

async fn look_up(name: String) -> Result<Arc<[std::net::SocketAddr]>, Arc<str>> {
    match tokio::net::lookup_host((name.as_str(), 0)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(format!("its name cannot be resolved: {error}").into()),
    }
}
