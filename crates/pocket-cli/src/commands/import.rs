//! `pocket import`: documents from a file of JSON lines.
//!
//! The file is read twice: first each line is checked, without a write, then the documents are stored in batches. A
//! thread reads and parses while the database works on what was read before.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use pocket_core::{Collection, DocumentId, DocumentLimits, Limits, Value, codes};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::args::{Global, ImportArgs};
use crate::failure::{Failure, Result};
use crate::held::Held;
use crate::lines::{Lines, Source};
use crate::output::{Output, counted, object};
use crate::{documents, open, progress};

/// Documents of one commit at the most.
const BATCH_DOCUMENTS: usize = 1_000;

/// Bytes of text of one commit; one document is always taken.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Batches that are parsed ahead.
const BATCHES_AHEAD: usize = 2;

pub(super) async fn run(global: &Global, args: ImportArgs, out: &mut Output) -> Result {
    let began = Instant::now();
    let path = args.file.clone();
    let content = global.held.as_ref().map(Held::input);
    let source = blocking(move || Source::open_with(&path, content)).await?;
    let job = Arc::new(Job {
        source,
        without_meta: args.meta,
        limits: Limits::default().document,
    });
    let directory = open::client_directory(global)?;
    // A database is made only for a file that will be imported.
    let mut database = None;
    if directory.exists() {
        database = Some(open::open_in(global, directory).await?);
    }
    let existing = match &database {
        Some(database) => open::collection(database, &args.collection)?,
        None => None,
    };
    let check = Check {
        existing: existing.as_ref().filter(|_| !args.upsert),
        allow_twice: args.upsert,
        keep_going: args.keep_going,
        global,
    };
    let left_out = job.shown("checking", global, check.run(&job)).await?;
    let database = match database {
        Some(database) => database,
        None => open::database(global).await?,
    };
    let collection = open::writable(&database, &args.collection, args.place.local_only).await?;
    let skipped = left_out.len() as u64;
    let mut store = Store {
        collection: &collection,
        upsert: args.upsert,
        keep_going: args.keep_going,
        global,
        stored: 0,
        made_ids: false,
        refused: 0,
    };
    let run = job.shown("importing", global, store.run(&job, left_out));
    let ended = run.await;
    if let Err(failure) = ended {
        return Err(store.broken_off(failure));
    }
    let imported = store.stored;
    let skipped = skipped + store.refused;
    database.close().await?;
    let seconds = began.elapsed().as_secs_f64();
    if out.is_json() {
        let summary = object([
            ("collection", Value::from(args.collection.as_str())),
            ("imported", Value::from(imported)),
            ("skipped", Value::from(skipped)),
            ("seconds", Value::from(seconds)),
        ]);
        out.either(&summary, "")?;
    } else {
        out.note(format_args!(
            "{} imported into {} in {seconds:.2} s",
            counted(imported, "document"),
            args.collection
        ));
    }
    match skipped {
        0 => Ok(()),
        _ => Err(Failure::new(
            codes::VALIDATION,
            format!(
                "{} left out; correct and import again",
                counted(skipped, "line")
            ),
        )),
    }
}

/// What is read, and how.
struct Job {
    source: Source,
    without_meta: bool,
    limits: DocumentLimits,
}

/// A line that holds a document, or should.
struct Item {
    line: u64,
    bytes: usize,
    parsed: Result<(Option<DocumentId>, Value)>,
}

impl Job {
    /// Does `work`, which reads the file, and shows on a terminal how far it is.
    async fn shown<T>(
        &self,
        label: &'static str,
        global: &Global,
        work: impl Future<Output = T>,
    ) -> T {
        let (bytes, read) = (self.source.bytes(), self.source.read_so_far());
        progress::of_bytes(label, bytes, read, global, work).await
    }

