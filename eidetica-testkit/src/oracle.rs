//! Owns brute-force definitions that incremental code must equal, written from the rules alone.

pub mod authority;
