"""Does an attack contradict certified radii? The command `audit`: ours, or those of a verifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from . import common
from .loaders.inputs import Given, on_device, read_data
from .loaders.loading import load_model

if TYPE_CHECKING:
    from ..certify import Audit

FILES = ("audit.json", "audit.txt")


def audit(
    model: Annotated[
        str, typer.Option(help="module:factory of an Ellips, or any as `evaluate`.")
    ],
    data: Annotated[str, typer.Option(help="As `evaluate`, say digits or npz:PATH.")],
    arch: Annotated[str | None, typer.Option(help="Of FILE.pt, as `evaluate`.")] = None,
    sigma: Annotated[
        str | None, typer.Option(help="Certify by smoothing with this noise.")
    ] = None,
    draws: Annotated[
        int, typer.Option(help="Noisy copies, to certify and to judge.")
    ] = 10_000,
    verdicts: Annotated[
        Path | None,
        typer.Option(help="CSV of a verifier: id, verdict, verifier, seconds."),
    ] = None,
    eps: Annotated[
        str | None, typer.Option(help="Radius of --verdicts: 0.03 or 8/255.")
    ] = None,
    norm: Annotated[str, typer.Option(help="Norm of --verdicts: Linf or L2.")] = "Linf",
    attacks: Annotated[
        str | None,
        typer.Option(
            help="L2: DeepFool,CW,PGDL2,MSA; Linf: PGD,MSA. [all of the norm]"
        ),
    ] = None,
    n: Annotated[int, typer.Option(help="At most so many images.")] = 50,
    mean: Annotated[str | None, typer.Option(help="A,B,C a channel.")] = None,
    std: Annotated[str | None, typer.Option(help="A,B,C a channel.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Move the model, say to cuda.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of attacks and random points.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for audit.json and .txt.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> int:
    """Attack images within their certified radii.

    Exit 2 if an answer changed inside a radius, naming whose claim broke.
    """
    common.check_folder(out)
    named = None if attacks is None else common.words(attacks, "--attacks")
    claimed = _radius(verdicts, eps, sigma)
    noise = None if sigma is None else common.number(sigma, "--sigma")
    with common.clean_stdout():
        loaded = load_model(model, arch)
        read = read_data(data, Given(n), loaded)
        loaded = on_device(loaded, mean, std, device, read)
        pairs = list(read.loader(batch_size=256))
        found = _audit(
            loaded.model,
            pairs,
            {"attacks": named, "seed": seed, "n_draws": draws},
            None if verdicts is None else (verdicts, claimed, norm),
            noise,
        )
        if out is not None:
            texts = common.as_json(found.to_dict()), f"{found}\n"
            common.write_files(out, dict(zip(FILES, texts)))
    common.show_json(found.to_dict()) if json_ else common.show(str(found))
    if found.sound:
        return 0
    common.warn(
        f"{len(found.broken)} of {found.n} certificates of {found.claim} ({found.tier}) are "
        f"broken: an attack changed the answer of {found.victim} inside their radius"
    )
    return 2


def _radius(verdicts: Path | None, eps: str | None, sigma: str | None) -> float:
    """The radius of the verdicts; nan without."""
    if (verdicts is None) != (eps is None):
        raise ConfigError(
            "--verdicts and --eps belong together: the radius that was verified; an Ellips has "
            "radii of its own"
        )
    if verdicts is not None and sigma is not None:
        raise ConfigError("--verdicts are of the model, --sigma smooths it; give one")
    return float("nan") if eps is None else common.number(eps, "--eps")


def _audit(
    model: Any,
    pairs: list[Any],
    how: dict[str, Any],
    claim: tuple[Path, float, str] | None,
    noise: float | None,
) -> Audit:
    import torch

    from ..certify import Ellips, RandomizedSmoothing
    from ..certify import audit as run
    from ..certify import read_verdicts
    from ..certify.audit.verdicts import by_place, verdict_certificates
    from ..numerics.ids import IdBook

    images = torch.cat([pair[0] for pair in pairs])
    labels = torch.cat([pair[1] for pair in pairs])
    if claim is not None:
        path, eps, norm = claim
        ids = IdBook().assign(images, labels, (0.0, 1.0))
        rows = by_place(read_verdicts(path), ids)
        how["certificates"] = verdict_certificates(
            rows, labels, eps, norm=norm, ids=ids  # type: ignore[arg-type]
        )
        return run(model, images, labels, **how)
    if noise is not None:
        model = RandomizedSmoothing(model, noise, n=how["n_draws"])
    elif not isinstance(model, Ellips):
        raise ConfigError(
            f"--model is a {type(model).__name__}, which has no radii: give a factory of an "
            "Ellips, --sigma to smooth it, or --verdicts of a verifier with --eps"
        )
    return run(model, images, labels, **how)
