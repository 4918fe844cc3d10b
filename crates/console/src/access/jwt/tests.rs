use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use futures_util::FutureExt;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::json;
use std::path::{Path, PathBuf};

use super::keys::{AGAIN, KEPT};
use super::*;

struct Signer {
    key: EncodingKey,
    public: Jwk,
    algorithm: Algorithm,
}

impl Signer {
    fn new(kid: &str, algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let key = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
                EncodingKey::from_ec_der(pair.as_ref())
            }
            _ => EncodingKey::from_ed_der(Ed25519KeyPair::generate_pkcs8v1(&random).unwrap().as_ref()),
        };
        let mut public = Jwk::from_encoding_key(&key, algorithm).unwrap();
        public.common.key_id = Some(kid.to_owned());
        Self { key, public, algorithm }
    }

    fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).unwrap()
    }
}

fn claims(changed: &[(&str, Value)]) -> Value {
    let now = get_current_timestamp();
    let mut claims = json!({
        "aud": ["console"], "iss": "https://idp.example", "sub": "u-1", "email": "ann@example.com",
        "groups": ["sre"], "exp": now + 300, "nbf": now - 300,
    });
    for (name, value) in changed {
        claims[*name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(*name);
        }
    }
    claims
}

fn file(keys: &[&Jwk]) -> PathBuf {
    let name = format!("outbox-jwks-{}.json", crate::secret::Secret::new().unwrap().text());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    file
}

fn jwt(file: &Path, header: Option<&str>) -> Jwt {
    let issuer = Some("https://idp.example".to_owned());
    new(&file.display().to_string(), issuer, header, JwtName::Email).unwrap()
}

fn new(place: &str, issuer: Option<String>, header: Option<&str>, name: JwtName) -> Result<Jwt, String> {
    let header = header.map(|name| name.parse().unwrap());
    Jwt::new(place, vec!["console".to_owned()], issuer, header, name)
}

fn bearer(token: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Bearer {token}"))])
}

fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

