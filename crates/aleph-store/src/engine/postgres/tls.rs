//! Encrypted connections: rustls between the driver and the socket.

use std::error::Error;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::super::EngineError;
use super::wire::Stream;
use crate::location::Encryption;

/// How to encrypt one connection; nothing where it stays plain.
pub(super) struct Tls(Option<(TlsConnector, ServerName<'static>)>);

impl Tls {
    /// For connections that are not encrypted.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// For a connection to the server of this name.
    pub(super) fn new(encryption: &Encryption, host: &str) -> Result<Self, EngineError> {
        let failed = |source: rustls::Error| EngineError::Encryption(source.into());
        let name =
            ServerName::try_from(host.to_owned()).map_err(|source| EngineError::Encryption(source.into()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = match encryption {
            Encryption::Verified { roots } => Trust::read(roots.as_deref(), &provider)?,
            Encryption::Never | Encryption::IfOffered | Encryption::Always => Trust::Anybody,
        };
        let algorithms = provider.signature_verification_algorithms;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { trust, algorithms }))
            .with_no_client_auth();
        Ok(Self(Some((TlsConnector::from(Arc::new(config)), name))))
    }
}

/// Whose certificate is good.
#[derive(Debug)]
enum Trust {
    /// Everybody's, as PostgreSQL's own programs take it with `require`: nobody listens along, but who
    /// is at the other end is not known.
    Anybody,
    /// The server's that is named, if one of these certificates vouches for it or is its own. One that
    /// signs itself, as PostgreSQL's manual makes it, names itself an authority, which the usual check
    /// does not take from a server; its end is not looked at, for the operator named just this one.
    Known { own: Vec<CertificateDer<'static>>, authorities: Arc<WebPkiServerVerifier> },
}

impl Trust {
    /// Trusts the certificates in a file, or those that the system trusts.
    fn read(file: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Self, EngineError> {
        let certificates = match file {
            Some(path) => CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|source| {
                    let text = format!("the certificates in {} can't be read: {source}", path.display());
                    EngineError::Encryption(text.into())
                })?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|source| EngineError::Encryption(source.into()))?;
        // What the system trusts are authorities.
        let own = if file.is_some() { certificates } else { Vec::new() };
        Ok(Self::Known { own, authorities })
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Anybody => Ok(ServerCertVerified::assertion()),
            Trust::Known { own, .. } if own.iter().any(|own| own == certificate) => {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            Trust::Known { authorities, .. } => {
                authorities.verify_server_cert(certificate, intermediates, name, ocsp, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl TlsConnect<Stream> for Tls {
    type Stream = Encrypted;
    type Error = Box<dyn Error + Sync + Send>;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted, Self::Error>> + Send>>;

    fn connect(self, stream: Stream) -> Self::Future {
        Box::pin(async move {
            let Some((connector, name)) = self.0 else { return Err("not asked for".into()) };
            Ok(Encrypted(Box::new(connector.connect(name, stream).await?)))
        })
    }
}

/// The socket behind its encryption.
pub(super) struct Encrypted(Box<tokio_rustls::client::TlsStream<Stream>>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
