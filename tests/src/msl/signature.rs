//! Parameter lists of the entry points of an MSL text, in the form in which naga writes them.

use std::fmt;

/// An entry point: `kernel void NAME(PARAMS)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: String,
    /// `[[max_total_threads_per_threadgroup(n)]]` before it: no threadgroup may be larger.
    pub most_lanes: Option<u32>,
    /// Its parameters, in order.
    pub params: Vec<Param>,
}

/// A parameter of an entry point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param {
    /// A reference to `device` or `constant` memory with `[[buffer(slot)]]`.
    Buffer {
        /// Index for `setBuffer` or `setBytes`.
        slot: u32,
        /// Name of the type referred to.
        ty: String,
        /// Whether it is `device` memory and not `const`.
        writable: bool,
    },
    /// A reference to `threadgroup` memory. These have no attribute: the host counts them from 0, in order.
    Array {
        /// Name of the type referred to.
        ty: String,
    },
    /// A number of the grid, by the name of its attribute.
    BuiltIn(BuiltIn),
}

/// What a lane can ask about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// `threadgroup_position_in_grid`.
    GroupPosition,
    /// `threadgroups_per_grid`.
    GroupCount,
    /// `thread_position_in_grid`.
    Position,
    /// `thread_position_in_threadgroup`.
    PositionInGroup,
    /// `thread_index_in_threadgroup`.
    IndexInGroup,
    /// `thread_index_in_simdgroup`.
    IndexInSimdgroup,
    /// `simdgroup_index_in_threadgroup`.
    SimdgroupIndex,
    /// `simdgroups_per_threadgroup`.
    SimdgroupCount,
    /// `threads_per_simdgroup`.
    SimdgroupLanes,
}

impl BuiltIn {
    /// Attribute, built-in.
    const NAMES: [(&str, Self); 9] = [
        ("threadgroup_position_in_grid", Self::GroupPosition),
        ("threadgroups_per_grid", Self::GroupCount),
        ("thread_position_in_grid", Self::Position),
        ("thread_position_in_threadgroup", Self::PositionInGroup),
        ("thread_index_in_threadgroup", Self::IndexInGroup),
        ("thread_index_in_simdgroup", Self::IndexInSimdgroup),
        ("simdgroup_index_in_threadgroup", Self::SimdgroupIndex),
        ("simdgroups_per_threadgroup", Self::SimdgroupCount),
        ("threads_per_simdgroup", Self::SimdgroupLanes),
    ];
}

/// A parameter list that is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureError {
    /// The entry point.
    pub entry: String,
    /// The parameter, or what is left of the text.
    pub at: String,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}: `{}`: {}", self.entry, self.at, self.what)
    }
}

impl Signature {
    /// The signatures of all entry points, in the order of the text.
    ///
    /// # Errors
    /// The first parameter that is neither a buffer, a threadgroup array nor a known built-in, and two buffers at one slot.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, SignatureError> {
        let mut found = Vec::new();
        for (at, word) in text.match_indices("kernel void ") {
            let before = text[..at].lines().next_back().filter(|_| !text[..at].ends_with('\n')).unwrap_or("").trim();
            let attribute = before.strip_prefix("[[max_total_threads_per_threadgroup(").and_then(|a| a.strip_suffix(")]]"));
            let most_lanes = attribute.and_then(|n| n.parse().ok());
            // Elsewhere it is a comment.
            if before.is_empty() || most_lanes.is_some() {
                found.push(Self { most_lanes, ..Self::parse(&text[at + word.len()..])? });
            }
        }
        Ok(found)
    }

    /// The slots, in the order of the parameters.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.params.iter().filter_map(|p| if let Param::Buffer { slot, .. } = p { Some(*slot) } else { None })
    }

    /// One past the greatest slot.
    pub fn slot_end(&self) -> usize {
        self.slots().max().map_or(0, |slot| slot as usize + 1)
    }

    /// Number of threadgroup arrays.
    pub fn array_count(&self) -> usize {
        self.params.iter().filter(|p| matches!(p, Param::Array { .. })).count()
    }

    fn parse(rest: &str) -> Result<Self, SignatureError> {
        let (name, rest) = rest.split_once('(').unwrap_or((rest, ""));
        let fault = |at: &str, what| SignatureError { entry: name.to_owned(), at: at.trim().chars().take(80).collect(), what };
        let (mut params, mut depth, mut start) = (Vec::new(), 0, 0);
        for (at, c) in rest.char_indices() {
            match c {
                ')' if depth == 0 => {
                    let last = rest[start..at].trim();
                    if !last.is_empty() {
                        params.push(last);
                    }
                    let params = params.iter().map(|p| param(p).map_err(|what| fault(p, what))).collect::<Result<Vec<_>, _>>()?;
                    let signature = Self { name: name.to_owned(), most_lanes: None, params };
                    let mut slots: Vec<u32> = signature.slots().collect();
                    slots.sort_unstable();
                    if slots.windows(2).any(|w| w[0] == w[1]) {
                        return Err(fault(rest, "two buffers at one slot"));
                    }
                    return Ok(signature);
                }
                '(' => depth += 1,
                ')' => depth -= 1,
                ',' if depth == 0 => {
                    params.push(rest[start..at].trim());
                    start = at + 1;
                }
                _ => {}
            }
        }
        Err(fault(rest, "the parameter list has no end"))
    }
}

