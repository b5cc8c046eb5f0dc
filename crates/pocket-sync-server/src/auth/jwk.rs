//! Keys that signed tokens are checked with. A key knows its one algorithm, so a token cannot choose another.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pocket_core::{Map, Value};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

/// The shortest secret for HS256, as RFC 7518 section 3.2 has it.
const SECRET_BYTES: usize = 32;
/// `rsaEncryption` with no parameters, as it stands in a public key.
const RSA: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// `ecPublicKey` on P-256, as it stands in a public key.
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl JwtAlgorithm {
    /// The algorithm of a token's header.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// Why keys could not be read. Never shows any of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

fn bad(why: impl Into<String>) -> KeyError {
    KeyError(why.into())
}

enum Material {
    Secret(hmac::Key),
    RsaDer(Vec<u8>),
    RsaParts { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
}

struct Key {
    id: Option<String>,
    material: Material,
}

/// Keys for checking tokens. None of them can sign one, except a shared secret.
#[derive(Default)]
pub struct JwtKeys {
    keys: Vec<Key>,
}

impl JwtKeys {
    /// A shared secret for HS256, of 32 bytes or more.
    ///
    /// # Errors
    /// [`KeyError`] when it is shorter.
    pub fn secret(secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::one(None, Material::Secret(secret_key(secret)?)))
    }

    /// A public key in PEM: RSA of 2048 bits or more for RS256, P-256 for ES256.
    ///
    /// # Errors
    /// [`KeyError`] when it is none of these, or a private key.
    pub fn pem(text: &str) -> Result<Self, KeyError> {
        let (label, der) = unwrap_pem(text)?;
        let material = match label {
            "RSA PUBLIC KEY" => Material::RsaDer(der),
            "PUBLIC KEY" => public_key(&der)?,
            label if label.contains("PRIVATE") => {
                return Err(bad(
                    "this is a private key; the server checks tokens with the public one",
                ));
            }
            label => return Err(bad(format!("a {label} is no public key"))),
        };
        Ok(Self::one(None, material))
    }

    /// A JWK set. Keys of other kinds or for other uses are left out.
    ///
    /// # Errors
    /// [`KeyError`] when it is no JWK set, or no key of it can be used.
    pub fn jwks(text: &str) -> Result<Self, KeyError> {
        let value = Value::from_json_str(text)
            .map_err(|error| bad(format!("this is no JWK set: {error}")))?;
        let list = value.as_map().and_then(|set| set.get("keys"));
        let list = list
            .and_then(Value::as_array)
            .ok_or_else(|| bad("a JWK set is an object with a list `keys`"))?;
        let mut keys = Vec::new();
        for jwk in list.iter().filter_map(Value::as_map) {
            if let Some(material) = jwk_material(jwk)? {
                let id = part(jwk, "kid").map(str::to_owned);
                keys.push(Key { id, material });
            }
        }
        if keys.is_empty() {
            return Err(bad(
                "the JWK set has no key for RS256 (RSA), ES256 (EC, P-256) or HS256 (oct)",
            ));
        }
        Ok(Self { keys })
    }

    /// These keys and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.keys.extend(others.keys);
        self
    }

    fn one(id: Option<String>, material: Material) -> Self {
        Self {
            keys: vec![Key { id, material }],
        }
    }

    /// Whether a key for this algorithm, with the id if both have one, made the signature.
    pub(super) fn verify(
        &self,
        algorithm: JwtAlgorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let named = |key: &&Key| match (id, &key.id) {
            (Some(id), Some(of)) => id == of,
            _ => true,
        };
        let mut keys = self.keys.iter().filter(named);
        keys.any(|key| {
            key.material.algorithm() == algorithm && key.material.verify(message, signature)
        })
    }
}

