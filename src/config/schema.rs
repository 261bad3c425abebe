//! Every key of the configuration, in one place. Validation, defaults, `config schema` and the reference come from here.

use crate::formats::text::TYPES;
use crate::options::{Kind, Opt, Side};

const fn opt(name: &'static str, kind: Kind, default: Option<&'static str>, doc: &'static str) -> Opt {
    Opt { name, kind, default, doc }
}

/// The top of the file.
pub static ROOT: &[Opt] = &[
    opt("home", Kind::Path, None, "Journal, archive, errors and work; default $STATE_DIRECTORY under systemd, else \"relay\"."),
    opt("journal", Kind::Text, Some("\"sqlite\""), "\"sqlite\", in home; or \"postgres://…\": several nodes, one journal."),
    opt("jobs", Kind::Integer(1), Some("8"), "Files in flight at once, all routes together."),
    opt("max_memory", Kind::Size, Some("\"256MiB\""), "What `unique`, lookups and the like may hold."),
    opt("web", Kind::Table(WEB), None, "The operator's page."),
    opt("archive", Kind::Table(ARCHIVE), None, "What was delivered."),
    opt("history", Kind::Table(HISTORY), None, "Finished jobs in the journal."),
    opt("alerts", Kind::Table(ALERTS), None, "Who is told when something needs a person."),
    opt("endpoints", Kind::Tables(ENDPOINT), None, "The servers."),
    opt("lookups", Kind::Tables(LOOKUP), None, "Code tables."),
    opt("routes", Kind::Tables(ROUTE), None, "The exchanges."),
];

static WEB: &[Opt] = &[
    opt("listen", Kind::Text, Some("\"127.0.0.1:8480\""), "Where the page listens."),
    opt("token", Kind::Secret, None, "Needed as soon as listen is not loopback."),
];
static ARCHIVE: &[Opt] = &[
    opt("keep", Kind::Duration, None, "How long originals are kept; default: for ever."),
    opt("compress", Kind::Choice(&["none", "zstd"]), Some("\"none\""), "How they are stored."),
    opt("mode", Kind::Mode, Some("\"0640\""), "Permissions of archived and errors files; their folders get the matching ones."),
];
static HISTORY: &[Opt] = &[opt("keep", Kind::Duration, Some("\"1y\""), "How long finished jobs are kept in the journal.")];
static ALERTS: &[Opt] = &[opt("webhook", Kind::Secret, None, "Where alerts are posted."), opt("mail", Kind::Table(MAIL), None, "Where alerts are mailed.")];
static MAIL: &[Opt] = &[
    opt("smtp", Kind::Secret, None, "The mail server."),
    opt("from", Kind::Text, None, "The sender."),
    opt("to", Kind::OneOrMoreTexts, None, "The receivers."),
];

