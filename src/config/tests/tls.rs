use super::*;
use crate::tls::CertificateFiles;

const TLS: &str = "tls: { cert: pki/tls.crt, key: pki/tls.key }\n";

/// A certificate that is valid in these years, and its key.
fn certificate(from: i32, until: i32) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn said_of(tls: &str, cert: &str, key: &str) -> String {
    said(&[("x.yaml", &format!("{BASE}{tls}")), ("pki/tls.crt", cert), ("pki/tls.key", key)])
}

#[test]
fn the_files_are_relative_to_the_configuration_and_right() {
    let (cert, key) = certificate(2020, 2999);
    assert_eq!(said_of(TLS, &cert, &key), "");
    let (folder, loaded) =
        load_files(&[("x.yaml", &format!("{BASE}{TLS}")), ("pki/tls.crt", &cert), ("pki/tls.key", &key)]);
    let path = |name: &str| folder.path().join(name);
    let files = CertificateFiles { cert: path("pki/tls.crt"), key: path("pki/tls.key") };
    assert_eq!(loaded.unwrap().config.tls, Some(files));
}

#[test]
fn what_is_wrong_is_said_at_its_place_and_never_what_is_in_the_files() {
    let (cert, key) = certificate(2020, 2999);
    let (expired, own) = certificate(2020, 2021);
    let pasted = "tls: { cert: pki/tls.crt, key: s3cret }\n";
    let inlined = "tls:\n  cert: pki/tls.crt\n  key: |\n    s3cret\n    s3cret\n";
    for (tls, cert, key, expected) in [
        (TLS, expired.as_str(), own.as_str(), "warning: the certificate expired"),
        (TLS, &cert, &own, "error: the private key in `pki/tls.key` is not that of the certificate in `pki/tls.crt`"),
        (TLS, "s3cret", &key, "error: `pki/tls.crt` holds no certificate"),
        (TLS, &cert, "s3cret", "error: `pki/tls.key` holds no private key"),
        ("tls: { cert: a.crt, key: pki/tls.key }\n", "", &key, "error: `a.crt` cannot be read"),
        ("tls: { cert: pki/tls.crt, key: b.key }\n", &cert, "", "error: `b.key` cannot be read"),
        ("tls: { cert: pki/tls.crt }\n", &cert, "", "error: `key` is missing"),
        ("tls: { cert: pki/tls.crt, kye: s3cret }\n", &cert, "", "error: unknown key `kye`, did you mean `key`?"),
        ("tls: { cert: \"${LISTEN}/a.crt\", key: pki/tls.key }\n", "", &key, "error: `${LISTEN}/a.crt` cannot be read"),
        ("tls: yes\n", "", "", "error: expected a map of `cert` and `key`"),
        (pasted, &cert, &key, "error: this names no file that can be used"),
        (inlined, &cert, &key, "error: this names no file that can be used"),
    ] {
        let said = said_of(tls, cert, key);
        assert!(said.starts_with(expected), "{said}\nand not: {expected}");
        assert!(said.contains("x.yaml:") && said.contains('^'), "{said}");
    }
}
