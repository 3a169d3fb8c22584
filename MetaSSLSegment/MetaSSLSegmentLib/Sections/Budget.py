"""What a budget buys on this computer, and whether that is enough to learn something."""

from metassl import FEW_STEPS, duration
from slicer.i18n import tr as _

SOME, MANY = 700, 2000
"""Steps of the default method with which the unlabelled cases brought 0.01 and 0.04 Dice (the mean of four data sets
with four labels, against supervised training of the same compute; docs/benchmarks.md)."""


def budgetInWords(parameters, pace):
    """What the chosen budget buys, and a plain word when that is too little for the method.

    Args:
        parameters: the choices of the training.
        pace: steps per minute of an earlier training with this method, or None.
    """
    steps, text = parameters.iterations, ""
    if parameters.budgetKind == "minutes":
        if not pace:
            return ""
        steps = parameters.minutes * pace
        text = _("About {steps} steps, by the pace of your last training.").format(steps=rounded(steps))
    elif pace:
        time = duration(60 * steps / pace)
        text = _("About {time}, by the pace of your last training.").format(time=time)
    warmUp = 0 if parameters.method == "supervised" else parameters.warmUp
    measured = parameters.method == "mean-teacher" and parameters.metasslLoss
    return " ".join(filter(None, (text, tooLittle(steps, warmUp) or (measured and gainInWords(steps)))))


def gainInWords(steps):
    """What the unlabelled cases brought with so many steps of the default method, as measured; "" without steps."""
    if steps is None:
        return ""
    if steps >= MANY:
        return _("With so many steps the unlabelled cases brought about 0.04 Dice in our measurements.")
    if steps >= SOME:
        return _("With so many steps the unlabelled cases brought 0.01 to 0.04 Dice in our measurements.")
    return _(
        "In our measurements the unlabelled cases brought 0.01 Dice with {some} steps and 0.04 with {many}: "
        "more time pays."
    ).format(some=SOME, many=MANY)


def tooLittle(steps, warmUp):
    """Why so many steps are too few, and what to do; "" when they are not.

    Args:
        steps: of the budget; None when nobody knows.
        warmUp: share of them in which the labelled cases teach alone.
    """
    if steps is None:
        return ""
    if steps < FEW_STEPS:
        return _("That is too little to learn much: give more time, crop the volumes, or use a faster device.")
    left = steps * (1 - warmUp)
    if 0 < warmUp < 1 and left < FEW_STEPS:
        return _(
            "After the warm-up only about {steps} steps are left in which the unlabelled cases teach: give more time, "
            "or choose Supervised only."
        ).format(steps=rounded(left))
    return ""


def learntLittle(steps, fraction, warmUp):
    """What a person should know of a model that had little time to learn; "" when it had enough.

    Args:
        steps: that were made.
        fraction: of the budget that was spent, 0-1.
        warmUp: share of the budget in which the labelled cases teach alone.
    """
    if steps is not None and steps < FEW_STEPS:
        return _("So few steps cannot have taught the model much: do not judge the method by it.")
    if fraction < warmUp:
        return _("The unlabelled cases had not begun to teach yet: they do so after {share} % of the budget.").format(
            share=round(100 * warmUp)
        )
    return ""


def rounded(number):
    """A number with its first two digits only: 1234 becomes 1200."""
    return int(float(f"{number:.2g}"))
