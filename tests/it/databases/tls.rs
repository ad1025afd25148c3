//! TLS to servers: whom it trusts, and whom it does not. And passwords, which are never shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pointsman::event::Scalar;
use pointsman::lookup::LookupError;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::{Asked, execute, text};
use crate::support::mariadb::MariaDb;
use crate::support::postgres::{self, Postgres};

/// An authority of this name, and a certificate of it for 127.0.0.1 with its key.
fn certificates(name: &str) -> (String, String, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&key, &authority).unwrap();
    (authority.pem(), server.pem(), key.serialize_pem())
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_trusted_by_its_authority_and_name() {
    let settings = ["ssl=on", "ssl_cert_file=../server.pem", "ssl_key_file=../server.key"];
    let mut cluster = tokio::task::block_in_place(|| Postgres::absent(&settings));
    let (authority, server, key) = certificates("one");
    let (other, ..) = certificates("another");
    for (name, text) in [("server.pem", &server), ("server.key", &key), ("ca.pem", &authority), ("other.pem", &other)] {
        let path = cluster.folder().join(name);
        write(&path, text);
        cluster.own_file(&path);
    }
    tokio::task::block_in_place(|| cluster.start());
    let url = cluster.database("").await;
    let file = |name: &str| cluster.folder().join(name).display().to_string();
    let ask = async |host: &str, parameters: &str| {
        let url = format!("{}?{parameters}", url.replace("127.0.0.1", host));
        let asked = Asked::open(&url, "max: 1", &["SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]).await;
        asked.ask(0).await.map(|rows| rows[0][0].clone())
    };
    let trusted = format!("sslrootcert={}", file("ca.pem"));
    for parameters in
        ["sslmode=require", &format!("sslmode=verify-full&{trusted}"), &format!("sslmode=verify-ca&{trusted}"), ""]
    {
        assert_eq!(ask("127.0.0.1", parameters).await, Ok(Scalar::Bool(true)), "{parameters}");
    }
    assert_eq!(ask("127.0.0.1", "sslmode=disable").await, Ok(Scalar::Bool(false)));
    assert_eq!(ask("localhost", &format!("sslmode=verify-ca&{trusted}")).await, Ok(Scalar::Bool(true)));

    let untrusted = format!("sslmode=verify-full&sslrootcert={}", file("other.pem"));
    for (host, parameters, said) in [
        ("127.0.0.1", untrusted, "invalid peer certificate: UnknownIssuer"),
        ("127.0.0.1", "sslmode=verify-full".to_owned(), "invalid peer certificate: UnknownIssuer"),
        ("localhost", format!("sslmode=verify-full&{trusted}"), "certificate not valid for name \"localhost\""),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={}", file("none.pem")), "No such file"),
    ] {
        let error = ask(host, &parameters).await.unwrap_err();
        assert!(matches!(&error, LookupError::Unavailable(message) if message.contains(said)), "{parameters}: {error}");
    }
    // A relative path is relative to the configuration, which stands beside it.
    let yaml = format!(
        "event: {{ tenant: tenant }}
auth: {{ providers: [{{ tokens: {{ t: {{ user: 1, tenant: a }} }} }}] }}
routes: [{{ name: all, when: {{ a: 1 }}, to: everyone }}]
database: {{ url: \"{url}?sslmode=verify-full&sslrootcert=ca.pem\", queries: {{ q: {{ sql: SELECT 1 }} }} }}
"
    );
    let setup = crate::support::server::Setup { files: &[("ca.pem", &authority)], ..Default::default() };
    let program = crate::support::server::Server::start_with(&yaml, &setup).await;
    program.wait_for_metric("pointsman_database_up", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_trusted_by_its_authority_and_name() {
    let settings = ["--ssl-cert=../server.pem", "--ssl-key=../server.key", "--ssl-ca=../ca.pem"];
    let mut server = tokio::task::block_in_place(|| MariaDb::absent(&settings));
    let (authority, certificate, key) = certificates("one");
    let (other, ..) = certificates("another");
    for (name, text) in
        [("server.pem", &certificate), ("server.key", &key), ("ca.pem", &authority), ("other.pem", &other)]
    {
        let path = server.folder().join(name);
        write(&path, text);
        server.own_file(&path);
    }
    tokio::task::block_in_place(|| server.start());
    let url = server.database("").await;
    let file = |name: &str| server.folder().join(name).display().to_string();
    let ask = async |parameters: &str| {
        let asked = Asked::open(&format!("{url}?{parameters}"), "max: 1", &["SHOW STATUS LIKE 'Ssl_cipher'"]).await;
        asked.ask(0).await.map(|rows| rows[0][1] != text(""))
    };
    let trusted = format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={}", file("ca.pem"));
    for (parameters, is_encrypted) in
        [(trusted.as_str(), true), ("ssl-mode=REQUIRED", true), ("ssl-mode=DISABLED", false)]
    {
        assert_eq!(ask(parameters).await, Ok(is_encrypted), "{parameters}");
    }
    let error = ask(&format!("ssl-mode=VERIFY_CA&ssl-ca={}", file("other.pem"))).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate: UnknownIssuer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_never_shown() {
    let cluster = tokio::task::block_in_place(postgres::shared);
    let url = cluster.database("").await;
    let role =
        "DO $$ BEGIN CREATE ROLE locked LOGIN PASSWORD 'right-s3cret'; EXCEPTION WHEN duplicate_object THEN END $$";
    execute(&url, role).await;
    let of = |password: &str| url.replace("postgres@", &format!("locked:{password}@"));
    let asked = Asked::open(&of("right-s3cret"), "max: 1", &["SELECT 7"]).await;
    assert_eq!(asked.one(0).await, Scalar::Int(7));
    let asked = Asked::open(&of("wrong-s3cret"), "max: 1", &["SELECT 7"]).await;
    let error = asked.ask(0).await.unwrap_err().to_string();
    assert!(error.contains("password authentication failed for user \"locked\""), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
    // Nor by a query that may not read what it asks for.
    execute(&url, "CREATE TABLE closed (id int)").await;
    let asked = Asked::open(&of("right-s3cret"), "max: 1", &["SELECT id FROM closed"]).await;
    let error = asked.ask(0).await.unwrap_err();
    assert_eq!(error, LookupError::Failed("permission denied for table closed".to_owned()));
}
