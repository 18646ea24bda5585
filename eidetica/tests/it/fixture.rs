//! Data of format 1, as a program of then left it, is opened for ever after.

mod record;

use std::{fs, io::Read, path::Path};

use eidetica::Instance;
use flate2::read::GzDecoder;

#[tokio::test]
async fn data_of_format_1_opens_and_holds_what_it_held() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut file = Vec::new();
    let packed = fs::File::open(fixtures.join("format-1.redb.gz")).unwrap();
    GzDecoder::new(packed).read_to_end(&mut file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.redb");
    fs::write(&path, file).unwrap();

    let instance = Instance::builder().redb(&path).open().await.unwrap();
    assert_eq!(instance.storage().doctor().await.unwrap(), []);
    let recorded = fs::read_to_string(fixtures.join("format-1.txt")).unwrap();
    assert_eq!(record::record(&instance).await, recorded);
    // It can be written on.
    for id in instance.databases().await.unwrap() {
        let database = instance.database(id).await.unwrap();
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().set("today", 1).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(instance.storage().doctor().await.unwrap(), []);
}
