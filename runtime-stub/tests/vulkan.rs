//! Bundles on a Vulkan device, real or in software: the toy's answers are exact, and what is wrong is said.
//!
//! Without a device the tests that need one print how to get one and pass.

mod gpu_toy;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use gpu_toy::{Toy, ids};
use slmc_runtime_stub::abi::{Extent, device_feature, list, region};
use slmc_runtime_stub::device::{Device, Settings};
use slmc_runtime_stub::fault::{Code, Fault};
use slmc_runtime_stub::generate::{End, Generated, Generation, generate};
use slmc_runtime_stub::model::{Model, OpenOptions};
use slmc_runtime_stub::platform::vulkan::cache::{Compiled, HEAD_BYTES};
use slmc_runtime_stub::platform::vulkan::physical::{Description, Kind};
use slmc_runtime_stub::platform::vulkan::{self, Vulkan, needs};
use slmc_runtime_stub::sample::Sampling;
use slmc_runtime_stub::session::{Logits, Session};
use slmc_runtime_stub::verify::{Trust, Wish};

static GO: AtomicBool = AtomicBool::new(false);

/// False, with words, if there is no device to test on.
fn device_is_there() -> bool {
    match vulkan::devices(None, |_| {}) {
        Ok(()) => true,
        Err(fault) => {
            println!("skipped: {}; apt-get install mesa-vulkan-drivers libvulkan1 gives a device in software", gpu_toy::text(&fault));
            false
        }
    }
}

fn vulkan<'a>(model: &'a Model<'_>) -> &'a Vulkan {
    let Device::Vulkan(vulkan) = model.device() else { panic!("the toy is for Vulkan") };
    vulkan
}

#[track_caller]
fn open<T>(toy: &Toy, settings: Settings<'_>, test: impl FnOnce(&Model<'_>) -> T) -> T {
    toy.open(OpenOptions { settings, ..OpenOptions::default() }, test).unwrap_or_else(|fault| panic!("{}", gpu_toy::text(&fault)))
}

fn session<'m>(model: &'m Model<'m>) -> Session<'m> {
    Session::open(model).unwrap_or_else(|fault| panic!("{}", gpu_toy::text(&fault)))
}

/// Every way to drive a device that gives other commands.
fn ways() -> [Settings<'static>; 5] {
    let plain = Settings::default();
    [
        plain,
        Settings { direct: false, ..plain },
        Settings { piece_bytes: 1024, ..plain },
        Settings { piece_bytes: 1536, direct: false, batch: 3, ..plain },
        Settings { batch: 1, ..plain },
    ]
}

#[track_caller]
fn refused<T>(outcome: Result<T, Fault>, code: Code, words: &[&str]) {
    let Err(fault) = outcome else { panic!("must be refused: {words:?}") };
    let message = gpu_toy::text(&fault);
    assert_eq!(fault.code, code, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in {message:?}");
    }
}

#[test]
fn chunks_of_any_size_give_equal_logits_however_the_device_is_driven() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    let ids = ids(61);
    let expected: Vec<f32> = (1..=ids.len()).flat_map(|n| toy.expected_logits(&ids[..n])).collect();
    for (way, settings) in ways().into_iter().enumerate() {
        open(&toy, settings, |model| {
            for chunk in [1, 2, 7, 15, 0] {
                let mut session = session(model);
                session.set_chunk(chunk).expect("in range");
                let mut all = vec![0.0; expected.len()];
                session.eval(&ids, Logits::All(&mut all), &GO).expect("fits");
                assert!(all == expected, "way {way}, chunk {chunk}");
                assert_eq!(session.logits().expect("left"), toy.expected_logits(&ids));

                session.reset();
                session.eval(&ids[..40], Logits::None, &GO).expect("fits");
                session.eval(&ids[40..], Logits::Last, &GO).expect("fits");
                assert_eq!(session.logits().expect("asked"), toy.expected_logits(&ids));
                assert_eq!(session.tokens(), ids);
            }
        });
    }
}

