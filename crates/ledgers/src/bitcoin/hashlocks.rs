//! What the pivot needs besides its steps: preimages as soon as a claim shows them, and signatures that let others
//! finish.

use async_trait::async_trait;
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, ecdsa};
use minicbor::{Decode, Encode};
use sofie_model::{Digest, LegId, Manifest, canonical};

use super::ladder::MAX_RUNGS;
use super::ledger::{BitcoinLedger, name};
use super::lock::{Found, Lock, Spent};
use super::pay::{Signed, spend_fees};
use crate::port::MAX_PRESIGNED_BYTES;
use crate::{Hashlocks, LedgerError, Presigned, Revealed, Spend};

/// The bytes of a [`Presigned`] of this ledger.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Content {
    /// The lock that is spent: its transaction, in the order of its bytes, and which output.
    #[n(0)]
    transaction: Digest,
    #[n(1)]
    output: u32,
    /// The cheapest first.
    #[n(2)]
    rungs: Vec<Rung>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Rung {
    /// Satoshi.
    #[n(0)]
    fee: u64,
    /// DER, then SIGHASH_ALL.
    #[cbor(n(1), with = "minicbor::bytes")]
    signature: Vec<u8>,
}

impl BitcoinLedger {
    /// The lock of a leg, where it stands, and the most that a spend may cost.
    async fn standing(&self, manifest: &Manifest, leg: LegId) -> Result<(Lock, Found, u64), LedgerError> {
        let lock = self.lock(manifest, leg)?;
        let (state, _) = self.synced().await?;
        let found = self.found(&state, &lock)?;
        let limit = manifest.leg(leg).map_or(0, |leg| leg.fee_limit);
        Ok((lock, found, u64::try_from(limit).unwrap_or(u64::MAX)))
    }
}

#[async_trait]
impl Hashlocks for BitcoinLedger {
    async fn revealed(&self, manifest: &Manifest, leg: LegId) -> Result<Option<Revealed>, LedgerError> {
        let lock = self.lock(manifest, leg)?;
        let (state, end) = self.synced().await?;
        let Some(found) = lock.find(state.index.marked(lock.mark)) else { return Ok(None) };
        if let Some(placed) = state.index.spender(found.outpoint) {
            let Some(Spent::Claim(preimages)) = lock.spent_by(found.outpoint, &placed.transaction) else {
                return Ok(None);
            };
            return Ok(Some(Revealed {
                preimages,
                reference: name(&placed.transaction),
                finally: self.is_final(placed, end),
            }));
        }
        drop(state);
        let waiting = self.node.waiting_spender(found.outpoint).await.map_err(|error| self.error(error))?;
        Ok(waiting.and_then(|waiting| match lock.spent_by(found.outpoint, &waiting)? {
            Spent::Claim(preimages) => {
                Some(Revealed { preimages, reference: name(&waiting), finally: false })
            }
            Spent::Refund => None,
        }))
    }

    async fn presign(&self, manifest: &Manifest, leg: LegId, spend: Spend) -> Result<Presigned, LedgerError> {
        let (lock, found, limit) = self.standing(manifest, leg).await?;
        let rate = self.node.fee_rate().await.map_err(|error| self.error(error))?;
        let fees = spend_fees(&lock, spend, rate, limit);
        let signed = self.wallet.sign_spend(&lock, found.outpoint, spend, &fees);
        let signed = signed
            .ok_or_else(|| self.profile.refused(format!("this node holds no key {}", lock.key(spend))))?;
        let rung =
            |(fee, signature): &(u64, ecdsa::Signature)| Rung { fee: *fee, signature: signature.to_vec() };
        let content = Content {
            transaction: Digest(found.outpoint.txid.to_byte_array()),
            output: found.outpoint.vout,
            rungs: signed.iter().map(rung).collect(),
        };
        Ok(Presigned { spend, bytes: canonical::encode(&content) })
    }

    async fn accept(
        &self,
        manifest: &Manifest,
        leg: LegId,
        presigned: &Presigned,
    ) -> Result<(), LedgerError> {
        let (lock, found, limit) = self.standing(manifest, leg).await?;
        let (outpoint, signed) = read(presigned).map_err(|why| self.profile.refused(why))?;
        if outpoint != found.outpoint {
            return Err(self
                .profile
                .refused(format!("it is about {outpoint}, the lock is {}", found.outpoint)));
        }
        let (mut before, most) = (0, limit.min(lock.amount));
        for rung in &signed {
            if rung.0 <= before || rung.0 > most {
                return Err(self
                    .profile
                    .refused(format!("a fee of {} satoshi, after {before} and up to {most}", rung.0)));
            }
            before = rung.0;
            if !self.wallet.is_signed(&lock, outpoint, presigned.spend, rung) {
                return Err(self.profile.refused(format!("not signed by {}", lock.key(presigned.spend))));
            }
        }
        let kept = (outpoint, signed);
        self.state.lock().await.accepted.insert((lock.mark, presigned.spend), kept);
        Ok(())
    }
}

fn read(presigned: &Presigned) -> Result<(OutPoint, Signed), String> {
    let content: Content =
        canonical::decode(&presigned.bytes, MAX_PRESIGNED_BYTES).map_err(|e| e.to_string())?;
    let count = content.rungs.len();
    if !(1..=MAX_RUNGS).contains(&count) {
        return Err(format!("{count} signatures, 1 to {MAX_RUNGS} are expected"));
    }
    let rung = |one: Rung| {
        let signature = ecdsa::Signature::from_slice(&one.signature).map_err(|e| e.to_string())?;
        Ok::<_, String>((one.fee, signature))
    };
    let signed = content.rungs.into_iter().map(rung).collect::<Result<_, _>>()?;
    let txid = bitcoin::Txid::from_byte_array(content.transaction.0);
    Ok((OutPoint::new(txid, content.output), signed))
}