static ENDPOINT: &[Opt] = &[
    opt("url", Kind::Text, None, "scheme://user@host:port/path; schemes sftp, ftp, ftps, http, https."),
    opt("password", Kind::Secret, None, "The password; best as \"${env:…}\" or \"${file:…}\"."),
    opt("identity_file", Kind::Path, None, "The private key."),
    opt("passphrase", Kind::Secret, None, "The key's passphrase."),
    opt("agent", Kind::Flag, Some("false"), "Use the keys of the SSH agent."),
    opt("known_hosts", Kind::Path, None, "Known host keys; default ~/.ssh/known_hosts. An unknown or changed key is refused."),
    opt("connections", Kind::Integer(1), Some("4"), "Connections at once."),
    opt("connect_timeout", Kind::Duration, Some("\"10s\""), "How long a connection may take."),
    opt("timeout", Kind::Duration, Some("\"60s\""), "How long no byte may move."),
    opt("limit_rate", Kind::Size, None, "Bytes a second; default: none."),
    opt("keepalive", Kind::Duration, Some("\"30s\""), "How often an idle connection is kept alive."),
    opt("filename_encoding", Kind::Encoding, Some("\"utf-8\""), "What the server's names are written in."),
    opt("tls", Kind::Choice(&["explicit", "implicit"]), Some("\"explicit\""), "ftps: explicit, or implicit on port 990."),
    opt("ca_file", Kind::Path, None, "Certificate authorities; default: the system's. Verification is never off."),
    opt("passive", Kind::Flag, Some("true"), "ftp: false is active mode."),
    opt("method", Kind::Choice(&["PUT", "POST", "multipart"]), Some("\"PUT\""), "http: how a file is sent; POST where publish is records."),
    opt("field", Kind::Text, Some("\"file\""), "http multipart: the form field."),
    opt("publish", Kind::Choice(&["direct", "move", "records"]), Some("\"direct\""), "http: direct; move (WebDAV); records: each record as one JSON request."),
    opt("auth", Kind::Choice(&["basic", "digest"]), Some("\"basic\""), "http: how user and password are proved."),
    opt("batch", Kind::Integer(1), None, "http records: so many records a request, as a list; default: each by itself, as an object."),
    opt("headers", Kind::SecretMap, None, "http: headers of each request."),
    opt("client_cert", Kind::Path, None, "https, ftps: the client's certificate (PEM)."),
    opt("client_key", Kind::Path, None, "https, ftps: the key of the client's certificate (PEM)."),
];

static LOOKUP: &[Opt] = &[
    opt("file", Kind::Path, None, "The table; {name}, {stem}, {path} are those of the file in hand."),
    opt("key", Kind::OneOrMoreTexts, None, "The column, or columns, by which records are found."),
    opt("value", Kind::Text, None, "The column of a plain lookup('table')."),
    opt("duplicates", Kind::Choice(&["first", "error"]), Some("\"first\""), "What a second record with the same key does."),
    opt("values", Kind::TextMap, None, "The table itself, instead of a file."),
    opt("", Kind::FormatKeys(Side::Input), None, "Every key of `input`."),
];

static ROUTE: &[Opt] = &[
    opt("schedule", Kind::Text, None, "Cron, local time; absent: as soon as a file is ready."),
    opt("every", Kind::Duration, None, "A look at the start and so often, instead of a schedule."),
    opt("where", Kind::Expression, None, "Records for which this is false are skipped and counted."),
    opt("rejects", Kind::Choice(&["divert", "fail"]), Some("\"divert\""), "fail: one bad record fails the file."),
    opt("max_rejects", Kind::Share, None, "More than that, and the file fails; a number or \"5%\"."),
    opt("on_error", Kind::Choice(&["continue", "halt"]), Some("\"continue\""), "halt: later files wait behind a failed one."),
    opt("source", Kind::Table(SOURCE), None, "Where A leaves its exports."),
    opt("input", Kind::FormatKeys(Side::Input), None, "How A writes."),
    opt("let", Kind::Expressions, None, "Names for expressions."),
    opt("check", Kind::Expressions, None, "Controls; a record for which one is false is rejected under its name."),
    opt("map", Kind::Expressions, None, "Targets in B's order; absent: every column as it is."),
    opt("output", Kind::FormatKeys(Side::Output), None, "How B reads."),
    opt("destination", Kind::OneOrMoreTables(DESTINATION), None, "B's import folder; more than one: fan-out."),
    opt("retry", Kind::Table(RETRY), None, "How a delivery is tried again."),
    opt("expect", Kind::Table(EXPECT), None, "Silence is an alert."),
    opt("sync", Kind::Table(SYNC), None, "Record-level synchronisation."),
];

