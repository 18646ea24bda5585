#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
mod client;
mod config;
#[cfg(all(feature = "client", feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "tls")]
mod tls;
#[cfg(any(feature = "client", feature = "server"))]
mod transport;
#[cfg(any(feature = "client", feature = "server"))]
mod wire;

pub use crate::config::{
    ANSWER_TYPE, HEALTH_PATH, HttpConfig, HttpVersion, REQUEST_PATH, SCHEME, TLS_SCHEME,
    VERSION_PATH,
};
#[cfg(feature = "tls")]
pub use crate::tls::{CertificateFault, TlsError, TlsIdentity, TlsRoots};
#[cfg(any(feature = "client", feature = "server"))]
pub use crate::transport::HttpTransport;
