//! Builds a naga function: expressions are appended with the `Emit` statements that naga wants, statements go to the innermost
//! open block.
//!
//! A value is visible in its block and in those nested there, which is the rule of the kernel IR too. Results of subgroup
//! operations are defined by their statement and never emitted.

use super::types;
use naga::{
    BinaryOperator, Block, CollectiveOperation, Expression, Function, Handle, Literal, LocalVariable, MathFunction, Range, ScalarKind, Span,
    Statement, SubgroupOperation, SwizzleComponent, UnaryOperator, UniqueArena, VectorSize,
};

/// A value of naga.
pub(super) type V = Handle<Expression>;

const NOWHERE: Span = Span::UNDEFINED;

/// The function being built and the types of its module.
pub(super) struct Builder<'m> {
    types: &'m mut UniqueArena<naga::Type>,
    function: Function,
    /// Innermost last; never empty.
    blocks: Vec<Block>,
}

impl<'m> Builder<'m> {
    pub(super) fn new(types: &'m mut UniqueArena<naga::Type>, function: Function) -> Self {
        Self { types, function, blocks: vec![Block::new()] }
    }

    pub(super) fn finish(mut self) -> Function {
        self.function.body = self.close();
        self.function
    }

    pub(super) fn expr(&mut self, expression: Expression) -> V {
        let emitted = !expression.needs_pre_emit();
        let v = self.function.expressions.append(expression, NOWHERE);
        if emitted {
            let block = self.block();
            if let Some(Statement::Emit(range)) = block.last_mut()
                && let Some((first, last)) = range.first_and_last()
                && last.index() + 1 == v.index()
            {
                *range = Range::new_from_bounds(first, v);
            } else {
                block.push(Statement::Emit(Range::new_from_bounds(v, v)), NOWHERE);
            }
        }
        v
    }

    /// Gives a value a name, and so a statement of its own in text: without one, naga writes what is used once where it is used,
    /// and long chains become expressions deeper than compilers take.
    pub(super) fn name(&mut self, v: V, name: impl FnOnce() -> String) {
        if !self.function.expressions[v].needs_pre_emit() {
            self.function.named_expressions.entry(v).or_insert_with(name);
        }
    }

    pub(super) fn stmt(&mut self, statement: Statement) {
        self.block().push(statement, NOWHERE);
    }

    fn block(&mut self) -> &mut Block {
        self.blocks.last_mut().expect("invariant: the function's own block is open")
    }

    /// Opens a block.
    pub(super) fn open(&mut self) {
        self.blocks.push(Block::new());
    }

    /// Ends the block opened last.
    pub(super) fn close(&mut self) -> Block {
        self.blocks.pop().expect("invariant: every close has its open")
    }

    pub(super) fn literal(&mut self, literal: Literal) -> V {
        self.expr(Expression::Literal(literal))
    }

    pub(super) fn u32(&mut self, n: u32) -> V {
        self.literal(Literal::U32(n))
    }

    /// A scalar in all of `lanes` lanes.
    pub(super) fn splat(&mut self, value: V, lanes: u16) -> V {
        match types::size(lanes) {
            Some(size) => self.expr(Expression::Splat { size, value }),
            None => value,
        }
    }

    /// A vector of scalars and vectors; one part is itself.
    pub(super) fn compose(&mut self, scalar: naga::Scalar, lanes: u16, components: Vec<V>) -> V {
        match components.as_slice() {
            [one] => *one,
            _ => {
                let ty = types::numeric(self.types, scalar, lanes);
                self.expr(Expression::Compose { ty, components })
            }
        }
    }

    /// A constant lane of a vector, a member of a struct.
    pub(super) fn member(&mut self, base: V, index: u32) -> V {
        self.expr(Expression::AccessIndex { base, index })
    }

    /// The lower (`false`) or upper (`true`) half of a vector of `lanes` lanes.
    pub(super) fn half(&mut self, v: V, lanes: u16, upper: bool) -> V {
        use SwizzleComponent::{W, X, Y, Z};
        if lanes == 2 {
            return self.member(v, u32::from(upper));
        }
        let pattern = if upper { [Z, W, Z, W] } else { [X, Y, X, Y] };
        self.expr(Expression::Swizzle { size: VectorSize::Bi, vector: v, pattern })
    }

    pub(super) fn unary(&mut self, op: UnaryOperator, expr: V) -> V {
        self.expr(Expression::Unary { op, expr })
    }

    pub(super) fn binary(&mut self, op: BinaryOperator, left: V, right: V) -> V {
        self.expr(Expression::Binary { op, left, right })
    }

    pub(super) fn math(&mut self, fun: MathFunction, args: &[V]) -> V {
        let arg = |i: usize| args.get(i).copied();
        self.expr(Expression::Math { fun, arg: args[0], arg1: arg(1), arg2: arg(2), arg3: arg(3) })
    }

    pub(super) fn select(&mut self, condition: V, accept: V, reject: V) -> V {
        self.expr(Expression::Select { condition, accept, reject })
    }

    /// Numeric conversion to a scalar type.
    pub(super) fn convert(&mut self, expr: V, to: naga::Scalar) -> V {
        self.expr(Expression::As { expr, kind: to.kind, convert: Some(to.width) })
    }

    /// The same bits as another kind of the same width: naga takes no other width, and tells no error if it is asked for one.
    pub(super) fn bits(&mut self, expr: V, kind: ScalarKind) -> V {
        self.expr(Expression::As { expr, kind, convert: None })
    }

    /// An element of an array behind a pointer.
    pub(super) fn place(&mut self, base: V, index: V) -> V {
        self.expr(Expression::Access { base, index })
    }

    pub(super) fn load(&mut self, pointer: V) -> V {
        self.expr(Expression::Load { pointer })
    }

    pub(super) fn store(&mut self, pointer: V, value: V) {
        self.stmt(Statement::Store { pointer, value });
    }

    /// A pointer to a variable of the function.
    pub(super) fn local(&mut self, name: String, ty: Handle<naga::Type>) -> V {
        let variable = self.function.local_variables.append(LocalVariable { name: Some(name), ty, init: None }, NOWHERE);
        self.expr(Expression::LocalVariable(variable))
    }

    /// A pointer to a variable of lanes.
    pub(super) fn variable(&mut self, name: String, scalar: naga::Scalar, lanes: u16) -> V {
        let ty = types::numeric(self.types, scalar, lanes);
        self.local(name, ty)
    }

    /// A scalar over all lanes of the subgroup.
    pub(super) fn subgroup(&mut self, op: SubgroupOperation, argument: V, scalar: naga::Scalar) -> V {
        let ty = types::numeric(self.types, scalar, 1);
        let result = self.function.expressions.append(Expression::SubgroupOperationResult { ty }, NOWHERE);
        self.stmt(Statement::SubgroupCollectiveOperation { op, collective_op: CollectiveOperation::Reduce, argument, result });
        result
    }
}
