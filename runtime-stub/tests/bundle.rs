//! Opening refuses what is not exactly the packed bundle, and says which file differs and how.

mod support;

use slmc_runtime_stub::abi::{Extent, feature, list};
use slmc_runtime_stub::bundle::Bundle;
use slmc_runtime_stub::fault::{Code, Fault};
use slmc_runtime_stub::model::{Model, OpenOptions};
use slmc_runtime_stub::plan_encode::seal;
use slmc_runtime_stub::verify::{Trust, Wish};
use support::{Toy, c_path, code, kernels, text};

fn open(toy: &Toy, wish: Wish<'_>) -> Result<Trust, Fault> {
    let bundle = toy.bundle()?;
    Model::open(&bundle, kernels(), OpenOptions { threads: 2, wish, ..OpenOptions::default() }).map(|model| model.trust())
}

fn edit(toy: &Toy, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(toy.path(name)).expect("readable");
    change(&mut bytes);
    std::fs::write(toy.path(name), bytes).expect("writable");
}

#[track_caller]
fn refused(outcome: Result<Trust, Fault>, code: Code, words: &[&str]) {
    let fault = outcome.expect_err("must be refused");
    let message = text(&fault);
    assert_eq!(fault.code, code, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in {message:?}");
    }
}

#[test]
fn an_untouched_bundle_opens_with_any_number_of_threads() {
    let toy = Toy::new(b"");
    for threads in [0, 1, 2, 5, 64] {
        toy.run(threads, |model| assert_eq!(model.trust(), Trust::Hashed));
    }
    let bundle = toy.bundle().expect("opens");
    let outcome = Model::open(&bundle, kernels(), OpenOptions { threads: 65, ..OpenOptions::default() });
    assert_eq!(outcome.err().map(|fault| fault.code), Some(Code::Argument));
}

#[test]
fn every_flipped_byte_of_the_plan_is_noticed() {
    let toy = Toy::new(b"");
    let good = std::fs::read(toy.path("plan.bin")).expect("plan");
    for at in (0..good.len()).step_by(7).chain(good.len() - 32..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(toy.path("plan.bin"), &bad).expect("writable");
        let fault = toy.bundle().err().expect("must be refused");
        assert!(matches!(fault.code, Code::Corrupt | Code::Format), "byte {at}: {}", text(&fault));
        assert!(text(&fault).starts_with("plan.bin: "), "{}", text(&fault));
    }
}

#[test]
fn a_flipped_byte_of_a_large_file_is_noticed_with_its_piece() {
    for (name, at, piece) in [
        ("weights.bin", 0, "number 0"),
        ("weights.bin", (1 << 20) - 1, "number 0"),
        ("weights.bin", 2 << 20, "number 2"),
        ("weights.bin", support::WEIGHTS - 1, "number 3"),
        ("tokenizer.bin", 5, "number 0"),
    ] {
        let toy = Toy::new(b"some tokenizer");
        edit(&toy, name, |bytes| bytes[at] ^= 1);
        refused(open(&toy, Wish::default()), Code::Corrupt, &[name, piece, "SHA-256", "expected", "found"]);
    }
}

#[test]
fn a_tokenizer_that_is_none_is_refused() {
    let toy = Toy::new(b"some tokenizer");
    refused(open(&toy, Wish::default()), Code::Format, &["tokenizer.bin", "not a compiled tokenizer"]);
}

#[test]
fn files_cut_short_or_missing_are_named_with_sizes() {
    for name in ["weights.bin", "tokenizer.bin"] {
        let toy = Toy::new(b"some tokenizer");
        edit(&toy, name, |bytes| bytes.truncate(bytes.len() - 1));
        refused(open(&toy, Wish::default()), Code::Corrupt, &[name, "size differs", "expected", "found"]);
        edit(&toy, name, |bytes| bytes.extend([0, 0]));
        refused(open(&toy, Wish::default()), Code::Corrupt, &[name, "size differs"]);
        std::fs::remove_file(toy.path(name)).expect("removable");
        refused(open(&toy, Wish::default()), Code::Io, &[name, "cannot be opened", "errno"]);
    }
    let toy = Toy::new(b"");
    let good = std::fs::read(toy.path("plan.bin")).expect("plan");
    for len in [0, 1, 100, 416, 448, good.len() - 1] {
        std::fs::write(toy.path("plan.bin"), &good[..len]).expect("writable");
        refused(open(&toy, Wish::default()), Code::Corrupt, &["plan.bin", "expected", "found"]);
    }
}

#[test]
fn code_of_another_model_or_machine_is_refused_before_a_kernel_runs() {
    let toy = Toy::new(b"");
    let dir = c_path(toy.dir.path());
    let open = |code: &_, machine| Bundle::open(&dir, code, machine).map(|_| Trust::Hashed);
    refused(open(&code(|c| c.code_id[0] ^= 1), 0), Code::Mismatch, &["code id", "0607070707070707", "0707070707070707"]);
    refused(open(&code(|c| c.kernel_count = 4), 0), Code::Mismatch, &["kernels", "expected 4, found 3"]);
    refused(open(&code(|c| c.abi_version += 1), 0), Code::Format, &["ABI version"]);
    refused(open(&code(|c| c.magic[0] = 0), 0), Code::Format, &["code"]);
    let needs = code(|c| c.features = feature::AVX2 | feature::AVX512VNNI);
    refused(open(&needs, feature::AVX2), Code::Cpu, &["expected avx2,avx512vnni", "found avx2"]);
    refused(open(&needs, 0), Code::Cpu, &["found none"]);
    assert!(open(&needs, feature::AVX2 | feature::AVX512VNNI | feature::FMA).is_ok());
    let toy = Toy::with(b"", |parts| parts.header.features = feature::I8MM);
    let outcome = Bundle::open(&c_path(toy.dir.path()), &code(|_| {}), feature::AVX2).map(|_| Trust::Hashed);
    refused(outcome, Code::Cpu, &["i8mm", "avx2"]);
}

