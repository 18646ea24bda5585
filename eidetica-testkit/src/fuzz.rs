//! Owns the fuzz targets: what each decoder promises of any bytes, and a short run of them that
//! needs nothing but a seed. Long runs are `cargo fuzz`'s, on the same targets.

use std::{
    fmt::Write,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use eidetica_core::Entropy;

use crate::SeededEntropy;

mod core;
#[cfg(feature = "crdt")]
mod crdt;
#[cfg(feature = "sync")]
mod sync;

pub use self::core::{auth_payload, entry, text};
#[cfg(feature = "crdt")]
pub use self::crdt::{doc_payload, table_payload};
#[cfg(feature = "sync")]
pub use self::sync::{answer, channel_answer, channel_request, data_stream, request, ticket};

/// Inputs that are tried unless `EIDETICA_FUZZ_RUNS` says otherwise.
const RUNS: u64 = 10_000;
/// Bytes of an input.
const MAX_BYTES: usize = 8 * 1024;
/// Changes made to one input.
const MAX_CHANGES: u64 = 8;
/// Bytes at which integers overflow and lengths lie.
const EDGES: [u8; 6] = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff];

/// Tries a target on the corpus of its name below `folder` and on changed copies of it, the same
/// ones each time. A target tells whether it accepted the input.
///
/// # Panics
/// The target panicked, which names the input; or there is no corpus, or one of which nothing is
/// accepted: then it is not of this format any more.
///
/// # Examples
/// ```no_run
/// eidetica_testkit::fuzz::smoke("../fuzz/corpus", "entry", eidetica_testkit::fuzz::entry);
/// ```
pub fn smoke(folder: &str, name: &str, target: fn(&[u8]) -> bool) {
    let corpus = read_corpus(&Path::new(folder).join(name));
    let accepted = corpus.iter().filter(|seed| try_input(name, target, seed));
    assert!(accepted.count() > 0, "nothing of the corpus is accepted");
    let mut change = Change::new(&corpus);
    for _ in 0..runs() {
        try_input(name, target, &change.next());
    }
}

fn runs() -> u64 {
    let told = std::env::var("EIDETICA_FUZZ_RUNS").ok();
    told.map_or(RUNS, |runs| runs.parse().expect("a number of runs"))
}

fn read_corpus(folder: &Path) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    let read = |file| fs::read(file).expect("a file of the corpus is read");
    files.iter().map(read).collect()
}

fn try_input(name: &str, target: fn(&[u8]) -> bool, input: &[u8]) -> bool {
    let tried = catch_unwind(AssertUnwindSafe(|| target(input)));
    tried.unwrap_or_else(|_| {
        let mut shown = String::new();
        for byte in input {
            write!(shown, "{byte:02x}").expect("a string takes any text");
        }
        panic!("{name} panicked on {shown}")
    })
}

/// An input that holds several: each behind its length (u16, big-endian), the last perhaps shorter
/// than it says.
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        self.0 = rest;
        Some(piece)
    }
}

/// Changed copies of a corpus, from a seed.
struct Change<'a> {
    corpus: &'a [Vec<u8>],
    chance: SeededEntropy,
}

impl<'a> Change<'a> {
    fn new(corpus: &'a [Vec<u8>]) -> Self {
        Self {
            corpus,
            chance: SeededEntropy::new(0),
        }
    }

    fn below(&self, end: usize) -> usize {
        let mut bytes = [0; 8];
        self.chance.fill(&mut bytes);
        let number = u64::from_be_bytes(bytes) % end.max(1) as u64;
        usize::try_from(number).expect("is below a length")
    }

    fn seed(&self) -> &'a [u8] {
        &self.corpus[self.below(self.corpus.len())]
    }

    fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed().to_vec();
        for _ in 0..=self.below(MAX_CHANGES as usize) {
            self.change(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn change(&self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let (len, byte) = (self.below(16), self.below(256) as u8);
        let end = (at + len).min(input.len());
        match self.below(8) {
            0 => input.truncate(at),
            1 => input.insert(at, byte),
            2 => drop(input.drain(at..end)),
            3 => input.splice(at..at, vec![byte; len]).for_each(drop),
            4 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy).for_each(drop);
            }
            5 => {
                let other = self.seed();
                input.truncate(at);
                input.extend_from_slice(&other[self.below(other.len() + 1)..]);
            }
            6 => {
                if let Some(place) = input.get_mut(at) {
                    *place = EDGES[self.below(EDGES.len())];
                }
            }
            _ => {
                if let Some(place) = input.get_mut(at) {
                    *place ^= 1 << self.below(8);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> std::path::PathBuf {
        let name = format!("eidetica-fuzz-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("digits")).unwrap();
        fs::write(folder.join("digits/one"), b"1234567").unwrap();
        folder
    }

    #[test]
    fn a_decoder_that_panics_on_some_bytes_is_found_and_one_that_accepts_nothing_too() {
        let folder = corpus();
        let folder = folder.to_str().unwrap();
        smoke(folder, "digits", |input| input.starts_with(b"12"));
        let trusts = |input: &[u8]| input[3] == b'4';
        let found = catch_unwind(|| smoke(folder, "digits", trusts)).unwrap_err();
        let message = found.downcast_ref::<String>().unwrap();
        assert!(message.starts_with("digits panicked on "), "{message}");
        assert!(catch_unwind(|| smoke(folder, "digits", |_| false)).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn inputs_are_the_same_each_time_and_differ_among_each_other() {
        let corpus = [b"one".to_vec(), vec![7; 100]];
        let (mut change, mut again) = (Change::new(&corpus), Change::new(&corpus));
        let inputs: Vec<_> = (0..200).map(|_| change.next()).collect();
        assert!(inputs.iter().all(|input| *input == again.next()));
        let distinct: std::collections::BTreeSet<_> = inputs.iter().collect();
        assert!(distinct.len() > 150, "{} distinct", distinct.len());
    }
}
