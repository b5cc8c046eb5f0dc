//! The demo: two devices and a server that is killed, told as a story; and an application for browsers.

mod device;
mod ending;
mod server;
mod stage;
mod story;
mod teller;
pub(crate) mod web;

use std::path::Path;

use crate::codes;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::signals::Stop;
use stage::Stage;
use story::Story;
use teller::Teller;

/// Tells the story in a directory of its own, or in the new directory `keep`, which stays; a signal breaks it off.
pub(crate) async fn run(keep: Option<&Path>, out: &mut Output, stop: &Stop) -> Result {
    let stage = Stage::new(keep)?;
    let told = tokio::select! {
        told = tell(&stage, out) => told,
        () = stop.requested() => Err(Failure::interrupted(
            "a signal came before the story was told to its end",
        )),
    };
    let kept = stage.strike().await;
    told?;
    if let Some(path) = kept? {
        let path = path.display();
        out.note(format_args!(
            "\nEverything is still in {path}. Look inside:\n  pocket --db {path}/device-b conflicts\n  \
             pocket --db {path}/device-a status"
        ));
    }
    out.flush()
}

async fn tell(stage: &Stage, out: &mut Output) -> Result {
    let story = Story::begin(stage, Teller::new(out)).await?;
    story.tell().await
}

/// Something in the story is not as it must be.
fn broken(what: impl std::fmt::Display) -> Failure {
    Failure::new(
        codes::DEMO,
        format!("{what}; run it with --keep DIR and look at DIR/server.log"),
    )
}
