//! End-to-end tests, one file a behaviour: the real program, real servers on loopback, real files.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod api;
mod audit; // samples: what they are, how they map, a draft of the route
mod bad_input;
mod cases; // what is wrong with files, names, folders and servers ends in a clear message, and nothing is lost
mod check; // every cause that stops a connection, told apart at its stage
mod config; // every mistake at once, with its place; what is not built yet says so; secrets stay hidden
mod crash; // kill -9 at every recorded fact, then start again
mod data; // real exports of ../shared/data, every field against an independent reading
mod examples; // config/ and the demo work as they stand
mod fan_out; // several destinations of one route
mod faults; // the fault matrix, one test a row
mod formats; // every format there and back, grouping, order, parts, compression, corrected rejects
mod ftp; // vsftpd, plain and with TLS session reuse
mod fuzz; // foreign bytes: files, configurations, journals, servers
mod housekeeping; // archive.keep, archive.compress, history.keep
mod http; // nginx with WebDAV, and a server that is cut
mod lookups; // code tables
mod nested; // types, order and groups of what stands inside records
mod operators; // retry, replay, pause, errors folder, beside a relay and without one
mod others; // ProFTPD and Apache, with their defaults
mod relay; // intake, order, archive, errors of local routes
mod remote; // sources on servers
mod samba; // A on Windows, through a share of the relay's host
mod servers;
mod sftp; // OpenSSH
mod sync; // record-level synchronisation, from outside and as a model
mod tidy; // the rules of the house, as a test
mod torture; // stop, fail or cut at every numbered point, then start again
mod transform; // the author's workbench
mod world;
