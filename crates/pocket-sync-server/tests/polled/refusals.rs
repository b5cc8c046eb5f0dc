//! What belongs to no session, and pages from elsewhere.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_no_session_is_refused_with_a_status_and_a_code() {
    let tokens = TokenTable::new().token("good", Some("ann"), Namespaces::All);
    let running = Running::start(memory(), tokens, Config::default()).await;
    let said = body([hello(1)]);
    let good = ("authorization", "Bearer good");
    let answer = request(running.address, "POST", &[KIND, good], &said).await;
    let name = answer.header(http::CONNECTION).unwrap().to_owned();
    let named = (http::CONNECTION, name.as_str());
    let unknown = "0".repeat(32);
    let refusals: Vec<Refusal<'_>> = vec![
        ("no content type", vec![], &said, 415, "bad-frame"),
        (
            "another content type",
            vec![("content-type", "text/plain")],
            &said,
            415,
            "bad-frame",
        ),
        (
            "compressed",
            vec![KIND, ("content-encoding", "gzip")],
            &said,
            415,
            "bad-frame",
        ),
        (
            "a page from elsewhere",
            vec![KIND, ("origin", "https://example.com")],
            &said,
            403,
            "forbidden",
        ),
        ("nothing", vec![KIND], b"", 400, "unexpected-message"),
        (
            "a late beginning",
            vec![KIND, (http::SEQUENCE, "1")],
            &said,
            400,
            "unexpected-message",
        ),
        (
            "a place that is none",
            vec![KIND, (http::SEQUENCE, "x")],
            &said,
            400,
            "bad-frame",
        ),
        (
            "a length that is a lie",
            vec![KIND],
            b"\xff\xff\xff\xff\x81",
            400,
            "bad-frame",
        ),
        (
            "an unknown connection",
            vec![KIND, (http::CONNECTION, &unknown)],
            b"",
            410,
            "connection-gone",
        ),
        (
            "no name of one",
            vec![KIND, (http::CONNECTION, "x")],
            b"",
            410,
            "connection-gone",
        ),
        (
            "without its token",
            vec![KIND, named],
            b"",
            401,
            "unauthorized",
        ),
        (
            "another token",
            vec![KIND, named, ("authorization", "Bearer bad")],
            b"",
            401,
            "unauthorized",
        ),
        (
            "too large to begin with",
            vec![KIND, ("content-length", "200000")],
            b"",
            413,
            "too-large",
        ),
        (
            "too large",
            vec![KIND, named, good, ("content-length", "99999999")],
            b"",
            413,
            "too-large",
        ),
    ];
    for (what, headers, body, status, code) in refusals {
        let answer = request(running.address, "POST", &headers, body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{what}"
        );
    }
    // Who is let in by nobody hears why in the session's own words, and the connection ends.
    let answer = request(running.address, "POST", &[KIND], &said).await;
    assert_eq!(answer.header(http::CLOSE), Some("4401"));
    assert_eq!(answer.header(http::CONNECTION), None);
    assert!(
        matches!(&answer.messages()[..], [ServerMessage::Error(error)] if error.code == "unauthorized")
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_this_machine_may_ask_and_one_from_elsewhere_may_not() {
    let running = Running::open(memory()).await;
    let near = ("origin", "http://localhost:5173");
    let asked = [near, ("access-control-request-method", "POST")];
    let answer = request(running.address, "OPTIONS", &asked, b"").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(near.1));
    let allowed = answer.header("access-control-allow-headers").unwrap();
    for name in [
        http::CONNECTION,
        http::SEQUENCE,
        http::WAIT,
        http::INTERVAL,
        http::CLOSE,
    ] {
        assert!(allowed.contains(name), "{name}");
    }
    let answer = request(running.address, "POST", &[KIND, near], &body([hello(1)])).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(near.1));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in [http::CONNECTION, http::WAIT, http::CLOSE, http::MORE] {
        assert!(exposed.contains(name), "{name}");
    }
    let far = [("origin", "https://example.com")];
    assert_eq!(
        request(running.address, "OPTIONS", &far, b"").await.status,
        403
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_listed_origin_may_ask_and_no_other_one() {
    let listed = "https://app.example.com";
    let mut config = Config::default();
    config.origins.insert(listed.to_owned());
    let running = Running::start(memory(), TokenTable::open(), config).await;
    let asked = [
        ("origin", listed),
        ("access-control-request-method", "POST"),
    ];
    let answer = request(running.address, "OPTIONS", &asked, b"").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(listed));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(answer.header("vary"), Some("origin"));
    let from = |origin| [KIND, ("origin", origin)];
    let answer = request(running.address, "POST", &from(listed), &body([hello(1)])).await;
    assert!(matches!(
        &answer.messages()[..],
        [ServerMessage::Welcome(_)]
    ));
    assert_eq!(answer.header("access-control-allow-origin"), Some(listed));
    for other in [
        "https://app.example.com.evil.org",
        "http://app.example.com",
        "null",
    ] {
        let origin = [("origin", other)];
        let preflight = request(running.address, "OPTIONS", &origin, b"").await;
        let post = request(running.address, "POST", &from(other), &body([hello(1)])).await;
        for answer in [preflight, post] {
            assert_eq!(
                (answer.status, answer.code()),
                (403, "forbidden".to_owned()),
                "{other}"
            );
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{other}"
            );
        }
    }
    running.stop().await;
}