#[test]
fn ranges_that_leave_their_place_are_refused_even_in_a_well_hashed_plan() {
    type Change = fn(&mut support::Parts);
    let changes: &[(Change, &str)] = &[
        (|p| p.bindings[0].len = 1 << 40, "binding leaves its region"),
        (|p| p.bindings[2].offset = u64::MAX, "binding leaves its region"),
        (|p| p.bindings[1].region = 3, "names no region"),
        (|p| p.lists[list::DECODE][1].kernel = 3, "names no kernel"),
        (|p| p.lists[list::HEAD_ROWS][0].binding_count = 3, "names no bindings"),
        (|p| p.lists[list::CHUNK][0].first_binding = u32::MAX, "names no bindings"),
        (|p| p.lists[list::CHUNK][0].grid[1].d = 0, "malformed grid"),
        (|p| p.lists[list::CHUNK][0].grid = [Extent::fixed(1 << 10); 3], "malformed grid"),
        (|p| p.lists[list::DECODE].clear(), "decode list is empty"),
        (|p| p.lists[list::HEAD_ONE].clear(), "head list"),
        (|p| p.header.token_ids = p.header.arena_bytes - 4, "token ids do not fit"),
        (|p| p.header.logits += 4, "logits do not fit"),
        (|p| p.header.logits += 1, "logits do not fit"),
        (|p| p.header.chunk = p.header.ctx + 1, "chunk"),
        (|p| p.header.chunk = 0, "chunk"),
        (|p| p.header.head_rows = 9, "head rows"),
        (|p| p.header.page_bytes = 3, "page size"),
        (|p| p.header.weights_bytes -= 4, "weights.bin"),
        (|p| p.kv_slots[0].positions += 1, "KV slot"),
        (|p| p.kv_slots[0].offset = 8, "KV slot"),
        (|p| p.files[0].hash_count -= 1, "file entry"),
        (|p| p.files[0].chunk_bytes = 0, "file entry"),
        (|p| p.files[1].kind = 9, "file entry"),
    ];
    for (change, words) in changes {
        let toy = Toy::with(b"", change);
        refused(open(&toy, Wish::default()), Code::Format, &["plan.bin", words, "compile the model again"]);
    }
    let toy = Toy::new(b"");
    edit(&toy, "plan.bin", |bytes| {
        // The count of the last section, the shaders.
        bytes[408 - 8..404].copy_from_slice(&u32::MAX.to_le_bytes());
        seal(bytes);
    });
    refused(open(&toy, Wish::default()), Code::Format, &["section leaves the file"]);
}

#[test]
fn a_stamp_saves_the_second_hash_and_notices_a_change() {
    let toy = Toy::new(b"");
    let cache = tempfile::tempdir().expect("a folder");
    let dir = c_path(cache.path());
    let wish = Wish { cache_dir: Some(&dir), ..Wish::default() };
    assert_eq!(open(&toy, wish), Ok(Trust::Stamped));
    assert_eq!(open(&toy, wish), Ok(Trust::Known));
    assert_eq!(open(&toy, Wish { rehash: true, ..wish }), Ok(Trust::Stamped));
    assert_eq!(std::fs::read_dir(cache.path()).expect("listable").count(), 1, "one stamp and no leftovers");

    // Longer than the step of the clock that stamps files.
    std::thread::sleep(std::time::Duration::from_millis(20));
    edit(&toy, "weights.bin", |bytes| bytes[1 << 20] ^= 1);
    refused(open(&toy, wish), Code::Corrupt, &["weights.bin", "number 1"]);
    edit(&toy, "weights.bin", |bytes| bytes[1 << 20] ^= 1);
    assert_eq!(open(&toy, wish), Ok(Trust::Stamped));

    let stamp = std::fs::read_dir(cache.path()).expect("listable").next().expect("one").expect("readable").path();
    let mut bytes = std::fs::read(&stamp).expect("stamp");
    bytes[50] ^= 1;
    std::fs::write(&stamp, &bytes).expect("writable");
    assert_eq!(open(&toy, wish), Ok(Trust::Stamped), "a damaged stamp means hashing");
    std::fs::write(&stamp, &bytes[..10]).expect("writable");
    assert_eq!(open(&toy, wish), Ok(Trust::Stamped), "a cut stamp means hashing");
}

#[test]
fn without_a_usable_cache_folder_hashing_is_paid_or_refused() {
    let toy = Toy::new(b"");
    let missing = c_path(&toy.path("no/such/folder"));
    assert_eq!(open(&toy, Wish { cache_dir: Some(&missing), ..Wish::default() }), Ok(Trust::NotStamped));
    assert_eq!(open(&toy, Wish::default()), Ok(Trust::Hashed));
    let wish = Wish { refuse_uncached: true, ..Wish::default() };
    refused(open(&toy, wish), Code::Unverified, &["cache_dir", "folder"]);
}
