//! `slm.h` and the Rust side name the same functions, the same structs of the same sizes, and the same codes.

use std::collections::BTreeSet;

use slmc_runtime_stub::capi::types::{ChatMessage, Error, GeneratedInfo, GenerationOptions, Info, KernelTime};
use slmc_runtime_stub::fault::Code;
use slmc_runtime_stub::generate::{End, NO_TOKEN};
use slmc_runtime_stub::sample::Sampling;
use slmc_runtime_stub::session::Timings;
use slmc_runtime_stub::verify::Trust;
use slmc_runtime_stub::{abi, capi};

const HEADER: &str = include_str!("../include/slm.h");
const SOURCES: [&str; 3] = [include_str!("../src/capi/model.rs"), include_str!("../src/capi/session.rs"), include_str!("../src/capi/text.rs")];

fn without_comments(mut text: &str) -> String {
    let mut plain = String::new();
    while let Some(start) = text.find("/*") {
        plain.push_str(&text[..start]);
        text = &text[start + text[start..].find("*/").expect("a closed comment") + 2..];
    }
    plain + text
}

fn words_before_parenthesis(text: &str) -> BTreeSet<&str> {
    text.match_indices('(')
        .map(|(at, _)| {
            let start = text[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
            &text[start..at]
        })
        .filter(|word| word.starts_with("slm_"))
        .collect()
}

#[test]
fn both_sides_name_the_same_functions() {
    let header = without_comments(HEADER);
    let declared = words_before_parenthesis(&header);
    let mut defined = BTreeSet::new();
    for source in SOURCES {
        for (at, found) in source.match_indices("extern \"C\" fn ") {
            let rest = &source[at + found.len()..];
            defined.insert(&rest[..rest.find('(').expect("arguments")]);
        }
    }
    assert_eq!(declared, defined);
    assert_eq!(declared.len(), 19);
}

/// Size and fields of a struct of plain numbers and pointers, by the C rules of 64-bit systems.
fn c_struct(name: &str) -> (usize, Vec<String>) {
    let header = without_comments(HEADER);
    let start = header.find(&format!("typedef struct {name} {{")).expect("declared");
    let body = &header[start..];
    let body = &body[body.find('{').expect("a body") + 1..body.find('}').expect("an end")];
    let (mut size, mut most, mut fields) = (0usize, 1, Vec::new());
    for field in body.split(';').map(str::trim).filter(|field| !field.is_empty()) {
        let base = field.split(['[']).next().expect("a name");
        let array: usize = field.split_once('[').map_or(1, |(_, rest)| rest.trim_end_matches(']').parse().expect("a length"));
        let unit = match base.split_whitespace().next().expect("a type") {
            _ if base.contains('*') => 8,
            "char" | "uint8_t" => 1,
            "int32_t" | "uint32_t" | "float" => 4,
            "uint64_t" | "size_t" | "slm_receiver" => 8,
            "slm_sampling" => {
                let (bytes, _) = c_struct("slm_sampling");
                size = size.next_multiple_of(8) + bytes;
                most = 8;
                fields.push("sampling".to_owned());
                continue;
            }
            other => panic!("type {other}"),
        };
        size = size.next_multiple_of(unit) + unit * array;
        most = most.max(unit);
        let word = base.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().expect("a name");
        fields.push(word.to_owned());
    }
    (size.next_multiple_of(most), fields)
}

/// Names of the fields of a Rust struct as its source declares them.
fn rust_fields(source: &str, name: &str) -> Vec<String> {
    let start = source.find(&format!("pub struct {name} {{")).expect("declared");
    let body = &source[start..];
    let body = &body[..body.find("\n}").expect("an end")];
    body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':').map(|(name, _)| name.to_owned())).collect()
}

#[test]
fn both_sides_lay_out_the_same_structs() {
    let types = include_str!("../src/capi/types.rs");
    let sampling = include_str!("../src/sample.rs");
    let timings = include_str!("../src/session.rs");
    let pairs = [
        ("slm_error", "Error", size_of::<Error>(), types),
        ("slm_info_t", "Info", size_of::<Info>(), types),
        ("slm_message", "ChatMessage", size_of::<ChatMessage>(), types),
        ("slm_generation", "GenerationOptions", size_of::<GenerationOptions>(), types),
        ("slm_generated", "GeneratedInfo", size_of::<GeneratedInfo>(), types),
        ("slm_kernel_time", "KernelTime", size_of::<KernelTime>(), types),
        ("slm_sampling", "Sampling", size_of::<Sampling>(), sampling),
        ("slm_timings_t", "Timings", size_of::<Timings>(), timings),
    ];
    for (c, rust, size, source) in pairs {
        let (c_size, c_fields) = c_struct(c);
        assert_eq!(c_fields, rust_fields(source, rust), "{c}");
        assert_eq!(c_size, size, "{c}");
    }
}

