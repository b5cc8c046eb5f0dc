//! How the story ends: whether all devices hold the same, and what happened in between.

use std::fmt::Write;

use pocket_core::{Map, Value};

use super::device::{Contents, Device};
use super::story::COLLECTIONS;
use super::teller::Teller;
use crate::codes;
use crate::failure::{Failure, Result};
use crate::output::{grouped, object};

/// The figures of the server's death.
#[derive(Clone, Copy, Debug)]
pub(super) struct Killing {
    /// How often it had to be tried.
    pub(super) rounds: u64,
    /// Edits made in all rounds.
    pub(super) edits: u64,
    /// Edits of the last round that were acknowledged when the server died.
    pub(super) acknowledged: u64,
    /// Edits of the last round that were sent again.
    pub(super) resent: u64,
    /// Places the server's log grew by.
    pub(super) grown: u64,
}

pub(super) struct Ending {
    devices: Vec<DeviceEnd>,
    killing: Killing,
}

struct DeviceEnd {
    name: &'static str,
    contents: Vec<Contents>,
    pending: u64,
    conflicts: u64,
}

impl Ending {
    pub(super) async fn of(devices: &[(&'static str, &Device)], killing: Killing) -> Result<Self> {
        let mut ends = Vec::with_capacity(devices.len());
        for (name, device) in devices {
            let mut contents = Vec::with_capacity(COLLECTIONS.len());
            for collection in COLLECTIONS {
                contents.push(device.contents(collection).await?);
            }
            ends.push(DeviceEnd {
                name,
                contents,
                pending: device.pending().await?,
                conflicts: device.stats().conflict_count,
            });
        }
        Ok(Self {
            devices: ends,
            killing,
        })
    }

    /// Prints the table and the end of the story.
    ///
    /// # Errors
    /// `exports-differ` when the devices do not hold the same, or not all of it.
    pub(super) fn tell(&self, teller: &mut Teller<'_>) -> Result {
        teller.plain("")?;
        for line in self.table() {
            teller.plain(format_args!("  {line}"))?;
        }
        teller.plain("")?;
        let seconds = teller.seconds();
        teller.object(&self.report(seconds))?;
        self.check()?;
        let tries = match self.killing.rounds {
            1 => String::new(),
            rounds => format!(" (after {rounds} tries to hit the middle)"),
        };
        let twice = match self.killing.resent {
            0 => "No edit was applied twice.".to_owned(),
            resent => format!(
                "{} edits had to be sent again, and none was taken twice.",
                grouped(resent)
            ),
        };
        teller.plain(format_args!(
            "In {seconds:.1} seconds two devices worked apart and came together, one conflict was decided and both its\n\
             versions kept, and a server died with {} of {} edits acknowledged{tries}.\n{twice} Both devices, and a new \
             one that knew nothing, export the same bytes.",
            grouped(self.killing.acknowledged),
            grouped(self.killing.edits / self.killing.rounds.max(1)),
        ))
    }

    fn check(&self) -> Result {
        let first = &self.devices[0];
        let differs = self
            .devices
            .iter()
            .find(|device| device.contents != first.contents);
        if let Some(device) = differs {
            return Err(Failure::new(
                codes::EXPORTS_DIFFER,
                format!(
                    "device {} and device {} do not export the same; this is a defect of Pocket, please report it \
                     with what `pocket demo --keep DIR` leaves",
                    first.name, device.name
                ),
            ));
        }
        let notes = first.contents[1].documents;
        if notes != self.killing.edits {
            return Err(Failure::new(
                codes::EXPORTS_DIFFER,
                format!(
                    "{} of {} notes are there; this is a defect of Pocket, please report it with what `pocket demo \
                     --keep DIR` leaves",
                    grouped(notes),
                    grouped(self.killing.edits)
                ),
            ));
        }
        Ok(())
    }

    fn table(&self) -> Vec<String> {
        let row = |label: &str, cell: &dyn Fn(&DeviceEnd) -> String| {
            self.devices
                .iter()
                .fold(format!("{label:<18}"), |mut row, device| {
                    // Writing to a string cannot fail.
                    let _ = write!(row, "{:>18}", cell(device));
                    row
                })
        };
        let mut rows = vec![row("", &|device| match device.name {
            "C" => "device C (new)".to_owned(),
            name => format!("device {name}"),
        })];
        for (place, collection) in COLLECTIONS.iter().enumerate() {
            rows.push(row(collection, &|device| {
                grouped(device.contents[place].documents)
            }));
        }
        rows.push(row("waiting to be sent", &|device| grouped(device.pending)));
        rows.push(row("conflicts met", &|device| grouped(device.conflicts)));
        for (place, collection) in COLLECTIONS.iter().enumerate() {
            rows.push(row(&format!("sha256 {collection}"), &|device| {
                device.contents[place].sha256[..12].to_owned()
            }));
        }
        rows
    }

    fn report(&self, seconds: f64) -> Map {
        let device = |device: &DeviceEnd| {
            let mut map = object([
                ("device", Value::from(device.name)),
                ("pending", Value::from(device.pending)),
                ("conflicts", Value::from(device.conflicts)),
            ]);
            for (collection, contents) in COLLECTIONS.iter().zip(&device.contents) {
                let contents = object([
                    ("documents", Value::from(contents.documents)),
                    ("sha256", Value::from(contents.sha256.as_str())),
                ]);
                map.insert(*collection, contents);
            }
            Value::Map(map)
        };
        object([
            ("equal", Value::from(self.check().is_ok())),
            ("seconds", Value::from(seconds)),
            ("edits", Value::from(self.killing.edits)),
            ("rounds", Value::from(self.killing.rounds)),
            (
                "acknowledged_before_kill",
                Value::from(self.killing.acknowledged),
            ),
            ("sent_again", Value::from(self.killing.resent)),
            ("log_grew_by", Value::from(self.killing.grown)),
            ("devices", self.devices.iter().map(device).collect()),
        ])
    }
}
