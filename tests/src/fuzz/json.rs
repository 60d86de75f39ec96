//! Mutations of JSON that stay JSON, so that they get past the parser.

use serde_json::{Map, Value, json};

use super::mutate::LONGEST;
use super::random::Random;

/// `input` with one to four places changed; `None` when it is not JSON.
pub fn mutated(random: &mut Random, input: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let mut root: Value = serde_json::from_slice(input).ok()?;
    let other = serde_json::from_slice(other).unwrap_or(Value::Null);
    for _ in 0..=random.below(4) {
        let donor = chosen(random, &mut other.clone()).clone();
        let place = chosen(random, &mut root);
        change(random, place, donor);
    }
    let bytes = serde_json::to_vec(&root).ok()?;
    (bytes.len() <= LONGEST).then_some(bytes)
}

/// A place of the tree. Each level is as likely as the next, however many values lie on it: long tables do not hide short keys.
fn chosen<'v>(random: &mut Random, root: &'v mut Value) -> &'v mut Value {
    let mut place = root;
    loop {
        let len = match place {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        };
        if len == 0 || random.below(4) == 0 {
            return place;
        }
        let at = random.below(len);
        place = match place {
            Value::Array(list) => &mut list[at],
            Value::Object(map) => map.values_mut().nth(at).expect("invariant: the place is below the length"),
            _ => return place,
        };
    }
}

fn change(random: &mut Random, value: &mut Value, donor: Value) {
    let kind = random.below(8);
    match value {
        _ if kind == 0 => *value = interesting(random),
        _ if kind == 1 => *value = donor,
        Value::Array(list) => change_list(random, list, donor),
        Value::Object(map) => change_map(random, map, donor),
        Value::String(text) => change_text(random, text),
        Value::Number(_) | Value::Bool(_) | Value::Null => *value = interesting(random),
    }
}

fn change_list(random: &mut Random, list: &mut Vec<Value>, donor: Value) {
    let at = random.below(list.len());
    match random.below(5) {
        0 if !list.is_empty() => drop(list.remove(at)),
        1 if !list.is_empty() => list.insert(at, list[at].clone()),
        2 if !list.is_empty() => {
            let with = random.below(list.len());
            list.swap(at, with);
        }
        3 => list.truncate(at),
        _ => list.insert(at, donor),
    }
}

fn change_map(random: &mut Random, map: &mut Map<String, Value>, donor: Value) {
    let key = |random: &mut Random, map: &Map<String, Value>| map.keys().nth(random.below(map.len())).cloned().unwrap_or_default();
    let (one, two) = (key(random, map), key(random, map));
    match random.below(4) {
        0 => drop(map.remove(&one)),
        1 => {
            let value = map.get(&one).cloned().unwrap_or(Value::Null);
            map.insert(two, value);
        }
        2 => drop(map.insert(one, donor)),
        _ => {
            let mut name = one.clone();
            change_text(random, &mut name);
            let value = map.remove(&one).unwrap_or(donor);
            map.insert(name, value);
        }
    }
}

fn change_text(random: &mut Random, text: &mut String) {
    const PARTS: [&str; 14] = ["", " ", "\u{2581}", "<0x41>", "<0xZZ>", "\u{0}", "\u{10ffff}", "e\u{301}", "\n", "{", "(", "[^\\s", "\\p{L}+", "++"];
    let mut chars: Vec<char> = text.chars().collect();
    let at = random.below(chars.len() + 1);
    match random.below(4) {
        0 if at < chars.len() => drop(chars.remove(at)),
        1 => chars.truncate(at),
        2 if at < chars.len() => {
            let with = random.below(chars.len());
            chars.swap(at, with);
        }
        _ => drop(chars.splice(at..at, random.of(&PARTS).chars())),
    }
    *text = chars.into_iter().collect();
}

fn interesting(random: &mut Random) -> Value {
    match random.below(16) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        3 => json!(0),
        4 => json!(-1),
        5 => json!(1),
        6 => json!(u32::MAX),
        7 => json!(i64::MIN),
        8 => json!(u64::MAX),
        9 => json!(1e308),
        10 => json!(-1e-308),
        11 => json!(0.5),
        12 => json!(""),
        13 => json!([]),
        14 => json!({}),
        _ => json!(random.below(1 << 20)),
    }
}
