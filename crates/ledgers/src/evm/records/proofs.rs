//! Gathers what [`sofie_model::proof::batch`] verifies: the batches' events, and a path for each record.

use std::collections::{BTreeMap, BTreeSet};

use sofie_model::proof::batch::{BatchProof, Record};
use sofie_model::{Evidence, Manifest, Proof};

use super::EvmRecords;
use super::store::{self, Kept};
use crate::LedgerError;
use crate::evm::prove::{Logs, Unprovable, check, gather};

impl EvmRecords {
    pub(super) async fn proof(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        let (mut logs, mut records) = (Logs::new(), BTreeMap::new());
        for (batch, indices) in self.batches_of(facts)?.into_values() {
            let gone =
                || self.profile.nonsense(format!("the chain no longer holds the batch {}", batch.root));
            let (found, logged) = self.event(&batch).await?.ok_or_else(gone)?;
            if batch.stands != Some(found) {
                return Err(gone());
            }
            logs.entry(logged.block).or_default().entry(logged.index).or_default().push(logged.log_index);
            let place = (logged.block, logged.index, logged.log_index);
            records.insert(place, self.records(&batch, indices).await?);
        }
        let chain = gather(&*self.evm.chain, logs).await.map_err(|why| self.unprovable(why))?;
        let proof = Proof::Batch(BatchProof { chain, records: records.into_values().collect() });
        check(&proof, &self.profile.id, manifest, facts).map_err(|why| self.unprovable(why))?;
        Ok(proof)
    }

    /// By its number, each batch that holds one of these facts, and which of its records they are.
    fn batches_of(&self, facts: &[Evidence]) -> Result<BTreeMap<u64, (Kept, BTreeSet<u32>)>, LedgerError> {
        let mut batches = BTreeMap::new();
        for fact in facts {
            let record = fact.position.index;
            let batch = self.read(|sql| store::batch_at(sql, record))?;
            let first = batch.as_ref().and_then(|batch| batch.stands).map_or(0, |stands| stands.first);
            let batch = batch.ok_or_else(|| {
                self.profile.nonsense(format!("it does not hold {:?} at {record}", fact.fact))
            })?;
            let (_, indices) = batches.entry(batch.number).or_insert((batch, BTreeSet::new()));
            indices.insert((record - first) as u32);
        }
        Ok(batches)
    }

    async fn records(&self, batch: &Kept, indices: BTreeSet<u32>) -> Result<Vec<Record>, LedgerError> {
        let tree = self.tree(batch.from, batch.count).await?;
        let record = |index: u32| {
            let path = tree.inclusion(index.into(), batch.count.into());
            let path = path.ok_or_else(|| self.profile.nonsense(format!("it has no record {index}")))?;
            let entry = self.read(|sql| store::contents(sql, batch.from + u64::from(index), 1))?;
            let entry = entry.into_iter().next().unwrap_or_default();
            Ok(Record { index, entry, path })
        };
        indices.into_iter().map(record).collect()
    }

    fn unprovable(&self, why: Unprovable) -> LedgerError {
        match why {
            Unprovable::Chain(error) => self.evm.error(error),
            Unprovable::TooFar(reason) => self.profile.refused(reason),
            Unprovable::Gone(reason) => self.profile.nonsense(reason),
        }
    }
}