pub(super) static SOURCE: &[Opt] = &[
    opt("endpoint", Kind::Text, None, "A remote source; absent: a local folder."),
    opt("path", Kind::Text, None, "The folder."),
    opt("include", Kind::OneOrMoreTexts, Some("[\"*\"]"), "Globs of names that are taken."),
    opt("exclude", Kind::OneOrMoreTexts, None, "Globs of names that are not."),
    opt("recursive", Kind::Flag, Some("false"), "Take subfolders too; the relative folder is kept everywhere."),
    opt("settle", Kind::Duration, Some("\"2s\""), "Ready when size and time are unchanged this long; 30 s on network shares."),
    opt("done_file", Kind::Text, None, "Ready when this file exists, as in \"{name}.done\"."),
    opt("checksum_file", Kind::Text, None, "Ready when this file exists, taken only when it matches."),
    opt("min_size", Kind::Size, None, "Smaller files wait."),
    opt("empty", Kind::Choice(&["skip", "send", "fail"]), Some("\"skip\""), "What becomes of files without a byte."),
    opt("watch", Kind::Choice(&["auto", "poll"]), Some("\"auto\""), "Native events and a rescan, or the rescan alone."),
    opt("poll_interval", Kind::Duration, Some("\"30s\""), "The rescan."),
    opt("sort", Kind::Choice(&["modified", "name"]), Some("\"modified\""), "The order in which files are published."),
    opt("max_files", Kind::Integer(1), None, "Taken at most in one look."),
    opt("on_success", Kind::Choice(&["archive", "delete", "keep", "move"]), Some("\"archive\""), "What becomes of the original."),
    opt("move_to", Kind::Text, None, "Where on_success = \"move\" moves."),
    opt("duplicates", Kind::Choice(&["relay", "skip"]), Some("\"relay\""), "skip: a name and content relayed before is not relayed again."),
    opt("before", Kind::Command, None, "A's own export function, run before each scheduled look."),
    opt("create", Kind::Flag, Some("false"), "Make the folder if it is missing."),
];

static DESTINATION: &[Opt] = &[
    opt("endpoint", Kind::Text, None, "The server; absent: a local folder."),
    opt("path", Kind::Text, None, "The folder."),
    opt("if_exists", Kind::Choice(&["wait", "replace", "rename", "fail"]), None, "The final name is still there; default wait, HTTP direct: replace."),
    opt("temp_name", Kind::Text, Some("\".{name}.{id}.part\""), "The name while it is written."),
    opt("temp_path", Kind::Text, None, "Another folder of the same file system to write in."),
    opt("verify", Kind::Choice(&["size", "hash", "none"]), Some("\"size\""), "How the temporary file is verified."),
    opt("mode", Kind::Mode, None, "Permissions of the published file; default: 0666 less the umask."),
    opt("done_file", Kind::Text, None, "Written after the file is published, as in \"{name}.ok\"."),
    opt("confirm", Kind::Duration, None, "Warn when B has not taken the file after this long."),
    opt("after", Kind::Command, None, "B's own import function, an argument list."),
    opt("after_remote", Kind::Command, None, "The same at the server, over SSH; every argument is quoted."),
    opt("create", Kind::Flag, Some("false"), "Make the folder if it is missing."),
];

static RETRY: &[Opt] = &[
    opt("initial_delay", Kind::Duration, Some("\"1s\""), "Before the second attempt."),
    opt("multiplier", Kind::Integer(1), Some("2"), "Each further delay is so many times the one before."),
    opt("max_delay", Kind::Duration, Some("\"5m\""), "At most."),
    opt("give_up", Kind::Duration, Some("\"14d\""), "Then the file goes to errors."),
];
static EXPECT: &[Opt] = &[
    opt("files", Kind::Integer(1), Some("1"), "At least so many."),
    opt("every", Kind::Duration, None, "In any such span."),
    opt("by", Kind::Text, None, "Or by this time."),
    opt("days", Kind::Text, None, "On these days."),
];
static SYNC: &[Opt] = &[
    opt("group", Kind::Text, None, "Routes with the same group share one memory: the two directions of an exchange. Default: the route's name."),
    opt("key", Kind::OneOrMoreTexts, None, "The target columns that tell records apart; the opposite route reads them under the same names."),
    opt("send", Kind::Choice(&["changes", "all"]), Some("\"changes\""), "Added and modified records only, or all."),
    opt("full", Kind::Flag, Some("true"), "Each export holds all records."),
    opt("deletes", Kind::Choice(&["ignore", "send"]), Some("\"ignore\""), "What becomes of records missing from a full export."),
    opt("max_deletes", Kind::Share, Some("\"20%\""), "More than that, and the job is held."),
    opt("conflict", Kind::Text, Some("\"park\""), "Both sides changed: park, source, target, newest:COLUMN."),
];

