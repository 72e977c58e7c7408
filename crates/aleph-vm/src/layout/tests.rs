use super::*;
use crate::plan::*;

fn plan(kind: VmKind, encoding: CodeEncoding) -> VmPlan {
    VmPlan {
        id: VmId::new("p").unwrap(),
        boot: BootImages { kernel: "/k".into(), initramfs: "/i".into() },
        runtime: "/run,time".into(),
        code: Code { path: "/c".into(), encoding },
        kind,
        data: Some("/d".into()),
        volumes: vec![
            Volume { mount: "/a".into(), source: VolumeSource::Immutable { path: "/va".into() } },
            Volume {
                mount: "/b".into(),
                source: VolumeSource::Persistent { path: "/vb".into(), size_mib: 5 },
            },
            Volume { mount: "/e".into(), source: VolumeSource::Ephemeral { size_mib: 5 } },
        ],
        vcpus: 2,
        memory_mib: 128,
        environment: [("A".to_owned(), "B".to_owned()), ("PORT".to_owned(), "9".to_owned())].into(),
        hostname: None,
        network: NetworkPolicy::default(),
        limits: Limits::default(),
        hypervisor: HypervisorSettings::default(),
        templates: None,
    }
}

fn asgi() -> VmKind {
    VmKind::Asgi { entrypoint: "pkg.main:app".into() }
}

fn now() -> Circumstances {
    Circumstances { time_ms: 1, entropy: "00".into(), code_length: 10, data_length: 20, quiesce: false }
}

#[test]
fn disks_and_mounts_agree_by_serial() {
    let plan = plan(asgi(), CodeEncoding::Squashfs);
    let disks = disks(&plan, "/vm".as_ref());
    let serials: Vec<_> = disks.iter().map(|d| (d.serial.as_str(), d.read_only)).collect();
    assert_eq!(
        serials,
        [("root", true), ("code", true), ("data", true), ("vol0", true), ("vol1", false), ("vol2", false)]
    );
    let told = configuration(&plan, &now());
    for mount in &told.mounts {
        assert!(disks.iter().any(|d| d.serial == mount.serial), "{mount:?}");
    }
    assert_eq!(told.archives.len(), 1);
    assert_eq!(told.mounts[0].mount, "/opt/code");
}

#[test]
fn plain_code_lands_where_the_entrypoint_looks() {
    let told = configuration(&plan(asgi(), CodeEncoding::Plain), &now());
    assert_eq!((told.archives[0].path.as_str(), told.archives[0].zip), ("/opt/code/pkg/main.py", false));
    let kind = VmKind::Executable { command: "server".into(), args: vec!["-v".into()] };
    let told = configuration(&plan(kind, CodeEncoding::Plain), &now());
    assert_eq!(told.archives[0].path, "/opt/code/server");
    assert_eq!(told.app.argv, ["server", "-v"]);
    assert_eq!(told.app.resume_signal, None);
}

#[test]
fn ways_out_exist_only_when_the_plan_has_them() {
    let mut plan = plan(asgi(), CodeEncoding::Zip);
    let told = configuration(&plan, &now());
    assert_eq!((told.api_port, told.proxy_port), (None, None));
    assert!(!told.app.environment.contains_key("ALEPH_API_URL"));
    assert_eq!(told.app.environment["A"], "B");
    plan.network = NetworkPolicy { internet: true, api: Some(ApiUpstream { host: "h".into(), port: 1 }) };
    let told = configuration(&plan, &now());
    assert_eq!(told.app.environment["ALEPH_API_URL"], "http://127.0.0.1:4024");
    assert_eq!(told.app.environment["HTTPS_PROXY"], "http://127.0.0.1:3128");
}

#[test]
fn a_machine_never_has_a_network_card_and_always_a_sandbox() {
    let plan = plan(asgi(), CodeEncoding::Zip);
    let disks = disks(&plan, "/vm".as_ref());
    for memory in [Memory::Plain, Memory::SharedFile("/r".into()), Memory::PrivateFile("/r".into())] {
        let args = qemu_arguments(&Launch {
            plan: &plan,
            disks: &disks,
            kvm: false,
            memory: &memory,
            run_as: Some((7, 8)),
        });
        assert!(args.contains(&"-nodefaults".to_owned()));
        assert!(
            !args.iter().any(|a| a == "-nic" || a == "-netdev" || a == "-net" || a.contains("virtio-net"))
        );
        let after = |flag: &str| &args[args.iter().position(|a| a == flag).unwrap() + 1];
        assert!(after("-sandbox").contains("spawn=deny"));
        assert_eq!(after("-runas"), "7:8");
        assert_eq!(args.contains(&"-incoming".to_owned()), matches!(memory, Memory::PrivateFile(_)));
        // JSON keeps a comma in a path from becoming an option
        assert!(args.iter().any(|a| a.contains(r#""filename":"/run,time""#)));
    }
}
