"""The sentences of a verdict, for a person who pays for it and knows no statistics. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def in_100(score: float) -> str:
    """A score as a count out of a hundred, with a decimal only where rounding would hide it."""
    return f"{_count(score)} in 100"


def _count(score: float) -> str:
    count = 100 * score
    near_end = 0 < count < 1 or 99 < count < 100
    return f"{count:.1f}" if near_end else f"{count:.0f}"


def signed(difference: float) -> str:
    """A difference of two scores, with its sign; what rounds to 0 has no minus."""
    return f"{100 * difference:+z.1f}"


def quoted(name: str) -> str:
    """A candidate's name within a sentence: one of several words, or with a capital letter, is in
    quotation marks, so that it is not read as a part of the sentence; one that is typed in commands
    and files is not."""
    return f"“{name}”" if " " in name or name != name.lower() else name


@dataclass(frozen=True, slots=True)
class Scale:
    """How scores are said: as right answers in a hundred, or as points of a hundred, which are no
    share of right answers.

    Attributes:
        points: what points are given for, in words that follow "47 of 100 points"; empty where an
            answer is right or wrong.
    """

    points: str = ""

    @property
    def unit(self) -> str:
        """What follows a score's count."""
        return f"of 100 points {self.points}" if self.points else "in 100"

    def first(self, score: float) -> str:
        """A score where a sentence speaks of one for the first time."""
        return f"{_count(score)} {self.unit}"

    def again(self, score: float) -> str:
        """A score, or a difference of two, where it is known what is counted."""
        if not self.points:
            return in_100(score)
        return "1 point" if _count(score) == "1" else f"{_count(score)} points"

    def of_requests(self, difference: float, monthly: int) -> str:
        """In parentheses, a difference as right answers in a month, from the count that stands
        before it; "" where that is less than one, or answers are not right or wrong."""
        answers = round(float(_count(difference)) * monthly / 100)
        if self.points or answers < 1:
            return ""
        return f" ({answers:,} of {monthly:,} requests a month)"

    def margin(self, margin: float) -> str:
        """The margin, as precise as it was set."""
        return f"{100 * margin:g} {'of 100 points' if self.points else 'in 100'}"


RIGHT_OR_WRONG = Scale()


def recommended(
    name: str,
    score: float,
    interval: tuple[float, float],
    margin: float,
    *,
    given_up: float | None,
    enough: bool,
    alone: bool,
    best: bool,
    fitting: Sequence[str],
    cost: float | None,
    alike: int,
    unpriced: Sequence[str],
    unshown: Sequence[str],
    passed_over: tuple[str, float] | None,
    scale: Scale,
) -> str:
    """Why a candidate is recommended.

    Args:
        margin: within which it is shown to be of the best, unless more is `given_up` for it, being
            cheaper.
        enough: it is shown to be good enough, or nothing was said of that.
        alone: it was the only candidate that could be judged.
        best: it is shown to be better than every other.
        fitting: all candidates that were as good, itself included.
        cost: USD in the first year.
        alike: so many of `fitting`, itself included, cost practically as much.
        unpriced: those of `fitting` whose cost is not known.
        unshown: fine-tuned ones as good as these that may gain nothing by their training.
        passed_over: name and score of one that scored higher.
    """
    low, high = interval
    start = f"Use {name}: it" if enough else name
    start += f" scores {scale.first(score)} (likely {100 * low:.0f} to {100 * high:.0f})"
    if alone:
        return f"{start}; there was no other candidate to compare it with."
    if best:
        return f"{start}, and is shown to be better than every other."
    shown = f"shown to be at most {scale.margin(given_up or margin)} behind the best"
    if given_up is not None:
        shown += " (what you give up for a cheaper one)"
    if len(fitting) == 1 and passed_over is None:
        gap = (
            f"{start}. If another is better, it is so by at most {scale.margin(given_up or margin)}"
        )
        if unshown:
            return (
                f"{gap}. That is shown for {listed(unshown)}, too, but not that training gains "
                "anything there."
            )
        return f"{gap}; no other candidate is shown to be as close to the best."
    money = "" if cost is None else f" (USD {cost:,.0f} in the first year)"
    if len(fitting) == 1 and passed_over is not None:
        other, reached = passed_over
        alone_is = "alone is" if not unshown else "is"
        return f"{start}. {other} scores {scale.again(reached)}, but {name} {alone_is} {shown}."
    tied = f"{len(fitting)} candidates are {shown}"
    if cost is None:
        return f"{start}. {tied}; no cost is known, so the score decided."
    them = "those whose cost is known" if unpriced else "them"
    text = f"{start}. {tied}, and {name} is the cheapest of {them} to own{money}"
    if alike > 1:
        cheapest = f"{tied}; {alike} of {them} are the cheapest to own, for practically the same"
        if alike == len(fitting):
            cheapest = f"{tied}, and cost practically the same to own"
        text = f"{start}. {cheapest}; none of these scores higher than {name}{money}"
    if passed_over is not None:
        other, reached = passed_over
        text += f"; {other} scores {scale.again(reached)}"
        text += "" if given_up else ", which is not shown to matter"
    if unpriced:
        return (
            f"{text}. Not known is the cost of {', '.join(unpriced)}: below USD {cost:,.0f} in the "
            "first year it would be the cheaper choice."
        )
    return f"{text}."