#[track_caller]
fn constant(name: &str, value: i64) {
    let header = without_comments(HEADER);
    let stated = header
        .split([',', '{', '}', '\n'])
        .map(str::trim)
        .find_map(|entry| {
            entry
                .strip_prefix("#define ")
                .unwrap_or(entry)
                .strip_prefix(name)?
                .trim_start_matches([' ', '='])
                .trim_end_matches('u')
                .parse::<i64>()
                .ok()
        })
        .unwrap_or_else(|| panic!("{name} is missing"));
    assert_eq!(stated, value, "{name}");
}

#[test]
fn both_sides_give_constants_the_same_values() {
    let codes = [
        ("ARGUMENT", Code::Argument),
        ("IO", Code::Io),
        ("FORMAT", Code::Format),
        ("MISMATCH", Code::Mismatch),
        ("CORRUPT", Code::Corrupt),
        ("CPU", Code::Cpu),
        ("MEMORY", Code::Memory),
        ("THREADS", Code::Threads),
        ("CONTEXT_FULL", Code::ContextFull),
        ("TOKEN", Code::Token),
        ("BUFFER", Code::Buffer),
        ("NO_TEXT", Code::NoText),
        ("STATE", Code::State),
        ("UNVERIFIED", Code::Unverified),
        ("UTF8", Code::Utf8),
        ("CHAT", Code::Chat),
        ("CANCELLED", Code::Cancelled),
        ("DEVICE", Code::Device),
    ];
    for (name, code) in codes {
        constant(&format!("SLM_ERR_{name}"), code as i64);
    }
    for (name, value) in [
        ("SLM_OK", capi::OK as i64),
        ("SLM_ABI_VERSION", abi::ABI_VERSION.into()),
        ("SLM_NO_TOKEN", NO_TOKEN.into()),
        ("SLM_VERIFY_ALWAYS", capi::model::VERIFY_ALWAYS.into()),
        ("SLM_REFUSE_UNCACHED", capi::model::REFUSE_UNCACHED.into()),
        ("SLM_DEVICE_CPU", abi::device_kind::CPU.into()),
        ("SLM_DEVICE_VULKAN", abi::device_kind::VULKAN.into()),
        ("SLM_DEVICE_METAL", abi::device_kind::METAL.into()),
        ("SLM_TRUST_HASHED", Trust::Hashed as i64),
        ("SLM_TRUST_STAMPED", Trust::Stamped as i64),
        ("SLM_TRUST_KNOWN", Trust::Known as i64),
        ("SLM_TRUST_NOT_STAMPED", Trust::NotStamped as i64),
        ("SLM_LOGITS_NONE", capi::session::LOGITS_NONE.into()),
        ("SLM_LOGITS_LAST", capi::session::LOGITS_LAST.into()),
        ("SLM_LOGITS_ALL", capi::session::LOGITS_ALL.into()),
        ("SLM_IGNORE_EOS", capi::session::IGNORE_EOS.into()),
        ("SLM_SHOW_SPECIAL", capi::session::SHOW_SPECIAL.into()),
        ("SLM_SPECIAL_AS_TOKENS", capi::text::SPECIAL_AS_TOKENS.into()),
        ("SLM_FRAME", capi::text::FRAME.into()),
        ("SLM_TEXT_SHOW_SPECIAL", capi::text::TEXT_SHOW_SPECIAL.into()),
        ("SLM_NO_ANSWER_HEAD", capi::text::NO_ANSWER_HEAD.into()),
        ("SLM_END_FAILED", End::Failed as i64),
        ("SLM_END_TEXT", End::EndOfText as i64),
        ("SLM_END_LIMIT", End::Limit as i64),
        ("SLM_END_STOP", End::Stop as i64),
        ("SLM_END_CANCELLED", End::Cancelled as i64),
        ("SLM_END_RECEIVER", End::Receiver as i64),
    ] {
        constant(name, value);
    }
}
