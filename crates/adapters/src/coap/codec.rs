//! CoAP messages (RFC 7252, sections 3 and 5), pure: bytes to typed messages and back.
//!
//! The frame is read by `coap-lite`; this module adds what the RFC demands of a reader: the version, which codes go with
//! which message types (table 1), empty messages that are empty, an end marker that a payload follows, critical options
//! that nobody knows, lengths and repetitions of options. Elective options that are not named here are ignored, as
//! section 5.4.1 allows. Block options (RFC 7959) are seen, so that the endpoint can refuse them by name.

use std::fmt;

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

/// The longest message that is read or written: section 4.6 suggests 1152, `coap-lite` stops at 1280.
pub const MAX_MESSAGE: usize = 1280;
/// The longest payload that is written (section 4.6).
pub const MAX_PAYLOAD: usize = 1024;
/// The longest token (section 3).
pub const MAX_TOKEN: usize = 8;
/// How many path segments, and how many query parts, a request may have.
pub const MAX_SEGMENTS: usize = 32;

/// Content-Format 0.
pub const TEXT: u16 = 0;
/// Content-Format 40 (RFC 6690).
pub const LINK_FORMAT: u16 = 40;
/// Content-Format 50.
pub const JSON: u16 = 50;

/// Any message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: Kind,
    /// Its Message ID.
    pub id: u16,
    /// What ties a response to its request; at most [`MAX_TOKEN`] bytes.
    pub token: Vec<u8>,
    /// What it carries.
    pub body: Body,
}

/// Message types (section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Wants an acknowledgement.
    Confirmable,
    /// Wants none.
    NonConfirmable,
    /// Says that a confirmable message arrived.
    Acknowledgement,
    /// Says that a message arrived and cannot be used.
    Reset,
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing: an acknowledgement alone, a reset, a ping.
    Empty,
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// Uri-Host.
    pub host: Option<String>,
    /// Uri-Port.
    pub port: Option<u16>,
    /// Uri-Path, a segment each.
    pub path: Vec<String>,
    /// Uri-Query, a part each.
    pub query: Vec<String>,
    /// Content-Format of the payload.
    pub content_format: Option<u16>,
    /// Accept.
    pub accept: Option<u16>,
    /// Observe (RFC 7641): 0 registers, 1 deregisters.
    pub observe: Option<u32>,
    /// The body.
    pub payload: Vec<u8>,
}

/// Methods (section 5.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Reads.
    #[default]
    Get,
    /// Has something processed.
    Post,
    /// Writes.
    Put,
    /// Deletes.
    Delete,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// How it went.
    pub code: Code,
    /// Content-Format of the payload.
    pub content_format: Option<u16>,
    /// `ETag`, 1 to 8 bytes.
    pub etag: Option<Vec<u8>>,
    /// Max-Age in seconds.
    pub max_age: Option<u32>,
    /// Observe (RFC 7641): the order of notifications.
    pub observe: Option<u32>,
    /// Block2 (RFC 7959): part of a longer answer.
    pub block: Option<Block>,
    /// The body.
    pub payload: Vec<u8>,
}

/// A Block option's value (RFC 7959, section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Which block.
    pub number: u32,
    /// More follow.
    pub more: bool,
    /// Its size is 2 to the power of this plus 4.
    pub exponent: u8,
}

/// A response code (section 5.9): class and detail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(u8);

/// Why bytes are no message, or a message cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Longer than [`MAX_MESSAGE`], or a payload longer than [`MAX_PAYLOAD`].
    #[error("{got} bytes, at most {limit} are allowed")]
    TooLong {
        /// How many came.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Not framed as section 3 says.
    #[error("not a CoAP message: {0}")]
    Frame(String),
    /// Another version than 1.
    #[error("CoAP version {0}, only 1 is known")]
    Version(u8),
    /// A code that no message, or no message of this type, may have (table 1).
    #[error("code {0} does not go with this message type")]
    CodeOfType(Code),
    /// A critical option that is unknown here, has a forbidden length, or comes twice (sections 5.4.1, 5.4.3, 5.4.5).
    #[error("critical option {0} cannot be understood")]
    CriticalOption(u16),
    /// More than [`MAX_SEGMENTS`] options of one number.
    #[error("more than {MAX_SEGMENTS} options {0}")]
    TooMany(u16),
}

impl Code {
    /// 2.04
    pub const CHANGED: Self = Self::new(2, 4);
    /// 2.05
    pub const CONTENT: Self = Self::new(2, 5);
    /// 4.04
    pub const NOT_FOUND: Self = Self::new(4, 4);

    /// From class (0 to 7) and detail (0 to 31); higher bits are cut.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Self {
        Self((class & 7) << 5 | (detail & 31))
    }

    /// 2 success, 4 the client's fault, 5 the server's.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.0 & 31)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a datagram.
