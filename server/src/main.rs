//! The `metergate` program.

use std::process::ExitCode;

/// Requests are made on one thread and dropped on another, by the hundred thousand: a quarter of the processor's time went
/// into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    metergate::faults::arm();
    metergate::cli::main()
}
