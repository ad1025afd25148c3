//! Certificates and keys for the broker: what is good, and what is said of what is not.

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::*;

fn certified() -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["app".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

fn yaml(url: &str, tls: &str) -> String {
    format!("{BASE}amqp: {{ url: {url}, queues: [{{ name: q }}], tls: {{ {tls} }} }}\n")
}

#[test]
fn files_are_beside_the_one_that_names_them() {
    let (cert, key) = certified();
    let text = yaml("[amqp://mq, amqps://mq]", "ca: tls/ca.pem, cert: tls/cert.pem, key: tls/key.pem");
    let files = [("x.yaml", text.as_str()), ("tls/ca.pem", &cert), ("tls/cert.pem", &cert), ("tls/key.pem", &key)];
    let (folder, loaded) = load_files(&files);
    let loaded = loaded.unwrap();
    let at = |name: &str| folder.path().join(name);
    let AmqpTls { ca, identity: Some(identity) } = loaded.config.amqp.unwrap().tls else { panic!("no identity") };
    assert_eq!([ca.unwrap(), identity.cert, identity.key], ["tls/ca.pem", "tls/cert.pem", "tls/key.pem"].map(at));
    assert!(loaded.warnings.is_empty() && loaded.files.iter().any(|file| file.path == at("tls/key.pem")));
}

#[test]
fn what_cannot_be_used_is_said_before_the_broker_is_asked() {
    let ((cert, key), (_, other)) = (certified(), certified());
    let broken = "-----BEGIN CERTIFICATE-----\ns3cret\n-----END CERTIFICATE-----\n";
    let cases = [
        ("amqps://mq", "ca: none.pem"),
        ("amqps://mq", "ca: key.pem"),
        ("amqps://mq", "ca: broken.pem"),
        ("amqps://mq", "cert: cert.pem"),
        ("amqps://mq", "cert: cert.pem, key: cert.pem"),
        ("amqps://mq", "cert: cert.pem, key: other.pem"),
        ("amqps://mq", "ca: \"${SECRET}\", sert: cert.pem"),
        ("amqp://mq", "ca: cert.pem"),
    ];
    let all = cases.map(|(url, tls)| {
        said(&[
            ("x.yaml", &yaml(url, tls)),
            ("cert.pem", &cert),
            ("key.pem", &key),
            ("other.pem", &other),
            ("broken.pem", broken),
        ])
    });
    insta::assert_snapshot!(all.join("\n"));
}
