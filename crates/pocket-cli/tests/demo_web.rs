//! `demo --web`: what it serves and to whom, and how it ends. How it gets that is in `demo_web_build.rs`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use common::{Outcome, Place, Running, program};

/// A command ends within two seconds of a signal; the rest is for a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

/// Folders of built files, and a demo that serves them.
struct Site {
    place: Place,
    demo: Running,
    port: u16,
}

impl Site {
    fn serve(words: &[&str]) -> Self {
        let place = Place::new();
        for (name, content) in [
            ("site/index.html", "<title>page</title>"),
            ("site/sw.js", "// worker"),
            ("site/manifest.webmanifest", "{}"),
            ("site/icon.svg", "<svg/>"),
            ("site/.built-from", "sources"),
            ("site/assets/app-1a.js", "// code"),
            ("site/assets/app-1a.css", "a{}"),
            ("site/assets/core-2b.wasm", "\0asm"),
            ("secret.txt", "secret"),
        ] {
            std::fs::create_dir_all(place.path(name).parent().unwrap()).unwrap();
            place.file(name, content);
        }
        let (demo, port) = start(&place, words);
        Self { place, demo, port }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n",
            self.port
        ))
    }

    /// Sends the lines of a request and reads its whole answer.
    fn ask(&self, lines: &str) -> Answer {
        Answer(String::from_utf8(self.bytes(lines)).unwrap())
    }

    fn bytes(&self, lines: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "{lines}connection: close\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// What the status of a WebSocket handshake is.
    fn shake_hands(&self, host: &str, origin: &str) -> u16 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "GET /sync HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        Answer(String::from_utf8(head.to_vec()).unwrap()).status()
    }
}

/// Starts a demo on the files in `site`, whose server keeps its database in `kept`.
fn start(place: &Place, words: &[&str]) -> (Running, u16) {
    let mut command = program();
    command
        .current_dir(place.path(""))
        .args([
            "demo", "--web", "--assets", "site", "--keep", "kept", "--port", "0",
        ])
        .args(words);
    let mut demo = Running::start(command);
    let line = demo.line_with("listening on http://127.0.0.1:");
    let port = line.trim_end_matches('/').rsplit(':').next().unwrap();
    (demo, port.parse().expect(&line))
}

struct Answer(String);

impl Answer {
    fn status(&self) -> u16 {
        self.0.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let mut lines = self.0.lines().take_while(|line| !line.is_empty());
        let start = format!("{name}: ");
        lines
            .find_map(|line| line.strip_prefix(&*start))
            .unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    fn has(&self, header: &str) -> bool {
        let mut lines = self.0.lines().take_while(|line| !line.is_empty());
        lines.any(|line| line.starts_with(header))
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }
}

#[test]
fn files_come_with_their_types_and_only_hashed_ones_are_kept_without_asking() {
    const FOR_EVER: &str = "public, max-age=31536000, immutable";
    let site = Site::serve(&[]);
    for (path, kind, cache) in [
        ("/index.html", "text/html", "no-cache"),
        ("/sw.js", "text/javascript", "no-cache"),
        (
            "/manifest.webmanifest",
            "application/manifest+json",
            "no-cache",
        ),
        ("/icon.svg", "image/svg+xml", "no-cache"),
        ("/assets/app-1a.js", "text/javascript", FOR_EVER),
        ("/assets/app-1a.css", "text/css", FOR_EVER),
        ("/assets/core-2b.wasm", "application/wasm", FOR_EVER),
    ] {
        let answer = site.get(path);
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.header("content-type"), kind, "{path}");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    let since = site.get("/sw.js").header("last-modified").to_owned();
    let again = site.ask(&format!(
        "GET /sw.js HTTP/1.1\r\nhost: x\r\nif-modified-since: {since}\r\n"
    ));
    assert_eq!(again.status(), 304);
    assert_eq!(again.header("cache-control"), "no-cache");
}

#[test]
fn addresses_of_pages_show_the_page_and_files_that_are_missing_stay_missing() {
    let site = Site::serve(&[]);
    for path in ["/", "/done", "/lists/today"] {
        let answer = site.get(path);
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.header("content-type"), "text/html", "{path}");
        assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
        assert_eq!(answer.body(), "<title>page</title>", "{path}");
    }
    for path in ["/assets/app-0.js", "/assets/", "/favicon.ico"] {
        let answer = site.get(path);
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
        assert!(!answer.body().contains("page"), "{path}");
    }
    let posted = site.ask("POST /done HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n");
    assert_eq!(posted.status(), 405);
}

