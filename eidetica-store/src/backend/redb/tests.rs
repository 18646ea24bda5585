//! Owns the cases of the file backend that need a failing medium. The contract is tested
//! from outside.
