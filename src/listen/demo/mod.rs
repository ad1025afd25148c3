//! placeholder until the page lands
pub struct Asset {
    pub content_type: &'static str,
    pub body: &'static [u8],
}
pub fn asset(path: &str) -> Option<Asset> {
    (path == "/").then_some(Asset { content_type: "text/html", body: b"" })
}
