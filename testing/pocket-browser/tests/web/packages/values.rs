//! What JSON does not have, from a page to a native device and back.

use pocket_core::{Integer, Map, Timestamp, Value};

use super::{Server, World};
use crate::server::Native;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dates_binary_and_big_integers_are_the_same_on_both_sides() {
    let Some(world) = World::start().await else {
        return;
    };
    let server = Server::start().await;
    let native = Native::start(&server).await;
    let mut tab = world.synced(&server.url()).await;
    tab.run(
        "await notes.insert({
            _id: 'of the page',
            date: new Date(Date.UTC(2026, 10, 28, 12, 0, 0, 5)), early: new Date(-1),
            bytes: new Uint8Array([0, 255, 128]), none: new Uint8Array(),
            largest: 2n ** 64n - 1n, smallest: -(2n ** 63n), safe: 2 ** 53 - 1, small: 7n,
            float: 0.1, whole: 1.0, zero: -0, text: 'a\\u0000\\u{1f600}', nested: [{ at: new Date(0) }],
        });
        await sync.forceSync();",
    )
    .await;
    native.engine.force_sync().await.unwrap();
    let there = native.notes().get("of the page").await.unwrap().unwrap();
    let map = there.as_map().unwrap();
    let field = |name: &str| map.get(name).unwrap_or_else(|| panic!("{name}: {map:?}"));
    let moment = |millis| Some(Timestamp::from_millis(millis));
    assert_eq!(field("date").as_timestamp(), moment(1_795_867_200_005));
    assert_eq!(field("early").as_timestamp(), moment(-1));
    assert_eq!(field("bytes").as_binary().unwrap()[..], [0, 255, 128]);
    assert!(field("none").as_binary().unwrap().is_empty());
    assert_eq!(field("largest").as_integer(), Some(Integer::from(u64::MAX)));
    assert_eq!(
        field("smallest").as_integer(),
        Some(Integer::from(i64::MIN))
    );
    let safe = (1_i64 << 53) - 1;
    assert_eq!(field("safe").as_integer(), Some(Integer::from(safe)));
    assert_eq!(field("small").as_integer(), Some(Integer::from(7)));
    assert_eq!(field("float").as_float(), Some(0.1));
    // JavaScript knows no float that is whole.
    assert_eq!(field("whole").as_integer(), Some(Integer::from(1)));
    assert!(field("zero").as_float().unwrap().is_sign_negative());
    assert_eq!(field("text").as_str(), Some("a\0\u{1f600}"));
    let nested = &field("nested").as_array().unwrap()[0];
    assert_eq!(
        nested.as_map().unwrap().get("at").unwrap().as_timestamp(),
        moment(0)
    );
    // The same document under another id, and one that only a native device can write.
    let mut back: Map = map
        .iter()
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    back.insert("_id", Value::from("of the native device"));
    back.insert("whole", Value::from(1.0));
    native.notes().insert(&Value::Map(back)).await.unwrap();
    native.engine.force_sync().await.unwrap();
    tab.run("await sync.forceSync()").await;
    let problems = tab
        .run(
            "const problems = [];
            const is = (what, fine) => { if (!fine) problems.push(what) };
            for (const id of ['of the page', 'of the native device']) {
                const note = await notes.get(id);
                is(id + ' date', note.date instanceof Date && note.date.toISOString() === '2026-11-28T12:00:00.005Z');
                is(id + ' early', note.early.getTime() === -1);
                is(id + ' bytes', note.bytes instanceof Uint8Array && note.bytes.join() === '0,255,128');
                is(id + ' none', note.none instanceof Uint8Array && note.none.length === 0);
                is(id + ' largest', note.largest === 2n ** 64n - 1n);
                is(id + ' smallest', note.smallest === -(2n ** 63n));
                is(id + ' safe', note.safe === 2 ** 53 - 1);
                is(id + ' small', note.small === 7);
                is(id + ' float', note.float === 0.1 && note.whole === 1);
                is(id + ' zero', Object.is(note.zero, -0));
                is(id + ' text', note.text === 'a\\u0000\\u{1f600}');
                is(id + ' nested', note.nested[0].at.getTime() === 0);
                is(id + ' order', Object.keys(note)[0] === '_id');
            }
            // They are found by what they are.
            const found = (query) => query.count();
            is('by date', await found(notes.find().where('date').gt(new Date(0))) === 2);
            is('by bytes', await found(notes.find().where('bytes').eq(new Uint8Array([0, 255, 128]))) === 2);
            is('by a big integer', await found(notes.find().where('largest').gte(2n ** 63n)) === 2);
            // What cannot be kept is refused, by name.
            for (const [name, value] of Object.entries({
                nan: NaN, infinite: Infinity, huge: 2n ** 64n, call: () => 0, symbol: Symbol('s'), map: new Map(),
                bad: new Date(NaN), hole: [undefined],
            })) {
                const code = await codeOf((async () => notes.insert({ [name]: value }))());
                is(name + ' is ' + code, code === 'validation');
            }
            return problems;",
        )
        .await;
    assert_eq!(problems, serde_json::json!([]));
    tab.close().await;
}
