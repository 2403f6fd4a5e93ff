//! The token: a biscuit (version 3.3 of its specification) in a closed profile.
//!
//! A part of a token says the same twice: as a canonical record, in the block's `context`, and as the Datalog checks
//! that `Part` generates from it. A reader builds the blocks anew from the records and compares the bytes: Datalog of
//! any other shape is refused *before* it is evaluated, so that no token can make a door work hard or print one thing
//! and mean another. An independent biscuit library verifies the same token from its Datalog alone.
//!
//! Left out: third-party blocks by anyone but the holder, rules, and facts in attenuations.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use biscuit_auth::{
    Algorithm, Biscuit, BiscuitBuilder, BlockBuilder, KeyPair, PrivateKey,
    datalog::SymbolTable,
    error::{Format, Token},
};
use minicbor::{Decode, Encode};
use sofie_model::canonical;

use crate::{
    Caveat, Error, Grant, PublicKey, Refusal, RevocationId, SecretKey, View, caveat::speaks_for,
    grant::check_all,
};

/// The largest token that is made or read, in bytes.
pub const MAX_BYTES: usize = 8192;
/// The most parts that a grant can gain, whatever a door's limits are.
pub const MAX_PARTS: usize = 16;

/// One block of a token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Part {
    /// The first: the owner's.
    #[n(0)]
    Grant(#[n(0)] Grant),
    /// Narrowed, by whoever carried it.
    #[n(1)]
    Narrow(#[n(0)] Vec<Caveat>),
    /// Passed on, signed by the holder.
    #[n(2)]
    Delegate {
        #[n(0)]
        to: PublicKey,
        #[n(1)]
        caveats: Vec<Caveat>,
    },
}

impl Part {
    pub(crate) fn caveats(&self) -> Vec<Caveat> {
        match self {
            Self::Grant(grant) => grant.caveats(),
            Self::Narrow(caveats) | Self::Delegate { caveats, .. } => caveats.clone(),
        }
    }

    fn speaker(&self) -> Option<&PublicKey> {
        match self {
            Self::Grant(grant) => Some(&grant.holder),
            Self::Narrow(_) => None,
            Self::Delegate { to, .. } => Some(to),
        }
    }

    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Grant(grant) => grant.check(),
            Self::Narrow(caveats) | Self::Delegate { caveats, .. } => check_all(caveats),
        }
    }

    /// The block as part `index` of a token.
    fn block(&self, index: usize) -> BlockBuilder {
        let mut block = BlockBuilder::new().context(URL_SAFE_NO_PAD.encode(canonical::encode(self)));
        block.checks.extend(self.speaker().map(speaks_for));
        block.checks.extend(self.caveats().iter().map(|caveat| caveat.datalog(index)));
        block
    }
}

/// Signs a grant with the owner's key.
///
/// # Errors
/// [`Error::Grant`] and [`Error::Name`] for a grant that makes no sense.
pub fn issue(owner: &SecretKey, grant: &Grant) -> Result<Vec<u8>, Error> {
    let part = Part::Grant(grant.clone());
    part.check()?;
    let builder = BiscuitBuilder::new().merge(part.block(0)).root_key_id(owner.public().hint());
    let token = builder.build(&KeyPair::from(&owner.biscuit())).map_err(|e| unreadable(&e))?;
    finished(&token)
}

/// Narrows a token. Anyone who carries it can, without asking; `owner` is whose grant it is.
///
/// # Errors
/// [`Error::Token`] when it is not a capability of `owner`; [`Error::TooMuch`] when it would grow past any limit.
pub fn attenuate(token: &[u8], owner: &PublicKey, caveats: &[Caveat]) -> Result<Vec<u8>, Error> {
    let read = read(token, owner, MAX_BYTES, MAX_PARTS).map_err(|e| Error::Token { why: e.to_string() })?;
    let part = Part::Narrow(caveats.to_vec());
    part.check()?;
    let block = part.block(read.parts.len());
    finished(&read.biscuit.append(block).map_err(|e| unreadable(&e))?)
}

