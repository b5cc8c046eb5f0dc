//! `pocket demo`: a story that shows what Pocket promises, or an application to try in browsers.

use crate::args::{DemoArgs, Global};
use crate::demo;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::signals::Stop;

pub(super) async fn run(global: &Global, args: &DemoArgs, out: &mut Output, stop: &Stop) -> Result {
    has_own_databases(global)?;
    demo::run(args.keep.as_deref(), out, stop).await
}

pub(super) async fn web(global: &Global, args: &DemoArgs, out: &mut Output, stop: &Stop) -> Result {
    has_own_databases(global)?;
    demo::web::run(args.keep.as_deref(), &args.site, out, stop).await
}

fn has_own_databases(global: &Global) -> Result {
    if global.db.is_some() || global.storage.is_some() {
        return Err(Failure::usage(
            "the demo makes databases of its own; --keep DIR says where, and keeps them",
        ));
    }
    Ok(())
}
