//! Starts the command, prints what went wrong, ends with the contract's exit status.

fn main() -> std::process::ExitCode {
    // It looks for the system's certificates and sets variables of the environment: before any thread starts.
    curl::init();
    passerelle::cli::main()
}
