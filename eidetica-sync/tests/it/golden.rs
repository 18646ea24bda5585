//! Owns the comparison with kept bytes. Which bytes those are is each test's.

use data_encoding::HEXLOWER;

/// Compares named bytes with `tests/golden/<file>.txt`; with `EIDETICA_BLESS` set, writes it
/// anew.
pub(crate) fn assert_golden(file: &str, lines: &[(&str, Vec<u8>)]) {
    let text: String = lines
        .iter()
        .map(|(name, bytes)| format!("{name} {}\n", HEXLOWER.encode(bytes)))
        .collect();
    let path = format!("{}/tests/golden/{file}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("EIDETICA_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap());
}

/// The bytes kept in `tests/golden/<file>.txt`, which `EIDETICA_BLESS` replaces by `made`.
/// For bytes that may be made in several ways but must always be readable.
pub(crate) fn kept(file: &str, made: &[u8]) -> Vec<u8> {
    let path = format!("{}/tests/golden/{file}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("EIDETICA_BLESS").is_some() {
        std::fs::write(&path, HEXLOWER.encode(made) + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    HEXLOWER.decode(text.trim().as_bytes()).unwrap()
}
