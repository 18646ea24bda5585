//! Owns TLS with ordinary certificates: what a server shows, whom a client believes, and what is
//! wrong with a certificate. Whose device answers is proven by the sync layer, inside.

use std::{error::Error, fmt, io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Bytes of a file with certificates or a key that are read: a bundle of all public roots has a
/// quarter of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The protocols that a server offers, the one with fewer connections first.
const SERVED: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What is wrong with the certificate that a server shows: the source of a `TransportError` of
/// kind `Certificate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateFault {
    /// It is for other names than the one in the address.
    WrongName,
    /// Its time is over, or the clock of this device is wrong.
    Expired,
    /// Its time has not come, or the clock of this device is wrong.
    NotYetValid,
    /// No root that this device believes vouches for it.
    UnknownIssuer,
    /// Its issuer has taken it back.
    Revoked,
    /// It is damaged, for another purpose, or the server does not hold its key.
    Bad,
    /// This device knows no root certificates to check it by.
    NoRoots,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongName => "the certificate is for another name",
            Self::Expired => "the certificate has expired",
            Self::NotYetValid => "the certificate is not valid yet",
            Self::UnknownIssuer => "nobody that this device believes vouches for the certificate",
            Self::Revoked => "the certificate was revoked",
            Self::Bad => "the certificate is not as it must be",
            Self::NoRoots => "this device has no root certificates to check one by",
        })
    }
}

impl Error for CertificateFault {}

impl CertificateFault {
    /// What a failed connection says about the server's certificate, if that is why it failed.
    pub(crate) fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        tls_errors(error).find_map(|error| match error {
            rustls::Error::InvalidCertificate(why) => Some(Self::of(why)),
            rustls::Error::NoCertificatesPresented => Some(Self::Bad),
            _ => None,
        })
    }

    fn of(why: &CertificateError) -> Self {
        match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Revoked => Self::Revoked,
            _ => Self::Bad,
        }
    }
}

/// Whether a connection failed because what answers does not speak TLS.
pub(crate) fn is_not_tls(error: &(dyn Error + 'static)) -> bool {
    tls_errors(error).any(|error| matches!(error, rustls::Error::InvalidMessage(_)))
}

/// The errors of TLS among the causes of an error, those inside IO errors included.
fn tls_errors<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a rustls::Error> + use<'a> {
    let causes = std::iter::successors(Some(error), |&error| {
        // The source of an IO error is that of the error inside, which itself is left out.
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    });
    causes.filter_map(|error| error.downcast_ref::<rustls::Error>())
}

/// Why a certificate, key or root cannot be used.
#[derive(Debug)]
pub struct TlsError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl TlsError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}

/// What a server shows: a chain of certificates and the key of the first.
///
/// ```no_run
/// use eidetica_transport_http::{HttpConfig, TlsIdentity};
///
/// let identity = TlsIdentity::from_files("chain.pem".as_ref(), "key.pem".as_ref())?;
/// let config = HttpConfig::new()
///     .with_listen(([0, 0, 0, 0], 443).into())
///     .with_tls_identity(identity);
/// # Ok::<(), eidetica_transport_http::TlsError>(())
/// ```
#[derive(Clone)]
pub struct TlsIdentity(Arc<ServerConfig>);

impl TlsIdentity {
    /// Reads a chain, the server's own certificate first, and its key; both PEM.
    ///
    /// # Errors
    /// A file cannot be read, holds nothing of the kind, or the key is not the certificate's.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::from_pem(&read(chain)?, &read(key)?).map_err(|error| {
            let (chain, key) = (chain.display(), key.display());
            TlsError::new(format!(
                "cannot serve TLS: certificate=`{chain}` key=`{key}`"
            ))
            .because(error)
        })
    }

    /// Takes a chain, the server's own certificate first, and its key; both PEM.
    ///
    /// # Errors
    /// Either holds nothing of the kind, or the key is not the certificate's.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|e| TlsError::new("there is no private key in PEM").because(e))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has suites of TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| TlsError::new("certificate and key do not fit").because(e))?;
        config.alpn_protocols = SERVED.map(<[u8]>::to_vec).to_vec();
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.0.clone().into()
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(..)")
    }
}

/// Whom a client believes about certificates: the roots of the system, unless others are given.
///
/// ```no_run
/// use eidetica_transport_http::{HttpConfig, TlsRoots};
///
/// let roots = TlsRoots::from_file("company-ca.pem".as_ref())?;
/// let config = HttpConfig::new().with_tls_roots(roots);
/// # Ok::<(), eidetica_transport_http::TlsError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct TlsRoots(Option<Arc<RootCertStore>>);

impl TlsRoots {
    /// The roots of the system, read when the first `https` address is asked.
    pub fn system() -> Self {
        Self::default()
    }

    /// These roots, in PEM, and no others.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate that can be a root.
    pub fn from_file(roots: &Path) -> Result<Self, TlsError> {
        Self::from_pem(&read(roots)?).map_err(|error| {
            TlsError::new(format!("no roots to trust: file=`{}`", roots.display())).because(error)
        })
    }

    /// These roots, in PEM, and no others.
    ///
    /// # Errors
    /// There is no certificate that can be a root.
    pub fn from_pem(roots: &[u8]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for root in certificates(roots)? {
            store
                .add(root)
                .map_err(|e| TlsError::new("a certificate cannot be a root").because(e))?;
        }
        Ok(Self(Some(Arc::new(store))))
    }

    /// How to dial. Reads the system's roots if none were given, which takes some milliseconds.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, CertificateFault> {
        let roots = match &self.0 {
            Some(roots) => roots.clone(),
            None => system_roots()?,
        };
        Ok(ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has suites of TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

/// The roots of the system that can be read; one that cannot vouches for nobody.
fn system_roots() -> Result<Arc<RootCertStore>, CertificateFault> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match store.is_empty() {
        true => Err(CertificateFault::NoRoots),
        false => Ok(Arc::new(store)),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::new("there is no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::new("the PEM is damaged").because(error)),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = || TlsError::new(format!("cannot read the file: file=`{}`", file.display()));
    let size = std::fs::metadata(file).map_err(|e| failed().because(e))?;
    if size.len() > MAX_FILE_BYTES {
        let message = format!("too large for certificates: limit={MAX_FILE_BYTES}");
        return Err(failed().because(message));
    }
    std::fs::read(file).map_err(|e| failed().because(e))
}