#[test]
fn the_device_picks_the_greedy_token_and_keeps_the_logits() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    for settings in ways() {
        open(&toy, settings, |model| {
            let mut session = session(model);
            let prompt = ids(20);
            session.eval(&prompt, Logits::Pick, &GO).expect("fits");
            assert_eq!(session.sample(&Sampling::GREEDY), Ok(toy.expected_answer(&prompt, 1)[0]));
            // Fetched only now.
            assert_eq!(session.logits().expect("on the device"), toy.expected_logits(&prompt));
            assert_eq!(session.sample(&Sampling::GREEDY), Ok(toy.expected_answer(&prompt, 1)[0]));
            session.eval(&[3], Logits::Pick, &GO).expect("fits");
            let hot = Sampling { temperature: 1.0, seed: 5, ..Sampling::GREEDY };
            let drawn = session.sample(&hot).expect("fetched");
            session.rewind(20).expect("behind");
            session.eval(&[3], Logits::Last, &GO).expect("fits");
            assert_eq!(session.sample(&hot), Ok(drawn), "the same logits as without a pick");
        });
    }
}

fn answer(session: &mut Session<'_>, prompt: &[u32], max_tokens: u32) -> Result<(Vec<u32>, Generated), Fault> {
    let how = Generation { sampling: Sampling::GREEDY, max_tokens, ignore_eos: false, show_special: false, stops: &[] };
    let (mut tokens, mut done) = (Vec::new(), Generated::NONE);
    generate(
        session,
        prompt,
        &how,
        &GO,
        &mut |id, _| {
            tokens.push(id);
            true
        },
        &mut done,
    )
    .map(|()| (tokens, done))
}

#[test]
fn greedy_answers_are_those_of_the_definition() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    for settings in ways() {
        open(&toy, settings, |model| {
            let mut session = session(model);
            let (tokens, done) = answer(&mut session, &ids(20), 30).expect("fits");
            assert_eq!(tokens, toy.expected_answer(&ids(20), 30));
            assert_eq!((done.end, done.tokens), (End::Limit, 30));
        });
    }
}

#[test]
fn sessions_on_several_threads_do_not_disturb_each_other() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    open(&toy, Settings { batch: 2, ..Settings::default() }, |model| {
        std::thread::scope(|scope| {
            for n in 1..5 {
                let toy = &toy;
                scope.spawn(move || {
                    for _ in 0..3 {
                        let mut session = session(model);
                        session.eval(&ids(n * 12), Logits::Last, &GO).expect("fits");
                        assert_eq!(session.logits().expect("asked"), toy.expected_logits(&ids(n * 12)));
                        let (tokens, _) = answer(&mut session, &ids(n * 12), 4).expect("fits");
                        assert_eq!(tokens, toy.expected_answer(&ids(n * 12), 4));
                    }
                });
            }
        });
    });
}

#[test]
fn weights_and_caches_are_split_between_bindings() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    let buffers = |piece_bytes| open(&toy, Settings { piece_bytes, ..Settings::default() }, |model| vulkan(model).weight_buffers());
    assert_eq!(buffers(1 << 30), 1);
    assert_eq!(buffers(4096), 2, "4096 lies in no binding");
    assert_eq!(buffers(3200), 3, "3200 lies in the low bias, which begins at 3072");
    assert_eq!(buffers(1024), 8);
    let options = OpenOptions { settings: Settings { piece_bytes: 512, ..Settings::default() }, ..OpenOptions::default() };
    refused(toy.open(options, |_| {}), Code::Device, &["maxMemoryAllocationSize", "one binding", "expected 1024, found 512"]);
}

