//! The quick start of the documents, as it stands there but for URL and token.

use serde_json::json;

use super::{Files, Server, TOKEN, Tab, World};
use crate::server::{Native, by_id};

const QUICK_START: &str = include_str!("quick-start.js");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quick_start_runs_as_it_stands_and_its_task_reaches_another_device() {
    let server = Server::start().await;
    let script = QUICK_START
        .replace(
            "wss://api.example.com/sync",
            &format!("{}/sync", server.url()),
        )
        .replace("your-auth-token", TOKEN);
    assert!(script.contains(TOKEN) && !script.contains("example.com"));
    let page = r#"import "/quick-start.js"; document.title = "finished";"#;
    let files = Files::from([
        ("/quick-start.js".to_owned(), script.into_bytes()),
        ("/finish.js".to_owned(), page.as_bytes().to_vec()),
    ]);
    let Some(world) = World::start_with(files).await else {
        return;
    };
    let mut tab = world.tab().await;
    let Tab(page) = &mut tab;
    page.value(
        "(() => { const script = document.createElement('script');
            script.type = 'module'; script.src = '/finish.js'; document.head.append(script); })()",
    )
    .await;
    page.until("document.title === 'finished'").await;
    let native = Native::start_with(&server.url(), &["todos"]).await;
    let todos = native.all("todos").await;
    let task = json!({ "_id": "1", "title": "Task", "completed": false });
    assert_eq!(todos, by_id([task]));
    // It stopped, and the page is the only one that could have been there besides.
    assert_eq!(server.clients().len(), 1);
    tab.close().await;
}
