//! Joins a platform: reads what it tells of itself, describes and registers its things, and anchors the hashes of the
//! descriptions. Nothing is written to the platform, and nothing acts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sofie_access::{Book, PublicKey};
use sofie_adapters::binding::Binding;
use sofie_adapters::coap::{CoapAdapter, CoapConfig};
use sofie_adapters::mqtt::{MqttAdapter, MqttConfig};
use sofie_adapters::onem2m::{Onem2mAdapter, Onem2mConfig};
use sofie_adapters::port::{Adapter, Description};
use sofie_adapters::wot::{WotAdapter, WotConfig};
use sofie_directory::ThingDescription;
use sofie_model::{Digest, Operation};
use url::{Host, Url};

use super::{DescriptionKept, Joined, Kept, MAX_PLATFORMS, PLATFORMS, PlatformError, Platforms};
use crate::api::{self, JoinPlatform, PlatformKind};
use crate::auditor::Note;
use crate::clock;
use crate::executor::{Ended, Key};
use crate::gate::{Allowed, BOOKS, Memory, OwnersGate};
use crate::journal::Entry;
use crate::parties::capability_key;

/// What the audit records of a platform or thing are about.
pub(crate) fn subject(name: &str) -> Digest {
    Digest::of("sofie.subject.v1", &[name.as_bytes()])
}

/// The same text for the same platform, however its address is written.
pub(super) fn address(kind: PlatformKind, owner: &str, url: &str) -> Result<String, PlatformError> {
    let (scheme, port) = kind.scheme();
    let platform = match kind {
        PlatformKind::Coap | PlatformKind::Mqtt => sofie_adapters::Platform::new(owner, scheme, url)?,
        PlatformKind::Wot | PlatformKind::Onem2m => sofie_adapters::Platform::at_path(owner, scheme, url)?,
    };
    Ok(platform.address(port))
}

/// What this node calls itself at a platform: the same after a restart.
fn own_name(platform: &api::Platform) -> String {
    let name = subject(&format!("{} {}", platform.owner, platform.url)).to_string();
    name[..16].to_owned()
}

