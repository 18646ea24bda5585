//! Owns the client's connections over TLS. What certificates are believed is `tls`'s.

use std::sync::Arc;

use bytes::Bytes;
use eidetica_transport::{Address, TransportError, TransportErrorKind};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use tokio::sync::OnceCell;

use crate::{CertificateFault, HttpConfig, HttpVersion, TlsRoots, client};

type Client = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that is made when it is first needed, as reading the system's roots takes a while.
#[derive(Debug, Clone)]
pub(crate) struct Https {
    config: HttpConfig,
    client: Arc<OnceCell<Client>>,
}

impl Https {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        Self {
            config: config.clone(),
            client: Arc::default(),
        }
    }

    /// The client.
    pub(crate) async fn client(&self, to: &Address) -> Result<&Client, TransportError> {
        let made = self.client.get_or_try_init(async || {
            let config = self.config.clone();
            let connecting = tokio::task::spawn_blocking(move || connector(&config));
            // It does not panic and nothing aborts it.
            let connector = connecting.await.unwrap_or(Err(CertificateFault::NoRoots))?;
            Ok(client::builder(&self.config).build(connector))
        });
        made.await.map_err(|fault| refused(to, fault))
    }
}

/// The error of a server whose certificate is not believed.
pub(crate) fn refused(to: &Address, fault: CertificateFault) -> TransportError {
    let message = format!("{fault}: address=`{to}`");
    TransportError::new(TransportErrorKind::Certificate, message).with_source(fault)
}

fn connector(config: &HttpConfig) -> Result<HttpsConnector<HttpConnector>, CertificateFault> {
    let tls = TlsRoots::client_config(&config.tls_roots)?;
    let mut tcp = client::connector(config);
    tcp.enforce_http(false);
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only();
    Ok(match config.version {
        HttpVersion::Http1 => builder.enable_http1().wrap_connector(tcp),
        HttpVersion::Http2 => builder.enable_http2().wrap_connector(tcp),
    })
}
