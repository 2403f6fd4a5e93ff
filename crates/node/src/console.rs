//! The console's files, embedded in the binary: building the node needs no Node.js. `cargo xtask console build` makes
//! them. (A debug build reads them from the folder, so that they can be changed without compiling.)

use std::borrow::Cow;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "console/"]
struct Files;

/// One file.
pub(crate) struct Asset {
    /// Its content.
    pub(crate) bytes: Cow<'static, [u8]>,
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// An entity tag (RFC 9110, section 8.8.3) of its content.
    pub(crate) etag: String,
}

/// What the console's page may do in a browser: load its own files, and talk to its own node. Nothing inline.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                                 font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'";

/// The file of this path below `/console/`; the empty path is the page.
pub(crate) fn asset(path: &str) -> Option<Asset> {
    let path = if path.is_empty() { "index.html" } else { path };
    let file = Files::get(path)?;
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    Some(Asset { media_type: media_type(path), etag, bytes: file.data })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_there_and_nothing_beyond_the_folder() {
        let page = asset("").expect("index.html is committed");
        assert_eq!(page.media_type, "text/html; charset=utf-8");
        assert!(page.etag.len() == 34);
        for path in ["../Cargo.toml", "..", "/etc/passwd", "assets/../../src/lib.rs", "none.js"] {
            assert!(asset(path).is_none(), "{path}");
        }
    }

    #[test]
    fn every_file_has_a_type_and_the_page_holds_nothing_inline() {
        for path in Files::iter() {
            assert_ne!(media_type(&path), "application/octet-stream", "{path}: add its type");
        }
        let page = String::from_utf8(asset("").expect("there").bytes.into_owned()).expect("UTF-8");
        for forbidden in ["<style", " style=", " onload=", " onclick=", "<script>"] {
            assert!(!page.contains(forbidden), "{forbidden} is refused by the page's own policy");
        }
    }
}
