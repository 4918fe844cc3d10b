//! The company's certificate authority, certificates and tokens, as files.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

pub(super) const TOKEN: &str = "token-of-the-worker";

/// Writes `ca.pem`, a certificate of the service and one of the worker, and the tokens. That of the ledger is out of date.
pub(super) fn write(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = named("Acme authority", &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    put("ca.pem", &params.self_signed(&key).unwrap().pem());
    let authority = Issuer::new(params, key);
    for (name, hosts) in [("notify", vec!["localhost"]), ("worker", Vec::new())] {
        let key = KeyPair::generate().unwrap();
        let cert = named(name, &hosts).signed_by(&key, &authority).unwrap();
        put(&format!("{name}.pem"), &cert.pem());
        put(&format!("{name}.key"), &key.serialize_pem());
    }
    put("notify-token", TOKEN);
    put("ledger-accepts", TOKEN);
    put("ledger-token", "token-of-last-year");
}

/// A certificate and its issuer need different names, or OpenSSL takes it for its own issuer.
fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
