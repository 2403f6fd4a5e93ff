//! Reads a property: the newest reading that came by itself, or the device, asked now.

use sofie_adapters::port::AdapterError;
use sofie_model::ThingId;

use super::{PlatformError, Platforms};
use crate::readings::Reading;

impl Platforms {
    /// The newest reading of a property; with `fresh`, and where none has come yet, its device is asked. What it answers
    /// is a reading as any other.
    ///
    /// # Errors
    /// [`PlatformError`].
    pub async fn read(&self, thing: &ThingId, property: &str, fresh: bool) -> Result<Reading, PlatformError> {
        let joined = self.with(thing).ok_or_else(|| PlatformError::NoThing { thing: thing.clone() })?;
        if let Some(newest) = self.0.readings.newest(thing, property).filter(|_| !fresh) {
            return Ok(newest);
        }
        let message = joined.adapter.read(thing, property).await?;
        let said = message.observations.iter().map(|said| (message.arrived, said.clone())).collect();
        self.0.readings.keep(self.0.executor.journal(), said).await?;
        let is_it = |one: &&sofie_model::Observation| one.thing == *thing && one.property == property;
        if let Some(observation) = message.observations.iter().find(is_it).cloned() {
            return Ok(Reading { arrived: message.arrived, observation, changed: false });
        }
        let platform = joined.adapter.platform();
        let told = message.deviations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Err(PlatformError::Adapter(AdapterError::Permanent {
            party: platform.party.clone(),
            url: platform.url.to_string(),
            reason: format!("its answer says nothing of {property}: {told}"),
            next: "correct the mapping (docs/guide/mapping.md), or see the device".into(),
        }))
    }
}
