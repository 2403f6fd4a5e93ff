//! The custodian under the decisions of a group: four members over HTTP, one of which never lives, whose keys the
//! custodian's operator pinned. The conformance suite, and certificates of every kind that must not count.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ed25519_dalek::SigningKey;
use k256::ecdsa::SigningKey as AccountKey;
use sofie_ledgers::conformance::{Failure, Harness, Site, failures, run_all};
use sofie_ledgers::quorum::{Config, Quorum, profile};
use sofie_ledgers::{Clock, Ledger};
use sofie_model::custodian::{self, Act, Request};
use sofie_model::manifest::{DecisionSite, EscrowTerms, Participant};
use sofie_model::proof::quorum::QuorumProof;
use sofie_model::quorum::{self, Certificate, Kind, Value, Vote, Votes};
use sofie_model::{
    Account, Attestation, Class, Decision, Digest, Fact, Finality, Leg, LegId, Manifest, Proof, Rule,
    Signature, SignedAttestation, Span, Terms, Timestamp, contract,
};
use tokio_postgres::Client;

use crate::cluster::Cluster;
use crate::group::Group;
use crate::parties::{AMOUNT, Parties, secret};
use crate::process::{Custodian, endow, key, sum};

struct Notaries {
    group: Group,
    moved: Arc<AtomicU64>,
    sql: Client,
    parties: Parties,
    custodian: Custodian,
    _cluster: Cluster,
}

/// The machine's clock, as the custodian's process reads it, and what was added to it.
fn clock(moved: &Arc<AtomicU64>) -> Clock {
    let moved = Arc::clone(moved);
    #[allow(clippy::disallowed_methods, reason = "the custodian's own process reads this clock")]
    let read = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Arc::new(move || Timestamp::from_millis(u64::try_from(read()).unwrap() + moved.load(Ordering::SeqCst)))
}

fn account_key(byte: u8) -> AccountKey {
    AccountKey::from_slice(secret(byte).as_slice()).unwrap()
}

impl Notaries {
    async fn start() -> Option<Self> {
        let (cluster, parties, moved) = (Cluster::start()?, Parties::new(), Arc::default());
        let group = Group::new(clock(&moved)).await;
        (1..4).for_each(|member| group.start(member));
        let members: String =
            group.seated.iter().map(|one| format!("{} = \"{}\"\n", one.key, one.url)).collect();
        let decides = format!("[[quorum]]\nledger = \"notaries\"\n[quorum.members]\n{members}");
        let custodian = Custodian::start(&cluster, &decides);
        let sql = cluster.connect().await;
        endow(&sql, parties.payer, AMOUNT * 10_000).await;
        endow(&sql, parties.payee, 0).await;
        Some(Self { group, moved, sql, parties, custodian, _cluster: cluster })
    }

    fn d(&self) -> Arc<dyn Ledger> {
        let config = Config { members: self.group.seated.clone() };
        let d = Quorum::open(&config, profile("notaries".parse().unwrap())).unwrap();
        Arc::new(d.acting_for([0x11, 0x22].map(account_key)))
    }

    /// The custodian's clock never goes back behind its book: a line of SQL moves it.
    async fn not_before(&self, at: Timestamp) {
        let update = "update book set at = greatest(at, $1)";
        self.sql.execute(update, &[&(at.as_millis() as i64)]).await.unwrap();
    }
}

#[async_trait]
impl Harness for Notaries {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        self.not_before(self.group.now()).await;
        let deciders = BTreeMap::from([("notaries".parse().unwrap(), self.d())]);
        Ok(Arc::new(self.custodian.ledger(deciders).await))
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.open().await
    }

    fn site(&self) -> Site {
        Site {
            chain_id: 0,
            decision: self.group.ledger().account(),
            escrow: custodian::account(&key()),
            payer: self.parties.payer,
            payee: self.parties.payee,
            evidence_key: self.parties.sensor,
            amount: AMOUNT,
            others: vec![],
        }
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        Parties::attest(attestation)
    }

    fn fee_limit(&self) -> u128 {
        0
    }

    fn decider(&self) -> Option<Arc<dyn Ledger>> {
        Some(self.d())
    }

    async fn step(&self) -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(25)).await;
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.moved.fetch_add(until.since(self.group.now()).as_millis(), Ordering::SeqCst);
        self.not_before(until).await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_custodian_keeps_the_ports_promises_under_a_group() {
    let Some(notaries) = Notaries::start().await else { return };
    let before = sum(&notaries.sql).await;
    let outcomes = run_all(&notaries).await.unwrap();
    assert_eq!(failures(&outcomes), "");
    assert!(outcomes.len() >= 21, "{}", outcomes.len());
    assert_eq!(sum(&notaries.sql).await, before, "no unit was made or lost");
}

