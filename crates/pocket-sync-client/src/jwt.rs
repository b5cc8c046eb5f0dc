//! When a token says it ends. Nothing is verified: that is the server's work, and a lie only asks too early or too late.

/// The `exp` of a JSON Web Token (RFC 7519, section 4.1.4) in milliseconds since 1970; none if it is no such token.
pub(crate) fn expiry_millis(token: &str) -> Option<i64> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let seconds = exp(&base64url(claims)?).filter(|exp| (0.0..1e12).contains(exp))?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the line above")]
    Some((seconds * 1_000.0) as i64)
}

/// The `exp` of claims, in seconds.
#[cfg(not(target_arch = "wasm32"))]
fn exp(claims: &[u8]) -> Option<f64> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: Option<f64>,
    }
    let claims: Claims = serde_json::from_slice(claims).ok()?;
    claims.exp
}

/// As above, by the parser that JavaScript has: there it takes no code.
#[cfg(target_arch = "wasm32")]
fn exp(claims: &[u8]) -> Option<f64> {
    let claims = js_sys::JSON::parse(std::str::from_utf8(claims).ok()?).ok()?;
    js_sys::Reflect::get(&claims, &"exp".into()).ok()?.as_f64()
}

/// Base 64 with the letters of URLs and without padding (RFC 4648, section 5).
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff).to_le_bytes()[0]);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_token_is_read_without_verifying_it() {
        // The example of RFC 7519, section 3.1.
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                     dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(expiry_millis(token), Some(1_300_819_380_000));
    }

    #[test]
    fn what_is_no_such_token_has_no_end() {
        // The claims of the last two are `{}` and `{"exp":1e99}`.
        for token in [
            "",
            "sesame",
            "a.b",
            "a.!.c",
            "a.b.c.d",
            "a.e30.c",
            "a.eyJleHAiOjFlOTl9.c",
        ] {
            assert_eq!(expiry_millis(token), None, "{token}");
        }
    }
}
