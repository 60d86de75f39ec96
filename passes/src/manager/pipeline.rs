//! Lists of passes: the ones that are built in, and the text form of others, `fold,quantize{body=q8g32},fuse`.

use std::fmt;

use super::options::split_top_level;
use super::{OptionError, Options, PassError, PassInfo};

/// The passes of a compile over the graph, in order.
///
/// `share` stands before `quantize` so that a weight has one format; `fuse` is last because every other pass undoes groups.
pub static GRAPH_PIPELINE: &[&str] = &["fold", "share", "quantize", "fuse"];

/// The passes of a compile over kernels and plan, in order. `overlap` compares the bytes that `memory` gives out.
pub static KERNEL_PIPELINE: &[&str] = &["legalize", "memory", "overlap"];

/// A pass to run, with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassSpec {
    /// Its name.
    pub name: String,
    /// Its options.
    pub options: Options,
}

/// Why a run of passes failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// The text form of a list of passes is wrong.
    #[error("list of passes: {0}")]
    Syntax(String),
    /// A pass of that name does not exist.
    #[error("unknown pass `{name}`; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All that exist.
        known: String,
    },
    /// Options of one pass.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// Several of the faults above.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Many(Vec<PipelineError>),
    /// `stop_after` names no pass of the list.
    #[error("cannot stop after `{name}`: it is not among the passes to run ({list})")]
    NoSuchStop {
        /// What was asked for.
        name: String,
        /// The passes to run.
        list: String,
    },
    /// The input was wrong before any pass.
    #[error("the input of the passes is not valid:\n{}", .faults.join("\n"))]
    InvalidInput {
        /// What the verifier says.
        faults: Vec<String>,
    },
    /// A pass gave up.
    #[error("in pass {index}, `{pass}`: {source}")]
    Pass {
        /// Place in the list, from 0.
        index: usize,
        /// The pass.
        pass: String,
        /// Why.
        source: PassError,
    },
    /// A pass made something that the verifier refuses: a bug of the pass.
    #[error("bug in the compiler: after pass {index}, `{pass}`, the result is not valid:\n{}", .faults.join("\n"))]
    InvalidOutput {
        /// Place in the list, from 0.
        index: usize,
        /// The pass.
        pass: String,
        /// What the verifier says.
        faults: Vec<String>,
    },
}

impl PassSpec {
    /// A pass with options.
    pub fn new(name: impl Into<String>, options: Options) -> Self {
        Self { name: name.into(), options }
    }

    /// The passes of a built-in list, without options.
    pub fn list(names: &[&str]) -> Vec<Self> {
        names.iter().map(|n| Self::new(*n, Options::new())).collect()
    }

    /// Parses `a,b{x=1}`. Whether the names exist is seen when the passes are made.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, PipelineError> {
        let parts = split_top_level(text).map_err(PipelineError::Syntax)?;
        let (mut specs, mut faults) = (Vec::new(), Vec::new());
        for part in parts {
            match Self::parse_one(part.trim()) {
                Ok(spec) => specs.push(spec),
                Err(fault) => faults.push(PipelineError::Syntax(fault)),
            }
        }
        collected(specs, faults)
    }

    fn parse_one(text: &str) -> Result<Self, String> {
        let (name, options) = match text.split_once('{') {
            None => (text, Options::new()),
            Some((name, rest)) => {
                let inner = rest.trim_end().strip_suffix('}').ok_or_else(|| format!("expected `}}` at the end of `{text}`"))?;
                (name.trim(), Options::parse(inner).map_err(|e| format!("pass `{}`: {e}", name.trim()))?)
            }
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return Err(format!("expected the name of a pass, found `{text}`"));
        }
        Ok(Self::new(name, options))
    }

    /// Makes the passes of `specs` from the list `all`, or tells every unknown name and every wrong option.
    pub(super) fn build<M: 'static>(specs: &[Self], all: &[&'static PassInfo<M>]) -> Result<Vec<Box<dyn super::Pass<M>>>, PipelineError> {
        let (mut passes, mut faults) = (Vec::new(), Vec::new());
        for spec in specs {
            match all.iter().find(|info| info.name == spec.name) {
                None => {
                    let known = all.iter().map(|i| i.name).collect::<Vec<_>>().join(", ");
                    faults.push(PipelineError::Unknown { name: spec.name.clone(), known });
                }
                Some(info) => match (info.build)(&spec.options) {
                    Ok(pass) => passes.push(pass),
                    Err(e) => faults.push(e.into()),
                },
            }
        }
        collected(passes, faults)
    }
}

impl fmt::Display for PassSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.options)
    }
}

fn collected<T>(made: Vec<T>, mut faults: Vec<PipelineError>) -> Result<Vec<T>, PipelineError> {
    match faults.len() {
        0 => Ok(made),
        1 => Err(faults.remove(0)),
        _ => Err(PipelineError::Many(faults)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_round_trip() {
        let text = "fold,quantize{body=q8g32,keep='a,b=f16'},fuse";
        let specs = PassSpec::parse_list(text).expect("well formed");
        assert_eq!(specs.len(), 3);
        assert_eq!(specs.iter().map(PassSpec::to_string).collect::<Vec<_>>().join(","), text);
    }

    #[test]
    fn every_fault_of_a_list_is_told() {
        let e = PassSpec::parse_list("fold,,quantize{x}").expect_err("two faults");
        assert!(matches!(&e, PipelineError::Many(v) if v.len() == 2), "{e}");
        let specs = PassSpec::parse_list("fold,fould,quantize{body=q3}").expect("well formed");
        let e = PassSpec::build(&specs, crate::graph::GRAPH_PASSES).err().expect("two faults");
        let text = e.to_string();
        assert!(text.contains("unknown pass `fould`; there are fold, share, quantize, fuse"), "{text}");
        assert!(text.contains("`body` is `q3`"), "{text}");
    }
}
