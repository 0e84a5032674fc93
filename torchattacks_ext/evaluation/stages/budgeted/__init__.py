"""An expensive attack on a sample: `stage` is what is run, `pool` holds images until then."""

from .stage import BudgetedStage as BudgetedStage
