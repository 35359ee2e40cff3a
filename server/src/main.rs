//! The `metergate` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    metergate::cli::main()
}