/// Where a CSE notifies this node: only one on this machine can reach a loopback address.
fn notified_at(url: &str) -> Option<SocketAddr> {
    let is_here = match Url::parse(url).ok()?.host()? {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => name == "localhost",
    };
    is_here.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

impl Platforms {
    /// Joins a platform. Once this returns `Ok`, the journal holds it and a ledger its things' hashes.
    ///
    /// # Errors
    /// [`PlatformError`]. What was registered before an error stays registered; joining again completes it.
    pub async fn join(&self, asked: &JoinPlatform) -> Result<api::Platform, PlatformError> {
        self.join_with(asked, Binding::default()).await
    }

    /// [`Platforms::join`] with the owner's own mapping, which goes before what introspection finds.
    pub(super) async fn join_with(
        &self,
        asked: &JoinPlatform,
        mapping: Binding,
    ) -> Result<api::Platform, PlatformError> {
        self.may_join(asked)?;
        let allowed = Allowed::of(asked);
        // What the platform itself tells is asked for apart, where the owner's words would hide it.
        let found = match mapping.things.is_empty() {
            true => None,
            false => Some(self.look(asked, Allowed::default(), Binding::default()).await?.2),
        };
        let (mut platform, adapter, descriptions) = self.look(asked, allowed.clone(), mapping).await?;
        let found = found.as_ref().unwrap_or(&descriptions).iter().map(|one| one.binding.clone()).collect();
        platform.things = descriptions.iter().map(|one| one.thing.clone()).collect();
        let one_at_a_time = self.0.joining.lock().await;
        // Somebody may have joined it while it was asked.
        platform.id = format!("{}-{}", asked.owner, self.may_join(asked)? + 1);
        for description in &descriptions {
            self.register(&platform.owner, description).await?;
        }
        let Allowed { actions: allow, writes: allow_writes } = allowed;
        let originator = asked.originator.clone();
        let descriptions = descriptions.iter().map(Into::into).collect();
        let kept = Kept { platform, allow, allow_writes, originator, descriptions, found: Some(found) };
        self.keep(&kept).await?;
        // Its things stand on the ledger one by one already: the whole follows later, where it is not taken now.
        match self.anchor_directory().await {
            Err(PlatformError::Journal(error)) => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "the directory is not anchored as it is now"),
            Ok(()) => {}
        }
        let platform = kept.platform.clone();
        let listening = self.add(Joined { kept, adapter });
        drop(one_at_a_time);
        // From now on nothing that its things say is missed. A reader that has ended does not say so.
        let _ = listening.await;
        Ok(platform)
    }

    /// What joining would register. Nothing is kept, and nothing may act.
    ///
    /// # Errors
    /// [`PlatformError`].
    pub async fn introspect(&self, asked: &JoinPlatform) -> Result<api::Introspected, PlatformError> {
        let (platform, _, descriptions) = self.look(asked, Allowed::default(), Binding::default()).await?;
        let api::Platform { kind, url, .. } = platform;
        Ok(api::Introspected { kind, url, things: descriptions.into_iter().map(|one| one.td).collect() })
    }

    /// Reads what a platform tells of itself: at least one thing. It has no name and no things here yet.
    async fn look(
        &self,
        asked: &JoinPlatform,
        allowed: Allowed,
        mapping: Binding,
    ) -> Result<(api::Platform, Arc<dyn Adapter>, Vec<Description>), PlatformError> {
        let JoinPlatform { owner, kind, url, .. } = asked.clone();
        let platform = api::Platform { id: String::new(), owner, kind, url, things: Vec::new() };
        let adapter = self.adapter(&platform, allowed, asked.originator.as_deref(), mapping).await?;
        let descriptions = adapter.introspect().await?;
        if descriptions.is_empty() {
            return Err(PlatformError::Empty { url: platform.url });
        }
        Ok((platform, adapter, descriptions))
    }

    /// How many platforms are kept, unless this one is, or there are too many.
    fn may_join(&self, asked: &JoinPlatform) -> Result<usize, PlatformError> {
        let mine = address(asked.kind, &asked.owner, &asked.url)?;
        let kept = self.kept()?;
        for Kept { platform, .. } in &kept {
            if address(platform.kind, &platform.owner, &platform.url).is_ok_and(|other| other == mine) {
                return Err(PlatformError::Joined { url: asked.url.clone(), id: platform.id.clone() });
            }
        }
        if kept.len() >= MAX_PLATFORMS { Err(PlatformError::TooMany) } else { Ok(kept.len()) }
    }

    pub(super) fn binding(descriptions: &[DescriptionKept]) -> Binding {
        Binding { things: descriptions.iter().map(|one| one.binding.clone()).collect() }
    }

    pub(super) async fn adapter(
        &self,
        platform: &api::Platform,
        allowed: Allowed,
        originator: Option<&str>,
        binding: Binding,
    ) -> Result<Arc<dyn Adapter>, PlatformError> {
        let gate = self.gate(&platform.owner, allowed)?;
        Ok(match platform.kind {
            PlatformKind::Coap => {
                let config = CoapConfig::new(&platform.owner, &platform.url, Arc::new(clock::now));
                Arc::new(CoapAdapter::open(CoapConfig { gate, binding, ..config }).await?)
            }
            PlatformKind::Mqtt => {
                let config = MqttConfig::new(&platform.owner, &platform.url, Arc::new(clock::now));
                // The broker keeps for us what comes while this node restarts.
                let client_id = Some(format!("sofie-{}", own_name(platform)));
                Arc::new(MqttAdapter::open(MqttConfig { gate, binding, client_id, ..config })?)
            }
            PlatformKind::Wot => {
                let config = WotConfig::new(&platform.owner, &platform.url, Arc::new(clock::now));
                Arc::new(WotAdapter::open(WotConfig { gate, binding, ..config })?)
            }
            PlatformKind::Onem2m => {
                let (owner, url) = (&platform.owner, &platform.url);
                let config =
                    Onem2mConfig::new(owner, url, originator.unwrap_or_default(), Arc::new(clock::now));
                // After a restart the CSE tells us through the subscriptions that it has.
                let subscriber = Some(own_name(platform));
                let notified_at = notified_at(url);
                Arc::new(Onem2mAdapter::open(Onem2mConfig {
                    gate,
                    binding,
                    notified_at,
                    subscriber,
                    ..config
                })?)
            }
        })
    }

    fn gate(&self, owner: &str, allowed: Allowed) -> Result<Arc<OwnersGate>, PlatformError> {
        let keys =
            self.0.parties.named(owner).ok_or_else(|| PlatformError::NoOwner { owner: owner.into() })?;
        let key = capability_key(keys).public();
        let memory = self.memory(owner, key)?;
        Ok(OwnersGate::new(owner, key, allowed, memory, self.0.keeper.clone()))
    }

    fn memory(&self, owner: &str, key: PublicKey) -> Result<Arc<Memory>, PlatformError> {
        let mut memories = self.0.memories.lock().expect("no holder of this lock panics");
        if let Some(memory) = memories.get(owner) {
            return Ok(memory.clone());
        }
        let kept = self.0.executor.journal().reader()?.fact(BOOKS, owner)?;
        // A book that cannot be read is replaced by an empty one, which refuses all earlier proofs.
        let memory = Memory::new(key, kept.and_then(|bytes| Book::from_bytes(&bytes).ok()));
        memories.insert(owner.to_owned(), memory.clone());
        Ok(memory)
    }

    async fn register(&self, owner: &str, description: &Description) -> Result<(), PlatformError> {
        let thing = ThingDescription::from_value(description.td.clone())
            .map_err(sofie_directory::store::DirectoryError::from)?;
        let hash = thing.hash();
        self.change(|directory, now| directory.put(&description.thing, thing, owner, now)).await?;
        let Some(ledger) = &self.0.anchor else { return Ok(()) };
        let topic = sofie_audit::topic::thing(&description.thing);
        let key = Key { id: topic, task: format!("anchor {hash}") };
        match self.0.executor.operate(key, ledger, &Operation::Note { topic, commitment: hash }).await? {
            Ended::Final(evidence) => {
                let note = Note::on_ledger(subject(description.thing.as_str()), "anchored", &evidence);
                self.0.keeper.auditor.keep(Vec::new(), vec![note], clock::now()).await?;
                Ok(())
            }
            Ended::Refused(reason) => Err(PlatformError::Anchor {
                thing: description.thing.clone(),
                ledger: ledger.clone(),
                reason,
            }),
        }
    }

    async fn keep(&self, kept: &Kept) -> Result<(), PlatformError> {
        let platform = &kept.platform;
        let value = serde_json::to_vec(kept).map_err(|e| self.corrupt(&platform.id, &e))?;
        let detail =
            format!("{} joined {} with {} things", platform.owner, platform.url, platform.things.len());
        let note = Note::about(subject(&platform.url), "joined", true, detail).by(platform.owner.clone());
        let entry = Entry::Fact { group: PLATFORMS, key: platform.id.clone(), value };
        self.0.keeper.auditor.keep(vec![entry], vec![note], clock::now()).await?;
        Ok(())
    }
}
