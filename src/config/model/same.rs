//! Whether two configurations say the same of something, their secrets included.

use secrecy::{ExposeSecret, SecretString};

use super::{Database, HttpProvider, JwtKeys, JwtProvider, Ping, PluginFile, Plugins, Provider, ScriptCall};

impl Database {
    /// Whether queries mean and answer the same by both.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { url, dialect, init, pool, queries } = self;
        same(url, &other.url)
            && *dialect == other.dialect
            && *init == other.init
            && *pool == other.pool
            && *queries == other.queries
    }

    /// Whether the same text of a query is answered the same by both.
    pub fn is_same_place(&self, other: &Self) -> bool {
        same(&self.url, &other.url) && self.dialect == other.dialect && self.init == other.init
    }
}

impl Ping {
    /// Whether both ask the same query equally often.
    pub fn is_same(&self, other: &Self) -> bool {
        self.every == other.every && self.last_event_id == other.last_event_id
    }
}

impl Provider {
    /// Whether both ask the same of the same. Numbers of queries and plugins are compared as such: what they stand for
    /// is the caller's to compare.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tokens(one), Self::Tokens(two)) => {
                let is_same = |((one, whose), (two, whose_too)): (&(SecretString, _), &(SecretString, _))| {
                    same(one, two) && whose == whose_too
                };
                one.len() == two.len() && one.iter().zip(two).all(is_same)
            }
            (Self::Sql(one), Self::Sql(two)) => one == two,
            (Self::Http(one), Self::Http(two)) => one.is_same(two),
            (Self::Jwt(one), Self::Jwt(two)) => one.is_same(two),
            (Self::Script(one), Self::Script(two)) => one.call == two.call && one.cache == two.cache,
            _ => false,
        }
    }
}

impl Plugins {
    /// Whether this call means the same by both: a plugin of the same text is handed the same, within the same bounds.
    pub fn is_same(&self, other: &Self, call: ScriptCall) -> bool {
        let of = |plugins: &Self| plugins.files.get(usize::from(call.plugin.0)).cloned();
        self.budget == other.budget
            && self.memory == other.memory
            && self.breaker == other.breaker
            && of(self).zip(of(other)).is_some_and(|(one, two)| one.is_same(&two))
    }
}

impl PluginFile {
    /// Whether both are of the same text, and are handed the same by as many calls.
    pub fn is_same(&self, other: &Self) -> bool {
        let sites = |file: &Self| file.sites.iter().map(|site| (site.hook, site.with.clone())).collect::<Vec<_>>();
        self.name == other.name && self.text() == other.text() && sites(self) == sites(other)
    }
}

impl HttpProvider {
    fn is_same(&self, other: &Self) -> bool {
        let Self { url, timeout, connect_timeout, cache, concurrent, headers } = self;
        let header = |((name, value), (name_too, value_too)): (&(String, SecretString), &(String, SecretString))| {
            name == name_too && same(value, value_too)
        };
        same(url, &other.url)
            && *timeout == other.timeout
            && *connect_timeout == other.connect_timeout
            && *cache == other.cache
            && *concurrent == other.concurrent
            && headers.len() == other.headers.len()
            && headers.iter().zip(&other.headers).all(header)
    }
}

impl JwtProvider {
    fn is_same(&self, other: &Self) -> bool {
        let Self { keys, user, tenant, issuers, audiences, algorithms, leeway } = self;
        keys.is_same(&other.keys)
            && *user == other.user
            && *tenant == other.tenant
            && *issuers == other.issuers
            && *audiences == other.audiences
            && *algorithms == other.algorithms
            && *leeway == other.leeway
    }
}

impl JwtKeys {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Jwks { url: one, refresh }, Self::Jwks { url: two, refresh: refresh_too }) => {
                same(one, two) && refresh == refresh_too
            }
            (Self::Secret(one), Self::Secret(two)) => same(one, two),
            (Self::PublicKey(kind, pem), Self::PublicKey(kind_too, pem_too)) => kind == kind_too && pem == pem_too,
            _ => false,
        }
    }
}

/// Both are the operator's own: how long the comparison takes tells nobody anything.
fn same(one: &SecretString, two: &SecretString) -> bool {
    one.expose_secret() == two.expose_secret()
}
