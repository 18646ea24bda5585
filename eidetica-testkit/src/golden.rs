//! Owns the comparison of bytes with a kept file, which pins a format. Which bytes, and where
//! the file is, is the test's.

use std::{fmt::Write, fs, path::Path};

/// Compares named bytes with `tests/golden/<file>.txt` below `folder`, the test's
/// `CARGO_MANIFEST_DIR`; one line `name hexadecimal` each. With `EIDETICA_BLESS` set it writes
/// the file anew instead.
///
/// # Panics
/// The file differs, or cannot be read or written.
pub fn check<'a>(folder: &str, file: &str, named: impl IntoIterator<Item = (&'a str, Vec<u8>)>) {
    let mut made = String::new();
    for (name, bytes) in named {
        made.push_str(name);
        made.push(' ');
        for byte in bytes {
            write!(made, "{byte:02x}").expect("a string takes any text");
        }
        made.push('\n');
    }
    let path = Path::new(folder).join(format!("tests/golden/{file}.txt"));
    if std::env::var_os("EIDETICA_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a file is in a folder"))
            .and_then(|()| fs::write(&path, &made))
            .unwrap_or_else(|e| panic!("{} is not written: {e}", path.display()));
    }
    let kept =
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{} is not read: {e}", path.display()));
    for (number, (made, kept)) in made.lines().zip(kept.lines()).enumerate() {
        assert_eq!(made, kept, "{} line {}", path.display(), number + 1);
    }
    assert_eq!(
        made.lines().count(),
        kept.lines().count(),
        "{}",
        path.display()
    );
}
