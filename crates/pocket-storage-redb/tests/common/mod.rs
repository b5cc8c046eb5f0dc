//! A device in memory that can lose its power, fail and be connected to again.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What the power takes away is decided sector by sector.
const SECTOR: usize = 512;

/// A device. Clones are the same device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What is there after a loss of power, whatever else is lost.
    synced: Vec<u8>,
    /// What was written since, in order.
    unsynced: Vec<Change>,
    /// What a read answers.
    live: Vec<u8>,
    calls: Calls,
    fault: Option<Fault>,
    /// How many calls a fault has answered.
    faulted: u64,
    /// Each connection has a number; a call over an older one is a mistake of the store.
    connection: u64,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// Calls that change something, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) writes: u64,
    pub(crate) syncs: u64,
}

impl Calls {
    pub(crate) fn all(self) -> u64 {
        self.writes + self.syncs
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "each test uses a part")]
pub(crate) enum Fault {
    /// From this call on nothing works any more.
    PowerLossAt(u64),
    /// This many calls from this one on answer the error, and have no effect.
    Fail {
        from: u64,
        times: u64,
        error: io::ErrorKind,
    },
}

#[allow(dead_code, reason = "each test uses a part")]
impl Device {
    /// A device that holds `bytes`, all of them synced.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let device = Self::default();
        device.state().live.clone_from(&bytes);
        device.state().synced = bytes;
        device
    }

    /// Another connection. The one before is cut.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        let mut state = self.state();
        state.powered()?;
        state.connection += 1;
        Ok(Connection {
            number: state.connection,
            device: self.clone(),
        })
    }

    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state();
        state.fault = fault;
        state.faulted = 0;
    }

    pub(crate) fn calls(&self) -> Calls {
        self.state().calls
    }

    /// How many calls the fault has answered.
    pub(crate) fn faulted(&self) -> u64 {
        self.state().faulted
    }

    /// What is there after the power came back: all that was synced; of the rest some changes whole, some torn
    /// at a sector, some not at all.
    pub(crate) fn after_power_loss(&self, random: &mut Random) -> Vec<u8> {
        let state = self.state();
        let mut bytes = state.synced.clone();
        // At times all or nothing, which real disks do most often.
        let style = random.below(6);
        for change in &state.unsynced {
            let kept = match style {
                0 => 0,
                1 => 2,
                _ => random.below(3),
            };
            match (change, kept) {
                (_, 0) => {}
                (Change::Length(length), _) => bytes.resize(*length, 0),
                (Change::Write(offset, data), 2) => write_at(&mut bytes, *offset, data),
                (Change::Write(offset, data), _) => {
                    for (index, sector) in data.chunks(SECTOR).enumerate() {
                        if random.below(2) == 0 {
                            write_at(&mut bytes, offset + index * SECTOR, sector);
                        }
                    }
                }
            }
        }
        bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it was held")
    }
}

impl State {
    fn powered(&mut self) -> io::Result<()> {
        match self.fault {
            Some(Fault::PowerLossAt(call)) if self.calls.all() >= call => {
                self.faulted += 1;
                Err(io::Error::other("no power"))
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self) -> io::Result<()> {
        self.powered()?;
        match self.fault {
            Some(Fault::Fail { from, times, error })
                if self.calls.all() >= from && self.faulted < times =>
            {
                self.faulted += 1;
                Err(io::Error::new(error, "injected"))
            }
            _ => Ok(()),
        }
    }
}

fn write_at(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// One connection to a [`Device`].
#[derive(Debug)]
pub(crate) struct Connection {
    device: Device,
    number: u64,
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.device.state();
        assert_eq!(
            state.connection, self.number,
            "the store used a device that it had left"
        );
        state
    }
}

impl StorageBackend for Connection {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        state.powered()?;
        let offset = usize::try_from(offset).expect("small devices");
        let found = state
            .live
            .get(offset..offset + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.calls.writes += 1;
        let length = usize::try_from(len).expect("small devices");
        state.live.resize(length, 0);
        state.unsynced.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.calls.syncs += 1;
        let live = state.live.clone();
        state.synced = live;
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.calls.writes += 1;
        let offset = usize::try_from(offset).expect("small devices");
        write_at(&mut state.live, offset, data);
        state.unsynced.push(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}

/// A small generator (splitmix64), so that a seed repeats a round.
pub(crate) struct Random(pub(crate) u64);

#[allow(dead_code, reason = "each test uses a part")]
impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
