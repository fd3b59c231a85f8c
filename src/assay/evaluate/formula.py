"""Arithmetic on the scores of several graders, as OpenAI's `multi` grader writes it."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

from assay.errors import UsageError

LONGEST = 1000  # characters
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": lambda x: float(math.floor(x)),
    "ceil": lambda x: float(math.ceil(x)),
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}


class Formula:
    """A formula of numbers, names, `+ - * / ^`, and min, max, abs, floor, ceil, exp, sqrt, log.

    Args:
        text: such as `0.7 * correct + 0.3 * min(polite, 1)`.
        names: that it may use.

    Raises:
        UsageError: it is something else.
    """

    def __init__(self, text: str, names: frozenset[str]) -> None:
        if len(text) > LONGEST:
            raise UsageError(f"the formula is longer than {LONGEST} characters.")
        try:
            self._tree = ast.parse(text.strip().replace("^", "**"), mode="eval").body
            self._check(self._tree, names)
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
            raise UsageError(f"this is not a formula: {text[:80]!r}.") from None

    def value(self, scores: Mapping[str, float]) -> float:
        """With these scores.

        Raises:
            ArithmeticError: it has no finite value, such as a division by 0.
        """
        try:
            found = float(self._value(self._tree, scores))
        except ValueError as error:  # log(0), sqrt(-1)
            raise ArithmeticError(str(error)) from None
        if not math.isfinite(found):
            raise ArithmeticError("the value is not finite")
        return found

    def _check(self, node: ast.expr, names: frozenset[str]) -> None:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                float(number)
            case ast.Name() if node.id in names:
                pass
            case ast.Name():
                raise UsageError(
                    f"the formula uses {node.id!r}.", fix=f"It may use: {', '.join(sorted(names))}."
                )
            case ast.BinOp() if type(node.op) in _BINARY:
                self._check(node.left, names)
                self._check(node.right, names)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                self._check(node.operand, names)
            case ast.Call(func=ast.Name(), keywords=[]) if (
                isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and node.args
            ):
                if len(node.args) > 1 and node.func.id not in ("min", "max"):
                    raise UsageError(f"{node.func.id} takes one number.")
                for part in node.args:
                    self._check(part, names)
            case _:
                raise SyntaxError

    def _value(self, node: ast.expr, scores: Mapping[str, float]) -> float:
        match node:
            case ast.Constant():
                return float(node.value)  # type: ignore[arg-type]
            case ast.Name():
                return scores[node.id]
            case ast.BinOp():
                left, right = self._value(node.left, scores), self._value(node.right, scores)
                return _BINARY[type(node.op)](left, right)
            case ast.UnaryOp():
                found = self._value(node.operand, scores)
                return -found if isinstance(node.op, ast.USub) else found
            case ast.Call(func=ast.Name()):
                given = [self._value(part, scores) for part in node.args]
                assert isinstance(node.func, ast.Name)
                function = _FUNCTIONS[node.func.id]
                return function(*given) if len(given) > 1 else _of_one(function, given[0])
        raise AssertionError("checked before")


def _of_one(function: Callable[..., float], value: float) -> float:
    """`min` and `max` of one number are that number."""
    return value if function in (min, max) else function(value)
