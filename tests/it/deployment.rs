//! What `examples/deployment` holds: that the tools which read it take it, and that clients get through the proxies.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use granit_parser::{Event, Parser};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::clients::message;
use crate::support::keeper::free_port;
use crate::support::process::{DEADLINE, Process, Stream};
use crate::support::server::{POINTSMAN, Server};
use crate::support::tools::{self, example};

/// A file of the folder, with some of its text replaced. What is to be replaced must be there.
fn read(name: &str, replaced: &[(&str, &str)]) -> String {
    let mut text = fs::read_to_string(example(&format!("deployment/{name}"))).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{name} says `{from}`");
        text = text.replace(from, to);
    }
    text
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn the_unit_of_systemd_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("pointsman.service");
    fs::write(&unit, read("pointsman.service", &[("/usr/local/bin/pointsman", POINTSMAN)])).unwrap();
    assert_eq!(run(Command::new("systemd-analyze").arg("verify").arg(&unit)), "");
    // From 0 to 10, times 10.
    run(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20"]).arg(&unit));
}

#[test]
fn the_manifests_of_kubernetes_say_what_the_shipped_configuration_needs() {
    let text = read("kubernetes.yaml", &[]);
    let documents: Vec<Value> = text.split("\n---\n").map(yaml).collect();
    let kinds: Vec<&Value> = documents.iter().map(|document| &document["kind"]).collect();
    assert_eq!(kinds, ["Deployment", "Service", "PodDisruptionBudget"]);
    let pod = &documents[0]["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    for selector in [
        &documents[0]["spec"]["selector"]["matchLabels"],
        &documents[1]["spec"]["selector"],
        &documents[2]["spec"]["selector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    let grace: u64 = pod["spec"]["terminationGracePeriodSeconds"].as_str().unwrap().parse().unwrap();
    assert!(grace > 10, "the default of `drain` is 10s");

    // The directory that the pod gets is one that the program can read, links and all; nothing is left out.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mount = tempfile::tempdir().unwrap();
    let version = mount.path().join("..2026_11_24_08_00_00.1");
    let sources = pod["spec"]["volumes"][0]["projected"]["sources"].as_array().unwrap();
    let mut held = Vec::new();
    for item in sources.iter().flat_map(|source| source["configMap"]["items"].as_array().unwrap()) {
        let path = item["path"].as_str().unwrap();
        assert_eq!(Path::new(path).file_name().unwrap(), item["key"].as_str().unwrap());
        fs::create_dir_all(version.join(path).parent().unwrap()).unwrap();
        fs::copy(root.join(path), version.join(path)).unwrap();
        held.push(path.to_owned());
    }
    let shipped = |folder: &str, ending: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| format!("{folder}/{}", name.to_str().unwrap()));
        names.filter(|name| name.ends_with(ending) && !name.ends_with(".d.lua")).collect::<Vec<_>>()
    };
    let mut needed = [shipped("config/routes", ".yaml"), shipped("plugins", ".lua")].concat();
    needed.push("config/rabbitmq.yaml".to_owned());
    held.sort();
    needed.sort();
    assert_eq!(held, needed);
    symlink(version.file_name().unwrap(), mount.path().join("..data")).unwrap();
    for name in ["config", "plugins"] {
        symlink(Path::new("..data").join(name), mount.path().join(name)).unwrap();
    }
    let mut check = Command::new(POINTSMAN);
    // As in the pod.
    check.env_clear().env("POINTSMAN_ADMIN_LISTEN", "0.0.0.0:9090").env("POINTSMAN_ADMIN_KEY", "k");
    let said = run(check.args(["check", "--config"]).arg(mount.path().join("config/rabbitmq.yaml")));
    let direct =
        run(Command::new(POINTSMAN).env_clear().args(["check", "--config"]).arg(root.join("config/rabbitmq.yaml")));
    let summary = |said: &str| said.split_once("is fine").map(|(_, rest)| rest.to_owned());
    assert_eq!(summary(&said), summary(&direct), "{said}");
}

/// A proxy with TLS in front of a server.
struct Front {
    process: Process,
    folder: TempDir,
    port: u16,
}

