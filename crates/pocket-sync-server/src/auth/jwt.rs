//! Signed tokens: JSON Web Tokens (RFC 7519) in the compact form of RFC 7515, with the advice of RFC 8725.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use pocket_core::{Env, Map, SystemEnv, Timestamp, Value};

use super::jwk::{JwtAlgorithm, JwtKeys, decode};
use super::{Access, AuthError, Authenticator, Namespaces};
use crate::Namespace;

/// The most by which clocks may differ.
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);
/// The largest token.
const TOKEN_BYTES: usize = 16 * 1024;
/// The longest name of a user.
const USER_BYTES: usize = 256;

/// Lets in who has a token that was signed with one of some keys.
///
/// A token must have `exp`, and `sub`, which is the user. `nbf`, `iss` and `aud` are checked where they stand. Its
/// namespaces, roles and labels come from claims of these names: a list of texts, or one text; the namespace `*` is all
/// of them. A token without namespaces opens none, unless [`all_namespaces`](Self::all_namespaces) was chosen.
#[derive(Debug)]
pub struct JwtAuthenticator {
    keys: RwLock<JwtKeys>,
    algorithms: BTreeSet<JwtAlgorithm>,
    audience: Option<String>,
    issuer: Option<String>,
    leeway: Duration,
    all_namespaces: bool,
    env: Arc<dyn Env>,
}

impl JwtAuthenticator {
    /// Checks tokens with these keys. Each key allows its own algorithm.
    pub fn new(keys: JwtKeys) -> Self {
        Self {
            keys: RwLock::new(keys),
            algorithms: [
                JwtAlgorithm::Hs256,
                JwtAlgorithm::Rs256,
                JwtAlgorithm::Es256,
            ]
            .into(),
            audience: None,
            issuer: None,
            leeway: Duration::from_secs(30),
            all_namespaces: false,
            env: Arc::new(SystemEnv),
        }
    }

    /// Takes only tokens with one of these algorithms.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = JwtAlgorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Takes only tokens made for this audience. Without one, only tokens that name none.
    #[must_use]
    pub fn audience(mut self, audience: &str) -> Self {
        self.audience = Some(audience.to_owned());
        self
    }

