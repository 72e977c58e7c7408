//! A compute node on its own, for tests and for hosts without `alephd`:
//! `aleph-crn-node --config FILE`. It starts its supervisors as `aleph-crn-node supervise-vm --spec FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let result = match args.as_slice() {
        [command, flag, file] if command == "supervise-vm" && flag == "--spec" => {
            aleph_vm::supervisor::run(&PathBuf::from(file)).map_err(|error| error.to_string())
        }
        [flag, file] if flag == "--config" => serve(&PathBuf::from(file)),
        _ => {
            eprintln!("usage: aleph-crn-node --config FILE");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(path: &std::path::Path) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Err("another TLS provider is installed".to_owned());
    }
    let config = aleph_crn::Config::from_file(path).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(|error| error.to_string())?;
        let stop = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            stop.cancel();
        });
        aleph_crn::run(config, shutdown).await.map_err(|error| error.to_string())
    })
}