/// Base64 without padding, as tokens have it.
fn part(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

/// Guards: only a token that this provider has signed for this console, and that is valid now, says who asks.
#[tokio::test]
async fn only_a_valid_token_says_who_asks() {
    let (es, ed) = (Signer::new("es", Algorithm::ES256), Signer::new("ed", Algorithm::EdDSA));
    let other = Signer::new("es", Algorithm::ES256);
    let path = file(&[&es.public, &ed.public]);
    let jwt = jwt(&path, None);
    let now = get_current_timestamp();
    let unsigned = |alg: &str, kid: &str| {
        format!("{}.{}.", part(&json!({"alg": alg, "kid": kid}).to_string()), part(&claims(&[]).to_string()))
    };
    // The public key as the secret of HS256.
    let public = serde_json::to_value(&ed.public).unwrap()["x"].as_str().unwrap().to_owned();
    let header = Header { kid: Some("ed".to_owned()), ..Header::new(Algorithm::HS256) };
    let hs = encode(&header, &claims(&[]), &EncodingKey::from_secret(public.as_bytes())).unwrap();
    let header = Header {
        kid: Some("ed".to_owned()),
        crit: Some(vec!["b64".to_owned()]),
        ..Header::new(ed.algorithm)
    };
    let extended = encode(&header, &claims(&[]), &ed.key).unwrap();
    let good = ed.token(Some("ed"), &claims(&[]));
    let (first, signature) = good.rsplit_once('.').unwrap();
    let changed = format!(
        "{}.{}.{signature}",
        first.split('.').next().unwrap(),
        part(&claims(&[("email", json!("eve@x"))]).to_string())
    );
    for (what, token, name) in [
        ("ES256", es.token(Some("es"), &claims(&[])), Some("ann@example.com")),
        ("EdDSA", good.clone(), Some("ann@example.com")),
        (
            "one audience",
            ed.token(Some("ed"), &claims(&[("aud", json!("console"))])),
            Some("ann@example.com"),
        ),
        ("an unchecked address", ed.token(Some("ed"), &claims(&[("email_verified", json!(false))])), None),
        ("no address", ed.token(Some("ed"), &claims(&[("email", Value::Null)])), None),
        ("an empty address", ed.token(Some("ed"), &claims(&[("email", json!(" "))])), None),
        ("none", unsigned("none", "ed"), None),
        ("no signature", unsigned("EdDSA", "ed"), None),
        ("HS256 with the public key", hs.clone(), None),
        ("wrong audience", ed.token(Some("ed"), &claims(&[("aud", json!("another"))])), None),
        ("no audience", ed.token(Some("ed"), &claims(&[("aud", Value::Null)])), None),
        ("wrong issuer", ed.token(Some("ed"), &claims(&[("iss", json!("https://evil.example"))])), None),
        ("no issuer", ed.token(Some("ed"), &claims(&[("iss", Value::Null)])), None),
        ("expired", ed.token(Some("ed"), &claims(&[("exp", json!(now - 60))])), None),
        ("no end", ed.token(Some("ed"), &claims(&[("exp", Value::Null)])), None),
        ("not yet", ed.token(Some("ed"), &claims(&[("nbf", json!(now + 60))])), None),
        ("unknown kid", ed.token(Some("new"), &claims(&[])), None),
        ("no kid", ed.token(None, &claims(&[])), None),
        ("another's kid", ed.token(Some("es"), &claims(&[])), None),
        ("another key of the same kid", other.token(Some("es"), &claims(&[])), None),
        ("changed", changed, None),
        ("an extension", extended, None),
        ("no token", "x".to_owned(), None),
    ] {
        let viewer = jwt.viewer(&bearer(&token)).await;
        assert_eq!(viewer.as_ref().map(|viewer| viewer.name.as_str()), name, "{what}");
        if let Some(viewer) = viewer {
            assert!(
                viewer.groups == ["sre"]
                    && viewer.subject.as_deref() == Some("u-1")
                    && !viewer.may_repair
                    && !viewer.may_destroy,
                "{what}: {viewer:?}"
            );
        }
    }
    std::fs::remove_file(path).unwrap();
}

/// Guards: one claim names a viewer. So neither a subject that a user has chosen nor an address that was not checked is the
/// name of another person, and one person has one name.
#[tokio::test]
async fn one_claim_names_a_viewer() {
    let ed = Signer::new("ed", Algorithm::EdDSA);
    let path = file(&[&ed.public]);
    let issuer = || Some("https://idp.example".to_owned());
    let chosen = ("sub", json!("boss@example.com"));
    let checked = |is_checked: Value| ("email_verified", is_checked);
    for (issuer, name, changed, expected) in [
        (issuer(), JwtName::Email, vec![], Some("ann@example.com")),
        (issuer(), JwtName::Email, vec![chosen.clone(), checked(json!(false))], None),
        (issuer(), JwtName::Email, vec![chosen.clone(), ("email", Value::Null)], None),
        (issuer(), JwtName::Email, vec![checked(json!("false"))], None),
        (issuer(), JwtName::Email, vec![checked(json!(1))], None),
        (None, JwtName::Email, vec![], None),
        (None, JwtName::Email, vec![checked(json!(true))], Some("ann@example.com")),
        (None, JwtName::Email, vec![checked(json!("true"))], Some("ann@example.com")),
        (None, JwtName::Subject, vec![], Some("u-1")),
        (issuer(), JwtName::Subject, vec![("email", Value::Null)], Some("u-1")),
        (issuer(), JwtName::Subject, vec![("sub", Value::Null)], None),
    ] {
        let jwt = new(&path.display().to_string(), issuer, None, name).unwrap();
        let token = ed.token(Some("ed"), &claims(&changed));
        let viewer = jwt.viewer(&bearer(&token)).await;
        assert_eq!(viewer.map(|viewer| viewer.name).as_deref(), expected, "{name:?} {changed:?}");
    }
    std::fs::remove_file(path).unwrap();
}

/// Guards: the token is taken from the header that is meant, and of two none is.
#[tokio::test]
async fn a_token_is_in_its_header() {
    let ed = Signer::new("ed", Algorithm::EdDSA);
    let path = file(&[&ed.public]);
    let token = ed.token(Some("ed"), &claims(&[("custom", json!({"groups": "lead"}))]));
    let with = format!("Bearer {token}");
    for (name, all, is_known) in [
        (None, &[("authorization", with.as_str())][..], true),
        (None, &[("cf-access-jwt-assertion", &token)], true),
        (None, &[("cf-access-jwt-assertion", "x"), ("authorization", &with)], false),
        (None, &[("authorization", &with), ("authorization", &with)], false),
        (None, &[("x-token", &token)], false),
        (Some("x-token"), &[("x-token", &token)], true),
        (Some("x-token"), &[("x-token", &with)], true),
        (Some("x-token"), &[("authorization", &with)], false),
    ] {
        let viewer = jwt(&path, name).viewer(&headers(all)).await;
        assert_eq!(viewer.is_some(), is_known, "{name:?} {all:?}");
        assert!(viewer.is_none_or(|viewer| viewer.groups == ["sre", "lead"]));
    }
    for bad in ["http://idp.example/keys", "ftp://idp.example/keys"] {
        assert!(new(bad, None, None, JwtName::Email).is_err(), "{bad}");
    }
    std::fs::remove_file(path).unwrap();
}

/// Guards: a new key is found, and invented ones make the provider answer once a minute at most.
#[tokio::test(start_paused = true)]
async fn a_new_key_is_looked_for_once_a_minute() {
    let (old, new) = (Signer::new("old", Algorithm::EdDSA), Signer::new("new", Algorithm::EdDSA));
    let path = file(&[&old.public]);
    let jwt = jwt(&path, None);
    let knows = async |signer: &Signer, kid: &str| {
        jwt.viewer(&bearer(&signer.token(Some(kid), &claims(&[])))).await.is_some()
    };
    assert!(knows(&old, "old").await && !knows(&new, "new").await);
    std::fs::write(&path, json!({"keys": [&new.public]}).to_string()).unwrap();
    assert!(!knows(&new, "new").await && knows(&old, "old").await, "it was looked for within this minute");
    tokio::time::advance(AGAIN).await;
    assert!(knows(&new, "new").await && !knows(&old, "old").await, "the old key is gone");
    std::fs::write(&path, "no JSON").unwrap();
    tokio::time::advance(KEPT).await;
    assert!(knows(&new, "new").await, "what is known serves while the provider does not answer");
    std::fs::remove_file(path).unwrap();
}

/// Guards: while the provider is slow to say whether it has an invented key, those with a known key wait for nothing.
#[tokio::test]
async fn a_known_key_waits_for_no_other() {
    let ed = Signer::new("ed", Algorithm::EdDSA);
    // It takes connections, and answers nothing.
    let provider = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("https://{}/keys", provider.local_addr().unwrap());
    let issuer = Some("https://idp.example".to_owned());
    let jwt = Arc::new(new(&place, issuer, None, JwtName::Email).unwrap());
    jwt.keys.put(vec![ed.public.clone()], std::time::Duration::from_secs(90));
    let invented = bearer(&ed.token(Some("invented"), &claims(&[])));
    let other = tokio::spawn({
        let (jwt, invented) = (Arc::clone(&jwt), invented.clone());
        async move { jwt.viewer(&invented).await }
    });
    let _asked = provider.accept().await.unwrap();
    let known = bearer(&ed.token(Some("ed"), &claims(&[])));
    let viewer = jwt.viewer(&known).now_or_never().expect("it does not wait");
    assert_eq!(viewer.unwrap().name, "ann@example.com");
    assert!(!other.is_finished());
    other.abort();
}

/// Guards: keys are read again before they are too old, and no request waits for that.
#[tokio::test(start_paused = true)]
async fn keys_are_read_again_beside() {
    let (old, new) = (Signer::new("old", Algorithm::EdDSA), Signer::new("new", Algorithm::EdDSA));
    let path = file(&[&old.public]);
    let jwt = jwt(&path, None);
    let token = bearer(&old.token(Some("old"), &claims(&[])));
    assert!(jwt.viewer(&token).await.is_some());
    std::fs::write(&path, json!({"keys": [&new.public]}).to_string()).unwrap();
    tokio::time::advance(KEPT - AGAIN).await;
    assert!(jwt.viewer(&token).now_or_never().expect("it does not wait").is_some(), "this once");
    while jwt.viewer(&token).await.is_some() {
        tokio::task::yield_now().await;
    }
    std::fs::remove_file(path).unwrap();
}
