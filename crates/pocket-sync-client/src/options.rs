//! The settings as a file has them: the names of [`SyncConfig`]'s fields, durations in milliseconds.

use serde::{Deserialize, Deserializer};
use serde_path_to_error::Segment;

use crate::{SyncConfig, SyncError};

impl SyncConfig {
    /// Reads a configuration. What is not in it has its default; the functions of an application are set afterwards.
    ///
    /// # Errors
    /// `config`, with the name of an option that does not exist, has a wrong value, or is missing. What contradicts
    /// something else is told by [`check`](Self::check).
    pub fn from_json(text: &str) -> Result<Self, SyncError> {
        let mut options = serde_json::Deserializer::from_str(text);
        let config = Self::from_options(&mut options)?;
        config.check_url()?;
        options
            .end()
            .map_err(|error| SyncError::config(format!("cannot read the options: {error}")))?;
        Ok(config)
    }

    /// Reads a configuration from any format of serde, like `toml::Deserializer`.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json); that the server is missing is told by [`check`](Self::check).
    pub fn from_options<'de, D: Deserializer<'de>>(options: D) -> Result<Self, SyncError> {
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(options, &mut track);
        Self::deserialize(tracked).map_err(|error| {
            let path = track.path();
            // Without a name it is not an option that is wrong, but the file.
            let named = matches!(path.iter().next(), Some(Segment::Map { .. }));
            let option = if named {
                format!(" `{path}`")
            } else {
                String::new()
            };
            SyncError::config(format!("cannot read the options{option}: {error}"))
        })
    }
}

/// A duration as a whole number of milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// `both`, `push` or `pull`.
pub(crate) mod direction {
    use pocket_sync_protocol::Direction;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Name {
        Both,
        Push,
        Pull,
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub(crate) fn serialize<S: Serializer>(
        direction: &Direction,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let name = match direction {
            Direction::Both => Name::Both,
            Direction::Push => Name::Push,
            Direction::Pull => Name::Pull,
        };
        name.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Direction, D::Error> {
        Ok(match Name::deserialize(deserializer)? {
            Name::Both => Direction::Both,
            Name::Push => Direction::Push,
            Name::Pull => Direction::Pull,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use pocket_core::ConflictStrategy;
    use pocket_sync_protocol::Direction;

    use super::*;

    const ALL: &str = r#"{
        "server_url": "wss://example.com/sync",
        "auth_token": "sesame",
        "namespace": "home",
        "collections": ["todos", "notes"],
        "direction": "pull",
        "conflict_strategy": "merge",
        "auto_retry": false,
        "retry_delay": 250,
        "max_retry_attempts": 9,
        "answer_timeout": 2500,
        "use_websocket": false,
        "pull_interval": 0,
        "batch_size": 7,
        "allow_plaintext": true,
        "collection_strategies": { "notes": "client-wins" },
        "resolve_timeout": 1500
    }"#;

    fn built() -> SyncConfig {
        SyncConfig::new("wss://example.com/sync")
            .auth_token("sesame")
            .namespace("home")
            .collections(["todos", "notes"])
            .direction(Direction::Pull)
            .conflict_strategy(ConflictStrategy::Merge)
            .auto_retry(false)
            .retry_delay(Duration::from_millis(250))
            .max_retry_attempts(9)
            .answer_timeout(Duration::from_millis(2_500))
            .use_websocket(false)
            .pull_interval(Duration::ZERO)
            .batch_size(NonZeroUsize::new(7).expect("7 is not zero"))
            .allow_plaintext(true)
            .collection_strategy("notes", ConflictStrategy::ClientWins)
            .resolve_timeout(Duration::from_millis(1_500))
    }

    fn written(config: &SyncConfig) -> serde_json::Value {
        serde_json::to_value(config).expect("it is plain data")
    }

    #[test]
    fn a_file_gives_the_same_as_the_builder() {
        let read = SyncConfig::from_json(ALL).expect("it is good");
        assert_eq!(written(&read), written(&built()));
        assert_eq!(read.auth_token.as_deref(), Some("sesame"));
        let short = SyncConfig::from_json(r#"{"server_url":"ws://h"}"#).expect("it is good");
        assert_eq!(written(&short), written(&SyncConfig::new("ws://h")));
        // Nothing is left out of the file above, but the token is never written.
        let mut all: serde_json::Value = serde_json::from_str(ALL).expect("it is JSON");
        let all = all.as_object_mut().expect("it is an object");
        all.remove("auth_token");
        assert_eq!(written(&built()).as_object(), Some(&*all));
    }

    fn refused(json: &str) -> String {
        let read = SyncConfig::from_json(json).and_then(|config| config.check());
        let error = read.expect_err("it must be refused");
        assert_eq!(error.code(), "config");
        error.message().to_owned()
    }

    #[test]
    fn what_is_unknown_wrong_missing_or_contradictory_is_named() {
        for (options, named) in [
            (r#""retry_dealy": 5"#, &["retry_dealy"][..]),
            (
                r#""conflict_strategy": "mine""#,
                &["`conflict_strategy`", "mine", "server-wins"],
            ),
            (r#""direction": "up""#, &["`direction`", "up", "both"]),
            (r#""batch_size": 0"#, &["`batch_size`", "nonzero"]),
            (r#""retry_delay": "x""#, &["`retry_delay`", "x"]),
            (r#""namespace": 7"#, &["`namespace`", "7"]),
            (r#""collections": ["a", 7]"#, &["`collections[1]`", "7"]),
            (
                r#""collection_strategies": {"a": "mine"}"#,
                &["`collection_strategies.a`", "mine"],
            ),
            (r#""namespace": "a\u0007b""#, &["namespace", "control"]),
            (r#""retry_delay": 0"#, &["retry_delay", "auto_retry"]),
            (r#""resolve_timeout": 0"#, &["resolve_timeout"]),
            (r#""collections": ["a", "a"]"#, &["collections", "`a`"]),
            (
                r#""conflict_strategy": "custom""#,
                &["conflict_strategy", "resolve_conflict"],
            ),
            (
                r#""collection_strategies": {"a": "custom"}"#,
                &["collection_strategies", "resolve_conflict_in"],
            ),
            (
                r#""collections": ["a"], "collection_strategies": {"b": "merge"}"#,
                &["collection_strategies", "`b`", "collections"],
            ),
        ] {
            let message = refused(&format!(r#"{{"server_url": "ws://h", {options}}}"#));
            for name in named {
                assert!(message.contains(name), "{name} is not in: {message}");
            }
        }
        assert!(refused("{}").contains("server_url"));
        assert!(refused("{").contains("the options: EOF"));
        assert!(refused(r#"{"server_url": "ws://h"} more"#).contains("trailing"));
    }
}
