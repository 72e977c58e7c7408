//! Network namespaces and the devices in them, by `ip`.

use std::net::Ipv4Addr;
use std::process::Command;

use crate::{WeatherError, tun};

/// Names of our namespaces and devices begin so; the process's id follows.
const PREFIX: &str = "alw";

/// Whether weather can be made on this machine.
///
/// # Errors
/// What is missing, in words.
pub fn possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".to_owned());
    }
    ip(&["-V"]).map_err(|_| "`ip` is missing: install iproute2".to_owned())?;
    let names = Names::of_this_process();
    let file = tun::open(&names.device(99)).map_err(|error| {
        format!(
            "{error} ({}): is the module `tun` there?",
            std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
        )
    })?;
    drop(file);
    let namespace = Namespace::new(&names.namespace(99)).map_err(|error| error.to_string())?;
    drop(namespace);
    Ok(())
}

/// How things of this process are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    process: u32,
}

impl Names {
    pub(crate) fn of_this_process() -> Self {
        Self { process: std::process::id() }
    }

    pub(crate) fn namespace(self, number: usize) -> String {
        format!("{PREFIX}{}-{number}", self.process)
    }

    /// At most 15 letters.
    pub(crate) fn device(self, number: usize) -> String {
        format!("{PREFIX}{}n{number}", self.process)
    }
}

/// A namespace; it is removed with the value, the processes in it keep it until they end.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self, WeatherError> {
        ip(&["netns", "add", name])?;
        Ok(Self { name: name.to_owned() })
    }

    /// Moves a device in and gives it an address; `/24` is everybody.
    pub(crate) fn take(&self, device: &str, address: Ipv4Addr) -> Result<(), WeatherError> {
        ip(&["link", "set", device, "netns", &self.name])?;
        ip(&["-n", &self.name, "link", "set", "lo", "up"])?;
        ip(&["-n", &self.name, "address", "add", &format!("{address}/24"), "dev", device])?;
        ip(&["-n", &self.name, "link", "set", device, "up"])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A namespace that stays costs nothing, and the next start removes it.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// Gives a device in this process's namespace an address.
pub(crate) fn set_up_here(device: &str, address: Ipv4Addr) -> Result<(), WeatherError> {
    ip(&["address", "add", &format!("{address}/24"), "dev", device])?;
    ip(&["link", "set", device, "up"])
}

/// Removes namespaces of processes that were killed.
pub(crate) fn sweep() -> Result<(), WeatherError> {
    let listed = output(&["netns", "list"])?;
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        let Some((process, _)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        let Ok(process) = process.parse::<u32>() else { continue };
        if !std::path::Path::new(&format!("/proc/{process}")).is_dir() {
            ip(&["netns", "delete", name])?;
        }
    }
    Ok(())
}

fn ip(args: &[&str]) -> Result<(), WeatherError> {
    output(args).map(drop)
}

fn output(args: &[&str]) -> Result<String, WeatherError> {
    let command = || format!("ip {}", args.join(" "));
    let output = Command::new("ip").args(args).output().map_err(WeatherError::system(command()))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(WeatherError::Command { command: command(), told });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