/// Passes a token on to another key, narrowed if wanted. Only its holder can.
///
/// # Errors
/// As [`attenuate`], and [`Error::NotTheHolder`].
pub fn delegate(
    token: &[u8],
    owner: &PublicKey,
    holder: &SecretKey,
    to: PublicKey,
    caveats: &[Caveat],
) -> Result<Vec<u8>, Error> {
    let read = read(token, owner, MAX_BYTES, MAX_PARTS).map_err(|e| Error::Token { why: e.to_string() })?;
    let expected = read.view(*owner).holder;
    if expected != holder.public() {
        return Err(Error::NotTheHolder { got: holder.public(), holder: expected });
    }
    let part = Part::Delegate { to, caveats: caveats.to_vec() };
    part.check()?;
    let next = KeyPair::new();
    let longer = append(&read.biscuit, &part, read.parts.len(), &holder.biscuit(), next);
    finished(&longer.map_err(|e| unreadable(&e))?)
}

/// What a token of `owner` allows, without asking whether it is valid now, or who carries it.
///
/// # Errors
/// The [`Refusal`]s that concern the token alone.
pub fn inspect(token: &[u8], owner: &PublicKey) -> Result<View, Refusal> {
    Ok(read(token, owner, MAX_BYTES, MAX_PARTS)?.view(*owner))
}

/// A token whose signatures hold and whose blocks are exactly what their records generate.
pub(crate) struct Read {
    pub(crate) biscuit: Biscuit,
    pub(crate) parts: Vec<Part>,
    pub(crate) grant: Grant,
}

impl Read {
    pub(crate) fn view(&self, owner: PublicKey) -> View {
        let ids = self.biscuit.revocation_identifiers();
        View::of(owner, &self.grant, &self.parts, ids.iter().map(|id| RevocationId::of(id)).collect())
    }
}

/// Reads and checks a token. The signatures come first: nothing of an unsigned token is interpreted.
pub(crate) fn read(
    bytes: &[u8],
    owner: &PublicKey,
    max_bytes: usize,
    max_parts: usize,
) -> Result<Read, Refusal> {
    if bytes.len() > max_bytes {
        return Err(Refusal::TooLarge { got: bytes.len(), limit: max_bytes });
    }
    let biscuit = signed_by(bytes, owner)?;
    let count = biscuit.block_count() - 1;
    if count > max_parts {
        return Err(Refusal::TooDeep { what: "parts after the grant", got: count, limit: max_parts });
    }
    if biscuit.to_vec().ok().as_deref() != Some(bytes) {
        return Err(malformed("the same token encodes to other bytes"));
    }
    let parts = records(&biscuit)?;
    let Some(Part::Grant(grant)) = parts.first().cloned() else {
        return Err(malformed("it does not begin with a grant"));
    };
    if data(&biscuit) != data(&rebuilt(&parts).map_err(|e| malformed(&e.to_string()))?) {
        return Err(malformed("its Datalog is not what its records say"));
    }
    delegators(&biscuit, &grant, &parts)?;
    Ok(Read { biscuit, parts, grant })
}

fn signed_by(bytes: &[u8], owner: &PublicKey) -> Result<Biscuit, Refusal> {
    let unknown = || Refusal::UnknownKey { owner: *owner };
    let root = owner.biscuit().ok_or_else(unknown)?;
    let choose = |hint: Option<u32>| {
        if hint == Some(owner.hint()) { Ok(root) } else { Err(Format::UnknownPublicKey) }
    };
    Biscuit::from(bytes, choose).map_err(|error| match error {
        Token::Format(Format::UnknownPublicKey) => unknown(),
        Token::Format(Format::Signature(why)) => Refusal::Tampered { why: why.to_string() },
        Token::Format(Format::SealedSignature) => Refusal::Tampered { why: "its seal does not hold".into() },
        other => malformed(&detail(&other)),
    })
}

