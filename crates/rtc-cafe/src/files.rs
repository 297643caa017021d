//! The landing page, the samples and the client's files, as they were when this was compiled.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

/// A file inside of the binary.
pub(crate) struct File {
    name: &'static str,
    etag: &'static str,
    content: &'static [u8],
}

mod tables {
    use super::File;
    include!(concat!(env!("OUT_DIR"), "/files.rs"));
}

pub(crate) use tables::{ADMIN, CLIENT, SAMPLES};

/// Pages load nothing from other hosts; they may connect to any signalling server.
const POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob: mediastream:; \
    connect-src 'self' ws: wss: data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'self'";
/// The page for operators needs nothing but its own files, and to ask this server; nobody may show it inside of another.
const STRICT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers with a file of the table, or says that it is not there.
pub(crate) fn respond(table: &'static [File], name: &str, headers: &HeaderMap) -> Response {
    respond_with(POLICY, table, name, headers)
}

/// The same for a page that needs nothing else.
pub(crate) fn respond_strictly(table: &'static [File], name: &str, headers: &HeaderMap) -> Response {
    respond_with(STRICT_POLICY, table, name, headers)
}

fn respond_with(policy: &'static str, table: &'static [File], name: &str, headers: &HeaderMap) -> Response {
    match table.iter().find(|file| file.name == name) {
        Some(file) => file.respond(policy, headers),
        None if table.is_empty() => {
            not_found("This was not there when the server was compiled: run `cargo xtask build`.\n")
        }
        None => not_found("There is no such file.\n"),
    }
}

pub(crate) fn not_found(text: &'static str) -> Response {
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

impl File {
    fn respond(&self, policy: &'static str, headers: &HeaderMap) -> Response {
        let kind = content_type(self.name);
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let is_known = known.flat_map(|tags| tags.split(',')).any(|tag| tag.trim() == self.etag);
        let common = [
            (header::ETAG, self.etag),
            (header::CACHE_CONTROL, "no-cache"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        let mut response = match is_known {
            true => (StatusCode::NOT_MODIFIED, common).into_response(),
            false => (common, [(header::CONTENT_TYPE, kind)], self.content).into_response(),
        };
        let headers = response.headers_mut();
        if kind.starts_with("text/html") {
            headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(policy));
        } else {
            // Pages of other sites may import the client from here.
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, header::HeaderValue::from_static("*"));
        }
        response
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "webm" => "video/webm",
        "mp4" => "video/mp4",
        "ts" | "md" | "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