/// Keys that nobody pinned, in a group's order.
fn strangers() -> Vec<SigningKey> {
    let mut keys: Vec<_> = (0x61..=0x64).map(|byte| SigningKey::from_bytes(&[byte; 32])).collect();
    keys.sort_by_key(|key| key.verifying_key().to_bytes());
    keys
}

fn of(keys: &[SigningKey]) -> quorum::Group {
    quorum::Group::new(keys.iter().map(|key| Digest(key.verifying_key().to_bytes())).collect()).unwrap()
}

/// Signed by these of `keys`, as votes of `group`.
fn proof(
    (group, keys): (&quorum::Group, &[SigningKey]),
    manifest: &Manifest,
    (kind, value): (Kind, Value),
    members: &[u8],
) -> Proof {
    let signed = |member: &u8| {
        let (said, key) = ((0, kind, Some(value.id())), &keys[usize::from(*member)]);
        (*member, Vote::sign(&group.id(), manifest.txid(), said, (*member, key)).signature)
    };
    let signatures = members.iter().map(signed).collect();
    let certificate = Certificate { votes: Votes { round: 0, signatures }, value };
    Proof::Quorum(QuorumProof { group: group.clone(), certificate })
}

impl Notaries {
    /// An escrow here, decided by a group.
    fn escrow(&self, nonce: u8, group: &quorum::Group) -> Manifest {
        let now = self.group.now().as_seconds();
        let after = |seconds| Timestamp::from_seconds(now + seconds);
        let site = self.site();
        let terms = Terms::Escrow(EscrowTerms {
            contract: site.escrow,
            payer: site.payer,
            payee: site.payee,
            amount: site.amount,
            evidence_key: site.evidence_key,
            evidence_deadline: after(1200),
            submission_window: Span::from_seconds(60),
            dispute: None,
        });
        let (ledger, class, finality) = ("bank".parse().unwrap(), Class::Escrow, Finality::Instant);
        let ledger_d = "notaries".parse().unwrap();
        Manifest {
            version: 1,
            legs: vec![Leg { ledger, class, finality, required: true, terms, fee_limit: 0 }],
            rule: Rule::All,
            decision: DecisionSite {
                ledger: ledger_d,
                chain_id: 0,
                contract: group.account(),
                finality,
                fee_limit: 0,
            },
            deadline: after(600),
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: vec![Participant { account: site.payer, hashlock: Digest::sha256(&[1; 32]) }],
            nonce: Digest([nonce; 32]),
        }
    }

    fn commit(&self) -> Value {
        let decision = Decision::Commit {
            included: 1,
            evidence_root: Digest([9; 32]),
            preimages: vec![Digest([1; 32])],
        };
        Value { decision, signatures: vec![], at: self.group.now() }
    }

    fn abort(&self, manifest: &Manifest) -> Value {
        let signature = Signature::by(&account_key(0x11), contract::abort_digest(manifest));
        let decision = Decision::Abort { by: self.parties.payer };
        Value { decision, signatures: vec![signature], at: self.group.now() }
    }

