//! Encryption: what `sslmode` asks of a server, whom we trust, and what is wrong when it fails.

use std::future::{Ready, ready};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::Target;
use crate::parameter::Values;
use crate::socket::Socket;
use crate::{ConnectError, Hop};

/// How much encryption a server gets and has to give. The meaning is libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// None.
    Disable,
    /// None, unless the server lets nobody in without.
    Allow,
    /// As much as the server has.
    Prefer,
    /// Encrypted, whoever the server is; but where there is a root certificate, as `VerifyCa`.
    Require,
    /// By a server whose certificate somebody signed whom we trust.
    VerifyCa,
    /// And whose certificate is for the host that is named.
    VerifyFull,
}

impl SslMode {
    /// Which words there are.
    pub(crate) const RULE: &str = "`disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`";

    /// The mode of this name.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Whom we trust, and who we say we are.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    /// Who may sign a server's certificate.
    pub(crate) roots: Roots,
    /// Our own certificate and its key, in files.
    identity: Option<(PathBuf, PathBuf)>,
}

/// Who may sign a server's certificate.
#[derive(Debug, Clone)]
pub(crate) enum Roots {
    /// Whom the operating system trusts.
    System,
    /// Who is in this file.
    File(PathBuf),
    /// Who is in this file of the user if there is one, else whom the operating system trusts.
    Usual(Option<PathBuf>),
}

impl Trust {
    /// What the parameters say, and what lies in the user's `.postgresql` directory.
    pub(crate) fn new(values: &Values, home: Option<&Path>) -> Self {
        let usual = |name: &str| home.map(|home| home.join(".postgresql").join(name));
        let file = |parameter, name| values.get(parameter).map(PathBuf::from).or_else(|| usual(name));
        let roots = match values.get("sslrootcert") {
            Some("system") => Roots::System,
            Some(path) => Roots::File(PathBuf::from(path)),
            None => Roots::Usual(usual("root.crt")),
        };
        let identity = file("sslcert", "postgresql.crt").zip(file("sslkey", "postgresql.key"));
        // Unless it was asked for, a certificate that is not there is no fault.
        let asked = values.get("sslcert").is_some();
        Self { roots, identity: identity.filter(|(certificate, _)| asked || certificate.exists()) }
    }

    /// How the server's certificate is checked. Like libpq, `require` checks it where there is a root
    /// certificate to check it by.
    fn check(&self, mode: SslMode) -> Check {
        let has_root = match &self.roots {
            Roots::System => false,
            Roots::File(_) => true,
            Roots::Usual(path) => path.as_ref().is_some_and(|path| path.exists()),
        };
        match mode {
            SslMode::VerifyFull => Check::SignatureAndName,
            SslMode::VerifyCa => Check::Signature,
            SslMode::Require if has_root => Check::Signature,
            _ => Check::Nothing,
        }
    }

    /// The certificates of those who may sign.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
        match &self.roots {
            Roots::File(path) => read_certificates(path, "sslrootcert"),
            Roots::Usual(Some(path)) if path.exists() => read_certificates(path, "sslrootcert"),
            // The operating system's, not a list that is compiled in: that is what `system` says,
            // it is where companies put their own, and where the S3 client looks too.
            Roots::System | Roots::Usual(_) => Ok(rustls_native_certs::load_native_certs().certs),
        }
    }

    /// All that a handshake with this server needs.
    fn client(&self, mode: SslMode) -> Result<ClientConfig, ConnectError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(self, self.check(mode), &provider)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ConnectError::new(Hop::Tls, "TLS cannot be set up").because(error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let Some((certificate, key)) = &self.identity else { return Ok(client.with_no_client_auth()) };
        let chain = read_certificates(certificate, "sslcert")?;
        client.with_client_auth_cert(chain, read_key(key)?).map_err(|error| {
            let message = format!("the key `{}` does not belong to `{}`", key.display(), certificate.display());
            ConnectError::new(Hop::Tls, message).cure("give both as `sslcert=FILE&sslkey=FILE`").because(error)
        })
    }
}

