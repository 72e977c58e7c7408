//! A supervisor on its own, for tests and for hosts without `alephd`: `aleph-vm-supervisor --spec FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let spec = match (args.next(), args.next(), args.next()) {
        (Some(flag), Some(file), None) if flag == "--spec" => PathBuf::from(file),
        _ => {
            eprintln!("usage: aleph-vm-supervisor --spec FILE");
            return ExitCode::from(2);
        }
    };
    match aleph_vm::supervisor::run(&spec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