    /// The next line that is not blank.
    fn next(&self, lines: &mut Lines<'_>) -> Result<Option<Item>> {
        while let Some((line, content)) = lines.next()? {
            let content = match content {
                Ok(content) if content.trim_ascii().is_empty() => continue,
                content => content,
            };
            let bytes = content.as_ref().map_or(0, Vec::len);
            let parsed = content.and_then(|content| {
                let text = documents::utf8(&content)?;
                documents::checked(text, self.without_meta, &self.limits)
                    .map_err(|failure| documents::of_a_line(failure, text))
            });
            let parsed = parsed.map_err(|failure| failure.of_one_line().at(format!("line {line}")));
            return Ok(Some(Item {
                line,
                bytes,
                parsed,
            }));
        }
        Ok(None)
    }

    /// Sends all lines in batches, as `pick` gives them, until nobody wants more.
    fn send<T>(&self, batches: &Batches<T>, pick: impl Fn(Item) -> Option<T>) -> Result {
        let mut lines = self.source.lines()?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(item) = self.next(&mut lines)? {
            bytes += item.bytes;
            batch.extend(pick(item));
            if batch.len() >= BATCH_DOCUMENTS || bytes >= BATCH_BYTES {
                bytes = 0;
                if batches
                    .blocking_send(Ok(std::mem::take(&mut batch)))
                    .is_err()
                {
                    return Ok(());
                }
            }
        }
        // Whoever has stopped listening has told why.
        let _ = batches.blocking_send(Ok(batch));
        Ok(())
    }
}

type Batches<T> = mpsc::Sender<Result<Vec<T>>>;

/// Reads the file on a thread of its own and hands over what `pick` makes of its lines.
fn read<T: Send + 'static>(
    job: &Arc<Job>,
    pick: impl Fn(Item) -> Option<T> + Send + 'static,
) -> mpsc::Receiver<Result<Vec<T>>> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let job = job.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(failure) = job.send(&sender, pick) {
            // Whoever has stopped listening has told why.
            let _ = sender.blocking_send(Err(failure));
        }
    });
    receiver
}

/// The first pass.
struct Check<'a> {
    /// Where documents must not exist yet.
    existing: Option<&'a Collection<Value>>,
    allow_twice: bool,
    keep_going: bool,
    global: &'a Global,
}

impl Check<'_> {
    /// The lines that cannot be imported; without `--keep-going` the first one is the error.
    async fn run(&self, job: &Arc<Job>) -> Result<BTreeSet<u64>> {
        let mut batches = read(job, |item| Some((item.line, item.parsed.map(|(id, _)| id))));
        let mut bad = BTreeSet::new();
        let mut seen = HashSet::new();
        while let Some(batch) = batches.recv().await {
            let batch = batch?;
            let taken = self.taken(&batch).await?;
            for (line, parsed) in batch {
                let checked = parsed.and_then(|id| match id {
                    Some(id) => self
                        .check_id(&id, &taken, &mut seen)
                        .map_err(|failure| failure.at(format!("line {line}"))),
                    None => Ok(()),
                });
                let Err(failure) = checked else { continue };
                if !self.keep_going {
                    return Err(failure);
                }
                failure.tell(&self.global.ends(), self.global.json);
                bad.insert(line);
            }
        }
        Ok(bad)
    }

    /// The ids of the batch that exist already.
    async fn taken(
        &self,
        batch: &[(u64, Result<Option<DocumentId>>)],
    ) -> Result<HashSet<DocumentId>> {
        let Some(existing) = self.existing else {
            return Ok(HashSet::new());
        };
        let ids = batch
            .iter()
            .filter_map(|(_, parsed)| parsed.as_ref().ok()?.as_ref());
        let ids: Vec<&DocumentId> = ids.collect();
        let found = existing.get_many(ids.iter().map(|id| id.as_str())).await?;
        let taken = ids
            .into_iter()
            .zip(found)
            .filter(|(_, found)| found.is_some());
        Ok(taken.map(|(id, _)| id.clone()).collect())
    }

    fn check_id(
        &self,
        id: &DocumentId,
        taken: &HashSet<DocumentId>,
        seen: &mut HashSet<[u8; 16]>,
    ) -> Result {
        let why = if taken.contains(id) {
            "is there already"
        } else if !self.allow_twice && !seen.insert(fingerprint(id)) {
            "stands in an earlier line, too"
        } else {
            return Ok(());
        };
        Err(Failure::new(
            codes::DOCUMENT_EXISTS,
            format!("document {id:?} {why}; --upsert replaces it"),
        ))
    }
}

