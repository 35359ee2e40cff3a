//! TLS to PostgreSQL, as `sslmode` and `sslrootcert` of the URL say: what they mean to libpq they mean here.
//!
//! | `sslmode` | TLS | the server's certificate |
//! | --- | --- | --- |
//! | `disable` | no | |
//! | `prefer`, also where nothing is said | if the server has it | is not looked at |
//! | `require` | yes | is not looked at, unless there is an `sslrootcert`: then as `verify-ca` |
//! | `verify-ca` | yes | must be signed by an authority |
//! | `verify-full` | yes | must also be for the host |
//!
//! The authorities are those of the file `sslrootcert`, else, or with `sslrootcert=system`, those that the system trusts.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

/// The two parameters of a URL.
const MODE: &str = "sslmode";
const ROOTS: &str = "sslrootcert";
/// In place of a file: the authorities that the system trusts.
const SYSTEM: &str = "system";

/// What is looked at of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Authority,
    AuthorityAndHost,
}

/// What a URL says of TLS, and the URL in words that the client knows.
///
/// # Errors
/// What is allowed, where it says something else.
fn parameters(url: &str) -> Result<(String, Check, Option<String>), String> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let value = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        match pair.split_once('=') {
            Some((MODE, text)) => mode = Some(value(text)),
            Some((ROOTS, text)) => roots = Some(value(text)).filter(|roots| !roots.is_empty()),
            _ => rest.push(pair.to_owned()),
        }
    }
    let (known, check) = match (mode.as_deref(), &roots) {
        (Some("disable"), _) => ("disable", Check::Nothing),
        (None | Some("prefer"), _) => ("prefer", Check::Nothing),
        (Some("require"), None) => ("require", Check::Nothing),
        (Some("require" | "verify-ca"), _) => ("require", Check::Authority),
        (Some("verify-full"), _) => ("require", Check::AuthorityAndHost),
        _ => return Err("sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned()),
    };
    rest.push(format!("{MODE}={known}"));
    Ok((format!("{address}?{}", rest.join("&")), check, roots))
}

/// The URL in words that the client knows, and how it is to connect.
///
/// # Errors
/// What is wrong, where the URL asks for what cannot be, or its file of authorities cannot be read.
pub(super) fn of(url: &str) -> Result<(String, Tls), String> {
    let (url, check, roots) = parameters(url)?;
    Ok((url, Tls(Arc::new(config(check, roots.as_deref())?))))
}

fn config(check: Check, roots: Option<&str>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let authorities = match check {
        Check::Nothing => None,
        Check::Authority | Check::AuthorityAndHost => {
            let roots = Arc::new(authorities(roots)?);
            let made = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            Some(made.map_err(|error| format!("sslrootcert: {error}"))?)
        }
    };
    let verifier = Arc::new(Verifier { provider: Arc::clone(&provider), authorities, check });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS: {error}"))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn authorities(file: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match file.filter(|file| *file != SYSTEM) {
        Some(file) => {
            let broken = |error: &dyn std::fmt::Display| format!("sslrootcert {file} cannot be read: {error}");
            let certificates = CertificateDer::pem_file_iter(file).map_err(|error| broken(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| broken(&error))?;
                roots.add(certificate).map_err(|error| broken(&error))?;
            }
        }
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    if roots.is_empty() {
        return Err(format!("sslrootcert {} has no certificate of an authority", file.unwrap_or(SYSTEM)));
    }
    Ok(roots)
}

/// Looks at as much of a certificate as was asked for; that the server has its key is always seen.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    check: Check,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(certificate, intermediates, host, ocsp, now) {
            // The name comes last: by then the signatures, the times and the purpose were found to be in order.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check == Check::Authority => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// How one connects.
#[derive(Clone)]
pub(in crate::store) struct Tls(Arc<ClientConfig>);

/// The same to one host.
pub(in crate::store) struct To(Arc<ClientConfig>, ServerName<'static>);

/// A connection.
pub(in crate::store) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Stream<S>;
    type TlsConnect = To;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<To, Self::Error> {
        Ok(To(Arc::clone(&self.0), ServerName::try_from(host.to_owned())?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for To {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = TlsConnector::from(self.0).connect(self.1, stream);
        Box::pin(async move { Ok(Stream(connecting.await?)) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_mean_what_they_mean_to_libpq() {
        let url = "postgresql://me@host/db";
        #[rustfmt::skip]
        let rows = [
            ("", "sslmode=prefer", Check::Nothing, None),
            ("?sslmode=disable", "sslmode=disable", Check::Nothing, None),
            ("?sslmode=require&application_name=a", "application_name=a&sslmode=require", Check::Nothing, None),
            ("?sslmode=require&sslrootcert=/ca%20s.pem", "sslmode=require", Check::Authority, Some("/ca s.pem")),
            ("?sslmode=verify-ca", "sslmode=require", Check::Authority, None),
            ("?sslrootcert=system&sslmode=verify-full", "sslmode=require", Check::AuthorityAndHost, Some("system")),
        ];
        for (given, query, check, roots) in rows {
            let expected = (format!("{url}?{query}"), check, roots.map(str::to_owned));
            assert_eq!(parameters(&format!("{url}{given}")), Ok(expected), "{given}");
        }
        assert!(parameters(&format!("{url}?sslmode=verify")).is_err());
    }

    #[test]
    fn authorities_that_are_not_there_are_no_authorities() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let read = || authorities(file.to_str());
        assert!(read().unwrap_err().contains("cannot be read"));
        std::fs::write(&file, "no certificate").unwrap();
        assert!(read().unwrap_err().contains("has no certificate"));
    }
}
