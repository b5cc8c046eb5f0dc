//! Hostile connections leave the real server serving an honest client, in bounded memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use pocket_e2e::{Server, done, peak_kib};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The most the server may ever have used.
const PEAK_KIB: u64 = 100 * 1024;

#[test]
fn sixty_hostile_connections_leave_it_serving_an_honest_client() {
    let scratch = tempfile::tempdir().unwrap();
    let server = Server::start(&scratch.path().join("server"));
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    let mut answers = 0;
    for _ in 0..10 {
        for bytes in hostile(&mut dice) {
            answers += usize::from(attack(server.address(), &bytes));
        }
    }
    println!("60 hostile connections, {answers} answered before the close");

    let (a, b) = (scratch.path().join("a"), scratch.path().join("b"));
    done(&a, &["insert", "docs", r#"{"_id":"1","n":1}"#]);
    for db in [&a, &b] {
        done(db, &["sync", "--server", &server.url(), "--once"]);
    }
    assert_eq!(
        done(&b, &["get", "docs", "1"]),
        b"{\"_id\":\"1\",\"n\":1}\n"
    );
    let peak = peak_kib(server.id());
    println!("peak memory of the server: {} MiB", peak / 1024);
    assert!(peak < PEAK_KIB, "{peak} KiB");
}

/// Each ping asks for a pong. Whoever sends them without reading any would fill a queue that has no bound.
#[test]
fn a_flood_of_pings_costs_bounded_memory_and_an_honest_client_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let server = Server::start(&scratch.path().join("server"));
    let address = server.address().to_owned();
    // A ping of 125 bytes, with a mask of zeros; 40,000 of them from each.
    let ping = [&[0x89, 0xfd][..], &[0; 4 + 125]].concat();
    let flood = ping.repeat(40_000);
    let floods: Vec<_> = (0..8)
        .map(|_| {
            let (address, flood) = (address.clone(), flood.clone());
            std::thread::spawn(move || {
                let mut stream = upgraded(&address);
                // The server may take no more while nobody reads its pongs; that is an answer too.
                stream
                    .set_write_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                let _ = stream.write_all(&flood);
                stream
            })
        })
        .collect();
    let (a, b) = (scratch.path().join("a"), scratch.path().join("b"));
    for n in 0..10 {
        done(&a, &["insert", "docs", &format!(r#"{{"_id":"{n}"}}"#)]);
        for db in [&a, &b] {
            done(db, &["sync", "--server", &server.url(), "--once"]);
        }
    }
    assert_eq!(done(&b, &["count", "docs"]), b"10\n");
    let streams: Vec<TcpStream> = floods.into_iter().map(|one| one.join().unwrap()).collect();
    let peak = peak_kib(server.id());
    println!("peak memory of the server: {} MiB", peak / 1024);
    assert!(peak < PEAK_KIB, "{peak} KiB");
    drop(streams);
    done(&b, &["sync", "--server", &server.url(), "--once"]);
}

/// What each of the hostile peers sends behind its handshake; none for one that makes no handshake.
fn hostile(dice: &mut ChaCha8Rng) -> Vec<Attack> {
    let mut random = vec![0; 4096];
    dice.fill_bytes(&mut random);
    vec![
        Attack::Frame(random.clone()),
        // An array that claims 2^32 - 1 elements.
        Attack::Frame([&b"\x81\xa5hello\xdd\xff\xff\xff\xff"[..], &[0; 16]].concat()),
        Attack::Frame([&b"\x81\xa5hello"[..], &[0x91; 3_000], &[0xc0]].concat()),
        Attack::Frame(
            [
                &b"\x81\xa5hello\xdd\x00\x03\x0d\x40"[..],
                &vec![0xc0; 200_000],
            ]
            .concat(),
        ),
        Attack::Frame(br#"{"hello":{"v":[1,1]}}"#.to_vec()),
        // A TLS hello on the plain port.
        Attack::Plain(
            [
                &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
                &random[..256],
            ]
            .concat(),
        ),
    ]
}

enum Attack {
    Frame(Vec<u8>),
    Plain(Vec<u8>),
}

/// Attacks once; whether the server answered anything behind the handshake.
fn attack(address: &str, attack: &Attack) -> bool {
    let (mut stream, payload) = match attack {
        Attack::Plain(bytes) => (connected(address), bytes.clone()),
        Attack::Frame(payload) => (upgraded(address), masked(payload)),
    };
    // The server may hang up before all is written; that is an answer too.
    let _ = stream.write_all(&payload);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.take(1 << 20).read_to_end(&mut answer);
    if matches!(attack, Attack::Frame(_)) {
        assert!(
            answer.len() > 4,
            "a bad frame is answered with an error and a close, not with silence"
        );
    }
    !answer.is_empty()
}

fn connected(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// A connection that has become a WebSocket.
fn upgraded(address: &str) -> TcpStream {
    let mut stream = connected(address);
    let request = format!(
        "GET /sync HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: pocket.v1\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A binary frame with a mask of zeros.
fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82, 0xff];
    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    if let Ok(short) = u16::try_from(payload.len()) {
        frame = vec![0x82, 0xfe];
        frame.extend_from_slice(&short.to_be_bytes());
    }
    if payload.len() < 126 {
        frame = vec![0x82, 0x80 | u8::try_from(payload.len()).unwrap()];
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