fn read_certificates(path: &Path, parameter: &str) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let unusable = |message: &str| {
        ConnectError::new(Hop::Tls, format!("the certificate file `{}` {message}", path.display()))
            .cure(format!("give a PEM file that this user may read as `{parameter}=FILE`"))
    };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unusable("cannot be read").because(error))?;
    if read.is_empty() { Err(unusable("holds no certificate")) } else { Ok(read) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let unusable = |message: &str| ConnectError::new(Hop::Tls, format!("the key file `{}` {message}", path.display()));
    // As libpq: nobody else may read it, but for a group's right to a key of root.
    let about = std::fs::metadata(path)
        .map_err(|error| unusable("cannot be read").cure("give one as `sslkey=FILE`").because(error))?;
    let forbidden = if about.uid() == 0 { 0o037 } else { 0o077 };
    if about.permissions().mode() & forbidden != 0 {
        return Err(unusable("can be read by others").cure("take their rights away with `chmod 600`"));
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        unusable("holds no key that can be used").cure("give a PEM file with a key that has no password").because(error)
    })
}

/// How a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Nothing,
    Signature,
    SignatureAndName,
}

/// Checks certificates as `sslmode` asks.
#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
    /// `None` where nothing is checked.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(trust: &Trust, check: Check, provider: &Arc<CryptoProvider>) -> Result<Self, ConnectError> {
        let mut verifier = Self { check, provider: Arc::clone(provider), webpki: None, trusted: Vec::new() };
        if check == Check::Nothing {
            return Ok(verifier);
        }
        verifier.trusted = trust.certificates()?;
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(verifier.trusted.iter().cloned());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build();
        verifier.webpki = Some(webpki.map_err(|error| {
            ConnectError::new(Hop::Tls, "there is no root certificate to check the server's by")
                .cure("give its CA as `sslrootcert=FILE`, or install the system's (`ca-certificates`)")
                .because(error)
        })?);
        Ok(verifier)
    }
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
        let Some(webpki) = &self.webpki else { return Ok(ServerCertVerified::assertion()) };
        match webpki.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last, when all else is well.
            Err(error) if self.check == Check::Signature && is_about_name(&error) => {
                Ok(ServerCertVerified::assertion())
            }
            // The certificate that `openssl req -x509` makes for a server may sign others too. As one
            // that we were told to trust by itself it is as good as any; its dates were looked at first.
            Err(error) if is_about_authority(&error) && self.trusted.iter().any(|trusted| trusted == certificate) => {
                if self.check == Check::SignatureAndName {
                    rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_about_name(error: &rustls::Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}

/// Whether a certificate is refused because it may sign others.
fn is_about_authority(error: &rustls::Error) -> bool {
    // rustls has no variant for it: it hands on the error of webpki, of which only the text is public.
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other))
        if other.to_string() == "CaUsedAsEndEntity")
}

/// An encrypted stream.
pub(crate) type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Encrypts a stream to a server that is ready for it.
pub(crate) async fn handshake(
    trust: &Trust,
    mode: SslMode,
    target: &Target,
    socket: Socket,
) -> Result<Encrypted, ConnectError> {
    let mut maker = MakeRustlsConnect::new(trust.client(mode)?);
    let Ok(connector) = MakeTlsConnect::<Socket>::make_tls_connect(&mut maker, &target.name);
    connector.connect(socket).await.map_err(|error| broken(error, target))
}

