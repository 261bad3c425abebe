//! Where in a route's configuration a mistake of its mapping stands.

/// Where a mistake stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An entry of `let`.
    Let(String),
    /// `where`.
    Where,
    /// An entry of `check`.
    Check(String),
    /// An entry of `map`.
    Map(String),
    /// A column of `types`.
    Types(String),
    /// A name of `output.columns`.
    Columns(String),
    /// A target of `output.fields`.
    Fields(String),
    /// `input.each`.
    Each,
    /// A target of `sync.key`.
    Key(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Let(n) => write!(f, "let.{n}"),
            Place::Where => write!(f, "where"),
            Place::Check(n) => write!(f, "check.\"{n}\""),
            Place::Map(n) => write!(f, "map.{n}"),
            Place::Types(n) => write!(f, "types.{n}"),
            Place::Columns(n) => write!(f, "output.columns: {n}"),
            Place::Fields(n) => write!(f, "output.fields.{n}"),
            Place::Each => write!(f, "input.each"),
            Place::Key(n) => write!(f, "sync.key: {n}"),
        }
    }
}
