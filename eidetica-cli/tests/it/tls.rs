//! HTTP over TLS: `serve` with a certificate, and who believes it.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::device::{Device, text};

/// Files of a certificate for 127.0.0.1 that vouches for itself, and its key.
fn certificate(folder: &TempDir) -> (PathBuf, PathBuf) {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = (
        folder.path().join("chain.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&chain, certified.cert.pem()).unwrap();
    fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    (chain, key)
}

#[test]
fn a_device_joins_over_tls_if_it_believes_the_certificate() {
    let folder = TempDir::new().unwrap();
    let (chain, key) = certificate(&folder);
    let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    let (laptop, phone) = (Device::empty(), Device::empty());
    let phone_key = phone.key();
    let mut serve = laptop.serve(&[
        "--http",
        "127.0.0.1:0",
        "--tls-cert",
        chain,
        "--tls-key",
        key,
    ]);
    assert!(serve.listening().starts_with("https://"));
    serve.done("db create notes");
    serve.done("put notes app theme '\"dark\"'");
    serve.done(&format!("grant notes {phone_key} write"));
    let ticket = text(&serve.done("share notes")["ticket"]);

    let outcome = phone.run(&["join", &ticket]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("certificate"), "{outcome:?}");
    phone.done(&["--tls-ca", chain, "join", &ticket]);
    assert_eq!(phone.done(&["get", "notes", "app", "theme"]).line(), "dark");
}

#[test]
fn certificate_and_key_go_together_and_are_read_before_anything_listens() {
    let folder = TempDir::new().unwrap();
    let (chain, key) = certificate(&folder);
    let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    let device = Device::empty();
    let http = ["serve", "--http", "127.0.0.1:0"];
    for arguments in [
        &["--tls-cert", chain][..],
        &["--tls-key", key],
        &["--tls-cert", key, "--tls-key", key],
        &["--tls-cert", "no/such/file", "--tls-key", key],
        &["--tls-ca", key],
    ] {
        let outcome = device.run(&[&http[..], arguments].concat());
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {outcome:?}");
    }
}
