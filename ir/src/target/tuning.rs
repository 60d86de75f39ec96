//! Parameters of CPU schedules that only a measurement can choose better than the registers suggest.

/// Parameters that are set; the others follow from the target's registers and caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tuning {
    values: [Option<u32>; Parameter::ALL.len()],
}

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// Tokens whose sums are held in registers at once in prefill; even.
    TokenTile,
    /// Multiply-adds of a prefill tile, about.
    PrefillTile,
    /// Query rows of an attention tile.
    AttentionRows,
    /// Accumulators of attention's product of weights and values.
    ValueRegisters,
    /// Weight bytes that a decode tile reads, about.
    DecodeTile,
    /// How far ahead of their reads kernels prefetch weights, and those of decode the cache, bytes; 0 leaves it to the processor.
    Prefetch,
    /// Groups of columns that a round of the inner loop of a product covers.
    Unroll,
}

impl Parameter {
    /// Every parameter with its name in target texts.
    pub const ALL: [(Parameter, &'static str); 7] = [
        (Parameter::TokenTile, "token_tile"),
        (Parameter::PrefillTile, "prefill_tile"),
        (Parameter::AttentionRows, "attention_rows"),
        (Parameter::ValueRegisters, "value_registers"),
        (Parameter::DecodeTile, "decode_tile"),
        (Parameter::Prefetch, "prefetch"),
        (Parameter::Unroll, "unroll"),
    ];

    /// The parameter of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(parameter, _)| *parameter)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// What it can be: least and most.
    pub fn range(self) -> (u32, u32) {
        match self {
            Self::TokenTile => (2, 32),
            Self::PrefillTile => (1 << 16, 1 << 30),
            Self::AttentionRows => (1, 32),
            Self::ValueRegisters => (1, 64),
            Self::DecodeTile => (1 << 10, 1 << 26),
            Self::Prefetch => (0, 1 << 16),
            Self::Unroll => (1, 8),
        }
    }

    /// Whether `value` is one that schedules can take.
    pub fn takes(self, value: u32) -> bool {
        let (least, most) = self.range();
        (least..=most).contains(&value) && (self != Self::TokenTile || value.is_multiple_of(2))
    }

    /// Values worth trying, ascending.
    pub fn candidates(self) -> &'static [u32] {
        match self {
            Self::TokenTile => &[2, 4, 6, 8, 10, 12, 14, 16],
            Self::PrefillTile => &[3 << 20, 6 << 20, 12 << 20, 24 << 20, 48 << 20],
            Self::AttentionRows => &[4, 6, 8, 12, 16],
            Self::ValueRegisters => &[8, 10, 12, 16, 20, 24],
            Self::DecodeTile => &[12 << 10, 24 << 10, 48 << 10, 96 << 10, 192 << 10],
            Self::Prefetch => &[0, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10],
            Self::Unroll => &[1, 2, 4],
        }
    }

    /// Whether it shapes prompts (true) or the step of one token.
    pub fn is_of_prefill(self) -> bool {
        !matches!(self, Self::DecodeTile | Self::Prefetch | Self::Unroll)
    }
}

impl Tuning {
    /// The value of a parameter, where it is set.
    pub fn get(&self, parameter: Parameter) -> Option<u32> {
        self.values[parameter as usize]
    }

    /// With a parameter set.
    pub fn with(mut self, parameter: Parameter, value: u32) -> Self {
        self.set(parameter, value);
        self
    }

    /// Sets a parameter.
    pub fn set(&mut self, parameter: Parameter, value: u32) {
        self.values[parameter as usize] = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_agree() {
        let mut tuning = Tuning::default();
        for (i, (parameter, name)) in Parameter::ALL.into_iter().enumerate() {
            assert_eq!((parameter as usize, parameter.name(), Parameter::named(name)), (i, name, Some(parameter)));
            assert!(parameter.candidates().iter().all(|value| parameter.takes(*value)), "{name}");
            assert_eq!(tuning.get(parameter), None);
            tuning.set(parameter, i as u32);
        }
        assert!(Parameter::ALL.into_iter().enumerate().all(|(i, (parameter, _))| tuning.get(parameter) == Some(i as u32)));
        assert!(!Parameter::TokenTile.takes(3) && !Parameter::TokenTile.takes(0));
        assert_eq!(Parameter::named("lanes"), None);
    }
}