impl Material {
    fn algorithm(&self) -> JwtAlgorithm {
        match self {
            Self::Secret(_) => JwtAlgorithm::Hs256,
            Self::RsaDer(_) | Self::RsaParts { .. } => JwtAlgorithm::Rs256,
            Self::P256(_) => JwtAlgorithm::Es256,
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Self::RsaDer(key) => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
                .verify(message, signature)
                .is_ok(),
            Self::RsaParts { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Self::P256(key) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

impl fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms = self.keys.iter().map(|key| key.material.algorithm());
        f.debug_list().entries(algorithms).finish()
    }
}

fn secret_key(secret: &[u8]) -> Result<hmac::Key, KeyError> {
    if secret.len() < SECRET_BYTES {
        return Err(bad(format!(
            "a secret for HS256 has at least {SECRET_BYTES} bytes; this one has {}",
            secret.len()
        )));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
}

/// The key of one entry of a JWK set (RFC 7517); none when it is for something else.
fn jwk_material(jwk: &Map) -> Result<Option<Material>, KeyError> {
    if part(jwk, "use").is_some_and(|purpose| purpose != "sig") {
        return Ok(None);
    }
    let bytes = |name: &str| {
        let text = part(jwk, name)
            .ok_or_else(|| bad(format!("a key of the JWK set has no text `{name}`")))?;
        decode(text).ok_or_else(|| bad(format!("`{name}` of a key is no base64url")))
    };
    let material = match (part(jwk, "kty"), part(jwk, "crv")) {
        (Some("RSA"), _) => Material::RsaParts {
            n: bytes("n")?,
            e: bytes("e")?,
        },
        (Some("EC"), Some("P-256")) => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            if x.len() != 32 || y.len() != 32 {
                return Err(bad("a point of P-256 has twice 32 bytes"));
            }
            Material::P256([&[4][..], &x, &y].concat())
        }
        (Some("oct"), _) => Material::Secret(secret_key(&bytes("k")?)?),
        _ => return Ok(None),
    };
    let named = part(jwk, "alg").map(JwtAlgorithm::named);
    let fits = named.is_none_or(|named| named == Some(material.algorithm()));
    Ok(fits.then_some(material))
}

fn part<'a>(jwk: &'a Map, name: &str) -> Option<&'a str> {
    jwk.get(name).and_then(Value::as_str)
}

/// The bytes of base64url without padding.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The label and the bytes of the first block of a PEM text (RFC 7468).
fn unwrap_pem(text: &str) -> Result<(&str, Vec<u8>), KeyError> {
    let block = || {
        let (_, rest) = text.split_once("-----BEGIN ")?;
        let (label, rest) = rest.split_once("-----")?;
        let (inside, _) = rest.split_once("-----END ")?;
        let joined: String = inside.split_ascii_whitespace().collect();
        Some((label, STANDARD.decode(joined).ok()?))
    };
    block().ok_or_else(|| bad("this is no PEM file: it begins with -----BEGIN PUBLIC KEY-----"))
}

/// The key inside a `SubjectPublicKeyInfo` (RFC 5280 section 4.1).
fn public_key(der: &[u8]) -> Result<Material, KeyError> {
    let key = || {
        let (inside, rest) = element(SEQUENCE, der)?;
        let bits = |algorithm: &[u8]| {
            let (bits, end) = element(BIT_STRING, inside.strip_prefix(algorithm)?)?;
            // No unused bits, nothing behind.
            end.is_empty().then_some(bits.strip_prefix(&[0])?.to_vec())
        };
        if !rest.is_empty() {
            return None;
        }
        let rsa = bits(RSA).map(Material::RsaDer);
        rsa.or_else(|| bits(P256).map(Material::P256))
    };
    key().ok_or_else(|| bad("the public key is neither RSA nor of the curve P-256"))
}

/// The content of a DER element with this tag, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 2 || rest.len() < count {
            return None;
        }
        let (digits, rest) = rest.split_at(count);
        let length = digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit));
        (length, rest)
    };
    (rest.len() >= length).then(|| rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_public_key_is_refused_without_being_shown() {
        for text in [
            "",
            "c2VzYW1l",
            "-----BEGIN PUBLIC KEY-----\nc2VzYW1l\n-----END PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----",
            "-----BEGIN PRIVATE KEY-----\nc2VzYW1l\n-----END PRIVATE KEY-----",
            "-----BEGIN CERTIFICATE-----\nc2VzYW1l\n-----END CERTIFICATE-----",
        ] {
            let error = JwtKeys::pem(text).unwrap_err().to_string();
            assert!(
                !error.contains("sesame") && !error.contains("c2Vz"),
                "{error}"
            );
        }
        for text in [
            "",
            "[]",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"OKP"}]}"#,
        ] {
            assert!(JwtKeys::jwks(text).is_err(), "{text}");
        }
        let short = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#;
        assert!(JwtKeys::jwks(short).is_err());
        assert!(JwtKeys::secret(b"short").is_err());
    }

    #[test]
    fn a_broken_length_reaches_nowhere() {
        let whole = [0x30, 0x82, 0x00, 0x01, 0x07, 0x09];
        assert_eq!(element(0x30, &whole), Some((&whole[4..5], &whole[5..])));
        for der in [
            &[][..],
            &[0x30],
            &[0x30, 0x02, 0x00],
            &[0x30, 0x80],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x82, 0x01],
        ] {
            assert_eq!(element(0x30, der), None);
        }
    }
}