#[test]
fn a_measured_step_names_each_kernel_and_gives_the_same_logits() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    for settings in ways() {
        open(&toy, settings, |model| {
            let mut session = session(model);
            session.eval(&ids(20), Logits::None, &GO).expect("fits");
            let mut kernels = Vec::new();
            session.profile(&ids(21)[20..], &mut |kernel, ns| kernels.push((kernel, ns))).unwrap_or_else(|fault| panic!("{}", gpu_toy::text(&fault)));
            let order: Vec<u32> = kernels.iter().map(|(kernel, _)| *kernel).collect();
            assert_eq!(order, [0, 1, 2, 3, 4, 4, 6]);
            let total: u64 = kernels.iter().map(|(_, ns)| ns).sum();
            assert!(total > 0 && total < 10_000_000_000, "{kernels:?}");
            assert_eq!(session.logits().expect("computed"), toy.expected_logits(&ids(21)));
            assert_eq!(session.position(), 21);
            let fault = session.profile(&ids(17), &mut |_, _| {}).expect_err("too many");
            assert_eq!(fault.code, Code::Argument);
            session.eval(&[1], Logits::Last, &GO).expect("goes on");
        });
    }
}

fn first_device() -> Description {
    let mut first = None;
    vulkan::devices(None, |device| first = first.or(Some(*device))).expect("looked for before");
    first.expect("one at least")
}

#[test]
fn devices_are_described() {
    if !device_is_there() {
        return;
    }
    let mut kinds = Vec::new();
    vulkan::devices(None, |device| {
        let name = std::ffi::CStr::from_bytes_until_nul(&device.name).expect("ends").to_str().expect("UTF-8");
        println!("{name}: {device:?}");
        assert!(!name.is_empty() && device.memory_bytes > 0);
        if device.unusable.is_none() {
            assert!(device.api_version >= [1, 1, 0] && device.limits.lanes >= 128 && device.limits.shared_bytes >= 16 << 10);
            assert!(device.limits.binding_bytes >= 1 << 27 && device.limits.allocation_bytes >= 1 << 30);
        }
        kinds.push(device.kind);
    })
    .expect("looked for before");
    let hardware = kinds.iter().rposition(|kind| matches!(kind, Kind::Discrete | Kind::Integrated));
    let software = kinds.iter().position(|kind| *kind == Kind::Cpu);
    assert!(hardware.is_none() || software.is_none() || hardware < software, "{kinds:?}");
    open(&Toy::new(), Settings::default(), |model| {
        assert_eq!(model.device().name(), first_device().name);
        assert_eq!(vulkan(model).description().device_id, first_device().device_id);
    });
}

#[test]
fn a_number_beyond_the_last_device_is_refused() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    let numbered = |device| toy.open(OpenOptions { device, ..OpenOptions::default() }, |_| {});
    assert!(numbered(1).is_ok());
    refused(numbered(200), Code::Device, &["device: number is too high", "found 199", "slmc devices"]);
}

