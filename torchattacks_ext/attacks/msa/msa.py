"""What does the worst case over several surrogates and the real AutoAttack leave?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from ..._typing import Norm
from ...data.door import check_label_range
from ...data.stream import Batch, Stream
from ...engines.judge.ledger import AttackSpec, Ledger
from ...errors import InputError
from ...models.checks import ModelTraits
from ...models.fingerprint import model_sha256
from ...models.loans import lost_flags
from ...models.meter import Budget
from ...results.attack import AttackResult
from ...results.base.columns import Rows
from ...results.base.facts import Flag
from ...results.base.result import Result
from ...results.datasets.curve import Curve
from ..base.probe import Probe
from ..base.settings import Setting
from .batch import batch_rows, best_images, curve_of, curve_rows
from .plans import EngineName, Headline, Version
from .run import ledger_of
from .scene import Scene
from .settings import MSASettings
from .told import Told
from .victims.surrogates import named_surrogates
from .walk import walk


class MSA(Probe):
    r"""Mixed Surrogate Attack: AutoAttack on surrogates and on the target, judged on the target.

    A defence that hides its gradients is attacked through models that do not (surrogates); what
    they suggest counts only where the *target* itself is wrong on it, inside the ball. Versions
    are plans as data (docs/msa.md): "standard" harvests every run of every component, row by row;
    "autoattack" is AutoAttack's own protocol, and without surrogates it *is* plain AutoAttack;
    "paper" is the paper's (APGD on the surrogates, then Square on the target). No version proves
    robustness: rows that withstand are UNDECIDED.

    A randomised target is judged by fresh draws after the attack (expected accuracy and majority,
    with a control on clean images; "rand" averages its gradients); one whose answers depend on the
    batch by three protocols together, in several partitions of the data into batches.

    Distance Measure : Linf, L2, L1

    Arguments:
        model (nn.Module or callable): the target; maps images (N, ...) to scores (N, K).
        surrogates (sequence, dict or "auto"): models or callables of the same images, or a dict of
            them by name; "auto" asks the model's `.surrogates()`. (Default: ())
        eps (float): radius of the ball, in pixel units of [0, 1]. (Default: 8/255)
        norm (str): "Linf", "L2" or "L1". (Default: "Linf")
        version (str): "standard", "autoattack", "paper", "rand", "quick" or "custom"; by
            engine="own" also "fast" and "full". (Default: "standard")
        engine (str): whose components run: "autoattack", "torchattacks" (at AutoAttack's settings;
            no L1), or "own" (a cascade, docs/engine.md). (Default: "autoattack")
        seed (int): of every random number. (Default: 0)
        plan (list): of :class:`~torchattacks_ext.engines.judge.ledger.AttackSpec`, for "custom".
            (Default: None)
        probe_every (int): each so many-th query on a surrogate is asked on the target as well; 0
            asks only what a run ends with. (Default: 5)
        surrogate_normalization (str or None): "same" scales the surrogates' inputs as the
            target's, None hands them pixels. (Default: "same")
        deployed_batch (int): rows of a batch in use, for targets that depend on the batch; None:
            batch_size. (Default: None)
        partitions (int): of the data into such batches; the rows are those of the first.
            (Default: 3)
        headline (str): what the rows of such a target say: "iso" (one image attacked), "union" or
            "realised" (the batch attacked). (Default: "iso")
        fresh_draws (int): draws that decide about an image of a randomised target.
            (Default: 100)
        **options: the other arguments of :class:`Probe` by keyword (batch_size, bounds, outputs,
            max_queries, max_seconds, keep).

    Shape:
        - images: (N, C, H, W), or any (N, ...) without Square; range [0, 1], or any finite
          `bounds`: the attacks see them moved and scaled onto [0, 1], the judge as they are.
        - labels: (N,) in [0, K).
        - output: as images; the adversarial image, or the candidate of smallest margin.

    Cost: an image that withstands "standard" costs about 1,270 forward and 1,230 backward
    row-passes a model (K = 10), FAB 1,840 and 900 on the target and on the surrogate that came
    nearest, and 5,000 queries of Square on the target. By engine="own" it costs 42 row-passes a
    model where its margin stays above half of the clean one, and up to 2,500 and 5,000 queries
    where it falls below a quarter.

    Examples::
        >>> import torch
        >>> from torchattacks_ext.testing import GradientKiller, small_net
        >>> net = small_net().eval()
        >>> images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> labels = net(images).argmax(1)
        >>> attack = MSA(GradientKiller(net), [net], eps=0.2, version="quick")
        >>> found = attack.measure(images, labels)
        >>> float(found.robust_accuracy) <= found.clean_accuracy
        True
    """

    config: MSASettings
    version = Setting[Version]()
    engine = Setting[EngineName]()
    probe_every = Setting[int]()
    surrogate_normalization = Setting["str | None"]()
    deployed_batch = Setting["int | None"]()
    partitions = Setting[int]()
    headline = Setting[Headline]()
    fresh_draws = Setting[int]()

    result_type = AttackResult
    settings_type = MSASettings
    citation = """@misc{msa2026,
  title         = {{HPM} l2-reclassifier and {Mixed Surrogate Attack}},
  year          = {2026},
  eprint        = {2606.01746},
  archivePrefix = {arXiv},
  note          = {arXiv:2606.01746}
}
@inproceedings{croce2020reliable,
  author    = {Croce, Francesco and Hein, Matthias},
  title     = {Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
               Parameter-free Attacks},
  booktitle = {ICML},
  year      = {2020}
}"""

    def __init__(
        self,
        model: Any,
        surrogates: Any = (),
        eps: float = 8 / 255,
        norm: Norm = "Linf",
        version: Version = "standard",
        engine: EngineName = "autoattack",
        seed: int = 0,
        *,
        plan: Iterable[AttackSpec | Mapping[str, Any]] | None = None,
        probe_every: int = 5,
        surrogate_normalization: str | None = "same",
        deployed_batch: int | None = None,
        partitions: int = 3,
        headline: Headline = "iso",
        fresh_draws: int = 100,
        **options: Any,
    ) -> None:
        # before the settings: a line of the plan may name a surrogate
        self.surrogates = named_surrogates(model, surrogates)
        self.told = Told()
        super().__init__(
            "MSA",
            model,
            eps=eps,
            norm=norm,
            seed=seed,
            version=version,
            engine=engine,
            plan=plan,
            probe_every=probe_every,
            surrogate_normalization=surrogate_normalization,
            deployed_batch=deployed_batch,
            partitions=partitions,
            headline=headline,
            fresh_draws=fresh_draws,
            **options,
        )

    def _configure(self, config: MSASettings) -> None:
        config.sources(self.surrogates)  # refuses lines on models that are not there
        super()._configure(config)

    @property
    def plan(self) -> tuple[AttackSpec, ...]:
        """What is run, line by line; of "custom" the lines that were given."""
        return self.config.lines

    @plan.setter
    def plan(self, plan: Iterable[AttackSpec | Mapping[str, Any]] | None) -> None:
        self.change_settings(plan=plan)

    @property
    def is_sequence(self) -> bool:
        """Whether AutoAttack's own protocol is run, over the whole data set at once."""
        return self.config.is_sequence

    @property
    def unit_is_batch(self) -> bool:
        """Whether what is found of a row depends on the rows that share its batch."""
        return self.config.unit_is_batch

    @property
    def sources(self) -> tuple[str, ...]:
        """Everything that may break a row, "model/attack", the last run's additions included."""
        own = self.config.sources(self.surrogates)
        return tuple(dict.fromkeys([*own, *self.told.sources]))

    def settings(self) -> dict[str, Any]:
        """Every setting that may change a decision, with those that the target's kind asked for."""
        models = {name: model_sha256(model) for name, model in self.surrogates.items()}
        return {
            **super().settings(),
            "surrogates": models,
            "sources": list(self.sources),
            **self.told.rules(self.config),
        }

    def facts(self) -> dict[str, Any]:
        """What was run and what it did, source by source; beside the rows of the result."""
        return self.told.facts(self.config)

    def doubts(self, result: Result) -> tuple[Flag, ...]:
        """Parts left out, odd candidates, and what the kind of the target asks to be said."""
        found = self.told.flags()
        found += lost_flags(self.model, *self.surrogates.values())
        if isinstance(result, AttackResult):
            found += [*result.told(), *self.told.of_gates(self.config, result)]
        return tuple(found)

    # ------------------------------------------------------------------ verb one
    def forward(
        self, inputs: Tensor, labels: Any = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The adversarial image of each row, or its candidate of smallest margin."""
        if labels is None:
            raise InputError("labels are needed: pass attack(images, labels)")
        self.told = Told()
        ids, traits = self._ids(inputs, labels), self._look(inputs)
        check_label_range(labels, traits.n_classes)
        return best_images(self._scene(), inputs, labels, ids, traits)

    # ------------------------------------------------------------------ verb two
    def _check_resume(self, resume: Any) -> None:
        self.told = Told.before(resume)  # its settings say what its kind asked for
        super()._check_resume(resume)

    def _rows(self, stream: Stream) -> Iterator[Rows]:
        self.told = Told.before(stream.resume)
        for rows, told in walk(self._scene(stream.budget, stream.shown), stream):
            self.told += told
            if rows is not None:
                yield stream.noted(rows)

    def _scene(self, budget: Budget | None = None, bar: Any = None) -> Scene:
        """What helpers may know of this attack; asked for inside a session."""
        return Scene(
            settings=self.config,
            ask=self.get_logits,
            model=self.model,
            surrogates=self.surrogates,
            meter=self._meter,
            scale=self.normalize if self._normalization_applied is False else None,
            budget=budget,
            bar=bar,
        )

    def curve(self, data: Any, labels: Any, radii: Any, ids: Any = None) -> Curve:
        """Robust accuracy at each of some ascending radii in one sweep (docs/engine.md).

        data, labels, ids: as of `measure`. One run at the largest radius, and further down on rows
        that it breaks. Raises ConfigError for unfixed targets, sequences, budgets and radii.
        """
        stream = self._stream(data, labels, ids, None)
        with self._session():
            return curve_of(self._scene(), stream, radii)

    # ------------------------------------------------------------------ for a runner
    def attack_rows(self, batch: Batch, traits: ModelTraits | None = None) -> Rows:
        """Rows of one batch (checked pixels with labels), with their images.

        Runs inside the runner's session of the model. traits: what the model showed; None takes it
        for one that answers each image by itself. A batch of a batch-dependent model is attacked as
        one deployed batch. `settings`, `facts` and `doubts` then speak of all batches since the
        last call or `measure`.
        """
        rows, told = batch_rows(self._scene(), batch, traits, keep=True)
        self.told += told
        return rows

    def curve_rows(self, batch: Batch, radii: Any, traits: ModelTraits | None) -> Curve:
        """The curve of one batch with labels, in a runner's session. traits: as above."""
        return curve_rows(self._scene(), batch, radii, traits)

    def attack_ledger(
        self,
        images: Tensor,
        labels: Tensor,
        ids: Tensor,
        eps: float | Tensor | None = None,
    ) -> Ledger:
        """The judge of one batch after the whole plan, for a model that is neither of the others.

        images: pixels (B, ...) on the model's device. eps: (B,) gives each row a radius of its own;
        None takes that of the attack. What is told is kept nowhere.
        """
        with self._session():
            return ledger_of(self._scene(), images, labels, ids, eps)
