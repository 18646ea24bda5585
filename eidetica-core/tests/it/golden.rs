//! Owns the bytes of entries and payloads, which pin the format that every device agrees on.

use eidetica_core::{
    EntryBuilder, Kind, Payload, SecretKey, SignedEntry, StoreName, Timestamp,
    authority::{AuthOperation, Level, Subject},
};
use eidetica_testkit::golden;

fn author() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

fn payload() -> Vec<u8> {
    Payload {
        salt: &[9; 16],
        kind: Kind::new("doc").unwrap(),
        kind_version: 1,
        operations: &[1, 2, 3],
    }
    .encode()
    .unwrap()
}

fn auth_payload() -> Vec<u8> {
    let pardon = AuthOperation::SetPermission {
        subject: author().public().into(),
        level: Level::Admin(300),
        name: "laptop".to_owned(),
        reinstate: true,
    };
    let anyone = AuthOperation::set(Subject::Anyone, Level::Read, "");
    let operations = [pardon, anyone, AuthOperation::SetFormat { n: 2 }];
    AuthOperation::encode_payload(&operations).unwrap()
}

fn root() -> SignedEntry {
    EntryBuilder::root([3; 16], Timestamp::from_millis(1_700_000_000_000))
        .with_change(StoreName::settings(), payload())
        .with_change(StoreName::auth(), auth_payload())
        .sign(&author())
        .unwrap()
}

fn child() -> SignedEntry {
    let root = root();
    let time = Timestamp::from_bits(root.header().timestamp.to_bits() + 1);
    let database = root.header().database(root.id());
    EntryBuilder::child(database, [root.id()], root.header().height, time)
        .with_seq(300)
        .with_change(StoreName::new("notes").unwrap(), payload())
        .sign(&author())
        .unwrap()
}

#[test]
fn entries_and_payloads_have_the_golden_bytes_of_the_format() {
    let (root, child) = (root(), child());
    let named = [
        ("payload", payload()),
        ("auth-payload", auth_payload()),
        ("author", author().public().as_bytes().to_vec()),
        ("root", root.core_bytes().to_vec()),
        ("root-signature", root.signature().as_bytes().to_vec()),
        ("root-id", root.id().as_bytes().to_vec()),
        ("child", child.core_bytes().to_vec()),
        ("child-signature", child.signature().as_bytes().to_vec()),
        ("child-id", child.id().as_bytes().to_vec()),
    ];
    golden::check(env!("CARGO_MANIFEST_DIR"), "entry", named);
    let again = SignedEntry::decode(child.core_bytes().to_vec(), child.payloads().to_vec());
    assert_eq!(again, Ok(child.clone()));
    child.verify().unwrap();
}
