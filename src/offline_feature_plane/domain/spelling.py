"""The canonical spelling of expression trees: what is hashed and shown. `domain.grammar.parse` of it gives the tree back."""

from __future__ import annotations

from offline_feature_plane.domain.expressions import Binary, Call, Compare, In, Literal, Logic, Name, Negate, Node, Not

__all__ = ["print_node"]

COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
# How tightly each construct binds; the printer sets brackets by the same numbers.
OR, AND, NOT, COMPARE, SUM, PRODUCT, UNARY, ATOM = range(1, 9)
BINDING = {"or": OR, "and": AND, "in": COMPARE, **dict.fromkeys(COMPARISONS, COMPARE),
            "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT}


def print_node(node: Node) -> str:  # noqa: PLR0911 - one return per kind of node
    """The canonical spelling of a tree: one space around operators, no needless brackets. `parse` of it gives the tree back."""
    match node:
        case Literal():
            return _print_literal(node)
        case Name(name=name):
            return name
        case Negate(operand=one):
            return "-" + _inside(one, UNARY)
        case Not(operand=one):
            return "not " + _inside(one, NOT)
        case Binary(operator=sign, left=left, right=right):
            level = BINDING[sign]
            return f"{_inside(left, level)} {sign} {_inside(right, level + 1)}"
        case Compare(operator=sign, left=left, right=right):
            return f"{_inside(left, SUM)} {sign} {_inside(right, SUM)}"
        case Logic(operator=word, operands=many):
            return f" {word} ".join(_inside(one, BINDING[word] + 1) for one in many)
        case In(operand=one, options=options):
            return f"{_inside(one, SUM)} in ({', '.join(_print_literal(option) for option in options)})"
        case Call(function=name, arguments=many, zone=zone):
            zoned = [] if zone == "UTC" else [f"'{zone}'"]
            return f"{name}({', '.join([print_node(one) for one in many] + zoned)})"


def _inside(node: Node, level: int) -> str:
    text = print_node(node)
    return text if _level(node) >= level else f"({text})"


def _level(node: Node) -> int:
    match node:
        case Binary(operator=sign):
            return BINDING[sign]
        case Compare() | In():
            return COMPARE
        case Logic(operator=word):
            return BINDING[word]
        case Not():
            return NOT
        case Negate():
            return UNARY
        case _:
            return ATOM


def _print_literal(literal: Literal) -> str:
    value, kind = literal.value, literal.type
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if kind.kind == "decimal":
        digits = str(abs(int(value))).rjust(kind.scale + 1, "0")
        return f"{'-' if value < 0 else ''}{digits[:-kind.scale]}.{digits[-kind.scale:]}"
    return str(value)
