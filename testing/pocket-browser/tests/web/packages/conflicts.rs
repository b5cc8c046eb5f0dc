//! Functions of the application that decide conflicts.

use serde_json::{Value, json};

use super::{Server, Tab, World};
use crate::server::Native;

/// A tab and a native device that both changed the note `c`, and do not know of each other's change.
async fn disagreeing() -> Option<(World, Server, Native, Tab)> {
    let world = World::start().await?;
    let server = Server::start().await;
    let native = Native::start(&server).await;
    native
        .write(&json!({ "_id": "c", "text": "base", "kept": true }))
        .await;
    native.engine.force_sync().await.unwrap();
    let mut tab = world.synced(&server.url()).await;
    tab.until("notes.get('c').then((note) => note?.text === 'base')")
        .await;
    tab.run("await sync.destroy(); await notes.update('c', { text: 'page' })")
        .await;
    native
        .write(&json!({ "_id": "c", "text": "native", "kept": true }))
        .await;
    native.engine.force_sync().await.unwrap();
    Some((world, server, native, tab))
}

/// The versions that the one entry of the page's journal keeps, and its number.
async fn journaled(tab: &mut Tab) -> (Value, u64) {
    let entries = tab
        .run(
            "const entries = await db.journal.list();
            return entries.map((entry) => ({ number: entry.number, winner: entry.winner, state: entry.state,
                documents: entry.documents.map(({ base, local, remote }) =>
                    [base, local, remote].map((version) => version?.document?.text)) }))",
        )
        .await;
    let [entry] = entries.as_array().unwrap().as_slice() else {
        panic!("{entries}");
    };
    assert_eq!(entry["state"], "open");
    (
        entry["documents"][0].clone(),
        entry["number"].as_u64().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_function_of_the_page_decides_for_all_devices() {
    let Some((_world, server, native, mut tab)) = disagreeing().await else {
        return;
    };
    let url = json!(server.url());
    let script = format!(
        "globalThis.conflicts = []; globalThis.heard = [];
        const conflictStrategy = async (conflict) => {{
            conflicts.push(conflict);
            const {{ localDocument, remoteDocument }} = conflict;
            // Something that takes its time, as a question to the user does.
            await new Promise((resolve) => setTimeout(resolve));
            return {{ document: {{ ...localDocument, text: localDocument.text + ' and ' + remoteDocument.text }}, because: 'both' }};
        }};
        globalThis.sync = createSyncEngine(db, {{ serverUrl: {url}, authToken: 'open-sesame', conflictStrategy }});
        sync.onConflict((entry) => heard.push(entry.number));
        await sync.start();
        await sync.forceSync();"
    );
    tab.run(&script).await;
    let asked = tab
        .run(
            "return conflicts.map(({ timestamp, ...conflict }) => ({ ...conflict, at: timestamp instanceof Date }))",
        )
        .await;
    let note = |text: &str| json!({ "_id": "c", "text": text, "kept": true });
    let expected = json!([{
        "collection": "notes", "documentId": "c", "at": true,
        "baseDocument": note("base"), "localDocument": note("page"), "remoteDocument": note("native"),
    }]);
    assert_eq!(asked, expected);
    let all = native.all("notes").await;
    assert_eq!(all["c"], note("page and native"));
    assert_eq!(tab.all().await, all);
    assert_eq!(tab.run("return stats().conflictCount").await, 1);
    let (versions, number) = journaled(&mut tab).await;
    assert_eq!(versions, json!(["base", "page", "native"]));
    tab.until("heard.length === 1").await;
    assert_eq!(tab.run("return heard").await, json!([number]));
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_function_that_throws_the_journal_keeps_both_versions_and_gives_back_the_own() {
    let Some((_world, server, native, mut tab)) = disagreeing().await else {
        return;
    };
    tab.start(
        &server.url(),
        "{ conflictStrategy: { notes: () => { throw new Error('no idea') } } }",
    )
    .await;
    assert_eq!(tab.code("sync.forceSync()").await, "ok");
    let all = native.all("notes").await;
    assert_eq!(all["c"]["text"], "native");
    assert_eq!(tab.all().await, all);
    let (versions, number) = journaled(&mut tab).await;
    assert_eq!(versions, json!(["base", "page", "native"]));
    // The user wants the other one after all.
    tab.run(&format!(
        "await db.journal.restore({number}); await sync.forceSync()"
    ))
    .await;
    assert_eq!(tab.run("return (await db.stats()).openConflicts").await, 0);
    let all = native.all("notes").await;
    assert_eq!(all["c"]["text"], "page");
    assert_eq!(tab.all().await, all);
    tab.close().await;
}