#[test]
fn every_lack_is_named_with_need_and_find() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::with(|parts| parts.header.device_features = device_feature::F16 | device_feature::SUBGROUP);
    let bundle = toy.bundle().expect("opens");
    let plan = bundle.plan();
    let lacking = |change: fn(&mut Description)| {
        let mut device = first_device();
        device.features = device_feature::F16 | device_feature::SUBGROUP | device_feature::INT_DOT;
        change(&mut device);
        needs::check(&plan, &device)
    };
    assert_eq!(lacking(|_| {}), Ok(()));
    refused(lacking(|d| d.features = device_feature::SUBGROUP), Code::Device, &["lacks features", "expected subgroups,f16, found subgroups"]);
    refused(lacking(|d| d.features = 0), Code::Device, &["found none"]);
    refused(lacking(|d| d.limits.lanes = 63), Code::Device, &["maxComputeWorkGroupInvocations", "expected 64, found 63"]);
    refused(lacking(|d| d.limits.shared_bytes = 511), Code::Device, &["maxComputeSharedMemorySize", "expected 512, found 511"]);
    refused(lacking(|d| d.limits.storage_buffers = 3), Code::Device, &["maxPerStageDescriptorStorageBuffers", "expected 4, found 3"]);
    refused(lacking(|d| d.limits.binding_bytes = 4096), Code::Device, &["maxStorageBufferRange", "expected 8192, found 4096"]);
    refused(lacking(|d| d.limits.allocation_bytes = 9000), Code::Device, &["maxMemoryAllocationSize", "expected 9472, found 9000"]);
    refused(lacking(|d| d.limits.push_constant_bytes = 8), Code::Device, &["maxPushConstantsSize", "expected 16, found 8"]);
    refused(lacking(|d| d.limits.workgroups[1] = 7), Code::Device, &["maxComputeWorkGroupCount", "expected 8, found 7"]);
    refused(lacking(|d| d.limits.offset_align = 512), Code::Device, &["minStorageBufferOffsetAlignment", "expected 256, found 512"]);
    refused(lacking(|d| d.unusable = Some(Fault::new(Code::Device, "device", "is too old"))), Code::Device, &["too old"]);
}

#[test]
fn bindings_and_caches_too_large_for_the_device_are_refused() {
    if !device_is_there() {
        return;
    }
    let limit = first_device().limits.binding_bytes;
    if limit < u64::from(u32::MAX) {
        let toy = Toy::with(|parts| {
            parts.header.arena_bytes += limit + 256;
            let at = parts.lists[list::ARGMAX][0].first_binding as usize;
            parts.bindings[at].len = limit + 256;
            parts.bindings[at].offset = 9472;
        });
        refused(toy.open(OpenOptions::default(), |_| {}), Code::Device, &["maxStorageBufferRange", &format!("found {limit}")]);
    }
    let toy = Toy::with(|parts| parts.header.arena_bytes = 1 << 46);
    refused(toy.open(OpenOptions::default(), |_| {}), Code::Device, &["maxMemoryAllocationSize", "70368744177664"]);
    let toy = Toy::with(|parts| parts.header.kv_bytes = 1 << 46);
    let outcome = toy.open(OpenOptions::default(), |model| Session::open(model).map(|_| ())).expect("the model opens");
    refused(outcome, Code::Memory, &["VK_ERROR_OUT_OF_DEVICE_MEMORY", "70368744177664", "--ctx"]);
}

#[test]
fn without_a_loader_the_message_says_what_to_install() {
    let settings = Settings { library: Some(c"libno-such-vulkan.so"), ..Settings::default() };
    let outcome = Toy::new().open(OpenOptions { settings, ..OpenOptions::default() }, |_| {});
    refused(outcome, Code::Device, &["Vulkan loader", "cannot be loaded", "mesa-vulkan-drivers"]);
    refused(vulkan::devices(Some(c"libno-such-vulkan.so"), |_| {}), Code::Device, &["cannot be loaded"]);
    // A library, but no loader.
    refused(vulkan::devices(Some(c"libpthread.so.0"), |_| {}), Code::Device, &["has no vkGetInstanceProcAddr"]);
}

#[test]
#[ignore = "run by the next test in a process whose loader finds no driver"]
fn no_driver() {
    refused(vulkan::devices(None, |_| {}), Code::Device, &["Vulkan: has no", "mesa-vulkan-drivers"]);
}

#[test]
fn without_a_driver_the_message_says_what_to_install() {
    if !device_is_there() {
        return;
    }
    let status = Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", "no_driver"])
        .env("VK_DRIVER_FILES", "/no/such/driver.json")
        .env("VK_ICD_FILENAMES", "/no/such/driver.json")
        .output()
        .expect("runs");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    assert!(String::from_utf8_lossy(&status.stdout).contains("1 passed"));
}

