"""What does each check say to a reader, and whom does it come from?"""

from __future__ import annotations

ATHALYE = "Athalye, Carlini & Wagner 2018, arXiv:1802.00420, sec. 3.1"
AUTOATTACK = "AutoAttack's flags, github.com/fra31/auto-attack"
CARLINI = "Carlini et al. 2019, arXiv:1902.06705"
CROCE = "Croce et al. 2022, arXiv:2202.13711"
MSA = "MSA, arXiv:2606.01746, and this package"
OWN = "this package, docs/diagnostics.md"
PINTOR = "Pintor et al. 2022, arXiv:2106.09947"
TRAMER = "Tramer et al. 2020, arXiv:2002.08347"

NOT_ASKED = (
    "not asked: the model does not answer each image by itself and always the same, no image was "
    "left to ask about, or the version that measured did not look"
)

WORDS: dict[str, tuple[str, str, str]] = {
    # name: (source, what a flag says, what is said without one); k of n images, value, threshold
    "finite_outputs": (
        AUTOATTACK,
        "scores of {k} of {n} images are NaN or infinite: an attack may count them as success",
        "the scores of all {n} images are finite",
    ),
    "looks_like_probs": (
        AUTOATTACK,
        "the outputs are rows of probabilities: losses on them have small gradients; give the "
        "scores before the softmax",
        "the outputs are no probabilities",
    ),
    "randomised_model": (
        AUTOATTACK,
        "the model answers at random: one draw decides nothing, and its gradients point anywhere; "
        'attack it by MSA(version="rand")',
        "the model gives the same answer twice",
    ),
    "batch_dependent_model": (
        CROCE,
        "an answer depends on the other images of the batch: attacks that pack batches anew attack "
        "another model; MSA attacks deployed batches",
        "each image is answered by itself",
    ),
    "optimises_inside": (
        AUTOATTACK,
        "the model differentiates while it answers: what it gives depends on an inner loop, which "
        "needs an attack of its own",
        "no derivative is taken while the model answers",
    ),
    "hard_outputs": (
        OWN,
        "the scores of {k} of {n} images are no more than two numbers: there is nothing to follow",
        "scores are more than two numbers",
    ),
    "rounded_outputs": (
        OWN,
        "{share} of the scores occur again bit for bit: they are rounded, and small steps do not "
        "move them",
        "{share} of the scores occur again bit for bit",
    ),
    "odd_gradients": (
        AUTOATTACK,
        "gradients of {k} of {n} images hold NaN or infinite numbers: steps along them are none",
        "the gradients of all {n} images are finite",
    ),
    "unavailable_gradients": (
        PINTOR,
        "the model gives no gradient for {k} of {n} images: it is detached, or its backward pass "
        "raises",
        "the model gives a gradient",
    ),
    "zero_gradients": (
        AUTOATTACK,
        "on {k} of {n} images the gradient of the margin is exactly 0 at the image and at a random "
        "start: attacks that follow it stand still",
        "the gradient of the margin is exactly 0, at the image and at a random start, on {k} of "
        "{n} images",
    ),
    "saturated_loss": (
        CARLINI,
        "on {k} of {n} images the gradient of the cross-entropy is exactly 0 where that of the "
        "margin is not: the scores are so far apart that the loss has saturated",
        "the cross-entropy has saturated on {k} of {n} images",
    ),
    "flat_steps": (
        ATHALYE,
        "on {k} of {n} images no score changes over a tiny step and some do over the radius: the "
        "input is on a grid",
        "a tiny step changes no score, and a long one does, on {k} of {n} images",
    ),
    "rough_gradients": (
        ATHALYE,
        "over a step of .001 the margin of the median image moves otherwise than its gradient "
        "foretells, by {value:.2f} of both: the scores jump",
        "over a step of .001 the margin of the median image is off what its gradient foretells by "
        "{value:.2f} of both",
    ),
    "unstable_predictions": (
        PINTOR,
        "noise of 8/255 changes the cross-entropy by {value:.2f} of itself on average (at most "
        "1): the loss is steep or uneven; confident models show this as well",
        "noise of 8/255 changes the cross-entropy by {value:.2f} of itself on average",
    ),
    "one_step_beats_iterative": (
        ATHALYE,
        "one long step breaks more images than many small ones: {a} against {b} that the other "
        "does not break",
        "one long step breaks {a} images that many small ones do not, and those break {b} others",
    ),
    "ce_above_margin": (
        AUTOATTACK,
        "the cross-entropy leaves {share} more images than the margin: another loss is needed, and "
        "perhaps a third one finds more",
        "the cross-entropy leaves {share} more images than the margin",
    ),
    "doubling_helps": (
        CARLINI,
        "twice the steps break {a} images that half of them do not, and miss {b}: the attack has "
        "not converged",
        "twice the steps break {a} images that half of them do not, and miss {b}",
    ),
    "still_moving": (
        PINTOR,
        "on {k} of the {n} images that withstood, more than .05 of the rise of the loss fell in "
        "the last 10 steps: the attack has not converged",
        "the loss was still rising at the end on {k} of the {n} images that withstood",
    ),
    "silent_success": (
        PINTOR,
        "on {k} of {n} images the path was wrong and its end is not: attacks must return what "
        "they found on the way",
        "path and end disagree on {k} of {n} images",
    ),
    "random_search_beats_gradient": (
        ATHALYE,
        "random corners of the ball break {k} of {n} images that no gradient run breaks",
        "random corners of the ball break {k} of {n} images that no gradient run breaks",
    ),
    "black_box_beats_gradient": (
        f"{ATHALYE}; {AUTOATTACK}",
        "a search that needs no gradient breaks {k} of {n} images that no gradient run breaks",
        "a search that needs no gradient breaks {k} of {n} images that no gradient run breaks",
    ),
    "radius_without_effect": (
        ATHALYE,
        "larger balls break fewer images: {a} images fell at one radius and not at the next, {b} "
        "the other way round",
        "larger balls break more images: {b} against {a}",
    ),
    "free_attack_fails": (
        f"{ATHALYE}; {PINTOR}",
        "{k} of {n} images withstand in a ball that holds the same grey image for all of them",
        "{k} of {n} images withstand in a ball that holds the grey image",
    ),
    "surrogates_disagree": (
        MSA,
        "surrogates are right on only {share} of the images that the target gets right: they are "
        "other models, and say little about it",
        "surrogates are right on {share} of the images that the target gets right",
    ),
    "transfer_beats_gradient": (
        f"{CARLINI}; {MSA}",
        "candidates of a surrogate break {k} of {n} images that no gradient run on the target "
        "breaks",
        "candidates of a surrogate break {k} of {n} images that no gradient run breaks",
    ),
    "transfer_fails": (
        PINTOR,
        "on {k} of the {n} images on which a surrogate was fooled the target was not",
        "on {k} of the {n} images on which a surrogate was fooled the target was not",
    ),
    "inconsistent_loss": (
        TRAMER,
        "the loss of the surrogate and the margin of the target go together by a rank correlation "
        "of {value:.2f} on the median path: what is climbed is not what counts",
        "the loss of the surrogate and the margin of the target go together by a rank correlation "
        "of {value:.2f} on the median path",
    ),
}
NAMES = tuple(WORDS)