def below_needed(
    name: str,
    interval: tuple[float, float],
    likely: float,
    good_enough: float,
    enough: Sequence[str],
    scale: Scale,
) -> str:
    """A sentence on a candidate that is used and may be, or is, below what is needed; or "".

    Args:
        interval: at the level of the opening.
        likely: start of the likely range.
        enough: those that are not surely below.
    """
    low, high = interval
    needed = f"the {scale.again(good_enough)} that are needed"
    if low >= good_enough:
        return ""
    if high >= good_enough:
        unsure = f" Whether {name} reaches {needed} cannot be told yet"
        if likely < good_enough:
            return f"{unsure}."
        return (
            f"{unsure}: its likely range is above, but each further opening of the same holdout "
            f"has to be surer, and the range by which that is decided begins at {scale.again(low)}."
        )
    return f" It is below {needed}, which {' or '.join(enough)} may reach."


def not_good_enough(
    name: str, score: float, likely: float, most: float, good_enough: float, scale: Scale
) -> str:
    """Why nothing is recommended: all are below what the user needs.

    Args:
        likely: end of the likely range of `name`.
        most: the largest upper limit at the level of the opening, which is that of `name`.
    """
    # A limit that rounds to what is needed must not read as if it were reached.
    below = scale.again(most) == scale.again(good_enough)
    reached = "stay just below that" if below else f"reach at most {scale.again(most)}"
    said = (
        f"None is good enough: {scale.first(good_enough)} are needed. {name} scores "
        f"{scale.again(score)}. Even if that was bad luck, it would {reached}"
    )
    if scale.again(most) == scale.again(likely):
        return f"{said}."
    return (
        f"{said} (its likely range ends at {scale.again(likely)}; to say that none is enough, a "
        "safer limit is taken)."
    )


def floor_suffices(name: str, score: float, margin: float, rivals: int, scale: Scale) -> str:
    """Why nothing is recommended: no candidate is better than the floor."""
    start = f"{name}, which reads no input, scores {scale.first(score)}"
    if not rivals:
        return f"{start}, and there was no other candidate."
    return f"{start}, and no other candidate is better by {scale.margin(margin)} or more."


def replaced(
    name: str,
    score: float,
    margin: float,
    shown: Sequence[str],
    worse: Sequence[str],
    next_best: str | None,
    settled_by: str | None,
    scale: Scale,
) -> str:
    """Who may take the place of a model whose answers were brought, and else what would show it.

    Args:
        name, score: of that model.
        shown: those shown to be no worse by the margin, the best first; `worse`: to be worse.
        next_best: the best of the others; `settled_by`: how many examples would show it of that
            one, None: that is not said.
    """
    behind = f"at most {scale.margin(margin)} behind {name}, which scores {scale.first(score)}"
    verb = "is" if len(shown) == 1 else "are"
    text = f"{listed(shown)} {verb} shown to be {behind}" if shown else ""
    if not shown:
        text = f"No candidate is shown to be {behind}"
    if worse:
        verb = "is" if len(worse) == 1 else "are"
        text += f"; {listed(worse)} {verb} worse"
    if settled_by is not None:
        text += f". The closest is {next_best}: {settled_by}"
    return f"{text}."


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def baselines_off(names: Sequence[str]) -> str:
    """What a comparison without its cheap rivals cannot say."""
    return (
        f"Baselines are off in assay.yaml, so {', '.join(f'`{name}`' for name in names)} did not "
        "take part: whether something cheaper is as good was not measured."
    )