/// Sixteen bytes for an id of any length, so that a large file's ids fit into memory.
fn fingerprint(id: &DocumentId) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(id.as_str().as_bytes()).into();
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&digest[..16]);
    fingerprint
}

/// The second pass: stores all lines but those left out, and counts them.
struct Store<'a> {
    collection: &'a Collection<Value>,
    upsert: bool,
    keep_going: bool,
    global: &'a Global,
    stored: u64,
    /// Whether a document among them got its id here.
    made_ids: bool,
    /// Lines that were good by themselves, but not together with the documents that are there.
    refused: u64,
}

impl Store<'_> {
    /// What is stored of a file of which the rest is not, and how to go on.
    fn broken_off(&self, failure: Failure) -> Failure {
        if self.stored == 0 {
            return failure.and("nothing of the file is stored");
        }
        let goes_on = if self.made_ids {
            "import what is behind them: those without an `_id` would come a second time"
        } else if self.upsert {
            "import it again"
        } else {
            "import it again with --upsert, which replaces those by themselves"
        };
        failure.and(&format!(
            "{} of the file are stored and stay; to go on, {goes_on}",
            counted(self.stored, "document")
        ))
    }

    async fn run(&mut self, job: &Arc<Job>, left_out: BTreeSet<u64>) -> Result {
        let mut batches = read(job, move |item| {
            let wanted = !left_out.contains(&item.line);
            wanted.then(|| {
                let line = item.line;
                item.parsed.map(|(_, document)| (line, document))
            })
        });
        while let Some(batch) = batches.recv().await {
            // A line that is bad now was good before: somebody writes to the file.
            let batch: Vec<(u64, Value)> = batch?.into_iter().collect::<Result<_>>()?;
            self.batch(&batch).await?;
        }
        Ok(())
    }

    /// Stores a batch in one commit. When a document of it is refused and others shall be stored all the same, its halves
    /// are tried, in their order, until that document is alone.
    async fn batch(&mut self, batch: &[(u64, Value)]) -> Result {
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            let documents = part.iter().map(|(_, document)| document);
            let done = if self.upsert {
                self.collection.upsert_many(documents).await
            } else {
                self.collection.insert_many(documents).await
            };
            let Err(error) = done else {
                self.stored += part.len() as u64;
                let has_id = |(_, document): &(u64, Value)| {
                    document
                        .as_map()
                        .is_some_and(|map| map.get("_id").is_some())
                };
                self.made_ids |= !part.iter().all(has_id);
                continue;
            };
            let is_of_one = [
                codes::INDEX_UNIQUE_VIOLATION,
                codes::DOCUMENT_EXISTS,
                codes::VALIDATION,
            ]
            .contains(&error.code());
            match part {
                _ if !is_of_one => return Err(error.into()),
                [(line, _)] => {
                    let failure = Failure::from(error).at(format!("line {line}"));
                    if !self.keep_going {
                        return Err(failure);
                    }
                    failure.tell(&self.global.ends(), self.global.json);
                    self.refused += 1;
                }
                [(first, _), .., (last, _)] if !self.keep_going => {
                    let failure = Failure::from(error);
                    return Err(failure.at(format!("between line {first} and line {last}")));
                }
                _ => {
                    let (head, tail) = part.split_at(part.len() / 2);
                    parts.extend([tail, head]);
                }
            }
        }
        Ok(())
    }
}

/// Runs what may block, without holding up anything else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(crate::codes::IO, format!("reading broke off: {error}")))?
}