/// The keys that `input` has for every format.
pub static INPUT: &[Opt] = &[
    opt("format", Kind::Text, Some("\"raw\""), "csv, fixed, json, ndjson, xml, xlsx, dbf, edifact, raw."),
    opt("encoding", Kind::Encoding, Some("\"utf-8\""), "How the text is written; a byte order mark wins."),
    opt("decimal", Kind::Char, Some("\".\""), "The decimal sign."),
    opt("thousands", Kind::CharOrNone, None, "The sign between groups of three digits."),
    opt("dates", Kind::Pattern, None, "How dates are written; default ISO."),
    opt("datetimes", Kind::Pattern, None, "How dates with time are written; default ISO."),
    opt("bools", Kind::Bools, None, "The texts for true and false."),
    opt("types", Kind::TypeMap, None, "The types of columns."),
    opt("each", Kind::Expression, None, "One record of each element of this list."),
    opt("group_by", Kind::OneOrMoreTexts, None, "One record of adjacent rows with equal keys."),
    opt("group_into", Kind::Text, None, "The name of the list of rows."),
];

/// The keys that `output` has for every format.
pub static OUTPUT: &[Opt] = &[
    opt("format", Kind::Text, None, "csv, fixed, json, ndjson, xml, xlsx, template; default: the input's."),
    opt("encoding", Kind::Encoding, Some("\"utf-8\""), "How the text is written; utf-8-sig puts a byte order mark first."),
    opt("encoding_errors", Kind::Choice(&["strict", "replace"]), Some("\"strict\""), "A character that the encoding lacks."),
    opt("columns", Kind::Texts, None, "B's columns and their order; targets that the map leaves out are empty."),
    opt("columns_from", Kind::Path, None, "A file whose header gives B's columns."),
    opt("decimal", Kind::Char, Some("\".\""), "The decimal sign."),
    opt("dates", Kind::Pattern, None, "How dates are written; default ISO."),
    opt("datetimes", Kind::Pattern, None, "How dates with time are written; default ISO."),
    opt("bools", Kind::Bools, None, "The texts for true and false."),
    opt("name", Kind::Text, None, "The published name; default: A's name with the format's extension."),
    opt("fields", Kind::Tables(FIELD), None, "What B demands of the targets."),
    opt("order_by", Kind::OneOrMoreTexts, None, "The order of the records."),
    opt("split", Kind::Integer(1), None, "So many records a file."),
    opt("group_by", Kind::OneOrMoreTexts, None, "One record of adjacent rows with equal keys."),
    opt("group_into", Kind::Text, None, "The name of the list of rows."),
    opt("compress", Kind::Choice(&["none", "gzip", "zstd", "zip"]), Some("\"none\""), "How the file is compressed."),
];

static FIELD: &[Opt] = &[
    opt("required", Kind::Flag, Some("false"), "It may not be empty."),
    opt("max_length", Kind::Integer(1), None, "At most so many characters."),
    opt("unique", Kind::Flag, Some("false"), "No two records have the same."),
    opt("pattern", Kind::Text, None, "A regular expression that it matches."),
    opt("one_of", Kind::Texts, None, "The values that it may have."),
];

/// Keys of the contract whose work comes later, by their path; `*` stands for a name.
pub static LATER: &[&str] = &["web", "alerts", "routes.*.expect"];

/// The names of the types.
pub static TYPE_NAMES: &[&str] = TYPES;
