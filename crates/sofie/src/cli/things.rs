//! `sofie platform`, `sofie mapping` and `sofie thing`.

use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use sofie_node::api::PlatformKind;

#[derive(Debug, Subcommand)]
pub(crate) enum PlatformVerb {
    /// Join a platform by introspection
    ///
    /// Example: sofie platform add --owner locker-co coap://127.0.0.1:5683 --allow lock
    #[command(verbatim_doc_comment)]
    Add {
        /// coap://HOST:PORT, mqtt://HOST:PORT or http://HOST:PORT[/PATH]; http is a WoT servient without --kind onem2m
        url: String,
        /// The party who owns it
        #[arg(long)]
        owner: String,
        /// Its protocol; without it, the one that the address's scheme means
        #[arg(long, value_parser = PossibleValuesParser::new(PlatformKind::ALL.map(PlatformKind::as_str)).try_map(|word| word.parse::<PlatformKind>()))]
        kind: Option<PlatformKind>,
        /// An action that the owner allows others to ask for; may be repeated
        #[arg(long)]
        allow: Vec<String>,
        /// A property that may be written through this node; may be repeated
        #[arg(long, value_name = "PROPERTY")]
        allow_write: Vec<String>,
        /// As whom a oneM2M CSE knows this node, such as Cmonitor: needed for kind onem2m, and for no other
        #[arg(long, value_name = "AE-ID")]
        originator: Option<String>,
        /// Show what is found, with where it comes from and what cannot be mapped, and register nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Look at a joined platform again, and show what it tells otherwise than when it was joined; exit 1 where it does
    ///
    /// Nothing is taken over. An MQTT topic that stays silent meanwhile shows as missing.
    ///
    /// Example: sofie platform probe locker-co-1
    #[command(verbatim_doc_comment)]
    Probe {
        /// Its id
        id: String,
    },
    /// List the joined platforms
    ///
    /// Example: sofie platform ls -o json
    #[command(verbatim_doc_comment)]
    Ls,
    /// Show one platform
    ///
    /// Example: sofie platform show locker-co-1
    #[command(verbatim_doc_comment)]
    Show {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MappingVerb {
    /// Read each sample, write back what can be written, and say what differs
    ///
    /// Example: sofie mapping test door.toml -o json
    #[command(verbatim_doc_comment)]
    Test {
        /// TOML, or JSON where the name ends in .json
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ThingVerb {
    /// List the things in the directory
    ///
    /// With a query, whole things that it selects are listed, and everything else that it does is printed as JSON.
    ///
    /// Example: sofie thing ls --query '$[?@.title == "Lamp"]'
    #[command(verbatim_doc_comment)]
    #[allow(rustdoc::broken_intra_doc_links, reason = "a query is no link")]
    Ls {
        /// A JSONPath query (RFC 9535) over the list of all Thing Descriptions
        #[arg(long, value_name = "JSONPATH")]
        query: Option<String>,
    },
    /// Print a Thing Description
    ///
    /// Example: sofie thing show urn:uuid:0804d572-cce8-422a-bb7c-4412fcd56f06
    #[command(verbatim_doc_comment)]
    Show {
        /// Its id
        id: String,
    },
    /// Read a property: the newest reading that its platform sent, or the device's answer now
    ///
    /// Example: sofie thing read urn:uuid:0804d572-cce8-422a-bb7c-4412fcd56f06 level --fresh
    #[command(verbatim_doc_comment)]
    Read {
        /// The thing's id
        id: String,
        /// The property's name
        property: String,
        /// Ask the device now
        #[arg(long)]
        fresh: bool,
    },
    /// Write a property, in the name of its thing's owner
    ///
    /// Exit code 0 says that the device took the value. Decimal numbers go as they are written: no digit is lost.
    ///
    /// Example: sofie thing write urn:uuid:0804d572-cce8-422a-bb7c-4412fcd56f06 level 21.5 --unit Cel
    #[command(verbatim_doc_comment)]
    Write {
        /// The thing's id
        id: String,
        /// The property's name
        property: String,
        /// true, false, a number or a text; a text that looks like one of the others in quotes: '"42"'
        #[arg(allow_negative_numbers = true)]
        value: String,
        /// In which unit (UCUM); without it, in the property's own
        #[arg(long)]
        unit: Option<String>,
        /// Your own name for this request: sent again, it is not written again
        #[arg(long)]
        key: Option<String>,
    },
    /// Check Thing Descriptions against TD 1.1; needs no node
    ///
    /// Example: sofie thing check lamp.td.json lock.td.json
    #[command(verbatim_doc_comment)]
    Check {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}
