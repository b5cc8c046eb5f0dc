//! `pocket dump`: the collections of a device and their documents, as lines of JSON for any later version.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use pocket_core::dump::{Dump, DumpReader, DumpTotals};
use pocket_core::{DocumentLimits, Value, codes};

use crate::args::{DumpArgs, Global};
use crate::failure::{Failure, Result};
use crate::held::Peer;
use crate::lines::Source;
use crate::new_file::NewFile;
use crate::open::{self, Opened};
use crate::output::{Output, counted, object};
use crate::{documents, progress};

/// Lines between two looks at whether the command was ended.
const TURN: usize = 256;

pub(super) async fn run(global: &Global, args: DumpArgs, out: &mut Output) -> Result {
    if args.file.as_os_str() == "-" {
        let database = open::existing(global).await?;
        to_stdout(&database, out).await?;
        return Ok(database.close().await?);
    }
    let target = NewFile::new(args.file.clone())?;
    let file = written(&args.file, target.reopen()?);
    let directory = open::client_directory(global)?;
    if let Some(peer) = Peer::of(directory.path())? {
        let words = ["pocket", "--db", ".", "dump", "-"].map(Into::into);
        let nothing = Box::new(|| Box::new(io::empty()) as Box<dyn Read + Send>);
        peer.command(words.to_vec(), nothing, file).await?;
    } else {
        let database = open::existing(global).await?;
        // Nobody else has the database while this command does.
        let dump = database.dump_still().await?;
        let read = progress::counter();
        let failed = |error: &io::Error| target.failed(error);
        let writing = to_file(dump, file, &read, failed);
        progress::of_documents("dumping", read.clone(), global, writing).await?;
        database.close().await?;
    }
    let totals = check(target.reopen()?)?;
    let name = target.name();
    target.keep()?;
    let summary = object([
        ("dump", Value::from(name.as_str())),
        ("collections", Value::from(totals.collections)),
        ("documents", Value::from(totals.documents)),
    ]);
    let text = format!(
        "{name}: {} of {}",
        counted(totals.documents, "document"),
        counted(totals.collections, "collection")
    );
    out.either(&summary, text)
}

/// The way to a file: through gzip when its name says so, as `load` reads it. A stream whose end could not be written is
/// found when the file is read back.
fn written(name: &Path, file: File) -> Box<dyn Write + Send> {
    let is_gzip = name
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    if is_gzip {
        Box::new(GzEncoder::new(file, Compression::default()))
    } else {
        Box::new(file)
    }
}

async fn to_stdout(database: &Opened, out: &mut Output) -> Result {
    let mut dump = database.dump().await?;
    if dump.is_one_state() {
        let mut lines = 0;
        while let Some(line) = dump.next_line().await? {
            out.line(line)?;
            lines += 1;
            if lines % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        return out.flush();
    }
    // Whoever writes waits meanwhile; whoever reads the copy may take as long as he likes.
    let failed = |error: &io::Error| Failure::io("cannot copy the documents", error);
    let mut copy = tempfile::tempfile().map_err(|error| failed(&error))?;
    {
        let _shut = database.gate().shut().await;
        let to = copy.try_clone().map_err(|error| failed(&error))?;
        to_file(
            database.dump_still().await?,
            to,
            &progress::counter(),
            failed,
        )
        .await?;
    }
    copy.rewind().map_err(|error| failed(&error))?;
    let mut part = vec![0; 64 * 1024];
    loop {
        let read = copy.read(&mut part).map_err(|error| failed(&error))?;
        if read == 0 {
            return out.flush();
        }
        out.bytes(&part[..read])?;
        tokio::task::yield_now().await;
    }
}

async fn to_file(
    mut dump: Dump,
    file: impl Write,
    read: &progress::Counter,
    failed: impl Fn(&io::Error) -> Failure,
) -> Result {
    let mut to = BufWriter::with_capacity(256 * 1024, file);
    let mut lines = 0;
    while let Some(line) = dump.next_line().await? {
        writeln!(to, "{line}").map_err(|error| failed(&error))?;
        lines += 1;
        if lines % TURN == 0 {
            read.set(dump.totals().documents);
            tokio::task::yield_now().await;
        }
    }
    to.flush().map_err(|error| failed(&error))
}

/// Reads a dump as `load` would.
fn check(file: File) -> Result<DumpTotals> {
    let source = Source::of(file, "the dump")?;
    let mut lines = source.lines()?;
    let mut reader = DumpReader::new(DocumentLimits::WIDEST);
    while let Some((_, line)) = lines.next()? {
        reader.read(documents::utf8(&line?)?)?;
    }
    let whole = reader.finish();
    whole.map_err(|error| Failure::new(codes::CORRUPT, error))
}
