//! The order of things in the guest.

mod app;
mod channel;
mod devices;
mod identity;
mod proxy;
mod relay;
mod root;
mod zip;

use std::time::Duration;

use aleph_guest::protocol::{Configuration, FromGuest, SetupStep, ToGuest, VERSION};

use channel::Channel;

/// A step that failed, for the host.
#[derive(Debug)]
pub(crate) struct SetupError {
    step: SetupStep,
    reason: String,
}

impl SetupError {
    pub(crate) fn new(step: SetupStep, what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self { step, reason: format!("{what}: {error}") }
    }
}

/// Runs the guest; never returns.
pub(crate) fn run() {
    if let Err(error) = devices::early_mounts() {
        eprintln!("aleph-guest: {}", error.reason);
        power_off();
    }
    let opened = devices::load_modules().and_then(|()| devices::channel());
    let mut channel = match opened {
        Ok(port) => Channel::new(port),
        Err(error) => {
            // without the channel the console is the only way to say it
            eprintln!("aleph-guest: no channel to the host: {}", error.reason);
            power_off();
        }
    };
    if let Err(error) = serve(&mut channel) {
        eprintln!("aleph-guest: channel: {error}");
    }
    app::kill_everything(Duration::ZERO);
    root::unmount_volumes();
    power_off();
}

fn serve(channel: &mut Channel) -> std::io::Result<()> {
    channel.say(&FromGuest::Hello { version: VERSION })?;
    let configuration = loop {
        match channel.wait_message()? {
            ToGuest::Configure(configuration) => break configuration,
            ToGuest::Shutdown { .. } => return goodbye(channel),
            ToGuest::Resume(_) => {}
        }
    };
    match set_up(&configuration) {
        Ok(app) => {
            channel.say(&FromGuest::Started)?;
            relay::Relay::new(channel, app, &configuration)?.run()
        }
        Err(error) => {
            eprintln!("aleph-guest: {}", error.reason);
            channel.say(&FromGuest::SetupFailed { step: error.step, reason: error.reason })?;
            loop {
                if let ToGuest::Shutdown { .. } = channel.wait_message()? {
                    return goodbye(channel);
                }
            }
        }
    }
}

pub(crate) fn goodbye(channel: &mut Channel) -> std::io::Result<()> {
    root::unmount_volumes();
    channel.say(&FromGuest::Bye)
}

fn set_up(configuration: &Configuration) -> Result<app::App, SetupError> {
    identity::apply(&configuration.hostname, configuration.time_ms, &configuration.entropy)
        .map_err(|e| SetupError::new(SetupStep::Devices, "host name, time and entropy", e))?;
    devices::loopback_up().map_err(|e| SetupError::new(SetupStep::Devices, "loopback interface", e))?;
    root::enter(&configuration.root)?;
    root::write_names(&configuration.hostname);
    for mount in &configuration.mounts {
        root::mount_volume(mount)?;
    }
    for archive in &configuration.archives {
        root::unpack(archive)?;
    }
    app::App::start(&configuration.app)
}

fn power_off() -> ! {
    rustix::fs::sync();
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    // only reached when this isn't the first process, as in a test by hand
    std::process::exit(1);
}
