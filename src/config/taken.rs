//! Which names of its folder a source takes.

use std::path::Path;

use globset::GlobSet;

use super::SourceConfig;
use crate::naming;

/// The names that a source takes. Each is relative to it.
#[derive(Clone, Debug)]
pub struct Names {
    /// Names that are taken.
    pub include: GlobSet,
    /// Names that `include` gives outright, without a wildcard.
    pub outright: Vec<String>,
    /// Names that are not taken.
    pub exclude: GlobSet,
}

impl Names {
    /// Whether `include` gives this name outright.
    pub fn outright(&self, relative: &[u8]) -> bool {
        let last = relative.rsplit(|b| *b == b'/').next().unwrap_or(relative);
        self.outright.iter().any(|o| o.as_bytes() == last || o.as_bytes() == relative)
    }
    /// Whether `include` takes it.
    pub fn included(&self, relative: &[u8]) -> bool {
        self.outright(relative) || matches(&self.include, relative)
    }
    /// Whether `exclude` leaves it out.
    pub fn excluded(&self, relative: &[u8]) -> bool {
        matches(&self.exclude, relative)
    }
    /// Whether it is taken: `include` does, and `exclude` does not.
    pub fn wants(&self, relative: &[u8]) -> bool {
        self.included(relative) && !self.excluded(relative)
    }
}

impl SourceConfig {
    /// Whether a file of this name is taken.
    pub fn wants(&self, relative: &[u8]) -> bool {
        self.names.wants(relative)
    }
    /// Whether rejects in a file of this name, which `include` does not take, may be those of another route of the folder: the
    /// file that they are of is one of that route's.
    pub fn leaves_to_others(&self, relative: &[u8]) -> bool {
        let of = naming::uncorrected(relative);
        // An earlier file of that name may have got its job's number before it.
        let (folder, last) = of.split_at(of.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1));
        let bare = crate::job::parse_numbered(last).map(|(_, name)| [folder, name].concat());
        let wanted_by = |names: &Names| [Some(of), bare.as_deref()].into_iter().flatten().any(|name| names.wants(name));
        !wanted_by(&self.names) && self.beside.iter().any(wanted_by)
    }
}

/// By its path, or by its name alone.
fn matches(set: &GlobSet, relative: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let last = relative.rsplit(|b| *b == b'/').next().unwrap_or(relative);
    [last, relative].iter().any(|name| set.is_match(Path::new(std::ffi::OsStr::from_bytes(name))))
}