    /// The leg's last fact, or why the custodian refuses.
    async fn ask(&self, manifest: &Manifest, act: Act) -> Result<Fact, String> {
        let request = Request { manifest: manifest.clone(), leg: LegId(0), act };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = self.custodian.url.join("v1/legs").unwrap();
        let answer = http.post(url).body(request.to_bytes()).send().await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.bytes().await.unwrap());
        match status {
            200 => {
                let stated: Vec<sofie_model::proof::statement::Signed> =
                    sofie_model::canonical::decode(&body, custodian::MAX_ANSWER).unwrap();
                Ok(stated.last().unwrap().statement.evidence.fact.clone())
            }
            409 => Err(String::from_utf8(body.to_vec()).unwrap()),
            _ => panic!("{status}: {}", String::from_utf8_lossy(&body)),
        }
    }

    async fn hold(&self, manifest: &Manifest) -> Result<Fact, String> {
        let digest = custodian::hold_digest(manifest.txid(), LegId(0));
        let signature = Signature::by(&account_key(0x11), digest);
        self.ask(manifest, Act::Hold { signature }).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_a_quorum_of_the_pinned_keys_moves_value() {
    let Some(notaries) = Notaries::start().await else { return };
    let (keys, foreign) = (&notaries.group.keys[..], &strangers()[..]);
    let (pinned, stranger) = (&of(keys), &of(foreign));
    let (manifest, other) = (&notaries.escrow(1, pinned), &notaries.escrow(2, pinned));
    let (txid, leg) = (manifest.txid(), LegId(0));
    let theirs = notaries.escrow(3, stranger);
    let refused = notaries.hold(&theirs).await.unwrap_err();
    assert!(refused.contains("this group is"), "what it cannot judge it does not hold: {refused}");
    for manifest in [manifest, other] {
        assert_eq!(notaries.hold(manifest).await, Ok(Fact::Prepared(manifest.txid(), leg)));
    }
    let (commit, precommit) = (notaries.commit(), Kind::Precommit);
    let committed = |by, manifest, kind, members: &[u8]| proof(by, manifest, (kind, commit.clone()), members);
    let good = committed((pinned, keys), manifest, precommit, &[0, 1, 2]);
    let cases = [
        (committed((pinned, keys), manifest, precommit, &[0, 1]), "2 signatures, exactly 3"),
        (committed((pinned, keys), manifest, precommit, &[0, 1, 1]), "not in ascending order"),
        (committed((pinned, foreign), manifest, precommit, &[0, 1, 2]), "member 0 did not sign it"),
        (committed((stranger, foreign), manifest, precommit, &[0, 1, 2]), "D is group"),
        (committed((pinned, keys), other, precommit, &[0, 1, 2]), "member 0 did not sign it"),
        (committed((pinned, keys), manifest, Kind::Prevote, &[0, 1, 2]), "member 0 did not sign it"),
        (
            proof((pinned, keys), manifest, (precommit, notaries.abort(manifest)), &[0, 1, 2]),
            "does not include",
        ),
    ];
    for (decision, why) in cases {
        let refused = notaries.ask(manifest, Act::Release { decision }).await.unwrap_err();
        assert!(refused.contains(why), "{refused} should say {why:?}");
    }
    let wrong_way = notaries.ask(manifest, Act::Return { decision: good.clone() }).await.unwrap_err();
    assert!(wrong_way.contains("is COMMIT with"), "{wrong_way}");

    // COMMIT arms, by whichever quorum and however often; ABORT returns; and neither is taken after the other.
    let again = committed((pinned, keys), manifest, precommit, &[1, 2, 3]);
    for decision in [good, again] {
        assert_eq!(notaries.ask(manifest, Act::Release { decision }).await, Ok(Fact::Applied(txid, leg)));
    }
    let abort = |manifest| proof((pinned, keys), manifest, (precommit, notaries.abort(manifest)), &[1, 2, 3]);
    let returned = notaries.ask(other, Act::Return { decision: abort(other) }).await;
    assert_eq!(returned, Ok(Fact::Reverted(other.txid(), leg)));
    let late = committed((pinned, keys), other, precommit, &[0, 1, 2]);
    for (manifest, act) in
        [(manifest, Act::Return { decision: abort(manifest) }), (other, Act::Release { decision: late })]
    {
        let twice = notaries.ask(manifest, act).await.unwrap_err();
        let members = pinned.members();
        for part in
            [&format!("decided {} twice", manifest.txid()), &format!("{}, {}", members[1], members[2])]
        {
            assert!(twice.contains(part), "{twice} should say {part}");
        }
    }
}