/// Why a handshake, or what follows it, failed.
pub(crate) fn broken(error: io::Error, target: &Target) -> ConnectError {
    use CertificateError as Certificate;
    use rustls::Error::{AlertReceived, InvalidCertificate, PeerIncompatible};
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let (message, hint) = match cause {
        // A bad signature: by somebody of the same name as one whom we trust.
        Some(InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature)) => (
            format!("the certificate of `{target}` is signed by nobody whom we trust"),
            "give its CA as `sslrootcert=FILE`; for a certificate that is signed by itself, give the certificate",
        ),
        Some(InvalidCertificate(Certificate::NotValidForNameContext { presented, .. })) if presented.is_empty() => (
            format!("the certificate of `{target}` names no host in its subjectAltName"),
            "have it made with the host's name, or do without the check: `sslmode=verify-ca`",
        ),
        Some(InvalidCertificate(Certificate::NotValidForNameContext { presented, .. })) => (
            format!("the certificate of `{target}` is not for `{}` but for {}", target.name, names(presented)),
            "connect by a name that it is for, or do without the check: `sslmode=verify-ca`",
        ),
        Some(InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. })) => (
            format!("the certificate of `{target}` has expired"),
            "have it renewed at the server, or look at this machine's clock",
        ),
        Some(InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. })) => (
            format!("the certificate of `{target}` is not valid yet"),
            "look at the clocks of this machine and of whoever made it",
        ),
        Some(cause @ InvalidCertificate(_)) if is_about_authority(cause) => (
            format!("the certificate of `{target}` is signed by nobody whom we trust"),
            "it is an authority's own: give that very certificate as `sslrootcert=FILE`",
        ),
        Some(InvalidCertificate(_)) => (
            format!("the certificate of `{target}` cannot be trusted"),
            "have it renewed at the server; who trusts the network between may write `sslmode=require`",
        ),
        Some(AlertReceived(_)) => (
            format!("the server at `{target}` refuses the TLS handshake"),
            "if it asks for a certificate of ours, give one as `sslcert=FILE&sslkey=FILE`",
        ),
        Some(PeerIncompatible(_)) => (
            format!("the server at `{target}` speaks no TLS that we speak"),
            "let it speak TLS 1.2 or newer (`ssl_min_protocol_version` and `ssl_ciphers` of the server)",
        ),
        Some(_) => (
            format!("the TLS handshake with `{target}` fails"),
            "look whether a PostgreSQL server is at this port, and into its log",
        ),
        None if error.kind() == io::ErrorKind::InvalidInput => (
            format!("`{}` is no name that a certificate can be for", target.name),
            "connect by the name that the server's certificate has",
        ),
        None => {
            return ConnectError::new(Hop::Tls, format!("`{target}` ends the connection during the TLS handshake"))
                .cure("look into the server's log")
                .transient()
                .because(error);
        }
    };
    ConnectError::new(Hop::Tls, message).cure(hint).because(error)
}

/// The names that a certificate is for. rustls gives them as `DnsName("host")` or `IpAddress(address)`.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| {
        let (_, name) = name.split_once('(').unwrap_or(("", name));
        format!("`{}`", name.trim_end_matches(')').trim_matches('"'))
    };
    presented.iter().map(plain).collect::<Vec<_>>().join(", ")
}

/// The server has no TLS.
pub(crate) fn missing(mode: SslMode, target: &Target) -> ConnectError {
    let message = format!("the server at `{target}` does not speak TLS, which `sslmode={}` asks for", mode.name());
    ConnectError::new(Hop::Tls, message)
        .cure("turn on `ssl` at the server; who trusts the network between may write `sslmode=disable`")
}

/// Stands where tokio-postgres asks for somebody to encrypt a stream that is encrypted already.
pub(crate) struct Already;

impl<S: TlsStream + Unpin> TlsConnect<S> for Already {
    type Stream = S;
    type Error = io::Error;
    type Future = Ready<io::Result<S>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(stream))
    }
}

/// An encrypted stream that is only lent.
pub(crate) struct Lent<'a>(pub(crate) &'a mut Encrypted);

impl AsyncRead for Lent<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lent<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

impl TlsStream for Lent<'_> {
    fn channel_binding(&self) -> ChannelBinding {
        self.0.channel_binding()
    }
}
