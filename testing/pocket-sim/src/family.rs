//! Families of histories: what one of them goes through beside what all do.
//!
//! What a family adds is drawn from a stream of its own, so a seed means what it always meant in the family that it was
//! first run in.

use std::fmt;
use std::str::FromStr;

/// A family of histories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// What all go through, and no more.
    #[default]
    Plain,
    /// Rules, while devices are copied, restored and forgotten.
    Rules,
    /// Documents that live for a limited time.
    Expiry,
    /// Programs that raise the schema version, each device at its own time.
    Schemas,
}

const FAMILIES: [(Family, &str); 4] = [
    (Family::Plain, "plain"),
    (Family::Rules, "rules"),
    (Family::Expiry, "expiry"),
    (Family::Schemas, "schemas"),
];

impl Family {
    /// The family of a seed where nobody names one: of each ten seeds three belong to the younger families.
    pub(crate) fn of_seed(seed: u64) -> Self {
        match seed % 10 {
            7 => Self::Rules,
            8 => Self::Expiry,
            9 => Self::Schemas,
            _ => Self::Plain,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = FAMILIES.iter().find(|(family, _)| family == self);
        f.pad(named.map_or("", |(_, name)| name))
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = FAMILIES.iter().find(|(_, name)| *name == text);
        named
            .map(|(family, _)| *family)
            .ok_or_else(|| format!("there is no family `{text}`"))
    }
}

/// A history: a seed, in a family. Written as `SEED` or `SEED/FAMILY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seed {
    pub(crate) number: u64,
    pub(crate) family: Family,
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            Family::Plain => write!(f, "{}", self.number),
            family => write!(f, "{}/{family}", self.number),
        }
    }
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, family) = text.split_once('/').unwrap_or((text, "plain"));
        let number = number
            .parse()
            .map_err(|_| format!("`{text}` is no seed: SEED or SEED/FAMILY"))?;
        let family = family.parse()?;
        Ok(Self { number, family })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_without_a_family_is_that_of_a_plain_history() {
        let plain = Seed {
            number: 17,
            family: Family::Plain,
        };
        assert_eq!("17".parse(), Ok(plain));
        assert_eq!(plain.to_string(), "17");
    }

    #[test]
    fn a_seed_is_read_as_it_was_written() {
        for (family, _) in FAMILIES {
            let seed = Seed { number: 8, family };
            assert_eq!(seed.to_string().parse(), Ok(seed));
        }
        assert!("8/other".parse::<Seed>().is_err());
        assert!("x/rules".parse::<Seed>().is_err());
    }
}
