use super::*;

fn plan() -> VmPlan {
    VmPlan {
        id: VmId::new("a1").unwrap(),
        boot: BootImages { kernel: "/k".into(), initramfs: "/i".into() },
        runtime: "/r".into(),
        code: Code { path: "/c".into(), encoding: CodeEncoding::Zip },
        kind: VmKind::Asgi { entrypoint: "main:app".into() },
        data: None,
        volumes: Vec::new(),
        vcpus: 1,
        memory_mib: 128,
        environment: BTreeMap::new(),
        hostname: None,
        network: NetworkPolicy::default(),
        limits: Limits::default(),
        hypervisor: HypervisorSettings::default(),
        templates: None,
    }
}

#[test]
fn a_plain_plan_passes_and_survives_json() {
    let plan = plan();
    plan.check().unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<VmPlan>(&text).unwrap(), plan);
}

#[test]
fn ids_never_leave_their_folder() {
    for bad in ["", "..", "a/b", "a b", "é", &"x".repeat(81)] {
        assert!(VmId::new(bad).is_err(), "{bad:?}");
        assert!(serde_json::from_value::<VmId>(serde_json::json!(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn each_bad_field_is_named() {
    let case = |change: &dyn Fn(&mut VmPlan)| {
        let mut plan = plan();
        change(&mut plan);
        plan.check().unwrap_err()
    };
    assert!(matches!(case(&|p| p.vcpus = 0), PlanError::Vcpus { .. }));
    assert!(matches!(case(&|p| p.memory_mib = 1), PlanError::Memory { .. }));
    assert!(matches!(
        case(&|p| {
            p.environment.insert("A=B".into(), "x".into());
        }),
        PlanError::Variable { .. }
    ));
    assert!(matches!(
        case(&|p| {
            p.environment.insert("A".into(), "x".repeat(MAX_ENVIRONMENT_BYTES));
        }),
        PlanError::EnvironmentTooLarge { .. }
    ));
    for entrypoint in ["main", "main:", ":app", "a-b:app", "main:app;x", "main:app:x", "../main:app"] {
        let error = case(&|p| p.kind = VmKind::Asgi { entrypoint: entrypoint.into() });
        assert!(matches!(error, PlanError::Entrypoint { .. }), "{entrypoint}");
    }
}

#[test]
fn mounts_stay_out_of_the_guests_own_places() {
    let mount = |mount: &str| {
        let mut plan = plan();
        plan.volumes.push(Volume { mount: mount.into(), source: VolumeSource::Ephemeral { size_mib: 1 } });
        plan.check()
    };
    for bad in
        ["", "data", "/", "/proc", "/proc/1", "/dev/x", "/opt/code", "/opt/code/", "/a/../proc", "/./a"]
    {
        assert!(matches!(mount(bad), Err(PlanError::Mount { .. })), "{bad:?}");
    }
    for good in ["/mnt/data", "/var/lib/example", "/opt/venv", "/data"] {
        mount(good).unwrap();
    }
}

#[test]
fn host_names_are_made_of_the_id() {
    let mut plan = plan();
    plan.id = VmId::new("A_b".to_owned() + &"c".repeat(77)).unwrap();
    assert_eq!(plan.guest_hostname().len(), 63);
    assert!(plan.guest_hostname().starts_with("a-bccc"));
}
