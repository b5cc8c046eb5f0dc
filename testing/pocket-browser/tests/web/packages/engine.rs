//! An engine that cannot be loaded: what is said, and what a page gets all the same.

use super::{Files, Tab, World, directory};

/// Where the tests of this file find pages and engines.
const PAGE: &str = "<meta charset=\"utf-8\">";

/// What opens a database with an engine of another place, and tells the error.
const TRIED: &str = "globalThis.tried = async (wasmUrl) => {
        try { await (await Database.create({ name: 'engine', storage: createMemoryStorage(), wasmUrl })).close(); return ['ok', '']; }
        catch (error) { return [error.code, error.message]; }
    }";

/// A page under a policy, which stands in it as a server would send it.
fn under(policy: &str) -> Vec<u8> {
    let page = directory("testing/pocket-browser/tests/web/packages/page.html");
    let page = std::fs::read_to_string(page).unwrap();
    let meta = format!("{PAGE}<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">");
    assert!(page.contains(PAGE));
    page.replace(PAGE, &meta).into_bytes()
}

async fn tab(world: &World, page: &str) -> Tab {
    let mut tab = Tab(world.browser.page().await);
    tab.0.visit(&format!("{}/{page}", world.site.origin)).await;
    tab.until("document.title === 'ready'").await;
    tab.run(TRIED).await;
    tab
}

async fn says(tab: &mut Tab, url: &str, parts: &[&str]) {
    let told = tab.run(&format!("return await tried({url})")).await;
    assert_eq!(told[0], "engine-not-loaded", "{told}");
    let message = told[1].as_str().unwrap();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_forbids_the_engine_is_named_with_what_to_add() {
    // The import map of the page stands in it.
    let strict = "default-src 'none'; img-src data:; script-src 'self' 'unsafe-inline'";
    let files = Files::from([
        (
            "/no-wasm.html".to_owned(),
            under(&format!("{strict}; connect-src 'self'")),
        ),
        (
            "/no-fetch.html".to_owned(),
            under(&format!("{strict} 'wasm-unsafe-eval'")),
        ),
        (
            "/let.html".to_owned(),
            under(&format!("{strict} 'wasm-unsafe-eval'; connect-src 'self'")),
        ),
    ]);
    let Some(world) = World::start_with(files).await else {
        return;
    };
    let mut no_wasm = tab(&world, "no-wasm.html").await;
    let advice = [
        "the Content-Security-Policy of this page forbids WebAssembly",
        "add 'wasm-unsafe-eval' to its `script-src`",
    ];
    says(&mut no_wasm, "", &advice).await;
    // The next one tries again, and is told the same.
    says(&mut no_wasm, "", &advice).await;
    no_wasm.close().await;

    let mut no_fetch = tab(&world, "no-fetch.html").await;
    let advice = [
        "pocket_web_bg.wasm cannot be fetched",
        "a Content-Security-Policy allows it in `connect-src`",
    ];
    says(&mut no_fetch, "", &advice).await;
    no_fetch.0.has_complained_of("Content Security Policy");
    no_fetch.close().await;

    let mut let_in = tab(&world, "let.html").await;
    assert_eq!(let_in.run("return (await tried())[0]").await, "ok");
    let_in.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_of_a_wrong_type_is_loaded_and_what_is_none_is_told_from_one_that_is_not_whole() {
    let engine = directory("packages/core/dist/wasm/pocket_web_bg.wasm");
    let Ok(engine) = std::fs::read(engine) else {
        return;
    };
    let page = b"<!doctype html><title>An application</title>".to_vec();
    let files = Files::from([
        ("/cut.wasm".to_owned(), engine[..100_000].to_vec()),
        ("/empty.wasm".to_owned(), Vec::new()),
        ("/page.wasm".to_owned(), page.clone()),
        ("/app.html".to_owned(), page),
        ("/engine.octets".to_owned(), engine),
    ]);
    let Some(world) = World::start_with(files).await else {
        return;
    };
    let mut tab = tab(&world, "page.html").await;
    let in_its_place = "most likely the server answers a page in its place";
    let cut = "is no whole WebAssembly: it was cut off or changed on its way";
    for (url, parts) in [
        ("'/gone.wasm'", ["answers 404", "`wasmUrl`"]),
        ("'/page.wasm'", ["served as application/wasm", in_its_place]),
        ("'/app.html'", ["served as text/html", in_its_place]),
        ("'/cut.wasm'", ["/cut.wasm", cut]),
        ("'/empty.wasm'", ["/empty.wasm", cut]),
    ] {
        says(&mut tab, url, &parts).await;
    }
    // The type is not what counts: a warning of the browser is all.
    let loaded = "const { warn } = console;
        const said = [];
        console.warn = (text) => said.push(text);
        const [code] = await tried('/engine.octets');
        console.warn = warn;
        return [code, said.length, said.join().includes('application/wasm')]";
    assert_eq!(tab.run(loaded).await, serde_json::json!(["ok", 1, true]));
    tab.close().await;
}
