//! The platforms that the configuration names. They are joined in the background: a node starts without them, says by
//! name which one is missing, and goes on trying.

use std::path::Path;

use sofie_adapters::binding::{Binding, Mapping};
use sofie_adapters::port::AdapterError;

use super::{PlatformError, Platforms, Wait};
use crate::api::JoinPlatform;
use crate::config;

/// The longest mapping file, in bytes.
const MAX_MAPPING: u64 = 1024 * 1024;

/// A platform of the configuration, its mapping read.
#[derive(Debug, Clone)]
pub(crate) struct Configured {
    pub(super) asked: JoinPlatform,
    pub(super) mapping: Binding,
}

impl Configured {
    /// Reads the mapping files of all configured platforms.
    ///
    /// # Errors
    /// [`PlatformError::Mapping`] names the file and what is wrong with it.
    pub(crate) fn read(platforms: &[config::Platform]) -> Result<Vec<Self>, PlatformError> {
        let read = |platform: &config::Platform| {
            let asked = JoinPlatform {
                owner: platform.owner.to_string(),
                kind: platform.kind,
                url: platform.url.to_string(),
                allow: platform.policy.actions.clone(),
                allow_writes: platform.policy.writes.clone(),
                originator: platform.originator.clone(),
            };
            let mapping = platform
                .mapping
                .as_deref()
                .map(mapping)
                .transpose()?
                .map(Mapping::binding)
                .unwrap_or_default();
            Ok(Self { asked, mapping })
        };
        platforms.iter().map(read).collect()
    }
}

/// Reads an owner's mapping: TOML, or JSON where the file's name ends so.
///
/// # Errors
/// [`PlatformError::Mapping`] names the file and what is wrong with it.
pub fn mapping(file: &Path) -> Result<Mapping, PlatformError> {
    let wrong = |what: String| PlatformError::Mapping { file: file.to_owned(), what };
    let size = std::fs::metadata(file).map_err(|e| wrong(e.to_string()))?.len();
    if size > MAX_MAPPING {
        return Err(wrong(format!("it has {size} bytes, at most {MAX_MAPPING} are read")));
    }
    let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
    let mapping: Mapping = if file.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) {
        serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?
    } else {
        toml::from_str(&text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?
    };
    mapping.check().map_err(wrong)?;
    Ok(mapping)
}

impl Platforms {
    /// Joins in the background what the configuration names and no earlier run has joined.
    pub(crate) fn join_configured(&self, configured: Vec<Configured>) {
        for one in configured {
            let all = self.clone();
            tokio::spawn(async move { all.join_until_done(one).await });
        }
    }

    async fn join_until_done(&self, one: Configured) {
        let (owner, url) = (&one.asked.owner, &one.asked.url);
        let mut wait = Wait::default();
        loop {
            match self.join_with(&one.asked, one.mapping.clone()).await {
                Ok(platform) => {
                    tracing::info!(platform = %platform.id, %owner, %url, things = platform.things.len(), "joined");
                    return;
                }
                Err(PlatformError::Joined { .. }) => return,
                Err(
                    error @ (PlatformError::Adapter(AdapterError::Transient { .. })
                    | PlatformError::Empty { .. }),
                ) => {
                    tracing::warn!(%error, %owner, %url, "a configured platform is not joined yet");
                    wait.once().await;
                }
                Err(error) => {
                    tracing::error!(%error, %owner, %url, "a configured platform is not joined; correct this and start again");
                    return;
                }
            }
        }
    }
}
