//! The list that picks a greedy token, where the device does.

use slmc_ir::plan::Binding;

use crate::lower::context::Lowering;
use crate::lower::emit::Pick;

impl Lowering<'_> {
    /// Fills [`slmc_ir::plan::Plan::argmax`], if the target's schedules have kernels for it.
    pub(in crate::lower) fn pick(&mut self) {
        let Some(Pick { between, scan, pick }) = self.emit.pick(self.plan.vocab, &self.limits) else { return };
        let candidates = self.buffer("candidates".into(), between, false);
        let picked = self.buffer("picked".into(), 4, true);
        let logits = self.plan.logits;
        for (launch, from, to) in [(scan, logits, candidates), (pick, candidates, picked)] {
            let name = launch.kernel.name.clone();
            let dispatch = self.launch(&name, vec![Binding::Arena(from), Binding::Arena(to)], |_| launch);
            self.plan.argmax.push(dispatch);
        }
        self.plan.picked = Some(picked);
    }
}
