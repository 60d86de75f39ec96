//! A kernel being written: its naga function and what its values, buffers and variables became there.

use super::Fault;
use super::builder::{Builder, V};
use super::types::{Form, Halves};
use half::f16;
use naga::{Literal, ScalarKind};
use slmc_ir::arena::Id;
use slmc_ir::kernel::{BufId, Builtin, Imm, Kernel, Operand, Scalar, Type, ValueId, VarId};
use std::collections::BTreeMap;

/// A kernel being written.
pub(super) struct Func<'m, 'k> {
    pub(super) b: Builder<'m>,
    pub(super) kernel: &'k Kernel,
    pub(super) halves: Halves,
    /// By value; those that the statements so far have defined.
    pub(super) values: Vec<Option<V>>,
    /// By buffer: a pointer to its array.
    pub(super) buffers: Vec<V>,
    /// By variable: a pointer to it.
    pub(super) vars: Vec<V>,
    /// What the launch gives: function arguments, and a pointer to the step.
    pub(super) builtins: BTreeMap<Given, V>,
}

/// What the launch gives to an entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Given {
    /// The step: T, P, ROW.
    Step,
    /// The tile, three numbers.
    Tile,
    /// The lane.
    Lane,
    /// The subgroup in the workgroup.
    Subgroup,
    /// The lane in its subgroup.
    SubgroupLane,
    /// How many subgroups there are.
    Subgroups,
}

impl Func<'_, '_> {
    /// The form of a type; legal types have one.
    pub(super) fn form(&self, ty: Type) -> Result<Form, Fault> {
        Form::of(ty, self.halves).ok_or_else(|| Fault(format!("no form for {ty}")))
    }

    pub(super) fn define(&mut self, v: ValueId, value: V) {
        self.values[v.index()] = Some(value);
    }

    pub(super) fn value(&self, v: ValueId) -> Result<V, Fault> {
        self.values[v.index()].ok_or_else(|| Fault(format!("{v} is used before it is defined")))
    }

    pub(super) fn buffer(&self, buf: BufId) -> V {
        self.buffers[buf.index()]
    }

    pub(super) fn var(&self, var: VarId) -> V {
        self.vars[var.index()]
    }

    /// An operand where `ty` is demanded.
    pub(super) fn operand(&mut self, operand: Operand, ty: Type) -> Result<V, Fault> {
        match operand {
            Operand::Value(v) => self.value(v),
            Operand::Imm(imm) => self.constant(imm, ty),
        }
    }

    /// A constant in all lanes of `ty`.
    pub(super) fn constant(&mut self, imm: Imm, ty: Type) -> Result<V, Fault> {
        let (_, lanes) = self.form(ty)?.shape();
        let one = match (imm, self.form(ty)?) {
            (Imm::Float(x), Form::Packed(_)) => {
                let bits = u32::from(f16::from_f32(x).to_bits());
                self.b.u32(bits | bits << 16)
            }
            (Imm::Int(n), Form::Packed(_)) => self.b.u32(u32::from(n as u8) * 0x0101_0101),
            (Imm::Float(x), Form::Plain(..)) => self.float(x, ty.scalar),
            (Imm::Int(n), Form::Plain(..)) => self.b.literal(match ty.scalar {
                Scalar::Bool => Literal::Bool(n != 0),
                Scalar::I32 => Literal::I32(n as i32),
                _ => Literal::U32(n as u32),
            }),
        };
        Ok(self.b.splat(one, lanes))
    }

    /// A float constant. naga has no literals of infinities and NaNs: they are made of their bits.
    fn float(&mut self, x: f32, scalar: Scalar) -> V {
        let half = f16::from_f32(x);
        if scalar == Scalar::F16 && half.is_finite() {
            return self.b.literal(Literal::F16(half));
        }
        if scalar == Scalar::F32 && x.is_finite() {
            return self.b.literal(Literal::F32(x));
        }
        let wide = if scalar == Scalar::F16 { half.to_f32() } else { x };
        let bits = self.b.u32(wide.to_bits());
        let float = self.b.bits(bits, ScalarKind::Float);
        if scalar == Scalar::F16 { self.b.convert(float, naga::Scalar::F16) } else { float }
    }

    /// A number of the launch or the step. What the kernel's bounds fix is a constant.
    pub(super) fn builtin(&mut self, builtin: Builtin) -> Result<V, Fault> {
        let kernel = self.kernel;
        let step = |f: &mut Self, member: u32, (least, most): (u32, u32)| {
            if least == most {
                return Ok(f.b.u32(least));
            }
            let step = f.given(Given::Step)?;
            let place = f.b.member(step, member);
            Ok(f.b.load(place))
        };
        match builtin {
            Builtin::T => step(self, 0, kernel.bounds.t),
            Builtin::P => step(self, 1, kernel.bounds.p),
            Builtin::Row => step(self, 2, kernel.bounds.row),
            Builtin::Grid(axis) if kernel.grid.get(usize::from(axis)).is_none_or(|&n| n == 1) => Ok(self.b.u32(0)),
            Builtin::Grid(axis) => {
                let tile = self.given(Given::Tile)?;
                Ok(self.b.member(tile, u32::from(axis)))
            }
            Builtin::Lane | Builtin::Subgroup | Builtin::SubgroupLane if kernel.lanes == 1 => Ok(self.b.u32(0)),
            Builtin::Subgroups if kernel.lanes == 1 => Ok(self.b.u32(1)),
            Builtin::Lane => self.given(Given::Lane),
            Builtin::Subgroup => self.given(Given::Subgroup),
            Builtin::SubgroupLane => self.given(Given::SubgroupLane),
            Builtin::Subgroups => self.given(Given::Subgroups),
        }
    }

    fn given(&self, given: Given) -> Result<V, Fault> {
        self.builtins.get(&given).copied().ok_or_else(|| Fault(format!("{given:?} is not an argument")))
    }
}