impl Front {
    /// Makes a certificate as `cert.pem` and `both.pem`, its key as `key.pem`, and a configuration, and starts a proxy.
    async fn start(program: &str, configuration: impl FnOnce(&Path, u16) -> String, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let at = |name: &str| folder.path().join(name);
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(at("cert.pem"), &certificate).unwrap();
        fs::write(at("key.pem"), &key).unwrap();
        fs::write(at("both.pem"), certificate + &key).unwrap();
        fs::write(at("proxy.conf"), configuration(folder.path(), port)).unwrap();
        let mut command = Command::new(program);
        let process = Process::start(program, command.current_dir(folder.path()).args(arguments), Stream::Stderr);
        let up = async {
            // Nothing tells of it but asking again.
            let mut again = interval(Duration::from_millis(10));
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                again.tick().await;
            }
        };
        timeout(DEADLINE, up).await.unwrap_or_else(|_| panic!("{program}: {:?}", process.lines()));
        Self { process, folder, port }
    }

    /// A client with a session gets an event, and is told when the server leaves.
    async fn check(&self, server: &Server) {
        let url = format!("wss://localhost:{}/ws?access_token=demo-bob", self.port);
        let mut command = tools::python_command("listen.py");
        command.args([&url, "demo-bob", "deal:42"]).env("SSL_CERT_FILE", self.folder.path().join("cert.pem"));
        let client = Process::start("a client", &mut command, Stream::Stdout);
        message(&client, "subscribed").await;
        let payload = json!({ "type": "deal.moved", "tenant_id": "acme", "deal_id": 42, "id": 1003 });
        server.publish(json!({ "data": payload })).await;
        assert_eq!(message(&client, "data").await["data"], payload);
        server.signal(rustix::process::Signal::TERM);
        assert_eq!(message(&client, "closed").await["closed"], 1012);
        assert!(self.process.lines().iter().all(|line| !line.contains("demo-bob")), "{:?}", self.process.lines());
    }
}

#[tokio::test]
async fn clients_get_through_nginx() {
    let server = Server::demo().await;
    let configuration = |folder: &Path, port: u16| {
        let folder = folder.display();
        let included = read(
            "nginx.conf",
            &[
                ("443 ssl", &format!("127.0.0.1:{port} ssl")),
                ("127.0.0.1:8080", &server.clients.to_string()),
                ("/etc/nginx/tls/push.crt", "cert.pem"),
                ("/etc/nginx/tls/push.key", "key.pem"),
                ("/var/log/nginx/", &format!("{folder}/")),
            ],
        );
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{}}\n\
             http {{\n{temporary}{included}}}\n"
        )
    };
    let front = Front::start("/usr/sbin/nginx", configuration, &["-p", ".", "-c", "proxy.conf"]).await;
    run(Command::new("/usr/sbin/nginx").current_dir(front.folder.path()).args(["-t", "-p", ".", "-c", "proxy.conf"]));
    front.check(&server).await;
    let log = fs::read_to_string(front.folder.path().join("push.log"));
    assert!(log.as_ref().is_ok_and(|log| !log.contains("demo-bob")), "{log:?}");
}

#[tokio::test]
async fn clients_get_through_haproxy() {
    let server = Server::demo().await;
    let configuration = |folder: &Path, port: u16| {
        read(
            "haproxy.cfg",
            &[
                (":443 ssl", &format!("127.0.0.1:{port} ssl")),
                ("127.0.0.1:8080", &server.clients.to_string()),
                ("check port 9090", &format!("check port {}", server.admin.port())),
                ("/etc/haproxy/push.pem", &folder.join("both.pem").display().to_string()),
                ("maxconn 100000", "maxconn 100"),
            ],
        )
    };
    let front = Front::start("/usr/sbin/haproxy", configuration, &["-db", "-f", "proxy.conf"]).await;
    run(Command::new("/usr/sbin/haproxy").current_dir(front.folder.path()).args(["-c", "-f", "proxy.conf"]));
    front.check(&server).await;
}

/// One document, all scalars as text.
fn yaml(document: &str) -> Value {
    let events = Parser::new_from_str(document).map(|event| event.unwrap().0);
    let mut events = events.filter(|event| !matches!(event, Event::Comment(..)));
    loop {
        match events.next().expect("a document") {
            Event::StreamStart | Event::DocumentStart(..) => {}
            event => return value(event, &mut events),
        }
    }
}

fn value<'d>(event: Event<'d>, events: &mut impl Iterator<Item = Event<'d>>) -> Value {
    match event {
        Event::Scalar(text, ..) => Value::String(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match events.next().expect("the end of a list") {
                    Event::SequenceEnd => return Value::Array(list),
                    event => list.push(value(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                match events.next().expect("the end of a map") {
                    Event::MappingEnd => return Value::Object(map),
                    Event::Scalar(key, ..) => {
                        let event = events.next().expect("a value");
                        map.insert(key.into_owned(), value(event, events));
                    }
                    other => panic!("no key: {other:?}"),
                }
            }
        }
        other => panic!("unexpected: {other:?}"),
    }
}
