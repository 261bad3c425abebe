//! Which names of its folder a source takes.

use std::path::Path;

use globset::GlobSet;

use super::SourceConfig;
use crate::naming;

/// The names that a source takes.
#[derive(Clone, Debug)]
pub struct Names {
    include: GlobSet,
    outright: Vec<String>,
    exclude: GlobSet,
}

impl Names {
    fn wants(&self, relative: &[u8]) -> bool {
        (outright(&self.outright, relative) || matches(&self.include, relative)) && !matches(&self.exclude, relative)
    }
}

impl SourceConfig {
    /// Whether `include` gives this name outright, which is relative to the source.
    pub fn outright(&self, relative: &[u8]) -> bool {
        outright(&self.outright, relative)
    }
    /// Whether `include` takes it.
    pub fn included(&self, relative: &[u8]) -> bool {
        self.outright(relative) || matches(&self.include, relative)
    }
    /// Whether `exclude` leaves it out.
    pub fn excluded(&self, relative: &[u8]) -> bool {
        matches(&self.exclude, relative)
    }
    /// What it takes.
    pub(super) fn names(&self) -> Names {
        Names { include: self.include.clone(), outright: self.outright.clone(), exclude: self.exclude.clone() }
    }
    /// Whether rejects in a file of this name, which `include` does not take, may be those of another route of the folder: the
    /// file that they are of is one of that route's.
    pub fn leaves_to_others(&self, relative: &[u8]) -> bool {
        let of = naming::uncorrected(relative);
        // An earlier file of that name may have got its job's number before it.
        let (folder, last) = of.split_at(of.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1));
        let bare = crate::job::parse_numbered(last).map(|(_, name)| [folder, name].concat());
        let names = [Some(of.to_vec()), bare];
        let wants = |names_of: &dyn Fn(&[u8]) -> bool| names.iter().flatten().any(|name| names_of(name));
        !wants(&|name| self.wants(name)) && self.beside.iter().any(|other| wants(&|name| other.wants(name)))
    }
    /// Whether it is taken: `include` does, and `exclude` does not.
    pub fn wants(&self, relative: &[u8]) -> bool {
        self.included(relative) && !self.excluded(relative)
    }
}

/// Whether `include` names it without a wildcard.
fn outright(names: &[String], relative: &[u8]) -> bool {
    let last = relative.rsplit(|b| *b == b'/').next().unwrap_or(relative);
    names.iter().any(|o| o.as_bytes() == last || o.as_bytes() == relative)
}

/// By its path, or by its name alone.
fn matches(set: &GlobSet, relative: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let last = relative.rsplit(|b| *b == b'/').next().unwrap_or(relative);
    [last, relative].iter().any(|name| set.is_match(Path::new(std::ffi::OsStr::from_bytes(name))))
}
