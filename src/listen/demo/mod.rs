//! The demo page: five clients and a publisher in one browser window. Served from memory, with nothing from outside.
//!
//! Its scripts and styles are files of its own origin, so that the strictest policy fits. It publishes by
//! `POST /demo/publish` and connects to `/ws`. Its people and examples belong to `config/demo.sql`.

/// Something that the page is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asset {
    /// Its media type.
    pub(super) content_type: &'static str,
    /// Its bytes.
    pub(super) body: &'static [u8],
}

/// What the page may load and reach: its own origin, and its WebSocket.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The asset at this path of the client listener: the page at `/`, and what it refers to.
pub(super) fn asset(path: &str) -> Option<Asset> {
    let (content_type, body): (_, &[u8]) = match path {
        "/" => ("text/html; charset=utf-8", include_bytes!("page.html")),
        "/demo.css" => ("text/css; charset=utf-8", include_bytes!("page.css")),
        "/demo.js" => ("text/javascript; charset=utf-8", include_bytes!("page.js")),
        "/demo.svg" => ("image/svg+xml", include_bytes!("page.svg")),
        _ => return None,
    };
    Some(Asset { content_type, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        str::from_utf8(asset(path).unwrap().body).unwrap()
    }

    #[test]
    fn whatever_the_page_refers_to_is_there() {
        let page = text("/");
        let mut found = 0;
        for attribute in ["href=\"", "src=\""] {
            for reference in page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(asset(reference).is_some(), "{reference}");
                found += 1;
            }
        }
        assert_eq!(found, 4);
    }

    #[test]
    fn the_page_fits_its_own_policy() {
        let page = text("/");
        for forbidden in ["<script>", "<style", " style=", " onclick=", "http://", "https://", "url("] {
            assert!(!page.contains(forbidden) && !text("/demo.css").contains(forbidden), "{forbidden}");
        }
        assert!(!text("/demo.js").contains("innerHTML") && !text("/demo.js").contains("http://"));
    }
}
