//! The state of one function under construction.

use super::types::{filled, form, lane, lane_bits};
use super::{Fault, memory};
use cranelift_codegen::ir::types::{F32, F64, I16, I16X8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{AliasRegion, ConstantData, Endianness, InstBuilder as _, MemFlagsData, Type as Clif, Value};
use cranelift_frontend::{FunctionBuilder, Variable};
use slmc_ir::arena::{Arena, Id};
use slmc_ir::kernel::{Builtin, Expr, Imm, Kernel, Operand, Type, ValueId, VarId};
use slmc_ir::target::Target;
use std::collections::BTreeMap;

/// Where a buffer is and what loads and stores of it touch.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its first byte.
    pub(super) base: Value,
    /// What no other buffer's accesses touch.
    pub(super) region: AliasRegion,
}

/// A value of the kernel.
#[derive(Clone, Copy)]
struct Held {
    value: Value,
    /// How many of the loops around it, from the outermost on, it takes to find the innermost one whose loop variable it surely
    /// follows; 0 if there is none.
    follows: u32,
}

/// Everything that the writers of one kernel share.
pub(super) struct Func<'a> {
    pub(super) b: FunctionBuilder<'a>,
    pub(super) kernel: &'a Kernel,
    /// Whether the target is x86-64.
    pub(super) x86: bool,
    pub(super) buffers: Vec<Place>,
    /// `T`, `P`, `ROW`, then the tile's x, y, z.
    step: [Value; 6],
    vars: Vec<Variable>,
    values: Arena<ValueId, Option<Held>>,
    /// Loops around the builder's place.
    depth: u32,
    /// The number that a vector of at most eight bytes was loaded as, which broadcasts take from memory.
    words: BTreeMap<Value, Value>,
}

impl<'a> Func<'a> {
    /// Starts the body of a function, whose entry block is open in `b`; `params` are the addresses of the kernel's parameters.
    pub(super) fn new(mut b: FunctionBuilder<'a>, kernel: &'a Kernel, target: &Target, params: &[Value], step: [Value; 6]) -> Result<Self, Fault> {
        let mut values = Arena::new();
        kernel.values.ids().for_each(|_| {
            values.push(None);
        });
        let buffers = memory::places(&mut b, kernel, params)?;
        let vars = kernel.vars.iter().map(|(_, t)| b.declare_var(form(*t))).collect();
        let x86 = target.triple.starts_with("x86_64-");
        Ok(Self { b, kernel, x86, buffers, step, vars, values, depth: 0, words: BTreeMap::new() })
    }

    /// Records what a value is; nothing is known of the loops that it follows.
    pub(super) fn define(&mut self, v: ValueId, value: Value) {
        self.values[v] = Some(Held { value, follows: 0 });
    }

    /// Records what a value is that is computed of others by `e`.
    pub(super) fn define_by(&mut self, v: ValueId, value: Value, e: &Expr) {
        let follows = e.operands().into_iter().map(|o| self.follows(o)).max().unwrap_or(0);
        self.values[v] = Some(Held { value, follows });
    }

    /// Records the variable of the innermost loop, or what is computed anew in each of its trips.
    pub(super) fn define_in_loop(&mut self, v: ValueId, value: Value) {
        self.values[v] = Some(Held { value, follows: self.depth });
    }

    fn follows(&self, operand: Operand) -> u32 {
        match operand {
            Operand::Value(v) => self.values[v].map_or(0, |held| held.follows),
            Operand::Imm(_) => 0,
        }
    }

    /// Whether an operand differs between the trips of the innermost loop, if there is one.
    pub(super) fn changes(&self, operand: Operand) -> bool {
        self.follows(operand) == self.depth
    }

    /// Enters a loop or, with −1, leaves it.
    pub(super) fn nest(&mut self, by: i32) {
        self.depth = self.depth.saturating_add_signed(by);
    }

    /// A variable.
    pub(super) fn var(&self, var: VarId) -> Variable {
        self.vars[var.index()]
    }

    /// An operand, as a value of type `place` if it is an immediate.
    pub(super) fn operand(&mut self, operand: Operand, place: Type) -> Result<Value, Fault> {
        match operand {
            Operand::Value(v) => self.values[v].map(|held| held.value).ok_or_else(|| Fault(format!("{v} is used before its definition"))),
            Operand::Imm(imm) => self.constant(place, imm),
        }
    }

