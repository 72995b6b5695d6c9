//! The binary of the command line; everything is in [`sextant_manager::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    // One thread is enough to wait for one socket, and starts in less time.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(sextant_manager::cli::main(std::env::args_os())),
        Err(error) => {
            eprintln!("sextant: start the runtime of the client: {error}");
            ExitCode::FAILURE
        }
    }
}
