use super::*;
use crate::plan::*;

fn plan() -> VmPlan {
    VmPlan {
        id: VmId::new("p").unwrap(),
        boot: BootImages { kernel: "/k".into(), initramfs: "/i".into() },
        runtime: "/r".into(),
        code: Code { path: "/c".into(), encoding: CodeEncoding::Zip },
        kind: VmKind::Asgi { entrypoint: "main:app".into() },
        data: None,
        volumes: Vec::new(),
        vcpus: 1,
        memory_mib: 128,
        environment: Default::default(),
        hostname: None,
        network: NetworkPolicy::default(),
        limits: Limits::default(),
        hypervisor: HypervisorSettings::default(),
        templates: Some(TemplateStore { dir: "/t".into(), max_bytes: 1 }),
    }
}

#[test]
fn machines_that_write_have_no_template() {
    let mut plan = plan();
    assert!(store(&plan).is_ok());
    plan.volumes.push(Volume { mount: "/a".into(), source: VolumeSource::Immutable { path: "/v".into() } });
    assert!(store(&plan).is_ok());
    plan.volumes.push(Volume { mount: "/b".into(), source: VolumeSource::Ephemeral { size_mib: 1 } });
    assert_eq!(store(&plan).unwrap_err(), NoTemplate::WritableVolume { mount: "/b".into() });
    plan.volumes.clear();
    plan.kind = VmKind::Executable { command: "x".into(), args: Vec::new() };
    assert_eq!(store(&plan).unwrap_err(), NoTemplate::NotResumable);
    plan.environment.insert(RESUMABLE.into(), "1".into());
    assert!(store(&plan).is_ok());
    plan.templates = None;
    assert_eq!(store(&plan).unwrap_err(), NoTemplate::NoStore);
}

#[test]
fn the_key_follows_all_that_shapes_a_machine_and_nothing_else() {
    let base = key(&plan(), &[], &[]);
    let changed = |change: &dyn Fn(&mut VmPlan)| {
        let mut plan = plan();
        change(&mut plan);
        key(&plan, &[], &[])
    };
    assert_eq!(base, changed(&|p| p.id = VmId::new("other").unwrap()));
    assert_eq!(base, changed(&|p| p.limits.request_ms = 1));
    assert_eq!(base, changed(&|p| p.hostname = Some("x".into())));
    assert_ne!(base, changed(&|p| p.vcpus = 2));
    assert_ne!(base, changed(&|p| p.memory_mib = 256));
    assert_ne!(
        base,
        changed(&|p| {
            p.environment.insert("A".into(), "B".into());
        })
    );
    assert_ne!(base, changed(&|p| p.kind = VmKind::Asgi { entrypoint: "main:other".into() }));
    assert_ne!(base, changed(&|p| p.network.internet = true));
    assert_ne!(base, key(&plan(), &["kvm".into()], &[]));
    assert_ne!(base, key(&plan(), &[], &[("/c".into(), 1, 2, 3, 4)]));
}

#[test]
fn one_makes_others_wait_and_the_least_used_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = TemplateStore { dir: dir.path().join("store"), max_bytes: 150_000 };
    let make = |key: &str| {
        let slot = Slot::new(&store, key.to_owned());
        let Found::Make(making) = slot.find().unwrap() else { panic!("not ours to make") };
        assert!(matches!(slot.find().unwrap(), Found::Busy));
        fs::write(making.ram(), vec![1; 100_000]).unwrap();
        making.state().unwrap();
        making.keep().unwrap();
        assert!(matches!(slot.find().unwrap(), Found::Ready));
        slot
    };
    let old = make("old");
    std::thread::sleep(std::time::Duration::from_millis(20));
    let new = make("new");
    new.make_room();
    assert!(matches!(new.find().unwrap(), Found::Ready));
    assert!(matches!(old.find().unwrap(), Found::Make(_)));
    // what was not kept leaves nothing behind
    assert!(!store.dir.join("old.part").exists());
}

#[test]
fn templates_of_an_earlier_start_of_the_host_and_half_made_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = TemplateStore { dir: dir.path().to_owned(), max_bytes: 1 << 30 };
    let old = of_generation(&store, "11111111-aaaa");
    fs::create_dir_all(old.dir.join("key")).unwrap();
    let new = of_generation(&store, "22222222-bbbb");
    assert!(!old.dir.exists());
    let slot = Slot::new(&new, "key".to_owned());
    let Found::Make(making) = slot.find().unwrap() else { panic!("not ours to make") };
    making.reserve(1 << 20).unwrap();
    fs::create_dir(new.dir.join("left.part")).unwrap();
    slot.make_room();
    assert!(!new.dir.join("left.part").exists(), "nobody makes it");
    assert!(making.ram().exists(), "somebody makes it");
    drop(making);
    assert!(!new.dir.join("key.part").exists());
}