#[test]
fn nothing_outside_of_the_folder_and_nothing_hidden_is_given_out() {
    let site = Site::serve(&[]);
    for path in [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "//etc/hostname",
        "/%2fetc%2fhostname",
        "/.built-from",
        "/%2Ebuilt-from",
        "/assets/%00.js",
    ] {
        let answer = site.get(path);
        let is_page = answer.status() == 200 && answer.body().contains("page");
        assert!(
            is_page || [400, 404].contains(&answer.status()),
            "{path}: {}",
            answer.0
        );
        for inner in ["secret", "sources"] {
            assert!(!answer.body().contains(inner), "{path}");
        }
    }
}

#[test]
fn links_lead_nowhere_outside_of_the_folder() {
    use std::os::unix::fs::symlink;
    let site = Site::serve(&[]);
    let at = |name: &str| site.place.path(name);
    symlink(at("secret.txt"), at("site/link.txt")).unwrap();
    symlink(at(""), at("site/assets/out")).unwrap();
    symlink("app-1a.js", at("site/assets/other.js")).unwrap();
    for path in [
        "/link.txt",
        "/link%2etxt",
        "/assets/out/secret.txt",
        "/assets/out/nothing.txt",
    ] {
        let answer = site.get(path);
        assert_eq!(answer.status(), 404, "{path}: {}", answer.0);
        assert!(!answer.body().contains("secret"), "{path}");
    }
    assert_eq!(site.get("/assets/other.js").body(), "// code");
}

#[test]
fn files_are_compressed_for_who_takes_that() {
    let site = Site::serve(&[]);
    site.place
        .file("site/assets/big.wasm", "\0asm".repeat(10_000));
    let plain = site.get("/assets/big.wasm");
    assert_eq!(plain.header("content-length"), "40000");
    assert!(plain.header("vary").contains("accept-encoding"));
    let compressed =
        site.bytes("GET /assets/big.wasm HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n");
    let end = compressed.windows(4).position(|four| four == b"\r\n\r\n");
    let head = Answer(String::from_utf8(compressed[..end.unwrap() + 4].to_vec()).unwrap());
    assert_eq!(head.status(), 200);
    assert_eq!(head.header("content-encoding"), "gzip");
    assert_eq!(head.header("content-type"), "application/wasm");
    assert!(head.header("cache-control").contains("immutable"));
    assert!(compressed.len() < 4_000, "{}", compressed.len());
    // What the sync endpoint answers is not.
    let health = site.ask("GET /health HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n");
    assert!(!health.has("content-encoding"), "{}", health.0);
}

