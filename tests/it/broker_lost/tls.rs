//! TLS to the broker: whom to trust, as whom to come, and what is said where there is no trust.

use std::fs;

use tempfile::TempDir;

use super::{Watched, readyz};
use crate::broker::FANOUT;
use crate::support::certificates::{Authority, Certified};
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::{shared, shared_vhost};
use crate::support::server::Setup;

/// Where the shared node listens for TLS.
struct Listening {
    port: u16,
    /// What the node reads for each connection.
    _files: TempDir,
}

/// The shared node listens with this certificate. `clients` made those that clients must come with, where they must.
fn listen(own: &Certified, clients: Option<&Authority>) -> Listening {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        fs::write(files.path().join(name), content).unwrap();
        format!("\"{}\"", files.path().join(name).display())
    };
    let (cert, key) = (write("cert.pem", &own.cert), write("key.pem", &own.key));
    let verify = clients.map_or_else(
        || "{verify, verify_none}".to_owned(),
        |clients| {
            let ca = write("ca.pem", &clients.pem());
            format!("{{cacertfile, {ca}}}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}")
        },
    );
    let port = shared().listen_for_tls(&format!("{{certfile, {cert}}}, {{keyfile, {key}}}, {verify}"));
    Listening { port, _files: files }
}

/// The URL of a vhost of the shared node, by this scheme, host and port.
fn at(url: &str, scheme: &str, host: &str, port: u16) -> String {
    let plain = shared().address().to_string();
    url.replace("amqp://", &format!("{scheme}://")).replace(&plain, &format!("{host}:{port}"))
}

fn with(tls: &str) -> String {
    format!("{FANOUT}  tls: {{ {tls} }}\n")
}

const CA: &str = "ca: ca.pem";
const ALL: &str = "ca: ca.pem, cert: cert.pem, key: key.pem";

#[tokio::test]
async fn by_tls_events_flow_and_a_link_that_falls_silent_leaves_nothing_behind() {
    let (url, authority) = (shared_vhost(), Authority::new());
    let broker = listen(&authority.certify(&["localhost"]), None);
    let proxy = Proxy::start(([127, 0, 0, 1], broker.port).into());
    let by_tls = at(&url, "amqps", "localhost", proxy.address().port()) + "?heartbeat=1";
    let mut watched = Watched::start_beside(&by_tls, &with(CA), &[("ca.pem", &authority.pem())]).await;
    readyz(&watched.server, 200, &[]).await;
    watched.all_is_well().await;
    watched.events_flow(&url).await;

    proxy.silence();
    watched.loses("heartbeat", &["the broker is lost", "no heartbeat"]).await;
    watched.loses("silent", &["no answer within 5s while connecting to localhost"]).await;
    watched.stays_lost(&["no answer within 5s"]).await;
    proxy.resume();
    watched.recovers(&url).await;
    watched.leaves().await;
}

#[tokio::test]
async fn whom_the_system_trusts_is_trusted() {
    let (url, authority) = (shared_vhost(), Authority::new());
    let broker = listen(&authority.certify(&["localhost"]), None);
    let by_tls = at(&url, "amqps", "localhost", broker.port);
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("trusted.pem");
    fs::write(&trusted, authority.pem()).unwrap();
    let system = |path| [("SSL_CERT_FILE", path), ("SSL_CERT_DIR", "")];

    let environment = system(trusted.to_str().unwrap());
    let setup = Setup { environment: &environment, ..Setup::default() };
    let mut watched = Watched::start_with(&by_tls, FANOUT, &setup).await;
    readyz(&watched.server, 200, &[]).await;
    watched.events_flow(&url).await;
    watched.leaves().await;

    // A system that trusts nobody, as in a small container.
    let environment = system("/dev/null");
    let setup = Setup { environment: &environment, ..Setup::default() };
    let mut watched = Watched::start_with(&by_tls, FANOUT, &setup).await;
    watched
        .loses("tls", &["this system names no certificates to trust", "name the broker's CA in `amqp.tls.ca`"])
        .await;
    watched.leaves().await;
    let ca = authority.pem();
    let setup = Setup { environment: &environment, files: &[("ca.pem", &ca)], ..Setup::default() };
    let mut watched = Watched::start_with(&by_tls, &with(CA), &setup).await;
    readyz(&watched.server, 200, &[]).await;
    watched.events_flow(&url).await;
    watched.leaves().await;
}

