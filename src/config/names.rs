//! Names in a server's own encoding (`filename_encoding`).
//!
//! A name that the encoding can't write goes to no server under another one.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, shown};
use crate::formats::text::{Charset, Encoder};

/// How a server writes names.
#[derive(Clone)]
pub struct Names {
    charset: Charset,
    encoder: Encoder,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.charset.name())
    }
}

impl Names {
    /// In the encoding of that label; none for UTF-8, which needs no other.
    pub fn named(label: &str) -> Option<Self> {
        let charset = Charset::named(label).filter(|c| !c.is_utf8())?;
        Some(Self { charset, encoder: Encoder::named(label, false)? })
    }

    /// A path as it is there.
    pub fn there(&self, path: &Path) -> Result<PathBuf> {
        // A name that is no text here is sent as it is.
        let Some(text) = path.to_str() else { return Ok(path.to_owned()) };
        let mut bytes = Vec::with_capacity(text.len());
        self.encoder.encode(text, &mut bytes).map_err(|c| {
            Error::file(format!("the name {} holds {c:?}, which {} does not have", shown(path), self.charset.name()))
                .at("name")
                .hint("change output.name, as in \"{stem}.csv\", or the endpoint's filename_encoding")
        })?;
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }

    /// A name as it is here; none if it would not lead back to the same name there.
    pub fn here(&self, name: &[u8]) -> Option<Vec<u8>> {
        let (mut text, mut back) = (String::new(), Vec::new());
        let decoded = self.charset.decode_into(name, &mut text).is_none();
        (decoded && self.encoder.encode(&text, &mut back).is_ok() && back == name).then(|| text.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn names_are_written_as_the_server_reads_them_and_lead_back() {
        let names = Names::named("windows-1252").unwrap();
        assert_eq!(names.there(Path::new("dépôt/été.csv")).unwrap().as_os_str().as_bytes(), b"d\xe9p\xf4t/\xe9t\xe9.csv");
        assert_eq!(names.here(b"\xe9t\xe9.csv").unwrap(), "été.csv".as_bytes());
        assert!(names.there(Path::new("日本.csv")).unwrap_err().to_string().contains("windows-1252 does not have"));
        assert!(Names::named("utf-8").is_none());
    }
}