fn param(text: &str) -> Result<Param, &'static str> {
    let (declaration, attribute) = match text.split_once("[[") {
        Some((declaration, rest)) => (declaration, rest.split_once("]]").ok_or("an attribute without end")?.0.trim()),
        None => (text, ""),
    };
    let Some((ty, _name)) = declaration.split_once('&') else {
        let known = BuiltIn::NAMES.iter().find(|(name, _)| *name == attribute);
        return known.map(|(_, b)| Param::BuiltIn(*b)).ok_or("neither a reference nor a built-in that is known here");
    };
    let words: Vec<&str> = ty.split_whitespace().collect();
    let (space, constant) = (words.first().copied().unwrap_or(""), words.contains(&"const"));
    let rest: Vec<&str> = words.iter().skip(1).copied().filter(|w| *w != "const").collect();
    let &[ty] = rest.as_slice() else { return Err("expected an address space and a type of one word") };
    let ty = ty.to_owned();
    match (space, attribute) {
        ("threadgroup", "") => Ok(Param::Array { ty }),
        ("device" | "constant", _) => {
            let slot = attribute.strip_prefix("buffer(").and_then(|a| a.strip_suffix(')')).and_then(|n| n.parse().ok());
            let slot = slot.ok_or("expected the attribute [[buffer(N)]]")?;
            Ok(Param::Buffer { slot, ty, writable: space == "device" && !constant })
        }
        _ => Err("expected device, constant or threadgroup memory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
struct type_1 { uint inner[4]; };
kernel void first(
  metal::uint3 at [[threadgroup_position_in_grid]]
, device type_1 const& a [[buffer(1)]]
, device type_1& b [[buffer(0)]]
, threadgroup type_1& shared
, constant type_2& step [[buffer(2)]]
) {
}
[[max_total_threads_per_threadgroup(64)]] kernel void second() {}
// kernel void third()
";

    #[test]
    fn parameters_are_read_from_their_attributes() {
        let found = Signature::parse_all(TEXT).expect("well formed");
        let buffer = |slot, ty: &str, writable| Param::Buffer { slot, ty: ty.to_owned(), writable };
        let array = Param::Array { ty: "type_1".to_owned() };
        let first =
            vec![Param::BuiltIn(BuiltIn::GroupPosition), buffer(1, "type_1", false), buffer(0, "type_1", true), array, buffer(2, "type_2", false)];
        let second = Signature { name: "second".to_owned(), most_lanes: Some(64), params: vec![] };
        assert_eq!(found, [Signature { name: "first".to_owned(), most_lanes: None, params: first }, second]);
        assert_eq!((found[0].slot_end(), found[0].array_count()), (3, 1));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (params, what) in [
            ("uint a [[thread_position]]", "built-in"),
            ("device type_1& a", "[[buffer(N)]]"),
            ("thread type_1& a", "device, constant or threadgroup"),
            ("device type_1& a [[buffer(3)]], device type_1& b [[buffer(3)]]", "two buffers at one slot"),
        ] {
            let error = Signature::parse_all(&format!("kernel void k({params}) {{")).expect_err(params);
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
