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
        let database = open::to_read_from(global, args.skip_damaged).await?;
        let (damaged, unread) = to_stdout(&database, args.skip_damaged, out).await?;
        database.close().await?;
        return passed_over(damaged, unread);
    }
    let target = NewFile::new(args.file.clone())?;
    let file = written(&args.file, target.reopen()?);
    let directory = open::client_directory(global)?;
    let whole = if let Some(peer) = Peer::of(directory.path())? {
        let mut words = ["pocket", "--db", ".", "dump", "-"]
            .map(Into::into)
            .to_vec();
        words.extend(args.skip_damaged.then(|| "--skip-damaged".into()));
        let nothing = Box::new(|| Box::new(io::empty()) as Box<dyn Read + Send>);
        let whole = peer.command(words, nothing, file).await;
        match whole {
            // The holder has told why. If it was for what was passed over, the dump is whole, which is looked at below.
            Err(failure) if args.skip_damaged && failure.is_told() => Err(failure),
            Err(failure) => return Err(failure),
            Ok(()) => Ok(()),
        }
    } else {
        let database = open::to_read_from(global, args.skip_damaged).await?;
        // Nobody else has the database while this command does.
        let dump = still(&database, args.skip_damaged).await?;
        let read = progress::counter();
        let failed = |error: &io::Error| target.failed(error);
        let writing = to_file(dump, file, &read, failed);
        let (damaged, unread) =
            progress::of_documents("dumping", read.clone(), global, writing).await?;
        database.close().await?;
        passed_over(damaged, unread)
    };
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
    out.either(&summary, text)?;
    out.flush()?;
    whole
}

/// How a command ends that passed over so many damaged documents.
pub(super) fn passed_over(damaged: u64, unread: u64) -> Result {
    let what = match (damaged, unread) {
        (0, 0) => return Ok(()),
        (damaged, 0) => counted(damaged, "damaged document"),
        (0, _) => "what lies in a damaged part of the file".to_owned(),
        (damaged, _) => format!(
            "{} and what lies in a damaged part of the file",
            counted(damaged, "damaged document")
        ),
    };
    let then = match unread {
        0 => "A backup, another device or the server may still have them",
        _ => {
            "Do not go on with this file: restore a backup, or load the dump into a new database. A backup, another \
             device or the server may still have what is missing"
        }
    };
    Err(Failure::new(
        codes::CORRUPT,
        format_args!("{what} passed over; everything else is written. {then}"),
    ))
}

async fn still(database: &Opened, skips_damaged: bool) -> Result<Dump> {
    let dump = database.dump_still().await?;
    Ok(if skips_damaged {
        dump.skip_damaged()
    } else {
        dump
    })
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

/// Says how many damaged documents were passed over.
async fn to_stdout(database: &Opened, skips_damaged: bool, out: &mut Output) -> Result<(u64, u64)> {
    let mut dump = database.dump().await?;
    if skips_damaged {
        dump = dump.skip_damaged();
    }
    if dump.is_one_state() {
        let mut lines = 0;
        while let Some(line) = dump.next_line().await? {
            out.line(line)?;
            lines += 1;
            if lines % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        out.flush()?;
        return Ok((dump.damaged(), dump.unread()));
    }
    // Whoever writes waits meanwhile; whoever reads the copy may take as long as he likes.
    let failed = |error: &io::Error| Failure::io("cannot copy the documents", error);
    let mut copy = tempfile::tempfile().map_err(|error| failed(&error))?;
    let (damaged, unread) = {
        let _shut = database.gate().shut().await;
        let to = copy.try_clone().map_err(|error| failed(&error))?;
        let dump = still(database, skips_damaged).await?;
        to_file(dump, to, &progress::counter(), failed).await?
    };
    copy.rewind().map_err(|error| failed(&error))?;
    let mut part = vec![0; 64 * 1024];
    loop {
        let read = copy.read(&mut part).map_err(|error| failed(&error))?;
        if read == 0 {
            out.flush()?;
            return Ok((damaged, unread));
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
) -> Result<(u64, u64)> {
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
    to.flush().map_err(|error| failed(&error))?;
    Ok((dump.damaged(), dump.unread()))
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
