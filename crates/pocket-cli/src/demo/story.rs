//! What happens in the story, in order.

use std::time::Duration;

use pocket_core::{JournalEntry, JournalVersion, Value, Winner};
use pocket_sync_client::Status;

use super::broken;
use super::device::Device;
use super::ending::{Ending, Killing};
use super::server::Server;
use super::stage::Stage;
use super::teller::Teller;
use crate::documents;
use crate::failure::Result;
use crate::output::{counted, grouped, object};

/// The countries of geonames.org, one JSON document a line.
const COUNTRIES: &str = include_str!("../../data/countries.jsonl");

/// The two collections of the story.
pub(super) const COLLECTIONS: [&str; 2] = ["countries", "notes"];

/// The country that both devices edit.
const EDITED: &str = "IS";

/// The country that is deleted: it was dissolved in 2010.
const DELETED: &str = "AN";

/// The field that both set.
const PLAN: &str = "plan";

/// Edits that device A makes around the server's death.
const EDITS: u64 = 20_000;

/// Edits that are written in one commit.
const EDITS_AT_ONCE: u64 = 500;

/// The server is killed when this many of the edits are acknowledged.
const KILLED_AT: u64 = EDITS / 4;

/// Times the kill may miss the middle.
const TRIES: u64 = 5;

pub(super) struct Story<'a> {
    // First, so that it is killed before anything else is taken down.
    server: Server,
    a: Device,
    b: Device,
    stage: &'a Stage,
    teller: Teller<'a>,
}

impl<'a> Story<'a> {
    pub(super) async fn begin(stage: &'a Stage, mut teller: Teller<'a>) -> Result<Self> {
        teller.plain("Two devices, one server, and nothing gets lost.")?;
        teller.plain("The data: countries from GeoNames (geonames.org), CC BY 4.0.\n")?;
        let server = Server::start(stage.path(), 0).await?;
        let what = format!(
            "listens on {} as process {}",
            server.url(),
            server.process()
        );
        teller.tell("server", what)?;
        let a = Device::new(stage, "device-a", server.url()).await?;
        let b = Device::new(stage, "device-b", server.url()).await?;
        Ok(Self {
            server,
            a,
            b,
            stage,
            teller,
        })
    }

    pub(super) async fn tell(mut self) -> Result {
        self.import().await?;
        self.first_meeting().await?;
        self.edit_apart().await?;
        self.second_meeting().await?;
        let before = self.a.place().await?.get();
        let mut killing = self.kill_midway().await?;
        // Each change that a server applies takes the next place in its log, and nothing else does.
        killing.grown = self.a.place().await?.get().saturating_sub(before);
        let text = format!(
            "the log has grown by {} places, one for each edit: none was lost, none applied twice",
            grouped(killing.grown)
        );
        if killing.grown != killing.edits {
            return Err(broken(format_args!(
                "the server's log grew by {} places for {} edits",
                killing.grown, killing.edits
            )));
        }
        self.teller.tell("server", text)?;
        self.last_meeting(killing).await
    }

    async fn import(&mut self) -> Result {
        let countries = self.a.collection("countries").await?;
        let limits = self.a.database().limits().document;
        let documents: Vec<Value> = COUNTRIES
            .lines()
            .map(|line| documents::checked(line, false, &limits).map(|(_, document)| document))
            .collect::<Result<_>>()?;
        let ids = countries.insert_many(&documents).await?;
        let text = format!("is offline and imports {}", countries_of(ids.len() as u64));
        self.teller.tell("device A", text)
    }

    async fn first_meeting(&mut self) -> Result {
        let sent = self.a.meet().await?.stats.push_count;
        self.teller.tell(
            "device A",
            format!("goes online and sends {}", countries_of(sent)),
        )?;
        let received = self.b.meet().await?.stats.pull_count;
        self.teller.tell(
            "device B",
            format!("goes online and receives {}", countries_of(received)),
        )
    }