    /// The type of an operand, which takes `place` if it is an immediate.
    pub(super) fn type_of(&self, operand: Operand, place: Type) -> Type {
        self.kernel.operand_type(operand).unwrap_or(place)
    }

    /// An index.
    pub(super) fn index(&mut self, operand: Operand) -> Result<Value, Fault> {
        self.operand(operand, Type::INDEX)
    }

    /// A number of the launch or the step.
    pub(super) fn builtin(&mut self, b: Builtin) -> Value {
        match b {
            Builtin::T => self.step[0],
            Builtin::P => self.step[1],
            Builtin::Row => self.step[2],
            Builtin::Grid(axis) => self.step[3 + usize::from(axis.min(2))],
            Builtin::Lane | Builtin::Subgroup | Builtin::SubgroupLane => self.number(I32, 0),
            Builtin::Subgroups => self.number(I32, 1),
        }
    }

    /// A constant of a type, the same in all lanes.
    pub(super) fn constant(&mut self, t: Type, imm: Imm) -> Result<Value, Fault> {
        let bits = lane(t, imm)?;
        if t.is_vector() {
            return Ok(self.lanes(form(t), bits, lane_bits(t)));
        }
        Ok(match form(t) {
            F32 => self.b.ins().f32const(f32::from_bits(bits)),
            int => self.number(int, i64::from(bits)),
        })
    }

    /// An integer constant, cut to its type.
    pub(super) fn number(&mut self, int: Clif, n: i64) -> Value {
        let kept = if int == I64 { n } else { n & ((1 << int.bits()) - 1) };
        self.b.ins().iconst(int, kept)
    }

    /// A constant register of type `form`, all of whose lanes of some bits are the same.
    pub(super) fn lanes(&mut self, form: Clif, lane: u32, bits: u32) -> Value {
        self.register(form, filled(lane, bits))
    }

    /// A constant register.
    pub(super) fn register(&mut self, form: Clif, bytes: Vec<u8>) -> Value {
        let constant = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
        self.b.ins().vconst(form, constant)
    }

    /// Same bits, another type.
    pub(super) fn bits(&mut self, v: Value, to: Clif) -> Value {
        if self.b.func.dfg.value_type(v) == to {
            return v;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.b.ins().bitcast(to, flags, v)
    }

    /// The lowest `bytes` (2, 4 or 8) of a register as an integer.
    pub(super) fn word(&mut self, v: Value, bytes: u32) -> Value {
        let whole = self.bits(v, Self::registers_of(bytes));
        self.b.ins().extractlane(whole, 0)
    }

    /// A register of type `to` whose lowest bytes are a number of 16, 32 or 64 bits.
    pub(super) fn padded(&mut self, word: Value, to: Clif) -> Value {
        let t = self.b.func.dfg.value_type(word);
        let wide = if t == I16 {
            let word = self.b.ins().uextend(I32, word);
            self.b.ins().scalar_to_vector(I32X4, word)
        } else {
            let lanes = 128 / t.bits();
            self.b.ins().scalar_to_vector(t.by(lanes).unwrap_or(I32X4), word)
        };
        self.bits(wide, to)
    }

    /// As [`padded`](Self::padded) of a loaded number, which a broadcast of these bytes will take instead of the register.
    pub(super) fn loaded(&mut self, word: Value, to: Clif) -> Value {
        let register = self.padded(word, to);
        self.words.insert(register, word);
        register
    }

    /// The lowest `bytes` (2, 4 or 8) of a register in all its lanes of that size.
    pub(super) fn broadcast(&mut self, v: Value, bytes: u32) -> Value {
        let word = match self.words.get(&v) {
            Some(word) => *word,
            None => self.word(v, bytes),
        };
        let t = self.b.func.dfg.value_type(word);
        let lanes = 128 / t.bits();
        self.b.ins().splat(t.by(lanes).unwrap_or(I32X4), word)
    }

    /// The type that 2, 4 or 8 bytes are loaded as: a float where there is one, which goes to a vector register by itself.
    pub(super) fn word_of(bytes: u32) -> Clif {
        match bytes {
            2 => I16,
            4 => F32,
            _ => F64,
        }
    }

    /// The register of integers of 2, 4 or 8 bytes.
    fn registers_of(bytes: u32) -> Clif {
        match bytes {
            2 => I16X8,
            4 => I32X4,
            _ => I64X2,
        }
    }
}
