//! A VM outlives whoever started it, and is found again.

use std::time::Duration;

use aleph_vm::{Phase, Supervisor, VmError};

use crate::host::{command, get, host, stop};

const SCRIPT: &str = "#!/bin/sh\nmkdir /tmp/www; head -c 8 /dev/urandom | od -An -tx1 > /tmp/www/id\nexec httpd -f -p 127.0.0.1:$PORT -h /tmp/www\n";

/// Set in the process that plays the agent which dies.
const ROLE: &str = "ALEPH_VM_TEST_AGENT";

#[test]
fn a_vm_outlives_its_agent_and_is_adopted() {
    let Some(host) = host() else { return };
    let plan = host.script("survivor", "executable", SCRIPT);
    let spec = host.file("plan.json", serde_json::to_vec(&plan).unwrap());
    // the agent is this test binary, run again for `agent` below
    let mut agent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifetime::agent", "--nocapture"])
        .env(ROLE, format!("{}\n{}", spec.display(), host.vms().display()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let ready = host.dir.path().join("vms/ready");
    for _ in 0..2400 {
        if ready.exists() || agent.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(ready.exists(), "the agent did not get its VM ready");
    agent.kill().unwrap();
    agent.wait().unwrap();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let port: u16 =
            std::fs::read_to_string(host.vms().join("survivor/http.port")).unwrap().trim().parse().unwrap();
        let before = get(([127, 0, 0, 1], port).into(), "/id").await;
        assert_eq!(before.status, 200);
        let adopted = Supervisor::adopt_all(&host.vms()).await.unwrap();
        assert!(adopted.ended.is_empty() && adopted.unanswering.is_empty(), "{adopted:?}");
        let [(vm, found)] = adopted.running.as_slice() else { panic!("{adopted:?}") };
        assert_eq!((found, vm.http_addr().port()), (&plan, port));
        assert_eq!(vm.status().await.unwrap().phase, Phase::Running);
        assert_eq!(get(vm.http_addr(), "/id").await.body, before.body, "it was restarted");
        // one VM, one supervisor
        let error = Supervisor::spawn(&plan, &host.vms(), &command()).await.unwrap_err();
        assert!(matches!(error, VmError::AlreadyRunning { .. }), "{error}");

        // a stop by signal, as a host that shuts down gives
        let pid = vm.status().await.unwrap().supervisor_pid;
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(vm.wait_ended().await.unwrap().phase, Phase::Stopped);
        let adopted = Supervisor::adopt_all(&host.vms()).await.unwrap();
        let [ended] = adopted.ended.as_slice() else { panic!("{adopted:?}") };
        assert_eq!(ended.last.as_ref().unwrap().phase, Phase::Stopped);
        assert_eq!(ended.plan.as_ref(), Some(&plan));
        Supervisor::forget(ended).unwrap();
        assert!(!host.vms().join("survivor").exists());
    });
}

/// Plays the agent when it is run by the test above; does nothing otherwise.
#[test]
fn agent() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (spec, vms) = role.split_once('\n').unwrap();
    let plan = serde_json::from_slice(&std::fs::read(spec).unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let vm = Supervisor::spawn(&plan, vms.as_ref(), &command()).await.unwrap();
        vm.wait_ready().await.unwrap();
        std::fs::write(format!("{vms}/ready"), b"").unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
    });
}

#[tokio::test]
async fn a_killed_supervisor_leaves_no_machine_behind() {
    let Some(host) = host() else { return };
    let plan = host.script("orphan", "executable", SCRIPT);
    let vm = host.start(&plan).await;
    let status = vm.status().await.unwrap();
    let qemu = status.hypervisor_pid.unwrap();
    let pid = rustix::process::Pid::from_raw(status.supervisor_pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let error = loop {
        match vm.status().await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, VmError::NotRunning { .. }), "{error}");
    let adopted = Supervisor::adopt_all(&host.vms()).await.unwrap();
    assert_eq!(adopted.ended.len(), 1, "{adopted:?}");
    for _ in 0..200 {
        if !std::path::Path::new(&format!("/proc/{qemu}/exe")).exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(std::fs::read_link(format!("/proc/{qemu}/exe")).is_err(), "QEMU {qemu} lives on");
    // and the next start works
    let vm = host.start(&plan).await;
    stop(&vm).await;
}
