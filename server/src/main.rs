//! The `metergate` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    metergate::faults::arm();
    metergate::cli::main()
}
