//! How long a server remembers what is gone, as options say it.

use std::time::Duration;

use clap::Args;
use pocket_sync_server::Config;
use pocket_sync_server::engine::Retention;

use crate::failure::Failure;

/// What `serve` forgets by itself.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RetentionArgs {
    /// Remember deletions for so long: 12h, 30d, 8w, or `forever`. A device that was away longer reads everything again
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = kept)]
    pub(crate) keep_deletions: Kept,
    /// Remember clients that do not come back for so long; one that is forgotten takes another id. A minute at the least
    #[arg(long, value_name = "TIME", default_value = "60d", value_parser = kept_clients)]
    pub(crate) keep_clients: Kept,
    /// Look this often for what is to be forgotten, or `never`
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = interval)]
    pub(crate) forget_every: Duration,
}

impl RetentionArgs {
    /// Sets it on a server.
    pub(crate) fn configure(self, config: &mut Config) {
        config.retention = retention(self.keep_deletions, self.keep_clients);
        config.forget_every = self.forget_every;
    }
}

/// What `compact` forgets of a server.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct CompactArgs {
    /// Of a server: forget deletions older than this before: 12h, 30d, 8w
    #[arg(long, value_name = "TIME", value_parser = kept)]
    pub(crate) keep_deletions: Option<Kept>,
    /// Of a server: forget clients before that were not seen for so long
    #[arg(long, value_name = "TIME", value_parser = kept)]
    pub(crate) keep_clients: Option<Kept>,
}

impl CompactArgs {
    /// What to forget, if anything was named; what was not named stays.
    ///
    /// # Errors
    /// `usage` when clients would be forgotten before the deletions they still have to hear of.
    pub(crate) fn retention(self) -> Result<Option<Retention>, Failure> {
        let Self {
            keep_deletions,
            keep_clients,
        } = self;
        if let (Some(Kept(deletions)), Some(Kept(Some(clients)))) = (keep_deletions, keep_clients)
            && deletions.is_none_or(|deletions| clients < deletions)
        {
            return Err(Failure::usage(
                "--keep-clients is shorter than --keep-deletions: who is forgotten could not use what is kept for him; \
                 make it as long at least",
            ));
        }
        let named = keep_deletions.is_some() || keep_clients.is_some();
        let forever = Kept(None);
        Ok(named.then(|| {
            retention(
                keep_deletions.unwrap_or(forever),
                keep_clients.unwrap_or(forever),
            )
        }))
    }
}

/// A time, or none for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept(Option<Duration>);

fn retention(deletions: Kept, clients: Kept) -> Retention {
    let mut retention = Retention::forever();
    retention.tombstones = deletions.0;
    retention.clients(clients.0)
}

const UNITS: [(&str, u64); 5] = [
    ("s", 1),
    ("m", 60),
    ("h", 60 * 60),
    ("d", 24 * 60 * 60),
    ("w", 7 * 24 * 60 * 60),
];

/// Longer than this nobody means; and sums of it with a time of day stay in range.
const LONGEST: u64 = 1_000 * 366 * 24 * 60 * 60;

/// Reads a whole number and its unit.
fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let seconds = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    (seconds <= LONGEST).then(|| Duration::from_secs(seconds))
}

fn kept(text: &str) -> Result<Kept, String> {
    if text == "forever" {
        return Ok(Kept(None));
    }
    let time = time(text).ok_or("a number and s, m, h, d or w, like 30d; or `forever`")?;
    Ok(Kept(Some(time)))
}

fn kept_clients(text: &str) -> Result<Kept, String> {
    let kept = kept(text)?;
    if kept.0.is_some_and(|time| time < Duration::from_secs(60)) {
        return Err("at least a minute, so that nobody who is connected is forgotten".to_owned());
    }
    Ok(kept)
}

fn interval(text: &str) -> Result<Duration, String> {
    if text == "never" {
        return Ok(Duration::ZERO);
    }
    let time = time(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "a number and s, m, h, d or w, like 1h; or `never`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_may_be_for_ever() {
        let seconds = |seconds| Ok(Kept(Some(Duration::from_secs(seconds))));
        assert_eq!(kept("30d"), seconds(2_592_000));
        assert_eq!(kept("8w"), seconds(4_838_400));
        assert_eq!(kept("12h"), seconds(43_200));
        assert_eq!(kept("0s"), seconds(0));
        assert_eq!(kept("forever"), Ok(Kept(None)));
        assert_eq!(interval("never"), Ok(Duration::ZERO));
        assert_eq!(kept_clients("1m"), seconds(60));
        for bad in [
            "",
            "30",
            "d",
            "-1d",
            "1.5d",
            "30 d",
            "30D",
            "ever",
            "99999999999999999999d",
            "400000d",
        ] {
            assert!(kept(bad).is_err(), "{bad}");
        }
        assert!(interval("0s").is_err() && kept_clients("59s").is_err());
    }
}
