//! A sync of many documents while the server, a client, or all of them are killed at random moments.
//!
//! Each round: one device holds documents that no server has seen, another is empty, and both watch. Something gets
//! SIGKILL once or twice, is started again, and at the end both devices and the source hold the same documents, and
//! the server gave exactly one place in its order to each: nothing was lost, nothing was applied twice.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use pocket_e2e::{Running, Server, copy, done, setting, status};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DOCUMENTS: usize = 30_000;

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Server,
    Client,
    All,
}

#[test]
fn nothing_is_lost_or_doubled_by_kills_during_a_sync() {
    // Each victim once over each transport.
    let rounds = setting("POCKET_KILL_ROUNDS", 6);
    let seed = setting("POCKET_SEED", u64::from(std::process::id()));
    println!("POCKET_SEED={seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("source");
    let count = import(&source, scratch.path(), &mut dice);
    let expected = done(&source, &["export", "docs"]);
    let mut kills = 0;
    for round in 0..rounds {
        let victim =
            [Victim::Server, Victim::Client, Victim::All][usize::try_from(round).unwrap() % 3];
        // The last pass of each round goes the other way than what was killed.
        let over_http = round % 2 == 1;
        kills += one_round(
            &scratch.path().join(format!("round-{round}")),
            &source,
            (victim, over_http),
            &mut dice,
            count,
            &expected,
        );
        let by = if over_http { "HTTP" } else { "WebSocket" };
        println!("round {round}: {victim:?} killed over {by}, {count} documents equal everywhere");
    }
    println!("{rounds} rounds, {kills} kills, {count} documents each: 0 lost, 0 applied twice");
}

/// Makes the documents that every round begins with; returns how many.
fn import(db: &Path, scratch: &Path, dice: &mut ChaCha8Rng) -> u64 {
    let given = std::env::var_os("POCKET_E2E_DOCUMENTS").map(std::path::PathBuf::from);
    let file = given.unwrap_or_else(|| write_documents(scratch, dice));
    done(db, &["import", "docs", file.to_str().unwrap()]);
    let count = String::from_utf8(done(db, &["count", "docs"])).unwrap();
    count.trim().parse().unwrap()
}

fn write_documents(scratch: &Path, dice: &mut ChaCha8Rng) -> std::path::PathBuf {
    let file = scratch.join("documents.jsonl");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    for n in 0..DOCUMENTS {
        let (a, b): (u64, f64) = (dice.random(), dice.random());
        let line = format!(
            r#"{{"_id":"doc-{n:06}","n":{n},"a":{a},"b":{b},"name":"Ünïcode {n}","tags":["x","y"]}}"#
        );
        writeln!(out, "{line}").unwrap();
    }
    out.flush().unwrap();
    file
}

fn one_round(
    at: &Path,
    source: &Path,
    (victim, over_http): (Victim, bool),
    dice: &mut ChaCha8Rng,
    count: u64,
    expected: &[u8],
) -> u64 {
    let (a, b) = (at.join("a"), at.join("b"));
    copy(source, &a);
    let mut server = Server::start(&at.join("server"));
    let (mut url, mut other) = (server.url(), server.http_url());
    if over_http {
        std::mem::swap(&mut url, &mut other);
    }
    let watch = |db: &Path| Running::start(db, &["sync", "--server", &url]);
    let (mut first, mut second) = (watch(&a), watch(&b));
    let mut kills = 0;
    for _ in 0..dice.random_range(1..=3) {
        first.run_for(Duration::from_millis(dice.random_range(20..900)));
        if matches!(victim, Victim::Server | Victim::All) {
            server.kill();
            kills += 1;
        }
        if matches!(victim, Victim::Client | Victim::All) {
            first.kill();
            second.kill();
            kills += 2;
        }
        if matches!(victim, Victim::Server | Victim::All) {
            server.restart();
        }
        if matches!(victim, Victim::Client | Victim::All) {
            (first, second) = (watch(&a), watch(&b));
        }
    }
    assert!(
        first.is_alive() && second.is_alive(),
        "a client must outlive its server"
    );
    first.kill();
    second.kill();
    for db in [&a, &b] {
        done(
            db,
            &["sync", "--server", &other, "--once", "--timeout", "60"],
        );
    }
    for db in [&a, &b] {
        assert!(
            done(db, &["export", "docs"]) == expected,
            "{} differs from the source",
            db.display()
        );
        assert_eq!(status(db)["pending"], 0);
    }
    // The second device began after the first had sent all, so it stands at the end of the server's order.
    let places = &status(&b)["checkpoint"]["seq"];
    assert_eq!(
        places, count,
        "the server gave {places} places to {count} documents"
    );
    kills
}

#[test]
fn a_client_lives_on_while_its_server_is_away_and_sends_what_was_written_before() {
    let scratch = tempfile::tempdir().unwrap();
    let (a, b) = (scratch.path().join("a"), scratch.path().join("b"));
    let mut server = Server::start(&scratch.path().join("server"));
    let url = server.url();
    done(&a, &["insert", "docs", r#"{"_id":"1","n":1}"#]);
    let mut watching = Running::start(&b, &["--json", "watch", "docs", "--server", &url]);
    server.kill();
    let failed = pocket_e2e::run(&a, &["sync", "--server", &url, "--once", "--timeout", "2"]);
    assert_eq!(
        failed.status.code(),
        Some(1),
        "a pass without a server fails"
    );
    server.restart();
    done(&a, &["sync", "--server", &url, "--once"]);
    let line = watching.wait_for(Duration::from_secs(60), |line| {
        line.contains(r#""_id":"1""#)
    });
    assert!(
        line.is_some(),
        "the other device, which lived on, sees the change"
    );
    assert!(watching.is_alive());
}
