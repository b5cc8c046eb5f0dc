//! Files of a running server that are read again.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Place, Running};

/// A server with these files, and its URL; it says on stderr what it reads.
fn serve(place: &Place, words: &[&str]) -> (Running, String) {
    place.serve("server", &[&["-v"], words].concat())
}

fn once(place: &Place, db: &str, url: &str, token: &str) -> common::Outcome {
    place.run_on(db, &["sync", "--once", "--server", url, "--token", token])
}

fn watch(place: &Place, db: &str, url: &str, token: &str) -> Running {
    let mut sync = place.start(db, &["sync", "--server", url, "--token", token]);
    sync.line_with("idle");
    sync
}

#[test]
fn a_token_that_was_taken_back_ends_the_sessions_of_its_user_and_a_new_one_lets_in() {
    let place = Place::new();
    let file = place.file("tokens", "one ann\ntwo bob\n");
    let (mut server, url) = serve(&place, &["--token-file", &file]);
    place.ok_on("ann", &["insert", "things", "{}"]);
    place.ok_on("bob", &["insert", "things", "{}"]);
    let mut ann = watch(&place, "ann", &url, "one");
    let by_http = url.replace("ws://", "http://");
    let mut polling = watch(&place, "ann-by-http", &by_http, "one");
    let mut bob = watch(&place, "bob", &url, "two");
    // Nobody is told: the server looks by itself.
    place.file("tokens", "two bob\nthree cid\n");
    server.note_with("the token file was read again");
    ann.line_with("unauthorized");
    polling.line_with("unauthorized");
    once(&place, "cid", &url, "three").ok();
    once(&place, "ann2", &url, "one").failed(1, "unauthorized");
    // Bob has not been disturbed: what comes now still comes to him.
    place.ok_on("bob", &["insert", "things", r#"{"_id":"late"}"#]);
    bob.line_with("idle");
    once(&place, "cid", &url, "three").ok();
    assert_eq!(
        place.ok_on("cid", &["get", "things", "late"]),
        "{\"_id\":\"late\"}\n"
    );
}

#[test]
fn a_token_file_with_a_mistake_changes_nothing_and_is_told() {
    let place = Place::new();
    let file = place.file("tokens", "one ann\n");
    let (mut server, url) = serve(&place, &["--token-file", &file]);
    for bad in ["one ann\nsesame\n", "", "# nobody\n"] {
        place.file("tokens", bad);
        server.signal("HUP");
        let told = server.note_with("the old token file stays in use");
        assert!(
            told.contains("tokens") && !told.contains("sesame"),
            "{told}"
        );
        once(&place, "db", &url, "one").ok();
    }
    place.file("tokens", "one ann\nsesame bob\n");
    server.signal("HUP");
    server.note_with("the token file was read again");
    once(&place, "bob", &url, "sesame").ok();
}

const OPEN: &str = "[collections.things]\nread = [\"*\"]\nwrite = [\"*\"]\n";
const OWNED: &str = "[collections.things]\nread = [\"*\"]\nwrite = [\"*\"]\nowner = \"by\"\n";

#[test]
fn under_changed_rules_devices_let_go_of_what_they_may_no_longer_see() {
    let place = Place::new();
    let rules = place.file("rules.toml", OPEN);
    let words = ["--token", "a=ann", "--token", "b=bob", "--rules", &rules];
    let (mut server, url) = serve(&place, &words);
    place.ok_on("ann", &["insert", "things", r#"{"_id":"hers","by":"ann"}"#]);
    place.ok_on("ann", &["insert", "things", r#"{"_id":"his","by":"bob"}"#]);
    once(&place, "ann", &url, "a").ok();
    let words = ["watch", "things", "--server", &url, "--token", "b"];
    let mut bob = place.start("bob", &words);
    let seen = [bob.line(), bob.line()].concat();
    assert!(seen.contains("hers") && seen.contains("his"), "{seen}");
    // First a mistake: the old rules go on.
    place.file("rules.toml", "[collections.things]\nreed = []\n");
    server.signal("HUP");
    let told = server.note_with("the old rules file stays in use");
    assert!(
        told.contains("rules.toml") && told.contains("reed"),
        "{told}"
    );
    place.file("rules.toml", OWNED);
    server.signal("HUP");
    server.note_with("the rules file was read again");
    let gone = bob.line();
    assert!(gone.contains("hers"), "{gone}");
    assert_eq!(
        place.ok_on("bob", &["find", "things"]),
        "{\"_id\":\"his\",\"by\":\"bob\"}\n"
    );
    // And back: what was hidden comes again.
    place.file("rules.toml", OPEN);
    server.signal("HUP");
    let back = bob.line();
    assert!(back.contains("hers"), "{back}");
    assert_eq!(place.ok_on("bob", &["count", "things"]), "2\n");
}

#[test]
fn a_mistake_in_the_rules_keeps_no_token_alive() {
    let place = Place::new();
    let file = place.file("tokens", "one ann\ntwo bob\n");
    let rules = place.file("rules.toml", OPEN);
    let (mut server, url) = serve(&place, &["--token-file", &file, "--rules", &rules]);
    place.ok_on("ann", &["insert", "things", "{}"]);
    let mut ann = watch(&place, "ann", &url, "one");
    place.file("rules.toml", "nonsense");
    place.file("tokens", "two bob\n");
    server.signal("HUP");
    ann.line_with("unauthorized");
    server.note_with("the old rules file stays in use");
    once(&place, "bob", &url, "two").ok();
}

#[test]
fn roles_that_the_rules_file_gives_and_takes_count_at_once() {
    let place = Place::new();
    let text = "[collections.things]\nread = [\"reader\"]\nwrite = [\"*\"]\n[users.bob]\nroles = [\"reader\"]\n";
    let rules = place.file("rules.toml", text);
    let words = ["--token", "a=ann", "--token", "b=bob", "--rules", &rules];
    let (mut server, url) = serve(&place, &words);
    place.ok_on("ann", &["insert", "things", r#"{"_id":"x"}"#]);
    once(&place, "ann", &url, "a").ok();
    let words = ["watch", "things", "--server", &url, "--token", "b"];
    let mut bob = place.start("bob", &words);
    assert!(bob.line().contains("\"x\""));
    place.file(
        "rules.toml",
        text.replace("[\"reader\"]\n[", "[]\n[")
            .replace("roles = [\"reader\"]", "roles = []"),
    );
    server.signal("HUP");
    server.note_with("the rules file was read again");
    bob.line_with("x");
    assert_eq!(place.ok_on("bob", &["count", "things"]), "0\n");
}

/// Secrets for HS256, and a token signed with each: `sub` is ann, `exp` is in 2100.
mod signed {
    pub(super) const ONE: (&str, &str) = (
        "the first secret has thirty-two bytes",
        include_str!("fixtures/jwt/one.jwt"),
    );
    pub(super) const TWO: (&str, &str) = (
        "and so does the second one, or even more",
        include_str!("fixtures/jwt/two.jwt"),
    );
}

#[test]
fn when_the_key_of_tokens_changes_those_signed_with_the_old_one_end() {
    let place = Place::new();
    let key = place.file("secret", signed::ONE.0);
    let (mut server, url) = serve(&place, &["--jwt-secret", &key, "--jwt-all-namespaces"]);
    let (one, two) = (signed::ONE.1.trim(), signed::TWO.1.trim());
    place.ok_on("ann", &["insert", "things", "{}"]);
    let mut ann = watch(&place, "ann", &url, one);
    once(&place, "other", &url, two).failed(1, "unauthorized");
    place.file("secret", "short");
    server.signal("HUP");
    let told = server.note_with("the old key of tokens stays in use");
    assert!(
        told.contains("32 bytes") && !told.contains("short"),
        "{told}"
    );
    once(&place, "more", &url, one).ok();
    place.file("secret", signed::TWO.0);
    server.signal("HUP");
    ann.line_with("unauthorized");
    once(&place, "other", &url, two).ok();
}