///
/// # Errors
/// [`CodecError`].
pub fn decode(bytes: &[u8]) -> Result<Message, CodecError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(CodecError::TooLong { got: bytes.len(), limit: MAX_MESSAGE });
    }
    let packet = Packet::from_bytes(bytes).map_err(|e| CodecError::Frame(e.to_string()))?;
    if packet.header.get_version() != 1 {
        return Err(CodecError::Version(packet.header.get_version()));
    }
    if packet.payload.is_empty() && options_end(&packet) < bytes.len() {
        return Err(CodecError::Frame("an end marker without a payload".into()));
    }
    let kind = match packet.header.get_type() {
        MessageType::Confirmable => Kind::Confirmable,
        MessageType::NonConfirmable => Kind::NonConfirmable,
        MessageType::Acknowledgement => Kind::Acknowledgement,
        MessageType::Reset => Kind::Reset,
    };
    let code = Code(packet.header.code.into());
    let body = body(kind, code, &packet, bytes.len())?;
    Ok(Message { kind, id: packet.header.message_id, token: packet.get_token().to_vec(), body })
}

/// RFC 7252, table 1 and section 4.1.
fn body(kind: Kind, code: Code, packet: &Packet, length: usize) -> Result<Body, CodecError> {
    match (kind, code) {
        (Kind::NonConfirmable, Code(0)) => Err(CodecError::CodeOfType(code)),
        (_, Code(0)) if length == 4 => Ok(Body::Empty),
        (_, Code(0)) => Err(CodecError::Frame("an empty message with content".into())),
        (Kind::Reset, _) => Err(CodecError::CodeOfType(code)),
        (Kind::Acknowledgement, code) if !code.is_response() => Err(CodecError::CodeOfType(code)),
        (_, code) if code.is_response() => response(code, packet).map(Body::Response),
        (_, code) => match Method::from_code(code) {
            Some(method) => request(method, packet).map(Body::Request),
            None => Err(CodecError::CodeOfType(code)),
        },
    }
}

fn request(method: Method, packet: &Packet) -> Result<Request, CodecError> {
    let mut request = Request { method, payload: packet.payload.clone(), ..Request::default() };
    for (&number, values) in packet.options() {
        if values.len() > MAX_SEGMENTS {
            return Err(CodecError::TooMany(number));
        }
        let mut values = values.iter();
        let understood = match CoapOption::from(number) {
            CoapOption::UriHost => once(&mut values, |v| string(v, 1, 255)).map(|v| request.host = Some(v)),
            CoapOption::UriPort => once(&mut values, |v| uint(v, 2)).map(|v| request.port = Some(v as u16)),
            CoapOption::UriPath => {
                values.by_ref().map(|v| string(v, 0, 255)).collect::<Option<_>>().map(|v| request.path = v)
            }
            CoapOption::UriQuery => {
                values.by_ref().map(|v| string(v, 0, 255)).collect::<Option<_>>().map(|v| request.query = v)
            }
            CoapOption::ContentFormat => {
                once(&mut values, |v| uint(v, 2)).map(|v| request.content_format = Some(v as u16))
            }
            CoapOption::Accept => once(&mut values, |v| uint(v, 2)).map(|v| request.accept = Some(v as u16)),
            CoapOption::Observe => once(&mut values, |v| uint(v, 3)).map(|v| request.observe = Some(v)),
            _ => None,
        };
        critical(number, understood.is_some() && values.next().is_none())?;
    }
    Ok(request)
}

fn response(code: Code, packet: &Packet) -> Result<Response, CodecError> {
    let mut response = Response::new(code, packet.payload.clone());
    for (&number, values) in packet.options() {
        if values.len() > MAX_SEGMENTS {
            return Err(CodecError::TooMany(number));
        }
        let mut values = values.iter();
        let understood = match CoapOption::from(number) {
            CoapOption::ContentFormat => {
                once(&mut values, |v| uint(v, 2)).map(|v| response.content_format = Some(v as u16))
            }
            CoapOption::ETag => {
                let etag = |v: &[u8]| (1..=8).contains(&v.len()).then(|| v.to_vec());
                once(&mut values, etag).map(|v| response.etag = Some(v))
            }
            CoapOption::MaxAge => once(&mut values, |v| uint(v, 4)).map(|v| response.max_age = Some(v)),
            CoapOption::Observe => once(&mut values, |v| uint(v, 3)).map(|v| response.observe = Some(v)),
            CoapOption::Block2 => {
                once(&mut values, |v| uint(v, 3)).map(|v| response.block = Some(Block::from_uint(v)))
            }
            _ => None,
        };
        critical(number, understood.is_some() && values.next().is_none())?;
    }
    Ok(response)
}

/// Odd numbers are critical (section 5.4.6).
const fn critical(number: u16, understood: bool) -> Result<(), CodecError> {
    if understood || number & 1 == 0 { Ok(()) } else { Err(CodecError::CriticalOption(number)) }
}

/// Takes the first value: any further one is "not understood" by the caller (section 5.4.5).
fn once<'a, T>(
    values: &mut impl Iterator<Item = &'a Vec<u8>>,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    values.next().and_then(|value| read(value))
}

