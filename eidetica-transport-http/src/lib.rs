#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
mod client;
mod config;
#[cfg(all(feature = "client", feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "server")]
mod server;
#[cfg(any(feature = "client", feature = "server"))]
mod transport;
#[cfg(any(feature = "client", feature = "server"))]
mod wire;

pub use crate::config::{
    ANSWER_TYPE, HEALTH_PATH, HttpConfig, HttpVersion, MAX_CONNECTIONS, REQUEST_PATH, SCHEME,
    VERSION_PATH,
};
#[cfg(any(feature = "client", feature = "server"))]
pub use crate::transport::HttpTransport;