    async fn edit_apart(&mut self) -> Result {
        self.a.leave().await?;
        self.b.leave().await?;
        self.teller.tell("both", "go offline, and go on working")?;
        let plan = |text: &str| object([(PLAN, Value::from(text))]);
        let winter = "northern lights in winter";
        self.b.update("countries", EDITED, plan(winter)).await?;
        self.teller
            .tell("device B", format!("writes its plan for Iceland: {winter}"))?;
        let gone = self.b.collection("countries").await?;
        gone.delete(DELETED).await?;
        self.teller.tell(
            "device B",
            "deletes the Netherlands Antilles, dissolved in 2010",
        )?;
        // Two people do not write in the same millisecond, and the clocks shall tell who was later.
        tokio::time::sleep(Duration::from_millis(25)).await;
        let summer = "midnight sun in summer";
        self.a.update("countries", EDITED, plan(summer)).await?;
        self.teller.tell(
            "device A",
            format!("writes its plan for Iceland, a moment later: {summer}"),
        )
    }

    async fn second_meeting(&mut self) -> Result {
        self.a.meet().await?;
        self.teller
            .tell("device A", "goes online first; its plan arrives")?;
        self.b.meet().await?;
        let journal = self.b.database().journal().list(None, 10).await?;
        let [entry] = &journal[..] else {
            return Err(broken(format_args!(
                "device B noted {} instead of one",
                counted(journal.len() as u64, "conflict")
            )));
        };
        self.teller.tell(
            "device B",
            "goes online; its plan meets the other: a conflict",
        )?;
        self.explain(entry)?;
        self.a.meet().await?;
        let mut plans = Vec::new();
        for device in [&self.a, &self.b] {
            let countries = device.collection("countries").await?;
            if countries.get(DELETED).await?.is_some() {
                return Err(broken("a deleted country came back"));
            }
            let edited = countries.get(EDITED).await?;
            plans.push(edited.and_then(|document| document.as_map()?.get(PLAN).cloned()));
        }
        if plans[0] != plans[1] || plans[0].is_none() {
            return Err(broken("the two devices have different plans"));
        }
        self.teller.tell(
            "both",
            "have one plan for Iceland, and the Netherlands Antilles are gone on both",
        )
    }

    /// Says which versions met, who won, and why.
    fn explain(&mut self, entry: &JournalEntry) -> Result {
        let Some(document) = entry.documents.first() else {
            return Err(broken("the conflict names no document"));
        };
        let plan = |version: &JournalVersion| {
            let body = version.body.as_ref()?.to_map().ok()?;
            Some(body.get(PLAN)?.as_str()?.to_owned())
        };
        let written = |version: &JournalVersion| version.rev.map(|rev| rev.hlc.time());
        let remote = document.remote.as_ref();
        let (Some(mine), Some(other)) = (plan(&document.local), remote.and_then(plan)) else {
            return Err(broken("the conflict does not hold both plans"));
        };
        let (winner, loser) = match entry.winner {
            Winner::Remote => ("A", "B"),
            Winner::Local => ("B", "A"),
            _ => return Err(broken("the conflict was not decided for one of both")),
        };
        let (Some(by_b), Some(by_a)) = (written(&document.local), remote.and_then(written)) else {
            return Err(broken("the conflict does not say when both were written"));
        };
        let later = by_a.millis().abs_diff(by_b.millis());
        self.teller
            .more(format_args!("B wrote  {mine}  ({by_b})"))?;
        self.teller
            .more(format_args!("A wrote  {other}  ({by_a})"))?;
        self.teller.tell(
            "verdict",
            format!(
                "device {winner}'s stands: it was written {later} ms later ({}), whoever was the last to arrive; {loser}'s \
                 stays in B's journal",
                entry.rule
            ),
        )
    }