#[test]
fn a_flipped_byte_of_the_shaders_is_noticed_and_stamps_cover_them() {
    let toy = Toy::new();
    let cache = tempfile::tempdir().expect("a folder");
    let dir = CString::new(cache.path().to_str().expect("UTF-8")).expect("no zero bytes");
    let path = toy.path("kernels.spv");
    let trust = || toy.open(OpenOptions { wish: Wish { cache_dir: Some(&dir), ..Wish::default() }, ..OpenOptions::default() }, |model| model.trust());
    if device_is_there() {
        assert_eq!(trust(), Ok(Trust::Stamped));
        assert_eq!(trust(), Ok(Trust::Known));
    }
    // Longer than the step of the clock that stamps files.
    std::thread::sleep(Duration::from_millis(20));
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).expect("writable");
    refused(trust(), Code::Corrupt, &["kernels.spv", "number 0", "SHA-256"]);
}

#[test]
fn a_module_that_is_none_is_refused_before_the_driver_sees_it() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::with(|parts| {
        let at = parts.shaders[2].offset as usize;
        parts.spirv[at] ^= 1;
    });
    refused(toy.open(OpenOptions::default(), |_| {}), Code::Format, &["kernels.spv", "no SPIR-V", "number 2"]);
}

/// The file of compiled shaders in a cache folder.
fn cache_file(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).expect("listable").map(|entry| entry.expect("readable").path());
    let mut found = files.filter(|path| path.extension().is_some_and(|end| end == "pipelines"));
    let file = found.next().expect("a file");
    assert!(found.next().is_none(), "one file");
    file
}

#[test]
fn compiled_shaders_are_kept_and_a_wrong_file_is_replaced() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    let cache = tempfile::tempdir().expect("a folder");
    let dir = CString::new(cache.path().to_str().expect("UTF-8")).expect("no zero bytes");
    let compiled = |toy: &Toy| {
        let options = OpenOptions { wish: Wish { cache_dir: Some(&dir), ..Wish::default() }, ..OpenOptions::default() };
        toy.open(options, |model| {
            let mut session = session(model);
            session.eval(&ids(9), Logits::Last, &GO).expect("fits");
            assert_eq!(session.logits().expect("asked"), toy.expected_logits(&ids(9)));
            vulkan(model).compiled()
        })
    };
    assert_eq!(toy.open(OpenOptions::default(), |model| vulkan(model).compiled()), Ok(Compiled::NotWritten), "no folder");
    assert_eq!(compiled(&toy), Ok(Compiled::Written));
    let file = cache_file(cache.path());
    let good = std::fs::read(&file).expect("readable");
    assert_eq!(compiled(&toy), Ok(Compiled::Cached));
    assert_eq!(std::fs::read(&file).expect("readable"), good, "left as it was");

    let reseal = |bytes: &mut Vec<u8>| {
        use sha2::Digest as _;
        bytes.truncate(bytes.len() - 32);
        let seal = sha2::Sha256::digest(&*bytes);
        bytes.extend_from_slice(&seal);
    };
    let mut wrong: Vec<(&str, Vec<u8>)> = [0, 1, 79, 111, 112, good.len() - 1].map(|len| ("cut short", good[..len].to_vec())).into();
    for at in [0, 9, 40, 56, HEAD_BYTES, good.len() - 33, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        wrong.push(("a flipped bit", bytes));
    }
    for (what, at) in
        [("another version", 7), ("another plan", 20), ("another vendor", 40), ("another device", 44), ("another driver", 48), ("another UUID", 60)]
    {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        reseal(&mut bytes);
        wrong.push((what, bytes));
    }
    let mut longer = good.clone();
    longer.extend([0; 8]);
    reseal(&mut longer);
    wrong.push(("another length", longer));
    for (what, bytes) in wrong {
        std::fs::write(&file, bytes).expect("writable");
        assert_eq!(compiled(&toy), Ok(Compiled::Written), "{what}");
        assert_eq!(compiled(&toy), Ok(Compiled::Cached), "{what}");
    }
    // Bytes that the driver itself does not take, properly sealed.
    let mut strange = good.clone();
    strange[HEAD_BYTES..HEAD_BYTES + 32].fill(0x5a);
    reseal(&mut strange);
    std::fs::write(&file, strange).expect("writable");
    compiled(&toy).expect("the driver starts anew");
    assert_eq!(std::fs::read_dir(cache.path()).expect("listable").count(), 2, "one stamp, one file, no leftovers");
}

