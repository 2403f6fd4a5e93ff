//! What can be done with a thing: a WoT operation (TD 1.1, section 5.3.4.2, "op") on a named affordance.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::Error;

/// The WoT operations that are worth a grant. To read a property is another right than to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `readproperty`.
    ReadProperty,
    /// `writeproperty`.
    WriteProperty,
    /// `observeproperty`.
    ObserveProperty,
    /// `invokeaction`.
    InvokeAction,
    /// `subscribeevent`.
    SubscribeEvent,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ReadProperty,
        Self::WriteProperty,
        Self::ObserveProperty,
        Self::InvokeAction,
        Self::SubscribeEvent,
    ];

    /// The word that TD 1.1 uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadProperty => "readproperty",
            Self::WriteProperty => "writeproperty",
            Self::ObserveProperty => "observeproperty",
            Self::InvokeAction => "invokeaction",
            Self::SubscribeEvent => "subscribeevent",
        }
    }
}

/// An operation on an affordance: `invokeaction:open` in text.
///
/// ```
/// use sofie_access::Affordance;
/// assert_eq!(Affordance::action("open")?.to_string(), "invokeaction:open");
/// assert!(Affordance::action("a\"b").is_err());
/// # Ok::<(), sofie_access::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Affordance {
    op: Op,
    name: String,
}

/// The longest name of an affordance that can be granted, in bytes.
pub const MAX_NAME: usize = 128;

impl Affordance {
    /// An operation on the affordance `name`.
    ///
    /// # Errors
    /// [`Error::Name`] when the name is empty, longer than [`MAX_NAME`], or holds a quote, a backslash or a control
    /// character: a token prints such names, and what is printed must not read as something else.
    pub fn new(op: Op, name: &str) -> Result<Self, Error> {
        if (1..=MAX_NAME).contains(&name.len()) && is_plain(name) {
            Ok(Self { op, name: name.to_owned() })
        } else {
            Err(Error::Name { what: "affordance", got: name.chars().take(80).collect() })
        }
    }

    /// To invoke the action `name`.
    ///
    /// # Errors
    /// As [`Affordance::new`].
    pub fn action(name: &str) -> Result<Self, Error> {
        Self::new(Op::InvokeAction, name)
    }

    /// The operation.
    #[must_use]
    pub const fn op(&self) -> Op {
        self.op
    }

    /// The affordance's name in the Thing Description.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Neither quotes, backslashes nor control characters.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || c == '"' || c == '\\')
}

impl fmt::Display for Affordance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.op.as_str(), self.name)
    }
}

impl FromStr for Affordance {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::Name { what: "affordance", got: text.chars().take(80).collect() };
        let (op, name) = text.split_once(':').ok_or_else(refused)?;
        let op = Op::ALL.into_iter().find(|known| known.as_str() == op).ok_or_else(refused)?;
        Self::new(op, name)
    }
}

impl<C> Encode<C> for Affordance {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.to_string())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Affordance {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.str()?.parse().map_err(decode::Error::custom)
    }
}

impl serde::Serialize for Affordance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Affordance {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
