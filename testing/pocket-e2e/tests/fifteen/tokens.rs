//! Tokens that end while they are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pocket_core::{Env as _, SystemEnv};
use pocket_sync_client::{AuthReason, Status};
use pocket_sync_server::Config;
use pocket_sync_server::auth::{JwtAuthenticator, JwtKeys};
use ring::hmac;
use tokio::sync::Semaphore;

use crate::world::{Device, Transport, World, until};

const SECRET: &[u8] = b"a secret of thirty-two bytes ok!";

/// A JSON Web Token of Ann's that ends so many seconds from now.
fn token(seconds: i64) -> String {
    let end = SystemEnv.now().millis() / 1_000 + seconds;
    let claims = format!(r#"{{"sub":"ann","exp":{end},"namespaces":"*"}}"#);
    let message = [r#"{"alg":"HS256"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = message.join(".");
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, SECRET),
        message.as_bytes(),
    );
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

async fn world(transport: Transport) -> World {
    let keys = JwtKeys::secret(SECRET).unwrap();
    let jwt = JwtAuthenticator::new(keys).leeway(Duration::ZERO);
    World::with(transport, Config::default(), Arc::new(jwt)).await
}

/// What the device says once its token has ended.
async fn ended(device: &Device) {
    until("the end of the token is told", || async {
        let snapshot = device.engine.snapshot();
        let error = snapshot.stats.last_error;
        snapshot.status == Status::Error
            && error.is_some_and(|error| error.code() == "token-expired" && !error.is_retryable())
    })
    .await;
}

pub(crate) async fn a_token_that_ends_during_a_session_is_an_error_until_another_one_is_set(
    transport: Transport,
) {
    let world = world(transport).await;
    let often = world.config().pull_interval(Duration::from_millis(200));
    let device = Device::new(often.auth_token(token(3))).await;
    device.put("1", "while it is good").await;
    device.sync().await;
    ended(&device).await;
    device.put("2", "after its end").await;
    let error = device.engine.force_sync().await.unwrap_err();
    assert_eq!(error.code(), "token-expired");
    assert_eq!(device.pending().await, 1, "pending work stays");
    let fresh = token(600);
    device.engine.set_auth_token(Some(&fresh)).await.unwrap();
    until("it resumes by itself", || async {
        device.pending().await == 0 && device.engine.snapshot().status == Status::Idle
    })
    .await;
    let other = Device::new(world.config().auth_token(fresh)).await;
    other.sync().await;
    assert_eq!(other.documents().await.len(), 2);
    assert_eq!(other.place().await, 2, "nothing was applied twice");
}

pub(crate) async fn a_function_of_the_application_is_asked_for_another_token_and_sync_resumes(
    transport: Transport,
) {
    let world = world(transport).await;
    // It asks somebody who answers when this test lets him.
    let (asked, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let source = {
        let (asked, answers) = (asked.clone(), answers.clone());
        move |reason: AuthReason| {
            let (asked, answers) = (asked.clone(), answers.clone());
            async move {
                asked.fetch_add(1, Ordering::Relaxed);
                drop(answers.acquire().await);
                Ok::<_, String>(match reason {
                    // By then the first one is refused already: this one counts for nothing or is refused too.
                    AuthReason::Expiring => token(600),
                    _ => token(601),
                })
            }
        }
    };
    let often = world.config().pull_interval(Duration::from_millis(200));
    let device = Device::new(often.auth_token(token(3)).on_auth(source)).await;
    device.put("1", "while it is good").await;
    device.sync().await;
    ended(&device).await;
    assert!(
        asked.load(Ordering::Relaxed) > 0,
        "the application was asked"
    );
    device.put("2", "after its end").await;
    assert_eq!(device.pending().await, 1, "pending work stays");
    answers.add_permits(100);
    until("it resumes by itself", || async {
        device.pending().await == 0 && device.engine.snapshot().status == Status::Idle
    })
    .await;
    let other = Device::new(world.config().auth_token(token(600))).await;
    other.sync().await;
    assert_eq!(other.documents().await.len(), 2);
}