#[tokio::test]
async fn a_broker_that_asks_for_a_certificate_gets_the_one_of_the_configuration() {
    let (url, authority, other) = (shared_vhost(), Authority::new(), Authority::new());
    let broker = listen(&authority.certify(&["127.0.0.1"]), Some(&authority));
    let by_tls = at(&url, "amqps", "127.0.0.1", broker.port);
    let ca = authority.pem();
    let [own, foreign] = [&authority, &other].map(|authority| authority.certify(&["app"]));

    let mut without = Watched::start_beside(&by_tls, &with(CA), &[("ca.pem", &ca)]).await;
    without.loses("tls", &["if the broker asks for a client certificate, give `amqp.tls.cert`"]).await;
    without.leaves().await;

    // Renewed in place: the next try uses it.
    let files = [("ca.pem", ca.as_str()), ("cert.pem", &foreign.cert), ("key.pem", &foreign.key)];
    let mut watched = Watched::start_beside(&by_tls, &with(ALL), &files).await;
    watched.loses("tls", &["the broker does not accept the client certificate in `amqp.tls.cert`"]).await;
    let folder = watched.server.folder();
    fs::write(folder.join("cert.pem"), &own.cert).unwrap();
    fs::write(folder.join("key.pem"), &own.key).unwrap();
    readyz(&watched.server, 200, &[]).await;
    watched.all_is_well().await;
    watched.events_flow(&url).await;
    watched.leaves().await;
}

#[tokio::test]
async fn where_there_is_no_trust_or_no_tls_it_is_said_why_and_what_to_do() {
    let (url, authority, other) = (shared_vhost(), Authority::new(), Authority::new());
    let good = listen(&authority.certify(&["localhost"]), None);
    let foreign = listen(&authority.certify(&["rabbit.example", "mq.example"]), None);
    let over = listen(&authority.certify_until_2021(&["localhost"]), None);
    let plain = shared().address().port();
    let cases: [(&str, String, &str, &[&str]); 6] = [
        ("amqps", other.pem(), "tls", &["from a CA that is not known here", "name the CA's file in `amqp.tls.ca`"]),
        ("foreign", authority.pem(), "tls", &["is not for `localhost` but for", "rabbit.example", "mq.example"]),
        ("over", authority.pem(), "tls", &["expired", "renew the broker's certificate"]),
        ("plain", authority.pem(), "tls", &["what answers there does not speak TLS", "5671", "amqp://"]),
        ("amqp", authority.pem(), "", &["amqps://"]),
        ("gone", authority.pem(), "refused", &["Connection refused"]),
    ];
    for (case, ca, cause, said) in cases {
        let by_tls = match case {
            "amqp" => at(&url, "amqp", "localhost", good.port),
            "foreign" => at(&url, "amqps", "localhost", foreign.port),
            "over" => at(&url, "amqps", "localhost", over.port),
            "plain" => at(&url, "amqps", "localhost", plain),
            "gone" => at(&url, "amqps", "localhost", 1),
            _ => at(&url, "amqps", "localhost", good.port),
        };
        let mut watched = Watched::start_beside(&by_tls, &with(CA), &[("ca.pem", &ca)]).await;
        watched.says(&[&["no connection to the broker"], said].concat()).await;
        let faults = format!("pointsman_broker_faults_total{{cause=\"{cause}\"}}");
        assert!(cause.is_empty() || watched.server.metric(&faults).await > 0, "{case}");
        readyz(&watched.server, 503, said).await;
        watched.leaves().await;
    }
}