#[test]
fn a_dispatch_without_workgroups_still_orders_its_neighbours() {
    if !device_is_there() {
        return;
    }
    // Behind the two sums stands a dispatch that has nothing to do, and beside it the one that adds them.
    let toy = Toy::with(|parts| {
        for list in [list::DECODE, list::CHUNK] {
            let mut idle = parts.lists[list][0];
            idle.grid[0] = Extent { a: 0, b: 0, c: 0, d: 1, max: 1 };
            idle.first_binding = parts.bindings.len() as u32;
            let bindings = [0, 1, 2, 3].map(|i| parts.bindings[parts.lists[list][0].first_binding as usize + i]);
            parts.bindings.extend(bindings);
            parts.lists[list].insert(3, idle);
            parts.lists[list][4].flags = slmc_runtime_stub::abi::dispatch_flag::BESIDE;
        }
    });
    for settings in ways() {
        open(&toy, settings, |model| {
            let mut session = session(model);
            session.eval(&ids(33), Logits::Last, &GO).expect("fits");
            assert_eq!(session.logits().expect("asked"), toy.expected_logits(&ids(33)));
        });
    }
}

#[test]
fn a_device_that_does_not_finish_is_an_error_in_time_and_used_no_more() {
    if !device_is_there() {
        return;
    }
    if first_device().kind != Kind::Cpu {
        println!("skipped: a GPU is too fast for this test; VK_DRIVER_FILES can name a driver in software");
        return;
    }
    // Once the cache holds 8 tokens, a step works for seconds: in many workgroups, as Mesa ends a loop after 65535 turns.
    const LONG: &str = "
struct Step { t: u32, p: u32, row: u32, reserved: u32 }
var<immediate> step: Step;
@group(0) @binding(0) var<storage, read_write> sum: array<u32>;
@compute @workgroup_size(1) fn k7_long(@builtin(workgroup_id) at: vec3<u32>) {
    if step.p < 8u { return; }
    var x = at.x;
    for (var i = 0u; i < 60000u; i++) { x = (x ^ (x << 13u)) + i; x = x ^ (x >> 7u); }
    sum[at.x % 64u] = x;
}";
    let toy = Toy::with(|parts| {
        parts.header.arena_bytes += 256;
        parts.add_module("k7_long", "w", 1, 0, &gpu_toy::spirv(LONG));
        let place = (region::ARENA, parts.header.arena_bytes - 256, 256);
        parts.add(list::DECODE, 7, &[place], 0, [Extent::fixed(30_000), Extent::fixed(1)]);
    });
    let settings = Settings { wait_ns: 200_000_000, ..Settings::default() };
    let start = Instant::now();
    let outcome = toy.open(OpenOptions { settings, ..OpenOptions::default() }, |model| {
        let mut session = session(model);
        session.set_chunk(1).expect("in range");
        session.eval(&ids(8), Logits::Last, &GO)?;
        let late = session.eval(&ids(2), Logits::Last, &GO);
        refused(late, Code::Device, &["did not finish in time", "200"]);
        assert_eq!(session.position(), 8, "the step that failed does not count");
        assert_eq!(session.tokens(), ids(8));
        refused(session.eval(&[1], Logits::Last, &GO), Code::Device, &["failed before", "open the model again"]);
        refused(Session::open(model), Code::Device, &["failed before"]);
        Ok::<(), Fault>(())
    });
    assert_eq!(outcome, Ok(Ok(())));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
