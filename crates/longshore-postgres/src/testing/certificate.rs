//! Certificates for servers and clients of tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// Somebody who signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let (key, params) = (new_key(), authority_params(&[]));
        let pem = params.self_signed(&key).expect("a certificate can be signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate, as PEM: what a client calls a root.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server of these names or addresses.
    pub fn server(&self, names: &[&str]) -> Certificate {
        self.sign(&params(names))
    }

    /// One that was good until the year 2001.
    pub fn expired_server(&self, names: &[&str]) -> Certificate {
        let mut params = params(names);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(&params)
    }

    /// A certificate by which a user logs in.
    pub fn client(&self, user: &str) -> Certificate {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, user);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Certificate {
        let key = new_key();
        let pem = params.signed_by(&key, &self.issuer).expect("a certificate can be signed").pem();
        Certificate { pem, key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub(super) pem: String,
    pub(super) key: String,
}

impl Certificate {
    /// One that is signed by itself and may sign others, as `openssl req -x509` makes it.
    pub fn self_signed(names: &[&str]) -> Self {
        let (key, params) = (new_key(), authority_params(names));
        let pem = params.self_signed(&key).expect("a certificate can be signed").pem();
        Self { pem, key: key.serialize_pem() }
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes certificate and key into a folder, as files that a client takes, and returns their paths.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("client.crt"), folder.join("client.key"));
        fs::write(&certificate, &self.pem).expect("a certificate can be written");
        fs::write(&key, &self.key).expect("a key can be written");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("its rights can be set");
        (certificate, key)
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("the names are names")
}

fn authority_params(names: &[&str]) -> CertificateParams {
    let mut params = params(names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority for tests");
    params
}
