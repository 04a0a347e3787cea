//! The `alfred` binary: argv → verb → error and hint on stderr → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    match alfred::cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            alfred::cli::report(&failure);
            ExitCode::from(failure.kind().exit_code())
        }
    }
}
