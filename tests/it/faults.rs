//! The fault matrix: what can go wrong at a site, one test a row, named by its number. `tests/README.md` lists the rows.
//!
//! Each asserts what the operator reads (file, step, cause, remedy) and the ledger: every original in one place, B exactly
//! what it should have.

mod crash;
mod detection;
mod disk;
mod names;
mod operators;
mod wires;