/// Section 3.2: big-endian, leading zero bytes are allowed up to the length that the option has.
fn uint(value: &[u8], most: usize) -> Option<u32> {
    (value.len() <= most).then(|| value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

fn string(value: &[u8], least: usize, most: usize) -> Option<String> {
    let fits = (least..=most).contains(&value.len());
    if fits { String::from_utf8(value.to_vec()).ok() } else { None }
}

/// Where the options of an undoubted packet end: their headers and values, as section 3.1 encodes them in one way only.
fn options_end(packet: &Packet) -> usize {
    let extra = |number: usize| match number {
        0..=12 => 0,
        13..=268 => 1,
        _ => 2,
    };
    let (mut end, mut last) = (4 + packet.get_token().len(), 0);
    for (&number, values) in packet.options() {
        for value in values {
            end += 1 + extra(usize::from(number - last)) + extra(value.len()) + value.len();
            last = number;
        }
    }
    end
}

/// Writes a message.
///
/// # Errors
/// [`CodecError::TooLong`], or [`CodecError::Frame`] for a token of more than [`MAX_TOKEN`] bytes.
pub fn encode(message: &Message) -> Result<Vec<u8>, CodecError> {
    if message.token.len() > MAX_TOKEN {
        return Err(CodecError::Frame(format!("a token of {} bytes", message.token.len())));
    }
    let mut packet = Packet::new();
    packet.header.set_version(1);
    packet.header.set_type(match message.kind {
        Kind::Confirmable => MessageType::Confirmable,
        Kind::NonConfirmable => MessageType::NonConfirmable,
        Kind::Acknowledgement => MessageType::Acknowledgement,
        Kind::Reset => MessageType::Reset,
    });
    packet.header.message_id = message.id;
    packet.set_token(message.token.clone());
    match &message.body {
        Body::Empty => packet.header.code = MessageClass::Empty,
        Body::Request(request) => write_request(&mut packet, request),
        Body::Response(response) => write_response(&mut packet, response),
    }
    if packet.payload.len() > MAX_PAYLOAD {
        return Err(CodecError::TooLong { got: packet.payload.len(), limit: MAX_PAYLOAD });
    }
    let got = options_end(&packet) + packet.payload.len() + 1;
    packet.to_bytes().map_err(|_| CodecError::TooLong { got, limit: MAX_MESSAGE })
}

fn write_request(packet: &mut Packet, request: &Request) {
    packet.header.code = MessageClass::from(request.method.code().0);
    let mut put = |option: CoapOption, value: Option<Vec<u8>>| {
        if let Some(value) = value {
            packet.add_option(option, value);
        }
    };
    put(CoapOption::UriHost, request.host.as_ref().map(|host| host.clone().into_bytes()));
    put(CoapOption::UriPort, request.port.map(|v| short(v.into())));
    for segment in &request.path {
        put(CoapOption::UriPath, Some(segment.clone().into_bytes()));
    }
    for part in &request.query {
        put(CoapOption::UriQuery, Some(part.clone().into_bytes()));
    }
    put(CoapOption::ContentFormat, request.content_format.map(|v| short(v.into())));
    put(CoapOption::Accept, request.accept.map(|v| short(v.into())));
    put(CoapOption::Observe, request.observe.map(short));
    packet.payload.clone_from(&request.payload);
}

fn write_response(packet: &mut Packet, response: &Response) {
    packet.header.code = MessageClass::from(response.code.0);
    let mut put = |option: CoapOption, value: Option<Vec<u8>>| {
        if let Some(value) = value {
            packet.add_option(option, value);
        }
    };
    put(CoapOption::ContentFormat, response.content_format.map(|v| short(v.into())));
    put(CoapOption::ETag, response.etag.clone());
    put(CoapOption::MaxAge, response.max_age.map(short));
    put(CoapOption::Observe, response.observe.map(short));
    put(CoapOption::Block2, response.block.map(|block| short(block.to_uint())));
    packet.payload.clone_from(&response.payload);
}

/// Section 3.2: as few bytes as possible.
fn short(value: u32) -> Vec<u8> {
    value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

impl Method {
    const fn code(self) -> Code {
        Code(match self {
            Self::Get => 1,
            Self::Post => 2,
            Self::Put => 3,
            Self::Delete => 4,
        })
    }

    const fn from_code(code: Code) -> Option<Self> {
        match code.0 {
            1 => Some(Self::Get),
            2 => Some(Self::Post),
            3 => Some(Self::Put),
            4 => Some(Self::Delete),
            _ => None,
        }
    }
}

impl Response {
    /// A response that has a code and a payload, and no options.
    #[must_use]
    pub const fn new(code: Code, payload: Vec<u8>) -> Self {
        Self { code, content_format: None, etag: None, max_age: None, observe: None, block: None, payload }
    }
}

impl Block {
    const fn from_uint(value: u32) -> Self {
        Self { number: value >> 4, more: value & 8 != 0, exponent: (value & 7) as u8 }
    }

    const fn to_uint(self) -> u32 {
        self.number << 4 | (self.more as u32) << 3 | (self.exponent & 7) as u32
    }

    /// The whole answer in one block.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.number == 0 && !self.more
    }
}

#[cfg(test)]
mod tests;
