//! Chance, seeded: every component of a history has a stream of its own, so that one more throw in one of them
//! changes nothing in the others.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The components that throw dice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Swarm,
    Network,
    Faults,
    Work,
    Server,
    ServerDisk,
    /// What the younger families add.
    Family,
    /// What happens in them.
    FamilyWork,
    Client(usize),
    ClientDisk(usize),
}

impl Part {
    fn stream(self) -> u64 {
        match self {
            Self::Swarm => 1,
            Self::Network => 2,
            Self::Faults => 3,
            Self::Work => 4,
            Self::Server => 5,
            Self::ServerDisk => 6,
            Self::Family => 7,
            Self::FamilyWork => 8,
            Self::Client(index) => 100 + 2 * index as u64,
            Self::ClientDisk(index) => 101 + 2 * index as u64,
        }
    }
}

/// One stream of seeded chance.
#[derive(Clone, Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64, part: Part) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(part.stream());
        Self(rng)
    }

    /// A stream of its own, seeded by this one: for each process of a node, say.
    pub(crate) fn fork(&mut self) -> Self {
        Self(ChaCha8Rng::seed_from_u64(self.number()))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Less than `end`, which is not zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// Both ends included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        // The upper 53 bits are a uniform fraction that a double holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let fraction = (self.number() >> 11) as f64 / (1_u64 << 53) as f64;
        fraction < probability
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// The place of a weight, chosen in proportion to it; some weight is not zero.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut left = self.below(sum.max(1));
        for (place, weight) in weights.iter().enumerate() {
            if left < u64::from(*weight) {
                return place;
            }
            left -= u64::from(*weight);
        }
        0
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}