def undecided(
    contenders: Sequence[str], used: str | None, examples: int, margin: float, scale: Scale
) -> str:
    """Why nothing can be concluded.

    Args:
        contenders: the best first; many are counted, but for the two best and `used`.
    """
    if len(contenders) == 1:
        return (
            f"It is not proven that {contenders[0]} is the best: {examples:,} examples are too few "
            "to tell its lead from luck."
        )
    return (
        f"It is not proven which of {_listed_or_counted(contenders, used)} is the best: "
        f"{examples:,} examples are too few to tell their differences from luck, and too few to "
        f"show that they are equally good (less than {scale.margin(margin)} apart)."
    )


def no_choice(below: Sequence[str], good_enough: float, scale: Scale) -> str:
    """An addition to `undecided`: who of these is not good enough, so that it is not named.

    Args:
        below: the best first.
    """
    if not below:
        return ""
    verb = "is" if len(below) == 1 else "are"
    return (
        f" Of these, {_listed_or_counted(below)} {verb} surely below the "
        f"{scale.again(good_enough)} that are needed."
    )


def _listed_or_counted(names: Sequence[str], also: str | None = None) -> str:
    """Three names, or the first two, `also` if it is one of them, and how many others there are."""
    if len(names) <= 3:
        return listed(names)
    told = [name for i, name in enumerate(names) if i < 2 or name == also]
    others = [name for name in names if name not in told]
    return listed([*told, others[0] if len(others) == 1 else f"{len(others)} others"])


def seen(examples: int, groups: int | None, effective: float, *, what: str = "examples") -> str:
    """How much was measured on, in the unit that counts.

    Args:
        what: is counted.
        groups: however uneven they are; None where examples are independent.
        effective: as many groups of equal size would say as much.
    """
    if groups is None:
        return f"{examples} {what}"
    if groups - effective < 0.5:
        return f"{groups} group{'s' if groups > 1 else ''} of {what}"
    return f"{groups} uneven groups of {what}, which count as {math.floor(effective)}"


def too_few(seen: str, least: int) -> str:
    """Why no call is made at all."""
    return f"There are only {seen}; a verdict needs at least {least}."


def only_below_needed(shortlist: Sequence[str], good_enough: float, scale: Scale) -> str:
    """Why a candidate as good as the others is still not recommended."""
    return (
        "The candidates shown to be as good as every other are below the "
        f"{scale.again(good_enough)} that are needed; whether {' or '.join(shortlist)} reaches "
        "them cannot be told yet."
    )


def not_judged(names: Sequence[str]) -> str:
    """Who is not part of a verdict, and how it becomes final."""
    return (
        f"Not judged, because answers are missing: {', '.join(names)}. This is not final: the same "
        "command asks for these answers and concludes anew, in the same opening."
    )


def costs_changed(opened_by: str) -> str:
    """That only what is cheapest was found anew.

    Args:
        opened_by: the comparison that opened the holdout.
    """
    return (
        "Costs, prices or requests a month were changed after the holdout had been opened, for "
        f"comparison {opened_by[:16]}. Answers, scores and tests are those of that opening; only "
        "what each candidate costs, and so which one is cheapest, was worked out anew."
    )


def next_step(
    meanwhile: str | None,
    why: str | None,
    may_lose: float | None,
    needed: str,
    scale: Scale,
    monthly_requests: int,
) -> str:
    """What to use, what it costs if that is wrong, and what would settle it.

    Args:
        why: what singles it out, see `for_now`; None of the best score where
            none costs less.
        may_lose: how far another may be ahead of it; None without others.
        needed: such as "about 600 new examples would settle this".
    """
    settle = f" {needed[0].upper()}{needed[1:]}."
    if meanwhile is None:
        return settle
    use = f" Use {meanwhile} for now"
    if why is not None:
        use += f", {why}"
    if may_lose is None:
        return f"{use}.{settle}"
    if may_lose <= 0:
        return f"{use}: probably no other is better.{settle}"
    return (
        f"{use}: should another be better, it likely scores at most {scale.again(may_lose)} higher"
        f"{scale.of_requests(may_lose, monthly_requests)}.{settle}"
    )
