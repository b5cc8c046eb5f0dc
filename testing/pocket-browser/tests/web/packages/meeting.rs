//! Windows of different users of a browser and a native device, by way of the server.

use serde_json::json;

use super::{Server, World};
use crate::server::Native;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_windows_and_a_native_device_meet_by_websocket_and_http() {
    let server = Server::start().await;
    // Each has a profile of its own, so that they are devices of their own.
    let Some(one) = World::start().await else {
        return;
    };
    let Some(two) = World::start().await else {
        return;
    };
    let native = Native::start(&server).await;
    let [websocket, http] = server.urls();
    let mut by_websocket = one.synced(&websocket).await;
    let mut by_http = two.open().await;
    by_http.start(&http, "{ pullInterval: 200 }").await;
    by_websocket
        .run("await notes.insert({ _id: 'w', from: 'websocket', list: [1, 2.5, null, { deep: true }] })")
        .await;
    by_http
        .run("await notes.insert({ _id: 'h', from: 'http' })")
        .await;
    native.write(&json!({ "_id": "n", "from": "native" })).await;
    // Live, without being asked.
    for tab in [&mut by_websocket, &mut by_http] {
        tab.until("notes.count().then((count) => count === 3)")
            .await;
        tab.until("current() === 'idle'").await;
    }
    let all = native.all("notes").await;
    assert_eq!(all.len(), 3);
    assert_eq!(all["w"]["list"], json!([1, 2.5, null, { "deep": true }]));
    // An edit and a deletion go all the way, too.
    by_http
        .run("await notes.update('w', { from: 'elsewhere' }); await notes.delete('n')")
        .await;
    by_websocket
        .until("notes.get('w').then((note) => note.from === 'elsewhere')")
        .await;
    by_websocket
        .until("notes.get('n').then((note) => note === null)")
        .await;
    let all = native.all("notes").await;
    assert_eq!(by_websocket.all().await, all);
    assert_eq!(by_http.all().await, all);
    assert_eq!(all.keys().collect::<Vec<_>>(), ["h", "w"]);
    let stats = by_websocket.run("return stats()").await;
    assert!(stats["pushCount"].as_u64().unwrap() >= 1, "{stats}");
    assert!(stats["pullCount"].as_u64().unwrap() >= 2, "{stats}");
    assert_eq!(stats["pendingCount"], 0);
    assert!(stats["lastSyncAt"].as_u64().is_some(), "{stats}");
    assert!(stats["lastError"].is_null(), "{stats}");
    by_websocket.close().await;
    by_http.close().await;
}
