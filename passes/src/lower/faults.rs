//! Collects what has no schedule: each reason once, with the nodes it holds for.
//!
//! One unsupported node leaves the nodes after it without operands. Such consequences are told only where there is no other
//! fault, because then they are the fault.

/// Nodes that a reason names; more are only counted.
const NAMED: usize = 3;

/// What lowering could not do.
#[derive(Debug, Default)]
pub struct Faults {
    causes: Vec<Reason>,
    consequences: Vec<Reason>,
}

#[derive(Debug)]
struct Reason {
    what: String,
    places: Vec<String>,
}

impl Faults {
    /// Records a fault at a place. The same fault at the same place, met again in another phase, is one.
    pub fn add(&mut self, place: String, what: &str, consequence: bool) {
        let list = if consequence { &mut self.consequences } else { &mut self.causes };
        match list.iter_mut().find(|r| r.what == what) {
            Some(reason) if reason.places.contains(&place) => {}
            Some(reason) => reason.places.push(place),
            None => list.push(Reason { what: what.into(), places: vec![place] }),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.causes.is_empty() && self.consequences.is_empty()
    }

    /// One sentence per reason.
    pub fn into_sentences(self) -> Vec<String> {
        let list = if self.causes.is_empty() { self.consequences } else { self.causes };
        list.into_iter()
            .map(|r| {
                let named = r.places.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
                match r.places.len().saturating_sub(NAMED) {
                    0 => format!("{named}: {}", r.what),
                    more => format!("{named} and {more} more: {}", r.what),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_hide_their_consequences() {
        let mut f = Faults::default();
        f.add("v9".into(), "no operand", true);
        for v in ["v1", "v2", "v1", "v3", "v4"] {
            f.add(v.into(), "two formats", false);
        }
        assert_eq!(f.into_sentences(), ["v1, v2, v3 and 1 more: two formats"]);
    }

    #[test]
    fn consequences_alone_are_told() {
        let mut f = Faults::default();
        f.add("v9".into(), "no operand", true);
        assert!(!f.is_empty());
        assert_eq!(f.into_sentences(), ["v9: no operand"]);
    }
}
