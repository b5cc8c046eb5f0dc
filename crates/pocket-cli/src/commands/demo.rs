//! `pocket demo`: a story that shows what Pocket promises.

use crate::args::{DemoArgs, Global};
use crate::demo;
use crate::failure::{Failure, Result};
use crate::output::Output;

pub(super) async fn run(global: &Global, args: DemoArgs, out: &mut Output) -> Result {
    if global.db.is_some() || global.storage.is_some() {
        return Err(Failure::usage(
            "the demo makes databases of its own; --keep DIR says where, and keeps them",
        ));
    }
    demo::run(args.keep.as_deref(), out).await
}