    /// Takes only tokens of this issuer.
    #[must_use]
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.issuer = Some(issuer.to_owned());
        self
    }

    /// Allows clocks to differ by this much: 30 s by default, at most [`MAX_LEEWAY`].
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(MAX_LEEWAY);
        self
    }

    /// Lets tokens without a claim `namespaces` open all of them.
    #[must_use]
    pub fn all_namespaces(mut self, all: bool) -> Self {
        self.all_namespaces = all;
        self
    }

    /// Takes the time from here instead of the machine.
    #[must_use]
    pub fn env(mut self, env: Arc<dyn Env>) -> Self {
        self.env = env;
        self
    }

    /// Replaces the keys. Sessions with a token that the new ones do not know end at their next check.
    pub fn set_keys(&self, keys: JwtKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// What `token` stands for now.
    ///
    /// # Errors
    /// [`AuthError::Refused`] and [`AuthError::Expired`]; the messages never hold any of the token.
    pub fn look_up(&self, token: Option<&str>) -> Result<Access, AuthError> {
        let Some(token) = token else {
            return Err(refused("this server asks for a token, and none was given"));
        };
        let claims = self.claims(token)?;
        self.in_time(&claims)?;
        self.meant_for_us(&claims)?;
        let user = claims.get("sub").and_then(Value::as_str);
        let fits = |user: &&str| {
            (1..=USER_BYTES).contains(&user.len()) && !user.contains(char::is_control)
        };
        let user = user
            .filter(fits)
            .ok_or_else(|| refused("the token names no user of 1 to 256 bytes in `sub`"))?;
        let namespaces = texts(&claims, "namespaces")?;
        let namespaces = match namespaces {
            None if self.all_namespaces => Namespaces::All,
            Some(names) if names.contains("*") => Namespaces::All,
            names => {
                let names = names.unwrap_or_default();
                let names = names.iter().filter_map(|name| Namespace::new(name));
                Namespaces::Only(Arc::new(names.collect()))
            }
        };
        let ends = self.ends(&claims)?;
        Ok(Access {
            namespaces,
            roles: texts(&claims, "roles")?.unwrap_or_default(),
            labels: texts(&claims, "labels")?.unwrap_or_default(),
            expires: Some(ends),
            ..Access::all(user)
        }
        .with_claims(claims))
    }

    /// The claims of a token whose signature is good.
    fn claims(&self, token: &str) -> Result<Map, AuthError> {
        let unreadable = || refused("the token is no signed JSON Web Token");
        if token.len() > TOKEN_BYTES {
            return Err(refused("the token is over 16 KiB"));
        }
        let (message, signature) = token.rsplit_once('.').ok_or_else(unreadable)?;
        let (header, claims) = message.split_once('.').ok_or_else(unreadable)?;
        let header = object(header).ok_or_else(unreadable)?;
        let signature = decode(signature).ok_or_else(unreadable)?;
        if header.contains_key("crit") {
            return Err(refused(
                "the token needs an extension that is not known here",
            ));
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm
            .and_then(JwtAlgorithm::named)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or_else(|| refused("the token is signed by an algorithm that is not allowed"))?;
        let id = header.get("kid").and_then(Value::as_str);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if !keys.verify(algorithm, id, message.as_bytes(), &signature) {
            return Err(refused(
                "the token was not signed with a key of this server",
            ));
        }
        object(claims).ok_or_else(unreadable)
    }

    fn in_time(&self, claims: &Map) -> Result<(), AuthError> {
        let now = self.env.now();
        if now >= self.ends(claims)? {
            return Err(AuthError::Expired);
        }
        let begins = match claims.get("nbf") {
            None => return Ok(()),
            Some(value) => time(value).ok_or_else(|| refused("`nbf` of the token is no time"))?,
        };
        if begins.millis() > now.millis().saturating_add(self.leeway_millis()) {
            return Err(refused("the token is not good yet; look at the clocks"));
        }
        Ok(())
    }

    /// When the token is over, leeway included.
    fn ends(&self, claims: &Map) -> Result<Timestamp, AuthError> {
        let expires = claims.get("exp").and_then(time);
        let expires = expires.ok_or_else(|| refused("the token has no time in `exp`"))?;
        let ends = expires.millis().saturating_add(self.leeway_millis());
        Ok(Timestamp::from_millis(ends))
    }

    fn leeway_millis(&self) -> i64 {
        i64::try_from(self.leeway.as_millis()).unwrap_or_default()
    }

    fn meant_for_us(&self, claims: &Map) -> Result<(), AuthError> {
        let audiences = texts(claims, "aud")?;
        let is_meant = match (&self.audience, audiences) {
            (None, None) => true,
            (Some(own), Some(named)) => named.contains(own.as_str()),
            _ => false,
        };
        if !is_meant {
            return Err(refused("the token was made for another audience"));
        }
        let issuer = claims.get("iss").and_then(Value::as_str);
        if self.issuer.is_some() && issuer != self.issuer.as_deref() {
            return Err(refused("the token is of another issuer"));
        }
        Ok(())
    }
}

#[async_trait]
impl Authenticator for JwtAuthenticator {
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        self.look_up(token)
    }
}

fn refused(why: &str) -> AuthError {
    AuthError::Refused(why.to_owned())
}

