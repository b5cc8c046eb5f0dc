//! The sync client in a page and in a worker, with the sync server.
//!
//! The page is of another origin than the server: another port is another origin, so what a request needs is asked for
//! first, and answers show what the server lets them.

use pocket_browser::{Page, required as browser};
use serde_json::json;
use tokio::net::TcpListener;

use crate::server::{Native, Server, TOKEN};
use crate::site::Site;

async fn page(browser: &std::path::Path) -> (Site, Page) {
    let site = Site::start().await;
    let mut page = Page::open(browser).await;
    site.visit(&mut page).await;
    (site, page)
}

async fn open_device(page: &mut Page, url: &str, token: &str) {
    let (url, token) = (json!(url), json!(token));
    let open = format!(
        "inWindow(async () => {{ globalThis.device = await pocket.Device.open({url}, {token});
            await device.start() }})"
    );
    page.value(&open).await;
}

/// The code of the error that a script ends with.
async fn code(page: &mut Page, script: &str) -> String {
    let caught =
        format!("inWindow(() => {script}).then(() => 'it went well', (error) => error.message)");
    page.value(&caught).await.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_a_worker_and_a_native_device_have_the_same_by_both_transports() {
    let Some(browser) = browser() else { return };
    let server = Server::start().await;
    let native = Native::start(&server).await;
    native.put("native").await;
    let (_site, mut page) = page(&browser).await;
    let mut expected = 1;
    for url in server.urls() {
        for place in ["window", "worker"] {
            expected += 20;
            let given = json!([url, TOKEN, format!("{place} {url} "), 20, 10]);
            let call = match place {
                "window" => format!("inWindow(() => pocket.sync_once(...{given}))"),
                _ => format!("inWorker('sync_once', ...{given})"),
            };
            assert_eq!(page.value(&call).await, expected, "{place} by {url}");
        }
    }
    assert_eq!(native.count().await, expected);
    page.close().await;
}

/// More than the browser is given to buffer at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_megabytes_go_out_and_come_in_by_both_transports() {
    let Some(browser) = browser() else { return };
    let server = Server::start().await;
    let native = Native::start(&server).await;
    let (_site, mut page) = page(&browser).await;
    for (round, url) in [1, 2].into_iter().zip(server.urls()) {
        let given = json!([url, TOKEN, format!("{round} "), 60, 100_000]);
        let call = format!("inWindow(() => pocket.sync_once(...{given}))");
        assert_eq!(page.value(&call).await, round * 60, "by {url}");
    }
    assert_eq!(native.count().await, 120);
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_hears_of_changes_and_comes_back_after_the_server_was_away() {
    let Some(browser) = browser() else { return };
    let mut server = Server::start().await;
    let (_site, mut page) = page(&browser).await;
    for (round, url) in [1, 2].into_iter().zip(server.urls()) {
        open_device(&mut page, &url, TOKEN).await;
        page.until("device.status() === 'idle'").await;
        let native = Native::start(&server).await;
        native.put(&format!("{round} live")).await;
        let live = format!("device.count('{round} live').then((count) => count === 1)");
        page.until(&live).await;
        native.engine.destroy().await;
        server.stop().await;
        page.until("device.status() === 'offline'").await;
        let write = format!("inWindow(() => device.put('{round} offline', 3, 10))");
        page.value(&write).await;
        assert_eq!(code(&mut page, "device.sync()").await, "connect");
        server.start_again().await;
        page.until("device.status() === 'idle'").await;
        let native = Native::start(&server).await;
        assert_eq!(native.count().await, round * 4, "by {url}");
        native.engine.destroy().await;
        page.value("inWindow(() => device.destroy())").await;
    }
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_refuses_a_page_is_told_apart() {
    let Some(browser) = browser() else { return };
    let server = Server::start().await;
    let (site, mut page) = page(&browser).await;
    for url in server.urls() {
        open_device(&mut page, &url, "wrong").await;
        let refused = code(&mut page, "device.sync()").await;
        assert_eq!(refused, "unauthorized", "by {url}");
        assert_eq!(page.value("device.status()").await, "error");
        let sign_in = format!("inWindow(() => device.sign_in({}))", json!(TOKEN));
        page.value(&sign_in).await;
        page.until("device.status() === 'idle'").await;
        page.value("inWindow(() => device.destroy())").await;
    }
    // A web page answers there, as a portal does that wants somebody to sign in; then nobody at all.
    let portal = site.origin.strip_prefix("http://").unwrap().to_owned();
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for address in [portal, nobody] {
        for scheme in ["ws", "http"] {
            let url = format!("{scheme}://{address}/window.html");
            open_device(&mut page, &url, TOKEN).await;
            assert_eq!(code(&mut page, "device.sync()").await, "connect", "{url}");
            page.value("inWindow(() => device.destroy())").await;
        }
    }
    page.close().await;
}
