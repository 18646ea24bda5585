//! Owns the published edge cases of ed25519: by ZIP 215 each has one verdict, single and in a
//! batch. Keys that make such signatures possible are no public keys here.

use data_encoding::HEXLOWER;
use ed25519_zebra::{Signature, VerificationKey, VerificationKeyBytes, batch};

use super::Coefficients;
use crate::{KeyError, PublicKey};

/// A key, a signature and a message, and whether ZIP 215 takes them.
struct Case {
    key: [u8; 32],
    signature: [u8; 64],
    message: Vec<u8>,
    is_valid: bool,
}

/// Every encoding of a point of small order: the canonical ones, then those that are a second
/// spelling.
const SMALL_ORDER: [&str; 14] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

/// The vectors of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko; SSR 2020): message,
/// key, signature, and whether ZIP 215 takes it.
const TAMING: [(&str, &str, &str, bool); 12] = [
    (
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000",
        true,
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        true,
    ),
    (
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
        true,
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
        true,
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
        true,
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
        true,
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
        false,
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
        false,
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
        false,
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
        true,
    ),
    (
        "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        true,
    ),
    (
        "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        true,
    ),
];

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let bytes = HEXLOWER.decode(hex.as_bytes()).expect("a constant");
    bytes.try_into().expect("a constant of this length")
}

/// The 196 vectors of ZIP 215: every key and every R of small order, with s = 0.
fn small_order() -> Vec<Case> {
    let mut cases = Vec::new();
    for key in SMALL_ORDER {
        for r in SMALL_ORDER {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&bytes::<32>(r));
            cases.push(Case {
                key: bytes(key),
                signature,
                message: b"Zcash".to_vec(),
                is_valid: true,
            });
        }
    }
    cases
}

fn taming() -> Vec<Case> {
    let cases = TAMING
        .iter()
        .map(|(message, key, signature, is_valid)| Case {
            key: bytes(key),
            signature: bytes(signature),
            message: bytes::<32>(message).to_vec(),
            is_valid: *is_valid,
        });
    cases.collect()
}

impl Case {
    fn item(&self) -> batch::Item {
        let key = VerificationKeyBytes::from(self.key);
        batch::Item::from((key, Signature::from(self.signature), &self.message))
    }

    fn is_valid_alone(&self) -> bool {
        VerificationKey::try_from(self.key)
            .and_then(|key| key.verify(&Signature::from(self.signature), &self.message))
            .is_ok()
    }
}

fn batch_is_valid(items: impl IntoIterator<Item = batch::Item>) -> bool {
    let mut verifier = batch::Verifier::new();
    items.into_iter().for_each(|item| verifier.queue(item));
    let coefficients = Coefficients {
        seed: [5; 32],
        block: 0,
        unread: Vec::new(),
    };
    verifier.verify(coefficients).is_ok()
}

#[test]
fn single_and_batch_verification_agree_on_every_published_edge_case() {
    let cases: Vec<_> = small_order().into_iter().chain(taming()).collect();
    assert_eq!(cases.len(), 196 + 12);
    for (number, case) in cases.iter().enumerate() {
        assert_eq!(case.is_valid_alone(), case.is_valid, "case {number}");
        assert_eq!(
            batch_is_valid([case.item()]),
            case.is_valid,
            "case {number}"
        );
        let company = [cases[0].item(), case.item(), cases[100].item()];
        assert_eq!(batch_is_valid(company), case.is_valid, "case {number}");
    }
    let valid = || cases.iter().filter(|case| case.is_valid);
    assert!(batch_is_valid(valid().map(Case::item)));
    for invalid in cases.iter().filter(|case| !case.is_valid) {
        assert!(!batch_is_valid(valid().chain([invalid]).map(Case::item)));
    }
}

#[test]
fn a_key_that_is_one_judges_the_edge_cases_as_zip_215_does() {
    let mut judged = 0;
    for (number, case) in taming().iter().enumerate() {
        let Ok(key) = PublicKey::from_bytes(case.key) else {
            continue;
        };
        let signature = crate::Signature::from_bytes(case.signature);
        let verdict = key.verifies(&case.message[..7], &case.message[7..], &signature);
        assert_eq!(verdict, case.is_valid, "case {number}");
        judged += 1;
    }
    assert_eq!(judged, 8);
}

#[test]
fn no_encoding_of_a_point_of_small_order_is_a_public_key() {
    for (number, hex) in SMALL_ORDER.into_iter().enumerate() {
        let verdict = PublicKey::from_bytes(bytes(hex));
        let is_reduced = !(10..14).contains(&number);
        let expected = if is_reduced {
            KeyError::SmallOrder
        } else {
            KeyError::NonCanonical
        };
        assert_eq!(verdict, Err(expected), "encoding {number}");
    }
}

#[test]
fn no_second_spelling_of_a_point_is_a_public_key() {
    for low in 0xed..=0xff {
        for top in [0x7f, 0xff] {
            let mut spelling = [0xff; 32];
            (spelling[0], spelling[31]) = (low, top);
            let verdict = PublicKey::from_bytes(spelling);
            assert_eq!(verdict, Err(KeyError::NonCanonical));
        }
    }
}