#[test]
fn devices_sync_at_the_address_of_the_page_and_find_their_server_again_after_a_restart() {
    let mut site = Site::serve(&[]);
    assert!(site.get("/health").body().contains("ok"));
    let place = Place::new();
    let url = format!("ws://127.0.0.1:{}", site.port);
    place.ok(&["insert", "todos", r#"{"_id":"a"}"#]);
    place.ok(&["sync", "--server", &url, "--once"]);
    site.demo.signal("INT");
    assert_eq!(site.demo.status_within(SOON), 0);
    assert!(TcpStream::connect(("127.0.0.1", site.port)).is_err());

    let (mut demo, port) = start(&site.place, &[]);
    let url = format!("ws://127.0.0.1:{port}");
    // The one that knows the database, and a new one.
    place.ok(&["sync", "--server", &url, "--once"]);
    place.ok_on("other", &["sync", "--server", &url, "--once"]);
    assert_eq!(
        place.ok_on("other", &["find", "todos"]),
        "{\"_id\":\"a\"}\n"
    );
    demo.signal("TERM");
    assert_eq!(demo.status_within(SOON), 0);
}

#[test]
fn a_demo_with_a_page_that_is_connected_ends_as_soon() {
    let mut site = Site::serve(&[]);
    let place = Place::new();
    let url = format!("ws://127.0.0.1:{}", site.port);
    let mut client = place.start("db", &["sync", "--server", &url]);
    client.line_with("idle");
    // A browser keeps its connections.
    let _idle = TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    site.demo.signal("INT");
    assert_eq!(site.demo.status_within(SOON), 0);
    client.line_with("offline");
    client.signal("INT");
    assert_eq!(client.status_within(SOON), 0);
}

#[test]
fn pages_of_this_machine_may_connect_and_others_may_not() {
    let site = Site::serve(&[]);
    let here = format!("127.0.0.1:{}", site.port);
    let name = format!("localhost:{}", site.port);
    assert_eq!(site.shake_hands(&here, &format!("http://{here}")), 101);
    assert_eq!(site.shake_hands(&name, &format!("http://{name}")), 101);
    assert_eq!(site.shake_hands(&here, "http://evil.example"), 403);
    assert_eq!(site.shake_hands("evil.example", "http://evil.example"), 403);
}

#[test]
fn in_a_network_its_pages_may_connect_from_there_and_it_warns_that_all_may() {
    let mut site = Site::serve(&["--lan"]);
    site.demo.note_with("WARNING");
    assert_eq!(
        site.shake_hands("192.168.7.7:7711", "http://192.168.7.7:7711"),
        101
    );
    assert_eq!(
        site.shake_hands("192.168.7.7:7711", "http://192.168.7.8:7711"),
        403
    );
    assert_eq!(site.shake_hands("evil.example", "http://evil.example"), 403);
    site.demo.signal("INT");
    assert_eq!(site.demo.status_within(SOON), 0);
}

#[test]
fn programs_read_the_address_as_an_object() {
    let place = Place::new();
    std::fs::create_dir(place.path("site")).unwrap();
    place.file("site/index.html", "page");
    let mut command = program();
    command
        .current_dir(place.path(""))
        .args(["--json", "demo", "--web", "--port", "0"]);
    command.args(["--assets", "site", "--keep", "kept"]);
    let mut demo = Running::start(command);
    let line = demo.line();
    assert!(
        line.starts_with(r#"{"listening":"http://127.0.0.1:"#),
        "{line}"
    );
}

#[test]
fn what_cannot_be_served_is_refused_before_anything_is_built() {
    let place = Place::new();
    let run = |words: &[&str]| -> Outcome {
        let mut command = program();
        command.current_dir(place.path("")).arg("demo").args(words);
        command.output().unwrap().into()
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = run(&["--web", "--port", &port]).failed(1, "io");
    assert!(refused.err.contains("--port"), "{}", refused.err);
    let said = run(&["--web", "--port", "0", "--assets", "nowhere"]).failed(2, "usage");
    assert!(said.err.contains("no index.html"), "{}", said.err);
    place.file("index.html", "<title>page</title>");
    let said = run(&["--web", "--port", "0", "--assets", "index.html"]).failed(2, "usage");
    assert!(said.err.contains("is a file"), "{}", said.err);
    // A damaged one of an earlier demo is named by the option that names it here.
    std::fs::create_dir_all(place.path("kept/server")).unwrap();
    place.file("kept/server/pocket.json", "{");
    let words = ["--web", "--port", "0", "--assets", ".", "--keep", "kept"];
    let said = run(&words).failed(1, "corrupt");
    let names = said.err.contains("with --keep") && !said.err.contains("--db");
    assert!(names, "{}", said.err);
    run(&["--port", "7711"]).failed(2, "usage");
    std::fs::create_dir(place.path("mine")).unwrap();
    place.file("mine/precious", "data");
    run(&["--web", "--port", "0", "--keep", "mine"]).failed(1, "demo");
    place.run(&["demo", "--web"]).failed(2, "usage");
}
