//! The directory of a database: who may open it, and what is refused.
#![cfg(unix)]

mod common;

use common::{Place, exists};

#[test]
fn a_directory_holds_a_description_the_store_and_a_lock() {
    let place = Place::new();
    place.ok(&["insert", "things", "{}"]);
    let mut names: Vec<String> = std::fs::read_dir(place.path("db"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["LOCK", "pocket.json", "store.redb"]);
    let description = std::fs::read_to_string(place.path("db").join("pocket.json")).unwrap();
    assert_eq!(
        description,
        "{\"format\":1,\"role\":\"client\",\"storage\":\"redb\"}\n"
    );
}

#[test]
fn a_second_process_is_told_the_path_and_the_holder() {
    let place = Place::new();
    let mut holder = place.start("db", &["insert", "things"]);
    holder.say("{\"_id\":\"a\"}\n");
    assert_eq!(holder.line(), "a");
    let outcome = place.run(&["count", "things"]).failed(1, "in-use");
    let path = place.path("db");
    assert!(outcome.err.contains(path.to_str().unwrap()), "{outcome:?}");
    let holder_id = format!("process {}", holder.pid());
    assert!(outcome.err.contains(&holder_id), "{outcome:?}");
    holder.signal("KILL");
    holder.status();
    // A lock ends with its holder, however that ended.
    assert_eq!(place.ok(&["count", "things"]), "1\n");
}

#[test]
fn a_server_in_use_is_told_as_well() {
    let place = Place::new();
    let (server, _) = place.serve("server", &[]);
    let outcome = place.run_on("server", &["serve", "--listen", "127.0.0.1:0"]);
    let outcome = outcome.failed(1, "in-use");
    assert!(
        outcome.err.contains(&format!("process {}", server.pid())),
        "{outcome:?}"
    );
}

#[test]
fn a_servers_directory_is_no_clients_and_the_other_way_round() {
    let place = Place::new();
    let (mut server, _) = place.serve("server", &[]);
    server.signal("TERM");
    assert_eq!(server.status(), 0);
    place.ok(&["insert", "things", "{}"]);
    place
        .run_on("server", &["insert", "things", "{}"])
        .failed(1, "other-directory");
    place
        .run_on("server", &["status"])
        .failed(1, "other-directory");
    place
        .run_on("db", &["serve", "--listen", "127.0.0.1:0"])
        .failed(1, "other-directory");
}

#[test]
fn the_backend_is_remembered_and_another_one_refused() {
    let place = Place::new();
    place.ok(&["insert", "things", r#"{"_id":"a"}"#, "--storage", "sled"]);
    assert!(exists(&place.path("db").join("store.sled")));
    assert_eq!(place.ok(&["find", "things"]), "{\"_id\":\"a\"}\n");
    assert_eq!(
        place.ok(&["find", "things", "--storage", "sled"]),
        "{\"_id\":\"a\"}\n"
    );
    let outcome = place.run(&["find", "things", "--storage", "redb"]);
    let outcome = outcome.failed(1, "other-directory");
    assert!(
        outcome.err.contains("sled") && outcome.err.contains("redb"),
        "{outcome:?}"
    );
}

#[test]
fn memory_is_only_for_a_server_which_says_that_it_forgets() {
    let place = Place::new();
    place
        .run(&["insert", "things", "{}", "--storage", "memory"])
        .failed(2, "usage");
    let (mut server, url) = place.serve("server", &["--storage", "memory"]);
    server.note_with("everything ends with this process");
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    place.ok(&["sync", "--server", &url, "--once"]);
    place.ok_on("other", &["sync", "--server", &url, "--once"]);
    assert_eq!(
        place.ok_on("other", &["find", "things"]),
        "{\"_id\":\"a\"}\n"
    );
    assert!(!exists(&place.path("server")));
}

#[test]
fn damage_is_told_and_never_shown_as_an_empty_database() {
    for (name, content) in [
        ("pocket.json", &b"{\"format\":1"[..]),
        ("pocket.json", b"\xff\xfe"),
        ("pocket.json", b"{\"name\":\"somebody else's\"}"),
        ("store.redb", b"this is no store at all"),
        ("store.redb", b""),
    ] {
        let place = Place::new();
        place.ok(&["insert", "things", "{}"]);
        std::fs::write(place.path("db").join(name), content).unwrap();
        place.run(&["count", "things"]).failed(1, "corrupt");
    }
    let place = Place::new();
    place.ok(&["insert", "things", "{}"]);
    std::fs::remove_file(place.path("db").join("store.redb")).unwrap();
    place.run(&["count", "things"]).failed(1, "corrupt");
    place.run(&["insert", "things", "{}"]).failed(1, "corrupt");
}

#[test]
fn a_directory_of_a_newer_program_is_left_alone() {
    let place = Place::new();
    place.ok(&["insert", "things", "{}"]);
    let newer = r#"{"format":2,"role":"client","storage":"redb"}"#;
    std::fs::write(place.path("db").join("pocket.json"), newer).unwrap();
    place.run(&["count", "things"]).failed(1, "newer-format");
}

/// The store was taken for a new one: of another backend it was made anew beside it, and of a server it became a device's.
#[test]
fn a_lost_description_is_damage_and_not_a_new_database() {
    let place = Place::new();
    place.ok(&["insert", "things", "{}"]);
    std::fs::remove_file(place.path("db").join("pocket.json")).unwrap();
    for command in [
        &["count", "things"][..],
        &["insert", "things", "{}", "--storage", "sled"],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let outcome = place.run(command).failed(1, "corrupt");
        assert!(
            outcome.err.contains("pocket.json is missing"),
            "{outcome:?}"
        );
    }
    assert!(!exists(&place.path("db").join("store.sled")));
    // A creation that was cut short says so, and goes on.
    let unfinished = place.path("db").join("pocket.json.new");
    std::fs::write(unfinished, "").unwrap();
    place.ok(&["insert", "things", "{}"]);
    assert_eq!(place.ok(&["count", "things"]), "2\n");
}

#[test]
fn a_server_that_cannot_listen_leaves_no_database_behind() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = place.run_on("new", &["serve", "--listen", &address]);
    outcome.failed(1, "io");
    assert!(!exists(&place.path("new")));
}