/// A JSON object in base64url. One with a key twice is none.
fn object(text: &str) -> Option<Map> {
    let bytes = decode(text)?;
    match Value::from_json_str(std::str::from_utf8(&bytes).ok()?).ok()? {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

/// Seconds since 1970, with or without a fraction.
fn time(value: &Value) -> Option<Timestamp> {
    if let Some(seconds) = value.as_integer() {
        return Some(Timestamp::from_millis(
            seconds.as_i64()?.saturating_mul(1_000),
        ));
    }
    let seconds = value.as_float().filter(|seconds| seconds.abs() < 1e15)?;
    Some(Timestamp::from_millis((seconds * 1_000.0) as i64))
}

/// A claim that is a text or a list of texts; anything else is refused, not overlooked.
fn texts(claims: &Map, name: &str) -> Result<Option<BTreeSet<Arc<str>>>, AuthError> {
    let wrong = || {
        refused(&format!(
            "`{name}` of the token is neither a text nor a list of texts"
        ))
    };
    Ok(match claims.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some([text.as_str().into()].into()),
        Some(Value::Array(values)) => {
            let texts = values.iter().map(|value| value.as_str().map(Arc::from));
            Some(texts.collect::<Option<_>>().ok_or_else(wrong)?)
        }
        Some(_) => return Err(wrong()),
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::hmac;

    use super::*;

    const SECRET: &[u8] = b"a secret of thirty-two bytes ok!";
    const NOW: i64 = 1_700_000_000;

    /// A clock that stands.
    #[derive(Debug)]
    struct At(i64);

    impl Env for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0 * 1_000)
        }

        fn random(&self, _: &mut [u8]) {}
    }

    fn sign(header: &str, claims: &str) -> String {
        let message = [header, claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        let tag = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn hs256(claims: &str) -> String {
        sign(r#"{"alg":"HS256"}"#, claims)
    }

    fn jwt() -> JwtAuthenticator {
        JwtAuthenticator::new(JwtKeys::secret(SECRET).unwrap()).env(Arc::new(At(NOW)))
    }

    fn fixture(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/jwt/");
        std::fs::read_to_string(format!("{folder}{name}")).unwrap()
    }

    #[test]
    fn claims_become_user_namespaces_roles_and_labels() {
        let token = hs256(
            r#"{"sub":"ann","exp":1700000060,"namespaces":["a","b"],"roles":"editor","labels":["team:red"],"x":7}"#,
        );
        let ann = jwt().look_up(Some(&token)).unwrap();
        let open = |name| ann.may_open(&Namespace::new(name).unwrap());
        assert!(&*ann.user == "ann" && open("a") && open("b") && !open("c"));
        assert!(ann.holds("role:editor") && ann.holds("team:red"));
        assert_eq!(
            ann.expires,
            Some(Timestamp::from_millis((NOW + 90) * 1_000))
        );
        assert_eq!(ann.claims.get("x"), Some(&Value::from(7)));
        let everywhere = hs256(r#"{"sub":"ann","exp":1700000060,"namespaces":"*"}"#);
        assert_eq!(
            jwt().look_up(Some(&everywhere)).unwrap().namespaces,
            Namespaces::All
        );
        let nowhere = hs256(r#"{"sub":"ann","exp":1700000060}"#);
        assert!(
            !jwt()
                .look_up(Some(&nowhere))
                .unwrap()
                .may_open(&Namespace::new("a").unwrap())
        );
        let all = jwt().all_namespaces(true);
        assert_eq!(
            all.look_up(Some(&nowhere)).unwrap().namespaces,
            Namespaces::All
        );
    }

    #[test]
    fn a_token_has_its_time_and_a_little_more() {
        let at = |now| {
            let token = hs256(r#"{"sub":"ann","exp":1700000000.5,"nbf":1699999000}"#);
            jwt()
                .env(Arc::new(At(now)))
                .look_up(Some(&token))
                .map(|_| ())
        };
        assert_eq!(at(NOW), Ok(()));
        assert_eq!(at(NOW + 30), Ok(()));
        assert_eq!(at(NOW + 31), Err(AuthError::Expired));
        assert_eq!(at(NOW - 1_030), Ok(()));
        assert!(matches!(at(NOW - 1_031), Err(AuthError::Refused(_))));
        let token = hs256(r#"{"sub":"ann","exp":1699999900}"#);
        let lenient = jwt().leeway(Duration::from_secs(3_600));
        assert_eq!(
            lenient.look_up(Some(&token)),
            Err(AuthError::Expired),
            "60 s at the most"
        );
    }

    #[test]
    fn what_is_not_right_is_refused_without_being_shown() {
        let good = r#"{"sub":"sesame","exp":1700000060}"#;
        let whole = hs256(good);
        let (message, signature) = whole.rsplit_once('.').unwrap();
        let none = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
            URL_SAFE_NO_PAD.encode(good)
        );
        let mut tokens = vec![
            String::new(),
            "sesame".to_owned(),
            "a.b.c".to_owned(),
            format!("{message}."),
            format!("{message}.{}", &signature[1..]),
            format!("{message}.{signature}.{signature}"),
            none,
            sign(r#"{"alg":"RS256"}"#, good),
            sign(r#"{"alg":"hs256"}"#, good),
            sign(r#"{"alg":"HS256","crit":["b64"]}"#, good),
            "x".repeat(20_000),
        ];
        // A wrong type is not the same as absent: that would let a token live for ever.
        for claims in [
            r#"{"sub":"sesame"}"#,
            r#"{"exp":1700000060}"#,
            r#"{"sub":"","exp":1700000060}"#,
            r#"{"sub":7,"exp":1700000060}"#,
            r#"{"sub":"sesame","exp":"1700000060"}"#,
            r#"{"sub":"sesame","exp":null}"#,
            r#"{"sub":"sesame","exp":1e300}"#,
            r#"{"sub":"sesame","exp":1700000060,"nbf":"0"}"#,
            r#"{"sub":"sesame","exp":1700000060,"exp":1800000000}"#,
            r#"{"sub":"sesame","exp":1700000060,"roles":{"a":1}}"#,
            r#"{"sub":"sesame","exp":1700000060,"namespaces":[1]}"#,
            r#"{"sub":"sesame","exp":1700000060,"aud":"elsewhere"}"#,
            "[]",
            "{",
        ] {
            tokens.push(hs256(claims));
        }
        for token in &tokens {
            let error = jwt().look_up(Some(token)).unwrap_err();
            assert!(matches!(error, AuthError::Refused(_)), "{token}: {error}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
        assert!(jwt().look_up(None).is_err());
        assert!(!format!("{:?}", jwt()).contains("thirty"));
        let other = jwt().algorithms([JwtAlgorithm::Es256]);
        assert!(other.look_up(Some(&whole)).is_err(), "not on the list");
    }

    #[test]
    fn audience_and_issuer_are_those_asked_for() {
        let token = fixture("es256.jwt");
        let keys = || JwtKeys::pem(&fixture("ec.pub.pem")).unwrap();
        let jwt = || JwtAuthenticator::new(keys()).env(Arc::new(At(NOW)));
        let right = || jwt().audience("pocket").issuer("https://issuer.example");
        assert!(right().look_up(Some(&token)).is_ok());
        for wrong in [
            jwt(),
            jwt().audience("another"),
            jwt().audience("pocket").issuer("https://other.example"),
        ] {
            assert!(wrong.look_up(Some(&token)).is_err());
        }
        let unnamed = hs256(r#"{"sub":"ann","exp":1700000060}"#);
        let asks = super::tests::jwt().audience("pocket");
        assert!(asks.look_up(Some(&unnamed)).is_err());
    }

    #[test]
    fn public_keys_come_from_pem_or_from_a_jwk_set() {
        let (rs256, es256) = (fixture("rs256.jwt"), fixture("es256.jwt"));
        let jwt = |keys: JwtKeys| {
            JwtAuthenticator::new(keys)
                .audience("pocket")
                .env(Arc::new(At(NOW)))
        };
        let pem = |name: &str| JwtKeys::pem(&fixture(name)).unwrap();
        for name in ["rsa.pub.pem", "rsa1.pub.pem"] {
            let ann = jwt(pem(name)).look_up(Some(&rs256)).unwrap();
            assert!(&*ann.user == "ann" && ann.holds("team:red"), "{name}");
            assert!(jwt(pem(name)).look_up(Some(&es256)).is_err());
        }
        let both = jwt(JwtKeys::jwks(&fixture("keys.jwks.json")).unwrap());
        assert!(both.look_up(Some(&rs256)).is_ok() && both.look_up(Some(&es256)).is_ok());
        let joined = jwt(pem("rsa.pub.pem").and(pem("ec.pub.pem")));
        assert!(joined.look_up(Some(&rs256)).is_ok() && joined.look_up(Some(&es256)).is_ok());
        // Keys change while the server runs.
        joined.set_keys(pem("ec.pub.pem"));
        assert!(joined.look_up(Some(&rs256)).is_err() && joined.look_up(Some(&es256)).is_ok());
        // A public key is no secret: it cannot be taken for one.
        let text = fixture("rsa.pub.pem");
        let message = [r#"{"alg":"HS256"}"#, r#"{"sub":"ann","exp":1700000060}"#]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
        let forged = format!("{message}.{tag}");
        let jwt = JwtAuthenticator::new(pem("rsa.pub.pem")).env(Arc::new(At(NOW)));
        assert!(jwt.look_up(Some(&forged)).is_err());
    }
}