    /// Device A makes many edits, and the server is killed while they travel.
    async fn kill_midway(&mut self) -> Result<Killing> {
        self.b.leave().await?;
        for round in 1..=TRIES {
            let resent_before = self.a.stats().resent_count;
            let acknowledged = self.write_and_kill(round).await?;
            let waiting = EDITS - acknowledged.min(EDITS);
            self.teller.tell(
                "device A",
                format!(
                    "has {} of {} acknowledged; {} wait in its outbox",
                    grouped(acknowledged),
                    grouped(EDITS),
                    grouped(waiting)
                ),
            )?;
            let port = self.server.port()?;
            self.server = Server::start(self.stage.path(), port).await?;
            let what = format!(
                "is started again on port {port}, as process {}",
                self.server.process()
            );
            self.teller.tell("server", what)?;
            self.a.becomes(Status::Idle).await?;
            let resent = self.a.stats().resent_count - resent_before;
            self.teller
                .tell("device A", comeback(resent, waiting.saturating_sub(resent)))?;
            if (EDITS / 10..=EDITS / 10 * 9).contains(&acknowledged) {
                return Ok(Killing {
                    rounds: round,
                    edits: round * EDITS,
                    acknowledged,
                    resent,
                    grown: 0,
                });
            }
            self.teller.tell(
                "story",
                "the kill missed the middle; once more, with as many new notes",
            )?;
        }
        Err(broken(format_args!(
            "the kill missed the middle {TRIES} times"
        )))
    }

    /// Writes the notes of a round, kills the server on the way, and says how many had been acknowledged.
    async fn write_and_kill(&mut self, round: u64) -> Result<u64> {
        let target = self.a.stats().push_count + KILLED_AT;
        self.teller.tell(
            "device A",
            format!(
                "writes {} notes, and sends them as it writes",
                grouped(EDITS)
            ),
        )?;
        let (a, server, teller) = (&self.a, &mut self.server, &mut self.teller);
        let kill = async {
            a.acknowledged(target).await?;
            // Struck between a push and its answer, it leaves edits of which A cannot know whether they are stored.
            a.sends_more().await?;
            server.kill()?;
            teller.tell("server", "is killed with SIGKILL, in the middle of it")
        };
        let (written, killed) = tokio::join!(write_notes(a, round), kill);
        written?;
        killed?;
        a.becomes(Status::Offline).await?;
        Ok(EDITS - settled_pending(a).await?.min(EDITS))
    }

    async fn last_meeting(mut self, killing: Killing) -> Result {
        let received = self.b.meet().await?.stats.pull_count;
        self.teller.tell(
            "device B",
            format!(
                "goes online; {} have come to it in all",
                counted(received, "change")
            ),
        )?;
        self.a.meet().await?;
        let fresh = Device::new(self.stage, "device-c", self.server.url()).await?;
        let read = fresh.meet().await?.stats.pull_count;
        self.teller.tell(
            "device C",
            format!(
                "is new, and reads all the server has: {}",
                counted(read, "document")
            ),
        )?;
        let ending = Ending::of(&[("A", &self.a), ("B", &self.b), ("C", &fresh)], killing).await?;
        for device in [self.a, self.b, fresh] {
            device.close().await?;
        }
        self.server.kill()?;
        ending.tell(&mut self.teller)
    }
}

fn comeback(resent: u64, first: u64) -> String {
    let first = format!("{} go out for the first time", grouped(first));
    if resent == 0 {
        return format!("comes back by itself: all it had sent was answered, {first}");
    }
    format!(
        "comes back by itself: {} had a number and no answer, and are sent again under that number; {first}",
        grouped(resent)
    )
}

async fn write_notes(device: &Device, round: u64) -> Result {
    let notes = device.collection("notes").await?;
    let note = |number: u64| {
        Value::Map(object([
            ("_id", Value::from(format!("note-{round}-{number:05}"))),
            ("country", Value::from(EDITED)),
            (
                "text",
                Value::from(format!("Thought number {number} about the journey")),
            ),
            ("stars", Value::from(number % 5 + 1)),
        ]))
    };
    let mut first = 1;
    while first <= EDITS {
        let last = (first + EDITS_AT_ONCE - 1).min(EDITS);
        let batch: Vec<Value> = (first..=last).map(note).collect();
        notes.insert_many(&batch).await?;
        first = last + 1;
    }
    Ok(())
}

/// What is pending once the last answers that arrived before the end are stored.
async fn settled_pending(device: &Device) -> Result<u64> {
    let mut last = device.pending().await?;
    loop {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let now = device.pending().await?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

fn countries_of(count: u64) -> String {
    if count == 1 {
        "1 country".to_owned()
    } else {
        format!("{} countries", grouped(count))
    }
}