fn records(biscuit: &Biscuit) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::with_capacity(biscuit.block_count());
    for (index, context) in biscuit.context().into_iter().enumerate() {
        let text = context.ok_or_else(|| malformed(&format!("part {index} has no record")))?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|e| malformed(&format!("part {index}: {e}")))?;
        let part: Part =
            canonical::decode(&bytes, MAX_BYTES).map_err(|e| malformed(&format!("part {index}: {e}")))?;
        if (index == 0) != matches!(part, Part::Grant(_)) {
            return Err(malformed("the first part, and only that, is the owner's grant"));
        }
        part.check().map_err(|e| malformed(&format!("part {index}: {e}")))?;
        parts.push(part);
    }
    Ok(parts)
}

/// The token that `parts` generate, signed by a key that means nothing: only its blocks' contents count.
fn rebuilt(parts: &[Part]) -> Result<Biscuit, Token> {
    let mut biscuit = None;
    for (index, part) in parts.iter().enumerate() {
        biscuit = Some(match biscuit {
            None => BiscuitBuilder::new().merge(part.block(index)).build_with_key_pair(
                &scratch(),
                SymbolTable::new(),
                &scratch(),
            )?,
            Some(shorter) => append(&shorter, part, index, &scratch().private(), scratch())?,
        });
    }
    biscuit.ok_or(Token::InternalError)
}

fn append(
    biscuit: &Biscuit,
    part: &Part,
    index: usize,
    holder: &PrivateKey,
    next: KeyPair,
) -> Result<Biscuit, Token> {
    let block = part.block(index);
    if !matches!(part, Part::Delegate { .. }) {
        return biscuit.append_with_keypair(&next, block);
    }
    let signed = biscuit.third_party_request()?.create_block(holder, block)?;
    biscuit.append_third_party_with_keypair(holder.public(), signed, next)
}

/// Every delegation must be signed by the key that held the capability until then, and nothing else by anyone.
fn delegators(biscuit: &Biscuit, grant: &Grant, parts: &[Part]) -> Result<(), Refusal> {
    let mut holder = grant.holder;
    let mut delegations = 0;
    for (part, signer) in parts.iter().zip(biscuit.external_public_keys()) {
        match (part, signer) {
            (Part::Delegate { to, .. }, signer) => {
                delegations += 1;
                if signer.is_none() || signer != holder.biscuit() {
                    return Err(Refusal::WrongDelegator { index: delegations, holder });
                }
                holder = *to;
            }
            (_, None) => {}
            (_, Some(_)) => {
                return Err(malformed("a part that passes nothing on has a third party's signature"));
            }
        }
    }
    Ok(())
}

fn data(biscuit: &Biscuit) -> Vec<Vec<u8>> {
    let proto = biscuit.container().to_proto();
    std::iter::once(proto.authority.block).chain(proto.blocks.into_iter().map(|block| block.block)).collect()
}

fn scratch() -> KeyPair {
    let key = PrivateKey::from_bytes(&[1; 32], Algorithm::Ed25519).expect("any 32 bytes are an Ed25519 seed");
    KeyPair::from(&key)
}

fn finished(token: &Biscuit) -> Result<Vec<u8>, Error> {
    let parts = token.block_count() - 1;
    if parts > MAX_PARTS {
        return Err(Error::TooMuch { what: "parts after the grant", got: parts, limit: MAX_PARTS });
    }
    let bytes = token.to_vec().map_err(|e| unreadable(&e))?;
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooMuch { what: "bytes", got: bytes.len(), limit: MAX_BYTES });
    }
    Ok(bytes)
}

fn unreadable(error: &Token) -> Error {
    Error::Token { why: detail(error) }
}

/// The library's error with the cause that its `Display` leaves out, cut to a line.
fn detail(error: &Token) -> String {
    format!("{error:?}").chars().take(160).collect()
}

fn malformed(why: &str) -> Refusal {
    Refusal::Malformed { why: why.to_owned() }
}
