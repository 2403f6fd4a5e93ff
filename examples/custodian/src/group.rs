//! A group that this custodian believes: the members' keys come from its operator, and nothing that a request brings adds
//! one. Before value is held the members are asked whether they have decided; what they say is signed by those keys, so that
//! their addresses need no trust (docs/specs/inter-ledger.md, "A quorum that decides").

use std::collections::BTreeMap;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use sofie_model::quorum::{BadGroup, Group, Kind, MAX_WORD, Word, check_site};
use sofie_model::{Digest, LedgerId, Manifest, Txid, canonical};
use tokio::task::JoinSet;

use crate::books::No;

/// A group as `custodian.toml` lists it, in the form of `sofie.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quorum {
    /// Its name in manifests.
    ledger: LedgerId,
    /// Each member's Ed25519 key, and its door: `http://HOST:PORT`.
    members: BTreeMap<Digest, String>,
}

/// The same, with keys that make a group.
pub(crate) struct Members {
    pub(crate) ledger: LedgerId,
    pub(crate) group: Group,
    /// In the group's order.
    doors: Vec<String>,
}

impl Quorum {
    /// # Errors
    /// [`BadGroup`].
    pub(crate) fn read(self) -> Result<Members, BadGroup> {
        let group = Group::new(self.members.keys().copied().collect())?;
        // A map is in the order of its keys, as a group is.
        let doors = self.members.into_values().map(|door| door.trim_end_matches('/').to_owned()).collect();
        Ok(Members { ledger: self.ledger, group, doors })
    }
}

impl Members {
    /// Whether this group is D and has not decided, as far as n − f of its members know: while no more than f are away, so
    /// many answer.
    pub(crate) async fn is_undecided(&self, http: &Client, manifest: &Manifest) -> Result<(), No> {
        check_site(manifest, &self.group).map_err(No::Refused)?;
        let (all, enough) = (self.doors.len(), self.doors.len() - self.group.faulty());
        let (mut answers, mut heard, mut faults) = (self.ask(http, manifest.txid())?, 0, Vec::new());
        while let Some(answer) = answers.join_next().await {
            match answer.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(word) if self.shows_decision(&word, manifest) => {
                    return Err(No::Refused("D has decided already".into()));
                }
                Ok(_) => heard += 1,
                Err(why) => faults.push(why),
            }
            if heard >= enough {
                return Ok(());
            }
        }
        let faults = faults.join("; ");
        Err(No::Away(format!(
            "{heard} of {all} members of {} answer, {enough} are needed ({faults})",
            self.ledger
        )))
    }

    /// A certificate that does not hold is that member's lie.
    fn shows_decision(&self, word: &Word, manifest: &Manifest) -> bool {
        let holds =
            |one: &sofie_model::quorum::Certificate| one.verify(&self.group, manifest, Kind::Precommit);
        word.decided.as_ref().is_some_and(|one| holds(one).is_ok())
    }

    fn ask(&self, http: &Client, txid: Txid) -> Result<JoinSet<Result<Word, String>>, No> {
        let mut answers = JoinSet::new();
        for (member, door) in (0_u8..).zip(&self.doors) {
            let mut nonce = Digest::ZERO;
            getrandom::fill(&mut nonce.0).map_err(|error| No::Away(error.to_string()))?;
            let (http, group, door) = (http.clone(), self.group.clone(), door.clone());
            answers.spawn(async move {
                let heard = word(&http, &door, &group, (txid, &nonce)).await.and_then(|word| {
                    word.verify(&group, txid, &nonce)?;
                    if word.member == member {
                        Ok(word)
                    } else {
                        Err(format!("member {} answers", word.member))
                    }
                });
                heard.map_err(|why| format!("{door}: {why}"))
            });
        }
        Ok(answers)
    }
}

async fn word(
    http: &Client,
    door: &str,
    group: &Group,
    (txid, nonce): (Txid, &Digest),
) -> Result<Word, String> {
    let away = |error: reqwest::Error| error.without_url().to_string();
    let url = format!("{door}/api/v1/quorums/{}/words/{txid}/{nonce}", group.id());
    let mut answer = http.get(url).send().await.map_err(away)?;
    if answer.status() != StatusCode::OK {
        return Err(format!("it answers {}", answer.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(away)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_WORD {
            return Err(format!("it answers more than {MAX_WORD} bytes"));
        }
    }
    canonical::decode(&body, MAX_WORD).map_err(|bad| format!("its answer: {bad}"))
}
